"""What one of several ranks can say of its own rows, so that nobody has to gather them."""

from __future__ import annotations

import torch

from torchlogreg.diagnostics.columns import APART
from torchlogreg.diagnostics.problem import Problem
from torchlogreg.diagnostics.screen import sound_columns, varied_columns

FEW = 2**17
"""Entries of ``X`` of all ranks, a megabyte, that are gathered without a thought."""


def unremarkable(problem: Problem) -> bool:
    """Whether the ranks find, each on its own rows, that nothing is to be said of rows and columns.

    True needs no row of another rank: every class has rows, no row dominates, no two columns are
    ``APART`` in scale, and the rows of some rank alone exclude constant and collinear columns.
    False proves nothing. The same on all ranks; False for few rows, and on one process.

    Parameters
    ----------
    problem : Problem
        With this rank's rows.
    """
    data = problem.data
    if data.total is None or data.n * data.X.shape[1] <= FEW:
        return False
    low, high = torch.aminmax(problem.objective.units(data).columns)
    heaviest = data.largest(data.sample_weight.max())
    lightest = data.least(data.sample_weight.min())
    proven = varied_columns(problem) if problem.unique else sound_columns(problem)
    told = data.largest(torch.tensor(int(proven)))
    return bool(
        not problem.empty_classes
        and high < APART * low
        and heaviest <= 0.5 * data.n
        and lightest > 0
        and told > 0
    )
