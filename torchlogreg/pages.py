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


def empty(shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    """A tensor that is not filled, as ``torch.empty`` makes it."""
    n_bytes = prod(shape) * dtype.itemsize
    if n_bytes < LARGE or device.type != "cpu":
        return torch.empty(shape, dtype=dtype, device=device)
    return torch.from_numpy(np.empty(n_bytes, np.uint8)).view(dtype).view(shape)
