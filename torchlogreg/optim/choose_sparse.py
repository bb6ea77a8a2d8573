"""The optimizer of a fit to sparse rows that names none."""

from __future__ import annotations

import torch
from torch import Tensor

from torchlogreg.kernels import SMALLEST
from torchlogreg.losses import squared_error
from torchlogreg.objective import Objective
from torchlogreg.optim import coordinate_newton, dual_coordinate
from torchlogreg.sparse import fits_dense, is_sparse

WALKED = 2**19
"""Stored entries from which on loading numba, once in a process, is soon repaid."""

STIFF = 100.0
"""Mean squared length of rows over ``alpha n`` up to which the dual of the squared error is quick;
under a logistic loss the rows that are told apart bend so little that it is quick at any."""

ALIKE, SAMPLE = 0.05, 1000
"""Share of one column in the squares of all from which on the rows are too alike for their dual, as
with amounts beside indicators; and rows that tell it."""


def for_sparse(objective: Objective, X: Tensor | None, limit: int) -> tuple[str, str] | None:
    """Name and reason where zeros that are not stored make a difference; else None.

    Parameters
    ----------
    objective : Objective
    X : Tensor, shape (n, p), or None
    limit : int
        Parameters up to which Newton's matrix is cheap.
    """
    if X is None or not is_sparse(X):
        return None
    penalty, n_params = objective.penalty, sum(p.numel() for p in objective.params)
    walked = X.numel() >= min(WALKED, SMALLEST.get()) and dual_coordinate.installed()
    if penalty is not None and not penalty.smooth:
        if walked and not coordinate_newton.unsuitable(objective, X):
            return "coordinate_newton", f"sparse rows, and {penalty!r} is not smooth"
        if n_params > limit and not fits_dense(X):
            return (
                "proximal_gradient",
                f"sparse rows, and {penalty!r} is not smooth",
            )
        return None
    if walked and n_params > limit and _quick_dual(objective, X):
        return "dual_coordinate", f"sparse rows, fewer than twice the {n_params} weights"
    if n_params <= limit and not fits_dense(X) and objective.loss is squared_error:
        return "newton", "sparse rows, too many to be filled in for least squares"
    return None


def _quick_dual(objective: Objective, X: Tensor) -> bool:
    """Whether few epochs over the rows will do."""
    if dual_coordinate.unsuitable(objective, X) or len(X) > 2 * X.shape[1]:
        return False
    some = X[torch.linspace(0, len(X) - 1, min(len(X), SAMPLE)).long()].square().sum(0)
    if float(some.max()) > ALIKE * float(some.sum()):
        return False
    if objective.loss is not squared_error or objective.penalty is None:
        return True
    return float(X.square().sum()) / len(X) <= STIFF * objective.penalty.alpha * len(X)
