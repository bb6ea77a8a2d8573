"""Rows that stay on disk: arrays mapped into memory, and room for what is made of them.

The system reads pages of a mapped file when they are touched, and drops them when memory is short,
so a file may be larger than memory. What is computed for every row goes to unlinked temporary files
under the same rule; ``TMPDIR`` says where, and should name a disk, not a file system in memory.
"""

from __future__ import annotations

import errno
import mmap
import os
import sys
import tempfile
import weakref
from math import prod
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

LARGE = 2**23
"""Bytes from which on something made of mapped rows goes to disk."""

_UNRESERVED = getattr(mmap, "MAP_NORESERVE", 0x4000 if sys.platform == "linux" else 0)


def is_mapped(values: Any) -> bool:
    """Whether an array or tensor is of a mapped file, such as ``np.load(..., mmap_mode="r")``."""
    if isinstance(values, Tensor):
        dense = values.layout == torch.strided and values.device.type == "cpu"
        return dense and values.untyped_storage().filename is not None
    return isinstance(values, np.memmap) and getattr(values, "_mmap", None) is not None


def shared(values: Any) -> NDArray[Any]:
    """A writable array over the pages of a mapped one, none of them copied until it is written to.

    Torch wants memory that can be written; of a read-only map that is a private one of the same
    file. No memory is reserved for it, so that the file may be larger than what there is. Where the
    file is gone or another one, and for rows backwards, the result is a copy.

    Parameters
    ----------
    values : np.memmap
    """
    array: NDArray[Any] = np.asarray(values)
    whole = all(step > 0 and step % array.itemsize == 0 for step in array.strides)
    if not whole or array.size == 0:
        return np.ascontiguousarray(array) if array.flags.writeable else array.copy()
    if array.flags.writeable:
        return array
    again = _private(values, array) if is_mapped(values) else None
    return array.copy() if again is None else again


def _private(values: Any, array: NDArray[Any]) -> NDArray[Any] | None:
    """The same part of the file by another map; None where it cannot be found again."""
    first = np.frombuffer(values._mmap, np.uint8).__array_interface__["data"][0]
    skipped = values.offset - values.offset % mmap.ALLOCATIONGRANULARITY  # before that map begins
    start = array.__array_interface__["data"][0] - first + skipped
    try:
        with open(values.filename, "rb") as file:
            pages = (
                mmap.mmap(
                    file.fileno(),
                    0,
                    flags=mmap.MAP_PRIVATE | _UNRESERVED,
                    prot=mmap.PROT_READ | mmap.PROT_WRITE,
                )
                if os.name == "posix"
                else mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
            )
        again: NDArray[Any] = np.ndarray(array.shape, array.dtype, pages, start, array.strides)
    except (OSError, TypeError, ValueError):
        return None
    same = np.array_equal(again[:1], array[:1]) and np.array_equal(again[-1:], array[-1:])
    return again if same else None


def room(shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    """Zeros in a temporary file without a name, which is gone when the tensor is.

    Raises
    ------
    OSError
        If the disk of ``TMPDIR`` has no room for them.
    """
    size = prod(shape)
    handle, path = tempfile.mkstemp(prefix="torchlogreg-")
    try:
        _reserve(handle, size * dtype.itemsize)
        found = torch.from_file(path, shared=True, size=size, dtype=dtype)
    finally:
        os.close(handle)
        os.unlink(path)
    return found.view(shape)


class Rooms:
    """Tensors in temporary files, whose pages serve again when a tensor is gone.

    Pages that a process has not written before cost it three microseconds each, more than what is
    computed for their rows.
    """

    def __init__(self) -> None:
        self._free: dict[int, list[mmap.mmap]] = {}

    def tensor(self, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        """Not filled.

        Raises
        ------
        OSError
            If the disk of ``TMPDIR`` has no room.
        """
        size = max(prod(shape) * dtype.itemsize, 1)
        free = self._free.setdefault(size, [])
        pages = free.pop() if free else _pages(size)
        owner = np.frombuffer(pages, np.uint8)  # which torch keeps as long as it uses the memory
        weakref.finalize(owner, free.append, pages).atexit = False
        return torch.from_numpy(owner).view(dtype).view(shape)


def _pages(n_bytes: int) -> mmap.mmap:
    """A map of a new file without a name."""
    with tempfile.TemporaryFile(prefix="torchlogreg-") as file:
        _reserve(file.fileno(), n_bytes)
        return mmap.mmap(file.fileno(), n_bytes)


def _reserve(handle: int, n_bytes: int) -> None:
    """Take the room now: a disk that fills up under a map kills the process."""
    try:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(handle, 0, max(n_bytes, 1))
        else:
            os.truncate(handle, n_bytes)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise
        raise OSError(
            error.errno,
            f"{n_bytes / 2**30:.1f} GiB do not fit into {tempfile.gettempdir()}; set TMPDIR to a "
            "folder on a larger disk",
        ) from None
