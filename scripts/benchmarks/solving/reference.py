"""The reference optimum: solved once, far tighter than any target, by nothing of the package.

Smooth problems: Newton's method with exact Hessians or conjugate gradients. L1: an interior point.
Both end on their own proof: half the squared Newton decrement and the violated conditions, relative
to the objective, bound how far above the optimum they are.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.linalg import lapack, solve_triangular

from benchmarks.solving import interior, objectives
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
    """The optimum of a problem, under other weights of rows if they are given (not under L1)."""
    if data.spec.l1:
        weight, bound = interior.optimum(data)
        bias = np.zeros(1)
        return Reference(weight, bias, objectives.value(data, weight, bias), bound)
    return smooth_optimum(data, row_weight)


def smooth_optimum(data: Data, row_weight: np.ndarray | None = None) -> Reference:
    """Newton's method with a backtracking line search, to the last digit of the objective."""
    spec = data.spec
    weight, bias = np.zeros((spec.width, spec.p)), np.zeros(spec.width)
    f, certificate = objectives.value(data, weight, bias, row_weight), np.inf
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
    errors = _errors(Curvature.at(data, weight, bias, row_weight)) if spec.errors else None
    return Reference(weight, bias, f, certificate, errors)


def _errors(curved: Curvature) -> np.ndarray:
    """Square roots of the diagonal of the inverse information without a penalty, weights first."""
    R = curved.triangle()
    inverse: np.ndarray = solve_triangular(R, np.eye(len(R)))
    return np.linalg.norm(inverse, axis=1)


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


def _flat(weight: np.ndarray, bias: np.ndarray, intercept: bool) -> np.ndarray:
    return np.concatenate((weight.ravel(), bias)) if intercept else weight.ravel()


def _unflat(
    flat: np.ndarray, shape: tuple[int, ...], intercept: bool
) -> tuple[np.ndarray, np.ndarray]:
    size = shape[0] * shape[1]
    bias = flat[size:] if intercept else np.zeros(shape[0])
    return flat[:size].reshape(shape), bias
