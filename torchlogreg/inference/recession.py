"""Whether a parameter can grow for ever while no row's loss rises: an infinite end of an interval.

The profile of a convex loss has an infinite end exactly if some direction of recession moves the
parameter (Rockafellar, Convex analysis, 1970, section 8): separation, or columns that are
combinations of others. The directions are those of :mod:`torchlogreg.diagnostics.cone`.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from torchlogreg.data import Batch
from torchlogreg.diagnostics.cone import STRICT, Cone, Floats, solve
from torchlogreg.diagnostics.constraints import cone_of
from torchlogreg.inference.affine import AffineForm
from torchlogreg.inference.rows import Basis
from torchlogreg.models import SoftmaxRegression

_FIRST = 500
_BROKEN = 1e-9


def recession_cone(form: AffineForm, data: Batch, basis: Basis) -> Cone:
    """Directions along which no loss rises, in the columns of the basis; rows with weight only."""
    counted = data.sample_weight > 0
    rows = basis.transform(data.X[counted])
    return cone_of(form.model, rows.cpu().numpy(), data.y[counted].cpu())


def grows(cone: Cone, form: AffineForm, hold: Tensor) -> bool:
    """Whether some direction of the cone raises ``hold . t``.

    A linear program: the largest rise within a box, over a part of the rows; those rows it breaks
    are added until there are none, or nothing rises any more.

    Parameters
    ----------
    cone : Cone
    form : AffineForm
    hold : Tensor, shape (P,)
        In the parameters of the basis.
    """
    cost = -_of_module(form, hold).cpu().numpy()
    cost = cost / np.abs(cost).max()
    steps = np.linspace(0, len(cone.row) - 1, min(len(cone.row), max(_FIRST, 20 * cone.size)))
    index = np.unique(steps.astype(np.int64))
    while True:
        A = np.vstack((cone.rows(index), cone.always))
        b: Floats = solve(cost, -A, np.zeros(len(A)), (-1, 1))
        if cost @ b > -STRICT:
            return False
        rises = cone.rises(b)
        broken = np.flatnonzero(rises < -_BROKEN)
        added = np.setdiff1d(broken[np.argsort(rises[broken])[: 20 * cone.size]], index)
        if not len(added):
            return True
        index = np.concatenate((index, added))


def _of_module(form: AffineForm, hold: Tensor) -> Tensor:
    """``hold`` for the module's scores: contrasts with class 0 take it from the other classes."""
    model, (r, p) = form.model, form.weight.shape
    if not isinstance(model, SoftmaxRegression) or model.reference:
        return hold
    parts = []
    for part in (hold[: r * p].view(r, p), hold[r * p :].view(-1, 1)):
        parts += [-part.sum(0, keepdim=True).flatten(), part.flatten()] if len(part) else []
    return torch.cat(parts)
