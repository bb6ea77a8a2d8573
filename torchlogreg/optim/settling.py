"""When Newton's method has nothing left to gain."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from torchlogreg.data import Batch
from torchlogreg.objective import Closure
from torchlogreg.penalties import Penalty

SETTLED = 2.0**-56
"""Distance from the optimum, in standard errors, of which no parameter shows anything."""

CLOSE = 1e-9
"""Distance, likewise, from which a correction in doubled precision is worth its price."""


@dataclass(slots=True, eq=False)
class Pace:
    """How far Newton's steps still go.

    What a step leaves is at most the length it had, times the rate at which these lengths fall:
    with exact Hessians it is far less, with those of scoring that is what it is.

    Attributes
    ----------
    batch : Batch or None
        The rows of the last step.
    length : float
        Of the last step, in the metric of the curvature.
    rate : float
        That length over the one before, on the same rows; 1 where there was none.
    """

    batch: Batch | None = None
    length: float = 0.0
    rate: float = 1.0
    _steps: int = 0

    def record(self, batch: Batch, promised: float) -> None:
        """One more step, which promised this decrease of the objective twice over."""
        length, same = math.sqrt(promised), self.batch is batch
        self.rate = length / self.length if same and self.length > 0 else 1.0
        self.batch, self.length, self._steps = batch, length, self._steps + 1 if same else 1

    @property
    def left(self) -> float:
        """Bound of the distance from the optimum after the last step, in standard errors."""
        n = 1 if self.batch is None else self.batch.n
        return self.length * math.sqrt(n) * min(self.rate, 1.0)

    @property
    def stalled(self) -> bool:
        """Whether steps no longer get shorter: near an optimum they are made of rounding."""
        return self._steps > 1 and self.rate >= 1


class Settled(NamedTuple):
    """Where nothing is left to gain."""

    batch: Batch
    penalty: Penalty | None
    at: list[Tensor]

    @classmethod
    def here(cls, closure: Closure) -> Settled:
        """Here."""
        at = [p.detach().clone() for p in closure.params]
        return cls(closure.batch, closure.objective.penalty, at)

    def holds(self, closure: Closure) -> bool:
        """Whether ``closure`` is of the same rows, and the parameters are still there."""
        if closure.batch is not self.batch or closure.objective.penalty is not self.penalty:
            return False
        return all(torch.equal(p, q) for p, q in zip(closure.params, self.at, strict=True))
