"""Rows to train on and to test: divided, standardised, scored."""

from __future__ import annotations

import argparse
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from torchlogreg import Model
from torchlogreg.datasets import Dataset
from torchlogreg.distributed import shard
from torchlogreg.scaling import Standardizer


@dataclass(frozen=True)
class Split:
    """A data set as tensors, divided.

    ``X``, ``y`` to train on, standardised, on this rank, of ``n_train`` on all; ``X_raw``,
    ``y_raw`` these rows (or the first of them, of all ranks) as they came, to be scored.
    """

    X: Tensor
    y: Tensor
    X_raw: Tensor
    y_raw: Tensor
    X_test: Tensor
    y_test: Tensor
    standardizer: Standardizer | None
    n_train: int


def divide(args: argparse.Namespace, dataset: Dataset, model: Model) -> Split:
    """Train and test rows, standardised by the training rows alone.

    The rows of all ranks are here, and each trains on its part.
    """
    train, test = parts(args, dataset, dataset.y)
    X, X_test, y, y_test = dataset.X[train], dataset.X[test], dataset.y[train], dataset.y[test]
    check_classes(dataset, y)
    like = model.weight.detach()
    X, X_test, y, y_test = (
        torch.as_tensor(a, device=like.device, dtype=None if a.dtype.kind == "i" else like.dtype)
        for a in (X, X_test, y, y_test)
    )
    n, own = len(y), shard(len(y))
    if not args.standardize:
        return Split(X[own], y[own], X, y, X_test, y_test, None, n)
    scale = Standardizer.of(X, centre=args.bias)
    return Split(scale.transform(X[own]), y[own], X, y, X_test, y_test, scale, n)


def parts(
    args: argparse.Namespace, dataset: Dataset, y: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Numbers of the rows to train on and of those to test, with even shares of the classes."""
    from sklearn.model_selection import train_test_split

    counts = np.bincount(y.astype(int)) if dataset.class_names else np.array([len(y)])
    stratify = y if dataset.class_names and counts.min() > 1 else None
    train, test = train_test_split(
        np.arange(len(y)), test_size=args.test_size, random_state=args.seed, stratify=stratify
    )
    return train, test


def check_classes(dataset: Dataset, y: np.ndarray) -> None:
    """Refuse training rows, of all ranks, in which a class, or all difference, is missing.

    Raises
    ------
    ValueError
        Naming the class.
    """
    target = dataset.target_name
    if not dataset.class_names and np.ptp(y) == 0:
        raise ValueError(f"target {target!r} is {y[0]:g} in all {len(y)} training rows")
    refuse_absent(dataset, class_counts(dataset, dataset.y), class_counts(dataset, y))


def class_counts(dataset: Dataset, y: np.ndarray) -> np.ndarray:
    """Rows of every class."""
    return np.bincount(y.astype(int), minlength=len(dataset.class_names))[
        : len(dataset.class_names)
    ]


def refuse_absent(dataset: Dataset, everywhere: np.ndarray, train: np.ndarray) -> None:
    """Every class is among the training rows; counts are of all ranks.

    Raises
    ------
    ValueError
        Naming the class.
    """
    for name, n, n_train in zip(dataset.class_names, everywhere, train, strict=True):
        if not n_train:
            raise ValueError(
                f"class {name!r} of {dataset.target_name!r} has {n} rows, and none of them is "
                "among the training rows; use another --seed, a smaller --test-size or more rows"
            )


@torch.no_grad()
def scores(model: Model, X: Tensor, y: Tensor) -> dict[str, float | None]:
    """Unweighted mean loss, accuracy and AUC; for a numeric target mean squared error and R2."""
    eta = model(X)
    loss = float(model.nll(eta, model.target(y)).mean())
    if model.n_classes is None:
        spread = float((y - y.mean()).square().mean())
        return {"loss": loss, "R2": 1 - loss / spread if spread > 0 else None}
    accuracy = float((model.predict(eta) == y).double().mean())
    return {"loss": loss, "accuracy": accuracy, "AUC": auc(model.mean(eta), y)}


def auc(probabilities: Tensor, y: Tensor) -> float | None:
    """Area under the ROC curve (one against rest, averaged); None where it has no meaning.

    That is where a class is absent, or the model's numbers are none.
    """
    from sklearn.metrics import roc_auc_score

    labels = y.cpu().numpy()
    n_classes = probabilities.shape[1] if probabilities.ndim == 2 else 2
    if len(np.unique(labels)) < n_classes or not bool(torch.isfinite(probabilities).all()):
        return None
    table = probabilities.double()
    table = table / table.sum(1, keepdim=True) if table.ndim == 2 else table
    return float(roc_auc_score(labels, table.cpu().numpy(), multi_class="ovr"))
