"""The duality gap of L1 and elastic net: a bound of what is left to gain, free at a gradient.

Of ``sum_i c_i f_i(eta_i) + sum_j kink_j |w_j| + ridge_j / 2 w_j^2`` with ``c`` the rows' weights,
over their number, the dual at ``v (n,)`` with ``v_i`` minus a slope of ``f_i`` is

    - sum_i c_i (f_i*(-v_i) + v_i fixed_i) - sum_j h_j(z_j),     z = X' (c v)

with ``fixed`` the part of ``eta`` that is not fitted, ``h_j(z)`` zero up to ``kink_j`` and from
there on ``(|z| - kink_j)^2 / (2 ridge_j)``, or infinite where there is no ridge. It is below the
objective, whatever ``v`` is. The slopes at hand, shrunk until ``h`` is finite and the intercept's
condition ``sum_i c_i v_i = 0`` holds, cost no pass over the rows.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from torchlogreg.data import Batch
from torchlogreg.losses import binary_nll, squared_error
from torchlogreg.models import LinearRegression, LogisticRegression
from torchlogreg.objective import Closure
from torchlogreg.passes import Found
from torchlogreg.penalties import L1, ElasticNet


def has_gap(closure: Closure) -> bool:
    """Whether the dual is known: L1 or elastic net with the squared error or the binary loss."""
    objective = closure.objective
    model = objective.model
    pair = (type(model), objective.loss)
    known = pair in ((LinearRegression, squared_error), (LogisticRegression, binary_nll))
    return known and type(objective.penalty) in (L1, ElasticNet) and model.weight.requires_grad


@torch.no_grad()
def duality_gap(closure: Closure) -> float:
    """At most so far is the objective above its minimum; infinite where no bound is known.

    1. Minus the slopes, from ``eta``. With a free intercept those of one sign are shrunk until all
       sum to zero; by how much that can move ``X' (c v)`` follows from the units of the columns.
    2. All shrunk until no entry of ``X' (c v)`` is above its kink, where there is no ridge.
    3. Objective less dual, row by row, where most of both cancels.

    Parameters
    ----------
    closure : Closure
        Of all rows, at parameters where value and gradient are known; else it costs their pass.

    References
    ----------
    Ndiaye, Fercoq, Gramfort and Salmon, Gap safe screening rules for sparsity enforcing penalties,
    JMLR 18 (2017); Massias, Gramfort and Salmon, Celer (2018).
    """
    if not has_gap(closure):
        return float("inf")
    objective, batch = closure.objective, closure.batch
    found: Found = objective.evaluate(batch, keep=True).found
    model, penalty = objective.model, objective.penalty
    weight = model.weight.detach()
    kink = penalty.kink(weight)[0]  # type: ignore[union-attr, index]
    ridge = penalty.curvature(weight)[0]  # type: ignore[union-attr]
    if bool((kink + ridge <= 0).any()):  # nothing bounds such a weight, and no dual the objective
        return float("inf")
    eta, y, share = found.eta.squeeze(1), batch.y, batch.sample_weight
    v = batch.each(partial(_ascent, closure), eta, y)
    z, off = -found.gradient[: weight.numel()], torch.zeros_like(kink)
    free = model.bias is not None and model.bias.requires_grad
    if free:  # 1
        v, off = _balanced(batch, v, objective.units(closure.data).columns.to(v))
    shrunk = _shrink(z.abs() + off, kink, ridge)  # 2
    z_most = shrunk * (z.abs() + off)

    def above(eta: Tensor, y: Tensor, v: Tensor, share: Tensor, offset: Tensor | None) -> Tensor:
        v, none = shrunk * v, torch.zeros_like(eta).unsqueeze(1)
        fixed = model.from_scores(none, offset).squeeze(1)
        fixed = fixed - model.bias if free and model.bias is not None else fixed
        return torch.dot(share / batch.n, _fenchel(closure, eta, y, v) + v * (fixed - eta))

    rows = batch.sum_of(above, eta, y, v, share, batch.offset)  # 3
    over = (z_most - kink).clamp(min=0)
    held = torch.where(ridge > 0, over.square() / (2 * torch.where(ridge > 0, ridge, 1.0)), 0.0)
    gap = rows + penalty.value(weight) + held.sum()  # type: ignore[union-attr]
    return max(float(gap), 0.0)


def _ascent(closure: Closure, eta: Tensor, y: Tensor) -> Tensor:
    """Minus the slopes."""
    if closure.objective.loss is squared_error:
        return 2 * (y - eta)
    return y * torch.sigmoid(-eta) - (1 - y) * torch.sigmoid(eta)


def _balanced(batch: Batch, v: Tensor, unit: Tensor) -> tuple[Tensor, Tensor]:
    """``v`` with weighted sum zero, and how much ``X' (c v)`` may have moved, (p,).

    By Cauchy and Schwarz ``|sum_i t_i x_ij| <= sqrt(n sum t_i^2)`` times the column's unit.
    """
    weighted = batch.each(lambda v, own: v * (own / batch.n), v, batch.sample_weight)
    total = batch.sum_of(torch.sum, weighted)

    def heavy(weighted: Tensor) -> Tensor:
        side = weighted[weighted * total > 0]  # the larger one
        return torch.stack((side.sum(), side.square().sum()))

    side, squares = batch.sum_of(heavy, weighted)
    part = total / torch.where(side == 0, 1.0, side)
    moved = part * squares.sqrt() * batch.n**0.5
    even = batch.each(lambda v, w: torch.where(w * total > 0, (1 - part) * v, v), v, weighted)
    return even, moved.abs() * unit


def _shrink(z: Tensor, kink: Tensor, ridge: Tensor) -> Tensor:
    """The largest factor up to one with which no entry without a ridge is above its kink."""
    bound = torch.where((ridge > 0) | (z <= kink), 1.0, kink / torch.where(z > 0, z, 1.0))
    return bound.min()


def _fenchel(closure: Closure, eta: Tensor, y: Tensor, v: Tensor) -> Tensor:
    """``f_i(eta_i) + f_i*(-v_i) + v_i eta_i``, which is never negative and zero for own slopes."""
    if closure.objective.loss is squared_error:
        return (eta - y + v / 2).square()
    q, p = (y - v).clamp(0, 1), torch.sigmoid(eta)  # the relative entropy of q from p
    above = torch.xlogy(q, q) - q * torch.nn.functional.logsigmoid(eta)
    below = torch.xlogy(1 - q, 1 - q) - (1 - q) * torch.nn.functional.logsigmoid(-eta)
    return torch.where(q == p, 0.0, above + below).clamp(min=0)
