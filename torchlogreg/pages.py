"""Memory for large results: the first touch of its pages can cost more than what is written there.

A page of 4 KiB that a process has not touched before costs it a microsecond or so, and where
several threads touch them at once, each waits for the others: to gather 66 MB of rows took 29 ms on
one thread and 20 to 110 on two, of which 7 were the copying. numpy asks the system for pages of
2 MiB where it can (``madvise``, Linux), torch only where an environment variable says so.
"""

from __future__ import annotations

from math import prod

import numpy as np
import torch
from torch import Tensor

LARGE = 2**22
"""Bytes from which on numpy asks for large pages."""

ALIGNED = 64
"""Bytes of whose multiples torch's own tensors begin at one: products may round otherwise from
elsewhere, and a checkpoint is read into such memory."""


def empty(shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    """A tensor that is not filled, as ``torch.empty`` makes it."""
    n_bytes = prod(shape) * dtype.itemsize
    if n_bytes < LARGE or device.type != "cpu":
        return torch.empty(shape, dtype=dtype, device=device)
    found = np.empty(n_bytes + ALIGNED, np.uint8)
    start = -found.ctypes.data % ALIGNED
    return torch.from_numpy(found[start : start + n_bytes]).view(dtype).view(shape)


FIRST = 2**24
"""Bytes that are asked for at first: what is not written to costs nothing, and the next of the same
size finds pages that the process has kept."""


class Growing:
    """A matrix that gets more rows, in one piece of memory; doubled when it is full.

    Parameters
    ----------
    width : int
        Columns.
    most : int
        Rows at most.
    dtype : torch.dtype
    device : torch.device

    Attributes
    ----------
    rows : Tensor, shape (m, width)
        Those that there are: a view.
    """

    def __init__(self, width: int, most: int, dtype: torch.dtype, device: torch.device) -> None:
        self.width, self.most = width, most
        self.rows = torch.empty((0, width), dtype=dtype, device=device)

    def __len__(self) -> int:
        return len(self.rows)

    def more(self, count: int) -> Tensor:
        """Further rows (count, width), to be filled."""
        old, there = self.rows, len(self.rows)
        row = max(1, self.width * old.dtype.itemsize)
        room = old.untyped_storage().nbytes() // row
        if there + count > room:
            room = max(there + count, min(self.most, max(2 * room, FIRST // row)))
            self.rows = empty((room, self.width), old.dtype, old.device)
            self.rows[:there] = old
        self.rows = self.rows.as_strided((there + count, self.width), (self.width, 1))
        return self.rows[there:]

    def clear(self) -> None:
        """No rows; the memory stays."""
        self.rows = self.rows[:0]

    def stored(self) -> dict[str, object]:
        """What a checkpoint keeps: the rows, not the memory that waits for more."""
        return {"width": self.width, "most": self.most, "rows": self.rows.clone()}
