"""Columns and parameters that a caller names: found, or refused in words."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any


def places_of(wanted: Sequence[str | int], names: Sequence[str], what: str) -> list[int]:
    """Names or places, as places.

    Parameters
    ----------
    wanted : sequence of str or int
        A place may be negative, as in a list.
    names : sequence of str
    what : str
        What the names are of, for the error: "column", "parameter".

    Raises
    ------
    ValueError
        For a text instead of a list, and for what no name or place is.
    """
    if isinstance(wanted, str | int) or not hasattr(wanted, "__iter__"):
        raise ValueError(f"the {what}s are {wanted!r}; give a list of them, [{wanted!r}]")
    return [_place(entry, names, what) for entry in wanted]


def refuse_other_columns(X: Any, names: Sequence[str], what: str) -> None:
    """Refuse a frame that has columns of these names, but others too, or in another order.

    Numbers are read by place, so that it would give wrong answers without a word. A frame that
    shares no name is let pass: the model may have been described from an array, or renamed.

    Raises
    ------
    ValueError
    """
    found = [str(column) for column in X.columns] if hasattr(X, "columns") else []
    if found == list(names) or not set(found) & set(names):
        return
    missing = [name for name in names if name not in found]
    if missing:
        raise ValueError(
            f"{what} has no column {missing[0]!r}, which the model was fitted to, but "
            f"{_some(found)}; give the columns {_some(names)}"
        )
    raise ValueError(
        f"{what} has the columns {_some(found)}, but the model was fitted to {_some(names)}; give "
        "these, in this order"
    )


def _place(entry: Any, names: Sequence[str], what: str) -> int:
    if isinstance(entry, str):
        if list(names).count(entry) == 1:
            return list(names).index(entry)
        if entry in names:
            raise ValueError(f"more than one {what} is called {entry!r}; say which by its place")
        raise ValueError(f"no {what} is called {entry!r}; they are {_some(names)}")
    try:
        place = operator.index(entry)
    except TypeError:
        raise ValueError(f"{entry!r} is neither the name nor the place of a {what}") from None
    if not -len(names) <= place < len(names):
        raise ValueError(f"{what} {place} does not exist; there are {len(names)}, from 0 on")
    return place % len(names)


def _some(names: Sequence[str]) -> str:
    """The first names."""
    return ", ".join(names[:20]) + (", ..." if len(names) > 20 else "")
