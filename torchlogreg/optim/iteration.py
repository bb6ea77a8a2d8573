"""One iteration of Newton's method: what is known of it, and an ordinary one on few rows."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from torchlogreg.kernels.logits import Rules
from torchlogreg.objective import Closure
from torchlogreg.optim.corrections import Corrections
from torchlogreg.optim.factor import Factor
from torchlogreg.optim.intercept import RARE
from torchlogreg.optim.line_search import LONGEST, OFF
from torchlogreg.optim.trials import set_
from torchlogreg.small import flat
from torchlogreg.small_compiled import SmallCompiled

EARLY = 1e-6
"""Share of the objective that a step must promise to be stretched."""


class Iteration(NamedTuple):
    """What an iteration knew before its step: smooth value, slope along the step, curvature.

    ``size`` and ``promised`` are the absolute values of the first two, as floats. After
    corrections ``last`` is the slope along the last one, and ``left`` that along another, not made;
    else they are ``promised``.
    """

    value: Tensor
    slope: Tensor
    factor: Factor
    size: float
    promised: float
    last: float
    left: float


def ordinary(closure: Closure, lr: float, corrections: Corrections) -> Iteration | None:
    """An iteration of few rows in one compiled call, if nothing about it is out of the ordinary.

    It is if rounding has a say in a pivot, or if the step must be shortened: then nothing was
    moved, and the general way is taken.

    Parameters
    ----------
    closure : Closure
        Its parameters are moved.
    lr : float
        First step tried.
    corrections : Corrections
    """
    objective, batch = closure.objective, closure.batch
    small = objective.few(batch) if batch is closure.data else None
    if not isinstance(small, SmallCompiled):
        return None
    theta, last = flat(closure.params), objective.known(batch)
    cutoff = 10 * theta.shape[0] * torch.finfo(theta.dtype).eps
    rare = 0.0 if objective.model.bias is None else RARE
    steps = float(lr), float(closure.rounding(1.0)), EARLY, OFF, LONGEST, *corrections, rare
    done = small.iterate(theta, last and last.found, Rules(cutoff, *steps))
    if done is None:
        return None
    objective.evaluations += done.looks + (0 if done.fresh else 1)
    objective.rows_read += len(batch) * done.looks
    look, remembered = small.seen(done.end), objective.remembered
    at = set_(closure.params, look.theta)
    remembered.keep(batch, objective.penalty, small.found(look), look.logits, at)
    factor = Factor.of_cholesky(done.matrix, done.lower, done.pivot)
    size, promised = abs(float(done.value)), -float(done.slope)
    return Iteration(done.value, done.slope, factor, size, promised, -done.last, -done.ahead)
