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

from torchlogreg.data import Batch
from torchlogreg.inference.affine import AffineForm
from torchlogreg.inference.constrained import decrement, maximise
from torchlogreg.inference.information import Information
from torchlogreg.inference.layout import Row, html_table, interval_heads, text_table
from torchlogreg.inference.likelihood import Likelihood
from torchlogreg.inference.named import places_of
from torchlogreg.inference.reference import Array, critical_value
from torchlogreg.inference.search import Search
from torchlogreg.models import LinearRegression
from torchlogreg.optim.newton import minimum_norm_solve
from torchlogreg.penalties import Penalty

if TYPE_CHECKING:
    import pandas as pd

AT_MAXIMUM = 1e-3
"""Largest Newton decrement of a model that counts as fitted: about 0.03 standard errors."""


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
    wanted = range(len(names)) if parameters is None else parameters
    chosen = places_of(wanted, names, "parameter")
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
        error = math.sqrt(variance) if variance > 0 else math.inf
        path = spread / variance if variance > 0 else torch.zeros_like(spread)
        search = Search(likelihood, hold, best, root, error, path)
        low, high = (search.end(side) for side in (-1, 1))  # 2
        ends.append((low, float(hold @ best.t), high))
    return ends


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
