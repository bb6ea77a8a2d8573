"""Parquet tables of strangers: judged by their schema, text read as codes, in bounded memory.

A text that is repeated a million times takes a few bytes in such a file, and would take gigabytes
if every row had its own copy. Nobody's description of how the columns are to be made into a frame
is followed but for the columns that it calls an index, which are left out.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from torchlogreg.headings import checked_names, refuse_small
from torchlogreg.untrusted import LONGEST, one_line, refuse_too_large, refuse_too_wide, shown

OBJECT = 128
"""Bytes of a decimal in a frame."""


class Table:
    """A Parquet file with columns of numbers, booleans and text.

    Attributes
    ----------
    path : Path
    n : int
        Rows, as the file says.
    names : list of str
        Of the columns, printable.
    texts : list of str
        Of those that hold text.

    Raises
    ------
    ImportError
        Without pyarrow.
    ValueError
        If it is no such file, in one line.
    """

    whole_floats = False

    def __init__(self, path: Path) -> None:
        self.path = path
        schema, metadata = self._open(None)
        refuse_too_wide(path, len(schema))
        index = _index_columns(schema.metadata)
        schema = [field for field in schema if field.name not in index]
        self.names = checked_names(path, [field.name for field in schema])
        self._stored = dict(zip(self.names, [field.name for field in schema], strict=True))
        for name, field in zip(self.names, schema, strict=True):
            _refuse_type(path, name, field.type)
        fields = dict(zip(self.names, schema, strict=True))
        self.texts = [name for name, field in fields.items() if _is_text(field.type)]
        self._plain = [name for name in self.texts if _is_plain_text(fields[name].type)]
        self.n = metadata.num_rows
        self.n_bytes = self.n * sum(_size(field.type) for field in schema)
        self._open(self._plain)

    def _open(self, texts: Sequence[str] | None) -> tuple[Any, Any]:
        """Schema and metadata of the file; ``texts`` of it are read as codes."""
        try:
            import pyarrow.parquet as pq
        except ImportError:
            raise ImportError(
                f"reading {self.path} needs pyarrow; install it with: pip install "
                "'torchlogreg[parquet]'"
            ) from None
        coded = [self._stored[name] for name in texts or ()]
        try:
            self._file = pq.ParquetFile(
                self.path, read_dictionary=coded, pre_buffer=False, buffer_size=2**20
            )
            return self._file.schema_arrow, self._file.metadata
        except Exception as error:  # damaged and encrypted footers fail in pyarrow in many ways
            raise self._damaged(error) from None

    def frame(self) -> Any:
        """The whole table; text as categories in sorted order, of which each is there once.

        Raises
        ------
        ValueError
            If it is damaged, or larger than memory.
        """
        import pandas as pd

        refuse_small(self.path, self.n, self.names)
        described = f"{self.n} rows of {len(self.names)} columns"
        refuse_too_large(self.path, self.n_bytes, described)
        numbers = [name for name in self.names if name not in self.texts]
        # Column by column: a text that is too long is known before the next one is read.
        parts = [self._frame(self._read(part)) for part in (numbers, *([t] for t in self.texts))]
        return pd.concat([part for part in parts if part.shape[1]], axis=1)[self.names]

    def _read(self, columns: list[str]) -> Any:
        """Some columns as a table of pyarrow's."""
        try:
            found = self._file.read([self._stored[c] for c in columns], use_threads=False)
        except MemoryError:
            raise
        except Exception as error:  # damaged pages do, too
            raise self._damaged(error) from None
        if columns and len(found) != self.n:
            raise ValueError(f"{self.path} is damaged: it says {self.n} rows and has {len(found)}")
        return found.rename_columns(columns)

    def blocks(self, columns: list[str], size: int, rows: slice) -> Iterator[Any]:
        """Record batches of some columns of ``rows``, in order, as many as the file says.

        Only row groups with such rows are read.

        Raises
        ------
        ValueError
            If it is damaged.
        """
        groups, start, left = self._groups(rows)
        stored = [self._stored[c] for c in columns]
        options = {"columns": stored, "row_groups": groups, "use_threads": False}
        try:
            for batch in self._file.iter_batches(size, **options):
                left -= len(batch)
                if left < 0:
                    break
                begin, end = max(rows.start - start, 0), min(rows.stop - start, len(batch))
                start += len(batch)
                if begin < end:
                    part = batch.slice(begin, end - begin)
                    yield part.select(stored).rename_columns(columns)
        except MemoryError:
            raise
        except Exception as error:
            raise self._damaged(error) from None
        if left:
            raise ValueError(f"{self.path} is damaged: it has not the {self.n} rows that it says")

    def _groups(self, rows: slice) -> tuple[list[int], int, int]:
        """Row groups with these rows, the first of their rows, and how many they say to have."""
        metadata = self._file.metadata
        lengths = [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)]
        ends = list(itertools.accumulate(lengths, initial=0))
        if ends[-1] != self.n:
            raise ValueError(
                f"{self.path} is damaged: it says {self.n} rows, and {ends[-1]} by its row groups"
            )
        pairs = enumerate(itertools.pairwise(ends))
        groups = [i for i, (a, b) in pairs if a < rows.stop and b > rows.start]
        return groups, ends[groups[0]] if groups else 0, sum(lengths[i] for i in groups)

    def block(self, batch: Any) -> Any:
        """A record batch as a frame."""
        return self._frame(batch)

    def _frame(self, table: Any) -> Any:
        """pandas' own, whatever the file says on how to make one."""
        try:
            frame = table.to_pandas(ignore_metadata=True)
        except MemoryError:
            raise
        except Exception as error:
            raise self._damaged(error) from None
        for name in self._plain:
            if name in frame:
                frame[name] = self._sorted(frame[name])
        return frame

    def _sorted(self, column: Any) -> Any:
        """Codes of text, by the order of the text."""
        levels = column.cat.categories
        longest = max((len(level) for level in levels), default=0)
        if longest > LONGEST:
            raise ValueError(
                f"column {column.name!r} holds texts of up to {longest} characters, which are no "
                "categories; drop it, or group its levels"
            )
        return column.cat.set_categories(sorted(levels))

    def _damaged(self, error: Exception) -> ValueError:
        return ValueError(f"{self.path} is no Parquet table: {one_line(error)}")


def _index_columns(metadata: Any) -> set[str]:
    """Columns that were the index of a frame, by pandas' note in the file; none if it is absurd."""
    try:
        noted = json.loads((metadata or {})[b"pandas"])["index_columns"]
        return {name for name in noted if isinstance(name, str)}
    except (KeyError, TypeError, ValueError, RecursionError):
        return set()


def _refuse_type(path: Path, name: str, kind: Any) -> None:
    """A column is of numbers, booleans or text."""
    import pyarrow.types as types

    what = shown(str(kind))
    if types.is_nested(kind):
        raise ValueError(
            f"{path}: column {shown(name)} is nested ({what}), but a column has one number or "
            "text a row; flatten it, or drop it"
        )
    inner = kind.value_type if types.is_dictionary(kind) else kind
    if types.is_temporal(inner):
        raise ValueError(
            f"{path}: column {shown(name)} holds dates or times ({what}), which are no numbers; "
            "turn them into days since a date, or drop them"
        )
    numbers = (types.is_integer, types.is_floating, types.is_boolean, types.is_decimal)
    if not (_is_text(inner) or types.is_null(inner) or any(is_a(inner) for is_a in numbers)):
        raise ValueError(
            f"{path}: column {shown(name)} holds {what}, but numbers, text or booleans are needed;"
            " convert or drop it"
        )


def _is_plain_text(kind: Any) -> bool:
    import pyarrow.types as types

    return bool(types.is_string(kind) or types.is_large_string(kind))


def _is_text(kind: Any) -> bool:
    """Text, or codes of anything."""
    import pyarrow.types as types

    return _is_plain_text(kind) or bool(types.is_dictionary(kind))


def _size(kind: Any) -> int:
    """Bytes of an entry in a frame."""
    import pyarrow.types as types

    return OBJECT if types.is_decimal(kind) else 8
