"""Files that appear whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A temporary path, to be written in the block; what is there becomes ``path`` at its end.

    1. The temporary file lies in the same folder, hidden, and has the same suffix.
    2. Flushed to the disk (fsync), so that the new bytes are there before the old ones go.
    3. Renamed: whoever reads sees the old file or the new one, whole.
    4. The folder is flushed, so that the name survives a power cut, too.

    Parameters
    ----------
    path : Path
        Replaced if it exists; left as it is, with nothing beside it, if the block fails.

    Yields
    ------
    Path

    Raises
    ------
    OSError
        If the disk is full, or the folder cannot be written.
    """
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.tmp{path.suffix}")  # 1
    try:
        yield temporary
        _flush(temporary, os.O_RDWR)  # 2
        os.replace(temporary, path)  # 3
    finally:
        temporary.unlink(missing_ok=True)
    if os.name != "nt":  # whose folders cannot be opened
        _flush(path.parent, os.O_RDONLY)  # 4


def _flush(path: Path, how: int) -> None:
    """Wait until a file, or the names in a folder, are on the disk."""
    handle = os.open(path, how)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
