"""All folds along a grid of penalties, for LogisticRegressionCV."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from torchlogreg.compat.grid import Grid
from torchlogreg.compat.layout import Searched
from torchlogreg.compat.scoring import HeldOut
from torchlogreg.compat.solve import Budget, Form, Problem, rows_of, tolerance
from torchlogreg.estimators.cross_validation_batched import Paths, Rows
from torchlogreg.estimators.cross_validation_folds import times
from torchlogreg.estimators.cross_validation_paths import paths

Folds = list[tuple[Any, Any]]
"""Training and test rows of each."""

Array = np.ndarray[Any, Any]


def search(
    problem: Problem,
    grid: Grid,
    folds: Folds,
    budget: Budget,
    score: HeldOut,
    n_jobs: int | None,
) -> Searched:
    """Fit every fold at every point of the grid, and score the rows held out.

    1. Folds are row weights; the penalty of a fold is ``1 / C`` over their sum.
    2. Every share of L1 by itself, from the smallest C on.
    3. Score.

    Parameters
    ----------
    problem : Problem
        Of all rows.
    grid : Grid
    folds : list of pairs of index arrays
    budget : Budget
    score : HeldOut
    n_jobs : int, optional
        Folds at the same time, where they are fitted one by one.
    """
    X, codes = rows_of(problem), torch.from_numpy(problem.codes.astype(np.int64))
    weight = torch.ones(len(codes), dtype=torch.float64)
    if problem.sample_weight is not None:
        weight = torch.from_numpy(problem.sample_weight)
    shares = torch.stack([weight * times(train, weight) for train, _ in folds])  # 1
    totals = shares.sum(dim=1, keepdim=True)
    rows = Rows(X, codes, problem.n_classes, shares / totals, None, problem.form.bias)
    order = np.argsort(grid.Cs, kind="stable")
    alphas = 1 / (torch.from_numpy(grid.Cs[order]) * totals)
    paths_of = [_path(rows, alphas, ratio, budget, n_jobs) for ratio in grid.l1_ratios]  # 2
    back = np.argsort(order)
    found = torch.stack([c[:, back] for c, _ in paths_of], dim=1)
    coefficients = _published(found, problem.form, np.isinf(grid.Cs))
    n_iter = torch.stack([n[:, back] for _, n in paths_of], dim=1).numpy().astype(np.int32)
    scores = np.stack(
        [
            [score(X, raw[k], c[k], test) for k in range(len(raw))]
            for (_, test), raw, c in zip(folds, found, coefficients, strict=True)
        ]
    )
    if not (problem.form.bias or problem.form.synthetic):
        coefficients = coefficients[..., :-1]
    return Searched(coefficients, scores, n_iter)


def _path(rows: Rows, alphas: Tensor, l1_ratio: float, budget: Budget, n_jobs: int | None) -> Paths:
    """At one share of L1."""
    return paths(
        rows,
        alphas,
        float(l1_ratio),
        max_epochs=budget.max_iter,
        tol=tolerance(budget.tol),
        n_jobs=n_jobs,
    )


def _published(found: Tensor, form: Form, free: Array) -> Array:
    """Coefficients of raw columns as the user sees them, (F, L, A, r, p + 1).

    What no penalty decides has mean zero over the classes; ``free`` (A,) says where none does.
    """
    c = found.numpy().copy()
    if form.synthetic is not None:  # the weight of the last column; there is no other intercept
        c[..., -2] *= form.synthetic
        return c[..., :-1]
    if c.shape[-2] > 1:
        c[..., -1] -= c[..., -1].mean(axis=-1, keepdims=True)
        c[:, :, free] -= c[:, :, free].mean(axis=-2, keepdims=True)
    return c
