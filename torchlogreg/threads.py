"""As many threads as the rows are worth, and one kind of them at a time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch
from torch import Tensor

SMALL = 2**17
"""Entries of ``X`` below which waking a second thread costs more than it brings."""

_SWEEPING: ContextVar[int | None] = ContextVar("threads of the compiled sweeps", default=None)


def sweeping_threads() -> int:
    """Threads of the compiled sweeps: as many as torch has, or had when they were given its."""
    return _SWEEPING.get() or torch.get_num_threads()


@contextmanager
def threads_for(X: Tensor, *, swept: bool = False) -> Iterator[None]:
    """One thread for the body where ``X`` is small and on the CPU; restored afterwards.

    Where compiled kernels sweep the rows, all but their threads is one, too: for some milliseconds
    after each operation torch's own wait for the next one, and burn the core that a kernel wants.

    Parameters
    ----------
    X : Tensor, shape (n, p)
    swept : bool
        Whether whatever is long is done by the compiled kernels.
    """
    before, asked, small = torch.get_num_threads(), sweeping_threads(), X.numel() < SMALL
    if asked == 1 or X.device.type != "cpu" or not (small or swept):
        yield
        return
    sweeping = _SWEEPING.set(1 if small else asked)
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
        _SWEEPING.reset(sweeping)
