"""One end of a profile-likelihood interval: a root, found on the profile."""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor

from torchlogreg.inference.constrained import Point, maximise
from torchlogreg.inference.likelihood import Likelihood

EXACT = 1e-10
"""Accuracy of the signed root: ends are right to about this times the standard error."""

_TRIES = 100
_FAR = 100.0


@dataclass(frozen=True, slots=True)
class Search:
    """Both ends for one parameter, ``hold . t``.

    Attributes
    ----------
    likelihood : Likelihood
    hold : Tensor, shape (P,)
    best : Point
        The maximum.
    root : float
        Square root of the quantile of chi-square.
    error : float
        Standard error; infinite where the information says nothing.
    path : Tensor, shape (P,)
        Tangent of the profile at the maximum.
    """

    likelihood: Likelihood
    hold: Tensor
    best: Point
    root: float
    error: float
    path: Tensor

    def end(self, side: int) -> float:
        """Where the root of twice the loss is ``root``, below (-1) or above (1); or infinity.

        1. A point of the profile. Its root is almost linear in the parameter, and its slope is
           known from the gradient that holding leaves.
        2. Newton's step; into the bracket, or at most four times as far, where it leads out.
        3. Far out and not there yet: perhaps there is no end, which a linear program decides.
        """
        centre = float(self.hold @ self.best.t)
        low, high = 0.0, math.inf  # distances from the estimate
        near = Point(self.best.t, self.best.value, 0.0, self.path)
        unit = float(self.hold.norm())  # columns are of unit size here, so eta moves by about one
        asked = self.error > _FAR * unit
        if asked and self.likelihood.endless(side * self.hold):
            return side * math.inf
        distance = min(self.root * self.error, 8 * unit)
        for _ in range(_TRIES):
            point = self._point(near, centre + side * distance)  # 1
            loss = math.inf if point is None else max(point.value - self.best.value, 0.0)
            z = math.sqrt(2 * loss)
            if abs(z - self.root) <= EXACT or high - low <= 1e-13 * (abs(centre) + distance):
                break
            low, high = (distance, high) if z < self.root else (low, distance)
            slope = 0.0 if point is None else side * point.slope
            distance = self._next(distance, z, slope, low, high)  # 2
            if high == math.inf and distance > _FAR * unit and not asked:  # 3
                asked = True
                if self.likelihood.endless(side * self.hold):
                    return side * math.inf
            near = near if point is None else point
        if high == math.inf and loss < 0.5 * self.root**2 - EXACT * self.root:
            return side * math.inf  # beyond all numbers that make sense: 4^100 times the error
        return centre + side * distance

    def _next(self, distance: float, z: float, slope: float, low: float, high: float) -> float:
        """Newton on the root, safeguarded."""
        step = (self.root - z) * z / slope if slope > 0 and math.isfinite(z) else math.nan
        trial = distance + step
        if high == math.inf:
            return min(trial, 4 * distance) if trial > distance else 4 * distance
        if low < trial < high:
            return trial
        return 0.5 * (low + high)

    def _point(self, near: Point, value: float) -> Point | None:
        """The profile at ``value``; None where no parameters are in order."""
        start = self._start(near, value)
        if start is None:
            return None
        point = maximise(self.likelihood, start, self.hold)
        if point.value < self.best.value - 1e-4:
            raise ValueError(
                f"the model is not at its maximum: the log-likelihood rises by "
                f"{self.best.value - point.value:.3g} where a parameter is {value:.6g}; fit longer"
            )
        return point

    def _start(self, near: Point, value: float) -> Tensor | None:
        """Parameters with ``hold . t = value`` and cutpoints in order.

        The tangent of the profile; where that crosses cutpoints, all of them move together; where
        the first is fixed at zero, in proportion.
        """
        change = value - float(self.hold @ near.t)
        tangent = near.t + change * near.path
        if self.likelihood.ordered(tangent):
            return tangent
        n_weight = self.likelihood.form.weight.numel()
        together = near.t.clone()
        if not bool(self.hold[n_weight:].any()):  # a weight is held: leave the cutpoints alone
            together += change * self.hold / self.hold.square().sum()
        else:
            together[n_weight:] += change / float(self.hold[n_weight:].sum())
        if self.likelihood.ordered(together):
            return together
        stretched = near.t.clone()
        stretched[n_weight:] *= value / (value - change)
        return stretched if self.likelihood.ordered(stretched) else None
