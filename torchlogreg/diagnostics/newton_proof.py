"""A proof of a finite optimum that costs nothing: what Newton's last step has left behind."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from torchlogreg.diagnostics.problem import Problem
from torchlogreg.losses import binary_nll, categorical_nll

SURE = 1e-2
"""Bound below which ``rho nu`` counts as less than one, whatever rounding did to it."""
PIVOT = 1e-8
"""Squared pivot of the scaled Hessian below which its inverse has too few digits to prove it."""


def newton_proves(optimizer: Any, problem: Problem) -> bool:
    """Whether Newton's last iteration proves that a finite optimum exists; False proves nothing.

    Along any way from where the step began, the curvature ``|delta|_H^2`` falls at most by
    ``exp(-rho |delta|_H)`` (generalised self-concordance, Bach 2010; see
    :func:`torchlogreg.diagnostics.bounds.certificate`), so the slope, ``-nu`` at worst at the
    start, ends positive if ``rho nu < 1``. Here ``nu`` is Newton's decrement and ``rho^2`` the
    largest ``z_i' H^-1 z_i``. With ``S`` the scale that gives ``H`` a unit diagonal,

        rho^2  <=  max_i |S z_i|^2 trace((S H S)^-1),    max_i x_ij^2  <=  sum_i x_ij^2

    which needs no pass over the rows: near an optimum ``nu`` is far below all of that.

    Parameters
    ----------
    optimizer : torch.optim.Optimizer
        Its ``last`` is Newton's last iteration; others prove nothing here.
    problem : Problem
    """
    done, objective, data = getattr(optimizer, "last", None), problem.objective, problem.data
    if done is None or objective.loss not in (binary_nll, categorical_nll):
        return False
    weight, factor = objective.model.weight, done.factor
    if objective.penalty is not None or not factor.pivot > PIVOT or not weight.requires_grad:
        return False
    with torch.no_grad():
        squares = objective.units(data).columns.square() * data.n  # (p,)
        parts = [
            squares.expand(p.shape) if p is weight else torch.ones_like(p) for p in objective.params
        ]
        longest = (torch.cat([part.flatten() for part in parts]) * factor.scale.double() ** 2).sum()
        bound: Tensor = longest * factor.inverse_trace() * done.slope.double().abs()
        return bool(bound < SURE**2)  # waits for the device; NaN proves nothing
