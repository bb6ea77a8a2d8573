"""TensorBoardScalars: the curves of a fit, and its settings, as one TensorBoard run."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from torchlogreg.hooks.events import EventFile, event_file
from torchlogreg.hooks.hparams import settings
from torchlogreg.hooks.landscape import weights_of
from torchlogreg.hooks.pace import check_every, next_dense
from torchlogreg.hooks.recorder import learning_rate
from torchlogreg.hooks.seen import Seen, optimalities
from torchlogreg.hooks.view import labels_of
from torchlogreg.state import FitState, Hook

FLUSH_SECONDS = 2.0
"""Longest time between two transfers of finished epochs to the event file."""

FIRST_SECONDS = 0.1
"""Time until the first: a fit that is shorter writes its curves in one go."""

MOST_HELD = 2**20
"""Scores (rows times columns of ``eta``), parameters and partial derivatives that are kept of noted
epochs before they are worked out."""


class Note(NamedTuple):
    """What an epoch computed anyway, still on its device; its figures are worked out later."""

    moment: float
    seconds: float
    learning_rate: float
    seen: Seen


class TensorBoardScalars(Hook):
    """Writes a curve per tag against the epoch, and the settings as hparams.

    Tags: ``loss/weighted``, ``loss/unweighted``, ``optimality``, ``accuracy`` (classifiers),
    ``weight_norm``, ``learning_rate``, ``seconds``. Epoch 0 is the starting point, and the last
    epoch is always written. Figures stay on the device until they are written, after a tenth of
    a second and then every two: logging does not wait for the device at each epoch. TensorBoard
    smooths curves by 0.6 unless told otherwise.

    When the fit ends, also by Ctrl-C or an error (the session status then says "failure"), the
    settings are written into the same run, so that the HPARAMS page can compare runs.

    Parameters
    ----------
    log_dir : path or EventFile
        Folder of this run alone, created if missing; or the file shared with other hooks.
    every : int, optional
        Epochs from one point of a curve to the next, ``>= 1``. Default: every epoch as long as
        the hooks take at most the file's ``share`` of the time; where epochs are faster, the
        first eight, then the 16th, the 32nd and so on.
    hparams : mapping of str to str, int, float or bool, optional
        Settings of your own, added to (and overriding) what the fit knows: model, optimizer, lr,
        penalty, weighting, dtype, device, rows, epochs, steps per epoch, why it stopped.
    metrics : callable, optional
        From the final :class:`FitState` to numbers by tag, such as ``{"test/accuracy": 0.97}``;
        called once, at the end, and shown in the HPARAMS table beside the final curves.

    Raises
    ------
    ValueError
        If ``every`` is not positive, or ``hparams`` holds something else than plain values.
    OSError
        At the start of the fit, if ``log_dir`` cannot be written.
    FileExistsError
        At the start of the fit, if it holds the events of an earlier run.
    """

    def __init__(
        self,
        log_dir: str | os.PathLike[str] | EventFile,
        *,
        every: int | None = None,
        hparams: Mapping[str, Any] | None = None,
        metrics: Callable[[FitState], Mapping[str, float]] | None = None,
    ) -> None:
        check_every(every)
        for name, value in (hparams or {}).items():
            if not isinstance(value, str | int | float):
                raise ValueError(
                    f"hparams[{name!r}] is a {type(value).__name__}, but TensorBoard shows "
                    "strings and numbers; pass str(...) of it"
                )
        # Imported now, not when the clock of the fit runs: it takes a second.
        from torchlogreg.hooks.session import session

        self._summed_up = session

        self.events = event_file(log_dir)
        self.every = every
        self.hparams = dict(hparams or {})
        self.metrics = metrics
        self._open = False

    def on_fit_start(self, state: FitState) -> None:
        """Open the event file and note the starting point."""
        self.events.open(state.epoch)
        self._open = True
        self.events.at_the_end(self._session)
        self._begun = time.time()
        self._budget = self.events.budget
        self._failed = True
        self._last_epoch = -1
        self._due = time.perf_counter() + FIRST_SECONDS
        self._pending: list[Note] = []
        with self._budget:
            self._settings = settings(state) | self.hparams  # now: a scheduler will change lr
            self._own, self._model = state.own_weight, state.model
            self._labels = None if state.model.n_classes is None else labels_of(state.data.y)
            self._optimalities = optimalities(state)
            self._note(state)
        self.wake = self.every or 1

    def on_epoch_end(self, state: FitState) -> None:
        """Note this epoch if it is its turn, or if there is time to."""
        if self.every is not None:
            due = state.epoch % self.every == 0
        else:
            due = state.epoch >= next_dense(self._last_epoch) or self._budget.affords_more()
        if due:
            with self._budget:
                self._note(state)
        if self.every is not None:
            self.wake = state.epoch + self.every
        else:
            ask = self._budget.ask_for_more(state.epoch)
            self.wake = min(next_dense(self._last_epoch), ask)

    def on_fit_end(self, state: FitState) -> None:
        """Write what is left and the final metrics; the settings follow when the file closes."""
        if not self._open:  # another hook failed before this one started
            return
        self._open = False
        reason = state.stop_reason
        self._failed = reason == "interrupted" or reason.startswith("error")
        if reason.startswith("error") and state.step == 0:
            self.events.discard()  # so that a second try may use the folder
        self._settings |= {
            "steps_per_epoch": state.step // max(state.epoch, 1),
            "stop_reason": (reason or "max_epochs").partition(":")[0],
        }
        try:
            if state.epoch > self._last_epoch and not reason.startswith("error"):
                self._note(state)
            self._write()
            metrics = {} if self.metrics is None else dict(self.metrics(state))
            self.events.scalars({tag: float(x) for tag, x in metrics.items()}, state.epoch)
        finally:
            self.events.close()

    def _session(self) -> list[Any]:
        """The last summaries of the file."""
        return [self._summed_up(self._settings, self.events.tags, self._begun, self._failed)]

    def _note(self, state: FitState) -> None:
        """Keep what this epoch computed; write when it is time to."""
        seen, now = self.events.sight.of(state), time.perf_counter()
        self._pending.append(Note(time.time(), now - state.started, learning_rate(state), seen))
        self._last_epoch = state.epoch
        held = len(self._pending) * (seen.eta.numel() + 2 * seen.params.numel())
        if held > MOST_HELD or now >= self._due:
            self._write()

    def _write(self) -> None:
        """Work out the figures of all noted epochs and write them; one transfer from the device."""
        if not self._pending:
            return
        notes, self._pending = self._pending, []
        figures = self._figures(notes)
        rows = torch.stack(list(figures.values()), dim=1).tolist()
        self.events.curves(
            (*figures, "learning_rate", "seconds"),
            [
                (note.seen.epoch, note.moment, (*row, note.learning_rate, note.seconds))
                for note, row in zip(notes, rows, strict=True)
            ],
        )
        self.events.flush()
        self._due = time.perf_counter() + FLUSH_SECONDS

    def _figures(self, notes: list[Note]) -> dict[str, Tensor]:
        """By tag, a figure of each note, (m,)."""
        own, n = self._own, len(self._own)
        losses = torch.stack([note.seen.losses for note in notes])  # (m, n)
        unweighted = losses @ own / n
        weighted = unweighted
        if any(note.seen.sample_weight is not own for note in notes):
            weighted = (losses * torch.stack([note.seen.sample_weight for note in notes])).mean(1)
        params = torch.stack([note.seen.params for note in notes])
        figures = {
            "loss/weighted": weighted,
            "loss/unweighted": unweighted,
            "optimality": self._optimalities([note.seen for note in notes]),
            "weight_norm": torch.linalg.vector_norm(weights_of(self._model, params), dim=1),
        }
        if self._labels is not None:
            predicted = self._model.predict(torch.cat([note.seen.eta for note in notes]))
            right = predicted.view(len(notes), n) == self._labels
            figures["accuracy"] = right.to(own.dtype) @ own / n
        return figures
