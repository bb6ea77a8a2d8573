"""When to write: every n-th epoch if the user says so, else log-spaced and within a time budget."""

from __future__ import annotations

import time
from bisect import bisect_right
from collections.abc import Callable, Iterable
from functools import cache, lru_cache
from typing import NamedTuple

import numpy as np

BLINK, BRIEF = 0.03, 500
"""Seconds and epochs of a fit that nobody notices the end of: it shows all its pictures."""

PATIENCE = 0.5
"""Seconds of a fit before its first pictures are written."""

DENSE = 8
"""Epochs from the first on that are all looked at."""


class Offer(NamedTuple):
    """Something that could be written at the end of a fit, if there is time."""

    rank: float  # what tells more has a lower one; below zero: written in any case
    cost: float  # seconds
    epoch: int
    write: Callable[[], None]


class Hope(NamedTuple):
    """What waits for time to be written."""

    waiting: int
    cost: float  # of each, seconds
    rank: float = 0.0  # what tells more has a lower one


class Budget:
    """Keeps the time of all hooks of a fit within a share of the fit's time.

    ``with budget:`` charges the time that its body takes.

    Parameters
    ----------
    share : float or None
        None: everything is affordable.
    """

    def __init__(self, share: float | None) -> None:
        self.share = share
        self.started = time.perf_counter()
        self.spent = 0.0
        self._depth, self._begun = 0, 0.0
        self.hopes: dict[object, Hope] = {}  # by who waits
        self._asked, self._answer = -1, 0
        self.promised = 0.0  # seconds that will be spent, whether there is time or not

    def __enter__(self) -> None:
        """Begin to charge time, until the outermost ``with`` ends."""
        self._depth += 1
        if self._depth == 1:
            self._begun = time.perf_counter()

    def __exit__(self, *exception: object) -> None:
        """Charge the time since."""
        self._depth -= 1
        if not self._depth:
            self.spent += time.perf_counter() - self._begun

    def affords(self, cost: float = 0.0) -> bool:
        """Whether ``cost`` seconds beyond the promised ones are within the share now."""
        if self.share is None:
            return True
        elapsed = time.perf_counter() - self.started
        return self.spent + self.promised + cost <= self.share * elapsed

    def sleeps(self, epoch: int) -> int:
        """The epoch to wake at in the first half second, in which no picture is written; else 0.

        Worked out once an epoch, for all hooks.
        """
        if epoch == self._asked:
            return self._answer
        self._asked, self._answer = epoch, 0
        elapsed = time.perf_counter() - self.started
        if self.share is not None and elapsed < PATIENCE:
            wait = (PATIENCE - elapsed) * epoch / elapsed if epoch >= DENSE else 0.0
            self._answer = min(epoch + 1 + int(wait), next_dense(epoch))
        return self._answer

    def affords_more(self) -> bool:
        """Whether there is time left when all that waits has been written."""
        return self.affords(self.hoped)

    def affords_now(self, cost: float, rank: float = 0.0) -> bool:
        """Whether there is time for a picture while the fit runs, and for what goes before it.

        That is the last ones, and what waits and tells more. Not in the fit's first half second,
        which is over before anyone looks: at the end it is known what tells most.
        """
        early = self.share is not None and time.perf_counter() - self.started < PATIENCE
        return not early and self.affords(cost + self._before(rank))

    def _before(self, rank: float) -> float:
        """Seconds for the last pictures, and for what waits and has a lower rank."""
        return sum(
            (1 + hope.waiting * (hope.rank < rank)) * hope.cost for hope in self.hopes.values()
        )

    @property
    def hoped(self) -> float:
        """Seconds that all takes that waits, and the last pictures."""
        return sum((1 + hope.waiting) * hope.cost for hope in self.hopes.values())

    def ask_for_now(self, epoch: int, cost: float, rank: float = 0.0) -> int:
        """When ``affords_now`` may be true."""
        return self.sleeps(epoch) or self.ask_again(epoch, cost + self._before(rank))

    def ask_for_more(self, epoch: int) -> int:
        """When ``affords_more`` may be true."""
        return epoch + 1 if epoch < DENSE else self.ask_again(epoch, self.hoped)

    def ask_again(self, epoch: int, cost: float = 0.0) -> int:
        """When there may be time, if epochs stay as fast as they are.

        At the latest at the next epoch that curves note anyway. A loop that is left and taken up
        again is slower for some steps: hooks of a fast fit had better look at the same epochs.
        """
        if self.share is None:
            return epoch + 1
        elapsed = time.perf_counter() - self.started
        missing = (self.spent + self.promised + cost) / self.share - elapsed
        wait = max(0.0, missing) * max(epoch, 1) / elapsed
        return min(epoch + 1 + int(wait), next_dense(epoch)) if wait >= 1 else epoch + 1

    def choose(self, offers: Iterable[Offer]) -> list[Offer]:
        """The offers to write at the end of a fit, by epoch.

        Those that tell most, as long as there is time; all of a brief fit that was over in a blink.
        """
        offers = sorted(offers, key=lambda offer: offer.rank)
        brief = max((offer.epoch for offer in offers), default=0) <= BRIEF
        in_a_blink = brief and time.perf_counter() - self.started < BLINK
        chosen, cost = [], 0.0
        for offer in offers:
            if offer.rank < 0 or in_a_blink or self.affords(cost + offer.cost):
                chosen.append(offer)
                cost += offer.cost
        return sorted(chosen, key=lambda offer: offer.epoch)


@lru_cache(maxsize=64)
def log_spaced(max_epochs: int, most: int) -> tuple[int, ...]:
    """At most ``most`` different epochs from 1 to ``max_epochs``, about evenly on a log scale.

    All but the last are epochs of ``next_dense``: who looks at either looks at the same ones, and
    shares what they cost.
    """
    dense = [1]
    while dense[-1] < max_epochs:
        dense.append(min(next_dense(dense[-1]), max_epochs))
    halfway = np.sqrt(np.multiply(dense[1:], dense[:-1]))
    nearest = np.searchsorted(halfway, np.geomspace(1, max_epochs, most))
    return tuple(dense[j] for j in np.unique(nearest))


def next_dense(epoch: int, dense: int = DENSE, ratio: float = 2.0) -> int:
    """The epoch after this one on a scale that has every epoch to ``dense``, then thins out."""
    scale = _scale(dense, ratio)
    return scale[bisect_right(scale, epoch)]


@cache
def _scale(dense: int, ratio: float) -> list[int]:
    """All epochs of a scale, beyond any that a fit can reach."""
    scale = list(range(dense + 1))
    while scale[-1] < 2**62:
        scale.append(max(scale[-1] + 1, int(scale[-1] * ratio)))
    return scale


def spread(n: int) -> list[float]:
    """For each of ``n`` in a row, when it is its turn, in (0, 1): any first ones lie far apart.

    Halves, then quarters, then eighths: the bits of the place reversed (van der Corput, 1935).
    """
    bits = n.bit_length()
    return [int(f"{place:0{bits}b}"[::-1], 2) / 2**bits for place in range(1, n + 1)]


def check_every(every: int | None) -> None:
    """Refuse what is no distance between epochs."""
    if every is not None and every < 1:
        raise ValueError(f"every is {every}, but it counts epochs from 1")


def check_size(size: int) -> None:
    """Refuse pictures too small to read or too large to send."""
    if not 240 <= size <= 2000:
        raise ValueError(f"size is {size}, but pictures are 240 to 2000 pixels wide")
