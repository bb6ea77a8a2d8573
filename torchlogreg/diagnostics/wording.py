"""Names of columns: checked, and as findings write them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def label(column: int, names: Sequence[str] | None) -> str:
    """``'age'``, or ``column 3`` for columns without names."""
    return f"column {column}" if names is None else repr(str(names[column]))


def listed(columns: Sequence[int], names: Sequence[str] | None, limit: int = 10) -> str:
    """The first ``limit`` columns, and how many more there are."""
    named = [label(j, names) for j in columns]
    more = f"{len(named) - limit} more" if len(named) > limit else ""
    return " and ".join(filter(None, (", ".join(named[:limit]), more)))


def names_of(
    X: Any, feature_names: Sequence[str] | None, n_features: int
) -> tuple[str, ...] | None:
    """The names given, else a frame's, else None.

    Raises
    ------
    ValueError
        If they are not as many as the columns.
    """
    if feature_names is None:
        feature_names = getattr(X, "columns", None)
    if feature_names is None:
        return None
    return checked_names(feature_names, n_features, "feature_names", "columns")


def checked_names(names: Sequence[str], n: int, what: str, of: str) -> tuple[str, ...]:
    """As texts, ``n`` of them.

    Parameters
    ----------
    names : sequence of str
    n : int
    what, of : str
        The argument's name, and what has the names.

    Raises
    ------
    ValueError
        If they are something else.
    """
    if isinstance(names, str) or not hasattr(names, "__len__") or len(names) != n:
        raise ValueError(f"{what} is {names!r}, but one name for each of the {n} {of} is needed")
    return tuple(str(name) for name in names)
