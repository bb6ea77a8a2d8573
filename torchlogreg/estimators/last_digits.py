"""What standardising costs nearly collinear columns, given back once the model is of raw ones."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace

from torch import Tensor

from torchlogreg.base import Model
from torchlogreg.objective import Objective
from torchlogreg.optim.newton import ILL, Newton
from torchlogreg.optim.polish import DependentError, can_polish, polish_
from torchlogreg.penalties import Penalty
from torchlogreg.sparse import fits_dense
from torchlogreg.state import FitState, Hook


class LastDigits(Hook):
    """Remembers how a fit of standardised columns ended; see :meth:`restore_`.

    ``(X - mean) / scale`` is rounded, and what that changes in the answer is eps times the
    condition of the columns: 4 digits for a cubic in years.
    """

    def __init__(self) -> None:
        self._state: FitState | None = None

    def on_fit_end(self, state: FitState) -> None:
        """Keep the state."""
        self._state = state

    def restore_(self, model: Model, X: Tensor, penalty: Penalty | None) -> None:
        """Correct a model of raw columns in doubled precision, where digits have been lost.

        Parameters
        ----------
        model : Model
            Folded back.
        X : Tensor, shape (n, p)
            Raw.
        penalty : Penalty or None
            On raw columns.
        """
        state = self._state
        if state is None or not state.converged or not isinstance(state.optimizer, Newton):
            return
        if not state.optimizer.pivot < ILL:
            return
        objective = Objective(model, penalty=penalty)
        batch = replace(state.data, X=X.to(model.weight.dtype))
        if fits_dense(X) and can_polish(objective, batch):
            with suppress(DependentError):  # then the weights stay as they are
                polish_(objective, batch)
