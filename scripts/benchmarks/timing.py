"""Summaries of timings whose contenders took turns: a noisy machine is noisy for all of them."""

from __future__ import annotations

import statistics
from typing import NamedTuple


class Times(NamedTuple):
    """Seconds of a contender: median, least and most."""

    median: float
    least: float
    most: float


def summary(seconds: list[float]) -> Times:
    """Median, minimum, maximum."""
    return Times(statistics.median(seconds), min(seconds), max(seconds))


def ratios(numerator: list[float], denominator: list[float]) -> Times:
    """Round by round, so that slow rounds cancel."""
    return summary([a / b for a, b in zip(numerator, denominator, strict=True)])
