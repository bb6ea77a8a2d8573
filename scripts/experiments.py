"""The folder of an experiment of train.py: made, found again after a restart, gone on with."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from common import new_folder
from torchlogreg.checkpoints.file import ranks_in
from torchlogreg.distributed import count, from_first, rank

COMMAND = "command.json"
"""In the folder of an experiment: what it was started with."""

JOB = "job.json"
"""Beside it, if torchrun did: which start of torchrun that was."""

LONGEST = 2**20
"""Bytes of a command, at most."""


def command_of(folder: Path) -> list[str]:
    """The words that an experiment was started with; from rank 0, whose files they are in.

    Raises
    ------
    ValueError
        If the folder is none of train.py's.
    """
    text = from_first(_text(folder / COMMAND) if rank() == 0 else "")
    try:
        words = json.loads(text)
    except (ValueError, RecursionError):
        words = None
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        raise ValueError(f"--resume {folder}: no experiment of train.py, there is no {COMMAND}")
    return words


def _text(path: Path) -> str:
    """What an ordinary file of moderate size says; nothing of all else, a pipe or a link."""
    try:
        if path.is_symlink() or not path.is_file() or path.stat().st_size > LONGEST:
            return ""
        return path.read_text(encoding="utf-8")
    except (OSError, ValueError):
        return ""


@contextmanager
def experiment(args: argparse.Namespace, name: str) -> Iterator[tuple[Path, bool]]:
    """The folder, of which rank 0 decides, and whether it is gone on with.

    A new one that knows its command; that of --resume; or, where torchrun has started its processes
    again, the one of their last start.
    """
    again = args.resume is not None or restarts() > 0
    if rank():
        yield Path(from_first("")), again
        return
    folder = _of_last_start(args.out, name) if args.resume is None else args.resume
    if folder is not None:
        yield Path(from_first(str(folder))), again
        return
    with new_folder(args.out, name) as folder:
        (folder / COMMAND).write_text(json.dumps(sys.argv[1:]) + "\n")
        if job() is not None:
            (folder / JOB).write_text(json.dumps(job()) + "\n")
        yield Path(from_first(str(folder))), again


def restarts() -> int:
    """How often torchrun --max-restarts has started this process again."""
    return int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0"))


def job() -> list[str] | None:
    """What tells this start of torchrun from all others; None without torchrun."""
    run = os.environ.get("TORCHELASTIC_RUN_ID")
    if run is None:
        return None
    port, parent = os.environ.get("MASTER_PORT", ""), os.getppid()
    try:  # when the process that starts this one was started, in ticks
        begun = Path(f"/proc/{parent}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        begun = ""
    return [run, port, str(parent), begun]


def _of_last_start(out: Path, name: str) -> Path | None:
    """The experiment that this job had begun before its processes were started again."""
    if restarts() == 0 or not out.is_dir():
        return None
    mine = json.dumps(job()) + "\n"
    places = (place for place in out.iterdir() if place.name.startswith(name))
    return next((place for place in places if _text(place / JOB) == mine), None)


def checkpoints_in(run: Path, again: bool) -> Path:
    """Where a run has its checkpoints; what was killed before the first one is cleared away.

    Raises
    ------
    ValueError
        If what is there belongs to nobody's run.
    """
    folder = run / "checkpoints"
    there = again and folder.is_dir() and bool(ranks_in(folder))
    if not again or count(int(there)):
        return folder
    if rank() == 0 and run.exists():
        if run.is_symlink():
            raise ValueError(f"{run} is a link, and links are not followed; remove it")
        shutil.rmtree(run)
    count(0)  # nobody writes there before that
    return folder
