"""Checkpoint: a fit that is killed goes on where it was."""

from __future__ import annotations

import os
import signal
import threading
import time
import warnings
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from torchlogreg import distributed
from torchlogreg.checkpoints.captured import capture
from torchlogreg.checkpoints.file import checkpoints, own_folder, path_of, sweep, write
from torchlogreg.checkpoints.resuming import CheckpointWarning
from torchlogreg.state import FitState, Hook

SHARE = 20
"""Saving that took t seconds is followed by SHARE * t of training: at most 5 % of the time."""


class Checkpoint(Hook):
    """Saves the whole fit, so that ``fit(..., resume=folder)`` continues it to the same bits.

    A file holds the model, the optimizer and all that it remembers, the scheduler, epoch and step,
    the state of the generator, adaptive sample weights and what the weighting remembers, the
    figures of the last epoch, and what other hooks remember, such as the history of ``Recorder``.
    It does not hold the rows: pass the same ones, and the same settings; others are refused.

    1. At the end of an epoch, if it is its turn, and of the last one.
    2. Written beside the others under another name, flushed to the disk, then renamed: a power cut
       or a kill at any moment leaves the last one whole.
    3. The oldest are removed, so that ``keep`` are left.

    Files are safetensors with JSON and a checksum: reading one runs no code, and a damaged one is
    passed over for the one before, with a warning. Place this hook after those that can stop a fit.

    The first Ctrl-C (or SIGTERM, where it means the same) ends the fit after the running epoch,
    which is saved; a second one ends it at once, with the last checkpoint that there is.

    Parameters
    ----------
    folder : path
        Of this run alone; created if missing. On several ranks each has a folder in it.
    every : int, optional
        Epochs from one checkpoint to the next, ``>= 1``. Default: as often as saving takes at most
        a twentieth of the time.
    keep : int
        Files to keep, ``>= 1``; from two on, a damaged one costs an epoch, not the run.

    Raises
    ------
    ValueError
        If ``every`` or ``keep`` is not positive.
    OSError
        If the folder cannot be made.
    FileExistsError
        At the start of a fit that is not resumed, if there are checkpoints already.

    Warns
    -----
    CheckpointWarning
        If a file cannot be written, as on a full disk: the fit goes on, and the files that there
        are stay. Once, until one can be written again.
    """

    def __init__(
        self, folder: str | os.PathLike[str], *, every: int | None = None, keep: int = 3
    ) -> None:
        if every is not None and every < 1:
            raise ValueError(f"every is {every}, but it counts epochs from 1")
        if keep < 1:
            raise ValueError(f"keep is {keep}, but at least one file is needed to go on from")
        import safetensors.torch  # noqa: F401  # now, not when the clock of the fit runs

        self.folder = Path(folder)
        self.every = every
        self.keep = keep
        self._previous: dict[signal.Signals, Any] = {}
        self.folder.mkdir(parents=True, exist_ok=True)

    def on_fit_start(self, state: FitState) -> None:
        """Look whether the folder is free; take over Ctrl-C."""
        self._own = own_folder(self.folder)
        self._own.mkdir(parents=True, exist_ok=True)
        found = checkpoints(self._own)
        if found and state.epoch == 0:
            raise FileExistsError(
                f"{self.folder} holds the checkpoints of an earlier run; pass "
                f"resume={str(self.folder)!r} to go on from them, or choose another folder"
            )
        sweep(self._own, after=state.epoch)  # later ones are not readable, or not on every rank
        self._thin_out(state.epoch)  # a kill may have come between a file's name and this
        self._asked, self._failing, self._due = False, False, 0.0
        self._take_over()

    def on_epoch_end(self, state: FitState) -> None:
        """Save, if it is time to."""
        if distributed.all_max(torch.tensor(int(self._asked))):
            state.request_stop("interrupted")
        state.whole.agree()  # what one rank asked for has ended the fit in the files of all
        if self._is_time(state):
            begun = time.perf_counter()
            self._save(state)
            now = time.perf_counter()
            self._due = now + SHARE * (now - begun)

    def on_fit_end(self, state: FitState) -> None:
        """Give Ctrl-C back."""
        while self._previous:
            number, handler = self._previous.popitem()
            signal.signal(number, handler)

    def _is_time(self, state: FitState) -> bool:
        if state.stop_reason or state.epoch == state.max_epochs:
            return True
        if self.every is not None:
            return state.epoch % self.every == 0
        return bool(distributed.all_max(torch.tensor(int(time.perf_counter() >= self._due))))

    def _save(self, state: FitState) -> None:
        """Write this epoch, on all ranks or on none; remove the oldest."""
        path = path_of(self._own, state.epoch)
        reason = self._written(path, state)
        if distributed.all_min(torch.tensor(int(not reason))):
            self._thin_out(state.epoch)
            self._failing = False
            return
        if not reason:  # the others have nothing to go on from with it
            path.unlink(missing_ok=True)
        if not self._failing:
            text = f"no checkpoint of epoch {state.epoch} in {self._own}"
            why = reason or "another rank could not write its own"
            warnings.warn(f"{text} ({why}); the fit goes on", CheckpointWarning, stacklevel=2)
        self._failing = True

    def _thin_out(self, epoch: int) -> None:
        """Remove the oldest, so that ``keep`` are left of those up to an epoch.

        What is later could not be removed at the start, and cannot be gone on from.
        """
        found = [path for at, path in checkpoints(self._own).items() if at <= epoch]
        for old in found[self.keep :]:
            with suppress(OSError):
                old.unlink()

    def _written(self, path: Path, state: FitState) -> str:
        """Write this rank's file; why it could not be, or nothing."""
        try:
            if path.exists():  # what was there was removed at the start
                return "another process writes there; give each run its own"
            write(path, capture(state.whole))
        except OSError as error:
            return error.strerror or type(error).__name__
        return ""

    def _take_over(self) -> None:
        """Where Ctrl-C or SIGTERM would raise KeyboardInterrupt, wait for the end of the epoch."""
        if threading.current_thread() is not threading.main_thread():
            return
        for number in (signal.SIGINT, signal.SIGTERM):
            if signal.getsignal(number) is signal.default_int_handler:
                self._previous[number] = signal.signal(number, self._interrupted)

    def _interrupted(self, number: int, frame: Any) -> None:
        """The first time only ask; then as ever."""
        if self._asked:
            signal.default_int_handler(number, frame)
        self._asked = True
