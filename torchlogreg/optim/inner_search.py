"""The search within a working set: steps of proximal Newton that read the set's columns alone."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from torchlogreg.curvature import intercept_jacobian, mix_matrix
from torchlogreg.losses import squared_error
from torchlogreg.objective import Closure
from torchlogreg.optim.column_descent import Bowl, can_sweep, descend
from torchlogreg.optim.line_search import move_
from torchlogreg.optim.metric import Metric
from torchlogreg.optim.proximal_quadratic import minimise, soft_threshold
from torchlogreg.optim.working_set import Entries, slopes_of
from torchlogreg.passes import total

STEPS = 30
"""Inner steps at most, before the other columns are looked at again."""

ACCURACY = 0.01
"""Share of the quadratic model's own violation that may be left: the metric is no better."""

STALE = 0.5
"""Share of the violation left by a step from which on the metric is frozen anew."""


@dataclass(frozen=True, slots=True, eq=False)
class Place:
    """Where a search is: scores (n, r), eta (n, k), slopes by eta (n, k), the objective."""

    scores: Tensor
    eta: Tensor
    by_eta: Tensor
    value: Tensor


@dataclass(frozen=True, slots=True, eq=False)
class Move:
    """A step: where it led, (m,) how, and the curvature along it as the metric has it."""

    to: Place
    way: Tensor
    bent: float


@dataclass(frozen=True, slots=True, eq=False)
class WorkingSet:
    """The entries that may move, and what holds them.

    Attributes
    ----------
    entries : Entries
    inside : Tensor, shape (m,)
        Their places, and those of the intercepts, in flat vectors (P,).
    unit, kink, ridge : Tensor, shape (m,)
        Of the partial derivatives; of the penalty.
    """

    entries: Entries
    inside: Tensor
    unit: Tensor
    kink: Tensor
    ridge: Tensor

    def violation(self, slope: Tensor, at: Tensor) -> Tensor:
        """Distances from the optimality conditions in units, (m,); ``slope`` holds the ridge's."""
        step, at = self.unit.square().reciprocal(), at.to(self.unit)
        return (at - soft_threshold(at - step * slope, step * self.kink)).abs() * self.unit


def search_(
    closure: Closure,
    metric: Metric,
    chosen: WorkingSet,
    goal: float,
    lr: float,
    gradient: Tensor | None = None,
) -> Tensor:
    """Move the parameters in the working set; the linear predictor there, (n, k).

    1. Exact gradient of the set, from its columns. Done when no entry breaks its condition by more
       than ``goal``.
    2. The quadratic model in a metric that may be of an earlier step, minimised with its kinks.
    3. Backtracking on the whole objective; scores are linear in the step.
    4. A step that leaves much was taken in a stale metric: it is frozen anew, and if it was new,
       in float64 from then on.

    Parameters
    ----------
    closure : Closure
    metric : Metric
    chosen : WorkingSet
    goal : float
        Largest violation that is good enough.
    lr : float
        First step tried.
    gradient : Tensor, shape (m,), optional
        Of the losses' mean by the set where the search begins; saves its products.
    """
    place = _here(closure, metric.columns.scores(closure.objective.model.weight))
    kept = metric.columns.fetch(chosen.entries.feature)
    before = float("inf")
    moved, last = None, place.by_eta
    for _ in range((STEPS if kept else 1) * (len(chosen.inside) > 0)):
        if gradient is None or moved is not None:
            gradient = _gradient(closure, metric, chosen, place)  # 1
        if moved is not None:
            metric.learn(float(torch.dot(gradient - last, moved.way)), moved.bent)
        at = _flat(closure)[chosen.inside]
        slope = gradient + chosen.ridge * at
        left = float(chosen.violation(slope, at).max())  # waits for the device
        if left <= max(goal, _rounding(closure, place)):
            break
        if not kept:  # one step a pass: in a metric of its own
            metric.freeze(slow=left > STALE * metric.left)
            metric.left = left
        elif left > STALE * before:  # 4
            fresh = metric.age <= 1
            if fresh and metric.fine and left > 0.9 * before:
                break  # rounding
            metric.freeze(slow=fresh)
        before, last = left, gradient
        moved = _step_(closure, metric, chosen, place, gradient, slope, at, lr, goal)
        if moved is None:
            break
        place = moved.to
    return place.eta


def _here(closure: Closure, scores: Tensor) -> Place:
    """What there is to know at the current parameters."""
    objective, batch = closure.objective, closure.batch
    eta = batch.each(objective.model.from_scores, scores, batch.offset)
    losses, by_eta = slopes_of(objective.loss, eta, batch)
    value = total(objective.model, objective.penalty, batch, eta, losses)
    objective.evaluations += 1
    by_eta = batch.each(
        lambda own, weight: own * (weight / batch.n).unsqueeze(1), by_eta, batch.sample_weight
    )
    return Place(scores, eta, by_eta, value)


def _ahead(step: float, scores: Tensor, way: Tensor) -> Tensor:
    return scores + step * way


def _rounding(closure: Closure, place: Place) -> float:
    """Violation that rounding leaves, in units: that of slopes, and of a numeric ``eta``."""
    batch = closure.batch
    size = (batch.sum_of(lambda own: own.square().sum(), place.by_eta) * batch.n) ** 0.5
    if closure.objective.loss is squared_error:
        size = size + 2 * batch.largest(torch.linalg.vector_norm(place.eta, torch.inf))
    return 4 * torch.finfo(size.dtype).eps * float(size)


def _gradient(closure: Closure, metric: Metric, chosen: WorkingSet, place: Place) -> Tensor:
    """Derivatives of the losses' mean by the entries and the intercepts, (m,)."""
    model = closure.objective.model
    by_scores = closure.batch.each(partial(torch.matmul, other=mix_matrix(model)), place.by_eta)
    by_weight = metric.columns.against(by_scores, chosen.entries)
    by_intercepts = intercept_jacobian(model).T @ place.by_eta.sum(0)
    return closure.batch.summed(torch.cat((by_weight, by_intercepts)))


def _step_(
    closure: Closure,
    metric: Metric,
    chosen: WorkingSet,
    place: Place,
    gradient: Tensor,
    slope: Tensor,
    at: Tensor,
    step: float,
    goal: float,
) -> Move | None:
    """One step in the metric; None, and no move, where none falls."""
    way, bent = _swept(closure, metric, chosen, place, slope, at, goal), 0.0  # 2
    if way is None:
        way, bent = _by_matrix(closure, metric, chosen, place, slope, at)
    objective, params = closure.objective, closure.params
    penalty, start = objective.penalty, [p.clone() for p in params]
    direction = torch.zeros_like(_flat(closure)).index_copy(0, chosen.inside, way)
    n_entries = len(chosen.entries.row)
    scores = metric.columns.along(way[:n_entries], chosen.entries, len(objective.model.weight))
    fall = torch.dot(slope if penalty is not None and penalty.smooth else gradient, way)
    held = _kinks(closure)
    rounding = closure.rounding(place.value)
    for _ in range(40):  # 3
        move_(params, start, direction, step)
        there = _here(closure, closure.batch.each(partial(_ahead, step), place.scores, scores))
        hoped = step * fall + _kinks(closure) - held
        if bool(there.value - place.value <= 1e-4 * hoped + rounding):  # NaN is refused
            return Move(there, step * way, step**2 * bent)
        step /= 2
    move_(params, start, direction, 0.0)
    return None


def _by_matrix(
    closure: Closure, metric: Metric, chosen: WorkingSet, place: Place, slope: Tensor, at: Tensor
) -> tuple[Tensor, float]:
    """The minimiser of the quadratic model, (m,) from ``at``, and the curvature along it."""
    unit, ridge = chosen.unit, chosen.ridge
    matrix = metric.of(closure, place.eta, chosen.entries)
    matrix.diagonal().add_((ridge / unit.square()).to(matrix))
    parts = (part.to(matrix) for part in (slope / unit, chosen.kink / unit, at * unit))
    new = minimise(matrix, *parts, accuracy=ACCURACY, eps=metric.eps)
    way = (new / unit).to(at) - at
    bent = torch.dot(way * unit, matrix @ (way * unit)) - torch.dot(way, ridge * way)
    return way, float(bent)


def _swept(
    closure: Closure,
    metric: Metric,
    chosen: WorkingSet,
    place: Place,
    slope: Tensor,
    at: Tensor,
    goal: float,
) -> Tensor | None:
    """The same by compiled sweeps, where there are some that end."""
    features = chosen.entries.feature
    if not (
        metric.sweeps
        and closure.batch.total is None
        and can_sweep(closure)
        and metric.columns.fetch(features)
    ):
        return None
    bowl = Bowl(features, slope, chosen.kink, chosen.ridge, chosen.unit, at)
    left = float(chosen.violation(slope, at).max())
    enough = max(ACCURACY * left, 0.3 * goal)
    way = descend(closure, metric.columns, place.eta, bowl, enough)
    metric.sweeps = way is not None
    return way


def _kinks(closure: Closure) -> Tensor:
    """Value of a penalty that is not smooth."""
    penalty, weight = closure.objective.penalty, closure.objective.model.weight
    if penalty is None or penalty.smooth:
        return torch.zeros_like(weight[0, 0])
    return penalty.value(weight)


def _flat(closure: Closure) -> Tensor:
    return torch.cat([p.detach().flatten() for p in closure.params])
