"""Cheap proofs that nothing is wrong, from a few hundred rows; without one it is worth looking.

Both cost the same for a thousand rows as for a million.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from torchlogreg.closed_form import has_slopes, losses_and_slopes
from torchlogreg.curvature import mix_matrix
from torchlogreg.diagnostics.algebra import cholesky, inverse, products
from torchlogreg.diagnostics.column_sums import centred_gram
from torchlogreg.diagnostics.cone import Floats
from torchlogreg.diagnostics.problem import Problem
from torchlogreg.kernels import curvature_available, gradient_products
from torchlogreg.losses import slopes
from torchlogreg.models import OrdinalRegression, SoftmaxRegression

LIMIT = 2000
"""Parameters up to which (P, P) matrices are cheap enough to look at."""
PROVABLE = 5000
"""Parameters up to which a Cholesky may prove that a finite optimum exists."""
WORK = 2e11
"""Rows times squared parameters that such a proof may cost beyond ``LIMIT``: a few seconds."""
ROWS = 256
BLOCK = 2**20
"""Entries of the gradients of rows that are made at once: of several copies, 8 MB each."""
QUIET = np.errstate(over="ignore", under="ignore", divide="ignore", invalid="ignore")
"""Numbers like 1e200 have no squares: then nothing is proven, which is no news to warn of."""
FEW = 16
"""Parameters up to which rounding is that of the sums over rows."""
VARIED = 2**-40
"""Standard deviation of a column, as a share of its mean, from which on it is no rounding error."""
VIF = 1e4
"""Variance inflation from which on columns are called nearly collinear."""


@QUIET
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
    count = max(ROWS, 6 * n_params)
    if n_params > LIMIT:  # a second or two is well spent on a proof, but not more
        count = min(count, int(WORK / n_params**2))
        if n_params > PROVABLE or count < 1.5 * n_params:
            return False
    total = _natural_total(problem)
    index = sample(len(data), count)  # of each rank
    if _is_short(total, _gram(problem, index)):  # 1
        return True
    too_much = n_params > LIMIT and data.n * n_params**2 > WORK
    if count >= data.n or too_much:
        return False
    return _is_short(total, _gram(problem))  # 2


def _gram(problem: Problem, index: Tensor | None = None) -> Floats:
    """``M`` of some rows, or of all, a block at a time."""
    n, n_params = len(problem.data), sum(p.numel() for p in problem.objective.params)
    size = max(ROWS, BLOCK // n_params)
    parts: Iterable[Tensor | slice]
    if index is None:
        known = _gram_at_once(problem)
        if known is not None:
            return known
        # Their numbers would take as much as a column.
        parts = (slice(start, start + size) for start in range(0, n, size))
    else:
        parts = torch.split(index, size)
    matrix: Floats | float = 0.0
    for part in parts:
        G = _row_gradients(problem, part)
        matrix = matrix + products(G)
    return np.asarray(problem.data.summed(torch.from_numpy(np.asarray(matrix))))


def _gram_at_once(problem: Problem) -> Floats | None:
    """The same of all rows in one read, where compiled kernels know the loss."""
    objective, data = problem.objective, problem.data
    model = objective.model
    rounded = data.X.dtype != torch.float64  # more than hides that M is singular
    if rounded or not curvature_available(model, objective.loss, data):
        return None
    M = gradient_products(
        data.X,
        data.y,
        sample_weight=data.sample_weight,
        weight=model.weight,
        intercepts=model.intercepts(),
        offset=data.offset,
    )
    size = len(M) - (not problem.has_intercept)
    return np.asarray(data.summed(M[:size, :size].double()))


@QUIET
def sound_columns(problem: Problem) -> bool:
    """Whether the columns are proven to be neither constant nor (nearly) collinear."""
    data, centre = problem.data, problem.has_intercept
    p = data.X.shape[1]
    if p > LIMIT:
        return True  # not looked at
    index = sample(len(data), max(ROWS, 6 * p))
    X, weights = _rows(data.X, index), _rows(data.sample_weight, index)
    if _inflation(X if weights.all() else X[weights > 0], centre) < VIF / 4:
        return True
    if len(index) == len(data):
        return False
    if problem.more_than_nearly:
        return False
    if problem.factor is None:
        return _inflation_of(*centred_gram(problem)) < VIF / 4
    half = inverse(problem.factor)
    return half is not None and float(np.square(half).sum(axis=1).max()) < VIF / 4


@QUIET
def varied_columns(problem: Problem) -> bool:
    """Whether a few rows prove that no column is constant, far beyond rounding."""
    index = sample(len(problem.data), ROWS)
    X = _rows(problem.data.X, index)
    if not problem.all_count:
        X = X[_rows(problem.data.sample_weight, index) > 0]
    if not len(X):
        return False
    low, high = X.min(axis=0), X.max(axis=0)
    return bool((high - low > 1e-6 * np.maximum(high, -low)).all())


@lru_cache(maxsize=16)
def sample(n: int, count: int) -> Tensor:
    """Distinct rows, one at a random place in each of ``count`` equal stretches."""
    if n <= count:
        return torch.arange(n)
    shake = torch.rand(count, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return ((torch.arange(count) + shake) * (n / count)).long().clamp_(max=n - 1)


def _rows(values: Tensor, index: Tensor | slice) -> Floats:
    """Some rows as a float64 array: for a few hundred, numpy's overhead is a third of torch's."""
    array: Floats = _some(values, index).detach().cpu().double().numpy()
    return array


def _some(values: Tensor, index: Tensor | slice) -> Tensor:
    """Some rows; all of them where the index has as many."""
    if isinstance(index, slice):
        return values[index]
    if len(index) == len(values):
        return values
    return values.index_select(0, index.to(values.device))  # half the price of values[index]


def _inflation(X: Floats, centre: bool) -> float:
    """Largest variance inflation factor of the columns; infinite if they are dependent."""
    if len(X) == 0:
        return np.inf
    mean = X.mean(axis=0) if centre else np.zeros(X.shape[1])
    X = X - mean
    return _inflation_of(products(X), len(X) * np.square(mean))


def _inflation_of(gram: Floats, level: Floats) -> float:
    """The same from products of centred columns (p, p), and the squares taken off with their means.

    The mean of a constant is rounded: what is left of the column is noise, and looks like news.
    """
    diagonal = gram.diagonal()
    if not (diagonal > VARIED**2 * level).all():
        return np.inf
    scale = diagonal**-0.5
    found = inverse(gram * scale[:, None] * scale)
    if found is None:
        return np.inf
    inflation = found.diagonal()
    # Rounding makes a singular matrix's inverse huge, or its diagonal negative.
    return float(inflation.max()) if inflation.min() >= 0.5 else np.inf


def _row_gradients(problem: Problem, index: Tensor | slice) -> Floats:
    """Gradients (m, d) of weighted losses by weight and natural intercepts."""
    objective, data = problem.objective, problem.data
    model = objective.model
    eta, y = _some(objective.rows(data)[0], index), _some(data.y, index)
    loss = objective.loss
    by_eta = losses_and_slopes(loss, eta, y).slopes if has_slopes(loss) else slopes(loss, eta, y)
    s = by_eta.cpu().double().numpy()
    s = s * _rows(data.sample_weight, index)[:, None]
    X = _rows(data.X, index)
    sR = s if eta.shape[1] == len(model.weight) == 1 else s @ _scores(problem)
    by_weight = sR * X if sR.shape[1] == 1 else _outer(sR, X)
    if isinstance(model, OrdinalRegression):
        return np.hstack((by_weight, s if problem.has_intercept else s[:, 1:]))
    return np.hstack((by_weight, sR)) if problem.has_intercept else by_weight


def _outer(s: Floats, X: Floats) -> Floats:
    """``s_i kron x_i``, one row each."""
    return (s[:, :, None] * X[:, None, :]).reshape(len(X), -1)


def _natural_total(problem: Problem) -> Floats:
    """Sum over all rows of the gradients, in the same coordinates, from the gradient at hand."""
    objective, n = problem.objective, problem.data.n
    model = objective.model
    flat = objective.closure(problem.data, problem.data).gradient().cpu().double().numpy() * n
    if len(model.weight) == 1 and not isinstance(model, OrdinalRegression):
        return flat
    r, p = model.weight.shape
    weight, rest = flat[: r * p], flat[r * p :]
    if isinstance(model, OrdinalRegression):
        # A cutpoint moves with every gap below it: gap sums are tail sums of cutpoint gradients.
        bend = torch.sigmoid(model.gaps.detach().cpu().double()).numpy()
        k = int(model.first is not None)
        tails = np.concatenate((rest[:k], rest[k:] / np.maximum(bend, 1e-300)))
        rest = tails - np.append(tails[1:], 0.0)
    elif isinstance(model, SoftmaxRegression) and not model.reference:
        weight, rest = weight[p:], rest[1:]
    return np.concatenate((weight, rest))


def _scores(problem: Problem) -> Floats:
    """``R`` (k, r) without what a common shift of all classes makes redundant."""
    model = problem.objective.model
    R: Floats = mix_matrix(model).cpu().double().numpy()
    return R[:, 1:] if isinstance(model, SoftmaxRegression) and not model.reference else R


def _is_short(total: Floats, matrix: Floats) -> bool:
    """Whether ``total' matrix^-1 total < 1/2``; half, so that rounding cannot tell.

    It is if ``matrix``, bordered by ``total`` and 1/2, is positive definite: one Cholesky. False
    for a matrix that is singular to rounding: a squared pivot is wrong by some ``d eps`` (Higham,
    Accuracy and stability of numerical algorithms, 2002, section 10.1), and sixty times as large.
    """
    diagonal = matrix.diagonal()
    if not diagonal.min(initial=1.0) > 0:
        return False
    d = len(total)
    scale = diagonal**-0.5
    bordered = np.empty((d + 1, d + 1))
    bordered[:d, :d] = matrix * scale[:, None] * scale
    bordered[d, :d] = scale * total  # the lower triangle is all that is read
    bordered[d, d] = 0.5
    factor = cholesky(bordered)
    least = (64 * max(d, FEW) * np.finfo(float).eps) ** 0.5
    return factor is not None and bool(factor.diagonal()[:d].min(initial=1.0) > least)
