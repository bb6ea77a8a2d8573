"""Interleaved timing: contenders take turns, so that a noisy machine is noisy for all of them."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Mapping
from typing import NamedTuple


class Times(NamedTuple):
    """Seconds of a contender: median, least and most."""

    median: float
    least: float
    most: float


def interleaved(
    contenders: Mapping[str, Callable[[], object]], *, repeats: int, warmups: int = 1
) -> dict[str, list[float]]:
    """Wall seconds of every contender in every round, in turns.

    Parameters
    ----------
    contenders : mapping of str to callable
    repeats : int
        Counted rounds.
    warmups : int
        Rounds before those.
    """
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for turn in range(warmups + repeats):
        for name, call in contenders.items():
            gc.collect()
            begun = time.perf_counter()
            call()
            if turn >= warmups:
                seconds[name].append(time.perf_counter() - begun)
    return seconds


def summary(seconds: list[float]) -> Times:
    """Median, minimum, maximum."""
    return Times(statistics.median(seconds), min(seconds), max(seconds))


def ratios(numerator: list[float], denominator: list[float]) -> Times:
    """Round by round, so that slow rounds cancel."""
    return summary([a / b for a, b in zip(numerator, denominator, strict=True)])
