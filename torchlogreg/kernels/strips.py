"""The compiled sweeps over contiguous rows, and over others strip by strip.

Rows with gaps between them, such as some columns of a wider table, are copied, a strip at a time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from torchlogreg.kernels.parts import cut, share
from torchlogreg.meter import counted, passed

Array = np.ndarray[Any, Any]

BLOCK_BYTES = 2**17  # rows in the second-level cache, read once for the scores and once for S' X

ENTRIES = 2**20
"""Entries of a strip, 8 MB: in the last cache, and large beside the cost of a call."""


def over_strips(X: Tensor, work: Callable[[Tensor, slice], Tensor]) -> Tensor:
    """Sum of ``work(rows, which)`` over consecutive rows, each time contiguous ones.

    A copy runs at the speed of memory, so that a kernel pays for one read of ``X`` in any case.

    Parameters
    ----------
    X : Tensor, shape (n, p)
        Contiguous rows are taken at once.
    work : callable
        Its rows are gone when it returns.
    """
    if X.is_contiguous():
        return work(X, slice(0, len(X)))
    size = max(1, ENTRIES // X.shape[1])
    room, found = X.new_empty(min(size, len(X)), X.shape[1]), []
    for start in range(0, len(X), size):
        rows = slice(start, min(start + size, len(X)))
        found.append(work(room[: rows.stop - start].copy_(X[rows]), rows))
        passed(rows.stop - start)
    return torch.stack(found).sum(0)


def swept(
    kind: str,
    X: Tensor,
    rows: slice,
    by_row: list[Array],
    shared: list[Array],
    *,
    squared: bool = False,
    even: bool = False,
) -> Tensor:
    """Value and gradients of contiguous rows (1 + r p + k,), in double precision.

    Parameters
    ----------
    kind : str
        In ``SWEEPS``.
    X : Tensor, shape (m, p)
    rows : slice
        Which of all rows these are.
    by_row : list of arrays
        y, sample weights, offsets; eta and losses, which are filled: of all rows.
    shared : list of arrays
        Weight (r, p), intercepts (k,) and what :func:`torchlogreg.kernels.evaluate` knows of gaps.
    squared : bool
        Whether the squares of the columns follow, p more numbers.
    even : bool
        Whether all sample weights are one: they are then not read.
    """
    from torchlogreg.kernels.sweeps import SWEEPS

    r, k = len(shared[0]), len(shared[1])
    (n, p), run = X.shape, SWEEPS[kind]
    parts, size = cut(n, n * p * r)
    height = _height(X) if r > 1 else _height(X, 2 * BLOCK_BYTES, 1024)
    *given, eta, losses = (array[rows] for array in by_row)
    if even:
        given[1] = np.ones(height, given[1].dtype)
    arrays = [as_array(X), *given, *shared, eta, losses]
    sums = np.empty((parts, 1 + r * p + k + (p if squared else 0)))
    share(
        counted(lambda i, j: run(i, j, size, height, *arrays, sums), n, p, parts),
        parts,
    )
    return torch.from_numpy(sums.sum(0))


def upper_gram(X: Tensor, d: Array, *, totals: bool = False, y: Array | None = None) -> Tensor:
    """Upper triangle of ``X' diag(d) X`` (p, p) for contiguous rows, in double precision.

    With ``totals`` below it ``d @ X``, (p + 1, p); with ``y`` (n,) below both ``(d y) @ X``.
    """
    from torchlogreg.kernels.sweeps import GRAM

    n, p = X.shape
    parts, size = cut(n, n * p, limit=16)
    extra, right = (int(totals), d[:0]) if y is None else (2, y)
    sums, rows, height = np.empty((parts, p + extra, p)), as_array(X), _height(X)
    share(
        counted(lambda i, j: GRAM(i, j, size, height, rows, d, right, sums), n, p, parts),
        parts,
    )
    found = sums.sum(0)
    found[:p] = np.triu(found[:p])
    return torch.from_numpy(found)


def bent_gram(X: Tensor, rows: slice, by_row: list[Array], shared: list[Array]) -> Tensor:
    """Upper triangle of ``[X, 1]' A [X, 1]`` (p + 1, p + 1) of contiguous rows, in float64.

    ``A`` are second derivatives of the binary loss, or with ``y`` squares of the first.

    Parameters
    ----------
    X : Tensor, shape (m, p)
    rows : slice
        Which of all rows these are.
    by_row : list of arrays
        y (n,) or (0,), sample weights, offsets.
    shared : list of arrays
        Weight (1, p), intercept (1,).
    """
    from torchlogreg.kernels.bends import BENT

    n, p = X.shape
    parts, size = cut(n, n * p, limit=16)
    sums, height = np.empty((parts, p + 1, p + 1)), _height(X)
    arrays = [as_array(X), *(array[rows] for array in by_row), *shared]
    share(lambda first, last: BENT(first, last, size, height, *arrays, sums), parts)
    return torch.from_numpy(np.triu(sums.sum(0)))


def mirrored(upper: Tensor) -> Tensor:
    """A symmetric matrix from its upper triangle; by numpy, whose threads survive a fork."""
    array = upper.numpy()
    return torch.from_numpy(array + np.triu(array, 1).T)


def squares(X: Tensor) -> Tensor:
    """Sums of squares of the columns of contiguous rows, (p,)."""
    from torchlogreg.kernels.sweeps import SQUARES

    n, p = X.shape
    parts, size = cut(n, n * p)
    sums, rows = np.empty((parts, p)), as_array(X)
    share(lambda first, last: SQUARES(first, last, size, rows, sums), parts)
    return torch.from_numpy(sums.sum(0))


def as_array(tensor: Tensor) -> Array:
    """The same memory, or a contiguous copy."""
    array: Array = tensor.detach().contiguous().numpy()
    return array


def _height(X: Tensor, size: int = BLOCK_BYTES, most: int = 128) -> int:
    """Rows of a block: what fits the cache, an even number of tiles; each block costs 0.6 us."""
    return max(8, min(most, size // (X.shape[1] * X.element_size()) // 8 * 8))
