"""From a file (.csv, .parquet, .npy) to a :class:`~torchlogreg.datasets.Dataset`, or one line why.

Rows are counted from 0, without the header, in every message. pandas and pyarrow are imported when
a file asks for them.
"""

from __future__ import annotations

import difflib
import os
import warnings
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from torchlogreg.columns import Task, encode_feature, encode_target, is_float
from torchlogreg.datasets import Dataset
from torchlogreg.untrusted import (
    LONGEST,
    check_text,
    one_line,
    printable,
    read_array,
    refuse_too_large,
    refuse_too_wide,
    shown,
)

SUFFIXES = (".csv", ".parquet", ".npy")


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
    try:
        if path.suffix.lower() == ".npy" and path.is_file():
            return _read_npy(path, target, task)
        return _encoded(path, _read(path), target, task)
    except MemoryError:
        raise ValueError(f"{path} does not fit into memory; take fewer rows or columns") from None


def _encoded(path: Path, frame: Any, target: str | int | None, task: Task | None) -> Dataset:
    """Steps 2 to 4 for a frame."""
    _check_columns(frame, path)
    wanted = _find_target(frame, target, path)
    _refuse_missing(frame, path)  # 2
    y, class_names, ordered = encode_target(frame[wanted], task)  # 3
    blocks = [encode_feature(frame[c]) for c in frame.columns if c != wanted]  # 4
    X = np.column_stack([block for block, _ in blocks])
    names = tuple(name for _, part in blocks for name in part)
    if not names:
        raise ValueError(f"{path}: every column but {wanted!r} has a single level; add a feature")
    _refuse_duplicates(names, path)
    return Dataset(path.stem, X, y, names, class_names, ordered, str(path), wanted)


def _read(path: Path) -> Any:
    """The file as a frame."""
    if path.is_dir():
        raise ValueError(f"{path} is a directory; name one {', '.join(SUFFIXES)} file in it")
    if not path.exists():
        raise FileNotFoundError(f"there is no file {path}; check the path")
    suffix = path.suffix.lower()
    if suffix == ".csv":
        return _read_csv(path)
    if suffix == ".parquet":
        return _read_parquet(path)
    if suffix == ".npy":
        raise ValueError(f"{path} is no ordinary file; name one that can be read twice")
    raise ValueError(f"{path} ends in {path.suffix!r}, but {', '.join(SUFFIXES)} can be read")


def _read_csv(path: Path) -> Any:
    import pandas as pd

    check_text(path)
    try:
        # pandas renames repeated columns, so the header is looked at as it stands.
        header = pd.read_csv(path, header=None, nrows=1, dtype=str, skipinitialspace=True).iloc[0]
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)  # rows longer than the header
            frame = pd.read_csv(path, index_col=False, low_memory=False, skipinitialspace=True)
    except pd.errors.EmptyDataError:
        raise ValueError(f"{path} is empty; a header and rows are needed") from None
    except (pd.errors.ParserError, pd.errors.ParserWarning) as error:
        raise ValueError(f"{path} is no regular table: {one_line(error)}") from None
    if header.isna().any():
        column = int(np.flatnonzero(header.isna())[0])
        raise ValueError(
            f"{path}: column {column} has no name; name it, or remove it if it only numbers rows"
        )
    _refuse_duplicates(header, path)
    return frame


def _read_parquet(path: Path) -> Any:
    try:
        import pyarrow as pa
    except ImportError:
        raise ImportError(
            f"reading {path} needs pyarrow; install it with: pip install 'torchlogreg[parquet]'"
        ) from None
    import pandas as pd
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            n_rows, schema = file.metadata.num_rows, file.schema_arrow
    except (pa.ArrowException, OSError, ValueError) as error:
        raise ValueError(f"{path} is no Parquet table: {one_line(error)}") from None
    refuse_too_wide(path, len(schema))
    refuse_too_large(path, 8 * n_rows * len(schema), f"{n_rows} rows of {len(schema)} columns")
    nested = [field for field in schema if pa.types.is_nested(field.type)]
    if nested:
        raise ValueError(
            f"{path}: column {shown(nested[0].name)} is nested ({shown(str(nested[0].type))}), but "
            "a column has one number or text a row; flatten it, or drop it"
        )
    try:
        return pd.read_parquet(path, engine="pyarrow")
    except MemoryError:
        raise
    except Exception as error:  # damaged pages and foreign metadata fail in pyarrow in many ways
        raise ValueError(f"{path} is no Parquet table: {one_line(error)}") from None


def _read_npy(path: Path, target: str | int | None, task: Task | None) -> Dataset:
    """An array as a whole, without a frame: it may have millions of columns."""
    import pandas as pd

    table = read_array(path)
    if len(table) == 0:  # before a name is made for each of what may be a billion columns
        _refuse_small(0, (), path)
    names = [f"x{j}" for j in range(table.shape[1])]
    _refuse_small(len(table), names, path)
    index = _find_index(names, -1 if target is None else target, path)
    finite = np.isfinite(table)
    if not finite.all():
        wrong = np.flatnonzero(~finite.all(axis=0))
        _refuse_columns([(names[j], int(finite[:, j].argmin())) for j in wrong], path)
    response = pd.Series(table[:, index], name=names[index])
    y, class_names, ordered = encode_target(response, task, whole_floats=True)
    X = np.delete(table, index, axis=1).astype(np.float64, copy=False)
    features = (*names[:index], *names[index + 1 :])
    return Dataset(path.stem, X, y, features, class_names, ordered, str(path), names[index])


def _check_columns(frame: Any, path: Path) -> None:
    """Names as text, each once; at least one row and two columns."""
    frame.columns = [printable(str(column)) for column in frame.columns]
    for j, name in enumerate(frame.columns):
        if len(name) > LONGEST:
            raise ValueError(
                f"{path}: the name of column {j} has {len(name)} characters, more than {LONGEST}; "
                "shorten it"
            )
    _refuse_duplicates(frame.columns, path)
    _refuse_small(len(frame), frame.columns, path)


def _refuse_small(n_rows: int, names: Sequence[str], path: Path) -> None:
    """At least one row and two columns."""
    if n_rows == 0:
        raise ValueError(f"{path} has no rows; there is nothing to fit")
    if len(names) < 2:
        raise ValueError(
            f"{path} has {len(names)} column ({_listed(names)}), but a target and a "
            "feature are needed; separate the columns of a .csv by commas"
        )


def _refuse_duplicates(names: Iterable[str], path: Path) -> None:
    repeated = [name for name, count in Counter(names).items() if count > 1]
    if repeated:
        raise ValueError(
            f"{path} has more than one column called {shown(repeated[0])}; rename them"
        )


def _find_target(frame: Any, target: str | int | None, path: Path) -> str:
    """The name of the target column."""
    columns = list(frame.columns)
    if target is None:
        raise ValueError(f"{path}: no target is named; the columns are {_listed(columns)}")
    wanted = printable(str(target))
    if wanted not in columns:
        near = difflib.get_close_matches(wanted[:LONGEST], columns, n=3, cutoff=0.5)
        hint = f"did you mean {_listed(near)}?" if near else f"there are {_listed(columns)}"
        raise ValueError(f"{path} has no column {shown(wanted)}; {hint}")
    return wanted


def _find_index(columns: list[str], target: str | int, path: Path) -> int:
    """A column of an array, by index (from the end if negative) or by the name made for it."""
    try:
        index = columns.index(target) if target in columns else int(target)
        return range(len(columns))[index]
    except (ValueError, IndexError):
        raise ValueError(
            f"{path} has no column {shown(target)}; name an index from 0 to {len(columns) - 1}"
        ) from None


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


def _listed(names: Iterable[str]) -> str:
    """At most twenty names, quoted."""
    names = [shown(name) for name in names]
    more = f" and {len(names) - 20} more" if len(names) > 20 else ""
    return ", ".join(names[:20]) + more
