"""New sample weights for an epoch, from what the model gets wrong."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from torchlogreg.data import Batch, of_pieces
from torchlogreg.one_class import refuse_one_class
from torchlogreg.sample_weights import checked_weights, mean_one_on
from torchlogreg.state import FitState
from torchlogreg.weighting import Snapshot


class Asked(NamedTuple):
    """What a weighting said, of which ``eta``, and whether it would say so again."""

    memory: Any
    eta: Tensor
    rests: bool


def reweight(state: FitState, before: Asked | None) -> Asked:
    """Ask the weighting, and give the rows its weights.

    Weights that have not changed leave ``state.data`` the object that it is, so that whoever
    remembers something of these rows still knows it. A weighting that settles is not asked again
    what it has just been asked, if its answer to that changed nothing.

    Parameters
    ----------
    state : FitState
    before : Asked or None
        What the last call returned; None before the first epoch.

    Raises
    ------
    ValueError
        If the new weights are none, or those of a single class.
    """
    eta, losses = state.rows
    again = before is not None and eta is before.eta
    if before is not None and again and before.rests:
        return before
    memory, weighting = None if before is None else before.memory, state.weighting
    data, own = state.data, state.own_weight
    snapshot = Snapshot(data.y, eta, losses, data.each(state.model.predict, eta), memory, own)
    if data.total is not None or data.mapped:
        snapshot = snapshot._replace(summed=data.summed, n_classes=state.model.n_classes)
    if data.mapped:
        snapshot = snapshot._replace(room=lambda dtype: data.room(dtype=dtype))
    updated = weighting.update(snapshot)
    new = data.each(torch.mul, own, weighting.factor(updated, snapshot))
    low, high = torch.aminmax(new)  # NaN is both
    low, high = data.least(low), data.largest(high)
    if not bool((low >= 0) & (high > 0) & (high < torch.inf)):  # waits for the device
        checked_weights(new, len(new), f"weighting {type(weighting).__name__}")
    if before is None and state.objective.own_loss:
        refuse_one_class(state.model, data.reweighted(new))
    new = mean_one_on(data, new)
    if _everywhere(data, torch.equal(new, data.sample_weight)):
        state.weight_change = new.new_zeros(())
        rests = again and weighting.settles and _everywhere(data, _same(updated, memory))
        return Asked(updated, eta, rests)
    state.weight_change = data.largest(_furthest(new, data.sample_weight))
    state.data = data.reweighted(new)
    return Asked(updated, eta, False)


def _furthest(new: Tensor, old: Tensor) -> Tensor:
    """The largest change of a weight."""
    return of_pieces(lambda a, b: (a - b).abs().max(), new, old).max()


def _everywhere(data: Batch, answer: bool) -> bool:
    """Whether the answer is yes on all ranks."""
    return answer if data.total is None else bool(data.least(torch.tensor(int(answer))))


def _same(a: Any, b: Any) -> bool:
    """Whether two memories are: tensors, or tuples of such."""
    if isinstance(a, tuple) and isinstance(b, tuple) and len(a) == len(b):
        return all(_same(*pair) for pair in zip(a, b, strict=True))
    return isinstance(a, Tensor) and isinstance(b, Tensor) and torch.equal(a, b)
