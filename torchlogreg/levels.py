"""Levels of an ordinal model that have lost their place between two cutpoints."""

from __future__ import annotations

import torch

from torchlogreg.base import Model
from torchlogreg.data import Batch, pieces
from torchlogreg.models import OrdinalRegression


def lost_level(model: Model, data: Batch) -> int | None:
    """The first level with rows whose two cutpoints are one number, or None.

    A gap below the rounding of its cutpoints moves neither, and has no gradient: what looks like an
    optimum is none. Steps of other parameters can bring the place back. Levels without rows may end
    there: theirs do meet.

    Parameters
    ----------
    model : Model
    data : Batch
        Of which every rank has a part.
    """
    if not isinstance(model, OrdinalRegression):
        return None
    met = (model.cutpoints.detach().diff() <= 0).nonzero().flatten() + 1
    if not len(met):
        return None
    y, K = data.y, model.n_classes
    counts = torch.zeros(K, dtype=torch.float64, device=y.device)
    for part, weight in pieces(y, data.sample_weight):
        shares = part if part.ndim == 2 else torch.nn.functional.one_hot(part.long(), K)
        counts += ((shares > 0) & (weight > 0)[:, None]).sum(0)
    lost = met[data.summed(counts)[met] > 0].tolist()
    return lost[0] if lost else None
