"""Seen: what an epoch computed anyway, for all hooks that want to work it out later."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from torchlogreg.state import FitState


class Seen(NamedTuple):
    """A moment of a fit, still on its device: mostly references, so that taking it is cheap."""

    epoch: int
    params: Tensor  # (P,), as ``flat_params`` orders them
    eta: Tensor  # (n, k)
    losses: Tensor  # (n,)
    sample_weight: Tensor  # (n,)


class Sight:
    """Takes each moment once, whoever asks and however often."""

    def __init__(self) -> None:
        self._key: tuple[object, ...] = ()
        self._seen: Seen | None = None
        self._params: list[Tensor] = []  # of the model: listing them takes as long as reading them

    def of(self, state: FitState) -> Seen:
        """The moment of this state."""
        data = state.data
        self._params = self._params or list(state.model.parameters())
        versions = [p._version for p in self._params]  # a hook may put others back
        key = (id(state), state.epoch, state.step, id(data), versions)
        if self._seen is None or key != self._key:
            eta, losses = state.rows
            params = torch.cat([p.detach().flatten() for p in self._params])
            self._seen = Seen(state.epoch, params, eta, losses, data.sample_weight)
            self._key = key
        return self._seen
