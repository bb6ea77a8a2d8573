"""torch's L-BFGS, whose line search also works where values differ by no more than rounding."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

NEAR = 4096
"""Units in the last place of the value, up to which a difference is integrated, not subtracted."""

REFUSED = 1e-10
"""Product of step and change of the gradient up to which torch learns nothing from them."""


class LBFGS(torch.optim.LBFGS):
    """:class:`torch.optim.LBFGS` to the last digits of the gradient.

    Near an optimum a step changes the value by less than its rounding error, long before the
    gradient is that small. A line search that compares values then refuses every step, and the
    next direction, from the same memory, is the same: torch's stands still for ever. Here it is
    given differences from the value at the start of the step; where one is lost to rounding, it is
    the integral of the slope along the way, by the trapezoidal rule, which is right to the third
    order in the step. Nor does torch learn from steps whose product with the change of the gradient
    is below 1e-10, whatever the units: near an optimum all are. Those that are more than rounding
    are kept here. Elsewhere the steps are torch's own.

    Parameters
    ----------
    params, lr, max_iter, max_eval, tolerance_grad, tolerance_change, history_size, line_search_fn
        As in torch. With ``max_iter`` above 1, only the first iteration of a step is treated so.

    References
    ----------
    Hager and Zhang, A new conjugate gradient method with guaranteed descent and an efficient line
    search, SIAM J. Optim. 16 (2005), section 4: Wolfe's conditions by slopes alone.
    """

    @torch.no_grad()
    def step(self, closure: Any) -> Any:  # type: ignore[override]
        """One call of torch's ``step``; returns the value before it, as the closure gave it.

        Parameters
        ----------
        closure : callable
            Sets every ``p.grad`` and returns the value, a scalar tensor or a float.

        Raises
        ------
        AssertionError
            If there are several groups of parameters, as torch's.
        """
        began: list[_Start] = []

        def difference() -> float:
            value = closure()
            params = [p for group in self.param_groups for p in group["params"]]
            if not began:
                began.append(_Start(value, params))
                self._learn()
            return began[0].difference(value, params)

        super().step(difference)  # type: ignore[no-untyped-call]
        return began[0].value

    @torch.no_grad()
    def _learn(self) -> None:
        """Keep the last step and change of the gradient where torch would not."""
        state = self.state[self._params[0]]
        before, pairs = state.get("prev_flat_grad"), state.get("old_dirs")
        if before is None or pairs is None:
            return
        gradient: Tensor = self._gather_flat_grad()  # type: ignore[no-untyped-call]
        change, step = gradient - before, state["d"] * state["t"]
        product = change.dot(step)
        floor = torch.finfo(step.dtype).eps * step.norm() * change.norm()
        if not floor < product <= REFUSED:
            return
        for kept, new in ((pairs, change), (state["old_stps"], step), (state["ro"], 1 / product)):
            del kept[: len(kept) + 1 - self.param_groups[0]["history_size"]]
            kept.append(new)
        state["H_diag"] = product / change.dot(change)


class _Start:
    """Value, parameters and gradients where a step begins."""

    def __init__(self, value: Tensor | float, params: list[Tensor]) -> None:
        self.value = value
        self._number = _number(value)
        self._points = [p.detach().clone() for p in params]
        self._gradients = [_gradient(p).clone() for p in params]
        self._close = NEAR * torch.finfo(params[0].dtype).eps * abs(self._number)

    @torch.no_grad()
    def difference(self, value: Tensor | float, params: list[Tensor]) -> float:
        """Of ``value``, at the present parameters, from that at the start."""
        change = _number(value) - self._number
        if not abs(change) <= self._close:  # or no number at all
            return change
        ends = zip(params, self._points, self._gradients, strict=True)
        integral = sum(float(((p - x) * (_gradient(p) + g)).sum()) / 2 for p, x, g in ends)
        return integral if abs(integral) <= 2 * self._close else change  # there and back again


def _number(value: Tensor | float) -> float:
    return float(value.detach() if isinstance(value, Tensor) else value)


def _gradient(p: Tensor) -> Tensor:
    return torch.zeros_like(p) if p.grad is None else p.grad
