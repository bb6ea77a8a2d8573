"""Limited-memory BFGS about a base: a solver for a matrix near the Hessian.

With a good base one or two pairs are enough: each step multiplies the error by about the relative
error of the base, and the pairs learn the few directions in which that is worst. With the identity
as the base this is L-BFGS.

References
----------
Nocedal, Updating quasi-Newton matrices with limited storage, Math. Comp. 35 (1980).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from torchlogreg.objective import Closure
from torchlogreg.optim.line_search import move_

Solve = Callable[[Tensor], Tensor]


class Pair(NamedTuple):
    """A step (P,), by how much the gradient changed along it, and their product."""

    step: Tensor
    change: Tensor
    product: Tensor


class Moved(NamedTuple):
    """What a descent did.

    Attributes
    ----------
    accepted : bool
        Whether a step was found.
    tries : int
        Values asked for.
    contraction : float
        Length of the gradient after the step over that before, in the metric of the base.
    left : float
        Square of that length after the step, over the value: twice the relative distance to the
        minimum, as far as the base knows.
    """

    accepted: bool
    tries: int
    contraction: float
    left: float


class QuasiNewton:
    """The pairs and the base of one descent.

    Parameters
    ----------
    solve : callable
        ``v -> B^-1 v`` for (P,), linear, symmetric, positive semi-definite.
    n_pairs : int
        Pairs to keep.
    """

    def __init__(self, solve: Solve, n_pairs: int = 12) -> None:
        self.solve = solve
        self.n_pairs = n_pairs
        self.pairs: list[Pair] = []

    def direction(self, gradient: Tensor) -> Tensor:
        """``-H gradient`` by the two-loop recursion, (P,)."""
        left, shares = gradient.clone(), []
        for pair in reversed(self.pairs):
            shares.append(torch.dot(pair.step, left) / pair.product)
            left = left - shares[-1] * pair.change
        found = self.solve(left)
        for pair, share in zip(self.pairs, reversed(shares), strict=True):
            found = found + (share - torch.dot(pair.change, found) / pair.product) * pair.step
        return -found

    def learn(self, step: Tensor, change: Tensor) -> None:
        """Keep a pair; rounding and flat stretches can leave one without curvature."""
        product = torch.dot(step, change)
        floor = torch.finfo(step.dtype).eps * step.norm() * change.norm()
        if bool(product > floor):  # waits for the device
            self.pairs = [*self.pairs[1 - self.n_pairs :], Pair(step, change, product)]

    def descend(self, closure: Closure, tries: int = 20) -> Moved:
        """One iteration, in place.

        1. Direction; steepest descent in the metric of the base if the pairs give none.
        2. The whole step first, with its gradient; then, by values, the minimum of the parabola
           through what is known, at least a tenth and at most half of the last try (Armijo).
        3. The pair is learnt; the contraction is measured.
        """
        value, gradient = closure.look(), closure.gradient()
        based = self.solve(gradient)
        before = torch.dot(gradient, based)
        direction = -based if not self.pairs else self.direction(gradient)  # 1
        slope = torch.dot(gradient, direction)
        if not bool(slope < 0):  # waits for the device; NaN is no direction either
            direction, slope = -based, -before
        start = [p.detach().clone() for p in closure.params]
        rounding, length = closure.rounding(value), 1.0
        for attempt in range(1, tries + 1):  # 2
            move_(closure.params, start, direction, length)
            tried = closure.look() if attempt == 1 else closure.value(smooth_only=True)
            change = float(tried - value)
            if change <= 1e-4 * length * float(slope) + float(rounding):
                break
            length *= _shorter(change, length * float(slope))
        else:
            move_(closure.params, start, direction, 0.0)
            return Moved(False, tries, float("inf"), float("inf"))
        after = closure.gradient()  # 3; free unless a shorter step was taken
        self.learn(length * direction, after - gradient)
        left = torch.dot(after, self.solve(after)).clamp(min=0)
        measured = torch.stack(((left / before).sqrt(), left / value.abs()))
        return Moved(True, attempt, *measured.tolist())


def _shorter(change: float, slope: float) -> float:
    """Factor for the next try: where the parabola through value and slope is lowest."""
    curvature = 2 * (change - slope)
    best = -slope / curvature if curvature > 0 else 0.5
    return min(max(best, 0.1), 0.5)
