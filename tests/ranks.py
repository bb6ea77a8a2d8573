"""What every rank runs for test_distributed.py: a table of fits of its rows, saved as one .npz."""

from __future__ import annotations

import os
import signal
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from orphans import end_with_parent
from torchlogreg import (
    L1,
    L2,
    BoostMisclassified,
    ClassBalanced,
    ClassMean,
    ElasticNet,
    FitResult,
    Focal,
    Hook,
    LinearRegression,
    LogisticRegression,
    Model,
    OrdinalRegression,
    Product,
    Smoothed,
    SoftmaxRegression,
    distributed,
    fit,
    sparse_rows,
)
from torchlogreg.estimators import LogisticClassifier
from torchlogreg.hooks import Checkpoint
from torchlogreg.inference import infer
from torchlogreg.scaling import Standardizer

F64 = torch.float64
N = 240
CUTS = {1: [0, N], 2: [0, 90, N], 3: [0, 37, 150, N], 4: [0, 60, 120, 180, N]}
"""Uneven; the first rank of three has rows of one class alone."""

MODELS = {
    "linear": lambda: LinearRegression(4, dtype=F64),
    "logistic": lambda: LogisticRegression(4, dtype=F64),
    "softmax": lambda: SoftmaxRegression(4, 3, reference=True, dtype=F64),
    "ordinal": lambda: OrdinalRegression(4, 3, dtype=F64),
}
FIRST_ORDER = dict.fromkeys(
    "adadelta adafactor adagrad adam adamax adamw asgd momentum nadam nesterov proximal_gradient "
    "radam rmsprop rprop sgd svrg".split(),
    "softmax",
)
FIRST_ORDER |= {"adam": "logistic", "asgd": "ordinal", "nesterov": "linear", "sgd": "logistic"}
FITS = {
    **{f"{kind} auto": (kind, {}) for kind in MODELS},
    **{f"{kind} ridge": (kind, {"penalty": L2(0.01)}) for kind in MODELS},
    "newton": ("logistic", {"optimizer": "newton"}),
    "newton_cg": ("softmax", {"optimizer": "newton_cg", "penalty": L2(0.01)}),
    "lbfgs": ("logistic", {"optimizer": "lbfgs"}),
    "subsampled": ("logistic", {"optimizer": "subsampled_newton"}),
    "blocks": ("softmax", {"optimizer": "block_lbfgs", "penalty": L2(0.01)}),
    "lasso": ("logistic", {"penalty": L1(0.02)}),
    "lasso linear": ("linear", {"penalty": L1(0.05)}),
    "fista": (
        "logistic",
        {"penalty": L1(0.02), "optimizer": "proximal_gradient", "tol": 1e-12, "max_epochs": 1000},
    ),
    "balanced": ("softmax", {"weighting": ClassBalanced(), "penalty": L2(0.01)}),
    "boost": ("logistic", {"weighting": BoostMisclassified(), "penalty": L2(0.01)}),
    "focal": ("ordinal", {"weighting": Focal(1.0), "penalty": L2(0.01)}),
    **{
        name: (kind, {"optimizer": name, "max_epochs": 15, "tol": 0, "penalty": L2(0.01)})
        for name, kind in FIRST_ORDER.items()
    },
    "proximal newton": ("softmax", {"optimizer": "proximal_newton", "penalty": ElasticNet(0.02)}),
    "least squares": ("linear", {"optimizer": "least_squares"}),
    "smoothed": (
        "logistic",
        {"weighting": Smoothed(Focal(1.0)), "optimizer": "newton", "penalty": L2(0.01)},
    ),
    "class mean": ("logistic", {"weighting": ClassMean(), "penalty": L2(0.01)}),
    "product": (
        "softmax",
        {"weighting": Product(ClassBalanced(), BoostMisclassified()), "penalty": L2(0.01)},
    ),
}
BATCHED = [name for name in FIRST_ORDER if name not in ("proximal_gradient", "rprop")]
COLUMNS = ("plain", "weighted", "sparse")
FAR = ("newton", "linear auto", "logistic auto")
"""Fits with a column far from zero, of which first-order methods make nothing."""
WEIGHTED = ("newton", "linear auto", "boost")


def rows(kind: str, far: bool = False) -> tuple[Tensor, Tensor, Tensor]:
    """All rows, the first 40 of class 0, and weights; maybe with a column far from zero."""
    g = torch.Generator().manual_seed(5)
    X = torch.randn(N, 4, generator=g, dtype=F64) * torch.tensor([1.0, 2.0, 0.5, 1.0], dtype=F64)
    eta = X @ torch.tensor([1.0, -0.2, 2.0, 0.0], dtype=F64) + torch.randn(
        N, generator=g, dtype=F64
    )
    X[:, 1] += 2000.0 * far
    weight = 0.5 + torch.rand(N, generator=g, dtype=F64)
    if kind == "linear":
        return X, eta, weight
    if kind == "logistic":
        y = (eta > 0).to(F64)
    else:
        y = torch.bucketize(eta, torch.tensor([-1.0, 1.0], dtype=F64))
    order = torch.cat((y.argsort(stable=True)[:40], y.argsort(stable=True)[40:].sort().values))
    return X[order], y[order], weight


def fitted(name: str, own: slice) -> tuple[Model, FitResult]:
    """One of the fits."""
    kind, settings = FITS[name]
    X, y, weight = rows(kind, name in FAR)
    model = MODELS[kind]()
    weights = weight[own] if name in WEIGHTED else None
    with warnings.catch_warnings(action="ignore"):
        return model, fit(model, X[own], y[own], sample_weight=weights, **settings)


def answers(own: slice) -> Iterator[tuple[str, np.ndarray]]:
    """All that must not depend on the number of ranks."""
    for name in FITS:
        model, result = fitted(name, own)
        yield name, flat(model)
        yield f"{name}: epochs", np.array([result.n_epochs, result.converged])
        yield f"{name}: objective", np.array(result.objective)
    model, _ = fitted("logistic auto", own)
    X, y, _ = rows("logistic", far=True)
    yield "standard errors", np.array(infer(model, X[own], y[own]).bse)
    yield "HC1", np.array(infer(model, X[own], y[own], covariance="HC1").bse)
    X = torch.column_stack((X[:, :3], y))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        result = fit(LogisticRegression(4, dtype=F64), X[own], y[own], feature_names=list("abcd"))
    yield "separated", np.array([result.stop_reason, result.diagnosis.line])
    for kind in COLUMNS:
        yield f"columns, {kind}", columns(kind, own)
    for column in ("sound", "dependent"):
        yield f"many rows, {column}", many_rows(column)


def columns(kind: str, own: slice) -> np.ndarray:
    """Means and scales of own rows, standardised with those of the other ranks."""
    X, _, weight = rows("linear", far=True)
    X[:, 3] = 0.1
    if kind == "weighted":  # some count for nothing: all of the first rank's, the largest of all
        X[36, 0], weight[:37] = 1e9, 0.0
    rows_of = sparse_rows(torch.where(X > 0.5, X, 0.0).numpy()) if kind == "sparse" else X
    found = Standardizer.of(rows_of[own], weight[own] if kind == "weighted" else None, shared=True)
    return torch.stack((found.mean, found.scale)).numpy()


def many_rows(column: str) -> np.ndarray:
    """What is said of so many rows that they are not gathered unthinkingly; whether they were."""
    X, y, _ = rows("logistic")
    X, y = X.repeat(150, 1), y.repeat(150)  # 144,000 entries
    if column == "dependent":
        X[:, 3] = 2 * X[:, 0]
    own, gathered = distributed.shard(len(y)), []
    all_rows = distributed.all_rows
    distributed.all_rows = lambda part: gathered.append(part) or all_rows(part)  # type: ignore
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        result = fit(LogisticRegression(4, dtype=F64), X[own], y[own], optimizer="newton")
        line = result.diagnosis.line
    distributed.all_rows = all_rows
    return np.array([result.stop_reason, line, str(bool(gathered))])


def flat(model: Model) -> np.ndarray:
    """All parameters."""
    return torch.cat([p.detach().flatten() for p in model.parameters()]).numpy()


def refusals(own: slice) -> Iterator[tuple[str, np.ndarray]]:
    """One line each."""
    X, y, _ = rows("logistic")
    X, y = X[own].clone(), y[own]
    for name in ("saga", "kernel_newton", "dual_coordinate", "coordinate_newton"):
        yield name, message(X, y, optimizer=name, penalty=L2(0.1))
    yield "one class", message(X, torch.zeros_like(y))
    yield "batch_size", message(X, y, batch_size=1000)
    wrong = X.clone()
    wrong[3, 2] = torch.nan
    yield "NaN", message(wrong if distributed.rank() == 1 else X, y)
    yield "no rows", message(X[:0], y[:0]) if distributed.rank() == 0 else message(X, y)


def message(X: Tensor, y: Tensor, **settings: object) -> np.ndarray:
    """What fit says against it."""
    try:
        fit(LogisticRegression(4, dtype=F64), X, y, **settings)  # type: ignore[arg-type]
    except (ValueError, ConnectionError) as error:
        return np.array(str(error))
    return np.array("")


class Batches(Hook):
    """Asks for the end on rank 1 alone, after two epochs."""

    def on_epoch_end(self, state: object) -> None:
        if distributed.rank() == 1 and state.epoch == 2:  # type: ignore[attr-defined]
            state.request_stop("enough")  # type: ignore[attr-defined]


class Killed(Hook):
    """Rank 2 is killed after epoch 20 of the first try, and nothing is left of its process."""

    def __init__(self, note: Path) -> None:
        self.note = note

    def on_epoch_end(self, state: object) -> None:
        first = os.environ["TORCHELASTIC_RESTART_COUNT"] == "0"
        if first and distributed.rank() == 2 and state.epoch == 20:  # type: ignore[attr-defined]
            self.note.write_text("epoch 20")
            os.kill(os.getpid(), signal.SIGKILL)


class Failing(Hook):
    """Fails on the last rank, after the third epoch."""

    def on_epoch_end(self, state: object) -> None:
        if distributed.rank() == distributed.world_size() - 1 and state.epoch == 3:  # type: ignore[attr-defined]
            raise RuntimeError("this rank has failed")


def batched(own: slice) -> Iterator[tuple[str, np.ndarray]]:
    """Mini-batches of each optimizer that takes them: steps and epochs; parameters."""
    X, y, _ = rows("logistic")
    for name in BATCHED:
        model = LogisticRegression(4, dtype=F64)
        result = fit(
            model, X[own], y[own], optimizer=name, batch_size=10, tol=0, max_epochs=5,
            penalty=L2(0.1), hooks=[Batches()], generator=torch.Generator().manual_seed(1),
        )  # fmt: skip
        yield f"batches {name}", np.array([result.n_steps, result.n_epochs])
        yield f"batched {name}", flat(model)


def descended(own: slice, epochs: int, hooks: list[Hook], resume: Path | None) -> Model:
    """Some epochs of gradient descent."""
    X, y, _ = rows("logistic")
    model = LogisticRegression(4, dtype=F64)
    fit(
        model, X[own], y[own], optimizer="sgd", tol=0, max_epochs=epochs, hooks=hooks,
        resume=resume,
    )  # fmt: skip
    return model


def main(task: str, folder: Path) -> None:
    """Run a task on this rank."""
    end_with_parent()
    torch.set_num_threads(1)
    with distributed.joined(timeout=20 if task == "cut" else 60) as rank:
        cuts = CUTS[distributed.world_size()]
        own = slice(cuts[rank], cuts[rank + 1])
        if task == "table":
            found = dict(answers(own)) | dict(refusals(own))
            np.savez(folder / f"{rank}.npz", **found, **dict(batched(own)))
        elif task == "fail":
            X, y, _ = rows("logistic")
            model = LogisticRegression(4, dtype=F64)
            fit(model, X[own], y[own], optimizer="sgd", tol=0, hooks=[Failing()])
        elif task in ("whole", "killed"):
            X, y, _ = rows("logistic")
            model = LogisticRegression(4, dtype=F64)
            kill = [Killed(folder / "killed")] if task == "killed" else []
            kept = folder / f"checkpoints {task}"
            fit(
                model, X[own], y[own], optimizer="momentum", batch_size=20, tol=0, max_epochs=40,
                hooks=[Checkpoint(kept, every=7), *kill], resume=kept,
                generator=torch.Generator().manual_seed(3), weighting=Focal(1.0),
            )  # fmt: skip
            np.savez(folder / f"{rank} {task}.npz", model=flat(model))
        elif task == "estimator":
            X, y, _ = rows("logistic")
            LogisticClassifier().fit(X[own].numpy(), y[own].numpy())
        else:
            (folder / f"{rank}.started").touch()
            epochs, kept = (folder / "epochs").read_text(), folder / "kept"
            keep = [] if task == "one" else [Checkpoint(kept, every=50)]
            model = descended(own, int(epochs), keep, kept if task == "resumed" else None)
            np.savez(folder / f"{rank}.npz", model=flat(model))


if __name__ == "__main__":
    try:
        main(sys.argv[1], Path(sys.argv[2]))
    except (ConnectionError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
