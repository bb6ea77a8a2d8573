"""SVRG and SAGA: mini-batch steps whose noise vanishes at the optimum, kinks included."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from torchlogreg.base import Model
from torchlogreg.curvature import intercept_jacobian, mix_matrix
from torchlogreg.data import Batch
from torchlogreg.objective import Closure
from torchlogreg.optim.line_search import move_
from torchlogreg.optim.requirements import our_closure
from torchlogreg.optim.working_set import slopes_at
from torchlogreg.passes import total


class SVRG(Optimizer):
    """Stochastic variance-reduced gradient with a proximal step.

    1. Once an epoch: a snapshot of the parameters, and the gradient of all rows there.
    2. Gradient of the mini-batch, less that at the snapshot, plus that of all rows: unbiased, and
       without noise once snapshot and parameters agree.
    3. Step size ``1 / (3 L)``, growing to ``1 / L`` as a batch becomes all rows; then the prox.

    Parameters
    ----------
    params : iterable of nn.Parameter
        All trainable parameters of the model.
    lr : float, optional
        Step size, ``> 0``. Default: from the smoothness ``L`` that is met, which the line search of
        Schmidt, Le Roux and Bach measures on every mini-batch.

    Raises
    ------
    ValueError
        If ``lr`` is not positive.
    TypeError
        In ``step``, if the closure is not one of :class:`torchlogreg.objective.Closure`.

    References
    ----------
    Xiao and Zhang, A proximal stochastic gradient method with progressive variance reduction, SIAM
    J. Optim. 24 (2014); Schmidt, Le Roux and Bach, Minimizing finite sums with the stochastic
    average gradient (2017), section 4.6.
    """

    handles_nonsmooth = True

    def __init__(self, params: Iterable[nn.Parameter], lr: float | None = None) -> None:
        super().__init__(params, _checked("SVRG", lr))

    @torch.no_grad()
    def step(self, closure: Any = None) -> Tensor:  # type: ignore[override]
        """One mini-batch; returns its smooth value before the step."""
        closure = our_closure(closure, self)
        params, data = closure.params, closure.data
        state = self.state[params[0]]
        if state.get("seen", data.n) >= data.n:  # 1
            state["snapshot"] = [p.clone() for p in params]
            state["gradient"] = closure.full.gradient()
            state["seen"] = 0
        state["seen"] += closure.batch.n
        value: Tensor = closure()
        gradient = _flat([p.grad for p in params])
        here = [p.clone() for p in params]
        slope = gradient
        if closure.batch is not data:  # 2
            _restore(params, state["snapshot"])
            closure()
            slope = gradient - _flat([p.grad for p in params]) + state["gradient"]
            _restore(params, here)
        _step(self.param_groups[0], closure, value, gradient, slope)  # 3
        return value


class SAGA(Optimizer):
    """Stochastic average gradient with a proximal step, for mini-batches.

    1. Of every row the derivatives of its loss by ``eta`` are remembered, (n, k), not its gradient
       (n, P): in an affine model the one follows from the other. The first step fills the table.
    2. Gradient of the mini-batch, less what is remembered of its rows, plus the mean of the table.
    3. Step size as in :class:`SVRG`; then the prox. The table takes the new derivatives.

    Parameters
    ----------
    params : iterable of nn.Parameter
        All trainable parameters of the model.
    lr : float, optional
        Step size, ``> 0``. Default: from the smoothness that is met, as in :class:`SVRG`.

    Raises
    ------
    ValueError
        If ``lr`` is not positive; in ``step``, for a penalty that depends on all rows.
    TypeError
        In ``step``, if the closure is not one of :class:`torchlogreg.objective.Closure`.

    References
    ----------
    Defazio, Bach and Lacoste-Julien, SAGA: a fast incremental gradient method with support for
    non-strongly convex composite objectives (2014).
    """

    handles_nonsmooth = True
    needs_all_ranks = True
    _rows: Tensor | None = None

    def __init__(self, params: Iterable[nn.Parameter], lr: float | None = None) -> None:
        super().__init__(params, _checked("SAGA", lr))

    @torch.no_grad()
    def step(self, closure: Any = None) -> Tensor:  # type: ignore[override]
        """One mini-batch; returns its smooth value before the step."""
        closure = our_closure(closure, self)
        objective, batch, data = closure.objective, closure.batch, closure.data
        model, penalty = objective.model, objective.penalty
        if penalty is not None and penalty.needs_rows:
            raise ValueError(
                f"{type(penalty).__name__} depends on all rows, and SAGA's table knows one row at "
                "a time; use optimizer='newton'"
            )
        state = self.state[closure.params[0]]
        if self._rows is not data.X:  # 1
            self._rows = data.X
            eta, _ = objective.rows(data)
            _, slopes = slopes_at(objective.loss, eta, data.y)
            state["table"] = slopes * data.sample_weight[:, None]
            state["by_weight"], state["by_eta"] = _sums(model, data, state["table"])
        where = slice(None) if batch.index is None else batch.index
        eta = model(batch.X, batch.offset)  # 2
        losses, slopes = slopes_at(objective.loss, eta, batch.y)
        value = total(model, penalty, batch, eta, losses, smooth_only=True)
        objective.evaluations += 1
        slopes = slopes * batch.sample_weight[:, None]
        fresh, stale = _sums(model, batch, slopes), _sums(model, batch, state["table"][where])
        n, b, means = len(data), len(batch), (state["by_weight"], state["by_eta"])
        gradient = _pulled(closure, fresh[0] / b, fresh[1] / b)
        change = [new - old for new, old in zip(fresh, stale, strict=True)]
        slope = _pulled(closure, *(c / b + m / n for c, m in zip(change, means, strict=True)))
        state["table"][where] = slopes
        for mean, c in zip(means, change, strict=True):
            mean += c
        _step(self.param_groups[0], closure, value, gradient, slope)  # 3
        return value


def _checked(name: str, lr: float | None) -> dict[str, Any]:
    """Settings of a group: ``lr``, and the smoothness met so far."""
    if lr is not None and not lr > 0:
        raise ValueError(f"{name} needs lr > 0, or None for the data's own, not {lr=}")
    return {"lr": lr, "smoothness": 0.0}


def _step(
    group: dict[str, Any], closure: Closure, value: Tensor, gradient: Tensor, slope: Tensor
) -> None:
    """Along ``-slope``, then the prox; ``gradient`` is the mini-batch's own."""
    n, b = closure.data.n, closure.batch.n
    lr = group["lr"]
    if lr is None:
        steepness = _smoothness(group, closure, value, gradient)
        lr = 1 / (steepness * (1 + 2 * (n - b) / max(n - 1, 1))) if steepness > 0 else 0.0
    move_(closure.params, [p.clone() for p in closure.params], slope, -lr)
    if lr > 0:
        closure.prox_(lr)
    parts = torch.split_with_sizes(slope, [p.numel() for p in closure.params])
    for p, part in zip(closure.params, parts, strict=True):
        p.grad = part.view_as(p).clone()


def _smoothness(group: dict[str, Any], closure: Closure, value: Tensor, gradient: Tensor) -> float:
    """Smallest ``L`` known for which gradient steps of ``1 / L`` fall as they should.

    Doubled where the mini-batch says that it is too small; halved over an epoch without complaint.
    """
    squares = float(gradient.square().sum())  # waits for the device
    known: float = group["smoothness"]
    rounding = float(closure.rounding(value))
    if not 4 * known * rounding < squares < float("inf"):  # what rounding hides tells nothing
        return known
    start = [p.clone() for p in closure.params]
    L = known * 2 ** (-closure.batch.n / closure.data.n) or 2.0**-20
    for _ in range(100):
        move_(closure.params, start, gradient, -1 / L)
        rise = float(closure.value(smooth_only=True) - value)
        if rise <= -squares / (2 * L) + rounding:
            break
        L *= 2
    _restore(closure.params, start)
    group["smoothness"] = L
    return L


def _sums(model: Model, batch: Batch, slopes: Tensor) -> tuple[Tensor, Tensor]:
    """``sum_i`` of row gradients by ``weight`` (r, p), and of the derivatives by ``eta`` (k,)."""
    return (slopes @ mix_matrix(model)).T @ batch.X, slopes.sum(0)


def _pulled(closure: Closure, by_weight: Tensor, by_eta: Tensor) -> Tensor:
    """Gradient (P,) of the smooth value from means over rows."""
    model, penalty = closure.objective.model, closure.objective.penalty
    parts = []
    if model.weight.requires_grad:
        if penalty is not None and penalty.smooth:
            by_weight = by_weight + penalty.gradient(model.weight)
        parts.append(by_weight.flatten())
    return torch.cat((*parts, intercept_jacobian(model).T @ by_eta))


def _flat(gradients: list[Tensor | None]) -> Tensor:
    return torch.cat([g.flatten() for g in gradients if g is not None])


def _restore(params: list[nn.Parameter], values: list[Tensor]) -> None:
    for p, value in zip(params, values, strict=True):
        p.copy_(value)
