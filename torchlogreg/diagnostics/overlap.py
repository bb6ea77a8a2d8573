"""Overlap of many rows, proven on some: the exact test makes five copies of those it looks at."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from torchlogreg.diagnostics.cone import OutOfTimeError
from torchlogreg.diagnostics.problem import Problem
from torchlogreg.diagnostics.screen import sample
from torchlogreg.diagnostics.separated import Separation, separation_of

MANY = 2**23
"""Entries of ``X``, 64 MB, from which on some rows are asked first."""

SOME = 2**20
"""Entries of ``X`` that are asked."""


def overlap_of_some(problem: Problem, seconds: float) -> Separation | None:
    """That no direction separates the rows, where some of them prove it; None proves nothing.

    1. Take rows at random places.
    2. If the exact test finds no direction that favours any of them and disfavours none, all
       directions against which these rows have nothing leave every one of their scores as it is.
    3. If moreover the rows of one class span the columns, and the constant, only zero does so: then
       no direction is left for the other rows to prefer.

    Parameters
    ----------
    problem : Problem
        Of an unpenalised classifier, hard or soft targets.
    seconds : float
        For the linear programs; what takes longer, or fails, proves nothing, and raises nothing.
    """
    model, data = problem.objective.model, problem.data
    index = sample(len(data), max(1, SOME // data.X.shape[1])).to(data.X.device)  # 1
    index = index[data.sample_weight[index] > 0]
    if not len(index):
        return None
    X, y = data.X[index].cpu().double(), data.y[index].cpu()
    if not _spans(problem, X, y):  # 3
        return None
    eps = max(torch.finfo(data.X.dtype).eps, 2**-52)
    try:
        found = separation_of(model, X, y, seconds=seconds, eps=eps)  # 2
    except (OutOfTimeError, RuntimeError):
        return None
    n_rows = data.sample_weight.count_nonzero()
    return replace(found, n_rows=int(n_rows)) if found.kind == "none" else None


def _spans(problem: Problem, X: torch.Tensor, y: torch.Tensor) -> bool:
    """Whether the rows of the most frequent class span the columns, and the constant."""
    classes = y.argmax(1) if y.ndim == 2 else y.round().long()
    X = X[classes == classes.mode().values]
    size = X.abs().amax(0)
    rows = X / torch.where(size > 0, size, 1.0)
    if problem.has_intercept:
        rows = torch.column_stack((rows, torch.ones(len(rows), dtype=torch.float64)))
    gram = (rows.T @ rows).numpy()
    values = np.linalg.eigvalsh(gram)
    return bool(values[0] > 1e-10 * values[-1])
