"""Points that a step looks at before it stays at one of them."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from torchlogreg.objective import Closure
from torchlogreg.passes import Found
from torchlogreg.small import Look


class Trial(NamedTuple):
    """Parameters (P,), smooth value and gradient there, and all else that was found."""

    theta: Tensor
    value: float
    gradient: Tensor
    known: Found | Look | None = None


class Trials:
    """The objective at other parameters than the model's, which move at the end, once.

    On few rows (:mod:`torchlogreg.small`) nothing is written to look at a point; else parameters
    follow every look, for the model's own ``forward`` reads them.

    Parameters
    ----------
    closure : Closure
    """

    def __init__(self, closure: Closure) -> None:
        self._closure = closure
        self.small = closure.objective.few(closure.batch) if closure.batch is closure.data else None

    def at(self, theta: Tensor) -> Trial:
        """Value and gradient at ``theta`` (P,)."""
        small, closure = self.small, self._closure
        if small is not None:
            closure.objective.evaluations += 1
            closure.objective.rows_read += len(closure.batch)
            look = small.look(theta)
            return Trial(theta, float(look.value), look.gradient, look)  # waits for the device
        set_(closure.params, theta)
        found = closure.found()
        return Trial(theta, float(found.value), found.gradient, found)

    def value(self, theta: Tensor) -> float:
        """The value alone."""
        if self.small is not None:
            return self.at(theta).value
        set_(self._closure.params, theta)
        return float(self._closure.value(smooth_only=True))

    def stay(self, trial: Trial) -> None:
        """Move the parameters there; what is known of the place is remembered."""
        closure, known = self._closure, trial.known
        at = set_(closure.params, trial.theta)
        if known is None or closure.batch is not closure.data:
            return
        if isinstance(known, Found):
            closure.objective.remember(closure.batch, known)
        elif self.small is not None:
            found, penalty = self.small.found(known), closure.objective.penalty
            closure.objective.remembered.keep(closure.batch, penalty, found, known.logits, at)


def set_(params: list[nn.Parameter], values: Tensor) -> list[Tensor]:
    """Set ``params`` to flat ``values`` (P,); the parts of these, in the shapes of those."""
    parts = [
        part.view_as(p)  # a third of what view(p.shape) takes
        for part, p in zip(
            values.split_with_sizes([p.numel() for p in params]), params, strict=True
        )
    ]
    for p, part in zip(params, parts, strict=True):
        p.copy_(part)
    return parts


def dot(a: Tensor, b: Tensor) -> float:
    """Inner product (waits for the device)."""
    return float(torch.dot(a, b))
