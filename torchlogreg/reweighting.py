"""New sample weights for an epoch, from what the model gets wrong."""

from __future__ import annotations

from typing import Any

import torch

from torchlogreg.inputs import refuse_one_class
from torchlogreg.sample_weights import checked_weights, mean_one
from torchlogreg.state import FitState
from torchlogreg.weighting import Snapshot


def reweight(state: FitState, memory: Any) -> Any:
    """Ask the weighting, and give the rows its weights; returns what it wants to remember.

    Weights that have not changed leave ``state.data`` the object that it is, so that whoever
    remembers something of these rows still knows it.

    Parameters
    ----------
    state : FitState
    memory : object
        What the last call returned; None before the first epoch.

    Raises
    ------
    ValueError
        If the new weights are none, or those of a single class.
    """
    eta, losses = state.rows
    predicted = state.model.predict(eta)
    snapshot = Snapshot(state.data.y, eta, losses, predicted, memory, state.own_weight)
    updated = state.weighting.update(snapshot)
    new = state.own_weight * state.weighting.factor(updated, snapshot)
    low, high = torch.aminmax(new)  # NaN is both
    if not bool((low >= 0) & (high > 0) & (high < torch.inf)):  # waits for the device
        checked_weights(new, len(new), f"weighting {type(state.weighting).__name__}")
    if memory is None and state.objective.own_loss:
        refuse_one_class(state.model, state.data.y, new)
    new = mean_one(new)
    if torch.equal(new, state.data.sample_weight):
        state.weight_change = new.new_zeros(())
    else:
        state.weight_change = (new - state.data.sample_weight).abs().max()
        state.data = state.data.reweighted(new)
    return updated
