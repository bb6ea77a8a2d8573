"""EventFile: one TensorBoard event file, shared by all hooks of a fit."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from torchlogreg.distributed import rank
from torchlogreg.hooks.pace import Budget, Offer
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
from torchlogreg.hooks.seen import Sight

PREFIX = "events.out.tfevents."
"""Of the names of the files that TensorBoard reads."""

BUFFER = 2**17
"""Bytes handed to the operating system at once, unless somebody is to see them before."""


class EventFile:
    """The event file of one fit; give the same one to every TensorBoard hook of that fit.

    TensorBoard reads one file of a run at a time: of two that grow side by side, it drops the
    figures of one. The file is opened by the first hook that starts and closed by the last that
    ends. It is written by the training thread itself, whole records at a time: no queue, no second
    thread to wait for.

    Parameters
    ----------
    log_dir : path
        Folder of this run alone, created if missing. Runs side by side in one folder overlay.
    share : float or None
        Part of the fit's time that its hooks may take together; what does not fit is written more
        rarely, and what tells most goes first. Always written are log-spaced points of the curves
        and the first and last boundary; and everything at the end of a fit of at most 500 epochs
        that took less than 0.03 seconds. None: no limit, so that nothing depends on the clock.

    Raises
    ------
    ValueError
        If ``share`` is not positive.
    """

    def __init__(self, log_dir: str | os.PathLike[str], *, share: float | None = 0.04) -> None:
        if share is not None and not share > 0:
            raise ValueError(f"share is {share}, but it is a part of the time; None is no limit")
        self.log_dir = Path(log_dir)
        self.share = share
        self.budget = Budget(share)  # of the fit that writes; a new one when the file is opened
        self.sight = Sight()  # what the hooks see, shared
        self.tags: dict[str, None] = {}  # of all scalars so far; an ordered set
        self._file: Records | None = None
        self._users = 0
        self._offers: list[Offer] = []
        self._last_words: list[Callable[[], Iterable[Any]]] = []

    def open(self, epoch: int = 0) -> None:
        """Count one more user; the first creates the file.

        Parameters
        ----------
        epoch : int
            Above 0 for a fit that is resumed: a second file beside that of its first part, which
            says that what stands there of this epoch and later ones is to be forgotten.

        Raises
        ------
        OSError
            If ``log_dir`` cannot be written.
        FileExistsError
            If it holds the events of an earlier run.
        """
        if self._file is None:
            self.tags, self._last_words, self._offers = {}, [], []
            self.sight, self.budget = Sight(), Budget(self.share)
            # Files of one process and second still differ in name.
            name = f"{time.time():.0f}.{socket.gethostname()}.{os.getpid()}.{time.time_ns()}"
            self._path, self._discarded = self.log_dir / f"{PREFIX}{name}", False
            self._file = (
                _new_file(self._path, epoch) if rank() == 0 else Records(open(os.devnull, "wb"))
            )
            self._file.write(event(time.time(), 0, FILE_VERSION, b"brain.Event:2"))
            if epoch:
                self._file.write(event(time.time(), epoch, SESSION_LOG, START))
        self._users += 1

    def close(self) -> None:
        """Count one user less; the last writes what is left and affordable, and closes."""
        self._users -= 1
        if self._users or self._file is None:
            return
        try:
            for offer in self.budget.choose(self._offers):
                offer.write()
            for words in self._last_words:
                for summary in words():
                    self.add(summary)
        finally:
            file, self._file = self._file, None
            self.sight, self._offers = Sight(), []
            file.close()
            if self._discarded:
                self._path.unlink(missing_ok=True)

    def discard(self) -> None:
        """Remove the file when it is closed: the fit failed before it began."""
        self._discarded = True

    def offer(self, offers: Iterable[Offer]) -> None:
        """Write these when the file is closed, those that there is time for."""
        self._offers += offers

    def at_the_end(self, summaries: Callable[[], Iterable[Any]]) -> None:
        """Write these just before the file is closed, when all tags are known."""
        self._last_words.append(summaries)

    def add(self, summary: Any, epoch: int = 0) -> None:
        """Write a ``Summary`` at an epoch, as of now."""
        self._write(summary.SerializeToString(), epoch)

    def curves(
        self, tags: Sequence[str], points: Iterable[tuple[int, float, Iterable[float]]]
    ) -> None:
        """Write a point of every curve for each epoch: epoch, moment, a number a tag."""
        records, packer = self._records(), scalars(tuple(tags))
        for epoch, moment, numbers in points:
            records.write(event(moment, epoch, SUMMARY, packer.of(numbers)))
        self.tags |= dict.fromkeys(tags)

    def scalars(self, numbers: Mapping[str, float], epoch: int) -> None:
        """Write numbers by tag, as of now."""
        if numbers:
            self.curves(tuple(numbers), [(epoch, time.time(), numbers.values())])

    def image(self, tags: Iterable[str], png: bytes, size: tuple[int, int], epoch: int) -> None:
        """Write a PNG of ``(width, height)`` under one tag or several."""
        self._write(image_summary(tags, png, size), epoch)

    def flush(self) -> None:
        """Hand everything to the operating system, where TensorBoard sees it."""
        if self._file is not None:
            self._file.flush()

    def _write(self, summary: bytes, epoch: int) -> None:
        """A serialized ``Summary`` as an event."""
        self._records().write(event(time.time(), epoch, SUMMARY, summary))

    def _records(self) -> Records:
        """The open file."""
        if self._file is None:
            raise ValueError("the event file is closed; hooks write between open() and close()")
        return self._file


def event_file(target: str | os.PathLike[str] | EventFile) -> EventFile:
    """The file a hook was given, or one of its own in the folder it was given."""
    return target if isinstance(target, EventFile) else EventFile(target)


def _new_file(path: Path, epoch: int) -> Records:
    """Make the folder and a file there, which starts a run of its own unless it is resumed."""
    folder = path.parent
    try:
        taken = not _made(folder) and epoch == 0
        taken = taken and any(name.startswith(PREFIX) for name in os.listdir(folder))
        file = None if taken else open(path, "xb", buffering=BUFFER)
    except OSError as error:
        raise OSError(
            f"log_dir {str(folder)!r} cannot be written ({error.strerror}); choose another folder"
        ) from None
    if file is None:
        raise FileExistsError(
            f"log_dir {str(folder)!r} holds the events of an earlier run, and TensorBoard would "
            "mix the two; give every run a folder of its own, and all hooks of a fit one EventFile"
        )
    return Records(file)


def _made(folder: Path) -> bool:
    """Make a folder and those that it is in; whether it is a new one."""
    try:
        os.mkdir(folder)
    except FileNotFoundError:
        os.makedirs(folder)
    except FileExistsError:
        return False
    return True
