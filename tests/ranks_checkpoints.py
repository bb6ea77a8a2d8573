"""What two ranks run for test_checkpoint_ranks.py: fits that are resumed from uneven folders."""

from __future__ import annotations

import errno
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

import torchlogreg.hooks.checkpoint as writing
from orphans import end_with_parent
from problems import params_of, problem
from torchlogreg import FitState, Hook, distributed, fit
from torchlogreg.checkpoints.file import checkpoints, own_folder, path_of
from torchlogreg.checkpoints.resuming import CheckpointWarning
from torchlogreg.hooks import Checkpoint

EPOCHS = 7


def trained(epochs: int = EPOCHS, **settings: Any) -> tuple[torch.Tensor, str]:
    """Parameters of a fit of own rows, and why it ended."""
    case = problem("logistic")
    own, model = distributed.shard(case.n), case.model()
    result = fit(
        model, case.X[own], case.y[own], optimizer="momentum", batch_size=8, tol=0,
        max_epochs=epochs, generator=torch.Generator().manual_seed(2), **settings,
    )  # fmt: skip
    return params_of(model), result.stop_reason


class Asks(Hook):
    """Asks for the end after epoch 4, on rank 1 alone."""

    def on_epoch_end(self, state: FitState) -> None:
        if distributed.rank() == 1 and state.epoch == 4:
            state.request_stop("enough")


def full(write: Callable[..., None]) -> Callable[..., None]:
    """A disk of rank 1 that has no room for the checkpoint of epoch 5."""

    def attempt(path: Path, contents: Any) -> None:
        if distributed.rank() == 1 and path.name == "epoch-00000005.safetensors":
            raise OSError(errno.ENOSPC, "No space left on device")
        write(path, contents)

    return attempt


def spoiled(kind: str, own: Path) -> None:
    """What was done to the folder of rank 1, of which both have epochs 3, 4 and 5."""
    if distributed.rank() == 1:
        if kind == "damaged":
            path_of(own, 5).write_bytes(path_of(own, 5).read_bytes()[:-9])
        if kind in ("killed at the first", "another machine"):
            for path in own.iterdir():
                path.unlink()
        if kind == "another machine":
            own.rmdir()
        if kind == "one behind":
            path_of(own, 5).unlink()
        if kind == "nothing in common":
            path_of(own, 5).unlink()
            path_of(own, 4).unlink()
    elif kind == "nothing in common":
        path_of(own, 3).unlink()
    distributed.barrier()


def outcome(folder: Path, straight: torch.Tensor) -> np.ndarray:
    """Of a fit that goes on from there: same bits, what was said, epochs that are left."""
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always", CheckpointWarning)
        try:
            hooks = [Checkpoint(folder, every=1)]
            same = str(torch.equal(trained(resume=folder, hooks=hooks)[0], straight))
        except (ValueError, ConnectionError) as error:
            same = str(error)
    said = [str(each.message) for each in told if each.category is CheckpointWarning]
    return np.array([same, " ".join(said), str(sorted(checkpoints(own_folder(folder))))])


def answers(folder: Path) -> Iterator[tuple[str, np.ndarray]]:
    """All ways."""
    straight, _ = trained()
    kinds = "damaged, killed at the first, another machine, one behind, nothing in common"
    for kind in kinds.split(", "):
        place = folder / kind
        trained(5, hooks=[Checkpoint(place, every=1)])
        spoiled(kind, own_folder(place))
        yield kind, outcome(place, straight)
    write = writing.write
    writing.write = full(write)
    yield "full", outcome(folder / "full", straight)
    writing.write = write
    _, reason = trained(hooks=[Asks(), Checkpoint(folder / "asked", every=1)])
    _, again = trained(resume=folder / "asked")
    yield "asked", np.array([reason, again, str(sorted(checkpoints(own_folder(folder / "asked"))))])


if __name__ == "__main__":
    end_with_parent()
    torch.set_num_threads(1)
    place = Path(sys.argv[1])
    (place / "full").mkdir(exist_ok=True)
    with distributed.joined(timeout=60) as rank:
        np.savez(place / f"{rank}.npz", **dict(answers(place)))
