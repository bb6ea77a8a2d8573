"""The event file's records, against TensorBoard's own writer and reader."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.compat.tensorflow_stub.pywrap_tensorflow import PyRecordReader_New
from tensorboard.summary.writer.record_writer import RecordWriter

from torchlogreg.hooks.records import Records, scalar_event


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
    event = Event(wall_time=1234.5, step=epoch, summary=Summary(value=values))
    assert scalar_event(1234.5, epoch, numbers) == event.SerializeToString()
