"""Batch: rows that travel together, and the mini-batches drawn from them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from torchlogreg import distributed
from torchlogreg.disk import mapped as mapping
from torchlogreg.disk.mapped import Rooms
from torchlogreg.few_rows import FewRows
from torchlogreg.hard_labels import Labels
from torchlogreg.meter import passed
from torchlogreg.pages import empty
from torchlogreg.sparse import is_sparse, row_width

GATHERED = 2**25
"""Entries of ``X`` on all ranks, 256 MB in float64, of which each may have a copy: exact solutions,
doubled precision and tests for separation look at every row many times."""

PIECE = 2**18
"""Mapped rows that are computed with together: 2 MB for each number a row in float64."""

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
    total : int or None
        Where these are one rank's part of the rows: how many there are on all ranks. Sums over the
        rows are then sums over the ranks too.
    rooms : Rooms or None
        Where ``X`` stays on disk: what is made of its rows then does, too.
    few : FewRows or None
        What one product said of few rows, on one process; see :mod:`torchlogreg.few_rows`.
    ones : Tensor, shape (n,), or None
        Weights that are known to be all one.
    labels : Labels or None
        What a kernel has seen of ``y``.
    """

    X: Tensor
    y: Tensor
    sample_weight: Tensor
    offset: Tensor | None = None
    index: Tensor | None = None
    squares: Tensor | None = None
    total: int | None = None
    rooms: Rooms | None = None
    few: FewRows | None = None
    ones: Tensor | None = None
    labels: Labels | None = None

    @property
    def even(self) -> bool:
        """Whether all weights are known to be one."""
        return self.ones is self.sample_weight

    @property
    def hard(self) -> Labels | None:
        """What is known of ``y``, if nobody has changed it since."""
        return self.labels if self.labels is not None and self.labels.holds(self.y) else None

    @property
    def n(self) -> int:
        """Number of rows, of all ranks."""
        return self.X.shape[0] if self.total is None else self.total

    @property
    def mapped(self) -> bool:
        """Whether ``X`` stays on disk."""
        return self.rooms is not None

    def summed(self, part: Tensor) -> Tensor:
        """Sum over the ranks of what was summed over these rows."""
        return part if self.total is None else distributed.all_sum(part)

    def least(self, part: Tensor) -> Tensor:
        """The least over the ranks, entry by entry."""
        return part if self.total is None else distributed.all_min(part)

    def largest(self, part: Tensor) -> Tensor:
        """The largest over the ranks, entry by entry."""
        return part if self.total is None else distributed.all_max(part)

    def gathered(self) -> Batch:
        """The rows of all ranks, on every rank; itself on one process."""
        if self.total is None:
            return self
        offset = None if self.offset is None else distributed.all_rows(self.offset)
        X, y, weight = map(distributed.all_rows, (self.X, self.y, self.sample_weight))
        return Batch(X, y, weight, offset)

    def at_hand(self) -> Batch:
        """The rows of all ranks, if they are few enough for each of them; else itself."""
        return self.gathered() if self.n * self.X.shape[1] <= GATHERED else self

    def room(self, *columns: int, dtype: torch.dtype | None = None) -> Tensor:
        """A new tensor, by default of the dtype of ``X``, not filled: (n,), or (n, columns)."""
        shape, dtype = (len(self), *columns), self.X.dtype if dtype is None else dtype
        if self.rooms is not None and math.prod(shape) * dtype.itemsize >= mapping.LARGE:
            return self.rooms.tensor(shape, dtype)
        return empty(shape, dtype, self.X.device)

    def each(self, work: Callable[..., Tensor], *parts: Tensor | None) -> Tensor:
        """``work(*parts)``, (n, ...), which needs no other row for any.

        Of mapped rows piece by piece onto disk: nothing of their number is made in memory.
        """
        if self.rooms is None:
            return work(*parts)
        first = work(*_rows_of(parts, slice(0, 1)))
        found = self.room(*first.shape[1:], dtype=first.dtype)
        for start in range(0, len(self), PIECE):
            rows = slice(start, start + PIECE)
            found[rows] = work(*_rows_of(parts, rows))
        return found

    def sum_of(self, work: Callable[..., Tensor], *parts: Tensor | None) -> Tensor:
        """``work(*parts)``, a sum over these rows, over those of all ranks; bounded likewise."""
        size = len(self) if self.rooms is None else PIECE
        found = work(*_rows_of(parts, slice(0, size)))
        for start in range(size, len(self), size):
            found = found + work(*_rows_of(parts, slice(start, start + size)))
        return self.summed(found)

    def __len__(self) -> int:
        return self.X.shape[0]

    def rows(self, index: Tensor | slice) -> Batch:
        """The rows that ``index`` names (a view for a slice, a copy for a tensor)."""
        offset = None if self.offset is None else self.offset[index]
        which = index if isinstance(index, Tensor) else None
        X, y = taken(self.X, index), taken(self.y, index)
        return Batch(X, y, taken(self.sample_weight, index), offset, which)

    def blocks(self, n_values: int = 2**23) -> Iterator[Batch]:
        """Consecutive views of at most ``n_values`` entries of ``X``: bounds temporaries.

        Of sparse rows at most ``n_values`` rows.
        """
        return self.strips(self.block_size(n_values))

    def block_size(self, n_values: int) -> int:
        """Rows of such a block, but for the last."""
        if is_sparse(self.X):
            return max(1, min(n_values, SPARSE // row_width(self.X)))
        return max(1, n_values // row_width(self.X))

    def strips(self, size: int) -> Iterator[Batch]:
        """Consecutive views of at most ``size`` rows, and at least one."""
        size = max(1, size)
        for start in range(0, len(self), size):
            yield self if size >= len(self) else self.rows(slice(start, start + size))
            passed(min(size, len(self) - start))

    def reweighted(self, sample_weight: Tensor) -> Batch:
        """The same rows under other weights; nothing is copied."""
        return replace(self, sample_weight=sample_weight, index=None)


def _rows_of(parts: tuple[Tensor | None, ...], which: slice) -> list[Tensor | None]:
    return [None if part is None else part[which] for part in parts]


def taken(rows: Tensor, index: Tensor | slice) -> Tensor:
    """``rows[index]``; whole rows by their numbers in a third of the time.

    Parameters
    ----------
    rows : Tensor, shape (n, ...)
    index : Tensor, shape (m,), or slice

    Returns
    -------
    Tensor, shape (m, ...)
        A view for a slice, else a copy.
    """
    if not isinstance(index, Tensor) or index.dtype != torch.int64 or is_sparse(rows):
        return rows[index]
    if rows.requires_grad:
        return rows.index_select(0, index)
    found = empty((len(index), *rows.shape[1:]), rows.dtype, rows.device)
    return torch.index_select(rows, 0, index, out=found)


def pieces(*parts: Tensor, size: int = 2**20) -> Iterator[tuple[Tensor, ...]]:
    """The same consecutive rows of several tensors: what is computed of a piece stays small."""
    return zip(*(torch.split(part, size) for part in parts), strict=True)


def of_pieces(work: Callable[..., Tensor], *parts: Tensor, size: int = 2**20) -> Tensor:
    """A number for each piece, (m,); made at once, so that no piece's memory is cut up by it."""
    found = parts[0].new_empty(-(-len(parts[0]) // size))
    for i, piece in enumerate(pieces(*parts, size=size)):
        found[i] = work(*piece)
    return found


def minibatches(
    data: Batch, batch_size: int | None, generator: torch.Generator | None
) -> Iterator[Batch]:
    """One epoch: every row once, in a new random order, ``batch_size`` at a time.

    On several ranks each takes ``batch_size`` of its own rows a step, which make one batch
    together, and as many steps as the rank with the fewest rows can fill: an epoch leaves out some
    random rows of the others.

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
    order, size = _order(data, generator), len(data)
    if data.total is not None:
        fewest = int(distributed.all_min(torch.tensor(size)))
        size = fewest - fewest % batch_size
        if not size:
            raise ValueError(
                f"batch_size={batch_size} is the rows of each rank, but one has {fewest}; take "
                "fewer"
            )
    for start in range(0, size, batch_size):  # views of all at once take more than the rows
        batch = data.rows(order[start : min(start + batch_size, size)])
        if data.total is not None:
            batch = replace(batch, total=batch_size * distributed.world_size())
        yield batch


def _order(data: Batch, generator: torch.Generator | None) -> Tensor:
    """The numbers of the rows in a random order, (n,); of mapped rows on disk, and the same."""
    if not data.mapped:
        return torch.randperm(len(data), generator=generator).to(data.X.device)
    order = data.room(dtype=torch.int64)
    return torch.randperm(len(data), generator=generator, out=order, dtype=torch.int64)
