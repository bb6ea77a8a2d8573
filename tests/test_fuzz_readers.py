"""Fuzzed files: a table or history is read rightly, or refused in one printable line."""

from __future__ import annotations

import io
import json
import os
import struct
import zipfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from torchlogreg.history import History
from torchlogreg.readers import read_table

OUTCOMES: Counter[str] = Counter()

NASTY = [
    *(
        "",
        " ",
        "0",
        "1",
        "-1",
        "1.5",
        "1e400",
        "-1e400",
        "1e-400",
        "nan",
        "inf",
        "NA",
        "None",
        "True",
    ),
    *("=cmd|' /C calc'!A0", "@SUM(1)", "+1+1", "<script>alert(1)</script>", "$\\frac{", "a\tb"),
    *("\x00", "\x1b[31m", "\r", "\n", '"', "''", ",", ";", "\u202e", "\ufeff", "é", "\U0001f600"),
    *(
        "9" * 25,
        "9" * 400,
        "9" * 5000,
        "0x10",
        "1_000",
        "1,000",
        "1+2j",
        "2024-01-31",
        "#",
        "x" * 1500,
    ),
]
FIELDS = st.one_of(st.sampled_from(NASTY), st.integers(0, 9).map(str), st.text(max_size=6))


@st.composite
def csvs(draw: Any) -> bytes:
    """Rows of nasty fields, more or less of one width, in some encoding."""
    width = draw(st.integers(2, 5))
    clean, named = draw(st.booleans()), draw(st.booleans())
    fields = st.integers(0, 99).map(str) if clean else FIELDS
    rows = draw(st.lists(st.lists(fields, min_size=width, max_size=width), min_size=2, max_size=8))
    header = draw(st.lists(FIELDS, min_size=width, max_size=width))
    header = [*(["a", "b", "c", "d"][: width - 1] if named else header[:-1]), "y"]
    if draw(st.sampled_from([False, False, False, True])):
        rows[-1] = rows[-1] + [draw(FIELDS)]
    quote = draw(st.booleans())
    cells = [
        ['"' + c.replace('"', '""') + '"' if quote else c for c in row] for row in [header, *rows]
    ]
    end = draw(st.sampled_from(["\n", "\r\n", "\r"]))
    text = end.join(",".join(row) for row in cells) + draw(st.sampled_from(["", end]))
    encoding = draw(
        st.sampled_from(["utf-8"] * 5 + ["utf-8-sig", "utf-16", "utf-16-le", "latin-1"])
    )
    return text.encode(encoding, errors="replace")


DESCR = ["<f8", ">f8", "<f4", "<f2", "<f16", "<i8", ">i2", "<u8", "|b1", "|O", "<c16", "|S0", "<U3"]
LENGTHS = st.one_of(st.integers(-3, 8), st.sampled_from([2**31, 2**60, 2**63, 10**50, True, 1.0]))


@st.composite
def arrays(draw: Any) -> bytes:
    """A .npy whose header may lie about everything; every other one says the truth."""
    if draw(st.booleans()):
        step, shape = draw(st.integers(1, 96)), draw(st.sampled_from([(2, 6), (3, 4), (6, 2)]))
        table = (np.arange(12) * step % 97).reshape(shape)
        sink = io.BytesIO()
        order = draw(st.sampled_from(["C", "F"]))
        np.save(sink, np.asarray(table.astype(draw(st.sampled_from(DESCR[:9]))), order=order))
        return sink.getvalue()
    odd = [*DESCR, [("a", "<f8")], ("<f8", (2,)), "evil", 3, None]
    n, p = draw(st.integers(1, 6)), draw(st.integers(2, 4))
    honest = st.just((n, p))
    header = {
        "descr": draw(st.one_of(st.sampled_from(DESCR[:9]), st.sampled_from(odd))),
        "fortran_order": draw(st.sampled_from([False, True, False, True, 1, "no"])),
        "shape": draw(st.one_of(honest, honest, st.lists(LENGTHS, max_size=3).map(tuple))),
    }
    text = repr(header)
    if draw(st.sampled_from([False, False, False, True])):
        start, some = (
            draw(st.integers(0, len(text))),
            draw(st.sampled_from(["(", "[" * 300, "'", "\\d", "L"])),
        )
        text = text[:start] + some + text[start + len(some) :]
    whole = np.arange(n * p).astype(draw(st.sampled_from(DESCR[:9])))
    body = draw(st.one_of(st.just(bytes(whole) * 4), st.binary(max_size=200)))
    version = draw(st.sampled_from([(1, 0), (1, 0), (2, 0), (2, 0), (3, 0), (9, 0)]))
    coded = text.encode()
    length = len(coded) + draw(st.one_of(st.just(0), st.just(0), st.integers(-20, 60000)))
    form = "<H" if version == (1, 0) else "<I"
    return b"\x93NUMPY" + bytes(version) + struct.pack(form, max(length, 0) % 2**16) + coded + body


def parquet_bytes() -> list[bytes]:
    """Small sound files of several kinds."""
    y = [0, 1, 0, 1]
    columns: list[Any] = [
        *[pa.array([0.5, 2.0, 3.0, 4.0])] * 5,
        pa.array([1.5, 2.0, 3.0, 4.0]),
        pa.array(["a", "b", "a", "c"]).dictionary_encode(),
        pa.array([[1], [2], [3], None]),
        pa.array([{"a": 1}] * 4),
        pa.array([None, True, False, True]),
        pa.array([10**70, 2, 3, 4], pa.decimal256(76, 0)),
        pa.array([1, 2, 3, 4], pa.timestamp("us", "UTC")),
    ]
    found = []
    for column in columns:
        sink = io.BytesIO()
        pq.write_table(pa.table({"x": column, "z": y, "y": y}), sink)
        found.append(sink.getvalue())
    return found


def history_bytes() -> list[bytes]:
    """A small history, stored and deflated, and with hostile parts."""
    found = []
    metas: list[Any] = [
        *[{"params": [["weight", [1, 2]]], "model": {"class": "LogisticRegression"}}] * 9,
        *({"params": p} for p in ([["w", [-1]]], [["w", [2.0]]], [[1, [2]]], 3, [[]], "ab")),
        *([1], None, {"model": 3}, {"feature_names": [1]}),
    ]
    for meta in metas:
        sink = io.BytesIO()
        np.savez(
            sink,
            meta=np.array(json.dumps(meta)),
            **{"records/epoch": np.arange(3), "records/params": np.zeros((3, 2))},
        )
        found.append(sink.getvalue())
    return found


PARQUETS, HISTORIES = parquet_bytes(), history_bytes()


@st.composite
def damaged(draw: Any, sound: list[bytes]) -> bytes:
    """A sound file with some bytes changed, cut off or put in."""
    content = bytearray(draw(st.sampled_from(sound)))
    for _ in range(draw(st.sampled_from([0, 1, 1, 2, 4]))):
        # The ends of the file hold its directory: most damage goes there.
        last = len(content) - 1
        tail = draw(st.booleans())
        at = last - draw(st.integers(0, min(last, 400))) if tail else draw(st.integers(0, last))
        piece = draw(st.one_of(st.binary(max_size=4), st.sampled_from([b"\xff" * 4, b"\0" * 8])))
        content[at : at + draw(st.integers(0, len(piece)))] = piece
        if not content:
            return b""
    cut = draw(st.one_of(st.just(len(content)), st.integers(0, len(content))))
    return bytes(content[:cut])


def check_line(error: Exception) -> None:
    """One printable line of bearable length."""
    text = str(error)
    assert text and text.isprintable() and len(text) < 2500, text


def attempt_table(path: Path, content: bytes, target: str | None) -> None:
    """A finite table, or one line."""
    path.write_bytes(content)
    try:
        data = read_table(path, target)
    except ValueError as error:
        OUTCOMES[f"{path.suffix} refused"] += 1
        check_line(error)
        return
    OUTCOMES[f"{path.suffix} read"] += 1
    assert data.X.shape == (len(data.y), len(data.feature_names)) and data.X.dtype == np.float64
    assert np.isfinite(data.X).all() and np.isfinite(data.y).all()
    for name in (*data.feature_names, *data.class_names, data.target_name):
        assert name.isprintable()


def attempt_history(path: Path, content: bytes, _target: str | None) -> None:
    """Arrays of numbers, or one line."""
    path.write_bytes(content)
    try:
        history = History.load(path)
    except ValueError as error:
        OUTCOMES[".npz refused"] += 1
        check_line(error)
        return
    OUTCOMES[".npz read"] += 1
    assert all(a.dtype.kind in "biuf" for a in (*history.records.values(), *history.data.values()))
    if "params" in history.meta and "params" in history and len(history):
        history.params(-1)


KINDS: dict[str, tuple[Any, Callable[[Path, bytes, str | None], None], str | None]] = {
    ".csv": (csvs(), attempt_table, "y"),
    ".npy": (arrays(), attempt_table, None),
    ".parquet": (damaged(PARQUETS), attempt_table, "y"),
    ".npz": (damaged(HISTORIES), attempt_history, None),
}
CASES = {".csv": 120, ".npy": 120, ".parquet": 60, ".npz": 80}


def fuzz(kind: str, folder: Path, cases: int) -> None:
    """Run so many cases of one kind."""
    contents, attempt, target = KINDS[kind]
    path = folder / f"fuzz{kind}"

    @settings(
        max_examples=cases,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
        derandomize=cases < 1000,
    )
    @given(contents)
    def run(content: bytes) -> None:
        attempt(path, content, target)

    run()
    assert os.listdir(folder) == [path.name]  # nothing was written beside it


@pytest.mark.parametrize("kind", list(KINDS))
def test_a_fuzzed_file_is_read_or_refused_in_one_line(kind: str, tmp_path: Path) -> None:
    fuzz(kind, tmp_path, CASES[kind])


@pytest.mark.slow
@pytest.mark.parametrize("kind", list(KINDS))
def test_ten_thousand_fuzzed_files_are_read_or_refused_in_one_line(
    kind: str, tmp_path: Path
) -> None:
    if not os.environ.get("TORCHLOGREG_LONG"):
        pytest.skip("the long run: TORCHLOGREG_LONG=1 pytest -m slow tests/test_fuzz_readers.py")
    fuzz(kind, tmp_path, 2600)
    print(dict(OUTCOMES))


def test_the_cases_are_no_idle_ones(tmp_path: Path) -> None:
    """Of each kind some are read and some refused; mere rubbish would prove little."""
    OUTCOMES.clear()
    for kind in KINDS:
        (tmp_path / kind).mkdir()
        fuzz(kind, tmp_path / kind, 60)
    for kind in KINDS:
        assert OUTCOMES[f"{kind} read"] >= 1 and OUTCOMES[f"{kind} refused"] >= 5, OUTCOMES
    assert zipfile.is_zipfile(io.BytesIO(HISTORIES[0]))
