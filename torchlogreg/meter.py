"""How many rows a running fit has passed over, for whoever shows it: counted block by block."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar

LARGE = 2**24
"""Entries of ``X`` from which on a compiled pass counts its parts; smaller ones are soon done."""


class Meter:
    """Rows that were read since it was hung up.

    Attributes
    ----------
    rows : int
        About: threads that add at the same moment may lose a part.
    """

    def __init__(self) -> None:
        self.rows = 0


METER: ContextVar[Meter | None] = ContextVar("meter", default=None)
"""The one that hangs in this context; None, and nothing is counted."""


def passed(n: int) -> None:
    """``n`` more rows have been read."""
    meter = METER.get()
    if meter is not None:
        meter.rows += n


def counted(run: Callable[[int, int], None], n: int, p: int, parts: int) -> Callable[..., None]:
    """``run(first, last)`` of a pass over (n, p) in parts; of a large one part by part, counted."""
    meter = METER.get()
    if meter is None or n * p < LARGE:
        return run

    def each(first: int, last: int) -> None:
        for part in range(first, last):
            run(part, part + 1)
            meter.rows += n // parts

    return each
