"""Profile-likelihood intervals: where the likelihood, maximised over the rest, has fallen too far.

Signature, for callers::

    profile_intervals(form, data, *, penalty=None, parameters=None, level=0.95,
                      feature_names=None, class_names=None) -> ProfileIntervals
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from torchlogreg.data import Batch
from torchlogreg.inference.affine import AffineForm
from torchlogreg.inference.constrained import Point, decrement, maximise
from torchlogreg.inference.information import Information
from torchlogreg.inference.layout import Row, html_table, interval_heads, text_table
from torchlogreg.inference.likelihood import Likelihood
from torchlogreg.inference.reference import Array, critical_value
from torchlogreg.models import LinearRegression
from torchlogreg.optim.newton import minimum_norm_solve
from torchlogreg.penalties import Penalty

if TYPE_CHECKING:
    import pandas as pd

AT_MAXIMUM = 1e-3
"""Largest Newton decrement of a model that counts as fitted: about 0.03 standard errors."""

_EXACT = 1e-10
_TRIES = 100


@dataclass(frozen=True, eq=False)
class ProfileIntervals:
    """Intervals in the order of tables, arrays (q,).

    Attributes
    ----------
    names : tuple of str
    estimates : ndarray
    lower, upper : ndarray
        Infinite where the likelihood never falls far enough, as under separation.
    level : float
    penalty : str
        Empty without.
    """

    names: tuple[str, ...]
    estimates: Array
    lower: Array = field(repr=False)
    upper: Array = field(repr=False)
    level: float = 0.95
    penalty: str = ""

    def to_frame(self) -> pd.DataFrame:
        """One line per parameter."""
        import pandas as pd

        values = np.column_stack((self.estimates, self.lower, self.upper))
        return pd.DataFrame(values, index=pd.Index(self.names), columns=self._heads)

    def __str__(self) -> str:
        return text_table(self._title, self._heads, [("", self._rows)])

    def _repr_html_(self) -> str:
        return html_table(self._title, self._heads, [("", self._rows)])

    @property
    def _heads(self) -> list[str]:
        return ["coef", *interval_heads(self.level)]

    @property
    def _title(self) -> str:
        return "Profile-likelihood intervals" + (f" under {self.penalty}" if self.penalty else "")

    @property
    def _rows(self) -> list[Row]:
        columns = (self.estimates.tolist(), self.lower.tolist(), self.upper.tolist())
        return [(n, numbers) for n, *numbers in zip(self.names, *columns, strict=True)]


@torch.no_grad()
def profile_intervals(
    form: AffineForm,
    data: Batch,
    *,
    penalty: Penalty | None = None,
    parameters: Sequence[str | int] | None = None,
    level: float = 0.95,
    feature_names: Sequence[str] | None = None,
    class_names: Sequence[str] | None = None,
) -> ProfileIntervals:
    """Intervals of weights, intercepts, contrasts with class 0 and cutpoints.

    A value belongs to the interval if twice the log-likelihood lost by holding the parameter there,
    and maximising over all others, is at most the quantile of chi-square with one degree of
    freedom. Linear models: the variance is maximised over as well, which has a closed form.

    1. Check that the model is at its maximum, and polish it in float64.
    2. For each end: Newton on the signed root of the loss, kept in a bracket; every point is a
       Newton fit started on the tangent of the profile (about four points, three passes each).

    Parameters
    ----------
    form : AffineForm
        At the maximum.
    data : Batch
        Rows under their weights as used: the sum is the number of observations.
    penalty : Penalty, optional
        That of the fit: ``Jeffreys`` gives the intervals of logistf; ``L2`` counts once per
        observation, as in ``fit``.
    parameters : sequence of names or places, optional
        In the order of tables. Default: all.
    level : float
    feature_names, class_names : sequence of str, optional

    Raises
    ------
    ValueError
        If the model is not at its maximum, a parameter is unknown, or the penalty has no profile.

    References
    ----------
    Venzon and Moolgavkar, A method for computing profile-likelihood-based confidence intervals,
    Applied Statistics 37 (1988); Heinze and Schemper, A solution to the problem of separation,
    Statistics in Medicine 21 (2002).
    """
    names = _names(form, feature_names, class_names)
    chosen = _chosen(names, parameters)
    places = [form.order[i] for i in chosen]
    root = critical_value(level)
    if isinstance(form.model, LinearRegression):
        ends = _linear(form, data, places, root, penalty)
    else:
        ends = _searched(form, data, places, root, penalty)
    table = np.array(ends, dtype=np.float64).reshape(-1, 3)
    words = "" if penalty is None else repr(penalty)
    return ProfileIntervals(
        tuple(names[i] for i in chosen), table[:, 1], table[:, 0], table[:, 2], level, words
    )


def _searched(
    form: AffineForm, data: Batch, places: list[int], root: float, penalty: Penalty | None
) -> list[tuple[float, float, float]]:
    """Lower end, estimate and upper end of every parameter."""
    likelihood = Likelihood.of(form, data, penalty)
    start = likelihood.start()
    _check_fitted(decrement(likelihood, start), form)  # 1
    best = maximise(likelihood, start)
    hessian = likelihood.expansion(best.t).hessian
    ends = []
    for place in places:
        hold = likelihood.basis.back[place]
        spread = minimum_norm_solve(hessian, hold)
        variance = float(hold @ spread)
        search = _Search(likelihood, hold, best, root, math.sqrt(variance) if variance > 0 else 1.0)
        path = spread / variance if variance > 0 else torch.zeros_like(spread)
        low, high = (search.end(side, path) for side in (-1, 1))  # 2
        ends.append((low, float(hold @ best.t), high))
    return ends


@dataclass(frozen=True, slots=True)
class _Search:
    """One parameter: ``hold . t``."""

    likelihood: Likelihood
    hold: Tensor
    best: Point
    root: float
    error: float

    def end(self, side: int, path: Tensor) -> float:
        """Where the root of twice the loss is ``root``, on one side; or infinity.

        1. A point of the profile. Its root is almost linear in the parameter, and its slope is
           known from the gradient that holding leaves.
        2. Convexity: a profile that has not risen at eight times the distance never will.
        3. Newton's step; into the bracket, or at most four times as far, where it leads out.
        """
        centre = float(self.hold @ self.best.t)
        low, high = 0.0, math.inf  # distances from the estimate
        near = Point(self.best.t, self.best.value, 0.0, path)
        # An error without bounds, as under separation, may not throw the first point out of sight:
        # columns are of unit size here, so eta moves by about 8 at most.
        distance = min(self.root * self.error, 8 * float(self.hold.norm()))
        for _ in range(_TRIES):
            point = self._point(near, centre + side * distance)  # 1
            loss = math.inf if point is None else max(point.value - self.best.value, 0.0)
            z = math.sqrt(2 * loss)
            if abs(z - self.root) <= _EXACT or high - low <= 1e-13 * (abs(centre) + distance):
                break
            slope = 0.0 if point is None else side * point.slope
            if z < self.root:
                low = distance
                if distance >= 8 * self.root * self.error and slope * distance < 1e-4:  # 2
                    return side * math.inf
            else:
                high = distance
            distance = self._next(distance, z, slope, low, high)  # 3
            near = near if point is None else point
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


def _linear(
    form: AffineForm, data: Batch, places: list[int], root: float, penalty: Penalty | None
) -> list[tuple[float, float, float]]:
    """``RSS`` is quadratic in the held parameter, and the log-likelihood ``-n/2 log RSS``."""
    if penalty is not None and penalty.alpha > 0:
        raise ValueError(
            f"{penalty!r} is added to squares of unknown variance, which is no log-likelihood; fit "
            "LinearRegression without a penalty"
        )
    found = Information.of(form, data)
    factor = found.problem.basis.back @ found.inverse_factor()
    squares = float(found.loss)
    n = float(data.sample_weight.sum(dtype=form.weight.dtype))
    gain = float((found.inverse_factor().T @ found.gradient).square().sum())
    _check_fitted(gain * n / squares if squares > 0 else 0.0, form)
    half = factor.square().sum(1).mul(squares * math.expm1(root**2 / n)).sqrt()
    theta = form.theta
    return [(float(theta[i] - half[i]), float(theta[i]), float(theta[i] + half[i])) for i in places]


def _check_fitted(promise: float, form: AffineForm) -> None:
    if not promise <= AT_MAXIMUM:
        raise ValueError(
            f"the {type(form.model).__name__} is not at its maximum: one Newton step would raise "
            f"the log-likelihood by {0.5 * promise:.3g}; fit it to convergence first, with the "
            "same rows, weights and penalty"
        )


def _names(
    form: AffineForm, feature_names: Sequence[str] | None, class_names: Sequence[str] | None
) -> list[str]:
    """Names of the parameters in the order of tables."""
    p = form.weight.shape[1]
    columns = [f"x{j + 1}" for j in range(p)] if feature_names is None else feature_names
    theta = form.names(columns, class_names)
    return [theta[i] for i in form.order]


def _chosen(names: list[str], parameters: Sequence[str | int] | None) -> list[int]:
    """Places in the table."""
    if parameters is None:
        return list(range(len(names)))
    chosen = []
    for entry in parameters:
        known = entry in names if isinstance(entry, str) else -len(names) <= entry < len(names)
        if not known:
            raise ValueError(f"no parameter is called {entry!r}; they are {', '.join(names[:20])}")
        chosen.append(names.index(entry) if isinstance(entry, str) else entry % len(names))
    return chosen
