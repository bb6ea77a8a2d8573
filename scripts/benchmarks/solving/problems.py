"""The problems of the table: sizes, penalties, what is asked; written once, mapped by all."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy import sparse

from benchmarks.solving import generators

Matrix = np.ndarray | sparse.csr_matrix


@dataclass(frozen=True)
class Spec:
    """Minimise ``mean_i loss_i + l2 / 2 |w|^2 + l1 |w|_1``; the intercept is not penalised.

    Attributes
    ----------
    kind : str
        "logistic" (0/1), "softmax" (codes), "linear" (the loss is the squared error, no half).
    n, p, k : int
        Rows, columns, classes.
    penalty : str
        "l2": scikit-learn's C = 1 (for "linear" its alpha = 1); "l1": a tenth of the strength at
        which all weights are zero; "none".
    l2, l1 : float
        The strengths; set when the data are made.
    intercept, errors : bool
        Whether there is an intercept; whether standard errors are asked for too.
    loop : str
        "normal" or "weighted": the cost logger's 200 iterations, which log the cost of each.
    data : str
        A design of ``generators.DESIGNS``.
    density : float
        Share of entries of ``X`` that are stored; 1: dense.
    dtype : str
    asked : tuple of float
        Ratio best peer / ours that the project asks for, at the loose and at the tight target.
    """

    name: str
    kind: str
    n: int
    p: int
    k: int = 2
    penalty: str = "l2"
    l2: float = 0.0
    l1: float = 0.0
    intercept: bool = True
    errors: bool = False
    loop: str = ""
    data: str = "gaussian"
    seed: int = 0
    density: float = 1.0
    dtype: str = "float64"
    asked: tuple[float, ...] = ()

    @property
    def width(self) -> int:
        """Columns of scores."""
        return self.k if self.kind == "softmax" else 1


class Data(NamedTuple):
    """A problem with its rows."""

    spec: Spec
    X: Any
    y: np.ndarray


def _tall(n: int, p: int, name: str, *asked: float) -> Spec:
    return Spec(name, "logistic", n, p, asked=asked)


TABLE = (
    _tall(1_000, 20, "tall-1k-20", 3.5, 3.5),
    _tall(100_000, 20, "tall-100k-20", 8, 8),
    _tall(100_000, 200, "tall-100k-200", 8, 8),
    _tall(1_000_000, 20, "tall-1m-20", 15, 10),
    _tall(1_000_000, 100, "tall-1m-100", 20, 14),
    Spec("softmax", "softmax", 60_000, 200, k=10, asked=(8, 8)),
    Spec("ridge", "linear", 1_000_000, 100, asked=(1.8, 1.8)),
    Spec("ols", "linear", 1_000_000, 100, penalty="none", asked=(1, 1)),
    Spec("lasso", "linear", 2_000, 10_000, penalty="l1", intercept=False, asked=(1.4, 1.4)),
    Spec("l1-logistic", "logistic", 2_000, 5_000, penalty="l1", intercept=False, asked=(1.1, 1.1)),
    Spec("wide", "logistic", 2_000, 5_000, intercept=False, asked=(1.3, 1.3)),
    Spec("sparse-l2", "logistic", 20_000, 50_000, density=1e-3, intercept=False, asked=(1, 1)),
    Spec(
        "sparse-l1",
        "logistic",
        20_000,
        50_000,
        density=1e-3,
        penalty="l1",
        intercept=False,
        asked=(1, 1),
    ),
    Spec("fit+errors", "logistic", 100_000, 20, penalty="none", errors=True, asked=(5, 5)),
    Spec("cost-logger", "logistic", 400, 2, loop="normal", asked=(30,)),
    Spec("cost-logger-weighted", "logistic", 400, 2, loop="weighted", asked=(30,)),
)
PROBLEMS = {spec.name: spec for spec in TABLE}


def make(spec: Spec, folder: Path) -> Data:
    """Make the rows and the penalty's strength, write them into ``folder``, map them."""
    rng = np.random.default_rng(spec.seed)
    if spec.loop:
        X, y = _blobs()
    else:
        X, y = generators.make(rng, spec.kind, spec.data, spec.n, spec.p, spec.k, spec.density)
    n, p = X.shape
    spec = dataclasses.replace(spec, n=n, p=p)
    if spec.penalty == "l2":  # scikit-learn's sum of losses + |w|^2 / 2, or + |w|^2, over n
        spec = dataclasses.replace(spec, l2=(2.0 if spec.kind == "linear" else 1.0) / n)
    elif spec.penalty == "l1":
        centred = y - 0.5 if spec.kind == "logistic" else 2 * y
        spec = dataclasses.replace(spec, l1=0.1 * float(np.abs(X.T @ centred).max()) / n)
    folder.mkdir(parents=True, exist_ok=True)
    if sparse.issparse(X):
        for part in ("data", "indices", "indptr"):
            np.save(folder / f"X_{part}.npy", getattr(X, part))
    else:
        np.save(folder / "X.npy", X.astype(spec.dtype))
    np.save(folder / "y.npy", y)
    (folder / "spec.json").write_text(json.dumps(dataclasses.asdict(spec)))
    return load(folder)


def load(folder: Path) -> Data:
    """Rows of a folder, mapped: pages are shared by all workers, and writable copies if written."""
    facts = json.loads((folder / "spec.json").read_text())
    spec = Spec(**{**facts, "asked": tuple(facts["asked"])})

    def mapped(name: str) -> np.ndarray:
        return np.asarray(np.load(folder / f"{name}.npy", mmap_mode="c"))

    if spec.density < 1:
        parts = tuple(mapped(f"X_{part}") for part in ("data", "indices", "indptr"))
        X: Matrix = sparse.csr_matrix(parts, shape=(spec.n, spec.p))
    else:
        X = mapped("X")
    return Data(spec, X, mapped("y"))


def _blobs() -> tuple[np.ndarray, np.ndarray]:
    """The cost logger's rows: its 400 training rows, as its page makes them."""
    from sklearn.datasets import make_blobs
    from sklearn.model_selection import train_test_split

    X, y = make_blobs(n_samples=500, n_features=2, centers=2, cluster_std=1.0, random_state=0)
    X, _, y, _ = train_test_split(X, y, test_size=0.2, random_state=42)
    return np.ascontiguousarray(X), y.astype(np.float64)
