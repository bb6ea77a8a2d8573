"""Compiled coordinate descent on the dual, one compressed row after another.

Each row depends on the one before it, so they are neither shared among threads nor made of whole
vectors. Places are unsigned: numba then need not look whether one counts from the end, which made
the sums half as fast.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torchlogreg.kernels.compiling import entry, inner
from torchlogreg.kernels.elementary import exp64

TRIES = 20
"""Newton steps for a single row in a visit. One or two are usual; in the tail of the logistic
function they have length one, and the next visit goes on."""

NEAR = 0.3
"""Length of the last of them. It leaves less than a fifth of the row's move undone, whatever its
curvature, for that changes by no more than a third on the way; and ever less near the optimum."""


@inner
def _share(t: float) -> float:
    """The logistic function."""
    small = exp64(-abs(t))
    share: float = (1.0 if t >= 0 else small) / (1 + small)
    return share


@inner
def _logistic(start: float, q: float, y: float, u: float, first: float) -> tuple[float, float]:
    """``t`` with ``t = start + q (y - sigmoid(t) - u)``, roughly, and ``y - sigmoid(t)``.

    The left side less the right rises by 1 to 1 + q / 4: Newton, kept inside a bracket, which is
    halved where a step would leave it, or goes back by more than half of the one before. It starts
    at ``first``, where ``y - sigmoid`` is ``u`` unless that is zero: a row not seen before.
    """
    low, high = start + q * (y - 1 - u), start + q * (y - u)
    if start + q * (y - 0.5 - u) < 0:  # on this side of zero Newton's steps from there never fail
        high = min(high, 0.0)
    else:
        low = max(low, 0.0)
    t, slope, move = first, u, 0.0
    if u == 0 or not low <= t <= high:
        t = min(max(t, low), high)
        slope = y - _share(t)
    for _ in range(TRIES):
        above = t - start - q * (slope - u)
        if above > 0:
            high = t
        else:
            low = t
        after = t - above / (1 + q * (y - slope) * ((1 - y) + slope))
        turned = (after - t) * move < 0 and 2 * abs(after - t) > abs(move)
        if turned or not low <= after <= high:
            after = 0.5 * (low + high)
        move = after - t
        t = after
        slope = y - _share(t)
        if abs(move) <= NEAR:
            break
    return t, slope


@inner
def _squared(start: float, q: float, y: float, u: float, first: float) -> tuple[float, float]:
    """``t`` with ``t = start + q (2 (y - t) - u)``, and ``2 (y - t)``."""
    t = (start + q * (2 * y - u)) / (1 + 2 * q)
    return t, 2 * (y - t)


def _dual(solve: Any) -> Callable[..., float]:
    """A walk of dual coordinate descent for the loss whose rows ``solve`` solves.

    It returns the sum of what each row's slope moved times what its score did.
    """

    def run(
        order: Any,
        height: int,
        starts: Any,
        places: Any,
        data: Any,
        y: Any,
        offset: Any,
        step: Any,
        squares: Any,
        slopes: Any,
        scores: Any,
        weight: Any,
    ) -> float:
        n, moved = len(y), 0.0
        for block in order:
            for i in range(block * height, min(n, (block + 1) * height)):
                at, x = places[starts[i] : starts[i + 1]], data[starts[i] : starts[i + 1]]
                score = offset[i]
                for j in range(len(x)):
                    score += x[j] * weight[at[j]]
                q = step[i] * squares[i]
                t, slope = solve(score, q, y[i], slopes[i], scores[i])
                change = slope - slopes[i]
                moved += abs(change * (t - score))
                slopes[i] = slope
                scores[i] = t
                move = step[i] * change
                for j in range(len(x)):
                    weight[at[j]] += move * x[j]
        return moved

    return run


DUAL = {
    "binary": entry(_dual(_logistic), "dual_binary"),
    "squared": entry(_dual(_squared), "dual_squared"),
}
