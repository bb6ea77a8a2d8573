"""Intervals for the mean response of rows: they stay where means can be.

Signature, for callers::

    intervals(form, covariance, X, *, offset=None, level=0.95, df=None, scale=None,
              feature_names=None, class_names=None) -> Intervals
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from torchlogreg.inference.affine import AffineForm
from torchlogreg.inference.layout import Row, html_table, interval_heads, text_table
from torchlogreg.inference.log_odds import log_odds
from torchlogreg.inference.named import refuse_other_columns
from torchlogreg.inference.reference import Array, critical_value
from torchlogreg.inputs import as_matrix
from torchlogreg.models import LinearRegression, LogisticRegression
from torchlogreg.tensors import as_tensor

if TYPE_CHECKING:
    import pandas as pd

SHOWN = 10
"""Rows that the printed table shows."""

_BLOCK = 2**20


@dataclass(frozen=True, eq=False)
class Intervals:
    """Means of rows and how surely they are known; arrays (n,) or, for several classes, (n, K).

    Attributes
    ----------
    mean : ndarray
        ``E[y|x]``, ``P(y = 1)``, or the probability of every class.
    error : ndarray
        Standard error of ``mean`` by the delta method.
    lower, upper : ndarray
        Interval of the mean.
    level : float
        Coverage, pointwise: for each number by itself.
    observation_lower, observation_upper : ndarray or None
        Linear models whose ``scale`` was given: interval of a new observation.
    classes : tuple of str
        Empty for linear and binary models.
    """

    mean: Array
    error: Array = field(repr=False)
    lower: Array = field(repr=False)
    upper: Array = field(repr=False)
    level: float = 0.95
    observation_lower: Array | None = field(default=None, repr=False)
    observation_upper: Array | None = field(default=None, repr=False)
    classes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.mean)

    def to_frame(self) -> pd.DataFrame:
        """One line per row; with several classes one per row and class."""
        import pandas as pd

        values = np.column_stack([part.ravel() for part in self._parts])
        if self.classes:
            keys = [range(len(self)), self.classes]
            index = pd.MultiIndex.from_product(keys, names=["row", "class"])
            return pd.DataFrame(values, index=index, columns=self._heads)
        return pd.DataFrame(values, columns=self._heads)

    def __str__(self) -> str:
        return text_table(self._title, self._heads, self._groups())

    def _repr_html_(self) -> str:
        return html_table(self._title, self._heads, self._groups())

    @property
    def _parts(self) -> list[Array]:
        parts = [self.mean, self.error, self.lower, self.upper]
        if self.observation_lower is None or self.observation_upper is None:
            return parts
        return [*parts, self.observation_lower, self.observation_upper]

    @property
    def _heads(self) -> list[str]:
        low, high = interval_heads(self.level)
        heads = ["mean", "std err", low, high]
        return heads if len(self._parts) == 4 else [*heads, f"obs {low}", f"obs {high}"]

    @property
    def _title(self) -> str:
        left = len(self) - SHOWN
        return f"Predicted means, {len(self)} rows" + (f", first {SHOWN}" if left > 0 else "")

    def _groups(self) -> list[tuple[str, list[Row]]]:
        """Numbers of the first rows; every row is a group of its classes, if it has several."""
        stack = np.stack([part[:SHOWN] for part in self._parts], axis=-1)
        if not self.classes:
            return [("", [(str(i), row.tolist()) for i, row in enumerate(stack)])]
        return [
            (f"row {i}", [(c, line.tolist()) for c, line in zip(self.classes, row, strict=True)])
            for i, row in enumerate(stack)
        ]


@torch.no_grad()
def intervals(
    form: AffineForm,
    covariance: Tensor,
    X: Any,
    *,
    offset: Any = None,
    level: float = 0.95,
    df: float | None = None,
    scale: float | None = None,
    feature_names: Sequence[str] | None = None,
    class_names: Sequence[str] | None = None,
) -> Intervals:
    """Pointwise intervals for ``E[y|x]``, ``P(y = 1)`` or the probability of every class.

    1. Covariance of a row's ``eta (k,)``: ``D V D'`` with ``D`` its derivative by ``theta``.
    2. Linear: ``eta`` plus and minus its errors.
    3. Probabilities: the delta method on the log-odds of each, ``log(p / (1 - p))``, and the ends
       mapped back: they leave (0, 1) no further than rounding to 0 or 1. For a binary model the
       log-odds are ``eta``, and no approximation is made beyond that of the covariance.

    Parameters
    ----------
    form : AffineForm
    covariance : Tensor, shape (P, P)
        Of ``form.theta``.
    X : Tensor, array or frame, shape (n, p)
    offset : shape (n,) or (n, r), optional
    level : float
    df : float, optional
        Refers the intervals to Student's t.
    scale : float, optional
        Residual variance of a linear model: adds the interval of a new observation (of weight one).
    feature_names : sequence of str, optional
        Columns of the fit: a frame that has them in another order is refused.
    class_names : sequence of str, optional

    Raises
    ------
    ValueError
        If ``X`` or ``offset`` does not fit the model, or ``scale`` is given for probabilities.

    References
    ----------
    Agresti, Categorical Data Analysis (2013), section 5.1.4 (binary).
    """
    half = critical_value(level, df)
    linear = isinstance(form.model, LinearRegression)
    if scale is not None and not linear:
        raise ValueError(
            f"scale={scale} is a residual variance, which {type(form.model).__name__} does not "
            "have; leave it out"
        )
    refuse_other_columns(X, feature_names or (), "X")
    rows, known = _rows(form, X, offset)
    covariance = covariance.to(form.weight)
    kinds = 3 if scale is not None else 2
    numbers = linear or isinstance(form.model, LogisticRegression)
    shape = (len(rows),) if numbers else (len(rows), form.model.n_classes or 0)
    mean, error = np.empty(shape), np.empty(shape)
    ends = np.empty((2 * (kinds - 1), *shape))
    for where, block in _blocks(form, rows):
        eta = form.eta(block, None if known is None else known[where])
        spread = eta_covariance(form, covariance, block)  # 1
        if linear:  # 2
            parts = _of_numbers(eta, spread, half, scale)
        else:  # 3
            parts = _of_probabilities(form, eta, spread, half)
        mean[where], error[where], *limits = (part.cpu().numpy() for part in parts)
        ends[:, where] = np.stack(limits)
    names = class_names or range(mean.shape[-1])
    low, high = (None, None) if scale is None else (ends[2], ends[3])
    classes = () if mean.ndim == 1 else tuple(str(c) for c in names)
    return Intervals(mean, error, ends[0], ends[1], level, low, high, classes)


def eta_covariance(form: AffineForm, covariance: Tensor, X: Tensor) -> Tensor:
    """Covariance of every row's ``eta``, (n, k, k), at rows ``X (n, p)``."""
    r, p = form.weight.shape
    by_weight = covariance[: r * p, : r * p].reshape(r, p, r, p)
    crossed = covariance[: r * p, r * p :].reshape(r, p, -1)
    scores = X.new_empty(len(X), r, r)
    for a in range(r):
        for b in range(a, r):
            scores[:, a, b] = scores[:, b, a] = ((X @ by_weight[a, :, b]) * X).sum(1)
    mixed = form.R @ torch.einsum("np,rpm->nrm", X, crossed) @ form.M.T  # (n, k, k)
    both = form.M @ covariance[r * p :, r * p :] @ form.M.T
    return form.R @ scores @ form.R.T + mixed + mixed.mT + both


def _of_numbers(eta: Tensor, spread: Tensor, half: float, scale: float | None) -> list[Tensor]:
    """Mean, error and ends, each (n,); then the ends of a new observation."""
    mean, variance = eta.squeeze(1), spread.flatten().clamp(min=0)
    wide = [variance] if scale is None else [variance, variance + scale]
    ends = [mean + sign * half * v.sqrt() for v in wide for sign in (-1, 1)]
    return [mean, variance.sqrt(), *ends]


def _of_probabilities(form: AffineForm, eta: Tensor, spread: Tensor, half: float) -> list[Tensor]:
    """Mean, error and ends, each (n,) or (n, K)."""
    odds, slope = log_odds(form.model, eta)  # (n, C), (n, C, k)
    error = ((slope @ spread) * slope).sum(2).clamp(min=0).sqrt()
    p, q = torch.sigmoid(odds), torch.sigmoid(-odds)
    ends = [torch.sigmoid(odds - half * error), torch.sigmoid(odds + half * error)]
    if isinstance(form.model, LogisticRegression):
        return [part.squeeze(1) for part in (p, p * q * error, *ends)]
    return [form.mean(eta), p * q * error, *ends]


def _rows(form: AffineForm, X: Any, offset: Any) -> tuple[Tensor, Tensor | None]:
    """Checked rows and offset."""
    rows = as_matrix(X, form.model.weight)
    if rows.shape[1] != form.weight.shape[1]:
        raise ValueError(
            f"X has {rows.shape[1]} columns, but the model was fitted to {form.weight.shape[1]}; "
            "give the same columns in the same order"
        )
    if offset is None:
        return rows, None
    known = as_tensor(offset, "offset", rows.device)
    fits = known.shape[1:] in {(), (1,), (len(form.model.weight),)} and len(known) == len(rows)
    if not fits or not bool(torch.isfinite(known).all()):
        raise ValueError(
            f"offset has shape {tuple(known.shape)}, but a finite one for each of {len(rows)} rows "
            "is needed"
        )
    return rows, known


def _blocks(form: AffineForm, rows: Tensor) -> Iterator[tuple[slice, Tensor]]:
    """Slices of rows and the rows, in the dtype of the form."""
    k = len(form.R)
    size = max(1, _BLOCK // (rows.shape[1] + 2 * k * k))
    for start in range(0, len(rows), size):
        where = slice(start, start + size)
        yield where, rows[where].to(form.weight)
