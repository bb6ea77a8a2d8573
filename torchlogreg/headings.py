"""Names of the columns of a file: printable, each there once, and one of them the target."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from torchlogreg.untrusted import LONGEST, printable, shown


def checked_names(path: Path, names: Iterable[object]) -> list[str]:
    """Names as text, control characters in them as escapes.

    Raises
    ------
    ValueError
        If one is too long, or there twice.
    """
    checked = [printable(str(name)) for name in names]
    for j, name in enumerate(checked):
        if len(name) > LONGEST:
            raise ValueError(
                f"{path}: the name of column {j} has {len(name)} characters, more than {LONGEST}; "
                "shorten it"
            )
    refuse_duplicates(path, checked)
    return checked


def refuse_duplicates(path: Path, names: Iterable[str]) -> None:
    """Each name once."""
    repeated = [name for name, count in Counter(names).items() if count > 1]
    if repeated:
        raise ValueError(
            f"{path} has more than one column called {shown(repeated[0])}; rename them"
        )


def refuse_small(path: Path, n_rows: int, names: Sequence[str]) -> None:
    """At least one row and two columns."""
    if n_rows == 0:
        raise ValueError(f"{path} has no rows; there is nothing to fit")
    if len(names) < 2:
        raise ValueError(
            f"{path} has {len(names) or 'no'} column ({listed(names)}), but a target and a "
            "feature are needed; separate the columns of a .csv by commas"
        )


def find_target(path: Path, columns: Sequence[str], target: str | int | None) -> str:
    """The name of the target column."""
    if target is None:
        raise ValueError(f"{path}: no target is named; the columns are {listed(columns)}")
    wanted = printable(str(target))
    if wanted not in columns:
        near = difflib.get_close_matches(wanted[:LONGEST], columns, n=3, cutoff=0.5)
        hint = f"did you mean {listed(near)}?" if near else f"there are {listed(columns)}"
        raise ValueError(f"{path} has no column {shown(wanted)}; {hint}")
    return wanted


def find_index(path: Path, columns: Sequence[str], target: str | int | None) -> int:
    """A column of an array, by index (from the end if negative) or by the name made for it."""
    wanted = -1 if target is None else target
    try:
        index = columns.index(wanted) if isinstance(wanted, str) and wanted in columns else wanted
        return range(len(columns))[int(index)]
    except (ValueError, IndexError):
        raise ValueError(
            f"{path} has no column {shown(target)}; name an index from 0 to {len(columns) - 1}"
        ) from None


def listed(names: Iterable[str]) -> str:
    """At most twenty names, quoted."""
    names = [shown(name) for name in names]
    more = f" and {len(names) - 20} more" if len(names) > 20 else ""
    return ", ".join(names[:20]) + more
