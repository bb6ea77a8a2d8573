"""Limited-memory BFGS about a base: a solver for a matrix near the Hessian.

With a good base one or two pairs are enough: each step multiplies the error by about the relative
error of the base, and the pairs learn the few directions in which that is worst. With the identity
as the base this is L-BFGS.

References
----------
Nocedal, Updating quasi-Newton matrices with limited storage, Math. Comp. 35 (1980).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from torchlogreg.objective import Closure
from torchlogreg.optim.trials import set_
from torchlogreg.small import flat

Solve = Callable[[Tensor], Tensor]


class Pair(NamedTuple):
    """A step (P,), by how much the gradient changed along it, and their product, a number."""

    step: Tensor
    change: Tensor
    product: float


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
    promised : float
        Slope along the step where it began, without its sign.
    """

    accepted: bool
    tries: int
    contraction: float
    left: float
    promised: float


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
        """One more pair, (P,) each, unless it has no curvature."""
        rows = torch.stack((step, change))
        (size, product), (_, bent) = (rows @ rows.T).tolist()
        self._keep(Pair(step, change, product), size * bent)

    def _keep(self, pair: Pair, squares: float) -> None:
        """One more pair, if rounding is not all of it; ``squares`` of its lengths."""
        if pair.product > torch.finfo(pair.step.dtype).eps * math.sqrt(squares):
            self.pairs = [*self.pairs[1 - self.n_pairs :], pair]

    def descend(self, closure: Closure, tries: int = 20, enough: float | None = None) -> Moved:
        """One iteration, in place; none if it promises no more than that share of the value.

        1. Direction; steepest descent in the metric of the base if the pairs give none.
        2. The whole step first, with its gradient; then, by values, the minimum of the parabola
           through what is known, at least a tenth and at most half of the last try (Armijo).
        3. The pair is learnt, unless rounding or a flat stretch left it without curvature; the
           contraction is measured.

        Products of vectors come a table at a time: one wait for the device each in 1 and 3, and
        those of every try in 2.
        """
        found = closure.found()
        gradient, based = found.gradient, self.solve(found.gradient)
        direction = self.direction(gradient) if self.pairs else -based  # 1
        known = torch.mv(torch.stack((direction, based)), gradient)
        slope, before, value = torch.cat((known, found.value.view(1))).tolist()
        if not slope < 0:  # NaN is no direction either
            direction, slope = -based, -before
        if enough is not None and not -slope > enough * abs(value):
            return Moved(False, 0, math.inf, math.inf, 0.0)
        start = flat(closure.params)
        rounding, length = closure.rounding(value), 1.0
        for attempt in range(1, tries + 1):  # 2
            set_(closure.params, torch.add(start, direction, alpha=length))
            tried = closure.look() if attempt == 1 else closure.value(smooth_only=True)
            change = float(tried) - value
            if change <= 1e-4 * length * slope + float(rounding):
                break
            length *= _shorter(change, length * slope)
        else:
            set_(closure.params, start)
            return Moved(False, tries, math.inf, math.inf, max(-slope, 0.0))
        after = closure.gradient()  # 3; free unless a shorter step was taken
        step, bend = length * direction, after - gradient
        rows = torch.stack((step, bend, after))
        others = torch.stack((step, bend, self.solve(after)))
        (size, product, _), (_, bent, _), (*_, left) = (rows @ others.T).tolist()
        self._keep(Pair(step, bend, product), size * bent)
        left = max(left, 0.0)
        contraction, share = math.sqrt(_share(left, before)), _share(left, abs(value))
        return Moved(True, attempt, contraction, share, max(-length * slope, 0.0))


def _share(part: float, whole: float) -> float:
    """``part / whole``, as tensors divide; of a whole that rounding left below zero, as of zero."""
    if whole <= 0:
        return math.inf if part > 0 else math.nan
    return part / whole


def _shorter(change: float, slope: float) -> float:
    """Factor for the next try: where the parabola through value and slope is lowest."""
    curvature = 2 * (change - slope)
    best = -slope / curvature if curvature > 0 else 0.5
    return min(max(best, 0.1), 0.5)
