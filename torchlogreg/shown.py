"""What hooks see of a fit whose rows are spread over ranks: nothing that waits for another rank.

A hook may look when the clock says so, on one rank alone, for as long as it likes; a sum over the
ranks in it would wait for the others for ever. So the figures of all rows are worked out before,
once an epoch, by all ranks; what else a hook asks is answered from the rows at hand.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from torchlogreg.distributed import all_rows
from torchlogreg.objective import Objective
from torchlogreg.state import FitState


class Shown(FitState):
    """A :class:`FitState` to look at; what it does not know itself the fit's own does.

    ``data`` and ``rows`` are those of all ranks, if there are few enough for each of them (see
    :meth:`torchlogreg.data.Batch.at_hand`), else this rank's. ``optimality`` and ``value`` are of
    all rows, as of the last epoch.

    Parameters
    ----------
    state : FitState
        Of several ranks; all of them make one.
    """

    def __init__(self, state: FitState) -> None:
        told = state.objective
        self._state = state
        self.objective = Objective(told.model, told.loss, told.penalty)
        self.data = replace(state.data.at_hand(), total=None)
        self.own_weight = self.data.sample_weight
        self._known = state.data
        self.refresh()

    def refresh(self) -> None:
        """The figures of now; all ranks come here after every epoch."""
        state = self._state
        if state.data is not self._known:
            weights = state.data.sample_weight
            weights = weights if len(weights) == len(self.data) else all_rows(weights)
            self.data, self._known = self.data.reweighted(weights), state.data
        self._optimality, self._value = state.optimality, state.value
        self.objective.evaluations = state.objective.evaluations
        self.objective.rows_read = state.objective.rows_read

    def __getattr__(self, name: str) -> Any:
        """Everything else, of the fit's own state."""
        if name == "_state":  # a copy that is being made has none yet
            raise AttributeError(name)
        return getattr(self._state, name)

    @property
    def whole(self) -> FitState:
        """The fit's own state, of this rank's rows."""
        return self._state

    @property
    def optimality(self) -> Tensor:
        """Of all rows, after the last epoch."""
        return self._optimality

    @property
    def value(self) -> Tensor:
        """Objective on all rows after the last epoch."""
        return self._value

    def request_stop(self, reason: str) -> None:
        """End the fit, on all ranks, after this epoch."""
        self._state.request_stop(reason)


def shown(state: FitState, before: FitState | None = None) -> FitState:
    """What hooks may look at now: the state itself on one process, and where nobody looks.

    Parameters
    ----------
    state : FitState
    before : FitState, optional
        What this returned last time.
    """
    if isinstance(before, Shown):
        before.refresh()
    if before is not None or state.data.total is None:
        return before or state
    looked_at = state.data.largest(torch.tensor(int(bool(state.hooks))))  # on any rank
    return Shown(state) if bool(looked_at) else state
