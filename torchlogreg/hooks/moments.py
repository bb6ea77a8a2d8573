"""Moments: at which epochs something is shown, and when there is time to write it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

from torchlogreg.hooks.events import EventFile
from torchlogreg.hooks.pace import log_spaced
from torchlogreg.state import FitState

MOST = 10
"""Moments of a fit by default: as many pictures as TensorBoard shows unless told otherwise."""


class Moments:
    """Takes what is to be shown at chosen epochs, and publishes it when there is time.

    By default the chosen epochs are log-spaced, at most ten with the last one. If publishing one
    would exceed the share of the time that hooks have, it waits; what still waits at the end of a
    fit that was too fast is left out.

    Parameters
    ----------
    events : EventFile
    every : int or None
        Epochs from one moment to the next, whatever that costs; None: see above.
    take : callable
        From the state to what ``publish`` needs; cheap, leaves tensors on their device.
    publish : callable
        Takes the suffixes of the tags to write under ("/first" for the starting point, "" for
        chosen epochs and the last, "/last"), the epoch, and what was taken.
    guess : float
        Seconds that publishing takes, until the first time shows it.
    always : bool
        Whether the first and the last look are published even if there is no time for them. Their
        time is set aside from the start, and the first waits until there is as much, or for the
        end of a short fit: two pictures in one go take less time than two apart.

    Attributes
    ----------
    wake : float
        The next epoch at which ``after_epoch`` has something to do.
    """

    def __init__(
        self,
        events: EventFile,
        every: int | None,
        take: Callable[[FitState], Any],
        publish: Callable[[tuple[str, ...], int, Any], None],
        guess: float,
        always: bool = False,
    ) -> None:
        self.events, self.every, self.guess, self.always = events, every, guess, always
        self.take, self.publish = take, publish

    def start(self, state: FitState) -> None:
        """Before the first epoch."""
        self._budget = self.events.budget
        self._due = log_spaced(state.max_epochs, MOST - 1)[::-1]
        self._waiting: list[tuple[str, int, Any]] = []
        self._newest, self._cost, self._ask = 0, self.guess, 0
        if self.always:
            self._budget.promised += 2 * self.guess
            with self._budget.spend():
                self._waiting.append(("/first", 0, self.take(state)))
            self._publish_some()
        self._set_alarm(0)

    def after_epoch(self, state: FitState) -> None:
        """Take a look if it is this epoch's turn; publish what waits if there is time."""
        epoch = state.epoch
        if self.every is not None:
            due = epoch % self.every == 0
        else:
            due = bool(self._due) and epoch >= self._due[-1]
        if due and epoch < state.max_epochs:  # the last epoch has its own moment
            if self.every is None:
                self._due.pop()
            with self._budget.spend():
                self._waiting.append(("", epoch, self.take(state)))
        if self._waiting and epoch >= self._ask:
            self._publish_some()
            self._ask = epoch + 1 + epoch // 20  # asking a thousand times has its price too
        self._set_alarm(epoch)

    def last(self, state: FitState) -> None:
        """Publish what waits as far as there is time, then the end of the fit."""
        failed = state.stop_reason.startswith("error")
        limited = self.every is None
        while self._waiting:
            if limited and not self._promised() and not self._budget.affords_last(2 * self._cost):
                break
            self._oldest()
        self._waiting = []
        if self.always:
            self._budget.promised -= self.guess
        if failed or (limited and not self.always and not self._budget.affords_last(self._cost)):
            return
        with self._budget.spend():
            suffixes = ("", "/last") if state.epoch > self._newest else ("/last",)
            self._publish(suffixes, state.epoch, self.take(state))

    def finish(self, state: FitState) -> None:
        """The end of the fit, after which the event file has one user less."""
        try:
            self.last(state)
        finally:
            self.events.close()

    def _set_alarm(self, epoch: int) -> None:
        """When there is something to do again."""
        ask = max(self._ask, epoch + 1) if self._waiting else math.inf
        if self.every is not None:
            self.wake = min(ask, epoch - epoch % self.every + self.every)
        else:
            self.wake = min(ask, self._due[-1] if self._due else math.inf)

    def _promised(self) -> bool:
        """Whether the time for what has waited longest was set aside."""
        return self._waiting[0][0] == "/first"

    def _publish_some(self) -> None:
        """What has waited longest, if there is time; under ``every``, all that waits."""
        if self.every is None:
            if self._budget.affords(0.0 if self._promised() else self._cost):
                self._oldest()
            return
        while self._waiting:
            self._oldest()

    def _oldest(self) -> None:
        """What has waited longest."""
        if self._promised():
            self._budget.promised -= self.guess
        with self._budget.spend():
            suffix, epoch, taken = self._waiting.pop(0)
            self._publish((suffix,), epoch, taken)

    def _publish(self, suffixes: tuple[str, ...], epoch: int, taken: Any) -> None:
        begun = time.perf_counter()
        self.publish(suffixes, epoch, taken)
        self.events.flush()
        self._newest = epoch
        self._cost = time.perf_counter() - begun
