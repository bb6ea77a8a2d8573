"""Separation: whether rows can be told apart so well that no finite estimate exists."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import torch

from torchlogreg.base import Model
from torchlogreg.diagnostics.cone import (
    Cone,
    Floats,
    Integers,
    Mask,
    OutOfTimeError,
    fewest,
    rising,
)
from torchlogreg.diagnostics.constraints import cone_of, possible_classes
from torchlogreg.diagnostics.single import by_single_columns
from torchlogreg.diagnostics.wording import listed
from torchlogreg.inputs import as_matrix
from torchlogreg.models import LogisticRegression, OrdinalRegression, SoftmaxRegression
from torchlogreg.sample_weights import checked_weights
from torchlogreg.scaling import Standardizer
from torchlogreg.tensors import as_tensor


@dataclass(frozen=True, slots=True, eq=False)
class Separation:
    """Whether a direction tells the classes apart, and which.

    Attributes
    ----------
    kind : {"none", "quasi", "complete"}
        "complete": every row lies strictly on its own side (of every rival class). "quasi": no row
        lies on a wrong side, and some, not all, lie strictly on theirs. In both cases the
        likelihood rises for ever along the direction and has no maximum. "none": it has one.
    direction : ndarray, shape (p,), or (K, p) for multinomial models
        What the weight adds for ever, along the raw columns. Binary: ``X @ direction + intercept``
        is >= 0 for class 1 and <= 0 for class 0 (up to rounding). Multinomial: row ``c`` minus row
        ``j`` is >= 0 on the rows of class ``c``. Ordinal: ``X @ direction`` lies between the two
        entries of ``intercept`` around the row's level. Zero if there is none; only signs and
        proportions count.
    intercept : float, or ndarray of shape (K,) (multinomial) or (K - 1,) (ordinal cutpoints)
        Zero without an intercept.
    columns : tuple of int
        Columns with a part in the direction, which is chosen to have few.
    n_certain : int
        Rows strictly on their own side of everything: their fitted probability goes to 1.
    n_rows : int
        Rows with weight.
    n_improved : int
        Rows whose likelihood rises for ever; more than ``n_certain`` where only some of several
        classes are excluded.
    at_least : bool
        Whether columns were looked at one by one only: further rows, and columns, may take part.
    """

    kind: Literal["none", "quasi", "complete"]
    direction: Floats
    intercept: float | Floats
    columns: tuple[int, ...]
    n_certain: int
    n_rows: int
    n_improved: int = 0
    at_least: bool = False

    def describe(self, feature_names: Sequence[str] | None = None) -> str:
        """One line: what was found, which columns do it, and what to do.

        Parameters
        ----------
        feature_names : sequence of str, length p, optional
            Default: the numbers of the columns.
        """
        if self.kind == "none":
            return "the classes overlap: the maximum-likelihood estimate exists"
        by = listed(self.columns, feature_names) if self.columns else "the intercept alone"
        how = "completely" if self.kind == "complete" else "quasi-completely"
        few = "at least " if self.at_least else ""
        what = f"{few}{self.n_certain} of {self.n_rows} rows can be predicted with certainty"
        if self.n_certain == 0:
            what = f"some class can be excluded for {few}{self.n_improved} of {self.n_rows} rows"
        return (
            f"the classes are {how} separated by {by}: {what} and no finite "
            "maximum-likelihood estimate exists; add a penalty such as L2, or change the columns"
        )

    def __str__(self) -> str:
        """The description, with columns by number."""
        return self.describe()


def separation(
    X: Any, y: Any, *, bias: bool = True, sample_weight: Any = None, model: Model | None = None
) -> Separation:
    """Decide by linear programming whether the classes can be separated.

    1. Centre (with an intercept) and scale the columns; leave out rows without weight.
    2. Every row asks that nothing it says against be favoured: a row of class 1 that ``x . b`` be
       >= 0, of class ``c`` that ``eta_c - eta_j`` be >= 0 for every ``j``, of an ordinal level that
       ``x . b`` stay between the directions of its cutpoints, which keep their order. A soft target
       asks this for each class it deems possible, so a binary one binds both ways. Directions that
       satisfy all are those along which the likelihood never falls; it rises along those that
       satisfy some strictly.
    3. Find all that can be satisfied strictly (:func:`torchlogreg.diagnostics.cone.rising`). None
       means that the estimate exists, all that separation is complete.
    4. Of the directions that do so, take one of few columns (:func:`.cone.fewest`).
    5. Fold the scaling back.

    Parameters
    ----------
    X : Tensor, array or frame, shape (n, p)
    y : Tensor, array or series, shape (n,) or (n, K)
        Targets as the model takes them, hard or soft.
    bias : bool
        Whether the binary model has an intercept: with one, more sets are separable. A ``model``
        speaks for itself.
    sample_weight : array, shape (n,), optional
        Only whether a weight is zero matters.
    model : Model, optional
        Its kind, number of classes and intercept decide; its parameters do not matter, nor do links
        or offsets. Default: binary logistic regression.

    Returns
    -------
    Separation

    Raises
    ------
    ValueError
        If X or y cannot be data of such a model, or it has no classes.
    RuntimeError
        If a linear program cannot be solved.

    Notes
    -----
    Exact up to rounding: overlaps below 1e-8 of a column's range are not seen, nor those below 1e-6
    if X is float32, where combinations of columns are no better than that. On overlapping rows
    the programs are solved on a few hundred rows, whatever the number of all.

    References
    ----------
    Albert and Anderson, On the existence of maximum likelihood estimates in logistic regression
    models, Biometrika 71 (1984). Konis, Linear programming algorithms for detecting separated data
    in binary logistic regression models, thesis, Oxford (2007). Rockafellar, Convex analysis
    (1970), section 27: a maximum exists unless there is such a direction.
    """
    rows = as_matrix(X, torch.empty(0, dtype=torch.float64))
    if model is None:
        model = LogisticRegression(rows.shape[1], bias=bias, dtype=torch.float64)
    if model.n_classes is None:
        raise ValueError(f"{type(model).__name__} has no classes, so none can be separated")
    target = model.target(as_tensor(y, "the target", torch.device("cpu")).detach())
    if len(target) != len(rows):
        raise ValueError(
            f"X has {len(rows)} rows, but the target has {len(target)}; they must match"
        )
    if sample_weight is not None:
        weights = as_tensor(sample_weight, "sample_weight", torch.device("cpu")).detach()
        counted = checked_weights(weights, len(rows), "sample_weight") > 0
        rows, target = rows[counted], target[counted]
    return separation_of(model, rows, target, eps=_rounding(X))


def separation_of(
    model: Model,
    X: torch.Tensor,
    y: torch.Tensor,
    *,
    seconds: float = float("inf"),
    apart: bool = False,
    eps: float = 2**-52,
    at_once: int | None = None,
) -> Separation:
    """The same for checked float64 rows on the CPU; raises ``OutOfTimeError`` after ``seconds``.

    ``apart``: separation is known to be complete, and only the columns are sought. ``eps``: to what
    the columns had been rounded; a combination of several touches zero no better than that.
    ``at_once``: entries of X from which on columns that separate alone are the answer; where the
    programs take too long they are as well. Default: never.
    """
    deadline = time.monotonic() + seconds
    size = X.abs().amax(dim=0)
    size = torch.where(size > 0, size, 1.0)
    X = X / size  # within 1: the sum of numbers like 1e308 is none
    mean = Standardizer.of(X, centre=_has_intercept(model)).mean  # 1
    centred = (X - mean).numpy()
    scale = np.abs(centred).max(axis=0)
    scale[scale == 0] = 1.0
    cone = cone_of(model, centred / scale, y)  # 2
    if eps > 2**-52:
        cone = replace(cone, slack=8 * eps, strict=800 * eps)
    direction, strict, partial = _search(model, cone, y, deadline, apart, at_once)  # 3, 4
    certain, improved = _per_row(cone, strict)
    kind: Literal["none", "quasi", "complete"] = (
        "complete" if strict.all() else "quasi" if strict.any() else "none"
    )
    weight, intercept = _unfold(model, cone, direction, scale, mean.numpy())  # 5
    with np.errstate(over="ignore"):
        limit = np.finfo(float).max
        weight = np.clip(weight / size.numpy(), -limit, limit)
    columns = tuple(int(j) for j in np.flatnonzero(np.abs(np.atleast_2d(weight)).max(axis=0)))
    at_least = partial and kind == "quasi"
    return Separation(kind, weight, intercept, columns, certain, len(X), improved, at_least)


def _search(
    model: Model,
    cone: Cone,
    y: torch.Tensor,
    deadline: float,
    apart: bool,
    at_once: int | None,
) -> tuple[Floats, Mask, bool]:
    """A direction, what it lifts, and whether it may not be all there is."""
    found = None
    if at_once is not None:
        possible = possible_classes(y, model.n_classes or 0)
        alone = by_single_columns(model, cone, possible, _has_intercept(model))
        lifted = np.zeros(0, bool) if alone is None else cone.rises(alone) > cone.strict
        if alone is not None and (lifted.all() or not apart):  # else it is more than they do
            found = alone, lifted, True
        if found is not None and cone.X.size > at_once:
            return found
    try:
        strict = np.ones(len(cone.row), dtype=bool) if apart else rising(cone, deadline)  # 3
        none = np.zeros(cone.size)
        return fewest(cone, strict, deadline) if strict.any() else none, strict, False  # 4
    except OutOfTimeError:
        if found is None:
            raise
        return found


def _rounding(X: Any) -> float:
    """To what the entries of ``X`` have been rounded."""
    name = str(getattr(X, "dtype", "")).removeprefix("torch.")
    halves = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
    return torch.finfo(halves.get(name, torch.float64)).eps


def _has_intercept(model: Model) -> bool:
    return model.bias is not None or getattr(model, "first", None) is not None


def _per_row(cone: Cone, strict: Mask) -> tuple[int, int]:
    """How many data rows have all, and how many have any, of their constraints strict."""
    asked: Integers = np.bincount(cone.row, minlength=len(cone.X))
    got = np.bincount(cone.row[strict], minlength=len(cone.X))
    return int((got == asked).sum()), int((got > 0).sum())


def _unfold(
    model: Model, cone: Cone, b: Floats, scale: Floats, mean: Floats
) -> tuple[Floats, float | Floats]:
    """Weight and intercept directions on the raw columns, in the shapes that readers expect."""
    parts = b[: cone.n_weights].reshape(-1, len(scale))
    parts = np.where(np.abs(parts) > 1e-6 * np.abs(b).max(initial=0.0), parts, 0.0)
    weight = parts / scale
    shift = weight @ mean  # (r,)
    free = b[cone.n_weights :]
    if isinstance(model, OrdinalRegression):
        fixed = np.zeros(int(model.first is None))
        cuts = np.concatenate((fixed, free)) + (0.0 if len(fixed) else shift[0])
        return weight[0], cuts
    intercept = free - shift if len(free) else np.zeros(len(weight))
    if not isinstance(model, SoftmaxRegression):
        return weight[0], float(intercept[0])
    if model.reference:
        zero = np.zeros((1, len(scale)))
        return np.vstack((zero, weight)), np.concatenate((np.zeros(1), intercept))
    return weight, intercept
