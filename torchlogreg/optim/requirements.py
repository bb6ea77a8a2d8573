"""What an optimizer asks of a fit, and what it answers when the fit cannot give it."""

from __future__ import annotations

import math
from numbers import Integral, Real
from typing import Any

import torch
from torch.optim import Optimizer

from torchlogreg.objective import Closure

MOST = 100
"""Corrections of a Newton step, more than are of use: each has room for a step and a gradient."""


def needs_full_batch(optimizer: Optimizer) -> bool:
    """Whether a step compares values of one function, so that mini-batches mislead it."""
    own = isinstance(optimizer, torch.optim.LBFGS | torch.optim.Rprop)
    return bool(getattr(optimizer, "needs_full_batch", own))


def handles_nonsmooth(optimizer: Optimizer) -> bool:
    """Whether a step applies the prox of a non-smooth penalty."""
    return bool(getattr(optimizer, "handles_nonsmooth", False))


def needs_all_ranks(optimizer: Optimizer) -> bool:
    """Whether a step works on the rows themselves, so that all must be on one process."""
    return bool(getattr(optimizer, "needs_all_ranks", False))


def superlinear(optimizer: Optimizer) -> bool:
    """Whether one step more than the tolerance asks for buys many digits."""
    return bool(getattr(optimizer, "superlinear", False))


def exhausted(optimizer: Optimizer) -> bool:
    """Whether another step on the same rows would change nothing."""
    return bool(getattr(optimizer, "exhausted", False))


def checked_corrections(corrections: int) -> int:
    """A number of corrections, at most :data:`MOST`.

    Raises
    ------
    ValueError
        If it is none.
    """
    whole = isinstance(corrections, Integral) and not isinstance(corrections, bool)
    if not whole or not 0 <= corrections <= MOST:
        raise ValueError(
            f"Newton got corrections={corrections!r}, but it is a whole number from 0 to {MOST}"
        )
    return int(corrections)


def checked_rough(rough: float) -> float:
    """A relative error that is small enough, or 0.

    Raises
    ------
    ValueError
        If it is none.
    """
    if isinstance(rough, bool) or not isinstance(rough, Real) or not 0 <= rough < math.inf:
        raise ValueError(
            f"rough is {rough!r}, but it is a relative error that is small enough, such as 1e-3, "
            "or 0 for all digits"
        )
    return float(rough)


def our_closure(closure: Any, optimizer: Optimizer) -> Closure:
    """``closure``, if it is one of ours.

    Raises
    ------
    TypeError
        If it is not, saying where to get one.
    """
    if not isinstance(closure, Closure):
        raise TypeError(
            f"{type(optimizer).__name__}.step got {type(closure).__name__}, but it asks more than "
            "a value: pass objective.closure(batch, data), or let fit() do it"
        )
    return closure
