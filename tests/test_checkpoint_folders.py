"""Folders of checkpoints: full, read-only, gone, shared, littered; a kill at the worst moment."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import subprocess
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from test_checkpoint_files import run

from torchlogreg import ConvergenceWarning, FitState, Hook
from torchlogreg.checkpoints.file import path_of, read
from torchlogreg.checkpoints.resuming import CheckpointWarning
from torchlogreg.hooks import Checkpoint

pytestmark = pytest.mark.filterwarnings("ignore::torchlogreg.ConvergenceWarning")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 160 kB; needs root."""
    place = tmp_path / "disk"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=160k", "tmpfs", str(place)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("a small tmpfs needs root and mount")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_a_full_disk_leaves_the_files_that_were_whole(small_disk: Path) -> None:
    run(3, hooks=[Checkpoint(small_disk, every=1, keep=2)])
    before = sorted(os.listdir(small_disk))
    (small_disk / "filler").write_bytes(b"\0" * left(small_disk))
    with pytest.warns(CheckpointWarning, match="no checkpoint of epoch 4.*No space left") as told:
        params = run(hooks=[Checkpoint(small_disk, every=1, keep=2)], resume=small_disk)
    assert len(told) == 1 and torch.equal(params, run())
    assert sorted(os.listdir(small_disk)) == [*before, "filler"]
    (small_disk / "filler").unlink()
    assert torch.equal(run(resume=small_disk), params)


def left(place: Path) -> int:
    """Bytes that are free."""
    found = os.statvfs(place)
    return found.f_bavail * found.f_bsize


@pytest.mark.parametrize("fresh", [True, False])
def test_a_folder_that_became_read_only_costs_a_warning(small_disk: Path, fresh: bool) -> None:
    folder = small_disk / "run"
    folder.mkdir()
    if not fresh:
        run(2, hooks=[Checkpoint(folder, every=1)])
        (folder / ".epoch-00000003.7.tmp.safetensors").write_bytes(b"left by one that was killed")
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    with pytest.warns(CheckpointWarning, match="Read-only file system") as told:
        params = run(hooks=[Checkpoint(folder, every=1)], resume=None if fresh else folder)
    assert len(told) == 1 and torch.equal(params, run())


class At(Hook):
    """Does something after an epoch."""

    def __init__(self, epoch: int, act: Callable[[], object]) -> None:
        self.epoch, self.act = epoch, act

    def on_epoch_end(self, state: FitState) -> None:
        if state.epoch == self.epoch:
            self.act()


def test_a_folder_that_is_removed_in_between_costs_a_warning(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    gone = At(3, lambda: shutil.rmtree(folder))
    with pytest.warns(CheckpointWarning, match="no checkpoint of epoch 3") as told:
        params = run(hooks=[gone, Checkpoint(folder, every=1)])
    assert len(told) == 1 and torch.equal(params, run())


def test_a_clock_that_goes_backwards_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(3, hooks=[Checkpoint(tmp_path, every=1)])
    for path in tmp_path.iterdir():
        os.utime(path, (2**31, 2**31))
    monkeypatch.setattr(time, "time", lambda: 0.0)
    assert torch.equal(run(resume=tmp_path, hooks=[Checkpoint(tmp_path)]), run())


def killed(folder: Path, renamed: bool) -> None:
    """A fit that is killed just before, or just after, its fourth checkpoint gets its name."""
    rename = os.replace

    def replace(source: Path, target: Path) -> None:
        if target.name == path_of(folder, 4).name:
            if renamed:
                rename(source, target)
            os.kill(os.getpid(), signal.SIGKILL)
        rename(source, target)

    os.replace = replace  # type: ignore[assignment]
    warnings.simplefilter("ignore", ConvergenceWarning)
    run(hooks=[Checkpoint(folder, every=1)])


@pytest.mark.parametrize("renamed", [False, True])
def test_a_kill_between_flush_and_rename_leaves_the_one_before(
    tmp_path: Path, renamed: bool
) -> None:
    child = multiprocessing.get_context("fork").Process(target=killed, args=(tmp_path, renamed))
    child.start()
    child.join(60)
    assert child.exitcode == -signal.SIGKILL
    whole = [name for name in os.listdir(tmp_path) if ".tmp" not in name]
    assert len(os.listdir(tmp_path)) == 4 and len(whole) == 3 + renamed
    assert torch.equal(run(resume=tmp_path, hooks=[Checkpoint(tmp_path, every=1)]), run())
    assert sorted(os.listdir(tmp_path)) == [path_of(tmp_path, n).name for n in (5, 6, 7)]


def test_a_second_process_in_the_folder_is_told(tmp_path: Path) -> None:
    """Both wrote there, and removed each other's files, without a word."""
    other = At(1, lambda: run(hooks=[Checkpoint(tmp_path, every=1, keep=9)]))
    with pytest.warns(CheckpointWarning, match="another process writes there") as told:
        params = run(hooks=[other, Checkpoint(tmp_path, every=1, keep=9)])
    assert len(told) == 1 and torch.equal(params, run())
    assert [read(path_of(tmp_path, n)).tree["threads"] >= 1 for n in range(1, 8)]


def test_folders_with_the_names_of_files_are_in_nobodys_way(tmp_path: Path) -> None:
    """Such a folder ended the fit: "Is a directory"."""
    run(3, hooks=[Checkpoint(tmp_path, every=1)])
    path_of(tmp_path, 9).mkdir()
    (tmp_path / ".epoch-00000009.7.tmp.safetensors").mkdir()
    with pytest.warns(CheckpointWarning, match="no ordinary file.*resumed from epoch-00000003"):
        params = run(resume=tmp_path, hooks=[Checkpoint(tmp_path, every=1)])
    assert torch.equal(params, run()) and path_of(tmp_path, 7).exists()
