"""Records: TensorBoard's file format, with its checksum computed by a compiled library.

Events of scalars, the most frequent ones, are written here byte by byte: ten times faster than
building the protocol buffers that TensorBoard would build.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping
from functools import lru_cache
from typing import BinaryIO

import google_crc32c


class Records:
    """Writes records as TensorBoard and TensorFlow read them (the TFRecord format).

    Each is its length, the masked checksum of the length, the data, the masked checksum of the
    data. TensorBoard's own ``RecordWriter`` writes the same bytes, and spends 0.15 ms per KiB in
    a Python loop: as long on a picture's checksum as drawing the picture takes.

    Parameters
    ----------
    file : BinaryIO
        Closed by :meth:`close`.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def write(self, data: bytes) -> None:
        """Append one record."""
        length = struct.pack("<Q", len(data))
        head, tail = struct.pack("<I", _masked(length)), struct.pack("<I", _masked(data))
        self._file.write(b"".join((length, head, data, tail)))

    def flush(self) -> None:
        """Hand everything to the operating system."""
        self._file.flush()

    def close(self) -> None:
        """Flush and close the file."""
        self._file.close()


def _masked(data: bytes) -> int:
    """CRC-32C, rotated and shifted as the format asks, so that checksums can be data again."""
    crc: int = google_crc32c.value(data)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


@lru_cache(maxsize=1024)
def _value(tag: str) -> bytes:
    """A ``Summary.Value`` but for the last four bytes, the number; with its key and length."""
    name = tag.encode()
    inside = b"\x0a" + _varint(len(name)) + name + b"\x15"  # 1: tag, 2: simple_value
    return b"\x0a" + _varint(len(inside) + 4) + inside


def scalar_event(moment: float, epoch: int, numbers: Mapping[str, float]) -> bytes:
    """An ``Event`` with a ``Summary`` of one ``simple_value`` a tag, serialized.

    The fields of TensorFlow's ``event.proto`` and ``summary.proto``: 1 wall_time, 2 step and
    5 summary of an Event; 1 value of a Summary; 1 tag and 2 simple_value of a Value.
    """
    values = b"".join(_value(tag) + _single(number) for tag, number in numbers.items())
    step = b"\x10" + _varint(epoch) if epoch else b""
    return b"\x09" + struct.pack("<d", moment) + step + b"\x2a" + _varint(len(values)) + values


def _single(number: float) -> bytes:
    """A number in single precision, infinite where it is too large."""
    try:
        return struct.pack("<f", number)
    except OverflowError:
        return struct.pack("<f", math.copysign(math.inf, number))


def _varint(number: int) -> bytes:
    """A non-negative integer, seven bits a byte, the last byte below 128."""
    found = bytearray()
    while number > 127:
        found.append(number & 127 | 128)
        number >>= 7
    found.append(number)
    return bytes(found)
