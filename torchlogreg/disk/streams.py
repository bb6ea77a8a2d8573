"""Tables larger than memory: read block by block, encoded once onto disk, and mapped from there.

A fit reads its rows ten times or a hundred; decoding Parquet each time would cost more than the
fit. So a table is decoded once, into a temporary file that is mapped
(:mod:`torchlogreg.disk.mapped`), while a thread reads the next block; every pass after that is a
pass over mapped memory.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from torchlogreg import distributed
from torchlogreg.columns import FEW, HUGE, Task, encode_feature, encode_target
from torchlogreg.datasets import Dataset
from torchlogreg.disk import mapped
from torchlogreg.headings import find_index, find_target, refuse_duplicates, refuse_small
from torchlogreg.parquet import Table
from torchlogreg.untrusted import array_layout, as_numbers, bytes_as, refuse_too_large, shown

ENTRIES = 2**20
"""Entries of a table in a block."""

Item = TypeVar("Item")


def map_table(
    path: str | os.PathLike[str],
    target: str | int | None = None,
    *,
    task: Task | None = None,
    shard: bool = False,
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
    shard : bool
        Of several ranks each takes :func:`torchlogreg.distributed.shard` of the rows, and reads no
        others, but for the target and columns of text of a .parquet file in step 1.

    Returns
    -------
    Dataset

    Raises
    ------
    ValueError
        If the file is not such a table, in one line that names the column and the row.
    OSError
        If the disk has no room.
    LostRankError
        If another rank failed to read its rows.
    """
    try:
        with _apart("opening its table", shard):
            table = _open(Path(path))
            wanted = _find(table, target)
            if shard and table.n < distributed.world_size():
                raise ValueError(f"{path} has {table.n} rows, fewer than there are ranks")
        rows = distributed.shard(table.n) if shard else slice(0, table.n)
        with _apart("looking for levels", shard):  # 1
            known = _values(table, wanted, rows if isinstance(table, _Array) else None)
        if shard and isinstance(table, _Array):
            known[wanted] = _of_all_ranks(known[wanted])
        with _apart("reading its rows", shard):  # 2
            return _mapped(table, _Levels(table, wanted, task, known), rows)
    except MemoryError:
        raise ValueError(f"a block of {path} does not fit into memory; it may be damaged") from None


def _apart(what: str, shard: bool) -> contextlib.AbstractContextManager[None]:
    """For what a rank does alone: an error there is known to all ranks."""
    return distributed.together(what) if shard else contextlib.nullcontext()


def _mapped(table: Table | _Array, levels: _Levels, rows: slice) -> Dataset:
    """Step 2."""
    wanted, n = levels.wanted, rows.stop - rows.start
    names: tuple[str, ...] = ()
    X = y = None
    for start, frame in _blocks(table, table.names, rows):
        _refuse_missing(table.path, frame, start)
        parts = [levels.feature(frame[c]) for c in table.names if c != wanted]
        if X is None or y is None:
            names = tuple(name for _, part in parts for name in part)
            if not names:
                raise ValueError(
                    f"{table.path}: there is no feature beside {shown(wanted)}; add one"
                )
            X = mapped.room((n, len(names)), torch.float64).numpy()
            y = mapped.room((n,), levels.y_dtype).numpy()
        own = slice(start - rows.start, start - rows.start + len(frame))
        np.concatenate([block for block, _ in parts], axis=1, out=X[own])
        y[own] = levels.target(frame[wanted])
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

    def blocks(self, columns: list[str], size: int, rows: slice) -> Iterator[Any]:
        """Frames of some columns of ``rows``."""
        import pandas as pd

        which = [int(name[1:]) for name in columns]
        for start in range(rows.start, rows.stop, size):
            block = np.array(self._array[start : min(start + size, rows.stop), which])
            yield pd.DataFrame(as_numbers(block, self._dtype), None, columns)

    def block(self, frame: Any) -> Any:
        """A block as a frame, which it is."""
        return frame


def _blocks(table: Table | _Array, columns: list[str], rows: slice) -> Iterator[tuple[int, Any]]:
    """First row, and a frame of some columns; the next is read while this one is used."""
    start = rows.start
    for block in ahead(table.blocks(columns, max(256, ENTRIES // len(columns)), rows)):
        yield start, table.block(block)
        start += len(block)


def _values(table: Table | _Array, wanted: str, rows: slice | None) -> dict[str, Any]:
    """What the target and columns of text hold; of a target some values, if it has many."""
    import pandas as pd

    found: dict[str, Any] = {}
    read = list(dict.fromkeys([*table.texts, wanted]))
    for start, frame in _blocks(table, read, rows or slice(0, table.n)):
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
    return found


def _of_all_ranks(values: Any) -> Any:
    """The distinct numbers that any rank has seen, in the order of the ranks."""
    import pandas as pd

    own = values.to_numpy()
    wide = own.astype(np.float64 if own.dtype.kind == "f" else np.int64)
    numbers = distributed.all_rows(torch.from_numpy(wide)).numpy().astype(own.dtype)
    return pd.Series(numbers, name=values.name).drop_duplicates()


class _Levels:
    """How the target and columns of text become numbers, by what the whole table holds."""

    def __init__(
        self, table: Table | _Array, wanted: str, task: Task | None, found: dict[str, Any]
    ) -> None:
        import pandas as pd

        self.wanted = wanted
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
