"""CSV to Parquet in bounded memory, the types of the columns settled over the whole file."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from torchlogreg.readers import MISSING, named
from torchlogreg.untrusted import check_text, one_line
from torchlogreg.whole_files import whole_file

BLOCK = 2**22
"""Bytes of text in a block."""

TYPES = ("int64", "float64", "bool", "string")
"""What a column can be: the first that all its fields are."""


def csv_to_parquet(source: str | os.PathLike[str], path: str | os.PathLike[str]) -> int:
    """Write a comma-separated UTF-8 file with a header as Parquet; returns the number of rows.

    1. Read all blocks as text; the type of a column is the narrowest that takes all its fields.
    2. Read them again, and write a row group for each, to a temporary file that is then renamed.

    Parameters
    ----------
    source : path
        A .csv file; fields of ``MISSING`` become nulls.
    path : path
        Replaced if it exists, at the end and as a whole.

    Returns
    -------
    int

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ImportError
        Without pyarrow.
    ValueError
        If the file is no regular table, in one line.
    """
    try:
        import pyarrow.parquet as pq
    except ImportError:
        raise ImportError("Parquet needs pyarrow: pip install 'torchlogreg[parquet]'") from None
    source, path = Path(source), Path(path)
    if not source.is_file():
        raise FileNotFoundError(f"there is no file {source}; check the path")
    check_text(source)
    schema, n = _settled(source)  # 1
    with whole_file(path) as temporary, pq.ParquetWriter(temporary, schema) as writer:  # 2
        for block in _blocks(source):
            arrays = [_cast(c, t) for c, t in zip(block.columns, schema.types, strict=True)]
            writer.write_batch(type(block).from_arrays(arrays, schema=schema))
    return n


def _settled(source: Path) -> tuple[Any, int]:
    """The schema that takes all fields, and the number of rows."""
    import pyarrow as pa

    kinds: list[int] = []
    names: list[str] = []
    n = 0
    for block in _blocks(source):
        names = names or named(source, block.schema.names)
        kinds = kinds or [0] * len(names)
        for j, column in enumerate(block.columns):
            while not _fits(column, TYPES[kinds[j]]):
                kinds[j] += 1
        n += len(block)
    if not n:
        raise ValueError(f"{source} has no rows; a header and rows are needed")
    return pa.schema([pa.field(m, _type(TYPES[k])) for m, k in zip(names, kinds, strict=True)]), n


def _blocks(source: Path) -> Iterator[Any]:
    """Record batches of text without the spaces before it; fields of ``MISSING`` are nulls."""
    import pyarrow as pa
    import pyarrow.compute as pc
    from pyarrow import csv

    reading = csv.ReadOptions(block_size=BLOCK, use_threads=False)
    parsing = csv.ParseOptions(newlines_in_values=True)
    try:
        names = csv.open_csv(source, reading, parsing).schema.names
        texts = csv.ConvertOptions(column_types=dict.fromkeys(names, pa.string()))
        for block in csv.open_csv(source, reading, parsing, texts):
            columns = [pc.utf8_ltrim(column, " ") for column in block.columns]
            empty = [pc.is_in(column, pa.array(MISSING)) for column in columns]
            yield pa.RecordBatch.from_arrays(
                [pc.if_else(e, None, c) for e, c in zip(empty, columns, strict=True)],
                [name.lstrip(" ") for name in names],
            )
    except (pa.ArrowException, UnicodeDecodeError) as error:
        raise ValueError(f"{source} is no regular table: {one_line(error)}") from None


def _fits(column: Any, kind: str) -> bool:
    """Whether all fields of a block are of this type."""
    import pyarrow as pa

    try:
        _cast(column, _type(kind))
    except pa.ArrowInvalid:
        return False
    return True


def _cast(column: Any, kind: Any) -> Any:
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_string(kind):
        return column
    column = pc.utf8_trim_whitespace(column)
    if pa.types.is_integer(kind) and pc.any(pc.match_substring_regex(column, "[xX]")).as_py():
        raise pa.ArrowInvalid("hexadecimal is text, as for pandas")
    if pa.types.is_boolean(kind):
        column = pc.utf8_lower(column)
        words = pc.is_in(column, pa.array(["true", "false", None]))
        if not pc.all(words, min_count=0).as_py():
            raise pa.ArrowInvalid("neither true nor false")
    return pc.cast(column, kind)


def _type(kind: str) -> Any:
    import pyarrow as pa

    return {
        "int64": pa.int64(),
        "float64": pa.float64(),
        "bool": pa.bool_(),
        "string": pa.string(),
    }[kind]
