"""Hooks that end a fit early: no more progress on held-out rows, or numbers that are none."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from torchlogreg.data import Batch
from torchlogreg.hooks.pace import next_dense
from torchlogreg.hooks.recorder import learning_rate
from torchlogreg.inputs import make_data
from torchlogreg.state import FitState, Hook
from torchlogreg.tensors import as_tensor


class EarlyStopping(Hook):
    """Stops when the loss on held-out rows no longer improves.

    1. Before training and after every ``every``-th epoch: the mean loss on the held-out rows,
       without penalty and without the weighting of the training rows.
    2. Stop once ``patience`` epochs went by without a loss below ``best_loss - min_delta``.
    3. When the fit has ended, for whatever reason, put the parameters of the best epoch back.

    Step 3 makes this the one hook that writes parameters. The reason: the best epoch is known only
    later, and every user of early stopping would do the same by hand. It happens after training, in
    ``on_fit_end``, so it cannot influence a step. ``FitResult.objective`` and ``optimality`` then
    describe the parameters put back, while ``converged`` and ``stop_reason`` tell how the training
    ended. Place this hook after those that record, so that they see the last epoch as it was.

    Parameters
    ----------
    X : Tensor, array or frame, shape (m, n_features)
        Held-out rows.
    y : Tensor, array or series, shape (m,) or (m, K)
    patience : int
        Epochs to wait for an improvement, ``>= 1``.
    min_delta : float
        What counts as an improvement, in units of the loss; ``>= 0``.
    every : int
        Epochs from one look to the next, ``>= 1``.
    restore_best : bool
        Whether to take step 3.
    sample_weight : array, shape (m,), optional
        Weights of the held-out rows. Default: all equal.
    offset : array, shape (m,) or (m, r), optional

    Attributes
    ----------
    best_loss : float
        Lowest held-out loss (by more than ``min_delta``), infinite before the first look.
    best_epoch : int
        Its epoch; 0 is the starting point.
    epochs, losses : list
        Epoch and held-out loss of every look.

    Raises
    ------
    ValueError
        For settings out of range; at the start of the fit for rows that do not suit the model.
    """

    def __init__(
        self,
        X: Any,
        y: Any,
        *,
        patience: int = 10,
        min_delta: float = 0.0,
        every: int = 1,
        restore_best: bool = True,
        sample_weight: Any = None,
        offset: Any = None,
    ) -> None:
        if patience < 1:
            raise ValueError(f"patience is {patience}, but it counts epochs from 1")
        if not min_delta >= 0:
            raise ValueError(f"min_delta is {min_delta}, but it is not negative")
        if every < 1:
            raise ValueError(f"every is {every}, but it counts epochs from 1")
        self.X, self.y, self.sample_weight, self.offset = X, y, sample_weight, offset
        self.patience = patience
        self.min_delta = min_delta
        self.every = every
        self.restore_best = restore_best
        self._forget()

    def on_fit_start(self, state: FitState) -> None:
        """Check the held-out rows against the model; look at the starting point."""
        self._forget()
        self._held_out = self._make_data(state)
        self._look(state)

    def on_epoch_end(self, state: FitState) -> None:
        """Look, and stop if patience has run out."""
        if state.epoch % self.every:
            return
        self._look(state)
        waited = state.epoch - self.best_epoch
        if waited >= self.patience:
            state.request_stop(
                f"early stopping: no improvement of the held-out loss for {waited} epochs "
                f"(best {self.best_loss:.6g} at epoch {self.best_epoch})"
            )

    @torch.no_grad()
    def on_fit_end(self, state: FitState) -> None:
        """Put the best parameters back."""
        if self.restore_best and self._best:
            for p, best in zip(state.model.parameters(), self._best, strict=True):
                p.copy_(best)

    def remember(self) -> list[Any]:
        """What it has seen, and the best parameters."""
        return [self.best_epoch, self.best_loss, self.epochs, self.losses, self._best]

    def recall(self, memory: list[Any]) -> None:
        """Go on from there."""
        self.best_epoch, self.best_loss, *lists = memory
        self.epochs[:], self.losses[:], self._best[:] = lists

    def _forget(self) -> None:
        self.best_epoch = 0
        self.best_loss = float("inf")
        self.epochs: list[int] = []
        self.losses: list[float] = []
        self._best: list[Tensor] = []

    def _make_data(self, state: FitState) -> Batch:
        """The held-out rows, checked like the training rows, except that one class may do."""
        model = state.model
        own = state.objective.loss is model.nll
        try:
            y = as_tensor(self.y, "the target", model.weight.device)
            return make_data(
                model,
                self.X,
                model.target(y) if own else y,
                sample_weight=self.sample_weight,
                offset=self.offset,
                own_target=False,
            )
        except ValueError as error:
            raise ValueError(f"held-out rows of EarlyStopping: {error}") from None

    @torch.no_grad()
    def _look(self, state: FitState) -> None:
        """Evaluate; remember the parameters if they are the best so far."""
        rows, model = self._held_out, state.model
        losses = state.objective.loss(model(rows.X, rows.offset), rows.y)
        loss = float(rows.summed(torch.dot(rows.sample_weight, losses)) / rows.n)  # waits
        self.epochs.append(state.epoch)
        self.losses.append(loss)
        if loss < self.best_loss - self.min_delta:
            self.best_loss, self.best_epoch = loss, state.epoch
            self._best = [p.detach().clone() for p in model.parameters()]


LONGEST = 250
"""Most epochs that a fit goes on with numbers that are none."""


class StopOnNonFinite(Hook):
    """Stops a fit whose loss or parameters are NaN or infinite, and says which and when.

    The parameters and the loss of the last step are looked at after each of the first eight
    epochs, then the loss after the 16th, the 32nd and so on, at most 250 apart, the parameters
    more rarely, and both after the last: what is no number stays none, and a look at every epoch
    of a small fit would take longer than the epochs that it saves. That loss was computed before
    the step, so a parameter that the very last step spoilt shows one look later. The loss is
    looked at after every epoch if an epoch is long (250 steps, a million entries of ``X``), the
    parameters whenever the loss would be if the optimizer returns none, and both after every
    epoch if the weighting follows the model and would be asked about numbers that are none.

    Costs one wait for the device per look.
    """

    def on_fit_start(self, state: FitState) -> None:
        """Begin with the first epoch."""
        self.wake, self._next, self._finite = 1, 1, 0
        self._most = (
            1 if state.weighting.adaptive else 2**20 // max(1, state.data.n * state.data.X.shape[1])
        )
        self._params = list(state.model.parameters())

    def on_epoch_end(self, state: FitState) -> None:
        """Look at the loss, and at the parameters if it is their turn."""
        epoch, loss = state.epoch, state.loss
        most = max(1, min(self._most, LONGEST * epoch // max(1, state.step)))
        self.wake = min(next_dense(epoch), epoch + most, state.max_epochs)
        known = [loss.detach()] if isinstance(loss, Tensor) else []  # others return anything
        if known and epoch < self._next and math.isfinite(loss.item()):
            self._finite = epoch - 1  # the loss of those parameters
            return
        if not state.weighting.adaptive:
            self._next = min(next_dense(epoch, ratio=4), state.max_epochs)
        sums = [p.detach().sum() for p in self._params] + known
        if math.isfinite(float(sum(sums[1:], sums[0]))):  # it is not if any entry is not: one wait
            self._finite = epoch
            return
        self._explain(state)

    def _explain(self, state: FitState) -> None:
        """Stop, and say what is no number."""
        watched: dict[str, Tensor] = {n: p.detach() for n, p in state.model.named_parameters()}
        if isinstance(state.loss, Tensor):
            watched["loss"] = state.loss.detach()
        name = next((n for n, t in watched.items() if not bool(torch.isfinite(t).all())), None)
        if name is None:  # only the sum overflowed
            self._finite = state.epoch
            return
        where, value = _entry(watched[name], ~torch.isfinite(watched[name]))
        what = f"{name}{where} is {value:g}"
        if name == "loss":  # it overflows first; the largest parameter tells why
            weight = watched["weight"].abs()
            where, value = _entry(watched["weight"], weight == weight.max())
            what += f" and weight{where} is {value:g}"
        when = f"after epoch {state.epoch}"
        if self._finite < state.epoch - 1:
            when = f"by epoch {state.epoch} (finite after epoch {self._finite})"
        state.request_stop(
            f"non-finite: {what} {when} with lr {learning_rate(state):g}; lower the learning rate"
        )


def _entry(tensor: Tensor, chosen: Tensor) -> tuple[str, float]:
    """Index, such as ``[0, 3]``, and value of the first chosen entry."""
    index = chosen.nonzero()[0].tolist()
    return str(index) if index else "", float(tensor[tuple(index)])
