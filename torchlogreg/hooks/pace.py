"""When to write: every n-th epoch if the user says so, else log-spaced and within a time budget."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

BLINK = 0.1
"""Seconds of a fit that nobody notices the end of: it shows all its last pictures."""


DENSE = 8
"""Epochs from the first on that are all looked at."""


class Budget:
    """Keeps the time of all hooks of a fit within a share of the fit's time.

    Parameters
    ----------
    share : float or None
        None: everything is affordable.
    """

    def __init__(self, share: float | None) -> None:
        self.share = share
        self.started = time.perf_counter()
        self.spent = 0.0
        self.promised = 0.0  # seconds that will be spent, whether there is time or not

    @contextmanager
    def spend(self) -> Iterator[None]:
        """Charge the time the body takes."""
        begun = time.perf_counter()
        try:
            yield
        finally:
            self.spent += time.perf_counter() - begun

    def affords(self, cost: float = 0.0) -> bool:
        """Whether ``cost`` seconds beyond the promised ones are within the share now."""
        if self.share is None:
            return True
        elapsed = time.perf_counter() - self.started
        return self.spent + self.promised + cost <= self.share * elapsed

    def affords_last(self, cost: float) -> bool:
        """The same at the end of a fit, where one that was over in a blink may take longer."""
        return self.affords(cost) or time.perf_counter() - self.started < BLINK


def log_spaced(max_epochs: int, most: int) -> list[int]:
    """At most ``most`` different epochs from 1 to ``max_epochs``, about evenly on a log scale.

    All but the last are epochs of ``next_dense``: who looks at either looks at the same ones, and
    shares what they cost.
    """
    dense = [1]
    while dense[-1] < max_epochs:
        dense.append(min(next_dense(dense[-1]), max_epochs))
    halfway = np.sqrt(np.multiply(dense[1:], dense[:-1]))
    nearest = np.searchsorted(halfway, np.geomspace(1, max_epochs, most))
    return [dense[j] for j in np.unique(nearest)]


def next_dense(epoch: int, dense: int = DENSE, ratio: float = 1.5) -> int:
    """The epoch after this one on a scale that has every epoch to ``dense``, then thins out."""
    following = dense
    while following <= epoch:
        following = max(following + 1, int(following * ratio))
    return epoch + 1 if epoch < dense else following


def check_every(every: int | None) -> None:
    """Refuse what is no distance between epochs."""
    if every is not None and every < 1:
        raise ValueError(f"every is {every}, but it counts epochs from 1")


def check_size(size: int) -> None:
    """Refuse pictures too small to read or too large to send."""
    if not 240 <= size <= 2000:
        raise ValueError(f"size is {size}, but pictures are 240 to 2000 pixels wide")
