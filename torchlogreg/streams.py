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
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from torchlogreg import mapped
from torchlogreg.columns import FEW, HUGE, Task, encode_feature, encode_target
from torchlogreg.datasets import Dataset

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
    table = _open(Path(path))
    wanted = _find(table, target)
    levels = _Levels(table, wanted, task)  # 1
    names: tuple[str, ...] = ()
    X = y = None
    for start, frame in table.blocks(table.names):  # 2
        _refuse_missing(table.path, frame, start)
        parts = [levels.feature(frame[c]) for c in table.names if c != wanted]
        if X is None or y is None:
            names = tuple(name for _, part in parts for name in part)
            if not names:
                raise ValueError(f"{table.path}: there is no feature beside {wanted!r}; add one")
            X = mapped.room((table.n, len(names)), torch.float64).numpy()
            y = mapped.room((table.n,), levels.y_dtype).numpy()
        stop = start + len(frame)
        np.concatenate([block for block, _ in parts], axis=1, out=X[start:stop])
        y[start:stop] = levels.target(frame[wanted])
    if X is None or y is None:
        raise ValueError(f"{table.path} has no rows; there is nothing to fit")
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


class _Parquet:
    """A Parquet file, read by row groups in the background."""

    def __init__(self, path: Path) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        self.path = path
        try:
            self._file = pq.ParquetFile(path, pre_buffer=False, buffer_size=2**20)
        except (pa.ArrowException, OSError) as error:
            raise ValueError(f"{path} is no Parquet table: {_line(error)}") from None
        schema = self._file.schema_arrow
        self.names, self.n = list(schema.names), self._file.metadata.num_rows
        nested = [field.name for field in schema if pa.types.is_nested(field.type)]
        if nested:
            raise ValueError(f"{path}: column {nested[0]!r} is nested; make columns of its parts")
        if len(set(self.names)) < len(self.names):
            raise ValueError(f"{path} has two columns of one name; rename them")
        plain = (pa.types.is_integer, pa.types.is_floating, pa.types.is_boolean)
        self.texts = [f.name for f in schema if not any(is_a(f.type) for is_a in plain)]
        self.whole_floats = False

    def blocks(self, columns: list[str]) -> Iterator[tuple[int, Any]]:
        """First row, and a frame of some columns."""
        import pyarrow as pa

        size, start = max(256, ENTRIES // len(columns)), 0
        try:
            for batch in ahead(self._file.iter_batches(size, columns=columns, use_threads=False)):
                yield start, batch.to_pandas()
                start += len(batch)
        except pa.ArrowException as error:
            raise ValueError(f"{self.path} is damaged: {_line(error)}") from None


class _Array:
    """A .npy file, mapped."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            array: Any = np.load(path, mmap_mode="r", allow_pickle=False)
        except (ValueError, EOFError, OSError, OverflowError) as error:
            raise ValueError(f"{path} is no .npy array of numbers: {_line(error)}") from None
        if not isinstance(array, np.memmap) or array.ndim != 2 or array.dtype.kind not in "biuf":
            raise ValueError(f"{path} holds no numbers in rows and columns, which are needed")
        self.array, (self.n, p) = array, array.shape
        self.names, self.whole_floats = [f"x{j}" for j in range(p)], True
        self.texts: list[str] = []

    def blocks(self, columns: list[str]) -> Iterator[tuple[int, Any]]:
        """First row, and a frame of some columns."""
        import pandas as pd

        which = [int(name[1:]) for name in columns]
        size = max(256, ENTRIES // len(self.names))
        for start in range(0, self.n, size):
            yield (
                start,
                pd.DataFrame(np.array(self.array[start : start + size, which]), None, columns),
            )


class _Levels:
    """The values of the target and of columns of text, in the whole table."""

    def __init__(self, table: _Parquet | _Array, wanted: str, task: Task | None) -> None:
        import pandas as pd

        self.wanted = wanted
        found: dict[str, Any] = {}
        read = list(dict.fromkeys([*table.texts, wanted]))
        for start, frame in table.blocks(read):
            _refuse_missing(table.path, frame, start)
            for name in read:
                if name != wanted or name in table.texts or len(found.get(name, ())) <= FEW:
                    here = frame[name].drop_duplicates()
                    seen = pd.concat((found[name], here)) if name in found else here
                    found[name] = seen.drop_duplicates()
                if len(found[name]) > HUGE and name in table.texts:
                    raise ValueError(
                        f"{table.path}: column {name!r} has more than {HUGE} distinct texts, too "
                        "many for indicators; drop it, or group its levels"
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


def _open(path: Path) -> _Parquet | _Array:
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}; check the path")
    suffix = path.suffix.lower()
    if suffix not in (".parquet", ".npy"):
        raise ValueError(f"{path} cannot be mapped; scripts/convert.py makes .parquet of .csv")
    return _Parquet(path) if suffix == ".parquet" else _Array(path)


def _find(table: _Parquet | _Array, target: str | int | None) -> str:
    """The name of the target column."""
    if isinstance(table, _Array) and target not in table.names:
        try:
            return table.names[int(-1 if target is None else target)]
        except (ValueError, IndexError):
            pass
    if target is None:
        raise ValueError(f"{table.path}: no target is named; there are {table.names[:20]}")
    if str(target) not in table.names:
        raise ValueError(f"{table.path} has no column {target!r}; there are {table.names[:20]}")
    return str(target)


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
            f"{frame.columns[column]!r}; remove such rows or fill them in"
        )


def _line(error: BaseException) -> str:
    """The message of a library's error, without line breaks."""
    return " ".join(str(error).split())
