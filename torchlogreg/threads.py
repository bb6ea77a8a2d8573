"""As many threads as the rows are worth."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

SMALL = 2**17
"""Entries of ``X`` below which waking a second thread costs more than it brings."""


@contextmanager
def threads_for(X: Tensor) -> Iterator[None]:
    """One thread for the body where ``X`` is small and on the CPU; restored afterwards.

    Parameters
    ----------
    X : Tensor, shape (n, p)
    """
    before = torch.get_num_threads()
    if before == 1 or X.numel() >= SMALL or X.device.type != "cpu":
        yield
        return
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
