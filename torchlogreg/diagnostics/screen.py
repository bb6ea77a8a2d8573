"""Cheap proofs that nothing is wrong, from a few hundred rows; without one it is worth looking.

Both cost the same for a thousand rows as for a million.
"""

from __future__ import annotations

import torch
from torch import Tensor

from torchlogreg.curvature import mix_matrix
from torchlogreg.data import Batch
from torchlogreg.diagnostics.problem import Problem
from torchlogreg.losses import slopes
from torchlogreg.models import OrdinalRegression, SoftmaxRegression

LIMIT = 2000
"""Parameters up to which (P, P) matrices are cheap enough to look at."""
ROWS = 256
VIF = 1e4
"""Variance inflation from which on columns are called nearly collinear."""


def has_optimum(problem: Problem) -> bool:
    """Whether the gradient proves that a finite optimum exists; False proves nothing.

    Let ``g_i`` be the gradients of the rows' losses. Along a direction ``d`` in which no convex
    loss ever rises every ``-g_i . d`` is >= 0, so for any set ``S`` of rows

        -sum_i g_i . d  >=  sum_S -g_i . d  >=  (sum_S (g_i . d)^2)^(1/2)

    while by Cauchy and Schwarz, with ``M = sum_S g_i g_i'``, the left side is at most
    ``(g' M^-1 g)^(1/2)`` times the right one, ``g = sum_i g_i``. If that factor, a score statistic,
    is below one, there is no such direction: the classes are not separated, not even
    quasi-completely, and the optimum is finite. At an optimum ``g`` vanishes while ``M`` does not;
    under separation both fade together.

    1. Take a few rows for ``S``; 2. if that proves nothing, all rows.
    """
    data, objective = problem.data, problem.objective
    n_params = sum(p.numel() for p in objective.params)
    if n_params > LIMIT:
        return False
    total = _natural_total(problem)
    count = max(ROWS, 6 * n_params)
    index = sample(len(data), count)
    if _score(_row_gradients(problem, index), total) < 0.5:  # 1; half, so that rounding cannot tell
        return True
    if len(index) == len(data):
        return False
    matrix = torch.zeros(len(total), len(total), dtype=total.dtype)
    for start in range(0, len(data), 2**16):  # 2
        block = torch.arange(start, min(start + 2**16, len(data)))
        G = _row_gradients(problem, block)
        matrix += G.T @ G
    return _score_of(matrix, total) < 0.5


def sound_columns(problem: Problem) -> bool:
    """Whether the columns are proven to be neither constant nor (nearly) collinear."""
    p = problem.data.X.shape[1]
    if p > LIMIT:
        return True  # not looked at
    index = sample(len(problem.data), max(ROWS, 6 * p))
    if _inflation(_counted(problem.data, index), problem.has_intercept) < VIF / 4:
        return True
    if len(index) == len(problem.data):
        return False
    return _inflation(problem.rows(), problem.has_intercept) < VIF / 4


def sample(n: int, count: int) -> Tensor:
    """Distinct rows, one at a random place in each of ``count`` equal stretches."""
    if n <= count:
        return torch.arange(n)
    shake = torch.rand(count, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return ((torch.arange(count) + shake) * (n / count)).long().clamp_(max=n - 1)


def _counted(data: Batch, index: Tensor) -> Tensor:
    """Those of the sampled rows that have weight, float64, on the CPU."""
    if len(index) < len(data):
        index = index.to(data.X.device)
        X, weights = data.X[index], data.sample_weight[index]
    else:
        X, weights = data.X, data.sample_weight
    return (
        (X * (weights > 0)[:, None]).cpu().double()
        if bool((weights == 0).any())
        else X.cpu().double()
    )


def _inflation(X: Tensor, centre: bool) -> float:
    """Largest variance inflation factor of the columns; infinite if they are dependent."""
    if centre:
        X = X - X.mean(0)
    gram = X.T @ X
    diagonal = gram.diagonal()
    if not bool((diagonal > 0).all()):
        return float("inf")
    scale = diagonal.rsqrt()
    factor, info = torch.linalg.cholesky_ex(gram * scale[:, None] * scale)
    if int(info):
        return float("inf")
    return float(torch.cholesky_inverse(factor).diagonal().max())


def _row_gradients(problem: Problem, index: Tensor) -> Tensor:
    """Gradients (len(index), d) of weighted losses by weight and natural intercepts, float64."""
    objective, data = problem.objective, problem.data
    model, eta = objective.model, objective.rows(data)[0]
    X, y, weights = data.X, data.y, data.sample_weight
    if len(index) < len(data):
        index = index.to(X.device)
        X, y, weights, eta = X[index], y[index], weights[index], eta[index]
    s = slopes(objective.loss, eta, y) * weights[:, None]
    s, X = s.cpu().double(), X.cpu().double()
    R = _scores(problem)
    sR = s @ R
    by_weight = (sR[:, :, None] * X[:, None, :]).flatten(1) if R.shape[1] > 1 else sR * X
    if not problem.has_intercept:
        return (
            by_weight
            if not isinstance(model, OrdinalRegression)
            else torch.cat((by_weight, s[:, 1:]), 1)
        )
    return torch.cat((by_weight, s if isinstance(model, OrdinalRegression) else sR), dim=1)


def _natural_total(problem: Problem) -> Tensor:
    """Sum over all rows of the gradients, in the same coordinates, from the gradient at hand."""
    objective, n = problem.objective, len(problem.data)
    model = objective.model
    flat = objective.closure(problem.data, problem.data).gradient().cpu().double() * n
    n_weights = model.weight.numel()
    weight, rest = flat[:n_weights].view_as(model.weight), flat[n_weights:]
    if isinstance(model, OrdinalRegression):
        # A cutpoint moves with every gap below it: gap sums are tail sums of cutpoint gradients.
        bend = torch.sigmoid(model.gaps.detach().cpu().double())
        k = int(model.first is not None)
        tails = torch.cat((rest[:k], rest[k:] / bend))
        rest = tails - torch.cat((tails[1:], tails.new_zeros(1)))
    elif isinstance(model, SoftmaxRegression) and not model.reference:
        weight, rest = weight[1:], rest[1:]
    return torch.cat((weight.flatten(), rest))


def _scores(problem: Problem) -> Tensor:
    """``R`` (k, r) without what a common shift of all classes makes redundant."""
    model = problem.objective.model
    R = mix_matrix(model).cpu().double()
    return R[:, 1:] if isinstance(model, SoftmaxRegression) and not model.reference else R


def _score(G: Tensor, total: Tensor) -> float:
    return _score_of(G.T @ G, total)


def _score_of(matrix: Tensor, total: Tensor) -> float:
    """``total' matrix^-1 total``; infinite for a singular matrix."""
    diagonal = matrix.diagonal()
    if not bool((diagonal > 0).all()):
        return float("inf")
    scale = diagonal.rsqrt()
    factor, info = torch.linalg.cholesky_ex(matrix * scale[:, None] * scale)
    if int(info) or float(factor.diagonal().min()) < 1e-5:
        return float("inf")
    half = torch.linalg.solve_triangular(factor, (scale * total)[:, None], upper=False)
    return float(half.square().sum())
