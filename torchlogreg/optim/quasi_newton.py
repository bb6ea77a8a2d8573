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

    A pair is a step ``s``, by how much the gradient changed along it, ``y``, and what the base
    makes of that, ``B^-1 y``: three rows of one matrix. All that the two-loop recursion asks are
    products of these with each other, which are kept as numbers, and with the gradient: one product
    of the matrix, and another makes the direction.

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
        self._rows: Tensor | None = None  # (3 m, P)
        self._steps: list[list[float]] = []  # s_i . y_j of the pairs i <= j, for each j
        self._lifted: list[list[float]] = []  # y_i . B^-1 y_j, likewise

    def __len__(self) -> int:
        """Number of pairs."""
        return len(self._steps)

    def based_on(self, solve: Solve) -> QuasiNewton:
        """The same pairs about another base."""
        other = QuasiNewton(solve, self.n_pairs)
        for step, _, change in () if self._rows is None else self._rows.view(len(self), 3, -1):
            other.learn(step, change, solve(change))
        return other

    def learn(self, step: Tensor, change: Tensor, lifted: Tensor) -> None:
        """One more pair and ``B^-1 change``, (P,) each, unless rounding is all of its curvature."""
        self._learn(step, change, lifted, ())

    def _learn(
        self, step: Tensor, change: Tensor, lifted: Tensor, more: tuple[Tensor, ...]
    ) -> list[float]:
        """The same; the numbers ``more`` (1,) come with its products."""
        rows = torch.stack((step, lifted, change))
        rows = rows if self._rows is None else torch.cat((self._rows, rows))
        size = torch.dot(step, step).view(1)
        products = torch.cat((torch.mv(rows, change), size, *more)).tolist()
        end = len(rows)
        steps, raised, bent = products[0:end:3], products[1:end:3], products[end - 1]
        if steps[-1] > torch.finfo(step.dtype).eps * math.sqrt(products[end] * bent):
            self._rows, self._steps = rows, [*self._steps, steps]
            self._lifted = [*self._lifted, raised]
        if len(self) > self.n_pairs:
            self._rows = rows[3:]
            self._steps = [known[1:] for known in self._steps[1:]]
            self._lifted = [known[1:] for known in self._lifted[1:]]
        known: list[float] = products[end + 1 :]
        return known

    def _combined(self, products: list[float]) -> tuple[list[float], float]:
        """Of the rows in ``H g - B^-1 g`` (3 m,), and the product of that with ``g``, from the
        products of the rows with ``g``: the two-loop recursion."""
        steps, lifted, m = self._steps, self._lifted, len(self)
        shares, back = [0.0] * m, [0.0] * m
        for i in reversed(range(m)):
            left = products[3 * i] - sum(shares[j] * steps[j][i] for j in range(i + 1, m))
            shares[i] = left / steps[i][i]
        for i in range(m):
            found = products[3 * i + 1] + sum(back[j] * steps[i][j] for j in range(i))
            found -= sum(shares[j] * lifted[max(i, j)][min(i, j)] for j in range(m))
            back[i] = shares[i] - found / steps[i][i]
        pairs = zip(back, shares, strict=True)
        of_rows = [part for ahead, share in pairs for part in (ahead, -share, 0.0)]
        return of_rows, math.fsum(a * b for a, b in zip(of_rows, products, strict=True))

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
        direction, slope, before, value = self._direction(gradient, based, found.value)  # 1
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
        ahead, step = self.solve(after), direction if length == 1 else length * direction
        more = torch.dot(after, ahead).view(1)
        (left,) = self._learn(step, after - gradient, ahead - based, (more,))
        left = max(left, 0.0)
        contraction, share = math.sqrt(_share(left, before)), _share(left, abs(value))
        return Moved(True, attempt, contraction, share, max(-length * slope, 0.0))

    def _direction(
        self, gradient: Tensor, based: Tensor, value: Tensor
    ) -> tuple[Tensor, float, float, float]:
        """``-H g`` (P,), the slope along it, the square of the gradient, and the value."""
        rows = self._rows
        numbers = [torch.dot(based, gradient).view(1), value.view(1)]
        if rows is not None:
            numbers.insert(0, torch.mv(rows, gradient))
        *products, before, here = torch.cat(numbers).tolist()
        of_rows, more = self._combined(products)
        slope = -(before + more)
        if rows is None or not slope < 0:  # NaN is no direction either
            return -based, -before, before, here
        weights = torch.tensor(of_rows, dtype=rows.dtype).to(rows.device)
        return torch.addmv(based, rows.T, weights, beta=-1, alpha=-1), slope, before, here


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
