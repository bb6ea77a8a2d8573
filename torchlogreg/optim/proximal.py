"""Accelerated proximal gradient (FISTA) as a ``torch.optim.Optimizer``."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from torchlogreg.optim.newton import move_
from torchlogreg.optim.requirements import our_closure


class ProximalGradient(Optimizer):
    """FISTA with backtracking and adaptive restart; minimises L1 and elastic-net penalties.

    1. Extrapolate from the last two iterates; value and gradient there.
    2. Gradient step, then prox; halve the step until the quadratic bound holds.
    3. Drop the momentum when it points uphill (restart).

    Parameters
    ----------
    params : iterable of nn.Parameter
        All trainable parameters of the model.
    lr : float
        First step size tried, ``> 0``; later ones follow the curvature met.

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
        state = self.state[params[0]]
        previous = state.get("previous", current)
        t_new = 0.5 * (1 + (1 + 4 * group["momentum"] ** 2) ** 0.5)
        pull = (group["momentum"] - 1) / t_new
        start = [p.clone() for p in params]
        move_(params, start, current - previous, pull)  # 1
        point, start = _flat(params), [p.clone() for p in params]
        value: Tensor = closure()
        gradient = closure.gradient()
        step = 1.1 * group["step"]
        rounding = 8 * torch.finfo(value.dtype).eps * value.abs()
        for _ in range(60):  # 2
            move_(params, start, gradient, -step)
            closure.prox_(step)
            move = _flat(params) - point
            bound = value + torch.dot(gradient, move) + move.square().sum() / (2 * step)
            if bool(closure.value(smooth_only=True) <= bound + rounding):  # waits for the device
                break
            step /= 2
        uphill = torch.dot(point - _flat(params), _flat(params) - current) > 0
        group["step"], group["momentum"] = step, 1.0 if bool(uphill) else t_new  # 3
        state["previous"] = current
        return value


def _flat(params: list[nn.Parameter]) -> Tensor:
    return torch.cat([p.detach().flatten() for p in params])
