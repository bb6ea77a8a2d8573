"""As many threads as the rows are worth, and one kind of them at a time."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from contextvars import ContextVar

import torch
from torch import Tensor

SMALL = 2**17
"""Entries of ``X`` below which waking a second thread costs more than it brings."""

_SWEEPING: ContextVar[int | None] = ContextVar("threads of the compiled sweeps", default=None)


def sweeping_threads() -> int:
    """Threads of the compiled sweeps: as many as torch has, or had when they were given its."""
    return _SWEEPING.get() or torch.get_num_threads()


class _Alone:
    """One thread of torch's for a body, and as many of the sweeps' as are given.

    A class, since a generator takes twice its time, and a fit of few rows has three of them.
    """

    __slots__ = ("_before", "_sweeping", "_token")

    def __init__(self, sweeping: int) -> None:
        self._sweeping = sweeping

    def __enter__(self) -> None:
        self._before = torch.get_num_threads()
        self._token = _SWEEPING.set(self._sweeping)
        torch.set_num_threads(1)

    def __exit__(self, *_: object) -> None:
        torch.set_num_threads(self._before)
        _SWEEPING.reset(self._token)


_UNCHANGED = nullcontext()


def threads_for(X: Tensor, *, swept: bool = False) -> AbstractContextManager[None]:
    """One thread for the body where ``X`` is small and on the CPU; restored afterwards.

    Where compiled kernels sweep the rows, all but their threads is one, too: for some milliseconds
    after each operation torch's own wait for the next one, and burn the core that a kernel wants.

    Parameters
    ----------
    X : Tensor, shape (n, p)
    swept : bool
        Whether whatever is long is done by the compiled kernels.
    """
    asked, small = sweeping_threads(), X.numel() < SMALL
    if asked == 1 or X.device.type != "cpu" or not (small or swept):
        return _UNCHANGED
    return _Alone(1 if small else asked)
