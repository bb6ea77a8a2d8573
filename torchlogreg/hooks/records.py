"""Records of an event file: length, checksum, bytes, checksum; the checksum by table.

TensorBoard's own checksum is a Python loop over bytes (8 MB/s: longer than drawing a picture).
A CRC is linear, so the contribution of every byte at every place can be looked up at once and
the contributions combined by exclusive or.
"""

from __future__ import annotations

import struct
from functools import cache

import numpy as np

BLOCK = 256
"""Bytes whose contributions are combined at once."""

SHORT = 150
"""Fewer bytes than this are faster in a plain loop."""

_POLYNOMIAL = 0x82F63B78
"""CRC-32C (Castagnoli), bits reversed; RFC 3720, appendix B.4."""

_ONES = 0xFFFFFFFF


def record(data: bytes) -> bytes:
    """``data`` as a TFRecord, the container of event files."""
    length = struct.pack("<Q", len(data))
    return b"".join(
        (length, struct.pack("<I", masked(length)), data, struct.pack("<I", masked(data)))
    )


def masked(data: bytes) -> int:
    """CRC-32C, rotated and shifted as event files want it."""
    crc = crc32c(data)
    return (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & _ONES


def crc32c(data: bytes) -> int:
    """CRC-32C of some bytes.

    0. A short message goes byte by byte.
    1. Start from all ones: invert the first four bytes.
    2. Pad with zeros in front, which change nothing, to whole blocks.
    3. Add up (exclusive or) the contributions of each block's bytes, all blocks at once.
    4. Carry each block's sum over the next.
    """
    if len(data) < SHORT:
        state, last = _ONES, _last_place()
        for byte in data:
            state = last[(state ^ byte) & 255] ^ (state >> 8)
        return state ^ _ONES
    table = _contributions()
    padded = np.zeros(-(-len(data) // BLOCK) * BLOCK, np.uint8)
    start = len(padded) - len(data)
    padded[start:] = np.frombuffer(data, np.uint8)
    padded[start : start + 4] ^= 255
    blocks = padded.reshape(-1, BLOCK)
    sums = np.bitwise_xor.reduce(table[np.arange(BLOCK), blocks], axis=1)
    first = table[:4].tolist() if len(sums) > 1 else []
    state = int(sums[0])
    for part in sums[1:].tolist():
        state = (
            part
            ^ first[0][state & 255]
            ^ first[1][(state >> 8) & 255]
            ^ first[2][(state >> 16) & 255]
            ^ first[3][state >> 24]
        )
    return state ^ _ONES


@cache
def _contributions() -> np.ndarray:
    """What a byte at each place of a block adds to the checksum, (BLOCK, 256)."""
    table = np.zeros((BLOCK, 256), np.uint32)
    last = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        last = np.where(last & 1, (last >> 1) ^ np.uint32(_POLYNOMIAL), last >> 1)
    table[-1] = last
    for place in range(BLOCK - 2, -1, -1):
        later = table[place + 1]
        table[place] = last[later & 255] ^ (later >> 8)
    return table


@cache
def _last_place() -> list[int]:
    """The table of a plain loop over bytes."""
    last: list[int] = _contributions()[-1].tolist()
    return last
