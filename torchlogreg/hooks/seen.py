"""Seen: what an epoch computed anyway, for all hooks that want to work it out later."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from torchlogreg.data import Batch
from torchlogreg.state import FitState


class Seen(NamedTuple):
    """A moment of a fit, still on its device: mostly references, so that taking it is cheap."""

    epoch: int
    params: Tensor  # (P,), as ``flat_params`` orders them
    eta: Tensor  # (n, k)
    losses: Tensor  # (n,)
    sample_weight: Tensor  # (n,)
    value: Tensor  # the objective
    gradient: Tensor  # of its smooth part by the trainable parameters
    optimality: Tensor | None  # None: what ``optimalities`` says of the gradient


class Sight:
    """Takes each moment once, whoever asks and however often."""

    def __init__(self) -> None:
        self._seen: Seen | None = None
        self._of: tuple[FitState, int, Batch, list[int]] | None = None  # step and versions there
        self._params: list[Tensor] = []  # of the model: listing them takes as long as reading them

    def of(self, state: FitState) -> Seen:
        """The moment of this state: one pass over the rows, which the next step needs anyway."""
        if not self._params:
            self._params = list(state.model.parameters())
        versions = [p._version for p in self._params]  # a hook may put others back
        seen, key = self._seen, self._of
        if seen is not None and key is not None and seen.epoch == state.epoch:
            if key[1] == state.step and key[3] == versions:
                if key[0] is state and key[2] is state.data:
                    return seen
        self._seen = seen = self._look(state)
        self._of = (state, state.step, state.data, versions)
        return seen

    def _look(self, state: FitState) -> Seen:
        objective, data = state.objective, state.data
        objective.remembered.keeps_rows = True
        found = objective.evaluate(data, keep=True).found
        params = torch.cat([p.detach().flatten() for p in self._params])
        value, gradient, optimality = found.value, found.gradient, None
        rough = objective.penalty is not None and not objective.penalty.smooth
        if rough or state.whole is not state:
            value, optimality = state.value, state.optimality
        rows = (found.eta, found.losses, data.sample_weight)
        return Seen(state.epoch, params, *rows, value, gradient, optimality)


def optimalities(state: FitState) -> Callable[[Sequence[Seen]], Tensor]:
    """``state.optimality`` of many moments at once, (m,)."""
    scale = state.objective.measured(state.data)[1]

    def of(moments: Sequence[Seen]) -> Tensor:
        known = [seen.optimality for seen in moments if seen.optimality is not None]
        if known:
            return torch.stack(known)
        gradients = torch.stack([seen.gradient for seen in moments])
        found: Tensor = torch.linalg.vector_norm(gradients / scale, torch.inf, dim=1)
        return found

    return of
