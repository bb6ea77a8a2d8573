"""Separation by one column at a time: ranges of classes that touch or lie apart, no programs."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from torchlogreg.base import Model
from torchlogreg.diagnostics.cone import Cone, Floats, Integers, Mask
from torchlogreg.models import OrdinalRegression, SoftmaxRegression

_MOST = 20


def by_single_columns(model: Model, cone: Cone, possible: Mask, intercept: bool) -> Floats | None:
    """A direction (d,) of the cone made of columns that separate alone, or None; O(n p).

    1. Range of every column on the rows of every class.
    2. Columns that hold one class against the rest (ordinal: all levels in order), where no range
       reaches beyond the next. Without ``intercept`` they must meet at zero.
    3. Of these the few that part most rows; their sum, since directions of a cone may be added.

    Parameters
    ----------
    model : Model
    cone : Cone
    possible : ndarray of bool, shape (n, K)
        Classes that a row may have.
    intercept : bool
    """
    there: Integers = np.flatnonzero(possible.any(axis=0)).astype(np.int64)
    if len(there) < 2:
        return None
    X = cone.X
    low = np.array([X[possible[:, c]].min(axis=0) for c in there])  # 1
    high = np.array([X[possible[:, c]].max(axis=0) for c in there])
    if isinstance(model, OrdinalRegression):
        found = list(_in_order(cone, possible.shape[1], there, low, high, intercept))  # 2
    else:
        found = list(_against_rest(model, cone, there, low, high, intercept))
    best, strict = np.zeros(cone.size), np.zeros(len(cone.row), dtype=bool)
    rises = [cone.rises(b) > cone.strict for b in found]
    for i in sorted(range(len(found)), key=lambda i: -int(rises[i].sum())):  # 3
        if (rises[i] & ~strict).any():
            best, strict = best + found[i], strict | rises[i]
    return best if strict.any() else None


def _against_rest(
    model: Model, cone: Cone, there: Integers, low: Floats, high: Floats, intercept: bool
) -> Iterator[Floats]:
    """One class above, or below, all others."""
    several = isinstance(model, SoftmaxRegression)
    for i, c in enumerate(there):
        if not several and c == 0:
            continue  # the same as class 1 against class 0
        rest_high = np.delete(high, i, axis=0).max(axis=0)
        rest_low = np.delete(low, i, axis=0).min(axis=0)
        for sign, bottom, top in ((1.0, rest_high, low[i]), (-1.0, high[i], rest_low)):
            for j in _guilty(cone.X, bottom, top, intercept):
                middle = 0.5 * (bottom[j] + top[j]) if intercept else 0.0
                yield _toward(model, cone, int(c), j, sign, middle)


def _guilty(X: Floats, bottom: Floats, top: Floats, intercept: bool) -> list[int]:
    """Columns where ``bottom <= top`` (around zero), those first that part most rows."""
    parted = (bottom <= top) if intercept else (bottom <= 0) & (top >= 0)
    columns = np.flatnonzero(parted)
    if len(columns) > _MOST:
        at = 0.5 * (bottom + top)[columns] if intercept else 0.0
        columns = columns[np.argsort(-(X[:, columns] != at).sum(axis=0), kind="stable")]
    return [int(j) for j in columns[:_MOST]]


def _toward(model: Model, cone: Cone, c: int, column: int, sign: float, at: float) -> Floats:
    """``sign (x - at)`` for the score of class ``c``, or against it for all others."""
    rows, way = slice(c, c + 1), sign
    if not isinstance(model, SoftmaxRegression):
        rows = slice(0, 1)
    elif model.reference:  # the score of class 0 is fixed, the first row is that of class 1
        rows, way = (slice(None), -sign) if c == 0 else (slice(c - 1, c), sign)
    weights = np.zeros((cone.by_weight.shape[1], cone.X.shape[1]))
    intercepts = np.zeros(cone.by_intercept.shape[1])
    weights[rows, column] = way
    if len(intercepts):
        intercepts[rows] = -way * at
    return np.concatenate((weights.ravel(), intercepts))


def _in_order(
    cone: Cone, n_classes: int, there: Integers, low: Floats, high: Floats, intercept: bool
) -> Iterator[Floats]:
    """Levels one above the other, in either direction, and cutpoints between them."""
    for sign in (1.0, -1.0):
        bottom, top = (low, high) if sign > 0 else (-high, -low)
        ordered = (top[:-1] <= bottom[1:]).all(axis=0)
        for j in np.flatnonzero(ordered & (top[-1] > bottom[0]))[:_MOST]:
            cuts = np.empty(n_classes - 1)
            for c in range(n_classes - 1):
                below, above = top[there <= c, j], bottom[there > c, j]
                edges = ([below[-1]] if len(below) else []) + ([above[0]] if len(above) else [])
                cuts[c] = np.mean(edges)
            if not intercept:
                inside = top[there <= 0, j].max(initial=-np.inf) <= 0
                if not inside or bottom[there > 0, j].min(initial=np.inf) < 0:
                    continue
                cuts = cuts[1:]
            weights = np.zeros(cone.n_weights)
            weights[j] = sign
            yield np.concatenate((weights, cuts))
