"""Tables read block by block: the same data set as from a frame, errors in one line."""

from __future__ import annotations

import itertools
import threading
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from torchlogreg import distributed
from torchlogreg.disk import streams
from torchlogreg.disk.csv_to_parquet import csv_to_parquet
from torchlogreg.disk.streams import ahead, map_table
from torchlogreg.parquet import Table
from torchlogreg.readers import read_table

pq = pytest.importorskip("pyarrow.parquet")


def mixed(n: int = 700) -> pd.DataFrame:
    """Numbers, text, booleans, and a level that comes late."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "age": rng.integers(20, 70, n),
            "dose": rng.normal(size=n),
            "town": rng.choice(["Ulm", "Bonn", "Köln"], n),
            "smokes": rng.random(n) < 0.5,
            "ill": rng.choice(["no", "yes"], n),
        }
    )
    frame.loc[n - 1, "town"] = "Aachen"
    return frame


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    """Many blocks of few rows."""
    monkeypatch.setattr(streams, "ENTRIES", 256)


@pytest.mark.parametrize("target", ["ill", "dose", "smokes", "town", "age"])
def test_a_mapped_table_is_the_one_in_memory(target, tmp_path):
    mixed().to_parquet(tmp_path / "t.parquet", row_group_size=100)
    there, here = (
        map_table(tmp_path / "t.parquet", target),
        read_table(tmp_path / "t.parquet", target),
    )
    np.testing.assert_array_equal(there.X, here.X)
    np.testing.assert_array_equal(there.y, here.y)
    for fact in ("name", "feature_names", "class_names", "ordered", "source", "target_name"):
        assert getattr(there, fact) == getattr(here, fact)


@pytest.mark.parametrize("target", [None, 0, -1, "x1"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64])
def test_a_mapped_array_is_the_one_in_memory(target, dtype, tmp_path):
    rng = np.random.default_rng(1)
    np.save(tmp_path / "t.npy", rng.integers(0, 3, (600, 4)).astype(dtype))
    there, here = map_table(tmp_path / "t.npy", target), read_table(tmp_path / "t.npy", target)
    np.testing.assert_array_equal(there.X, here.X)
    np.testing.assert_array_equal(there.y, here.y)
    assert there.class_names == here.class_names == ("0", "1", "2")


@pytest.mark.parametrize("file", ["t.parquet", "t.npy"])
def test_the_parts_of_the_ranks_are_the_table(file, tmp_path, monkeypatch):
    mixed().to_parquet(tmp_path / "t.parquet", row_group_size=100)
    np.save(tmp_path / "t.npy", np.random.default_rng(1).integers(0, 3, (700, 4)))
    target, parts, ends = {"t.parquet": "ill"}.get(file), [], [0, 133, 300, 700]
    whole = map_table(tmp_path / file, target)
    for start, stop in itertools.pairwise(ends):
        monkeypatch.setattr(distributed, "shard", lambda n, own=slice(start, stop): own)
        parts.append(map_table(tmp_path / file, target, shard=True))
        assert parts[-1].feature_names == whole.feature_names
    np.testing.assert_array_equal(np.concatenate([part.X for part in parts]), whole.X)
    np.testing.assert_array_equal(np.concatenate([part.y for part in parts]), whole.y)


@pytest.mark.parametrize(
    ("start", "stop", "groups"),
    [(0, 700, range(7)), (0, 100, [0]), (99, 101, [0, 1]), (250, 260, [2]), (600, 700, [6])],
)
def test_a_part_is_read_from_the_row_groups_that_have_its_rows(start, stop, groups, tmp_path):
    mixed().to_parquet(tmp_path / "t.parquet", row_group_size=100)
    table = Table(tmp_path / "t.parquet")
    read, first, n_rows = table._groups(slice(start, stop))
    assert read == list(groups) and first == 100 * read[0] and n_rows == 100 * len(read)
    blocks = list(table.blocks(["age"], 30, slice(start, stop)))
    ages = np.concatenate([block.column(0).to_numpy() for block in blocks])
    np.testing.assert_array_equal(ages, mixed()["age"][start:stop])


def test_csv_becomes_the_parquet_that_pandas_reads(tmp_path):
    mixed().to_csv(tmp_path / "t.csv", index=False)
    assert csv_to_parquet(tmp_path / "t.csv", tmp_path / "t.parquet") == 700
    pd.testing.assert_frame_equal(
        pd.read_parquet(tmp_path / "t.parquet"), pd.read_csv(tmp_path / "t.csv"), check_dtype=False
    )
    assert sorted(p.name for p in tmp_path.iterdir()) == ["t.csv", "t.parquet"]


@pytest.mark.parametrize(
    ("late", "kind"),
    [("7", "int64"), ("7.5", "double"), ("seven", "string"), ("1e400000x", "string")],
)
def test_types_are_settled_over_the_whole_file(late, kind, tmp_path, monkeypatch):
    monkeypatch.setattr("torchlogreg.disk.csv_to_parquet.BLOCK", 2**10)
    lines = [f"{i},{i % 2}" for i in range(3000)]
    (tmp_path / "t.csv").write_text("\n".join(["a,b", *lines, f"{late},1", ""]))
    csv_to_parquet(tmp_path / "t.csv", tmp_path / "t.parquet")
    schema = pq.read_schema(tmp_path / "t.parquet")
    assert [str(t) for t in schema.types] == [kind, "int64"]


HOSTILE = {
    "ragged": (b"a,b\n1,2\n1\n", "Expected 2 columns"),
    "encoding": (b"a,b\n1,\xff\xfe\n", "UTF"),
    "a NUL": (b"a,b\n1\x00,2\n", "NUL"),
    "repeated": (b"a,a\n1,2\n", "more than one column called 'a'"),
    "nameless": (b"a,\n1,2\n", "column 1 has no name"),
    "a long name": (b"a" * 10_000 + b",b\n1,2\n", "10000 characters"),
    "wide": (b"," * 10**6 + b"\n", "1000001 columns"),
    "wide behind quotes": (b'"\n"' + b"," * 10**6 + b"\n", "1000001 columns"),
    "no rows": (b"a,b\n", "no rows"),
    "empty": (b"", "no regular table"),
}


@pytest.mark.parametrize(("content", "says"), HOSTILE.values(), ids=HOSTILE)
def test_a_csv_that_is_no_table_is_refused_and_leaves_nothing(content, says, tmp_path):
    (tmp_path / "t.csv").write_bytes(content)
    with pytest.raises(ValueError, match=says) as error:
        csv_to_parquet(tmp_path / "t.csv", tmp_path / "t.parquet")
    assert "\n" not in str(error.value)
    assert [p.name for p in tmp_path.iterdir()] == ["t.csv"]


def test_a_field_may_go_over_lines_and_blocks(tmp_path, monkeypatch):
    # Blocks ended at any line end, so that a quoted one became a row of its own.
    monkeypatch.setattr("torchlogreg.disk.csv_to_parquet.BLOCK", 2**10)
    lines = [f'{i},"one\ntwo",{i % 2}' for i in range(3000)]
    (tmp_path / "t.csv").write_text("\n".join(["a,b,c", *lines, ""]))
    assert csv_to_parquet(tmp_path / "t.csv", tmp_path / "t.parquet") == 3000


@pytest.mark.parametrize("field", ["0x10", "1_000", "", "NA", " 7", "1e400", "True", "9" * 30, "x"])
def test_a_field_is_the_same_by_way_of_parquet(tmp_path, field):
    (tmp_path / "t.csv").write_text(f"a, b,c\n{field},1,0\n2,2,1\n3,3,1\n")
    csv_to_parquet(tmp_path / "t.csv", tmp_path / "t.parquet")
    found = []
    for name, read in (("t.csv", read_table), ("t.parquet", read_table), ("t.parquet", map_table)):
        try:
            data = read(tmp_path / name, "c")
            found.append((data.feature_names, data.X.tolist()))
        except ValueError as error:
            assert "missing or infinite value" in str(error)
            found.append("missing or infinite")
    assert found[0] == found[1] == found[2]


def hole(path: Path) -> None:
    frame = mixed()
    frame.loc[612, "dose"] = np.nan
    frame.to_parquet(path)


def nested(path: Path) -> None:
    pd.DataFrame({"a": [[1], [2]], "ill": [0, 1]}).to_parquet(path)


BAD = {
    "missing": (hole, "row 612, column 'dose'"),
    "nested": (nested, "'a' is nested"),
    "damaged": (lambda path: path.write_bytes(b"PAR1 nothing PAR1"), "no Parquet table"),
}


@pytest.mark.parametrize(("make", "says"), BAD.values(), ids=BAD)
def test_a_parquet_file_that_cannot_be_used_is_refused_in_one_line(make, says, tmp_path):
    make(tmp_path / "t.parquet")
    with pytest.raises(ValueError, match=says) as error:
        map_table(tmp_path / "t.parquet", "ill")
    assert "\n" not in str(error.value)


def test_the_next_block_is_read_while_this_one_is_used():
    asked = [threading.Event() for _ in range(4)]

    def source():
        for event in asked:
            event.set()
            yield threading.current_thread()

    for number, thread in enumerate(ahead(source())):
        assert thread is not threading.current_thread()
        if number + 1 < len(asked):
            assert asked[number + 1].wait(10)  # which nobody here has asked for
