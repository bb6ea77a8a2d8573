"""The reference optimum: solved once, far tighter than any target, by nothing of the package.

Smooth problems: Newton's method with exact Hessians or conjugate gradients. L1: Newton on the
support with fixed signs, columns leaving at zero and entering where the gradient exceeds ``l1``.
Both end on their own proof: half the squared Newton decrement and the violated conditions, relative
to the objective, bound how far above the optimum they are.
"""

from __future__ import annotations

import dataclasses
import warnings
from typing import NamedTuple

import numpy as np
from scipy.linalg import lapack

from benchmarks.solving import objectives
from benchmarks.solving.curvature import Curvature
from benchmarks.solving.problems import Data

TIGHT = 1e-15
WIDEST_HESSIAN = 1500
STEPS = 200


class Reference(NamedTuple):
    """An optimum and its proof.

    Attributes
    ----------
    weight, bias : ndarray
        Shapes (r, p) and (r,).
    value : float
    certificate : float
        Bound on ``(value - minimum) / |value|``, as far as rounding lets it be seen.
    errors : ndarray or None
        Standard errors, weights first, where they were asked for.
    """

    weight: np.ndarray
    bias: np.ndarray
    value: float
    certificate: float
    errors: np.ndarray | None = None


def reference(data: Data, row_weight: np.ndarray | None = None) -> Reference:
    """The optimum of a problem, under other weights of rows if they are given.

    Raises
    ------
    ValueError
        For L1 with an intercept, which no problem here has.
    """
    if data.spec.l1:
        return sparse_optimum(data)
    return smooth_optimum(data, row_weight)


def smooth_optimum(data: Data, row_weight: np.ndarray | None = None) -> Reference:
    """Newton's method with a backtracking line search, to the last digit of the objective."""
    spec = data.spec
    weight, bias = np.zeros((spec.width, spec.p)), np.zeros(spec.width)
    f, certificate, curved = objectives.value(data, weight, bias, row_weight), np.inf, None
    for _ in range(STEPS):
        g = _flat(*objectives.gradient(data, weight, bias, row_weight), spec.intercept)
        curved = Curvature.at(data, weight, bias, row_weight)
        step = -_solve(curved, g)
        certificate = abs(float(g @ step)) / 2 / max(abs(f), 1e-300)
        dw, db = _unflat(step, weight.shape, spec.intercept)
        size, lower = 1.0, f
        while size > 1e-12:
            lower = objectives.value(data, weight + size * dw, bias + size * db, row_weight)
            if lower <= f + 1e-15 * abs(f):
                break
            size /= 2
        if size <= 1e-12:
            break
        weight, bias, f = weight + size * dw, bias + size * db, lower
        if certificate < TIGHT:
            break
    errors = _errors(curved) if spec.errors and curved is not None else None
    return Reference(weight, bias, f, certificate, errors)


def _errors(curved: Curvature) -> np.ndarray:
    """Square roots of the diagonal of the inverse information, weights first."""
    inverse: np.ndarray = np.linalg.inv(curved.matrix() * curved.data.spec.n)
    return np.sqrt(np.diag(inverse))


def _solve(curved: Curvature, g: np.ndarray) -> np.ndarray:
    """``H^-1 g``: by Cholesky where H is small, else by preconditioned conjugate gradients."""
    if curved.data.spec.width > 1 or len(g) > WIDEST_HESSIAN:
        return _conjugate(curved, g)
    H = curved.matrix()
    scale = 1 / np.sqrt(np.maximum(np.diag(H), 1e-300))
    factor, info = lapack.dpotrf(H * scale * scale[:, None])
    if info == 0:
        solution: np.ndarray = lapack.dpotrs(factor, scale * g)[0]
        return scale * solution
    fallback: np.ndarray = np.linalg.lstsq(H, g, rcond=None)[0]
    return fallback


def _conjugate(curved: Curvature, g: np.ndarray) -> np.ndarray:
    """Conjugate gradients until the residual is a thousandth of its start (superlinear overall)."""
    precondition = curved.preconditioner()
    x, residual = np.zeros_like(g), g.copy()
    z = precondition(residual)
    direction, rz = z.copy(), float(residual @ z)
    first = rz
    for _ in range(2000):
        bent = curved.product(direction)
        curve = float(direction @ bent)
        if curve <= 0:
            break
        length = rz / curve
        x += length * direction
        residual -= length * bent
        z = precondition(residual)
        new = float(residual @ z)
        if new <= 1e-6 * first:
            break
        direction, rz = z + (new / rz) * direction, new
    return x


def sparse_optimum(data: Data) -> Reference:
    """Newton on the support; starts from a coarse solution of scikit-learn's, ends on its proof."""
    spec = data.spec
    if spec.intercept or spec.width > 1:
        raise ValueError("reference optima under L1 have no intercept and one column of scores")
    weight = _coarse(data)
    bias = np.zeros(1)
    certificate = np.inf
    for _ in range(STEPS):
        support = np.flatnonzero(weight[0])
        weight[0, support] = _on_support(data, support, weight[0, support])
        slope = objectives.gradient(data, weight, bias)[0][0]
        off = weight[0] == 0
        excess = np.where(off, np.abs(slope) - spec.l1, 0.0)
        wrong = np.abs(slope + spec.l1 * np.sign(weight[0]))[~off]
        f = objectives.value(data, weight, bias)
        norm = float(np.abs(weight).sum())
        worst = max(float(excess.max(initial=0.0)), float(wrong.max(initial=0.0)), 0.0)
        certificate = worst * norm / max(f, 1e-300)
        entering = np.flatnonzero(excess > 1e-10 * spec.l1)
        if not len(entering):
            break
        # A hair off zero on the side the gradient points to: the next Newton step moves it on.
        weight[0, entering] = -np.sign(slope[entering]) * 1e-14
    return Reference(weight, bias, objectives.value(data, weight, bias), certificate)


def _on_support(data: Data, support: np.ndarray, w: np.ndarray) -> np.ndarray:
    """Newton on some columns with the signs of ``w`` (s,); columns that reach zero stay there."""
    w = w.copy()
    for _ in range(STEPS):
        live = np.flatnonzero(w)
        if not len(live):
            break
        spec = dataclasses.replace(data.spec, p=len(live), l1=0.0)
        some = Data(spec, data.X[:, support[live]], data.y)
        step, slope = _step_on(some, w[live], data.spec.l1)
        moved = _along(some, w[live], step, data.spec.l1)
        small = np.max(np.abs(moved - w[live])) <= 1e-15 * np.max(np.abs(moved))
        w[live] = moved
        if small or abs(float(slope @ step)) < 1e-30:
            break
    return w


def _step_on(some: Data, w: np.ndarray, l1: float) -> tuple[np.ndarray, np.ndarray]:
    """The Newton step with fixed signs, and the gradient it comes from, both (s,)."""
    at, none = w[None], np.zeros(1)
    slope = objectives.gradient(some, at, none)[0][0] + l1 * np.sign(w)
    return -_solve(Curvature.at(some, at, none), slope), slope


def _along(some: Data, w: np.ndarray, step: np.ndarray, l1: float) -> np.ndarray:
    """``w + step``, changes of sign set to zero; if that is no lower, up to the first of them."""
    none = np.zeros(1)

    def f(at: np.ndarray) -> float:
        return objectives.value(some, at[None], none) + l1 * float(np.abs(at).sum())

    moved = w + step
    crossing = np.sign(moved) != np.sign(w)
    moved[crossing] = 0.0
    if not crossing.any() or f(moved) <= f(w):
        return moved
    room = np.where(crossing, np.abs(w) / np.maximum(np.abs(step), 1e-300), np.inf)
    moved = w + float(room.min()) * step
    moved[room.argmin()] = 0.0
    return moved


def _coarse(data: Data) -> np.ndarray:
    """Weights (1, p) near the optimum, from scikit-learn's coordinate descent."""
    from sklearn.linear_model import Lasso, LogisticRegression

    spec = data.spec
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if spec.kind == "linear":
            model = Lasso(spec.l1 / 2, fit_intercept=False, tol=1e-8, max_iter=10_000)
        else:
            settings = {
                "C": 1 / (spec.l1 * spec.n),
                "solver": "liblinear",
                "tol": 1e-8,
                "max_iter": 1000,
            }
            model = LogisticRegression(l1_ratio=1.0, fit_intercept=False, **settings)
        model.fit(data.X, data.y)
    return np.array(model.coef_, dtype=np.float64).reshape(1, -1)


def _flat(weight: np.ndarray, bias: np.ndarray, intercept: bool) -> np.ndarray:
    return np.concatenate((weight.ravel(), bias)) if intercept else weight.ravel()


def _unflat(
    flat: np.ndarray, shape: tuple[int, ...], intercept: bool
) -> tuple[np.ndarray, np.ndarray]:
    size = shape[0] * shape[1]
    bias = flat[size:] if intercept else np.zeros(shape[0])
    return flat[:size].reshape(shape), bias
