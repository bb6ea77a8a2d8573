"""What the tests of columns ask of all rows, a block at a time: ``X`` may be larger than memory."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from torchlogreg.diagnostics.cone import Floats
from torchlogreg.diagnostics.problem import Problem
from torchlogreg.sparse import is_sparse

ENTRIES = 2**18
"""Of a block, 2 MB: its copies stay in the cache."""


class Spread(NamedTuple):
    """Of columns in units of their largest entries, all (p,): where they lie, and how far they go.

    Attributes
    ----------
    centre : Tensor
        Mean; zero without an intercept, to which it says nothing.
    left : Tensor
        What rounding left of the mean once it was taken off.
    largest, norm : Tensor
        Largest absolute difference from the mean, and length of all of them.
    """

    centre: Tensor
    left: Tensor
    largest: Tensor
    norm: Tensor


def blocks(problem: Problem) -> Iterator[Tensor]:
    """Rows with weight, (m, p) each, float64, on the CPU; sparse ones at once."""
    X, weight, every = problem.data.X, problem.data.sample_weight, problem.all_count
    if is_sparse(X):
        yield problem.rows()
        return
    size = max(ENTRIES // max(1, X.shape[1]), 4 * X.shape[1])
    for start in range(0, len(X), size):
        part = X[start : start + size]
        part = part if every else part[weight[start : start + size] > 0]
        if len(part):
            yield part.cpu().double()


def sizes(problem: Problem) -> Tensor:
    """Largest absolute entry of each column, (p,)."""
    largest = torch.zeros(problem.data.X.shape[1], dtype=torch.float64)
    for X in blocks(problem):
        largest = torch.maximum(largest, X.abs().amax(dim=0))
    return largest


def root_mean_squares(problem: Problem, size: Tensor) -> Tensor:
    """Of each column, (p,); squares of entries in units of ``size`` (p,) are always numbers."""
    total, n, unit = torch.zeros_like(size), 0, _unit(size)
    for X in blocks(problem):
        total += (X / unit).square().sum(dim=0)
        n += len(X)
    return size * (total / max(n, 1)).sqrt()


def spread(problem: Problem, size: Tensor) -> Spread:
    """How the columns spread, in units of ``size`` (p,), their largest entries."""
    unit, n = _unit(size), int(problem.data.sample_weight.count_nonzero())
    centre, left = torch.zeros_like(size), torch.zeros_like(size)
    if problem.has_intercept:
        for X in blocks(problem):
            centre += (X / unit).sum(dim=0)
        centre /= n
        for X in blocks(problem):
            left += (X / unit - centre).sum(dim=0)
        left /= n
    largest, squares = torch.zeros_like(size), torch.zeros_like(size)
    for X in blocks(problem):
        residual = X / unit - centre - left
        largest = torch.maximum(largest, residual.abs().amax(dim=0))
        squares += residual.square().sum(dim=0)
    return Spread(centre, left, largest, squares.sqrt())


def triangle(problem: Problem, size: Tensor, found: Spread, kept: Tensor) -> Floats:
    """``R`` of the ``kept`` columns, centred and of unit length, (min(n, k), k).

    By QR of block after block below the triangle so far (TSQR: Demmel, Grigori, Hoemmen and
    Langou, 2012), which is as stable as one QR.
    """
    unit, norm = _unit(size)[kept], found.norm[kept]
    off = (found.centre[kept], found.left[kept])
    R = unit.new_empty(0, len(kept))
    for X in blocks(problem):
        residual = X[:, kept] / unit - off[0] - off[1]
        R = torch.linalg.qr(torch.cat((R, residual / norm)), mode="r").R
    return np.asarray(R.numpy())


def centred_gram(problem: Problem) -> tuple[Floats, Floats]:
    """Products of the columns (p, p), centred if there is an intercept; squares taken off (p,)."""
    p, n = problem.data.X.shape[1], int(problem.data.sample_weight.count_nonzero())
    mean, gram = torch.zeros(p, dtype=torch.float64), torch.zeros(p, p, dtype=torch.float64)
    for _ in range(2 if problem.has_intercept else 0):  # again, for what rounding left
        at = mean.clone()
        for X in blocks(problem):
            mean += (X - at).sum(dim=0) / n
    for X in blocks(problem):
        residual = X - mean
        gram += residual.T @ residual
    return np.asarray(gram.numpy()), np.asarray((n * mean.square()).numpy())


def _unit(size: Tensor) -> Tensor:
    """``size``; a column of zeros has no unit."""
    return torch.where(size > 0, size, 1.0)
