"""Accelerated proximal gradient (FISTA) as a ``torch.optim.Optimizer``."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from torchlogreg.base import Model
from torchlogreg.objective import Closure
from torchlogreg.optim.duality import duality_gap
from torchlogreg.optim.line_search import move_
from torchlogreg.optim.requirements import our_closure
from torchlogreg.optim.working_set import found_at


@dataclass(slots=True, eq=False)
class Trail:
    """The last two iterates (P,) and their scores ``X @ weight.T`` (n, r)."""

    X: Tensor
    at: Tensor
    scores: Tensor
    previous: Tensor
    previous_scores: Tensor


class ProximalGradient(Optimizer):
    """FISTA with backtracking and adaptive restart; minimises L1 and elastic-net penalties.

    1. Extrapolate from the last two iterates; the scores follow without a pass over the rows.
       Value and gradient there: one pass.
    2. Gradient step, then prox: one pass for the scores. A shorter step until the quadratic bound
       holds, from the curvature that was met; a longer one next time if there was little of it.
    3. Drop the momentum when it points uphill (restart).

    The gradient at the new iterate, which judges it, is a third pass.

    Parameters
    ----------
    params : iterable of nn.Parameter
        All trainable parameters of the model.
    lr : float
        First step size tried, ``> 0``; later ones follow the curvature met.

    Attributes
    ----------
    gap : float
        After a step: by how much the objective may be above its minimum, proved by duality for L1
        and elastic net with the squared error or the binary loss; infinite elsewhere.

    Raises
    ------
    ValueError
        If ``lr`` is not positive.
    TypeError
        In ``step``, if the closure is not one of :class:`torchlogreg.objective.Closure`.

    References
    ----------
    Beck and Teboulle, A fast iterative shrinkage-thresholding algorithm (2009);
    O'Donoghue and Candes, Adaptive restart for accelerated gradient schemes (2015).
    """

    needs_full_batch = True
    handles_nonsmooth = True
    gap: float = float("inf")
    _trail: Trail | None = None

    def __init__(self, params: Iterable[nn.Parameter], lr: float = 1.0) -> None:
        if not lr > 0:
            raise ValueError(f"ProximalGradient needs lr > 0, not {lr}")
        super().__init__(params, {"lr": lr, "step": lr, "momentum": 1.0})

    @torch.no_grad()
    def step(self, closure: Any = None) -> Tensor:  # type: ignore[override]
        """One iteration; returns the smooth value at the extrapolated point."""
        closure = our_closure(closure, self)
        group, params = self.param_groups[0], closure.params
        current = _flat(params)
        trail = self._on_the_trail(closure, current)
        t_new = 0.5 * (1 + (1 + 4 * group["momentum"] ** 2) ** 0.5)
        pull = (group["momentum"] - 1) / t_new
        move_(params, [p.clone() for p in params], current - trail.previous, pull)  # 1
        if pull > 0:
            _known(closure, torch.lerp(trail.previous_scores, trail.scores, 1 + pull))
        value: Tensor = closure()
        gradient = closure.gradient()
        point = _flat(params)
        scores = self._descend(closure, value, gradient)  # 2
        new = _flat(params)
        uphill = torch.dot(point - new, new - current) > 0
        group["momentum"] = 1.0 if bool(uphill) else t_new  # 3
        self._trail = Trail(trail.X, new, scores, current, trail.scores)
        self.gap = duality_gap(closure)
        return value

    def _descend(self, closure: Closure, value: Tensor, gradient: Tensor) -> Tensor:
        """Move by the first step whose quadratic bound holds; the scores there."""
        group, params = self.param_groups[0], closure.params
        start, point = [p.clone() for p in params], _flat(params)
        rounding = float(closure.rounding(value))
        step = group["step"]
        for _ in range(60):
            move_(params, start, gradient, -step)
            closure.prox_(step)
            scores = _scores(closure)
            eta = _eta(closure, scores)
            move = _flat(params) - point
            rise = closure.value(smooth_only=True, eta=eta) - value - torch.dot(gradient, move)
            above, length = torch.stack((rise, move.square().sum())).tolist()  # waits
            share = 2 * step * above / length if length > 0 else 0.0  # of the curvature allowed
            if above <= length / (2 * step) + rounding:
                break
            step *= max(0.1, min(0.8, 0.9 / share)) if share < float("inf") else 0.1
        group["step"] = 1.2 * step if share < 0.6 else step
        _known(closure, scores)
        return scores

    def _on_the_trail(self, closure: Closure, current: Tensor) -> Trail:
        """Where the last step ended, unless parameters or rows are others by now."""
        trail = self._trail
        if trail is None or trail.X is not closure.batch.X or not torch.equal(trail.at, current):
            scores = _scores(closure)
            trail = Trail(closure.batch.X, current, scores, current, scores)
            self.param_groups[0]["momentum"] = 1.0
        return trail


def _flat(params: list[nn.Parameter]) -> Tensor:
    return torch.cat([p.detach().flatten() for p in params])


def _scores(closure: Closure) -> Tensor:
    """``X @ weight.T``: a pass."""
    return closure.batch.X @ closure.objective.model.weight.detach().T


def _eta(closure: Closure, scores: Tensor) -> Tensor:
    """Linear predictor at the current parameters, from their scores."""
    model: Model = closure.objective.model
    return model.from_scores(scores, closure.batch.offset)


def _known(closure: Closure, scores: Tensor) -> None:
    """Value and gradient at the current parameters, remembered: a pass."""
    found = found_at(closure, _eta(closure, scores))
    closure.objective.remember(closure.batch, found)
