"""Corrections: quasi-Newton steps about the factor of a Hessian, before another one is made."""

from __future__ import annotations

import math
from typing import NamedTuple

from torchlogreg.objective import Closure
from torchlogreg.optim.quasi_newton import QuasiNewton, Solve
from torchlogreg.optim.trials import Trial


class Corrections(NamedTuple):
    """How many at most, and the share of the objective that one must promise."""

    most: int = 0
    enough: float = 0.0


def corrected(
    closure: Closure, solve: Solve, start: Trial, end: Trial, corrections: Corrections
) -> tuple[float | None, float]:
    """Go on from the end of a step, as far as whole steps fall enough.

    Parameters
    ----------
    closure : Closure
        Its parameters are at ``end``, and are moved.
    solve : callable
        ``v -> H^-1 v`` for (P,), of the Hessian where the step began.
    start, end : Trial
        Of the step.
    corrections : Corrections

    Returns
    -------
    (float or None, float)
        What the last one promised, twice over, None if there was none; and what another would.
    """
    quasi, change = QuasiNewton(solve), end.gradient - start.gradient
    quasi.learn(end.theta - start.theta, change, solve(change))
    promised, left = None, math.inf
    for _ in range(corrections.most):
        moved = quasi.descend(closure, tries=1, enough=corrections.enough)
        if not moved.accepted:
            return promised, moved.promised
        promised, left = moved.promised, moved.left * abs(end.value)
    return promised, left
