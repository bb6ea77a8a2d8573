"""Columns of a frame as numbers: which kind each one is, targets and features encoded.

Columns come without missing values. Each is a pandas Series; pandas is imported when one is here.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from torchlogreg.untrusted import LONGEST, printable, shown

Task = Literal["classes", "number"]
Kind = Literal["bool", "category", "date", "float", "integer", "text"]

FEW = 20  # integers with at most so many distinct values are read as classes
MANY, HUGE = 50, 1000  # levels above which text may be, or is, too fine to be one-hot
DATE = r"\s*(?:\d{4}[-/.]\d{1,2}[-/.]\d{1,2}|\d{1,2}[-/.]\d{1,2}[-/.]\d{4})(?:[ T].*)?"

# What pandas finds inside columns of Python objects; anything else there is an error.
_OBJECTS: dict[str, Kind] = {
    "boolean": "bool",
    "date": "date",
    "datetime": "date",
    "datetime64": "date",
    "decimal": "float",
    "floating": "float",
    "integer": "integer",
    "mixed-integer": "text",
    "mixed-integer-float": "float",
    "period": "date",
    "string": "text",
    "time": "date",
    "timedelta": "date",
    "timedelta64": "date",
}


def encode_target(
    column: Any, task: Task | None = None, *, whole_floats: bool = False
) -> tuple[NDArray[Any], tuple[str, ...], bool]:
    """The response, its class names, and whether they are ordered.

    Parameters
    ----------
    column : Series, length n
    task : {"classes", "number"}, optional
        Default: classes for text, categories, booleans, and integers with few distinct values.
    whole_floats : bool
        Whether floats without a fraction count as integers.

    Returns
    -------
    y : ndarray, shape (n,)
        int64 codes, or float64.
    class_names : tuple of str
        Empty for a number.
    ordered : bool

    Raises
    ------
    ValueError
        If the column cannot be such a response; names it, and the first row in the way.
    """
    kind = _kind(column)
    if kind == "float" and whole_floats and (column == column.round()).all():
        kind = "integer"
    few = kind == "integer" and column.nunique() <= FEW
    if task == "number" or (task is None and not few and kind in ("integer", "float")):
        return _numbers(column), (), False
    codes, levels = _levels(column, kind)
    if _too_fine(len(levels), len(column)):
        raise ValueError(
            f"column {column.name!r} has {len(levels)} distinct values in {len(column)} rows, "
            "which are no classes; choose another target, or task='number' for numbers"
        )
    if len(levels) < 2:
        raise ValueError(
            f"column {column.name!r} is {shown(levels[0])} in all {len(column)} rows; at least two "
            "classes are needed to tell them apart"
        )
    ordered = kind == "category" and bool(column.cat.ordered)
    return codes, levels, ordered


def encode_feature(column: Any) -> tuple[NDArray[np.float64], list[str]]:
    """A feature as columns of numbers: indicators ``column=level`` for text and categories.

    Parameters
    ----------
    column : Series, length n

    Returns
    -------
    block : ndarray, shape (n, m), float64
        m = 1, or for text and categories the number of levels less one.
    names : list of str, length m

    Raises
    ------
    ValueError
        If the column holds dates, objects, or more levels than indicators are good for.
    """
    kind = _kind(column)
    if kind not in ("text", "category"):
        block = _floats(column)
        if not np.isfinite(block).all():
            row = int(np.isfinite(block).argmin())
            raise ValueError(
                f"column {column.name!r} has {shown(column.iloc[row])} in row {row}, which is "
                "beyond the numbers of float64; take its logarithm, or drop the column"
            )
        return block[:, None], [column.name]
    codes, levels = _levels(column, kind)
    if _too_fine(len(levels), len(column)):
        raise ValueError(_too_fine_message(column, len(levels)))
    indicators = codes[:, None] == np.arange(1, len(levels))
    return indicators.astype(np.float64), [f"{column.name}={level}" for level in levels[1:]]


def is_float(column: Any) -> bool:
    """Whether a column is of a floating dtype."""
    import pandas as pd

    return bool(pd.api.types.is_float_dtype(column.dtype))


def _kind(column: Any) -> Kind:
    """What a column without missing values holds; an error if a model cannot use it."""
    import pandas as pd

    types = pd.api.types
    category = isinstance(column.dtype, pd.CategoricalDtype)
    values = column.cat.categories if category else column
    if not category:
        if types.is_bool_dtype(column.dtype):
            return "bool"
        if types.is_integer_dtype(column.dtype):
            return "integer"
        if is_float(column):
            return "float"
    inferred = types.infer_dtype(values)
    kind = _OBJECTS.get(inferred)
    if kind == "text" and values.astype(str).str.fullmatch(DATE).all():
        kind = "date"
    if kind == "date":
        raise ValueError(
            f"column {column.name!r} holds dates ({printable(str(column.iloc[0]))[:40]} in row 0), "
            "which are no numbers; turn them into days since a date, or drop them"
        )
    if category:
        return "category"
    if kind is None:
        raise ValueError(
            f"column {column.name!r} holds {inferred} objects ({type(column.iloc[0]).__name__} in "
            "row 0), but numbers, text or booleans are needed; convert or drop it"
        )
    return kind


def _numbers(column: Any) -> NDArray[np.float64]:
    """A target as float64, or an error that names the first row that is no number."""
    import pandas as pd

    numbers = _floats(pd.to_numeric(column.astype(object), errors="coerce"))
    wrong = ~np.isfinite(numbers)
    if wrong.any():
        row = int(wrong.argmax())
        raise ValueError(
            f"column {column.name!r} has {shown(column.iloc[row])} in row {row}, but task='number' "
            "needs numbers; use task='classes'"
        )
    return numbers


def _floats(column: Any) -> NDArray[np.float64]:
    """A column of numbers as float64, infinite where an integer or decimal is too large for it."""
    try:
        numbers: NDArray[np.float64] = column.to_numpy(dtype=np.float64)
        return numbers
    except OverflowError:
        return np.array([_float(value) for value in column])


def _float(value: Any) -> float:
    try:
        return float(value)
    except OverflowError:
        return float("inf")


def _levels(column: Any, kind: Kind) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """Codes (n,) and the names of the levels that occur: in their own order, or sorted."""
    import pandas as pd

    if kind == "category":
        column = column.cat.remove_unused_categories()
        codes, values = column.cat.codes.to_numpy(), column.cat.categories
    else:
        if kind == "text":
            column = column.astype(str)  # a column of objects may mix numbers and text
        codes, values = pd.factorize(column, sort=True)
    names = tuple(printable(_level_name(value)) for value in values)
    longest = max(map(len, names), default=0)
    if longest > LONGEST:
        raise ValueError(
            f"column {column.name!r} holds texts of up to {longest} characters, which are no "
            "categories; drop it, or group its levels"
        )
    return codes.astype(np.int64), names


def _level_name(value: Any) -> str:
    """``1`` for 1.0: a class is no measurement."""
    whole = isinstance(value, float) and value.is_integer()
    return str(int(value) if whole else value)


def _too_fine(n_levels: int, n: int) -> bool:
    """Names, codes or free text rather than categories."""
    return n_levels > HUGE or (n_levels > MANY and 2 * n_levels > n)


def _too_fine_message(column: Any, n_levels: int) -> str:
    import pandas as pd

    text = f"column {column.name!r} has {n_levels} distinct texts in {len(column)} rows"
    no_number = pd.to_numeric(column.astype(object), errors="coerce").isna().to_numpy()
    if 2 * no_number.sum() < len(column):  # numbers, but for a few typing errors
        row = int(no_number.argmax())
        return f"{text}, because row {row} has {shown(column.iloc[row])}; make all of them numbers"
    return f"{text}, too many for indicators; drop it, or group its levels"
