"""Proximal Newton with working sets as a ``torch.optim.Optimizer``: L1 and elastic net."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from torchlogreg.objective import Closure
from torchlogreg.optim.column_descent import can_sweep
from torchlogreg.optim.duality import duality_gap
from torchlogreg.optim.inner_search import WorkingSet, search_
from torchlogreg.optim.metric import Metric
from torchlogreg.optim.requirements import our_closure
from torchlogreg.optim.working_set import Columns, Entries, found_at

FEWEST, MOST = 300, 2000
"""Entries of ``weight`` in a working set: enough for BLAS, and few enough to factor."""

SHARE = 16
"""One in so many columns is cheap to look at by sweeps, next to the pass that judges all."""

ROUGH, FINAL = 0.1, 1e-6
"""Share of the largest violation that may be left in a set with new entries, and in one without."""


class ProximalNewton(Optimizer):
    """Newton's method for a smooth loss plus kinks, on the entries of ``weight`` that matter.

    1. Gradient on all rows and columns: the only pass over ``X`` of a step. How far each entry
       is from its optimality condition follows.
    2. Working set: the support, and as many again of those that break their condition most.
    3. Within it Newton's method with kinks, on columns that are kept and with a Gram matrix that
       grows with them (:mod:`torchlogreg.optim.inner_search`): roughly while new entries come in,
       to the end when there are none.
    4. The gradient there, for the next step, and with it the duality gap.

    Entries outside the working set are zero or optimal to first order, and the next gradient judges
    them again: no screening rule is needed for safety. With a smooth penalty, or none, all this is
    Newton's method on blocks of coordinates. Rows stored by columns are read fastest.

    Parameters
    ----------
    params : iterable of nn.Parameter
        All trainable parameters of the model.
    lr : float
        First step tried, in (0, 1]; 1 is Newton's own.

    Attributes
    ----------
    gap : float
        After a step: by how much the objective may be above its minimum, proved by duality for L1
        and elastic net with the squared error or the binary loss; infinite elsewhere.

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
    gap: float = float("inf")
    _memory: Metric | None = None

    def __init__(self, params: Iterable[nn.Parameter], lr: float = 1.0) -> None:
        if not 0 < lr <= 1:
            raise ValueError(f"ProximalNewton needs 0 < lr <= 1, not {lr=}")
        super().__init__(params, {"lr": lr})

    @torch.no_grad()
    def step(self, closure: Any = None) -> Tensor:  # type: ignore[override]
        """One iteration; returns the smooth value before it."""
        closure = our_closure(closure, self)
        objective, batch = closure.objective, closure.batch
        kink, ridge = _shape_of_penalty(closure)
        if not bool(objective.model.weight.any()) and objective.known(batch) is None:
            eta = _intercepts_alone(closure)
            objective.remember(batch, found_at(closure, eta))
        value: Tensor = closure()  # 1
        metric = self._metric(closure)  # in units that the first pass has seen
        gradient = closure.gradient()
        broken = _broken(closure, gradient)
        chosen, grown = self._chosen(closure, broken, kink, ridge)  # 2
        share = ROUGH if grown else FINAL
        lr = self.param_groups[0]["lr"]
        smooth = objective.penalty is None or objective.penalty.smooth  # and in the gradient
        known = None if smooth else gradient[chosen.inside]
        eta = search_(closure, metric, chosen, share * float(broken.max()), lr, known)  # 3
        objective.remember(batch, found_at(closure, eta))
        self.gap = duality_gap(closure)
        return value

    def _chosen(
        self, closure: Closure, broken: Tensor, kink: Tensor, ridge: Tensor
    ) -> tuple[WorkingSet, bool]:
        """The working set, and whether any of it is new."""
        entries, grown = _entries(closure, broken)
        inside = _places(closure, entries)
        unit = closure.objective.units(closure.data).columns
        units = torch.cat((unit[entries.feature], unit.new_ones(len(inside) - len(entries.row))))
        return WorkingSet(entries, inside, units, kink[inside], ridge[inside]), grown

    def _metric(self, closure: Closure) -> Metric:
        """What is remembered of these rows under these weights."""
        known = self._memory
        unit = closure.objective.units(closure.data).columns
        if known is None or known.columns.X is not closure.batch.X:
            known = Metric(Columns(closure.batch), closure.batch, unit)
        elif known.batch is not closure.batch:
            known = Metric(known.columns, closure.batch, unit)
        self._memory = known
        return known


def _intercepts_alone(closure: Closure) -> Tensor:
    """``eta`` where all of ``weight`` is zero."""
    model, batch = closure.objective.model, closure.batch
    scores = batch.room(len(model.weight)).zero_()
    return batch.each(model.from_scores, scores, batch.offset)


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


def _entries(closure: Closure, broken: Tensor) -> tuple[Entries, bool]:
    """The support and the worst offenders, as many again; whether there were any."""
    weight = closure.objective.model.weight
    support = (weight.detach() != 0).flatten()
    n_support = int(support.sum())  # waits for the device
    cheap = len(support) // SHARE if can_sweep(closure) else 0  # no Gram matrix is made
    room = max(FEWEST, n_support, cheap)
    if n_support + room > MOST:  # too many at once: blocks of the worst, the support's among them
        support, room = torch.zeros_like(support), MOST
    rank = torch.where(support, -1.0, broken.flatten())
    worst = rank.topk(min(room, len(rank)))
    chosen = support.index_fill(0, worst.indices[worst.values > 0], True)
    return Entries.of(chosen.view_as(weight)), bool((worst.values > 0).any())


def _places(closure: Closure, entries: Entries) -> Tensor:
    """Indices of the entries and of all intercept parameters in flat vectors (P,)."""
    weight = closure.objective.model.weight
    n_weight = weight.numel() if weight.requires_grad else 0
    n_params = sum(p.numel() for p in closure.params)
    own = entries.row * weight.shape[1] + entries.feature
    return torch.cat((own, torch.arange(n_weight, n_params, device=own.device)))
