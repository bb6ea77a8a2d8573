"""Reference optima under L1: a primal-dual interior point, which does not mind twin columns.

The weights are the difference of two positive halves, ``w = v[0] - v[1]``, and their slacks are
``s = l1 + g`` and ``l1 - g`` (``g``: the gradient of the loss); Newton's method drives every
product ``v s`` to zero at one pace (Koh, Kim & Boyd 2007, "An interior-point method for large-scale
l1-regularized logistic regression"; the step length and the correction are those of Mehrotra 1992).
Coordinate descent and active sets trade the columns of a collinear pair back and forth for ever;
here they only make a system of equations ill conditioned, and 20 of those end at the last digit.
"""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import numpy as np
from scipy import sparse
from scipy.linalg import LinAlgError, cho_factor, cho_solve
from scipy.sparse.linalg import LinearOperator, cg, splu

from benchmarks.solving import objectives
from benchmarks.solving.curvature import Curvature
from benchmarks.solving.problems import Data

SIGNS = np.array([[1.0], [-1.0]])
STEPS = 80
TIGHT = 1e-15
NEAR = 0.8
"""Columns whose gradient is above this share of ``l1`` are taken into the system."""
ALIKE = 0.5
"""Scaled entries of the system above this are kept by the preconditioner: pairs of like columns."""
NONE = np.zeros(1)


class Interior(NamedTuple):
    """A point inside, or a direction from it: halves and slacks, both (2, p)."""

    v: np.ndarray
    s: np.ndarray

    def room(self, step: Interior) -> float:
        """The longest step up to 1 that leaves both positive."""
        room = 1.0
        for x, dx in zip(self, step, strict=True):
            falls = dx < 0
            room = min(room, float((-x[falls] / dx[falls]).min(initial=1.0)))
        return room

    def moved(self, step: Interior, size: float) -> Interior:
        """The point after a step."""
        return Interior(self.v + size * step.v, self.s + size * step.s)


def optimum(data: Data) -> tuple[np.ndarray, float]:
    """The weights (1, p) and a bound on ``(objective - minimum) / objective``.

    Columns that stay at zero are left out of the system; those that the solution without them
    shows to be wrongly so are taken in, and it is solved again.

    Raises
    ------
    ValueError
        With an intercept or several columns of scores, which no problem here has under L1.
    """
    if data.spec.intercept or data.spec.width > 1:
        raise ValueError("reference optima under L1 have no intercept and one column of scores")
    weight, l1 = _rough(data), data.spec.l1
    taken = np.zeros(data.spec.p, dtype=bool)
    while True:
        slope = np.abs(_slope(data, weight))
        wrong = ~taken & ((weight != 0) | (slope > l1 * (1 + 1e-12)))
        if not wrong.any():
            break
        taken |= wrong | (slope > NEAR * l1)
        weight = np.zeros(data.spec.p)
        weight[taken] = _inside(_columns(data, taken), l1)
    return weight[None], _bound(data, weight)


def _bound(data: Data, weight: np.ndarray) -> float:
    """How far above the minimum, at most: from convexity, and ``l1 |w*| <= objective``."""
    slope, l1 = _slope(data, weight), data.spec.l1
    apart = float(slope @ weight) + l1 * float(np.abs(weight).sum())
    excess = max(float(np.abs(slope).max()) / l1 - 1, 0.0)
    return abs(apart) / max(objectives.value(data, weight[None], NONE), 1e-300) + excess


def _columns(data: Data, taken: np.ndarray) -> Data:
    """The problem of some columns, without its penalty."""
    spec = dataclasses.replace(data.spec, p=int(taken.sum()), l1=0.0)
    return Data(spec, data.X[:, np.flatnonzero(taken)], data.y)


def _slope(data: Data, weight: np.ndarray) -> np.ndarray:
    """Gradient of the loss, (p,)."""
    return objectives.gradient(data, weight[None], NONE)[0][0]


def _rough(data: Data, steps: int = 300) -> np.ndarray:
    """Weights (p,) after FISTA with restarts: they say which columns the system is made of."""
    l1, n = data.spec.l1, data.spec.n
    u = np.random.default_rng(0).standard_normal(data.spec.p)
    for _ in range(20):
        u = data.X.T @ (data.X @ (u / np.linalg.norm(u)))
    steepest = 1.05 * np.linalg.norm(u) / n * (2.0 if data.spec.kind == "linear" else 0.25)
    at = weight = np.zeros(data.spec.p)
    momentum = 1.0
    for _ in range(steps):
        new = at - _slope(data, at) / steepest
        new = np.sign(new) * np.maximum(np.abs(new) - l1 / steepest, 0.0)
        if (at - new) @ (new - weight) > 0:
            momentum = 1.0
        longer = (1 + np.sqrt(1 + 4 * momentum**2)) / 2
        at = new + (momentum - 1) / longer * (new - weight)
        weight, momentum = new, longer
    return weight


def _inside(data: Data, l1: float) -> np.ndarray:
    """Weights (p,): the best point of the path, halves beyond rounding set to zero."""
    at = _start(data, l1)
    best, least = at, np.inf
    for _ in range(STEPS):
        weight = at.v[0] - at.v[1]
        value = objectives.value(data, weight[None], NONE) + l1 * float(at.v.sum())
        residual = l1 + SIGNS * _slope(data, weight) - at.s
        gap = float((at.v * (at.s + np.abs(residual))).sum()) / value
        if gap < least:
            best, least = at, gap
        elif least < 1e-10:
            break
        if least < TIGHT:
            break
        try:
            at = _next(data, at, residual)
        except LinAlgError:
            break
    weight = best.v[0] - best.v[1]
    weight[np.abs(weight) < 1e-12 * np.abs(weight).max()] = 0.0
    return weight


def _start(data: Data, l1: float) -> Interior:
    """Halves that cancel, a tenth of what the penalty moves a column; slacks of the gradient."""
    zero = np.zeros(data.spec.p)
    squares = data.X.multiply(data.X) if data.spec.density < 1 else data.X**2
    variance = Curvature.at(data, zero[None], NONE).variance()[:, 0]
    bend = float(np.mean(squares.T @ variance)) / data.spec.n
    slack = np.maximum(l1 + SIGNS * _slope(data, zero), 0.5 * l1)
    return Interior(np.full((2, data.spec.p), 0.1 * l1 / max(bend, 1e-300)), slack)


def _next(data: Data, at: Interior, residual: np.ndarray) -> Interior:
    """A predictor, which says how far the products may fall, and the step with its correction."""
    v, s = at
    theta = (v / s).sum(axis=0)
    system = (Sparse if data.spec.density < 1 else Dense)(data, v[0] - v[1], 1 / theta)

    def direction(target: np.ndarray | float) -> Interior:
        free = (target - v * s - v * residual) / s
        right = (free[0] - free[1]) / theta
        bent = SIGNS * (right - system.solve(right) / theta)
        return Interior(free - v / s * bent, bent + residual)

    step = direction(0.0)
    ahead, mean = at.moved(step, at.room(step)), float((v * s).mean())
    centre = (float((ahead.v * ahead.s).mean()) / mean) ** 3 * mean
    step = direction(centre - step.v * step.s)
    return at.moved(step, 0.99 * at.room(step))


class Dense:
    """``(H + diag(extra))^-1`` by Cholesky."""

    def __init__(self, data: Data, weight: np.ndarray, extra: np.ndarray) -> None:
        matrix = Curvature.at(data, weight[None], NONE).matrix()
        matrix[np.diag_indices(len(weight))] += extra
        self.scale = 1 / np.sqrt(np.diag(matrix))
        matrix *= self.scale * self.scale[:, None]
        self.factor = cho_factor(matrix, overwrite_a=True, check_finite=False)

    def solve(self, right: np.ndarray) -> np.ndarray:
        """The solution, (p,)."""
        solution: np.ndarray = cho_solve(self.factor, self.scale * right, check_finite=False)
        return self.scale * solution


class Sparse:
    """``(H + diag(extra))^-1`` by conjugate gradients; pairs of like columns are solved exactly."""

    def __init__(self, data: Data, weight: np.ndarray, extra: np.ndarray) -> None:
        variance = Curvature.at(data, weight[None], NONE).variance()[:, 0] / data.spec.n
        half = sparse.diags_array(np.sqrt(variance)) @ sparse.csr_array(data.X)
        squares = np.asarray(half.multiply(half).sum(axis=0))
        self.scale = 1 / np.sqrt(squares + extra)
        self.half = sparse.csr_array(half @ sparse.diags_array(self.scale))
        self.turned = sparse.csr_array(self.half.T)
        self.extra = extra * self.scale**2
        matrix = self.turned @ self.half + sparse.diags_array(self.extra)
        matrix.data[np.abs(matrix.data) < ALIKE] = 0.0
        matrix.eliminate_zeros()
        self.near = splu(sparse.csc_array(matrix))

    def solve(self, right: np.ndarray) -> np.ndarray:
        """The solution, (p,), to ten digits."""
        shape = (len(right), len(right))
        whole = LinearOperator(
            shape, matvec=lambda x: self.turned @ (self.half @ x) + self.extra * x
        )
        near = LinearOperator(shape, matvec=self.near.solve)
        solution: np.ndarray = cg(whole, self.scale * right, rtol=1e-10, maxiter=2000, M=near)[0]
        return self.scale * solution
