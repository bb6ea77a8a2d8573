"""Searches along a direction: how far to go, and what to do where it leads nowhere."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from torchlogreg.base import Model
from torchlogreg.objective import Closure
from torchlogreg.optim.trials import Trial, Trials, dot, set_
from torchlogreg.small import flat

OFF, LONGEST = 0.1, 2.0
"""A step at whose end the slope is still this share of what it was is stretched, up to this length:
longer ones would hide separation."""

FURTHEST = 2.0**60
"""Length at which steepest descent gives up going further."""


def backtrack(
    closure: Closure, value: Tensor, direction: Tensor, slope: Tensor, step: float
) -> None:
    """Move along ``direction`` by the first of step, step/2, ... that is good enough, or downhill.

    Parameters
    ----------
    closure : Closure
        Its parameters are moved.
    value, slope : Tensor, shape ()
        Where they are; the slope is along ``direction``.
    direction : Tensor, shape (P,)
    step : float
    """
    trials = Trials(closure)
    start = Trial(flat(closure.params), float(value), closure.gradient())
    rounding = float(closure.rounding(start.value))
    length, end = 0.0, start
    if bool(slope < 0):  # waits for the device
        length, end = search(trials, start, direction, float(slope), step, rounding)
    trials.stay(downhill(closure, trials, start, rounding) if length == 0 else end)


def downhill(closure: Closure, trials: Trials, start: Trial, rounding: float) -> Trial:
    """The lowest point that doubled or halved steps of steepest descent meet before it rises again.

    Where the loss is straight for all rows, as that of a logistic regression a hundred units from
    the optimum, its curvature has vanished in rounding and says nothing of how far to go. Where
    intercepts are functions of parameters, a long step can end where these have no slope left, and
    it would look like an optimum: there no step is doubled.
    """
    bound = type(closure.objective.model).intercepts is not Model.intercepts
    furthest = 1.0 if bound else FURTHEST
    direction, slope = steepest(closure, start.gradient)
    length, best = search(trials, start, direction, slope, 1.0, rounding)
    while 1 <= length < furthest:
        length *= 2
        further = trials.at(torch.add(start.theta, direction, alpha=length))
        if not further.value < best.value:
            break
        best = further
    return best


def steepest(closure: Closure, gradient: Tensor) -> tuple[Tensor, float]:
    """Direction of steepest descent, in the units of the columns, (P,); the slope along it."""
    direction = -inverse_diagonal(closure) * gradient
    return direction, dot(gradient, direction)


def inverse_diagonal(closure: Closure) -> Tensor:
    """One over the mean squares of the columns and the penalty's curvature, (P,).

    The true diagonal has the curvature of the loss beside the squares, which is about the same for
    all columns: a factor that conjugate gradients do not notice.
    """
    objective, weight = closure.objective, closure.objective.model.weight
    units = objective.units(closure.data)
    squares = (units.of_partials(closure.params, weight) / units.response).square()
    diagonal = squares.to(weight.dtype)
    penalty = objective.penalty
    if penalty is not None and penalty.smooth and not penalty.needs_rows and weight.requires_grad:
        bend = penalty.curvature(weight.detach()).flatten()
        diagonal[: len(bend)] += bend
    return diagonal.reciprocal()


def search(
    trials: Trials, start: Trial, direction: Tensor, slope: float, step: float, rounding: float
) -> tuple[float, Trial]:
    """The same: by how much, 0 for not at all, and what is known there."""
    highest = start.value + rounding
    for attempt in range(40):
        theta = torch.add(start.theta, direction, alpha=step)
        # The first try is mostly the last: its gradient comes along, for the test and next step.
        tried = None if attempt else trials.at(theta)
        value = trials.value(theta) if tried is None else tried.value
        if value - highest <= 1e-4 * step * slope:  # no NaN passes
            return step, trials.at(theta) if tried is None else tried
        step /= 2
    return 0.0, start


def stretched(trials: Trials, start: Trial, end: Trial, direction: Tensor, slope: float) -> Trial:
    """From the end of a whole step to where the slope along it vanishes, if that is lower.

    The curvature is ``-slope`` where the step begins; its mean along the step is ``rise``; that it
    falls by the same factor in the second half as in the first gives it at the end.
    """
    ahead = dot(end.gradient, direction)
    rise = ahead - slope
    if not (abs(ahead) > OFF * -slope and rise > 0):
        return end
    length = min(1 + ahead / rise * (slope / rise), LONGEST)
    further = trials.at(torch.add(start.theta, direction, alpha=length))
    return further if further.value < end.value else end


def move_(params: list[nn.Parameter], start: list[Tensor], direction: Tensor, step: float) -> None:
    """Set ``params`` to ``start + step * direction`` for a flat ``direction`` (P,)."""
    set_(params, flat(start) if step == 0 else torch.add(flat(start), direction, alpha=step))
