"""Coordinate descent over the columns of a working set: a step of proximal Newton, compiled.

A sweep reads each column once or twice, where the Gram matrix of the set reads it once for every
other one: where columns have little in common, a dozen sweeps do at a tenth of the price, and the
curvature can be that of the place where the step begins.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from torchlogreg.closed_form import curvatures
from torchlogreg.kernels import columns_available
from torchlogreg.models import LinearRegression, LogisticRegression
from torchlogreg.objective import Closure
from torchlogreg.optim.working_set import Columns

SWEEPS = 60
"""At most; what takes more is left to a matrix."""


@dataclass(frozen=True, slots=True, eq=False)
class Bowl:
    """``g . d + d' H d / 2 + sum_j ridge_j d_j^2 / 2 + kink_j |at_j + d_j|`` about a place.

    Attributes
    ----------
    features : Tensor, shape (q,)
        Columns of the first entries; the one after them, if there is one, is the intercept.
    gradient, kink, ridge, unit, at : Tensor, shape (m,)
        ``gradient`` with the ridge's part.
    """

    features: Tensor
    gradient: Tensor
    kink: Tensor
    ridge: Tensor
    unit: Tensor
    at: Tensor


def can_sweep(closure: Closure) -> bool:
    """Whether the kernel takes these rows: all are here, and each has one score and no more."""
    batch, model = closure.batch, closure.objective.model
    single = type(model) in (LinearRegression, LogisticRegression)
    return single and batch.total is None and columns_available(batch.X)


def descend(
    closure: Closure, columns: Columns, eta: Tensor, bowl: Bowl, enough: float
) -> Tensor | None:
    """The minimiser ``d`` (m,), or None where it is not found within ``SWEEPS``.

    1. Sweeps over all entries, of which those that are zero and stay so cost one product, and over
       the others, until a sweep meets no violation above ``enough``, in units.
    2. Done when that was a sweep over all.

    Parameters
    ----------
    closure : Closure
        One for which :func:`can_sweep` holds.
    columns : Columns
        Those of the features are kept there.
    eta : Tensor, shape (n, 1)
        Where the curvature of the rows is taken.
    bowl : Bowl
    enough : float

    References
    ----------
    Friedman, Hastie and Tibshirani, Regularization paths for generalized linear models via
    coordinate descent, J. Stat. Softw. 33 (2010).
    """
    from torchlogreg.kernels.coordinate import DENSE

    batch, X = closure.batch, closure.batch.X
    bend = curvatures(closure.objective.loss, eta, batch.y)[:, 0, 0] * batch.sample_weight
    rows = (bend / len(batch)).to(X.dtype).numpy()
    pull, total = np.zeros_like(rows), float(rows.sum())
    kept, local = columns.rows.numpy(), columns.place[bowl.features].numpy().view(np.uint64)
    whole = [t.double().numpy() for t in (bowl.gradient, bowl.kink, bowl.ridge, bowl.unit, bowl.at)]
    gradient, kink, ridge, unit, start = whole
    new, own = start.copy(), np.full(len(start), -1.0)
    arrays = (kept, local, rows, pull, own, gradient, kink, ridge, unit, start, new)
    everywhere = True
    for _ in range(SWEEPS):
        largest = DENSE(*arrays, everywhere)  # 1
        if len(start) > len(bowl.features) and total > 0:
            slope = gradient[-1] + float(pull.sum())
            new[-1] -= slope / total
            pull -= rows * (slope / total)
            largest = max(largest, abs(slope) / unit[-1])
        if largest <= enough and everywhere:  # 2
            return torch.from_numpy(new - start).to(bowl.at)
        everywhere = largest <= enough
    return None
