"""The inverse information of nearly collinear columns, to the last digits of float64.

Three things cost digits there: the rounding of the parameters, each by itself, moves ``eta`` by eps
times the terms that cancel in it; so does the rounding of ``eta``; and the inverse loses what the
condition of the columns is. So ``eta`` is taken at the optimum in doubled precision, and the matrix
is summed and inverted in doubled precision; curvatures of single rows need float64 only, since
relative errors of theirs are relative errors of the result.
"""

from __future__ import annotations

import itertools

import torch
from torch import Tensor

from torchlogreg.closed_form import curvatures
from torchlogreg.double_double import DoubleDouble, two_product, vecmat
from torchlogreg.gram import rank_of, refined_inverse
from torchlogreg.inference.rows import Problem
from torchlogreg.objective import Objective
from torchlogreg.optim.doubled import DOUBLED
from torchlogreg.optim.doubled_sums import Precise, stacked
from torchlogreg.optim.polish import can_polish, polished

QUICK = 2**23
"""Products ``n P^2`` up to which this takes some tenths of a second."""


def doubled_inverse(problem: Problem) -> Tensor | None:
    """Inverse information by ``theta``, (P, P), or None where there is no such way, or too long.

    1. The parameters: the optimum, if the model's are that, rounded; else the model's.
    2. Curvatures ``C_i`` at ``eta`` from them, the triangle of the rows ``sqrt(w_i C_i) D_i``, and
       the information in doubled precision.
    3. The inverse, refined.

    Parameters
    ----------
    problem : Problem
    """
    objective, n_params = Objective(problem.form.model), len(problem.form.theta)
    if len(problem.data) * n_params**2 > QUICK or not can_polish(objective, problem.data):
        return None
    at = _parameters(objective, problem)  # 1
    eta = at.eta(problem.data)[0].value
    C = curvatures(problem.form.nll, eta, problem.data.y)  # 2
    used = eta.shape[1] - len(problem.R)
    C = C[:, used:, used:] * problem.data.sample_weight[:, None, None]
    exponent = torch.frexp(problem.data.X.abs().amax(0)).exponent
    X = torch.ldexp(problem.data.X, -exponent)
    R = _triangle(problem, X, eta)
    if len(R) < n_params or rank_of(R) < n_params:
        return None
    start = torch.linalg.solve_triangular(R, torch.eye(len(R)).to(R), upper=True)
    Z = refined_inverse(R, _information(problem, X, C), DoubleDouble.of(start @ start.T)).value  # 3
    unit = torch.cat(
        (
            torch.ldexp(torch.ones_like(X[0]), exponent).repeat(len(problem.R.T)),
            torch.ones_like(problem.form.intercepts),
        )
    )
    return 0.5 * (Z + Z.T) / unit[:, None] / unit


def _parameters(objective: Objective, problem: Problem) -> Precise:
    """The optimum where the model is at it but for rounding; else what the model has."""
    own = Precise.of(objective.model, None)
    best = polished(objective, problem.data)
    if best is None:
        return own
    pairs = ((own.weight, best.weight), (own.intercepts, best.intercepts))
    near = all(torch.allclose(a.value, b.value, rtol=1e-14, atol=0.0) for a, b in pairs)
    return best if near else own


def _triangle(problem: Problem, X: Tensor, eta: Tensor) -> Tensor:
    """Upper triangle whose square is the information, by QR: nothing is squared."""
    data = problem.data
    B = DOUBLED[problem.form.nll].roots(eta, data.y) * data.sample_weight.sqrt()[:, None, None]
    B = B[:, :, eta.shape[1] - len(problem.R) :]
    weights = ((B @ problem.R)[:, :, :, None] * X[:, None, None, :]).flatten(2)
    rows = torch.cat((weights, B @ problem.M), dim=2).flatten(0, 1)
    triangle: Tensor = torch.linalg.qr(rows, mode="r").R
    return triangle


def _information(problem: Problem, X: Tensor, C: Tensor) -> DoubleDouble:
    """``sum_i D_i' C_i D_i``, (P, P).

    From sums over the rows for every pair of columns of ``eta``: had ``R' C_i R`` and the like been
    rounded row by row, they would no longer be parts of one matrix.
    """
    R, M = problem.R, problem.M
    (k, r), m, p = R.shape, M.shape[1], X.shape[1]
    Z = torch.cat((X, torch.ones_like(X[:, :1])), dim=1)
    zero = X.new_zeros(r * p + m, r * p + m)
    sum_ = DoubleDouble(zero, zero.clone())
    for a, b in itertools.product(range(k), range(k)):
        if b < a:
            continue
        T = stacked([vecmat(two_product(C[:, a, b], Z[:, j]), Z) for j in range(p + 1)])
        left, right = (_places(R[j], M[j], p) for j in (a, b))
        part = DoubleDouble(left.T @ T.high @ right, left.T @ T.low @ right)  # copies, signed
        sum_ = sum_ + part
        if b > a:
            sum_ = sum_ + DoubleDouble(part.high.T, part.low.T)
    return sum_


def _places(R: Tensor, M: Tensor, p: int) -> Tensor:
    """Where ``[x, 1]`` of one column of ``eta`` goes among the parameters, (p + 1, P): signs."""
    weights = torch.kron(R[None, :], torch.eye(p, dtype=R.dtype, device=R.device))  # (p, r p)
    placed: Tensor = torch.block_diag(weights, M[None, :])  # type: ignore[no-untyped-call]
    return placed
