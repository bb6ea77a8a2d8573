"""Targets: checked once, before training, and turned into the form a loss takes."""

from __future__ import annotations

import torch
from torch import Tensor


def number_target(y: Tensor, dtype: torch.dtype) -> Tensor:
    """A finite number for every row.

    Parameters
    ----------
    y : Tensor, shape (n,) or (n, 1)
    dtype : torch.dtype
        Floating dtype of the model.

    Returns
    -------
    Tensor, shape (n,), of ``dtype``.

    Raises
    ------
    ValueError
        If the shape is wrong or an entry is NaN or infinite; names the first such row.
    """
    y = _column(y).to(dtype)
    if len(y) and bool(torch.isfinite(y.sum())):
        return y
    _refuse(~torch.isfinite(y), y, "is not a finite number; remove or impute it")
    return y


def probability_target(y: Tensor, dtype: torch.dtype) -> Tensor:
    """A label 0 or 1, or a probability between them, for every row.

    Parameters
    ----------
    y : Tensor, shape (n,) or (n, 1)
    dtype : torch.dtype
        Floating dtype of the model.

    Returns
    -------
    Tensor, shape (n,), of ``dtype``.

    Raises
    ------
    ValueError
        If an entry lies outside [0, 1] or is NaN; names the first such row.
    """
    y = _column(y).to(dtype)
    if len(y):
        low, high = y.amin(), y.amax()  # quicker than aminmax
        if float(low) >= 0 and float(high) <= 1:  # NaN is neither
            return y
    what = "neither a label 0 or 1 nor a probability between them"
    _refuse(~((y >= 0) & (y <= 1)), y, f"is {what}; encode the classes as 0 and 1")
    return y


def class_target(y: Tensor, n_classes: int, dtype: torch.dtype) -> Tensor:
    """A class index for every row, or a distribution over the classes.

    Parameters
    ----------
    y : Tensor, shape (n,), (n, 1) or (n, K)
    n_classes : int
        ``K``.
    dtype : torch.dtype
        Floating dtype of the model.

    Returns
    -------
    Tensor, shape (n,) of int64, or (n, K) of ``dtype``.

    Raises
    ------
    ValueError
        If an index is not an integer in [0, K), or a row is not a distribution; names the row.
    """
    if y.ndim == 2 and y.shape[1] == n_classes:
        own = y.dtype if y.is_floating_point() else dtype
        tolerance = 100 * max(torch.finfo(dtype).eps, torch.finfo(own).eps)
        y = y.to(dtype)
        wrong = ~((y >= 0).all(1) & ((y.sum(1) - 1).abs() <= tolerance * n_classes))
        if bool(wrong.any()):
            row = int(wrong.nonzero()[0])
            raise ValueError(
                f"row {row}: target {y[row].tolist()} is not a distribution over {n_classes} "
                "classes; its entries must be >= 0 and sum to one"
            )
        return y
    y = _column(y)
    known = (y >= 0) & (y < n_classes) & (y == y.floor() if y.is_floating_point() else y == y)
    _refuse(~known, y, f"is no class index from 0 to {n_classes - 1}; encode the classes so")
    return y.long()


def _column(y: Tensor) -> Tensor:
    """(n, 1) is read as (n,); anything else of two dimensions is an error."""
    if y.ndim == 2 and y.shape[1] == 1:
        y = y.squeeze(1)
    if y.ndim != 1:
        raise ValueError(f"the target has shape {tuple(y.shape)}, but one entry a row is needed")
    if y.is_complex():
        raise ValueError("the target is complex, but a real number or a class index is needed")
    return y


def _refuse(wrong: Tensor, y: Tensor, why: str) -> None:
    if bool(wrong.any()):  # waits for the device, once, before training
        row = int(wrong.nonzero()[0])
        raise ValueError(f"row {row}: target {y[row].item():g} {why}")
