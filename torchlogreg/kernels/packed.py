"""Inner products of rows from columns kept as short integers."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from torchlogreg.kernels.interface import compiled
from torchlogreg.kernels.parts import cut, share

LARGEST = 32767
"""Of a short integer."""

MOST = 2**25
"""Entries that are packed, 64 MB."""


class Packed(NamedTuple):
    """Columns of ``X - centre``, rounded to multiples of a ``LARGEST``-th of their greatest entry.

    Attributes
    ----------
    codes : Tensor, shape (q, n), int16
        A column is a row; columns of zeros make their number ``q`` a multiple of four.
    weights : Tensor, shape (q,), float32
        Squares of what a one stands for, over ``unit``.
    centre : Tensor, shape (p,), or None
    unit : float
        A power of two, such that no inner product is above one.
    """

    codes: Tensor
    weights: Tensor
    centre: Tensor | None
    unit: float

    def about(self, A: Tensor) -> Tensor:
        """``(X - centre)(X - centre)' A / unit``, (n, r), for ``A`` (n, r): one read of the codes.

        Parameters
        ----------
        A : Tensor, shape (n, r), float32
        """
        from torchlogreg.kernels.integers import ABOUT

        groups, (n, r) = len(self.codes) // 4, A.shape
        parts, size = cut(groups, self.codes.numel() * r, limit=8)
        sums = np.empty((parts, r, n), np.float32)
        arrays = self.codes.numpy(), self.weights.numpy(), A.T.contiguous().numpy(), sums
        share(lambda first, last: ABOUT(first, last, size, *arrays), parts)
        return torch.from_numpy(sums.sum(0)).T

    def lengths(self) -> Tensor:
        """Squared lengths of the rows of ``X - centre`` over ``unit``, (n,), by another read."""
        from torchlogreg.kernels.integers import LENGTHS

        sums = np.zeros(self.codes.shape[1], np.float32)
        LENGTHS(self.codes.numpy(), self.weights.numpy(), sums)
        return torch.from_numpy(sums)


def packed_available(X: Tensor) -> bool:
    """Whether :func:`pack` takes this matrix: numba is there, and the codes are not too many."""
    return compiled(X) and X.numel() <= MOST


def pack(X: Tensor, *, centred: bool) -> Packed:
    """Round the columns of ``X`` (n, p), about their means or not, in two reads.

    An error is at most ``sqrt(n) / 113,000`` of the column's length, mostly far less: bfloat16 has
    a thousandth.

    Parameters
    ----------
    X : Tensor, shape (n, p)
        One for which :func:`packed_available` holds.
    centred : bool
    """
    from torchlogreg.kernels.integers import PACK, RANGES

    (n, p), rows = X.shape, X.detach().numpy()
    parts, size = cut(n, n * p, limit=4)
    sums = np.empty((parts, 3, p))
    share(lambda first, last: RANGES(first, last, size, rows, sums), parts)
    centre = sums[:, 2].sum(0) / n if centred else np.zeros(p)
    reach = np.maximum(sums[:, 1].max(0) - centre, centre - sums[:, 0].min(0))
    scale = np.divide(LARGEST, reach, out=np.zeros(p), where=reach > LARGEST * np.finfo(float).tiny)
    codes = np.zeros((-(-p // 4) * 4, n), np.int16)
    parts, size = cut(n, n * p, limit=4)
    share(lambda first, last: PACK(first, last, size, rows, centre, scale, codes), parts)
    unit = 2.0 ** int(np.frexp(np.square(reach).sum())[1])
    weights = np.zeros(len(codes), np.float32)
    weights[:p] = np.square(reach / LARGEST) / unit
    kept = torch.from_numpy(centre).to(X.dtype) if centred else None
    return Packed(torch.from_numpy(codes), torch.from_numpy(weights), kept, unit)
