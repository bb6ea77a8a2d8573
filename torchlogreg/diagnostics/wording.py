"""How findings name columns."""

from __future__ import annotations

from collections.abc import Sequence


def label(column: int, names: Sequence[str] | None) -> str:
    """``'age'``, or ``column 3`` for columns without names."""
    return f"column {column}" if names is None else repr(str(names[column]))


def listed(columns: Sequence[int], names: Sequence[str] | None, limit: int = 10) -> str:
    """The first ``limit`` columns, and how many more there are."""
    named = [label(j, names) for j in columns]
    more = f"{len(named) - limit} more" if len(named) > limit else ""
    return " and ".join(filter(None, (", ".join(named[:limit]), more)))
