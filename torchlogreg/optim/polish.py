"""The last digits: Newton's corrections with a gradient of doubled precision.

On nearly collinear columns (a polynomial in years, age and its square) ``X @ weight`` cancels, and
its rounding errors, times the condition of the problem, are missing digits of the answer. Here the
parameters are kept as two floats each, ``eta``, slopes and gradient are computed in doubled
precision, and the correction is solved with a float64 factor of the curvature: what is left of an
error is its product with eps times the condition of the design, so one or two corrections are
enough. The answer is that of the float64 rows, rounded once.

References
----------
Wilkinson, Rounding Errors in Algebraic Processes (1963): iterative refinement; Björck, Numerical
Methods for Least Squares Problems (1996), section 6.6: corrections from the triangle alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from torchlogreg.data import Batch
from torchlogreg.models import LogisticRegression, OrdinalRegression, SoftmaxRegression
from torchlogreg.objective import Objective
from torchlogreg.optim.doubled import DOUBLED
from torchlogreg.optim.doubled_sums import Columns, Precise
from torchlogreg.penalties import L2

LARGEST = 2_000_000
"""Entries of ``X``, times the columns of ``eta``, up to which it takes about as long as the fit."""

WORK = 2**29
"""Products in the QR factorisation, likewise."""

STEPS = 8
"""Corrections at most; two are usual."""

CLOSE = 1e-4
"""Distance from the optimum up to which the curvature is as good as there."""

DONE = 1e-19
"""Distance from the optimum, in standard errors, at which rounding is all that remains."""


def can_polish(objective: Objective, batch: Batch) -> bool:
    """Whether there is a way, and it is short: logits, no penalty or ``L2``, float64."""
    model, X = objective.model, batch.X
    if type(model) not in (LogisticRegression, SoftmaxRegression, OrdinalRegression):
        return False
    if not (objective.loss in DOUBLED and objective.own_loss and X.dtype == torch.float64):
        return False
    if objective.penalty is not None and type(objective.penalty) is not L2:
        return False
    if model.weight.dtype != X.dtype or model._forward_hooks or model._forward_pre_hooks:
        return False
    if not all(p.requires_grad for p in model.parameters()):
        return False
    k, n_params = model.n_classes or 2, sum(p.numel() for p in model.parameters())
    return batch.n * X.shape[1] * (k - 1) <= LARGEST and batch.n * k * n_params**2 <= WORK


class DependentError(ArithmeticError):
    """The columns are dependent under these weights: no correction is unique, here or nearer."""


@torch.no_grad()
def polish_(objective: Objective, batch: Batch) -> bool:
    """Move the parameters to the optimum, rounded once; False, and no move, where that fails.

    Parameters
    ----------
    objective : Objective
        One for which :func:`can_polish` is true, near its optimum.
    batch : Batch
        All rows.

    Raises
    ------
    DependentError
        If trying again, from nearer by, is of no use; nothing was moved.
    """
    found = _corrected(objective, batch.gathered())
    if found is not None:
        found.write_()
    return found is not None


@torch.no_grad()
def polished(objective: Objective, batch: Batch) -> Precise | None:
    """The optimum in doubled precision, from parameters near it; None where that fails.

    Parameters
    ----------
    objective : Objective
        One for which :func:`can_polish` is true, near its optimum.
    batch : Batch
        All rows.
    """
    try:
        return _corrected(objective, batch)
    except DependentError:
        return None


def _corrected(objective: Objective, batch: Batch) -> Precise | None:
    """The same, but for an error where the triangle is singular.

    1. The parameters as they are, in two floats each.
    2. Gradient in doubled precision; where the last correction was large, also the triangle of the
       rows ``sqrt(w_i C_i) D_i``, on centred columns.
    3. The correction; its length, in standard errors, is the distance from the optimum.
    4. Done when the next correction would be below rounding; failed when this one is no shorter
       than half the last.
    """
    at = Precise.of(objective.model, objective.penalty)  # 1
    columns = Columns.of(batch.X, centre=at.has_intercept)
    triangle, before = None, float("inf")
    for _ in range(STEPS):
        gradient, fresh = at.sums(batch, columns, roots=triangle is None or before > CLOSE)  # 2
        triangle = triangle if fresh is None else _Triangle.of(fresh)
        if triangle is None or triangle.weakest <= triangle.eps * (1 + columns.far):
            raise DependentError("the curvature is singular")
        half = triangle.half_solve(gradient)  # 3
        distance = float(half.norm())
        if not distance <= 0.5 * before:  # 4
            return None
        at = at.moved(-triangle.other_half(half), columns)
        if distance * max(distance, triangle.eps / triangle.weakest) <= DONE:
            return at
        before = distance
    return None


@dataclass(frozen=True, slots=True, eq=False)
class _Triangle:
    """``U`` with ``U'U`` the curvature, its columns scaled to unit length.

    ``weakest`` is its smallest pivot, and ``eps`` what rounding makes of a pivot that is zero.
    """

    U: Tensor
    scale: Tensor
    weakest: float
    eps: float

    @classmethod
    def of(cls, U: Tensor) -> _Triangle | None:
        """None if there are fewer rows than parameters, or a column of zeros, or no numbers."""
        scale = torch.linalg.vector_norm(U, dim=0)
        if len(U) < len(scale) or not bool((torch.isfinite(scale) & (scale > 0)).all()):
            return None
        U = U / scale
        eps = 8 * len(scale) * torch.finfo(U.dtype).eps
        return cls(U, scale, float(U.diagonal().abs().min()), eps)

    def half_solve(self, vector: Tensor) -> Tensor:
        """``U^-T vector``."""
        right = (vector / self.scale)[:, None]
        half: Tensor = torch.linalg.solve_triangular(self.U.T, right, upper=False)[:, 0]
        return half

    def other_half(self, half: Tensor) -> Tensor:
        """``U^-1 half``."""
        whole: Tensor = torch.linalg.solve_triangular(self.U, half[:, None], upper=True)[:, 0]
        return whole / self.scale
