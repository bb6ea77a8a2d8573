"""Parquet files from strangers: nothing in them unfolds, runs or decides how they are read."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from test_hostile_tables import WAYS, refused

from torchlogreg.readers import read_table

Y = [0, 1, 0, 1]


def write(path: Path, note: bytes | None = None, **columns: Any) -> Path:
    """A Parquet file, perhaps with pandas' note on how to make a frame of it."""
    table = pa.table(columns)
    pq.write_table(table if note is None else table.replace_schema_metadata({"pandas": note}), path)
    return path


@WAYS
def test_a_text_repeated_twenty_thousand_times_takes_the_room_of_one(
    tmp_path: Path, read: Any
) -> None:
    """A file of 24 kB unfolded to 10 GB, because every row had its own copy of the text."""
    n, long = 20_000, pa.array(["a" * 500_000])
    column = pa.DictionaryArray.from_arrays(np.zeros(n, np.int32), long)
    table = pa.table({"x": column, "y": np.arange(n) % 2})
    pq.write_table(table, tmp_path / "t.parquet", store_schema=False)
    assert os.path.getsize(tmp_path / "t.parquet") < 10**5
    assert "texts of up to 500000 characters" in refused(tmp_path / "t.parquet", read=read)


def test_indicators_larger_than_memory_are_not_made(tmp_path: Path, monkeypatch: Any) -> None:
    """Text of 900 levels in 50 columns is 45,000 columns of numbers."""
    texts = [f"level {i}" for i in range(900)] * 2
    path = write(tmp_path / "t.parquet", **{f"x{j}": texts for j in range(50)}, y=Y * 450)
    monkeypatch.setattr("torchlogreg.untrusted.room", lambda: 2**26)
    assert "indicators of" in refused(path)


NOTES = {
    "no JSON": b"{",
    "deep": b"[" * 100_000,
    "a list": b"[1]",
    "a unit": json.dumps(
        {"index_columns": [], "columns": [{"name": "x", "numpy_type": "datetime64[evil]"}]}
    ).encode(),
    "a range": json.dumps(
        {"index_columns": [{"kind": "range", "start": 0, "stop": 10**12, "step": 1}]}
    ).encode(),
    "a path": json.dumps(
        {"index_columns": [], "column_indexes": [{"metadata": {"timezone": "../../passwd"}}]}
    ).encode(),
}


@WAYS
@pytest.mark.parametrize("note", NOTES.values(), ids=NOTES)
def test_a_note_on_how_to_make_a_frame_is_not_followed(
    tmp_path: Path, note: bytes, read: Any
) -> None:
    data = read(write(tmp_path / "t.parquet", note, x=[1.0, 2, 3, 4], y=Y), "y")
    np.testing.assert_array_equal(data.X, [[1], [2], [3], [4]])


@WAYS
def test_the_index_of_a_frame_is_no_feature(tmp_path: Path, read: Any) -> None:
    frame = pd.DataFrame({"a": [1.5, 2, 3, 4], "b": [4.0, 3, 2, 9], "y": Y})
    frame.iloc[[3, 2, 1, 0]].to_parquet(tmp_path / "t.parquet")
    assert read(tmp_path / "t.parquet", "y").feature_names == ("a", "b")
    frame.set_index("b").to_parquet(tmp_path / "t.parquet")
    assert read(tmp_path / "t.parquet", "y").feature_names == ("a",)


@WAYS
def test_an_extension_type_in_python_is_not_unpickled(tmp_path: Path, read: Any) -> None:
    harm = tmp_path / "harm"
    evil = {
        b"ARROW:extension:name": b"arrow.py_extension_type",
        b"ARROW:extension:metadata": f"\x80\x04cos\nmkdir\n(S'{harm}'\ntR.".encode("latin-1"),
    }
    fields = [pa.field("x", pa.float64()).with_metadata(evil), pa.field("y", pa.int64())]
    table = pa.table([pa.array([1.0, 2, 3, 4]), pa.array(Y)], schema=pa.schema(fields))
    pq.write_table(table, tmp_path / "t.parquet")
    assert read(tmp_path / "t.parquet", "y").X.shape == (4, 1) and not harm.exists()


NAMES = {
    "escape": ("\x1b[31mx\u202e", "\\x1b[31mx\\u202e"),
    "page": ("<script>alert(1)</script>", "<script>alert(1)</script>"),
    "path": ("../../etc/passwd", "../../etc/passwd"),
    "long": ("x" * 10_000, "the name of column 0 has 10000 characters"),
}


@WAYS
@pytest.mark.parametrize(("name", "shown"), NAMES.values(), ids=NAMES)
def test_a_hostile_name_is_text_in_one_line(
    tmp_path: Path, name: str, shown: str, read: Any
) -> None:
    path = write(tmp_path / "t.parquet", **{name: [1.0, 2, 3, 4], "y": Y})
    if len(name) > 1000:
        assert shown in refused(path, read=read)
    else:
        assert read(path, "y").feature_names == (shown,)


@WAYS
def test_two_columns_of_one_name_are_refused(tmp_path: Path, read: Any) -> None:
    table = pa.table([pa.array([1.0, 2]), pa.array([1.0, 3]), pa.array([0, 1])], ["x", "x", "y"])
    pq.write_table(table, tmp_path / "t.parquet")
    assert "more than one column called 'x'" in refused(tmp_path / "t.parquet", read=read)


@WAYS
def test_more_columns_than_a_frame_carries_are_refused(tmp_path: Path, read: Any) -> None:
    path = write(tmp_path / "t.parquet", **{f"x{j}": [1.0] for j in range(20_001)}, y=[0])
    assert "has 20002 columns" in refused(path, read=read)


@WAYS
def test_decimals_are_numbers_however_many_there_are(tmp_path: Path, read: Any) -> None:
    """Mapped, more than a thousand distinct ones were "too many texts"."""
    cents = pa.array(np.arange(3000)).cast(pa.decimal128(22, 2))
    data = read(write(tmp_path / "t.parquet", x=cents, y=Y * 750), "y")
    np.testing.assert_array_equal(data.X[:, 0], np.arange(3000.0))


@pytest.mark.parametrize("suffix", [".csv", ".npy", ".parquet"])
def test_a_pipe_is_not_waited_for(tmp_path: Path, suffix: str) -> None:
    os.mkfifo(tmp_path / f"t{suffix}")
    with pytest.raises(ValueError, match="is no ordinary file"):
        read_table(tmp_path / f"t{suffix}", "y")
