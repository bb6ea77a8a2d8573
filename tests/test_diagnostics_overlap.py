"""Overlap that some rows prove: never where the exact test of all rows finds a direction."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from torchlogreg import (
    LogisticRegression,
    OrdinalRegression,
    SoftmaxRegression,
    diagnostics,
    fit,
)
from torchlogreg.diagnostics import overlap, report
from torchlogreg.diagnostics.overlap import overlap_of_some
from torchlogreg.diagnostics.problem import Problem
from torchlogreg.inputs import make_data
from torchlogreg.objective import Objective

F64 = torch.float64
MODELS = {
    "logistic": lambda p: LogisticRegression(p, dtype=F64),
    "no bias": lambda p: LogisticRegression(p, bias=False, dtype=F64),
    "softmax": lambda p: SoftmaxRegression(p, 3, dtype=F64),
    "ordinal": lambda p: OrdinalRegression(p, 3, dtype=F64),
}


def rows(kind: str, n: int = 3000, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Four columns, of which the last is a dummy of three rows, and classes that overlap."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 4))
    X[:, 3] = 0.0
    X[rng.choice(n, 3, replace=False), 3] = 1.0
    score = X[:, 0] - X[:, 1] + rng.logistic(size=n)
    y = score > 0 if kind in ("logistic", "no bias") else np.digitize(score, [-1, 1])
    return X, y.astype(float if kind in ("logistic", "no bias") else int)


def asked(kind: str, X: np.ndarray, y: np.ndarray, **settings: object) -> bool:
    """Whether some of the rows prove that the classes overlap."""
    model = MODELS[kind](X.shape[1])
    data = make_data(model, X, y, own_target=True, **settings)
    found = overlap_of_some(Problem(Objective(model), data), 10.0)
    assert found is None or (found.kind, found.columns) == ("none", ())
    return found is not None


@pytest.mark.parametrize("kind", MODELS)
def test_overlap_is_proven_where_all_columns_vary_and_the_exact_test_agrees(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(overlap, "SOME", 900)
    X, y = rows(kind)
    assert asked(kind, X[:, :3], y)
    model = MODELS[kind](3)
    assert diagnostics.separation(X[:, :3], y, model=model).kind == "none"


@pytest.mark.parametrize("kind", MODELS)
def test_what_the_asked_rows_cannot_know_is_not_proven(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A dummy of three rows of one class separates them, and a sample has none of those rows."""
    monkeypatch.setattr(overlap, "SOME", 400)
    X, y = rows(kind)
    y[X[:, 3] == 1] = y.max()
    assert diagnostics.separation(X, y, model=MODELS[kind](4)).kind == "quasi"
    assert not asked(kind, X, y)
    assert not asked(kind, np.column_stack((X[:, :3], X[:, 0])), y)  # nothing spans these
    far = np.where(y == y.max(), 1.0, -1.0)
    assert not asked(kind, np.column_stack((X[:, :3], far)), y)
    weight = np.where(X[:, 0] > 0, 1.0, 0.0)
    assert asked(kind, X[:, :3], y, sample_weight=torch.from_numpy(weight))
    weight = (y == y.max()).astype(float)
    weight[int(np.argmin(y))] = 1.0
    # The other class counts for one row: an intercept tells the rest apart.
    assert asked(kind, X[:, :3], y, sample_weight=torch.from_numpy(weight)) == (kind == "no bias")


@pytest.mark.parametrize("seed", range(20))
def test_it_is_never_said_of_separated_rows(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Random small problems, of which half are separated, by few rows or by all."""
    rng = np.random.default_rng(seed)
    monkeypatch.setattr(overlap, "SOME", int(rng.integers(20, 200)))
    kind = list(MODELS)[seed % 4]
    X, y = rows(kind, n=int(rng.integers(20, 60)), seed=seed)
    X = np.round(X[:, : int(rng.integers(1, 4))] * rng.choice([1, 100]))
    if asked(kind, X, y):
        assert diagnostics.separation(X, y, model=MODELS[kind](X.shape[1])).kind == "none"


def test_mapped_rows_are_not_copied_for_the_exact_test(tmp_path, monkeypatch) -> None:
    """A fit of a mapped file that did not converge took five times the file."""
    monkeypatch.setattr(overlap, "SOME", 400)
    monkeypatch.setattr(report, "MANY", 1000)
    seen = []
    real = report.separation_of
    monkeypatch.setattr(report, "separation_of", lambda *a, **k: seen.append(a) or real(*a, **k))
    X, y = rows("logistic")
    y[X[:, 3] == 1] = 1.0
    np.save(tmp_path / "rows.npy", X)
    mapped = np.load(tmp_path / "rows.npy", mmap_mode="r")
    for table, copied in ((mapped, 0), (X, 1)):
        seen.clear()
        with pytest.warns(UserWarning):
            result = fit(LogisticRegression(4, dtype=F64), table, y, optimizer="sgd", max_epochs=3)
            line = result.diagnosis.line
        assert len(seen) == copied
        assert ("the exact test was skipped for its size" in line) == (not copied)
        assert ("quasi-completely separated by column 3" in line) == bool(copied)
