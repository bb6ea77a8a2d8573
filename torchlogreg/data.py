"""Batch: rows that travel together, and the mini-batches drawn from them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from torchlogreg.sparse import is_sparse, row_width

SPARSE = 2**22
"""Entries of sparse rows that a block may have in any case: where nothing dense is made of them, it
is numbers a row that fill memory."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows of a regression problem.

    Attributes
    ----------
    X : Tensor, shape (n, p)
    y : Tensor, shape (n,) or (n, K)
    sample_weight : Tensor, shape (n,)
        Scaled to mean one over *all* rows, so that a mini-batch's mean may differ from one.
    offset : Tensor, shape (n,) or (n, r), or None
    index : Tensor, shape (n,), or None
        Of a mini-batch: which rows of the data these are.
    squares : Tensor, shape (p,), or None
        Sums of squares of the columns of ``X``, in double precision, where they are known.
    """

    X: Tensor
    y: Tensor
    sample_weight: Tensor
    offset: Tensor | None = None
    index: Tensor | None = None
    squares: Tensor | None = None

    def __len__(self) -> int:
        return self.X.shape[0]

    def rows(self, index: Tensor | slice) -> Batch:
        """The rows that ``index`` names (a view for a slice, a copy for a tensor)."""
        offset = None if self.offset is None else self.offset[index]
        which = index if isinstance(index, Tensor) else None
        return Batch(self.X[index], self.y[index], self.sample_weight[index], offset, which)

    def blocks(self, n_values: int = 2**23) -> Iterator[Batch]:
        """Consecutive views of at most ``n_values`` entries of ``X``: bounds temporaries.

        Of sparse rows at most ``n_values`` rows.
        """
        size = n_values // row_width(self.X)
        if is_sparse(self.X):
            size = min(n_values, SPARSE // row_width(self.X))
        return self.strips(size)

    def strips(self, size: int) -> Iterator[Batch]:
        """Consecutive views of at most ``size`` rows, and at least one."""
        size = max(1, size)
        for start in range(0, len(self), size):
            yield self if size >= len(self) else self.rows(slice(start, start + size))

    def reweighted(self, sample_weight: Tensor) -> Batch:
        """The same rows under other weights; nothing is copied."""
        return Batch(self.X, self.y, sample_weight, self.offset, squares=self.squares)


def minibatches(
    data: Batch, batch_size: int | None, generator: torch.Generator | None
) -> Iterator[Batch]:
    """One epoch: every row once, in a new random order, ``batch_size`` at a time.

    Parameters
    ----------
    data : Batch
    batch_size : int or None
        None yields ``data`` itself, once and unshuffled.
    generator : torch.Generator or None
        Source of the order; torch's global one if None. Lives on the CPU, so that the order does
        not depend on the device.

    Yields
    ------
    Batch
        The last one may be smaller.
    """
    if batch_size is None:
        yield data
        return
    order = torch.randperm(len(data), generator=generator).to(data.X.device)
    for index in torch.split(order, batch_size):
        yield data.rows(index)
