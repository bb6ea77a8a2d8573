"""What infer() found: numbers in the words of statsmodels, and questions to ask of it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from torch import Tensor

from torchlogreg.data import Batch
from torchlogreg.inference import summary
from torchlogreg.inference.affine import AffineForm
from torchlogreg.inference.estimates import Estimates, odds_ratios, thresholds
from torchlogreg.inference.margins import MarginalEffects, marginal_effects
from torchlogreg.inference.null import null_squares
from torchlogreg.inference.prediction import Intervals, intervals
from torchlogreg.inference.profile import ProfileIntervals, profile_intervals
from torchlogreg.inference.reference import Array, critical_value, two_sided_p
from torchlogreg.inference.tests import (
    WaldTest,
    chi2_tail,
    f_tail,
    restriction_matrix,
    wald_test,
)
from torchlogreg.penalties import Penalty

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, eq=False, repr=False)
class InferenceResult:
    """Estimates and what is known about them; made by :func:`torchlogreg.infer`.

    Arrays are in the order of ``names``: a constant before its columns, class after class,
    cutpoints last. Multinomial models are reported as contrasts with class 0.

    Attributes
    ----------
    form : AffineForm
        The model, in parameters that are identified; its ``theta`` orders ``covariance``.
    covariance : Tensor, shape (P, P)
        Of ``form.theta``; ``cov_params()`` has the order of ``names``.
    data : Batch
        Rows with weight; the sum of the weights is ``nobs``.
    kind : str
        "classical", "HC0" to "HC3" or "cluster".
    names, feature_names, class_names : tuple of str
    llf, llnull : float
        Log-likelihood of the model, and of the one with intercepts and offset only.
    nobs : float
        Number of observations.
    scale : float
        Residual variance of linear regression; 1 otherwise.
    use_t : bool
        Whether tests are t and F rather than normal and chi-squared.
    n_clusters : int or None
    weight_kind : str or None
    penalty : Penalty or None
    distance : float
        How far the parameters are from the maximum, in standard errors.
    """

    form: AffineForm
    covariance: Tensor
    data: Batch
    kind: str
    names: tuple[str, ...]
    feature_names: tuple[str, ...]
    class_names: tuple[str, ...]
    llf: float
    llnull: float
    nobs: float
    scale: float
    use_t: bool
    n_clusters: int | None = None
    weight_kind: str | None = None
    penalty: Penalty | None = None
    distance: float = 0.0

    @property
    def params(self) -> Array:
        """Estimates, (P,)."""
        return self._ordered(self.form.theta)

    @property
    def bse(self) -> Array:
        """Standard errors, (P,)."""
        return np.sqrt(self._ordered(self.covariance.diagonal()))

    @property
    def tvalues(self) -> Array:
        """Estimates over their standard errors, (P,): t or z, see ``use_t``."""
        with np.errstate(divide="ignore", invalid="ignore"):  # a perfect fit has errors of zero
            ratio: Array = self.params / self.bse
        return ratio

    @property
    def pvalues(self) -> Array:
        """Two-sided p-values of the hypothesis that a parameter is zero, (P,)."""
        return two_sided_p(self.tvalues, self.df_inference)

    def conf_int(self, level: float = 0.95) -> Array:
        """Wald intervals, (P, 2)."""
        half = critical_value(level, self.df_inference) * self.bse
        return np.stack((self.params - half, self.params + half), axis=1)

    def cov_params(self) -> Array:
        """Covariance of the estimates in the order of ``names``, (P, P)."""
        order = list(self.form.order)
        matrix: Array = self.covariance.cpu().double().numpy()[np.ix_(order, order)]
        return matrix

    @property
    def df_model(self) -> int:
        """Parameters beyond the intercepts or cutpoints."""
        return self.form.weight.numel()

    @property
    def df_resid(self) -> float:
        """Observations less parameters."""
        return self.nobs - len(self.form.theta)

    @property
    def df_inference(self) -> float | None:
        """Degrees of freedom of t and F: ``df_resid``, clusters less one; None for normal tests."""
        if not self.use_t:
            return None
        return self.df_resid if self.n_clusters is None else self.n_clusters - 1.0

    @property
    def llr(self) -> float:
        """Likelihood-ratio statistic against the model without columns."""
        return 2 * (self.llf - self.llnull)

    @property
    def llr_pvalue(self) -> float:
        """Its p-value; NaN under a penalty, where it has no known distribution."""
        return chi2_tail(self.llr, self.df_model) if self.penalty is None else math.nan

    @property
    def aic(self) -> float:
        """``2 P - 2 llf``; as usual the residual variance of linear regression is not counted."""
        return 2 * len(self.form.theta) - 2 * self.llf

    @property
    def bic(self) -> float:
        """``log(nobs) P - 2 llf``."""
        return math.log(self.nobs) * len(self.form.theta) - 2 * self.llf

    @property
    def prsquared(self) -> float:
        """McFadden's pseudo R2, ``1 - llf / llnull``."""
        self._only_for(False, "prsquared", "rsquared")
        return 1 - self.llf / self.llnull

    @property
    def prsquared_cox_snell(self) -> float:
        """Cox and Snell's pseudo R2, ``1 - exp(-llr / nobs)``."""
        self._only_for(False, "prsquared_cox_snell", "rsquared")
        return -math.expm1(-self.llr / self.nobs)

    @property
    def prsquared_nagelkerke(self) -> float:
        """Nagelkerke's pseudo R2: Cox and Snell's over its largest value."""
        return self.prsquared_cox_snell / -math.expm1(2 * self.llnull / self.nobs)

    @property
    def rsquared(self) -> float:
        """Share of the response's variance explained; about zero for models without intercept."""
        self._only_for(True, "rsquared", "prsquared")
        squares = null_squares(self.form, self.data)
        return 1 - self.scale * self.df_resid / squares if squares > 0 else math.nan

    @property
    def rsquared_adj(self) -> float:
        """R2 with variances in place of sums of squares."""
        free = self.nobs - len(self.form.intercepts)
        return 1 - free / self.df_resid * (1 - self.rsquared)

    @property
    def fvalue(self) -> float:
        """F statistic of all columns; from their Wald test for robust covariances."""
        self._only_for(True, "fvalue", "llr")
        if self.kind != "classical" or self.penalty is not None:
            columns = np.eye(len(self.names))[np.array(self.form.order) < self.df_model]
            return wald_test(self.params, self.cov_params(), columns, 0.0, 1.0).statistic
        squares = null_squares(self.form, self.data)
        explained = (squares - self.scale * self.df_resid) / self.df_model
        return explained / self.scale if self.scale > 0 else math.inf if squares > 0 else math.nan

    @property
    def f_pvalue(self) -> float:
        """p-value of ``fvalue``."""
        clusters = self.n_clusters
        return f_tail(self.fvalue, self.df_model, clusters - 1 if clusters else self.df_resid)

    def table(self, level: float = 0.95) -> Array:
        """Estimate, error, statistic, p-value and interval, (P, 6)."""
        parts = (self.params, self.bse, self.tvalues, self.pvalues)
        return np.column_stack((*parts, self.conf_int(level)))

    def odds_ratios(self, level: float = 0.95) -> Estimates:
        """``exp`` of the weights; see :func:`torchlogreg.inference.estimates.odds_ratios`."""
        return odds_ratios(self, level)

    def thresholds(self, level: float = 0.95) -> Estimates:
        """Cutpoints of an ordinal model on their natural scale."""
        return thresholds(self, level)

    def wald_test(self, restrictions: Any, values: Any = 0.0) -> WaldTest:
        """Test that linear combinations of the parameters have given values.

        Parameters
        ----------
        restrictions : array (q, P) or (P,), mapping, or sequence of mappings
            Coefficients in the order of ``names``, or by name: ``{"x1": 1, "x2": -1}``.
        values : float or array, shape (q,)

        Returns
        -------
        WaldTest
            An F test with ``use_t``, else chi-squared.

        Raises
        ------
        ValueError
            For unknown names, shapes that do not fit, or restrictions that depend on one another.
        """
        matrix = restriction_matrix(restrictions, self.names)
        return wald_test(self.params, self.cov_params(), matrix, values, self.df_inference)

    def marginal_effects(
        self,
        *,
        at: Any = "overall",
        method: str = "dydx",
        columns: Sequence[str | int] | None = None,
        discrete: Sequence[str | int] | Literal["auto"] = (),
        level: float = 0.95,
    ) -> MarginalEffects:
        """Effects of columns on the mean; see :mod:`torchlogreg.inference.margins`."""
        return marginal_effects(
            self.form, self.covariance, self.data, at=at, method=method, columns=columns,
            discrete=discrete, level=level, df=self.df_inference,
            feature_names=self.feature_names, class_names=self.class_names or None,
        )  # fmt: skip

    def predict(self, X: Any, *, offset: Any = None, level: float = 0.95) -> Intervals:
        """Means of new rows with intervals; see :mod:`torchlogreg.inference.prediction`."""
        return intervals(
            self.form, self.covariance, X, offset=offset, level=level, df=self.df_inference,
            scale=self.scale if self.form.model.n_classes is None else None,
            feature_names=self.feature_names, class_names=self.class_names or None,
        )  # fmt: skip

    def profile_intervals(
        self, parameters: Sequence[str | int] | None = None, level: float = 0.95
    ) -> ProfileIntervals:
        """Likelihood intervals; see :mod:`torchlogreg.inference.profile`."""
        return profile_intervals(
            self.form, self.data, penalty=self.penalty, parameters=parameters, level=level,
            feature_names=self.feature_names, class_names=self.class_names or None,
        )  # fmt: skip

    def summary(self, level: float = 0.95) -> str:
        """All of it as text, in the usual layout."""
        return summary.text(self, level)

    def to_frame(self, level: float = 0.95) -> pd.DataFrame:
        """The table of coefficients, indexed by name."""
        import pandas as pd

        heads = summary.heads(self, level)
        return pd.DataFrame(self.table(level), index=list(self.names), columns=heads)

    def __str__(self) -> str:
        return self.summary()

    def __repr__(self) -> str:
        model = type(self.form.model).__name__
        return f"InferenceResult({model}, nobs={self.nobs:g}, llf={self.llf:.6g}, {self.kind})"

    def _repr_html_(self) -> str:
        return summary.html_text(self, 0.95)

    def _ordered(self, theta: Tensor) -> Array:
        """A vector in the order of ``names``."""
        values: Array = theta.cpu().double().numpy()[list(self.form.order)]
        return values

    def _only_for(self, numeric: bool, what: str, instead: str) -> None:
        if (self.form.model.n_classes is None) != numeric:
            model = type(self.form.model).__name__
            raise AttributeError(f"{what} has no meaning for {model}; use {instead}")
