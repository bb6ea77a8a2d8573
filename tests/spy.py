"""A hook that remembers what a schedule did."""

from __future__ import annotations

import torch
from torch import Tensor

from torchlogreg import FitState, Hook


class Spy(Hook):
    """Remembers sample weights and what was wrong before each epoch."""

    def __init__(self) -> None:
        self.weights: list[Tensor] = []
        self.wrong: list[Tensor] = []

    def on_fit_start(self, state: FitState) -> None:
        """The errors that the first epoch's weights are made from."""
        self._look(state)

    def on_epoch_end(self, state: FitState) -> None:
        """The weights of this epoch; the errors that the next one's are made from."""
        self.weights.append(state.data.sample_weight.clone())
        self._look(state)

    def _look(self, state: FitState) -> None:
        with torch.no_grad():
            predicted = state.model.predict(state.model(state.data.X))
        self.wrong.append(predicted != state.data.y)
