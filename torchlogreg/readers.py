"""From a file (.csv, .parquet, .npy) to a :class:`~torchlogreg.datasets.Dataset`, or one line why.

Rows are counted from 0, without the header, in every message. pandas and pyarrow are imported when
a file asks for them.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from torchlogreg.columns import Task, encode_feature, encode_target, is_float
from torchlogreg.datasets import Dataset
from torchlogreg.headings import (
    checked_names,
    find_index,
    find_target,
    refuse_duplicates,
    refuse_small,
)
from torchlogreg.parquet import Table
from torchlogreg.untrusted import check_text, one_line, read_array, refuse_too_large, shown

SUFFIXES = (".csv", ".parquet", ".npy")

MISSING = (
    *("", "NA", "N/A", "n/a", "<NA>", "#NA", "#N/A", "#N/A N/A", "NULL", "null", "None"),
    *("NaN", "-NaN", "nan", "-nan", "1.#IND", "-1.#IND", "1.#QNAN", "-1.#QNAN"),
)
"""Fields of a .csv that stand for nothing, as pandas has them."""


def read_table(
    path: str | os.PathLike[str], target: str | int | None = None, *, task: Task | None = None
) -> Dataset:
    """Read a table and encode it as numbers.

    1. Read the file: a header and comma-separated UTF-8 text, a Parquet table, or a numeric array
       (n, p + 1), whose columns are called ``x0``, ``x1``, ...
    2. Refuse missing and infinite values. Control characters in names are written as escapes.
    3. Target: text, categories, booleans and integers with at most 20 distinct values are classes,
       coded 0 ... K - 1 in sorted order (in their own, and ``ordered``, for an ordered pandas
       Categorical); other numbers are a numeric response. An array has one dtype for all columns,
       so there whole numbers stored as floats count as integers.
    4. Features: numbers as they are, booleans as 0 and 1, text and categories as indicators
       ``column=level`` of all levels that occur but the first.

    Parameters
    ----------
    path : str or path
        Ends in .csv, .parquet or .npy.
    target : str or int, optional
        Column to predict. For .npy an index, by default the last; required otherwise.
    task : {"classes", "number"}, optional
        Overrides step 3.

    Returns
    -------
    Dataset

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ImportError
        If a .parquet file is read without pyarrow.
    ValueError
        If the file is not such a table, in one line that names the column and the row.
    """
    path = Path(path)
    if task not in (None, "classes", "number"):
        raise ValueError(f"task is {task!r}, but it is 'classes', 'number' or None")
    _check_file(path)
    try:
        if path.suffix.lower() == ".npy":
            return _read_npy(path, target, task)
        frame = _read_csv(path) if path.suffix.lower() == ".csv" else Table(path).frame()
        return _encoded(path, frame, target, task)
    except MemoryError:
        raise ValueError(f"{path} does not fit into memory; take fewer rows or columns") from None


def _check_file(path: Path) -> None:
    """An ordinary file of a known kind: a pipe would be waited for, and can be read once."""
    if path.is_dir():
        raise ValueError(f"{path} is a directory; name one {', '.join(SUFFIXES)} file in it")
    if not path.exists():
        raise FileNotFoundError(f"there is no file {path}; check the path")
    if not path.is_file():
        raise ValueError(f"{path} is no ordinary file; name one that can be read twice")
    if path.suffix.lower() not in SUFFIXES:
        raise ValueError(f"{path} ends in {path.suffix!r}, but {', '.join(SUFFIXES)} can be read")


def _encoded(path: Path, frame: Any, target: str | int | None, task: Task | None) -> Dataset:
    """Steps 2 to 4 for a frame."""
    refuse_small(path, len(frame), frame.columns)
    wanted = find_target(path, list(frame.columns), target)
    _refuse_missing(frame, path)  # 2
    y, class_names, ordered = encode_target(frame[wanted], task)  # 3
    blocks: list[Any] = []
    names: list[str] = []
    for name in frame.columns.drop(wanted):  # 4
        block, own = encode_feature(frame[name])
        blocks.append(block)
        names += own
        refuse_too_large(path, 8 * len(y) * len(names), f"indicators of {shown(name)} and others")
    if not names:
        raise ValueError(f"{path}: every column but {wanted!r} has a single level; add a feature")
    refuse_duplicates(path, names)
    X = np.column_stack(blocks)
    return Dataset(path.stem, X, y, tuple(names), class_names, ordered, str(path), wanted)


def _read_csv(path: Path) -> Any:
    import pandas as pd

    n_lines, n_columns = check_text(path)
    size = max(8 * n_lines * n_columns, path.stat().st_size)
    refuse_too_large(path, size, f"{n_lines} rows of {n_columns} columns")
    try:
        # pandas renames repeated columns, so the header is looked at as it stands.
        as_is = {"header": None, "nrows": 1, "dtype": str, "keep_default_na": False}
        header = pd.read_csv(path, skipinitialspace=True, **as_is).iloc[0]
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)  # rows longer than the header
            frame = pd.read_csv(path, index_col=False, low_memory=False, skipinitialspace=True)
    except pd.errors.EmptyDataError:
        raise ValueError(f"{path} is empty; a header and rows are needed") from None
    except (pd.errors.ParserError, pd.errors.ParserWarning) as error:
        raise ValueError(f"{path} is no regular table: {one_line(error)}") from None
    named(path, header)
    frame.columns = named(path, frame.columns)
    for name in frame.columns[[not pd.api.types.is_numeric_dtype(kind) for kind in frame.dtypes]]:
        # Beside text and an integer of 20 digits, pandas leaves "NA" and the like as they are.
        frame[name] = frame[name].mask(frame[name].isin(MISSING))
    return frame


def named(path: Path, header: Iterable[str]) -> list[str]:
    """Printable names, one for each column of a .csv.

    Raises
    ------
    ValueError
        If one is empty, too long, or there twice.
    """
    names = checked_names(path, header)
    if "" in names:
        raise ValueError(
            f"{path}: column {names.index('')} has no name; name it, or remove it if it only "
            "numbers rows"
        )
    return names


def _read_npy(path: Path, target: str | int | None, task: Task | None) -> Dataset:
    """An array as a whole, without a frame: it may have millions of columns."""
    import pandas as pd

    table = read_array(path)
    if len(table) == 0:  # before a name is made for each of what may be a billion columns
        refuse_small(path, 0, ())
    names = [f"x{j}" for j in range(table.shape[1])]
    refuse_small(path, len(table), names)
    index = find_index(path, names, target)
    finite = np.isfinite(table)
    if not finite.all():
        wrong = np.flatnonzero(~finite.all(axis=0))
        _refuse_columns([(names[j], int(finite[:, j].argmin())) for j in wrong], path)
    response = pd.Series(table[:, index], name=names[index])
    y, class_names, ordered = encode_target(response, task, whole_floats=True)
    X = np.delete(table, index, axis=1).astype(np.float64, copy=False)
    features = (*names[:index], *names[index + 1 :])
    return Dataset(path.stem, X, y, features, class_names, ordered, str(path), names[index])


def _refuse_missing(frame: Any, path: Path) -> None:
    """No NaN, None, NaT or empty field; no infinity."""
    found = []
    for name in frame.columns:
        wrong = frame[name].isna().to_numpy()
        if is_float(frame[name]) and not wrong.any():
            wrong = np.isinf(frame[name].to_numpy(dtype=np.float64))
        if wrong.any():
            found.append((name, int(wrong.argmax())))
    if found:
        _refuse_columns(found, path)


def _refuse_columns(found: list[tuple[str, int]], path: Path) -> NoReturn:
    """Name the columns that have missing or infinite values, and the first such row of each."""
    columns = ", ".join(f"{shown(name)} (first in row {row})" for name, row in found[:5])
    more = f" and {len(found) - 5} more columns" if len(found) > 5 else ""
    raise ValueError(
        f"{path} has missing or infinite values in {columns}{more}; remove those rows or fill them "
        "in"
    )
