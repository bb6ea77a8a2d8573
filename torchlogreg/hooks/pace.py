"""When to write: every n-th epoch if the user says so, else log-spaced and within a time budget."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

GRACE = 0.001
"""Seconds every hook may take beyond its share."""


class Budget:
    """Keeps the time a hook takes within a share of the fit's time.

    Parameters
    ----------
    share : float or None
        None: everything is affordable.
    started : float
        ``time.perf_counter()`` at the start of the fit.
    """

    def __init__(self, share: float | None, started: float) -> None:
        self.share = share
        self.started = started
        self.spent = 0.0

    @contextmanager
    def spend(self) -> Iterator[None]:
        """Charge the time the body takes."""
        begun = time.perf_counter()
        try:
            yield
        finally:
            self.spent += time.perf_counter() - begun

    def affords(self, cost: float = 0.0) -> bool:
        """Whether ``cost`` more seconds are within the share (or the grace) now."""
        if self.share is None:
            return True
        elapsed = time.perf_counter() - self.started
        return self.spent + cost <= max(GRACE, self.share * elapsed)


def log_spaced(max_epochs: int, most: int) -> list[int]:
    """At most ``most`` different epochs from 1 to ``max_epochs``, evenly spaced on a log scale."""
    spaced = np.unique(np.rint(np.geomspace(1, max_epochs, most)).astype(int))
    return [int(epoch) for epoch in spaced]


def next_dense(epoch: int, dense: int = 12, ratio: float = 1.3) -> int:
    """The epoch after this one on a scale that has every epoch to ``dense``, then thins out."""
    return max(epoch + 1, int(epoch * ratio)) if epoch >= dense else epoch + 1


def check_every(every: int | None) -> None:
    """Refuse what is no distance between epochs."""
    if every is not None and every < 1:
        raise ValueError(f"every is {every}, but it counts epochs from 1")
