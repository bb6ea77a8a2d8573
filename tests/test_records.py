"""The event file's records, against TensorBoard's own writer and reader."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.compat.tensorflow_stub.pywrap_tensorflow import PyRecordReader_New
from tensorboard.summary.writer.record_writer import RecordWriter

from torchlogreg.hooks.records import (
    FILE_VERSION,
    SESSION_LOG,
    START,
    SUMMARY,
    Records,
    event,
    image_summary,
    scalars,
)


@pytest.mark.parametrize("length", [0, 1, 9, 100, 70_001])
def test_records_are_the_bytes_tensorboards_own_writer_writes(tmp_path: Path, length: int) -> None:
    data = np.random.default_rng(length).bytes(length)
    for name, kind in (("ours", Records), ("theirs", RecordWriter)):
        writer = kind(open(tmp_path / name, "xb"))
        writer.write(data)
        writer.write(b"the next")
        writer.close()
    assert (tmp_path / "ours").read_bytes() == (tmp_path / "theirs").read_bytes()


def test_tensorboards_own_reader_accepts_both_checksums_of_each_record(tmp_path: Path) -> None:
    written = [np.random.default_rng(length).bytes(length) for length in range(0, 4000, 97)]
    writer = Records(open(tmp_path / "file", "xb"))
    for data in written:
        writer.write(data)
    writer.close()
    reader = PyRecordReader_New(str(tmp_path / "file"))
    seen = []
    for _ in written:
        reader.GetNext()
        seen.append(reader.record())
    assert seen == written


@pytest.mark.parametrize("epoch", [0, 1, 127, 128, 300, 2**31, 2**62])
@pytest.mark.parametrize(
    "numbers",
    [
        {"loss": 0.25},
        {"a": 0.0, "b/c": -1e300, "weights ≥ 1": float("inf"), "d": float("nan"), "e": 1e-50},
        {f"{'long/' * 40}{j}": j / 7 for j in range(20)},
    ],
    ids=["one", "odd", "long"],
)
def test_scalar_events_are_the_bytes_a_protocol_buffer_serializes_to(
    epoch: int, numbers: dict[str, float]
) -> None:
    values = [Summary.Value(tag=tag, simple_value=x) for tag, x in numbers.items()]
    expected = Event(wall_time=1234.5, step=epoch, summary=Summary(value=values))
    packer = scalars(tuple(numbers))
    packer.of(-1.0 for _ in numbers)  # leaves nothing behind
    written = event(1234.5, epoch, SUMMARY, packer.of(numbers.values()))
    assert written == expected.SerializeToString()


@pytest.mark.parametrize("length", [1, 130, 20_000])
def test_image_events_are_the_bytes_a_protocol_buffer_serializes_to(length: int) -> None:
    png, tags = np.random.default_rng(length).bytes(length), ["boundary", "boundary/last", "≥"]
    picture = Summary.Image(width=480, height=77, colorspace=3, encoded_image_string=png)
    values = [Summary.Value(tag=tag, image=picture) for tag in tags]
    expected = Event(wall_time=1.5, step=300, summary=Summary(value=values))
    written = event(1.5, 300, SUMMARY, image_summary(tags, png, (480, 77)))
    assert written == expected.SerializeToString()


def test_the_first_events_are_the_bytes_a_protocol_buffer_serializes_to() -> None:
    version = Event(wall_time=1.5, file_version="brain.Event:2")
    assert event(1.5, 0, FILE_VERSION, b"brain.Event:2") == version.SerializeToString()
    start = Event(wall_time=1.5, step=7, session_log=SessionLog(status=SessionLog.START))
    assert event(1.5, 7, SESSION_LOG, START) == start.SerializeToString()
