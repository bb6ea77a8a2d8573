"""Checkpoint files: they appear whole or not at all, and what is damaged is known to be.

A file is in the safetensors format: bytes by name, and JSON beside them. The format has no code in
it, and the library refuses shapes that the file has no bytes for. A SHA-256 of everything, in the
header, finds what a disk has changed.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from torchlogreg import distributed
from torchlogreg.disk import mapped
from torchlogreg.untrusted import one_line
from torchlogreg.whole_files import whole_file

FORMAT = "torchlogreg checkpoint 2"
PIECE = 2**22
"""Bytes read at once."""
NAME = re.compile(r"epoch-(\d{8,18})\.safetensors")
TEMPORARY = re.compile(r"\.epoch-\d{8,18}\.\d+\.tmp\.safetensors")
PART = re.compile(r"rank-\d{1,9}-of-(\d{1,9})")


class Contents(NamedTuple):
    """What a file holds: JSON, and bytes by name."""

    tree: Any
    storages: dict[str, Tensor]


class DamagedError(ValueError):
    """A file that is no whole checkpoint."""


def path_of(folder: Path, epoch: int) -> Path:
    """Where the checkpoint of an epoch lies."""
    return folder / f"epoch-{epoch:08d}.safetensors"


def own_folder(folder: Path) -> Path:
    """``folder``; on several ranks that of this one within it, for each has its own rows."""
    ranks = distributed.world_size()
    return folder if ranks == 1 else folder / f"rank-{distributed.rank()}-of-{ranks}"


def ranks_in(folder: Path) -> list[int]:
    """Numbers of ranks of the fits that have left checkpoints in a folder; by names alone."""
    found = {1} if checkpoints(folder) else set()
    for name in os.listdir(folder):
        part = PART.fullmatch(name)
        if part and checkpoints(folder / name):
            found.add(int(part[1]))
    return sorted(found)


def checkpoints(folder: Path) -> dict[int, Path]:
    """Paths of the checkpoints in a folder by epoch, the newest first; by name alone."""
    if not folder.is_dir():
        return {}
    matches = (NAME.fullmatch(name) for name in os.listdir(folder))
    found = {int(match[1]): folder / match[0] for match in matches if match}
    return dict(sorted(found.items(), reverse=True))


def sweep(folder: Path, after: int) -> None:
    """Remove what killed processes have left half written, and checkpoints after an epoch.

    What cannot be removed stays: it is in nobody's way.
    """
    late = [path for epoch, path in checkpoints(folder).items() if epoch > after]
    halves = [folder / name for name in os.listdir(folder) if TEMPORARY.fullmatch(name)]
    for path in (*late, *halves):
        with suppress(OSError):
            path.unlink()


def write(path: Path, contents: Contents) -> None:
    """Write a checkpoint, whole, and on the disk when this returns.

    Raises
    ------
    OSError
        If the disk is full, or the folder cannot be written; nothing is left behind.
    """
    text = json.dumps(contents.tree)
    header: dict[str, Any] = {
        "__metadata__": {
            "format": FORMAT,
            "tree": text,
            "sha256": _digest(text, contents.storages),
        }
    }
    end = 0
    for name, part in contents.storages.items():
        begin, end = end, end + part.numel()
        header[name] = {"dtype": "U8", "shape": [part.numel()], "data_offsets": [begin, end]}
    head = json.dumps(header).encode()
    head += b" " * (-len(head) % 8)
    with whole_file(path) as temporary, open(temporary, "wb") as file:
        file.write(len(head).to_bytes(8, "little") + head)
        for part in contents.storages.values():  # the library would join them in memory first
            file.write(part.contiguous().numpy().data)


def read(path: Path) -> Contents:
    """Read a checkpoint.

    Raises
    ------
    DamagedError
        If it is cut short, changed, foreign, or no ordinary file.
    OSError
        If it cannot be opened.
    """
    from safetensors import SafetensorError, safe_open

    if not stat.S_ISREG(os.lstat(path).st_mode):
        raise DamagedError("it is no ordinary file, and links are not followed")
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            header = file.metadata() or {}
            if header.get("format") != FORMAT:
                raise DamagedError("it is no checkpoint of this version of torchlogreg")
            storages = {name: _loaded(file, name) for name in file.keys()}
        if _digest(header["tree"], storages) != header.get("sha256"):
            raise DamagedError("its checksum is wrong")
        return Contents(json.loads(header["tree"]), storages)
    except (SafetensorError, KeyError, ValueError, RecursionError, RuntimeError) as error:
        if isinstance(error, DamagedError):
            raise
        raise DamagedError(one_line(error)) from None


def _loaded(file: Any, name: str) -> Tensor:
    """The bytes of that name; many of them in a temporary file, not in memory."""
    part = file.get_slice(name)
    shape = part.get_shape()
    if part.get_dtype() != "U8" or len(shape) != 1:
        raise DamagedError("its tensors are no bytes")
    if shape[0] < mapped.LARGE:
        whole: Tensor = file.get_tensor(name)
        return whole
    found = mapped.room((shape[0],), torch.uint8)
    for start in range(0, shape[0], PIECE):
        found[start : start + PIECE] = part[start : start + PIECE]
    return found


def _digest(text: str, storages: Mapping[str, Tensor]) -> str:
    """SHA-256 of the JSON and all bytes, with their names and lengths."""
    found = hashlib.sha256(text.encode())
    for name in sorted(storages):
        found.update(f"\n{name} {storages[name].numel()}\n".encode())
        found.update(storages[name].contiguous().numpy().data)
    return found.hexdigest()
