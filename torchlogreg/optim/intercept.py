"""Where Newton's method begins when one class is rare: the log-odds of its share."""

from __future__ import annotations

import math

import torch

from torchlogreg.losses import binary_nll
from torchlogreg.models import LogisticRegression
from torchlogreg.objective import Closure
from torchlogreg.passes import Found
from torchlogreg.penalties import L2

RARE = 0.1
"""Share of a class below which its intercept is a Newton step or more away from zero."""


def at_the_share_(closure: Closure, found: Found) -> bool:
    """Move the intercept of a model that is all zero to its optimum; whether it was worth it.

    Newton's step from zero is one of least squares: it takes the intercept of one row in a thousand
    from 0 to -2, then by about one a step to -7. Without weights the optimum is the log-odds of the
    rows' mean response, and that is one half less the slope at zero.

    Parameters
    ----------
    closure : Closure
    found : Found
        At the parameters as they are.
    """
    bias = closure.objective.model.bias
    if bias is None or not begins_at_the_share(closure, found):
        return False
    share = 0.5 - float(found.gradient[-1])
    with torch.no_grad():
        bias.fill_(math.log(share) - math.log1p(-share))
    return True


def begins_at_the_share(closure: Closure, found: Found) -> bool:
    """Whether that is worth it: a class is rare, and all parameters are zero."""
    objective = closure.objective
    model, bias, penalty = objective.model, objective.model.bias, objective.penalty
    if type(model) is not LogisticRegression or objective.loss is not binary_nll or bias is None:
        return False
    if not bias.requires_grad or not (penalty is None or type(penalty) is L2):
        return False
    share = 0.5 - float(found.gradient[-1])
    least = 0.5 / closure.batch.n  # half a row: less is a sample of one class, but for rounding
    if not least < min(share, 1 - share) < RARE or closure.batch.offset is not None:
        return False
    return not (bool(bias.any()) or bool(model.weight.any()))
