"""What is to be said of a fit that ended without converging: how far, why, and what to change."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.optim import Optimizer

from torchlogreg.diagnostics.bounds import certificate_of
from torchlogreg.diagnostics.diagnosis import Finding
from torchlogreg.diagnostics.problem import Problem
from torchlogreg.diagnostics.screen import LIMIT
from torchlogreg.objective import Closure, Objective

_SMALL = 300


@dataclass(frozen=True, slots=True)
class Ending:
    """How a fit ended.

    Attributes
    ----------
    optimizer : torch.optim.Optimizer
    epochs : int
    minibatches, adaptive : bool
        Whether steps saw parts of the rows; whether sample weights followed the model.
    """

    optimizer: Optimizer
    epochs: int
    minibatches: bool = False
    adaptive: bool = False


def ending_findings(problem: Problem, ending: Ending) -> Iterator[Finding]:
    """Of a fit that did not converge: first the learning rate, then the distance."""
    finite = all(bool(torch.isfinite(p).all()) for p in problem.objective.params)
    name = type(ending.optimizer).__name__
    too_long = None
    if isinstance(ending.optimizer, torch.optim.SGD):
        group = ending.optimizer.param_groups[0]
        factor = momentum_factor(group["momentum"], nesterov=bool(group["nesterov"]))
        too_long = learning_rate_finding(problem, float(group["lr"]), name, factor, finite)
    if too_long is not None:
        yield too_long
    elif not finite:
        yield Finding(
            "not_finite",
            f"a parameter is not finite after {ending.epochs} epochs of {name}; lower the learning "
            "rate, or standardise the columns",
            severity="error",
        )
    if finite:
        cure = "lower the learning rate" if too_long else _cure(problem, ending)
        text = f"not converged after {ending.epochs} epochs of {name}: {_distance(problem)}; {cure}"
        yield Finding("not_converged", text, severity="error")


def learning_rate_finding(
    problem: Problem, rate: float, name: str, factor: float, finite: bool = True
) -> Finding | None:
    """Steps beyond the largest stable one, ``factor / L``; None for shorter ones."""
    L, vector = _steepest(problem, rate, finite)
    if not L > 0 or rate <= 1.01 * factor / L:
        return None
    model = problem.objective.model
    weights = vector[: model.weight.numel()].reshape(model.weight.shape)
    column = int(weights.square().sum(0).argmax())
    return Finding(
        "learning_rate",
        f"the learning rate {rate:g} of {name} is too large: steps above {factor / L:.3g} "
        f"({factor:.3g} / L, where L = {L:.3g} is the largest curvature, mostly that of "
        f"{problem.label(column)}) overshoot; stay below it, or standardise the columns",
        (column,),
        "error",
    )


def momentum_factor(momentum: float, *, nesterov: bool = False) -> float:
    """``lr L`` up to which gradient descent with momentum is stable on a quadratic; 2 without.

    Heavy ball: ``2 (1 + m)``; Nesterov: ``2 (1 + m) / (1 + 2 m)`` (Polyak, 1964; Lessard, Recht and
    Packard, 2016).
    """
    return 2 * (1 + momentum) / (1 + 2 * momentum if nesterov else 1)


@torch.no_grad()
def largest_curvature(closure: Closure, *, steps: int = 50) -> tuple[float, Tensor]:
    """Largest eigenvalue ``L`` of the smooth objective's Hessian and its vector (P,).

    From the matrix where it is small, else by power iteration on
    :meth:`Closure.hessian_product`, to three digits. Gradient descent is stable below a learning
    rate of ``2 / L``.
    """
    size = sum(p.numel() for p in closure.params)
    if size <= _SMALL:
        matrix = closure.hessian().double()
        if not bool(torch.isfinite(matrix).all()):
            return 0.0, matrix[0]
        values, vectors = torch.linalg.eigh(matrix)
        return float(values[-1]), vectors[:, -1]
    like = closure.params[0]
    start = torch.randn(size, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    v = (start / start.norm()).to(like)
    value = 0.0
    for _ in range(steps):
        product = closure.hessian_product(v)
        before, value = value, float(product.norm())
        if not (math.isfinite(value) and value > 0):
            return 0.0, v
        v = product / value
        if abs(value - before) <= 1e-3 * value:
            break
    return value, v


def _steepest(problem: Problem, rate: float, finite: bool) -> tuple[float, Tensor]:
    """The largest curvature where steps of this length went.

    Here, and half a step on (a two-cycle jumps over the optimum); where that was no better than
    starting from zero, at zero too: a run that flew off has left the curvature behind.
    """
    model = copy.deepcopy(problem.objective.model)
    objective = Objective(model, problem.objective.loss, problem.objective.penalty)
    closure = objective.closure(problem.data, problem.data)
    found = []
    here = math.inf
    with torch.no_grad():
        if finite:
            here = float(closure.value(smooth_only=True))
            found.append(largest_curvature(closure))
            gradient = torch.split_with_sizes(
                closure.gradient(), [p.numel() for p in objective.params]
            )
            for p, g in zip(objective.params, gradient, strict=True):
                p.sub_(0.5 * rate * g.view_as(p))
            if all(bool(torch.isfinite(p).all()) for p in objective.params):
                found.append(largest_curvature(closure))
        for p in objective.params:
            p.zero_()
        if not here < float(closure.value(smooth_only=True)):
            found.append(largest_curvature(closure))
    return max(found, key=lambda pair: pair[0])


def _distance(problem: Problem) -> str:
    """How far the optimum is, in standard errors where they can be had."""
    objective, data = problem.objective, problem.data
    penalty = objective.penalty
    n_params = sum(p.numel() for p in objective.params)
    if n_params > LIMIT or (penalty is not None and not penalty.smooth):
        return f"optimality is {_optimality(problem):.2g}"
    found = certificate_of(objective, data)
    at_most = "at most" if found.kind == "bound" else "about" if found.kind == "estimate" else ""
    far = f"{at_most} {found.standard_errors:.2g}".strip()
    return f"coefficients are {far} standard errors from the optimum"


def _optimality(problem: Problem) -> float:
    return float(problem.objective.closure(problem.data, problem.data).optimality())


def _cure(problem: Problem, ending: Ending) -> str:
    """What to change."""
    penalty, dtype = problem.objective.penalty, problem.data.X.dtype
    largest = float(problem.objective.units(problem.data).columns.max())
    if not largest * largest * problem.data.n < torch.finfo(dtype).max:
        text = f"columns are so large that they have no squares in {dtype}: scale them"
        return f"{text} (torchlogreg.scaling.Standardizer)"
    if ending.minibatches:
        return f"raise max_epochs above {ending.epochs}, or let a scheduler shorten the steps"
    if dtype != torch.float64 and _optimality(problem) < 1e4 * torch.finfo(dtype).eps:
        return f"{dtype} has few digits left to give: use torch.float64, or a larger tol"
    small = sum(p.numel() for p in problem.objective.params) <= LIMIT
    fast = bool(getattr(ending.optimizer, "superlinear", False))
    if small and not fast and not ending.adaptive and (penalty is None or penalty.smooth):
        return f"raise max_epochs above {ending.epochs}, or use optimizer='newton'"
    return f"raise max_epochs above {ending.epochs}, or change lr or optimizer"
