"""Tables larger than memory: read block by block, encoded once onto disk, and mapped from there.

A fit reads its rows ten times or a hundred; decoding Parquet each time would cost more than the
fit. So a table is decoded once, into a temporary file that is mapped (:mod:`torchlogreg.mapped`),
while a thread reads the next block; every pass after that is a pass over mapped memory.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from torchlogreg import mapped
from torchlogreg.columns import FEW, HUGE, Task, encode_feature, encode_target
from torchlogreg.datasets import Dataset
from torchlogreg.headings import find_index, find_target, refuse_duplicates, refuse_small
from torchlogreg.parquet import Table
from torchlogreg.untrusted import array_layout, as_numbers, bytes_as, refuse_too_large, shown

ENTRIES = 2**20
"""Entries of a table in a block."""

Item = TypeVar("Item")


def map_table(
    path: str | os.PathLike[str], target: str | int | None = None, *, task: Task | None = None
) -> Dataset:
    """What :func:`torchlogreg.readers.read_table` gives, with ``X`` and ``y`` on disk.

    1. The target, and columns of text: which values they have, in all blocks.
    2. All columns as numbers, block by block, onto disk.

    Parameters
    ----------
    path : str or path
        Ends in .parquet or .npy; convert a .csv first.
    target : str or int, optional
        As in ``read_table``.
    task : {"classes", "number"}, optional

    Returns
    -------
    Dataset

    Raises
    ------
    ValueError
        If the file is not such a table, in one line that names the column and the row.
    OSError
        If the disk has no room.
    """
    try:
        return _mapped(_open(Path(path)), target, task)
    except MemoryError:
        raise ValueError(f"a block of {path} does not fit into memory; it may be damaged") from None


def _mapped(table: Table | _Array, target: str | int | None, task: Task | None) -> Dataset:
    """Steps 1 and 2."""
    wanted = _find(table, target)
    levels = _Levels(table, wanted, task)  # 1
    names: tuple[str, ...] = ()
    X = y = None
    for start, frame in _blocks(table, table.names):  # 2
        _refuse_missing(table.path, frame, start)
        parts = [levels.feature(frame[c]) for c in table.names if c != wanted]
        if X is None or y is None:
            names = tuple(name for _, part in parts for name in part)
            if not names:
                raise ValueError(
                    f"{table.path}: there is no feature beside {shown(wanted)}; add one"
                )
            X = mapped.room((table.n, len(names)), torch.float64).numpy()
            y = mapped.room((table.n,), levels.y_dtype).numpy()
        stop = start + len(frame)
        np.concatenate([block for block, _ in parts], axis=1, out=X[start:stop])
        y[start:stop] = levels.target(frame[wanted])
    if X is None or y is None:
        raise ValueError(f"{table.path} has no rows; there is nothing to fit")
    refuse_duplicates(table.path, names)
    name = table.path.stem
    return Dataset(name, X, y, names, levels.class_names, levels.ordered, str(table.path), wanted)


def ahead(items: Iterable[Item]) -> Iterator[Item]:
    """The same items, each made by another thread while the one before is used."""
    source, end = iter(items), object()
    with ThreadPoolExecutor(1) as reader:
        coming = reader.submit(next, source, end)
        while (item := coming.result()) is not end:
            coming = reader.submit(next, source, end)
            yield item  # type: ignore[misc]


class _Array:
    """A .npy file, mapped; as :class:`torchlogreg.parquet.Table`."""

    texts: tuple[str, ...] = ()
    whole_floats = True

    def __init__(self, path: Path) -> None:
        self.path = path
        (self.n, p), fortran, self._dtype, start = array_layout(path)
        if self.n == 0:  # before a name is made for each of what may be a billion columns
            refuse_small(path, 0, ())
        refuse_too_large(path, 200 * p, f"the names of {p} columns")
        self.names = [f"x{j}" for j in range(p)]
        order: Literal["C", "F"] = "F" if fortran else "C"
        self._array = np.memmap(path, bytes_as(self._dtype), "r", start, (self.n, p), order)

    def blocks(self, columns: list[str], size: int) -> Iterator[Any]:
        """Frames of some columns."""
        import pandas as pd

        which = [int(name[1:]) for name in columns]
        for start in range(0, self.n, size):
            rows = np.array(self._array[start : start + size, which])
            yield pd.DataFrame(as_numbers(rows, self._dtype), None, columns)

    def block(self, frame: Any) -> Any:
        """A block as a frame, which it is."""
        return frame


def _blocks(table: Table | _Array, columns: list[str]) -> Iterator[tuple[int, Any]]:
    """First row, and a frame of some columns; the next is read while this one is used."""
    start = 0
    for block in ahead(table.blocks(columns, max(256, ENTRIES // len(columns)))):
        yield start, table.block(block)
        start += len(block)


class _Levels:
    """The values of the target and of columns of text, in the whole table."""

    def __init__(self, table: Table | _Array, wanted: str, task: Task | None) -> None:
        import pandas as pd

        self.wanted = wanted
        found: dict[str, Any] = {}
        read = list(dict.fromkeys([*table.texts, wanted]))
        for start, frame in _blocks(table, read):
            _refuse_missing(table.path, frame, start)
            for name in read:
                if name != wanted or name in table.texts or len(found.get(name, ())) <= FEW:
                    here = frame[name].drop_duplicates()
                    seen = pd.concat((found[name], here)) if name in found else here
                    found[name] = seen.drop_duplicates()
                if len(found[name]) > HUGE and name in table.texts:
                    raise ValueError(
                        f"{table.path}: column {shown(name)} has more than {HUGE} distinct texts, "
                        "too many for indicators; drop it, or group its levels"
                    )
        if not found:
            raise ValueError(f"{table.path} has no rows; there is nothing to fit")
        # Often enough that their number alone does not make them too fine for classes.
        self._known = {name: pd.concat([column] * 3) for name, column in found.items()}
        y, self.class_names, self.ordered = encode_target(
            self._known[wanted], task, whole_floats=table.whole_floats
        )
        self.y_dtype = torch.int64 if self.class_names else torch.float64
        self._codes = dict(zip(self._known[wanted], y, strict=True))

    def target(self, column: Any) -> NDArray[Any]:
        """Codes of the classes, or numbers."""
        if not self.class_names:
            return np.asarray(column, dtype=np.float64)
        codes = column.map(self._codes)
        return np.asarray(codes, dtype=np.int64)

    def feature(self, column: Any) -> tuple[NDArray[np.float64], list[str]]:
        """As ``encode_feature``, with the levels of the whole table."""
        known = self._known.get(column.name)
        if known is None:
            return encode_feature(column)
        block, names = encode_feature(known)
        codes = known.drop_duplicates().reset_index(drop=True)
        places = dict(zip(codes, codes.index, strict=True))  # they come first in ``known``
        return block[np.asarray(column.map(places), dtype=np.int64)], names


def _open(path: Path) -> Table | _Array:
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}; check the path")
    suffix = path.suffix.lower()
    if suffix not in (".parquet", ".npy"):
        raise ValueError(f"{path} cannot be mapped; scripts/convert.py makes .parquet of .csv")
    return Table(path) if suffix == ".parquet" else _Array(path)


def _find(table: Table | _Array, target: str | int | None) -> str:
    """The name of the target column."""
    refuse_small(table.path, table.n, table.names)
    if isinstance(table, _Array):
        return table.names[find_index(table.path, table.names, target)]
    return find_target(table.path, table.names, target)


def _refuse_missing(path: Path, frame: Any, start: int) -> None:
    """No missing or infinite values in a block that begins at row ``start``."""
    wrong = frame.isna().to_numpy(copy=True)
    for j, name in enumerate(frame.columns):
        if frame[name].dtype.kind == "f":
            wrong[:, j] |= np.isinf(frame[name].to_numpy())
    if wrong.any():
        row, column = (int(i[0]) for i in wrong.nonzero())
        raise ValueError(
            f"{path} has a missing or infinite value in row {start + row}, column "
            f"{shown(frame.columns[column])}; remove such rows or fill them in"
        )
