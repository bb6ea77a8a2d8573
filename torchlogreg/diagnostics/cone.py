"""Directions along which no row's loss ever rises, found by linear programs on few rows at a time.

Such directions form the cone ``A b >= 0``: row ``m`` of ``A`` asks that one contrast of one data
row's ``eta`` does not fall. ``A`` is never formed; the programs see the rows that matter.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Mask = NDArray[np.bool_]

STRICT = 1e-8
"""The same for columns in double precision."""
NOTHING = 1e-6
"""Share of the largest weight up to which a column has no part in a direction."""
_SLACK = 1e-9


class OutOfTimeError(RuntimeError):
    """The limit was reached before the answer was certain."""


@dataclass(frozen=True, slots=True, eq=False)
class Cone:
    """``A b >= 0`` for ``b = (weight direction (r, p), intercept direction (q,))``, flat (d,).

    Attributes
    ----------
    X : ndarray, shape (n, p)
        Rows, columns scaled to a largest absolute value of about one.
    by_weight : ndarray, shape (c, r)
        For each kind of contrast, what it takes of each score.
    by_intercept : ndarray, shape (c, q)
        What it takes of each intercept parameter.
    row, code : ndarray, shape (m,)
        Data row and kind of contrast of every constraint.
    always : ndarray, shape (f, d)
        Further constraints, which count for nothing: cutpoints keep their order.
    slack : float
        Fall, per unit of the largest entry of ``b``, that rounding of the columns explains.
    strict : float
        Rise, per unit of a column's range, from which on a contrast counts as rising.
    """

    X: Floats
    by_weight: Floats
    by_intercept: Floats
    row: Integers
    code: Integers
    always: Floats
    slack: float = 0.0
    strict: float = STRICT

    @property
    def n_weights(self) -> int:
        """``r p``: the leading entries of ``b``."""
        return int(self.by_weight.shape[1] * self.X.shape[1])

    @property
    def size(self) -> int:
        """``d``, the length of ``b``."""
        return int(self.n_weights + self.by_intercept.shape[1])

    @property
    def few(self) -> int:
        """How many constraints a program starts with, and is given more at a time."""
        return int(max(200, min(20 * self.size, 10**7 // self.size)))  # at most 80 MB

    def rises(self, b: Floats) -> Floats:
        """``A b`` (m,)."""
        direction = b[: self.n_weights].reshape(self.by_weight.shape[1], -1)
        scores = self.X @ direction.T  # (n, r)
        intercepts = self.by_intercept @ b[self.n_weights :]
        rises: Floats = intercepts[self.code]
        for a, taken in enumerate(self.by_weight.T):
            rises += scores[self.row, a] * taken[self.code]
        return rises

    def rows(self, index: Integers) -> Floats:
        """``A[index]``, dense."""
        code, X = self.code[index], self.X[self.row[index]]
        weights = self.by_weight[code][:, :, None] * X[:, None, :]
        return np.hstack((weights.reshape(len(index), -1), self.by_intercept[code]))

    def total(self, chosen: Mask) -> Floats:
        """``sum of A[chosen]`` (d,)."""
        code, row = self.code[chosen], self.row[chosen]
        n = len(self.X)
        parts = [np.bincount(row, taken[code], minlength=n) @ self.X for taken in self.by_weight.T]
        counts = np.bincount(code, minlength=len(self.by_intercept))
        return np.concatenate((*parts, counts @ self.by_intercept))


def rising(cone: Cone, deadline: float = np.inf) -> Mask:
    """Constraints (m,) that some direction of the cone satisfies strictly.

    1. Among the constraints not yet known to rise, find the direction in the cone that lifts their
       sum most. If it lifts none, none can be lifted: done.
    2. Those it lifts are known now, and need not be asked again: directions may be added, and a
       long enough stretch of this one pays for whatever a later one takes from them.
    3. Repeat with the rest; at most ``d`` times, since each round meets a smaller face of the cone.

    Parameters
    ----------
    cone : Cone
    deadline : float
        In units of ``time.monotonic()``.

    Raises
    ------
    OutOfTimeError
        If the deadline passed.
    """
    rest = np.ones(len(cone.row), dtype=bool)
    while rest.any():
        b = _steepest(cone, rest, deadline)  # 1
        lifted = rest & (cone.rises(b) > cone.strict)
        if not lifted.any():
            break
        rest &= ~lifted  # 2, 3
    return ~rest


def fewest(cone: Cone, strict: Mask, deadline: float = np.inf) -> Floats:
    """A direction (d,) that lifts ``strict`` by 1 or more and uses few columns: those to look at.

    1. The one of least absolute weights. Intercepts are free of charge.
    2. Where rows nearly touch, that one leans a little on every column to widen the gap. So ask, by
       bisection, how many of its columns, largest weights first, would do without the others.

    Where columns are almost one, a direction along their difference is long, and what is zero in it
    is not so in columns that were centred and scaled. Where the first program has no solution, the
    least that counts as rising is asked for, which leaves that room.
    """
    p, lift = cone.X.shape[1], 1.0
    index = _spread(np.flatnonzero(strict), cone.few)
    try:
        best, index = _least(cone, strict, np.arange(p), index, deadline)  # 1
    except OutOfTimeError:
        raise
    except RuntimeError:
        lift = cone.strict
        best, index = _least(cone, strict, np.arange(p), index, deadline, lift)
    size = np.abs(best[: cone.n_weights]).reshape(-1, p).max(axis=0)
    order = np.argsort(-size)[: int((size > NOTHING * size.max(initial=0.0)).sum())]
    low, high = 0, len(order)  # low columns do not do, high ones do
    while high - low > 1:  # 2
        middle = (low + high) // 2
        try:
            best, index = _least(cone, strict, order[:middle], index, deadline, lift)
            high = middle
        except OutOfTimeError:  # what there is will do
            break
        except RuntimeError:
            low = middle
    return best


def _least(
    cone: Cone,
    strict: Mask,
    columns: Integers,
    index: Integers,
    deadline: float,
    lift: float = 1.0,
) -> tuple[Floats, Integers]:
    """The direction of least absolute weights, on these columns, that lifts ``strict`` by 1.

    Constraints are added as they are found broken, so that the last program, over few rows, solves
    them all; they are returned, to begin with the next time. The programs ask for ``lift``, since
    what they take for satisfied, 1e-10, does not scale.
    """
    p = cone.X.shape[1]
    weights = (np.arange(cone.n_weights // p)[:, None] * p + columns).ravel()
    used = np.concatenate((weights, np.arange(cone.n_weights, cone.size)))
    slack = cone.slack / cone.strict  # where the least that rises is to rise by 1
    cost = np.tile((used < cone.n_weights).astype(float), 2)  # two non-negative halves
    bounds = np.array([(0, np.inf)] * len(cost))
    while True:
        A = np.vstack((cone.rows(index), cone.always))[:, used]
        limits = np.concatenate((lift * (slack - strict[index]), np.zeros(len(cone.always))))
        halves = solve(cost, np.hstack((-A, A)), limits, bounds, deadline)
        b = np.zeros(cone.size)
        b[used] = (halves[: len(used)] - halves[len(used) :]) / lift
        short = cone.rises(b) - strict + slack
        tolerance = 1e-7 * max(1.0, float(np.abs(b).max()))
        added = _worst(short, short < -tolerance, cone.few)
        added = np.setdiff1d(added, index)
        if not len(added):
            return b, index
        index = np.concatenate((index, added))


def solve(
    cost: Floats, constraints: Any, limits: Floats, bounds: Any, deadline: float = np.inf
) -> Floats:
    """The minimiser of ``cost . v`` subject to ``constraints v <= limits``, by HiGHS.

    Raises
    ------
    OutOfTimeError
        If the deadline passed.
    RuntimeError
        If there is no solution.
    """
    from scipy.optimize import linprog

    left = deadline - time.monotonic()
    if left <= 0:
        raise OutOfTimeError("the linear programs took longer than allowed")
    options = {"primal_feasibility_tolerance": 1e-10, "dual_feasibility_tolerance": 1e-10}
    if np.isfinite(left):
        options["time_limit"] = left
    result = linprog(
        cost, A_ub=constraints, b_ub=limits, bounds=bounds, method="highs", options=options
    )
    if result.status == 1:
        raise OutOfTimeError("the linear programs took longer than allowed")
    if result.status != 0:
        raise RuntimeError(
            f"the linear program of the separation test was not solved ({result.message}); scale "
            "the columns, or look at them one by one"
        )
    solution: Floats = result.x
    return solution


def _steepest(cone: Cone, rest: Mask, deadline: float) -> Floats:
    """Maximises the sum of ``A[rest] b`` over ``A[rest] b >= 0``, ``-1 <= b <= 1``.

    With ``slack``, ``A[rest] b >= -slack``: a direction as long as allowed has to show that it is
    one, since a short one breaks nothing by more.

    Few constraints at first: on overlapping rows a handful already leaves no direction, which then
    is the answer for all; otherwise those that are broken most are added.
    """
    total = cone.total(rest)
    largest = np.abs(total).max()
    if largest == 0:
        return np.zeros(cone.size)
    cost = -total / largest
    index = _spread(np.flatnonzero(rest), cone.few)
    while True:
        A = np.vstack((cone.rows(index), cone.always))
        b = solve(cost, -A, np.full(len(A), cone.slack), (-1, 1), deadline)
        if cost @ b > -1e-13 or (cone.slack > 0 and np.abs(b).max() < 0.99):
            return np.zeros(cone.size)
        rises = cone.rises(b)
        broken = rest & (rises < -_SLACK - cone.slack)
        added = np.setdiff1d(_worst(rises, broken, cone.few), index)
        if not len(added):
            return b
        index = np.concatenate((index, added))


def _spread(index: Integers, count: int) -> Integers:
    """At most ``count`` entries of ``index``, evenly spread and a little shaken."""
    if len(index) <= count:
        return index
    steps = np.random.default_rng(0).random(count)  # rows may come in a regular order
    return index[((np.arange(count) + steps) * (len(index) / count)).astype(np.int64)]


def _worst(values: Floats, allowed: Mask, count: int) -> Integers:
    """The ``count`` smallest of the allowed, each value once: equal rows say the same."""
    index = np.flatnonzero(allowed)
    if len(index) > 10 * count:
        index = index[np.argpartition(values[index], 10 * count)[: 10 * count]]
    _, first = np.unique(values[index], return_index=True)
    return index[first[:count]]
