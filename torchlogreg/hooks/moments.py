"""Moments: at which epochs something is shown, and when there is time to write it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

from torchlogreg.hooks.events import EventFile
from torchlogreg.hooks.pace import Hope, Offer, log_spaced, spread
from torchlogreg.state import FitState

MOST = 10
"""Moments of a fit by default: as many pictures as TensorBoard shows unless told otherwise."""

PROMISED = -1.0
"""The rank of what is written in any case."""


class Moment(NamedTuple):
    """What was taken at an epoch, and the suffixes of the tags it is to be written under."""

    suffixes: tuple[str, ...]
    epoch: int
    taken: Any


class Moments:
    """Takes what is to be shown at chosen epochs, and publishes it when there is time.

    By default the chosen epochs are log-spaced, at most ten with the last one. If publishing one
    would exceed the share of the time that hooks have, it waits, at the latest for the end of the
    fit: what tells most is written first then, and what there is no time for is left out.

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
    rank : float
        What tells more about a fit has a lower one.
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
        *,
        guess: float,
        rank: float = 0.0,
        always: bool = False,
    ) -> None:
        self.events, self.every, self.guess = events, every, guess
        self.rank, self.always = rank, always
        self.take, self.publish = take, publish
        self._begun = False
        self.wake: float = 0

    def start(self, state: FitState) -> None:
        """Before the first epoch, or the first after a resumption."""
        self._begun = True
        self._budget, resumed = self.events.budget, state.epoch > 0
        due = log_spaced(state.max_epochs, MOST - 1)
        self._due = [epoch for epoch in due if epoch > state.epoch][::-1]
        self._waiting: list[Moment] = []
        self._cost, self._newest = self.guess, 0
        if self.always:
            self._budget.promised += self.guess * (1 if resumed else 2)
        if self.always and not resumed:
            self._waiting.append(Moment(("/first",), 0, self.take(state)))
            self._publish_some()
        self._set_alarm(state.epoch)

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
            with self._budget:
                self._waiting.append(Moment(("",), epoch, self.take(state)))
            self._newest = epoch
            self._hope()
        asleep = 0 if self.every is not None else self._budget.sleeps(epoch)
        if asleep:
            self.wake = min(asleep, self._due[-1]) if self._due else asleep
            return
        self._publish_some()
        self._set_alarm(epoch)

    def finish(self, state: FitState) -> None:
        """The end of the fit, after which the event file has one user less."""
        try:
            if self._begun:  # else what came before has failed
                with self._budget:
                    self.events.offer(self._offers(state))
        finally:
            self._waiting = []
            self.events.close()

    def _offers(self, state: FitState) -> list[Offer]:
        """What waits, and the end of the fit unless it failed."""
        waiting = self._waiting
        if self.always:  # from now on counted as offers
            self._budget.promised -= self.guess * (2 if _is_first(waiting) else 1)
        suffixes: tuple[str, ...] = ("", "/last") if state.epoch > self._newest else ("/last",)
        if waiting and waiting[-1].epoch == state.epoch > 0:
            suffixes = (*waiting.pop().suffixes, "/last")
        later = [self.rank + 1 + 2 * turn for turn in spread(len(waiting))]
        ranks = [PROMISED, *later[1:]] if _is_first(waiting) else later
        if not state.stop_reason.startswith("error"):
            waiting.append(Moment(suffixes, state.epoch, self.take(state)))
            ranks.append(PROMISED if self.always or self.every else self.rank)
        return [
            Offer(rank, self._cost, moment.epoch, partial(self._publish, moment))
            for rank, moment in zip(ranks, waiting, strict=True)
        ]

    def _set_alarm(self, epoch: int) -> None:
        """When there is something to do again."""
        self._hope()
        if self.every is not None:
            self.wake = epoch - epoch % self.every + self.every
            return
        self.wake = self._due[-1] if self._due else math.inf
        if self._waiting:
            self.wake = min(self.wake, self._budget.ask_for_now(epoch, self._needed(), self.rank))

    def _hope(self) -> None:
        """Tell the budget what waits."""
        self._budget.hopes[self] = Hope(len(self._waiting), self._cost, self.rank)

    def _publish_some(self) -> None:
        """What has waited longest, if there is time; under ``every``, all that waits."""
        while self._waiting and (self.every or self._affordable()):
            if _is_first(self._waiting):
                self._budget.promised -= self.guess
            self._publish(self._waiting.pop(0))
            self.events.flush()
            if not self.every:
                return

    def _affordable(self) -> bool:
        """Whether there is time for what has waited longest."""
        return self._budget.affords_now(self._needed(), self.rank)

    def _needed(self) -> float:
        """Time that what has waited longest takes beyond what was set aside."""
        return 0.0 if _is_first(self._waiting) else self._cost

    def _publish(self, moment: Moment) -> None:
        begun = time.perf_counter()
        with self._budget:
            self.publish(*moment)
        self._cost = min(time.perf_counter() - begun, 2 * self._cost)  # the machine may be busy


def _is_first(waiting: list[Moment]) -> bool:
    """Whether the starting point still waits; its time was set aside."""
    return bool(waiting) and waiting[0].suffixes == ("/first",)
