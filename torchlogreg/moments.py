"""Sums of the columns and of their products: for least squares and for the look at the columns."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from torchlogreg import kernels
from torchlogreg.data import pieces

BLOCK = 2**17
"""Entries of a block of rows, 1 MB: it and two copies stay in the cache."""

NEAR = 2.0
"""Standard deviations from zero up to which columns need not be moved: it costs half a digit."""


class Moments(NamedTuple):
    """What ``X`` says of itself, with ``S`` the weights of its rows.

    Attributes
    ----------
    centre : Tensor, shape (p,)
        What was taken off the columns: about their means, or zeros.
    gram : Tensor, shape (p, p)
        ``(X - centre)' S (X - centre)``.
    total : Tensor, shape (p,)
        ``(X - centre)' S 1``.
    by_y : Tensor, shape (p,), or None
        ``(X - centre)' S y``, where it was asked for and came by the way.
    """

    centre: Tensor
    gram: Tensor
    total: Tensor
    by_y: Tensor | None = None


def moments(X: Tensor, sample_weight: Tensor, *, move: bool, y: Tensor | None = None) -> Moments:
    """In one read of ``X``, a block at a time.

    Parameters
    ----------
    X : Tensor, shape (n, p)
        Dense.
    sample_weight : Tensor, shape (n,)
    move : bool
        Whether the columns may be moved, as an intercept allows.
    y : Tensor, shape (n,), optional
        Of the dtype of ``X``: a right side that is wanted, too, where compiled kernels make it.
    """
    centre = centre_of(X) if move else torch.zeros_like(X[0])
    if untouched(X, centre):
        if y is not None:
            return Moments(centre, *kernels.gram_and_right(X, sample_weight, y))
        return Moments(centre, *kernels.gram_and_totals(X, sample_weight))
    gram, total = centre.new_zeros(len(centre), len(centre)), torch.zeros_like(centre)
    for block, weight in pieces(X, sample_weight, size=BLOCK // X.shape[1] + 1):
        moved = block - centre
        weighted = moved * weight[:, None]
        gram += weighted.T @ moved
        total += weighted.sum(0)
    return Moments(centre, gram, total)


def centre_of(X: Tensor) -> Tensor:
    """Mean of a few rows, (p,); zero where all columns are near it and kernels can be used."""
    spread, mean = torch.std_mean(X[:: len(X) // 1000 + 1], 0)
    near = kernels.gram_available(X) and bool((mean.abs() <= NEAR * spread).all())
    return torch.zeros_like(mean) if near else mean


def untouched(X: Tensor, centre: Tensor) -> bool:
    """Whether compiled kernels take the rows as they are."""
    return kernels.gram_available(X) and not bool(centre.any())
