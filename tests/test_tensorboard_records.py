"""Event files, written by our own hands: TensorBoard's reader and checksum agree with them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tensorboard.backend.event_processing.event_file_loader import RawEventFileLoader
from tensorboard.compat.tensorflow_stub.pywrap_tensorflow import crc32c as reference
from tensorboard.compat.tensorflow_stub.pywrap_tensorflow import masked_crc32c

from torchlogreg.hooks.records import BLOCK, SHORT, crc32c, masked, record


@given(st.binary(max_size=3 * BLOCK))
def test_checksum_is_tensorboards(data: bytes) -> None:
    assert crc32c(data) == reference(data)
    assert masked(data) == masked_crc32c(data)


@pytest.mark.parametrize(
    "size", [0, 1, 4, SHORT - 1, SHORT, SHORT + 1, BLOCK - 1, BLOCK, BLOCK + 1, 5 * BLOCK, 30_001]
)
def test_checksum_at_every_seam(size: int) -> None:
    data = np.random.default_rng(size).bytes(size)
    assert crc32c(data) == reference(data)


def test_checksum_of_the_standard() -> None:
    # RFC 3720, appendix B.4: 32 bytes of zeros, and of ones.
    assert crc32c(bytes(32)) == 0x8A9136AA
    assert crc32c(b"\xff" * 32) == 0x62A8AB43


def test_records_are_read_back_by_tensorboard(tmp_path: Path) -> None:
    contents = [b"", b"a", bytes(1000), np.random.default_rng(0).bytes(10_000)]
    path = tmp_path / "events.out.tfevents.1"
    path.write_bytes(b"".join(record(data) for data in contents))
    assert list(RawEventFileLoader(str(path)).Load()) == contents
