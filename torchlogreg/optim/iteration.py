"""One iteration of Newton's method: what is known of it, and an ordinary one on few rows."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from torchlogreg.objective import Closure
from torchlogreg.optim.factor import Factor
from torchlogreg.optim.intercept import begins_at_the_share
from torchlogreg.optim.line_search import LONGEST, OFF
from torchlogreg.optim.trials import Trial, Trials
from torchlogreg.small_compiled import SmallCompiled

EARLY = 1e-6
"""Share of the objective that a step must promise to be stretched."""


class Iteration(NamedTuple):
    """What an iteration knew before its step: smooth value, slope along the step, curvature.

    ``size`` and ``promised`` are the absolute values of the first two, as floats.
    """

    value: Tensor
    slope: Tensor
    factor: Factor
    size: float
    promised: float


def ordinary(closure: Closure, lr: float) -> Iteration | None:
    """An iteration of few rows in one compiled call, if nothing about it is out of the ordinary.

    It is if there is a class so rare that the intercept has to move first, if rounding has a say in
    a pivot, or if the step must be shortened: then nothing was moved, and the general way is taken.

    Parameters
    ----------
    closure : Closure
        Its parameters are moved.
    lr : float
        First step tried.
    """
    objective, batch = closure.objective, closure.batch
    small = objective.few(batch) if batch is closure.data else None
    if not isinstance(small, SmallCompiled):
        return None
    last = objective.evaluate(batch, keep=True)
    found, logits = last.found, last.logits
    if logits is None or begins_at_the_share(closure, found):
        return None
    value, eps = float(found.value), torch.finfo(found.gradient.dtype).eps
    cutoff = 10 * found.gradient.shape[0] * eps
    rules = (cutoff, float(lr), float(closure.rounding(value)), EARLY, OFF, LONGEST)
    done = small.iterate(closure.params, found, logits, rules)
    if done is None:
        return None
    objective.evaluations += 1 + done.looks
    objective.rows_read += len(batch) * done.looks
    look = small.seen(done.end)
    Trials(closure).stay(Trial(look.theta, 0.0, look.gradient, look))
    factor = Factor.of_cholesky(done.matrix, done.lower, done.pivot)
    return Iteration(found.value, done.slope, factor, abs(value), -float(done.slope))
