"""How a fit goes on from a checkpoint."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from pathlib import Path
from traceback import walk_tb
from types import TracebackType

import torch
from torch.optim.lr_scheduler import ReduceLROnPlateau

from torchlogreg import distributed
from torchlogreg.checkpoints.captured import Saved
from torchlogreg.checkpoints.file import (
    DamagedError,
    checkpoints,
    own_folder,
    ranks_in,
    read,
    sweep,
)
from torchlogreg.state import FitState
from torchlogreg.untrusted import one_line

SENSELESS = (LookupError, TypeError, ValueError, AttributeError, RuntimeError, ArithmeticError)
"""Errors that numbers and records out of place end in."""


class CheckpointWarning(UserWarning):
    """A checkpoint could not be read, or not be written, and the fit goes on without it."""


def find(path: str | os.PathLike[str], state: FitState) -> Saved | None:
    """The newest checkpoint that can be read; None in a folder that has none.

    Parameters
    ----------
    path : path
        A checkpoint, or a folder of them.
    state : FitState
        Of the fit that is to go on; left as it is.

    Raises
    ------
    FileNotFoundError
        If there is neither.
    ValueError
        If none can be read, or it is of another fit.

    Warns
    -----
    CheckpointWarning
        If the newest ones cannot be read and an older one is taken.
    """
    path = Path(path)
    found = _found(path)
    damaged: list[str] = []
    epoch = _newest(found)
    if epoch is None and distributed.count(len(found)):
        text = f"{path} has no epoch of which all ranks have a checkpoint: from the start"
        warnings.warn(text, CheckpointWarning, stacklevel=3)
        sweep(own_folder(path), after=0)
    while epoch is not None:
        saved = _read(found.pop(epoch), state, damaged)
        if distributed.all_min(torch.tensor(saved is not None)):
            break
        epoch = _newest(found)
    else:
        with distributed.together("resuming"):
            if damaged:
                text = f"nothing in {path} can be resumed: {'; '.join(damaged)}; start anew"
                raise ValueError(text)
        return None
    if damaged and saved is not None:
        text = f"{'; '.join(damaged)}: resumed from {saved.path.name}, the one before"
        warnings.warn(text, CheckpointWarning, stacklevel=3)
    return saved


def _found(path: Path) -> dict[int, Path]:
    """This rank's checkpoints by epoch.

    Raises
    ------
    ValueError
        If they are of another number of ranks, or on another machine.
    FileNotFoundError
        If there is no such folder or file.
    """
    ranks = distributed.world_size()
    with distributed.together("looking for its checkpoints"):
        if not path.exists():
            raise FileNotFoundError(f"resume={str(path)!r}, but there is no such folder or file")
        if path.is_file():
            return {0: path}
        there = ranks_in(path)
        if there and ranks not in there:
            raise ValueError(
                f"{path} holds the checkpoints of {there[-1]} ranks, but here "
                f"{'is one process' if ranks == 1 else f'are {ranks}'}; start as many, or anew"
            )
    own = own_folder(path)
    found = checkpoints(own)
    others = distributed.count(len(found))
    with distributed.together("looking for its checkpoints"):
        if others and not own.is_dir():  # made before the first epoch: it was never here
            raise ValueError(
                f"{own} does not exist, but other ranks have checkpoints; each goes on from its "
                "own: copy that folder here, or start anew"
            )
    return found


def _newest(found: dict[int, Path]) -> int | None:
    """The newest epoch of which all ranks have a checkpoint."""
    epochs = distributed.all_rows(torch.tensor(list(found), dtype=torch.int64)).tolist()
    return max((e for e in epochs if epochs.count(e) == distributed.world_size()), default=None)


def _read(path: Path, state: FitState, damaged: list[str]) -> Saved | None:
    """A checkpoint; None, with the reason added to ``damaged``, if it cannot be read."""
    with distributed.together("reading its checkpoint"):
        try:
            return Saved(read(path), path, state)
        except (DamagedError, FileNotFoundError) as error:
            damaged.append(f"{path.name} is damaged ({error})")
            return None


def resumed(
    state: FitState, path: str | os.PathLike[str] | None
) -> Callable[[], AbstractContextManager[None]]:
    """Put the fit where its newest checkpoint is, if it is to go on.

    Returns
    -------
    callable
        What is left to be done once the hooks have started: a context for the training.
    """
    saved = None if path is None else find(path, state)
    if saved is None:
        return nullcontext
    with _sense(saved.path):
        saved.restore(state)
        if type(state.epoch) is not int or type(state.step) is not int:
            raise TypeError("it does not say where it was")
    return partial(_settled, saved, state)


@contextmanager
def _settled(saved: Saved, state: FitState) -> Iterator[None]:
    """The rest of the restoration, once the fit has the threads that it runs with.

    What a forged file gave the optimizer or a hook shows in the next epoch: whose errors, but for
    those of others' code, are then the file's.
    """
    with _sense(saved.path):
        saved.settle(state)
    here = torch.get_num_threads()
    if saved.threads != here:
        text = f"{saved.path} is of a fit with torch on {saved.threads} threads, here it has {here}"
        last = "the last digits may be others than those of a fit that nothing interrupted"
        warnings.warn(f"{text}: {last}", CheckpointWarning, stacklevel=4)
    epoch = state.epoch
    try:
        yield
    except SENSELESS as error:
        late = state.epoch > epoch + 1 or isinstance(error, torch.OutOfMemoryError)
        if late or not _our_own(error.__traceback__):
            raise
        raise ValueError(
            f"{saved.path}: a fit cannot go on from it ({type(error).__name__}: {one_line(error)});"
            " remove it to go on from the one before"
        ) from error


def _our_own(trace: TracebackType | None) -> bool:
    """Whether no code of anybody else has run on the way to an error."""
    roots = {frame.f_globals["__name__"].partition(".")[0] for frame, _ in walk_tb(trace)}
    return roots <= {"torchlogreg", "torch", "numpy", "contextlib", "functools"}


@contextmanager
def _sense(path: Path) -> Iterator[None]:
    """What a file holds that somebody has made with a right checksum may still be absurd."""
    try:
        yield
    except SENSELESS as error:
        raise ValueError(
            f"{path} is damaged: it holds what no fit remembers ({one_line(error)}); remove it to "
            "go on from the one before"
        ) from None


def remaining(state: FitState) -> range:
    """The epochs that are left, of a fit that may have been resumed."""
    if state.stop_reason:  # it had ended
        return range(0)
    if state.epoch > 0:
        next_rate(state)  # as the end of that epoch, after the checkpoint, would have done
    return range(state.epoch + 1, state.max_epochs + 1)


def next_rate(state: FitState) -> None:
    """The learning rate of the next epoch, if a scheduler sets it."""
    schedule = state.schedule
    if isinstance(schedule, ReduceLROnPlateau):
        schedule.step(float(state.value))
    elif schedule is not None:
        schedule.step()
