"""Rows to train on and to test: divided, standardised, scored."""

from __future__ import annotations

import argparse
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from torchlogreg import Model
from torchlogreg.datasets import Dataset
from torchlogreg.scaling import Standardizer


@dataclass(frozen=True)
class Split:
    """A data set as tensors, divided: ``X`` to train on (standardised), ``X_raw`` the same rows."""

    X: Tensor
    X_raw: Tensor
    y: Tensor
    X_test: Tensor
    y_test: Tensor
    standardizer: Standardizer | None


def divide(args: argparse.Namespace, dataset: Dataset, model: Model) -> Split:
    """Train and test rows, standardised by the training rows alone."""
    from sklearn.model_selection import train_test_split

    counts = (
        np.bincount(dataset.y.astype(int)) if dataset.class_names else np.array([len(dataset.y)])
    )
    stratify = dataset.y if dataset.class_names and counts.min() > 1 else None
    X, X_test, y, y_test = train_test_split(
        dataset.X, dataset.y, test_size=args.test_size, random_state=args.seed, stratify=stratify
    )
    check_classes(dataset, y)
    like = model.weight.detach()
    X, X_test, y, y_test = (
        torch.as_tensor(a, device=like.device, dtype=None if a.dtype.kind == "i" else like.dtype)
        for a in (X, X_test, y, y_test)
    )
    if not args.standardize:
        return Split(X, X, y, X_test, y_test, None)
    standardizer = Standardizer.of(X, centre=args.bias)
    return Split(standardizer.transform(X), X, y, X_test, y_test, standardizer)


def check_classes(dataset: Dataset, y: np.ndarray) -> None:
    """Refuse training rows in which a class, or all difference, is missing.

    Raises
    ------
    ValueError
        Naming the class.
    """
    target = dataset.target_name
    if not dataset.class_names and np.ptp(y) == 0:
        raise ValueError(f"target {target!r} is {y[0]:g} in all {len(y)} training rows")
    for code, name in enumerate(dataset.class_names):
        if not (y == code).any():
            raise ValueError(
                f"class {name!r} of {target!r} has {(dataset.y == code).sum()} rows, and none of "
                "them is among the training rows; use another --seed, a smaller --test-size or "
                "more rows"
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
