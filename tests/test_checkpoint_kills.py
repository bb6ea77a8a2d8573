"""kill -9 at any moment: the fit goes on from its last checkpoint, to the same bits."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.optim.lr_scheduler import StepLR

from problems import params_of, problem
from torchlogreg import L2, BoostMisclassified, Smoothed, fit
from torchlogreg.hooks import Checkpoint, Recorder

EPOCHS = 60


def long_fit(folder: str, kind: str) -> None:
    """A fit of many epochs with checkpoints of each; goes on where it was; leaves its result."""
    torch.set_num_threads(1)
    case = problem("logistic", n=600, p=20)
    model, recorder = case.model(), Recorder()
    ways: dict[str, dict[str, Any]] = {
        "batches": {"optimizer": "adam", "batch_size": 50},
        "table": {"optimizer": "saga", "batch_size": 50},
        "pairs": {"optimizer": "lbfgs"},
    }
    fit(
        model,
        case.X,
        case.y,
        penalty=L2(0.01),
        weighting=Smoothed(BoostMisclassified(), rate=0.1),
        max_epochs=EPOCHS,
        tol=0,
        scheduler=None if kind == "table" else partial(StepLR, step_size=20, gamma=0.7),
        generator=torch.Generator().manual_seed(3),
        hooks=(recorder, Checkpoint(Path(folder) / "checkpoints", every=1, keep=2)),
        resume=Path(folder) / "checkpoints",
        **ways[kind],
    )
    history = recorder.history
    assert history["epoch"].tolist() == list(range(EPOCHS + 1))
    np.savez(Path(folder) / "half.npz", last=params_of(model).numpy(), all=history["params"])
    os.replace(Path(folder) / "half.npz", Path(folder) / "result.npz")


def killed_until_done(folder: Path, kind: str, chance: random.Random, most: int) -> int:
    """Start the fit again and again, each time killed a moment later; how often it was."""
    starter = multiprocessing.get_context("forkserver")
    starter.set_forkserver_preload(["torchlogreg", "test_checkpoint_kills"])
    kills = 0
    while not (folder / "result.npz").exists():
        child = starter.Process(target=long_fit, args=(str(folder), kind))
        child.start()
        begun = newest(folder)
        while kills < most and child.is_alive() and newest(folder) == begun:
            time.sleep(0.002)  # until it is at work: the moment is random from there on
        if kills < most:
            time.sleep(chance.random() * 0.1)
            if child.is_alive():
                os.kill(child.pid or 0, signal.SIGKILL)
                kills += 1
        child.join()
        assert child.exitcode in (0, -signal.SIGKILL)
    return kills


def newest(folder: Path) -> str:
    """Name of the newest checkpoint."""
    place = folder / "checkpoints"
    return max((p.name for p in place.glob("epoch-*")), default="")


def assert_same_result(one: Path, other: Path) -> None:
    """Parameters now and at every epoch, bit for bit."""
    with np.load(one / "result.npz") as a, np.load(other / "result.npz") as b:
        np.testing.assert_array_equal(a["last"], b["last"])
        np.testing.assert_array_equal(a["all"], b["all"])


def survive(tmp_path: Path, kind: str, kills: int, each: int) -> None:
    """Kills, ``each`` at most in a run, and every run ends like the one that nobody killed."""
    straight = tmp_path / "straight"
    straight.mkdir()
    (straight / "checkpoints").mkdir()
    killed_until_done(straight, kind, random.Random(0), 0)
    done = run = 0
    chance = random.Random(1)
    while done < kills:
        run += 1
        folder = tmp_path / f"run-{run}"
        (folder / "checkpoints").mkdir(parents=True)
        done += killed_until_done(folder, kind, chance, min(each, kills - done))
        assert_same_result(folder, straight)
        assert len(list((folder / "checkpoints").iterdir())) == 2  # no half of a file is left


def test_a_fit_that_is_killed_again_and_again_ends_with_the_same_bits(tmp_path: Path) -> None:
    survive(tmp_path, "batches", kills=5, each=5)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ("batches", "table", "pairs"))
def test_sixty_kills_change_nothing(tmp_path: Path, kind: str) -> None:
    survive(tmp_path, kind, kills=20, each=10)
