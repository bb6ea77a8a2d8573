"""Proximal Newton with working sets as a ``torch.optim.Optimizer``: L1 and elastic net."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from torchlogreg.objective import Closure
from torchlogreg.optim.newton import move_
from torchlogreg.optim.proximal_quadratic import minimise
from torchlogreg.optim.requirements import our_closure
from torchlogreg.optim.working_set import Columns, Curvature, Entries, found_at

FEWEST, MOST = 200, 2000
"""Entries of ``weight`` in a working set: enough for BLAS, and few enough to factor."""


class ProximalNewton(Optimizer):
    """Newton's method for a smooth loss plus kinks, on the entries of ``weight`` that matter.

    1. Gradient on all rows and columns: the only pass over ``X`` of most steps. How far each entry
       is from its optimality condition follows.
    2. Working set: the support, and as many again of those that break their condition most.
    3. Gauss-Newton matrix of the working set and the intercepts, from columns that are kept.
    4. The quadratic model with its kinks is minimised exactly, zeros included
       (:mod:`torchlogreg.optim.proximal_quadratic`).
    5. Backtracking on the whole objective, with ``eta`` from the same columns.

    Entries outside the working set are zero or optimal to first order, and the next gradient judges
    them again: no screening rule is needed for safety. With a smooth penalty, or none, all this is
    Newton's method on blocks of coordinates.

    Parameters
    ----------
    params : iterable of nn.Parameter
        All trainable parameters of the model.
    lr : float
        First step tried, in (0, 1]; 1 is Newton's own.

    Raises
    ------
    ValueError
        If ``lr`` is out of range; in ``step``, for a penalty that is no sum of kinks and squares.
    TypeError
        In ``step``, if the closure is not one of :class:`torchlogreg.objective.Closure`.

    References
    ----------
    Lee, Sun and Saunders, Proximal Newton-type methods for minimizing composite functions, SIAM J.
    Optim. 24 (2014); Massias, Gramfort and Salmon, Celer: a fast solver for the lasso with dual
    extrapolation (2018), for working sets that grow with the support.
    """

    needs_full_batch = True
    handles_nonsmooth = True
    superlinear = True
    _memory: Curvature | None = None

    def __init__(self, params: Iterable[nn.Parameter], lr: float = 1.0) -> None:
        if not 0 < lr <= 1:
            raise ValueError(f"ProximalNewton needs 0 < lr <= 1, not {lr=}")
        super().__init__(params, {"lr": lr})

    @torch.no_grad()
    def step(self, closure: Any = None) -> Tensor:  # type: ignore[override]
        """One iteration; returns the smooth value before it."""
        closure = our_closure(closure, self)
        kink, ridge = _shape_of_penalty(closure)
        curvature = self._curvature(closure)
        model, batch = closure.objective.model, closure.batch
        if not bool(model.weight.any()) and closure.objective.known(batch) is None:
            eta = model.from_scores(batch.X.new_zeros(len(batch), len(model.weight)), batch.offset)
            closure.objective.remember(batch, found_at(closure, eta))
        value: Tensor = closure()  # 1
        gradient = closure.gradient()
        eta, _ = closure.objective.rows(batch)
        broken = _broken(closure, gradient)
        entries = _working_set(closure, broken)  # 2
        curvature.refine(float(broken.max()))
        inside = _places(closure, entries)
        w = torch.cat([p.detach().flatten() for p in closure.params])
        matrix = curvature.of(closure, eta, entries)  # 3
        matrix.diagonal().add_(ridge[inside])
        slope = gradient[inside] if _is_smooth(closure) else (gradient + ridge * w)[inside]
        start = w[inside]
        parts = (part.to(matrix) for part in (slope, kink[inside], start))
        new = minimise(matrix, *parts, accuracy=1e-4).to(w)  # 4
        direction = torch.zeros_like(w)
        direction[inside] = new - start
        fall = torch.dot(gradient, direction)
        self._search(closure, direction, fall, curvature.columns)  # 5
        return value

    def _search(self, closure: Closure, direction: Tensor, fall: Tensor, columns: Columns) -> None:
        """The first of lr, lr/2, ... that lowers the objective enough (Armijo), or none."""
        objective, step = closure.objective, self.param_groups[0]["lr"]
        model, batch = objective.model, closure.batch
        before, start = objective.value(batch), [p.clone() for p in closure.params]
        penalty = (
            None if objective.penalty is None or objective.penalty.smooth else objective.penalty
        )
        held = 0.0 if penalty is None else penalty.value(model.weight)
        rounding = closure.rounding(before)
        for _ in range(40):
            move_(closure.params, start, direction, step)
            eta = model.from_scores(columns.scores(model.weight), batch.offset)
            change = closure.value(eta=eta) - before
            goal = (
                step * fall if penalty is None else step * fall + penalty.value(model.weight) - held
            )
            if bool(change <= 1e-4 * goal + rounding):  # waits for the device; NaN is refused
                objective.remember(batch, found_at(closure, eta))
                return
            step /= 2
        move_(closure.params, start, direction, 0.0)

    def _curvature(self, closure: Closure) -> Curvature:
        """What is remembered of these rows under these weights."""
        known = self._memory
        if known is None or known.columns.X is not closure.batch.X:
            known = Curvature(Columns(closure.batch.X), closure.batch)
        elif known.batch is not closure.batch:
            known = Curvature(known.columns, closure.batch)
        self._memory = known
        return known


def _is_smooth(closure: Closure) -> bool:
    penalty = closure.objective.penalty
    return penalty is None or penalty.smooth


def _shape_of_penalty(closure: Closure) -> tuple[Tensor, Tensor]:
    """Kinks and second derivatives of the penalty for all parameters, (P,) each."""
    penalty, weight = closure.objective.penalty, closure.objective.model.weight
    if penalty is not None and penalty.needs_rows:
        raise ValueError(
            f"{type(penalty).__name__} depends on all rows, which working sets cannot know; "
            "use optimizer='newton'"
        )
    kink = ridge = torch.zeros_like(weight)
    if penalty is not None:
        ridge = penalty.curvature(weight.detach())
        found = torch.zeros_like(weight) if penalty.smooth else penalty.kink(weight.detach())
        if found is None:
            raise ValueError(
                f"{type(penalty).__name__} has no kink() that says it is a sum of kinks and "
                "squares; use optimizer='proximal_gradient'"
            )
        kink = found
    parts = [(kink, ridge) if p is weight else (torch.zeros_like(p),) * 2 for p in closure.params]
    return (
        torch.cat([part[0].flatten() for part in parts]),
        torch.cat([part[1].flatten() for part in parts]),
    )


def _broken(closure: Closure, gradient: Tensor) -> Tensor:
    """How far each entry of ``weight`` is from its optimality condition, in units, (r, p)."""
    objective = closure.objective
    weight, penalty = objective.model.weight, objective.penalty
    unit = objective.units(closure.data).columns
    if not weight.requires_grad:
        return torch.zeros_like(weight)
    slope = gradient[: weight.numel()].view_as(weight).to(unit)
    if penalty is not None and not penalty.smooth:
        step, at = unit.square().reciprocal(), weight.detach().to(unit)
        slope = (at - penalty.prox(at - step * slope, step)) / step
    return (slope / unit).abs()


def _working_set(closure: Closure, broken: Tensor) -> Entries:
    """The support and the worst offenders, as many again."""
    weight = closure.objective.model.weight
    support = (weight.detach() != 0).flatten()
    n_support = int(support.sum())  # waits for the device
    room = max(FEWEST, n_support)
    if n_support + room > MOST:  # too many at once: blocks of the worst, the support's among them
        support, room = torch.zeros_like(support), MOST
    rank = torch.where(support, -1.0, broken.flatten())
    worst = rank.topk(min(room, len(rank)))
    chosen = support.index_fill(0, worst.indices[worst.values > 0], True)
    return Entries.of(chosen.view_as(weight))


def _places(closure: Closure, entries: Entries) -> Tensor:
    """Indices of the entries and of all intercept parameters in flat vectors (P,)."""
    weight = closure.objective.model.weight
    n_weight = weight.numel() if weight.requires_grad else 0
    n_params = sum(p.numel() for p in closure.params)
    own = entries.row * weight.shape[1] + entries.feature
    return torch.cat((own, torch.arange(n_weight, n_params, device=own.device)))
