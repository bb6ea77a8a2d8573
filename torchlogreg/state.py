"""What a running fit shows (FitState), and who may look (Hook)."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from torchlogreg.base import Model
from torchlogreg.data import Batch
from torchlogreg.diagnostics.diagnosis import Finding
from torchlogreg.diagnostics.problem import Problem
from torchlogreg.diagnostics.separated import Separation
from torchlogreg.objective import Objective
from torchlogreg.weighting import Weighting


class Hook:
    """Looks on. Override what you need; a method that is not overridden costs nothing.

    A hook reads the :class:`FitState` and may call ``state.request_stop(reason)``; it never trains.

    Attributes
    ----------
    wake : float
        Epochs before this one end without ``on_epoch_end``. A hook with nothing to do for a while
        moves it, in ``on_fit_start`` or ``on_epoch_end``, and costs nothing until then; infinity
        is never. Default 0: every epoch.
    """

    wake: float = 0

    def on_fit_start(self, state: FitState) -> None:
        """Before the first epoch; epoch is 0 and the parameters are the initial ones."""

    def on_step_end(self, state: FitState) -> None:
        """After every optimizer step."""

    def on_epoch_end(self, state: FitState) -> None:
        """After every epoch; for a full batch an epoch is one step."""

    def on_fit_end(self, state: FitState) -> None:
        """Once, whatever ended the fit: convergence, a stop, Ctrl-C or an error."""

    def remember(self) -> Any:
        """What a checkpoint is to keep of this hook: numbers, strings, tensors, lists, dicts."""
        return None

    def recall(self, memory: Any) -> None:
        """Take back what ``remember`` gave: after ``on_fit_start`` of a fit that is resumed."""


class FitState:
    """What hooks see of a running fit.

    Attributes
    ----------
    objective : Objective
    optimizer : torch.optim.Optimizer
    data : Batch
        All rows, with the weights of this epoch.
    own_weight : Tensor, shape (n,)
        The user's own sample weights, of mean one, without the weighting's factors.
    weighting : Weighting
    epoch, step : int
        Epochs and optimizer steps done.
    max_epochs : int
    tol : float
        Of the test for convergence; 0 for none.
    loss : Tensor
        What the last step returned: the (mini-batch) objective before that step.
    weight_change : Tensor
        Largest change of a sample weight at the start of this epoch; 0 if not adaptive.
    started : float
        ``time.perf_counter()`` at the start.
    stop_reason : str
        Empty while running.
    converged : bool
    batch_size : int or None
    schedule : scheduler of torch, or None
    generator : torch.Generator or None
        Source of the order of mini-batches.
    hooks : tuple of Hook
    asked : object
        What the weighting said last, and of what.
    fingerprint : dict or None
        What the fit is of, where a checkpoint asked for it.
    feature_names : tuple of str, or None
        Given to ``fit``, or the columns of a frame.
    judged : (int, float)
        Epoch and optimality of the last test for convergence; -1 before the first.
    separation : Separation, Finding or None
        What the exact test for separated classes found, if it was needed.
    """

    def __init__(
        self,
        objective: Objective,
        optimizer: Optimizer,
        data: Batch,
        weighting: Weighting,
        max_epochs: int,
        feature_names: tuple[str, ...] | None = None,
    ) -> None:
        self.objective = objective
        self.optimizer = optimizer
        self.data = data
        self.own_weight = data.sample_weight
        self.weighting = weighting
        self.max_epochs = max_epochs
        self.tol = 0.0
        self.epoch = 0
        self.step = 0
        self.loss: Tensor = torch.full((), torch.nan)
        self.weight_change: Tensor = torch.zeros(())
        self.previous_optimality = float("inf")
        self.judged = -1, math.inf
        self.slow_steps = 0
        self.eta_before: Tensor | None = None
        self.started = time.perf_counter()
        self.stop_reason = ""
        self.converged = False
        self.feature_names = feature_names
        self.separation: Separation | Finding | None = None
        self.batch_size: int | None = None
        self.schedule: LRScheduler | ReduceLROnPlateau | None = None
        self.generator: torch.Generator | None = None
        self.hooks: tuple[Hook, ...] = ()
        self.asked: Any = None
        self.fingerprint: dict[str, Any] | None = None
        self._own_problem: Problem | None = None
        self._problem: Problem | None = None

    @property
    def whole(self) -> FitState:
        """The fit's own state: what one of several ranks works on, where hooks see all rows."""
        return self

    @property
    def model(self) -> Model:
        """The model being trained."""
        return self.objective.model

    @property
    def own_problem(self) -> Problem:
        """The objective and this rank's rows: for tests whose sums go over the ranks."""
        if self._own_problem is None or self._own_problem.data is not self.data:
            self._own_problem = Problem(self.objective, self.data, self.feature_names)
            self._problem = None
        return self._own_problem

    @property
    def problem(self) -> Problem:
        """The objective and its rows, to be diagnosed; of several ranks all rows, if not many.

        Gathering them costs several passes: ``own_problem`` answers most questions.
        """
        own = self.own_problem
        if self._problem is None:
            data, known = self.data.at_hand(), own.objective
            if data is self.data:
                self._problem = own
            else:  # what is remembered of this rank's rows stays remembered
                objective = Objective(known.model, known.loss, known.penalty)
                self._problem = Problem(objective, data, self.feature_names)
        return self._problem

    @property
    def optimality(self) -> Tensor:
        """Optimality on all rows, now; one pass, shared with whoever else asks."""
        return self.objective.closure(self.data, self.data).optimality()

    @property
    def value(self) -> Tensor:
        """Objective on all rows, now, penalty included."""
        return self.objective.value(self.data)

    @property
    def rows(self) -> tuple[Tensor, Tensor]:
        """``eta (n, k)`` and unweighted losses (n,) of all rows, now."""
        return self.objective.rows(self.data)

    def request_stop(self, reason: str) -> None:
        """End the fit after this epoch; the first reason is kept."""
        self.stop_reason = self.stop_reason or reason

    def agree(self) -> None:
        """End the fit on all ranks if a hook of any asks for it."""
        if self.data.total is None:
            return
        asked = torch.tensor(int(bool(self.stop_reason)))
        if bool(self.data.largest(asked)):
            self.request_stop("another rank asked for the end")


def wake(hooks: Sequence[Hook], state: FitState) -> float:
    """Let those hooks look whose turn this epoch is; the next epoch that is the turn of any."""
    for hook in hooks:
        if state.epoch >= hook.wake:
            hook.on_epoch_end(state)
    return min((hook.wake for hook in hooks), default=math.inf)
