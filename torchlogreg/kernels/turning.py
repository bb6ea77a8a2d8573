"""The curvature of the binary loss in a basis in which its columns have little in common."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from torchlogreg.kernels.parts import cut, share
from torchlogreg.kernels.strips import as_array, mirrored

WIDEST = 64
"""Columns up to which the matrix stays in the first-level cache beside the rows."""

HEIGHT, REGISTER = 128, 64
"""Rows of a block, and bytes that the columns of ``Y`` are filled up to a multiple of."""


class TurnedSums(NamedTuple):
    """One read of the rows: sums over them, nothing divided by their number, in float64.

    Attributes
    ----------
    curvature : Tensor, shape (m, m)
        ``Y' A Y``, ``A`` the weighted second derivatives of the binary loss.
    value : Tensor, scalar
    by_weight : Tensor, shape (p,)
    by_intercept : Tensor, scalar
        Derivatives of ``value``.
    least : float
        The smallest entry of ``A`` of a row with weight.
    longest : float
        The largest length of a row of ``Y``, whatever its weight; what becomes of an entry that is
        not a number is seen in the other sums.
    """

    curvature: Tensor
    value: Tensor
    by_weight: Tensor
    by_intercept: Tensor
    least: float
    longest: float


def turned_sums(
    X: Tensor,
    y: Tensor,
    T: Tensor,
    shift: Tensor,
    *,
    sample_weight: Tensor,
    weight: Tensor,
    intercepts: Tensor,
    offset: Tensor | None = None,
) -> TurnedSums:
    """Sums over the rows of ``Y = X T + shift``, in one read.

    Parameters
    ----------
    X : Tensor, shape (n, p)
        Contiguous rows for which :func:`torchlogreg.kernels.curvature_available` holds.
    y : Tensor, shape (n,)
    T, shift : Tensor, shapes (p, m) and (m,)
    sample_weight : Tensor, shape (n,)
    weight : Tensor, shape (1, p)
    intercepts : Tensor, shape (1,)
    offset : Tensor, shape (n,) or (n, 1), optional
    """
    from torchlogreg.kernels.turned import TURNED

    (n, p), m = X.shape, T.shape[1]
    filling = REGISTER // X.element_size()
    wide = -(-m // filling) * filling
    filled, row = np.zeros((p, wide), as_array(X).dtype), np.zeros(wide, as_array(X).dtype)
    filled[:, :m], row[:m] = as_array(T), as_array(shift)
    known = X.new_empty(n, 0) if offset is None else offset.reshape(n, -1)
    parts, size = cut(n, n * p, limit=16)
    sums, heads = np.empty((parts, wide, wide)), np.empty((parts, 4 + p))
    arrays = [as_array(t) for t in (X, y, sample_weight, known, weight, intercepts)]
    share(
        lambda first, last: TURNED(
            first, last, size, HEIGHT, *arrays, filled, row, sums, heads
        ),
        parts,
    )  # fmt: skip
    upper = torch.from_numpy(np.triu(sums.sum(0)[:m, :m]))
    total = torch.from_numpy(heads[:, 2:].sum(0))
    least, longest = float(heads[:, 0].min()), math.sqrt(heads[:, 1].max())
    return TurnedSums(mirrored(upper), total[0], total[2:], total[1], least, longest)
