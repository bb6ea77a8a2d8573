"""Corrections: quasi-Newton steps about the factor of a Hessian, before another one is made."""

from __future__ import annotations

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
) -> float | None:
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
    float or None
        What the last one promised, twice over; None if there was none.
    """
    quasi, promised = QuasiNewton(solve), None
    quasi.learn(end.theta - start.theta, end.gradient - start.gradient)
    for _ in range(corrections.most):
        moved = quasi.descend(closure, tries=1, enough=corrections.enough)
        if not moved.accepted:
            break
        promised = moved.promised
    return promised
