"""A few numbers with their errors: odds ratios, thresholds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from torchlogreg.inference.layout import Row, html_table, interval_heads, text_table
from torchlogreg.inference.reference import Array
from torchlogreg.models import OrdinalRegression, SoftmaxRegression

if TYPE_CHECKING:
    import pandas as pd

    from torchlogreg.inference.result import InferenceResult


@dataclass(frozen=True, eq=False)
class Estimates:
    """Numbers, standard errors and intervals.

    Attributes
    ----------
    title : str
    head : str
        What the numbers are.
    names : tuple of str, length q
    values, errors, lower, upper : ndarray, shape (q,)
    level : float
        Coverage of the intervals.
    """

    title: str
    head: str
    names: tuple[str, ...]
    values: Array
    errors: Array
    lower: Array
    upper: Array
    level: float

    def to_frame(self) -> pd.DataFrame:
        """One line per name."""
        import pandas as pd

        return pd.DataFrame(self._stack, index=list(self.names), columns=self._heads)

    def __str__(self) -> str:
        return text_table(self.title, self._heads, [("", self._rows)])

    def _repr_html_(self) -> str:
        return html_table(self.title, self._heads, [("", self._rows)])

    @property
    def _heads(self) -> list[str]:
        return [self.head, "std err", *interval_heads(self.level)]

    @property
    def _stack(self) -> Array:
        return np.stack((self.values, self.errors, self.lower, self.upper), axis=1)

    @property
    def _rows(self) -> list[Row]:
        return [(n, row.tolist()) for n, row in zip(self.names, self._stack, strict=True)]


def odds_ratios(result: InferenceResult, level: float) -> Estimates:
    """``exp`` of the weights: what one unit of a column does to the odds.

    Of class 1; of a class against class 0; of a level above any other (ordinal, logit link).
    Errors are by the delta method, intervals those of the weights, transformed.

    Raises
    ------
    ValueError
        For models whose weights are no log-odds.
    """
    model = result.form.model
    link = model.link if isinstance(model, OrdinalRegression) else "logit"
    if model.n_classes is None:
        raise ValueError(
            "odds_ratios: weights of linear regression are in units of the response; use conf_int"
        )
    if link != "logit":
        more = "; exp(-weight) is a hazard ratio there" if link == "cloglog" else ""
        raise ValueError(
            f"odds_ratios: under the {link} link weights are no log-odds{more}; use conf_int, or "
            "marginal_effects"
        )
    places = [i for i, j in enumerate(result.form.order) if j < result.form.weight.numel()]
    names = tuple(result.names[i] for i in places)
    with np.errstate(over="ignore"):  # one unit of a tiny column: infinite odds
        ratio, ends = np.exp(result.params[places]), np.exp(result.conf_int(level)[places])
        errors = ratio * result.bse[places]
    softmax = isinstance(model, SoftmaxRegression)
    title = f"Odds ratios against class {result.class_names[0]}" if softmax else "Odds ratios"
    return Estimates(title, "odds ratio", names, ratio, errors, ends[:, 0], ends[:, 1], level)


def thresholds(result: InferenceResult, level: float) -> Estimates:
    """Cutpoints of an ordinal model on their natural scale.

    Raises
    ------
    ValueError
        For other models.
    """
    model = result.form.model
    if not isinstance(model, OrdinalRegression):
        raise ValueError(
            f"thresholds belong to ordinal regression, and {type(model).__name__} has none; its "
            "intercepts are in params"
        )
    n = result.form.weight.numel()
    low, high = result.conf_int(level)[n:].T
    names, values, errors = result.names[n:], result.params[n:], result.bse[n:]
    return Estimates("Thresholds", "threshold", names, values, errors, low, high, level)
