"""When a fit has converged, when it never can, and the sentence that says so."""

from __future__ import annotations

import torch
from torch import Tensor

from torchlogreg.optim.requirements import superlinear
from torchlogreg.state import FitState


def check_convergence(state: FitState, tol: float) -> None:
    """Stop when the optimality conditions hold and adaptive weights have settled.

    1. Optimality at the current parameters: the one wait for the device.
    2. Newton goes on while a step still halves it. At a finite optimum rounding ends that within
       two steps; where none exists the gradient shrinks for ever, by 1/e a step, while ``eta``
       still moves by about one: three such steps below the tolerance are the sign of it.
    3. A vanishing gradient is no optimum if all rows are predicted with a margin: longer parameters
       would be better still.

    Parameters
    ----------
    state : FitState
        ``converged`` and ``stop_reason`` are set.
    tol : float
    """
    optimality = float(state.optimality)  # 1
    ratio = optimality / state.previous_optimality  # the first is 0: inf came before
    state.previous_optimality = optimality or 1.0
    gaining = superlinear(state.optimizer) and optimality > 0 and ratio < 0.5
    if not optimality <= tol:  # NaN is no convergence
        return
    if not has_finite_optimum(state):  # 3
        state.request_stop("separated")
        return
    eta, before = state.rows[0], state.eta_before
    moving = before is None or bool((eta - before).abs().max() > 0.05)
    state.eta_before = eta
    state.slow_steps = state.slow_steps + 1 if gaining and ratio > 0.1 and moving else 0
    if state.slow_steps >= 3 and not state.weighting.adaptive:  # 2
        state.request_stop("diverging")
        return
    if gaining and state.epoch < state.max_epochs:
        return
    if state.weighting.adaptive and (state.epoch == 1 or float(state.weight_change) > tol):
        return
    state.converged = True
    state.request_stop("converged")


def has_finite_optimum(state: FitState) -> bool:
    """False if the current parameters certify complete separation of unpenalised classes.

    If every row that counts lies strictly on its own side, multiplying all parameters by a number
    above one lowers every loss: no finite optimum exists (Albert and Anderson, 1984). True
    otherwise, which does not exclude quasi-complete separation; ``diagnostics.separation`` decides.
    """
    objective, data, model = state.objective, state.data, state.model
    if objective.penalty is not None and objective.penalty.alpha > 0:
        return True
    if model.n_classes is None or not objective.own_loss or data.y.ndim == 2:
        return True
    if any(not p.requires_grad for p in model.parameters()):
        return True  # a frozen parameter cannot grow with the others
    with torch.no_grad():  # without the offset, which would not grow with the parameters
        eta = state.rows[0] if data.offset is None else model(data.X)
        margins = class_margins(eta, data.y, model.n_classes)
    return not bool((margins[data.sample_weight > 0] > 0).all())


def class_margins(eta: Tensor, y: Tensor, n_classes: int) -> Tensor:
    """How far each row is inside the region of its own class, (n,); negative outside.

    Soft binary targets have no side, and count as outside.
    """
    k = eta.shape[1]
    if k == 1 and n_classes == 2 and y.is_floating_point():  # binary
        side = torch.where(y == 1, 1.0, torch.where(y == 0, -1.0, 0.0))
        return side * eta.squeeze(1)
    own = torch.nn.functional.one_hot(y, n_classes).bool()
    if k == n_classes:  # softmax
        rival = eta.masked_fill(own, -torch.inf).max(dim=1).values
        return eta.gather(1, y.unsqueeze(1)).squeeze(1) - rival
    below = torch.cat((eta.new_full((len(eta), 1), -torch.inf), eta), dim=1)  # ordinal
    above = torch.cat((eta, eta.new_full((len(eta), 1), torch.inf)), dim=1)
    index = y.unsqueeze(1)
    return torch.minimum(-below.gather(1, index), above.gather(1, index)).squeeze(1)


def explain(state: FitState, optimality: float, tol: float) -> str:
    """Why the fit ended and how far it got, in one line."""
    reason = state.stop_reason or "max_epochs"
    after = f"after {state.epoch} epochs of {type(state.optimizer).__name__}"
    text = f"{reason} {after}: optimality {optimality:.2g} (tol {tol:g})"
    if reason == "separated":
        text += (
            "; all rows are on the right side, so the likelihood has no finite maximum and the "
            "parameters only grow; add a penalty, such as L2(0.01)"
        )
    elif reason == "diverging":
        text += (
            "; the gradient vanishes while the parameters still grow, as under quasi-complete "
            "separation or a class without rows: see torchlogreg.diagnostics.separation, or add a "
            "penalty"
        )
    elif reason == "max_epochs" and tol > 0:
        text += f"; raise max_epochs above {state.max_epochs}, or change lr or optimizer"
    if state.weighting.adaptive and not state.converged and reason == "max_epochs":
        text += (
            f"; sample weights still change by {float(state.weight_change):.2g} an epoch, which "
            "Smoothed(...) or optimizer='lbfgs' can help"
        )
    return text
