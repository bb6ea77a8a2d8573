"""View: the line or plane through feature space on which a model is looked at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from torchlogreg.compressed import DENSE
from torchlogreg.data import Batch
from torchlogreg.sparse import filled, is_sparse

MOST_ROWS = 20_000
"""Rows that the choice of features and the principal axes are computed from."""


@dataclass(frozen=True)
class View:
    """Where a picture looks.

    Attributes
    ----------
    origin : Tensor, shape (p,)
    directions : Tensor, shape (1, p) or (2, p)
        Orthogonal; rows are seen at ``(X - origin) @ directions.T``.
    labels : tuple of str
        One name a direction.
    chosen : tuple of int
        The columns that span it, if it is spanned by columns.
    """

    origin: Tensor
    directions: Tensor
    labels: tuple[str, ...]
    chosen: tuple[int, ...] = ()

    def coordinates(self, X: Tensor) -> Tensor:
        """Where rows (m, p) are seen, (m, 1) or (m, 2)."""
        if is_sparse(X):
            return X @ self.directions.T - self.origin @ self.directions.T
        return (X - self.origin) @ self.directions.T

    def rows(self, coordinates: Tensor) -> Tensor:
        """Rows (m, p) of the line or plane at coordinates (m, 1) or (m, 2)."""
        return self.origin + coordinates @ self.directions


def choose_view(
    data: Batch, features: Sequence[int | str] | str | None, names: Sequence[str] | None
) -> View:
    """The view of these rows.

    Parameters
    ----------
    data : Batch
    features : two indices or names, "pca" or None
        None: all columns if there are at most two; of more, the column that tells most about the
        target and the one that adds most to it, through the medians of the others.
    names : sequence of str, length p, optional

    Raises
    ------
    ValueError
        If a feature is not there, or there are not two of them.
    """
    p = data.X.shape[1]
    if names is not None and len(names) != p:
        raise ValueError(f"{len(names)} feature_names for {p} columns; give each column one")
    names = [f"x{j + 1}" for j in range(p)] if names is None else [str(name) for name in names]
    X, y = data.X, data.y
    if p > 2:  # else nothing is worked out from them
        most = min(MOST_ROWS, DENSE // p) if is_sparse(X) else MOST_ROWS
        step = -(-len(data) // max(1, most))
        X, y = filled(X[::step]), y[::step]
    if features == "pca" and p > 2:
        return _principal(X)
    if features is None or features == "pca":
        chosen = list(range(p)) if p <= 2 else _telling(X, _numeric(y, X))
    else:
        chosen = [_index(feature, names) for feature in features]
    if len(chosen) != min(p, 2) or len(set(chosen)) != len(chosen):
        raise ValueError(
            f"features={features!r} names {len(set(chosen))} columns, but two span a "
            "plane; give two different ones"
        )
    directions = X.new_zeros(len(chosen), p)
    directions[range(len(chosen)), chosen] = 1
    labels = [names[j] for j in chosen]
    if p > 2:
        labels[0] += " (others at their medians)"
    origin = X.new_zeros(p)
    if p > 2:
        origin = X.median(0).values * (1 - directions.sum(0))
    return View(origin, directions, tuple(labels), tuple(chosen))


def labels_of(y: Tensor) -> Tensor:
    """The (most probable) class of each row, integers (n,)."""
    if y.ndim == 2:
        return y.argmax(1)
    return (y >= 0.5).long() if y.is_floating_point() else y


def _index(feature: int | str, names: Sequence[str]) -> int:
    if isinstance(feature, str) and feature in names:
        return list(names).index(feature)
    if isinstance(feature, int) and 0 <= feature < len(names):
        return feature
    raise ValueError(
        f"features names {feature!r}, but there are {len(names)}: {', '.join(list(names)[:8])}"
        + (", ..." if len(names) > 8 else "")
    )


def _numeric(y: Tensor, X: Tensor) -> Tensor:
    """The target as columns (n, c) that a feature can correlate with."""
    if y.ndim == 1 and not y.is_floating_point():
        return torch.nn.functional.one_hot(y).to(X.dtype)
    return y.reshape(len(y), -1).to(X.dtype)


def _telling(X: Tensor, y: Tensor) -> list[int]:
    """The column that explains most of the target, and the one that then adds most."""
    scale = X.std(0)
    X = (X - X.mean(0)) / torch.where(scale > 0, scale, torch.inf)
    y = y - y.mean(0)
    told = (X.T @ y).square().sum(1)
    first = int(told.argmax())
    one = X[:, first : first + 1]
    length = one.square().sum().clamp_min(1e-30)
    rest, left = X - one @ (one.T @ X) / length, y - one @ (one.T @ y) / length
    added = (rest.T @ left).square().sum(1)
    norms = rest.square().sum(0)
    added = torch.where(norms > 1e-6 * len(X), added / norms, -1.0)
    added[first] = -torch.inf
    return [first, int(added.argmax())]


def _principal(X: Tensor) -> View:
    """The plane of the two principal axes, through the mean."""
    mean = X.mean(0)
    centred = X - mean
    values, axes = torch.linalg.eigh(centred.T @ centred)
    largest = values.flip(0).clamp_min(0)
    axes = axes.flip(1)[:, :2].T  # (2, p)
    sign = axes.gather(1, axes.abs().argmax(1, keepdim=True)).sign()  # the same in every fit
    share = (100 * largest[:2] / largest.sum().clamp_min(1e-30)).tolist()
    labels = tuple(f"principal axis {j + 1} ({share[j]:.0f} % of variance)" for j in range(2))
    return View(mean, axes * sign, labels)


def class_labels(n_classes: int, class_names: Sequence[str] | None) -> list[str]:
    """The user's names of the classes, or "class 0", "class 1", ...

    Raises
    ------
    ValueError
        If there are more or fewer names than classes.
    """
    if class_names is None:
        return [f"class {j}" for j in range(n_classes)]
    if len(class_names) != n_classes:
        raise ValueError(f"{len(class_names)} class_names for {n_classes} classes; name each one")
    return [str(name) for name in class_names]
