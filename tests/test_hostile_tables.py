"""Tables from strangers: read or mapped rightly, or refused in one line and in bounded memory."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from torchlogreg import untrusted
from torchlogreg.disk.streams import map_table
from torchlogreg.readers import read_table

WAYS = pytest.mark.parametrize("read", [read_table, map_table])


def refused(path: Path, target: str | None = "y", read: Callable[..., object] = read_table) -> str:
    """The one line that says why a table is not read."""
    with pytest.raises(ValueError) as caught:
        read(path, target)
    text = str(caught.value)
    assert text.isprintable() and len(text) < 600
    return text


HOSTILE_CSV = [
    (b"x,y\n1\x00,1\n2,0\n", "NUL character (byte 5)"),
    ("x,y\n1,1\n2,0\n".encode("utf-16"), "UTF-16"),
    ("x,y\n1,1\n2,0\n".encode("utf-16-le"), "NUL"),
    ("x,y\n1,1\n2,0\n".encode("utf-32"), "UTF-32"),
    ("é,y\n1,1\n2,0\n".encode("latin-1"), "not UTF-8 text (byte 0)"),
    # pandas said "byte 0 of a block", whatever the place.
    (b"x,y\n" + b"1,a\n" * 400_000 + b"2,\xe9\n", "not UTF-8 text (byte 1600006)"),
    (b"x,y\n1,\xc3", "inside a character"),
    (b"x,y\n1,1\n2,0,3\n", "no regular table"),
    (b"x,x,y\n1,1,1\n2,2,0\n", "more than one column called 'x'"),
    (b"," * 10**6 + b"\n", "1000001 columns"),
    # A line end in quotes hid the others, and an hour went by.
    (b'"\n"' + b"," * 10**6 + b"\n", "1000001 columns"),
    (b"x" * 10**6 + b",y\n1,1\n,0\n", "name of column 0 has 1000000 characters"),
    (b"x,y\n1,1\n1" + b"0" * 400 + b",0\n", "in row 1, which is beyond"),
    (b"x,y\n1e400,1\n2,0\n", "infinite values in 'x'"),
    (b"x,y\n" + b"a" * 5000 + b",1\nb,0\n", "up to 5000 characters"),
]


@pytest.mark.parametrize(("content", "words"), HOSTILE_CSV, ids=range(len(HOSTILE_CSV)))
def test_a_hostile_csv_is_refused_in_one_line(tmp_path: Path, content: bytes, words: str) -> None:
    # An integer of 401 digits ended in an OverflowError, a million columns took an hour, and the
    # messages repeated names of a million characters.
    (tmp_path / "t.csv").write_bytes(content)
    assert words in refused(tmp_path / "t.csv")


def test_formulas_are_text_and_control_characters_are_written_out(tmp_path: Path) -> None:
    """An escape sequence in a name reached the terminal with every table that showed it."""
    path = tmp_path / "t.csv"
    path.write_text("\x1b[31mred\u202e,t,y\n1,=cmd|' /C calc'!A0,1\n2,a\x07b,0\n3,a\x07b,1\n")
    data = read_table(path, "y")
    assert data.feature_names == ("\\x1b[31mred\\u202e", "t=a\\x07b")
    np.testing.assert_array_equal(data.X, [[1, 0], [2, 1], [3, 1]])
    assert read_table(path, "\x1b[31mred\u202e").target_name == "\\x1b[31mred\\u202e"


def npy(shape: object, descr: object = "<f8", body: bytes = b"", order: object = False) -> bytes:
    """A .npy that says so."""
    text = repr({"descr": descr, "fortran_order": order, "shape": shape}).encode()
    return b"\x93NUMPY\x02\x00" + len(text).to_bytes(4, "little") + text + body


HOSTILE_NPY = [
    (npy((2**60, 2)), "but 0 bytes follow"),
    (npy((10**10, 2)), "but 0 bytes follow"),  # MemoryError: 149 GiB
    (npy((10**50, 2)), "but 0 bytes follow"),  # OverflowError
    (npy((0, 10**8)), "t.npy"),  # a hundred million column names first
    (npy((-1, 2), body=bytes(32)), "says (-1, 2)"),
    (npy((2, 2), body=bytes(24)), "24 bytes follow"),
    (npy((2, 2), "|O", b"cos\nsystem\n(S'touch harm'\ntR."), "Python objects"),
    (npy((2,), [("a", "<f8"), ("b", "<f8")], bytes(32)), "real numbers, rows by columns"),
    (npy((2, 2), "<c16", bytes(64)), "holds complex128"),
    (npy((2, 2), "|S0"), "rows by columns"),
    (npy((2, 2), "evil"), "no .npy array"),
    (b"\x93NUMPY\x02\x00\x10\x00\x00\x00{'shape': (2L, 2", "no .npy array"),  # TokenError
    (b"\x93NUMPY\x02\x00\x20\x23\x00\x00" + b"-" * 8992, "no .npy array"),  # MemoryError
    (b"\x93NUMPY\x02\x00\xff\xff\xff\xff{", "no .npy array"),
]


@WAYS
@pytest.mark.parametrize(("content", "words"), HOSTILE_NPY, ids=range(len(HOSTILE_NPY)))
def test_a_lying_npy_is_refused_in_one_line(
    tmp_path: Path, content: bytes, words: str, monkeypatch: pytest.MonkeyPatch, read: Any
) -> None:
    # Mapped, half of these ended in another error, and the names of no rows took a minute.
    monkeypatch.chdir(tmp_path)
    Path("t.npy").write_bytes(content)
    assert words in refused(Path("t.npy"), None, read)
    assert not Path("harm").exists()


@pytest.mark.parametrize("order", [False, True])
@pytest.mark.parametrize("descr", ["<f8", ">f8", ">i4", "<f2", "<f16", "<u8"])
@WAYS
def test_every_layout_of_numbers_is_read_rightly(
    tmp_path: Path, descr: str, order: bool, read: Any
) -> None:
    """Big-endian files were refused with a word on compilers."""
    table = np.array([[1, 0, 7], [2, 1, 8]])
    body = table.astype(descr).tobytes("F" if order else "C")
    (tmp_path / "t.npy").write_bytes(npy((2, 3), descr, body, order))
    data = read(tmp_path / "t.npy", 1)
    np.testing.assert_array_equal(data.X, table[:, [0, 2]])
    np.testing.assert_array_equal(data.y, [0, 1])


@pytest.mark.skipif(np.dtype(np.longdouble).itemsize != 16, reason="long doubles of 80 bits")
def test_bits_that_are_no_long_double_are_refused_without_a_warning(tmp_path: Path) -> None:
    """The long fuzz found it: numpy's cast warned of an invalid value."""
    body = bytes.fromhex("000000000000000000f03f" + "00" * 5 + "00000000000000003ff0" + "00" * 6)
    (tmp_path / "t.npy").write_bytes(npy((1, 2), "<f16", body))
    assert "missing or infinite values" in refused(tmp_path / "t.npy", None)


def test_an_array_of_a_million_columns_is_read_at_once(tmp_path: Path) -> None:
    """A column at a time it took minutes."""
    table = np.zeros((2, 10**6), np.float32)
    table[1] = 1
    np.save(tmp_path / "t.npy", table)
    data = read_table(tmp_path / "t.npy")
    assert data.X.shape == (2, 10**6 - 1) and (data.X == [[0], [1]]).all()


def test_a_header_of_python_2_is_read_without_a_warning(tmp_path: Path) -> None:
    text = b"{'descr': '<f8', 'fortran_order': False, 'shape': (2L, 2L)}"
    body = np.array([[5.0, 0], [6, 1]]).tobytes()
    head = b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little")
    (tmp_path / "t.npy").write_bytes(head + text + body)
    np.testing.assert_array_equal(read_table(tmp_path / "t.npy").X, [[5], [6]])


def parquet(path: Path, **columns: Any) -> bytes:
    """A Parquet file, and its bytes."""
    pq.write_table(pa.table(columns), path)
    return path.read_bytes()


@pytest.mark.parametrize(
    "column",
    [[[1], [2]], [{"a": 1}, {"a": 2}], [[{"a": [1]}], []]],
    ids=["list", "struct", "deep"],
)
def test_a_nested_parquet_column_is_named(tmp_path: Path, column: list[Any]) -> None:
    parquet(tmp_path / "t.parquet", x=column, y=[0, 1])
    assert "column 'x' is nested" in refused(tmp_path / "t.parquet")


def test_a_broken_parquet_footer_is_one_line(tmp_path: Path) -> None:
    good = parquet(tmp_path / "t.parquet", x=[1.0, 2.0], y=[0, 1])
    for content in (good[:-20], good[:40], good[:-8] + b"\xff\xff\xff\x7fPAR1", b"PAR1PAR1", b""):
        (tmp_path / "t.parquet").write_bytes(content)
        assert "is no Parquet table" in refused(tmp_path / "t.parquet")


def test_a_parquet_dictionary_is_text(tmp_path: Path) -> None:
    levels = pa.array(["b", "a", "b", "c"]).dictionary_encode()
    parquet(tmp_path / "t.parquet", x=levels, y=[0, 1, 0, 1])
    found = read_table(tmp_path / "t.parquet", "y").X.tolist()
    assert len({tuple(row) for row in found}) == 3 and found[0] == found[2]


LIMITED = """
import resource, sys
from pathlib import Path
import torchlogreg.readers, torchlogreg.history, pandas, pyarrow.parquet
now = int(Path("/proc/self/statm").read_text().split()[0]) * 4096
resource.setrlimit(resource.RLIMIT_AS, (now + 2**29, now + 2**29))
read = {".npz": torchlogreg.history.History.load}
for path in map(Path, sys.argv[1:]):
    try:
        read.get(path.suffix, lambda p: torchlogreg.readers.read_table(p, "y"))(path)
    except ValueError as error:
        print(error)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="a limit on memory, and /proc, are Linux's")
def test_small_files_that_unfold_to_gigabytes_are_refused_within_half_a_gigabyte(
    tmp_path: Path,
) -> None:
    wide, lines = b",".join(b"c%d" % i for i in range(19_000)), b"1\n" * 300_000
    (tmp_path / "lines.csv").write_bytes(wide + b",y\n" + lines)  # 45 GB of missing values
    (tmp_path / "lies.npy").write_bytes(npy((10**10, 2)))
    files = [str(p) for p in sorted(tmp_path.iterdir())]
    assert all(os.path.getsize(f) < 5e6 for f in files)
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, *files], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    said = done.stdout.splitlines()
    assert len(said) == 2 and "0 bytes follow" in said[0] and "need 42.5 GiB" in said[1]


def test_a_parquet_file_larger_than_its_room_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parquet(tmp_path / "t.parquet", x=np.zeros(10**5), y=np.arange(10**5) % 2)
    assert os.path.getsize(tmp_path / "t.parquet") < 10**5
    monkeypatch.setattr(untrusted, "room", lambda: 2**20)
    assert "100000 rows of 2 columns need" in refused(tmp_path / "t.parquet")


def test_hostile_names_stay_text_in_a_frame_of_any_kind(tmp_path: Path) -> None:
    names = ["<script>alert(1)</script>", "$\\frac{", "a|b`c*d", "../../etc/passwd"]
    frame = pd.DataFrame(np.arange(12.0).reshape(3, 4), columns=names).assign(y=[0, 1, 0])
    frame.to_csv(tmp_path / "t.csv", index=False)
    assert read_table(tmp_path / "t.csv", "y").feature_names == tuple(names)
