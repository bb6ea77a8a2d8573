"""scripts/train.py itself on several processes and hosts: the same command, files and model."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import load_file
from test_distributed import HERE, Host, environment, free_port, hosts, started

from torchlogreg import History

__all__ = ["hosts"]

TRAIN = str(HERE.parent / "scripts" / "train.py")


def alone(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run train.py in one process."""
    return subprocess.run(
        [sys.executable, TRAIN, *arguments], capture_output=True, text=True, env=environment(),
        timeout=240,
    )  # fmt: skip


def nodes(port: int, address: str, *arguments: str) -> list[list[str]]:
    """The commands of two hosts, one rank each."""
    launch = [sys.executable, "-m", "torch.distributed.run", "--nnodes", "2", "--nproc-per-node"]
    launch += ["1", "--master-addr", address, "--master-port", str(port), "--node-rank"]
    return [[*launch, str(number), TRAIN, *arguments] for number in range(2)]


def model_of(run: Path) -> np.ndarray:
    """All parameters, in raw columns."""
    return np.concatenate([a.ravel() for a in load_file(run / "model.safetensors").values()])


def params_of(run: Path) -> np.ndarray:
    """The parameters of every epoch, (m, P)."""
    return History.load(run / "history.npz")["params"]


def assert_close(one: np.ndarray, other: np.ndarray) -> None:
    """To 1e-12 of the largest."""
    assert np.abs(one - other).max() <= 1e-12 * np.abs(one).max()


def files(folder: Path) -> list[str]:
    """Names of all files, without what differs from run to run."""
    names = [str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()]
    return sorted("events" if "tfevents" in name else name for name in names)


def test_two_nodes_train_write_once_and_resume_as_one_process(tmp_path: Path) -> None:
    """Each node has a disk of its own, and a resumed fit goes on: it began anew, and cleared the
    folder away, for the checkpoints of ranks lie one folder deeper.
    """
    common = ["--optimizer", "newton", "--data", "exam", "--weighting", "balanced", "--tol", "0"]
    assert alone(*common, "--epochs", "7", "--out", str(tmp_path / "one")).returncode == 0
    for arguments in ([*common, "--epochs", "3"], ["--resume", "runs/exam", "--epochs", "7"]):
        running = []
        for number, command in enumerate(nodes(free_port(), "127.0.0.1", *arguments)):
            (tmp_path / f"disk {number}").mkdir(exist_ok=True)
            running.append(
                subprocess.Popen(
                    command, cwd=tmp_path / f"disk {number}", text=True, env=environment(),
                    stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                )
            )  # fmt: skip
        told = [each.communicate(timeout=240) for each in running]
        assert [each.returncode for each in running] == [0, 0], told
        assert [out.count("saved under") for out, _ in told] == [1, 0]
    first, second = (tmp_path / f"disk {number}" / "runs" / "exam" for number in range(2))
    for run in ("normal", "weighted"):
        assert_close(model_of(tmp_path / "one" / "exam" / run), model_of(first / run))
        assert len(params_of(first / run)) == 8  # what was recorded before, too
        place = f"{run}/checkpoints/rank-1-of-2/"
        assert all(name.startswith(place) for name in files(second) if name.startswith(run))
    assert files(first).count("events") == 4  # of each fit, and of each that was resumed
    assert not [name for name in files(second) if "checkpoints" not in name]


@pytest.mark.parametrize("data", ["rows.npy", "rows.parquet", "rows.npy --mapped"])
def test_ranks_that_read_their_own_rows_train_the_model_of_one_process(
    data: str, tmp_path: Path
) -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(900, 3)) * [1, 10, 1e3] + [0, 5, 1e4]
    y = X @ [1, 0.1, 1e-3] - 10 + rng.logistic(size=900) > 0
    np.save(tmp_path / "rows.npy", np.column_stack((X, y)))
    table = pd.DataFrame(X, columns=list("abc")).assign(ill=np.where(y, "yes", "no"))
    table.to_parquet(tmp_path / "rows.parquet", row_group_size=200)
    script = ["--optimizer", "newton", "--weighting", "none"]
    script += ["--data", *str(tmp_path / data).split()]
    script += ["--target", "ill" if "parquet" in data else "3", "--out"]
    one = alone(*script, str(tmp_path / "one"))
    three = started(3, TRAIN, *script, str(tmp_path / "three"))
    assert one.returncode == three.returncode == 0, three.stderr[-2000:]
    assert_close(*(model_of(tmp_path / n / "rows" / "normal") for n in ("one", "three")))
    scores = [
        next(line for line in run.stdout.splitlines() if line.startswith("normal ")).split()[:-2]
        for run in (one, three)
    ]
    assert scores[0] == scores[1]
    assert three.stdout.count("saved under") == 1
    if data == "rows.npy":  # one process would train on the rows of three, and say nothing
        folder = tmp_path / "three" / "rows"
        before = files(folder)
        again = alone("--resume", str(folder))
        assert again.returncode == 2 and "the checkpoints of 3 ranks, but here is one" in (
            again.stderr
        )
        assert files(folder) == before


def process_of(rank: int, port: int) -> int:
    """Number of the process that torchrun has made that rank."""
    wanted = {f"RANK={rank}".encode(), f"MASTER_PORT={port}".encode()}
    for place in Path("/proc").glob("[0-9]*"):
        try:
            if wanted <= set((place / "environ").read_bytes().split(b"\0")):
                return int(place.name)
        except OSError:  # gone, or somebody else's
            continue
    raise AssertionError("no such process")


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="looks for a rank in /proc")
def test_one_of_four_ranks_is_killed_and_torchrun_brings_the_job_back(tmp_path: Path) -> None:
    """The script itself: it began a second folder, from the start."""
    script = [TRAIN, "--optimizer", "momentum", "--weighting", "none"]
    script += ["--tol", "0", "--batch-size", "25", "--epochs", "200", "--out"]
    port, out = free_port(), tmp_path / "killed"
    run = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "4"]
    run += ["--max-restarts", "1", "--master-port", str(port), *script, str(out)]
    job = subprocess.Popen(
        run, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment()
    )
    place = out / "breast_cancer" / "normal" / "checkpoints"
    while len(list(place.glob("rank-2-of-4/epoch-*"))) < 2:
        assert job.poll() is None, job.communicate()
        time.sleep(0.005)
    os.kill(process_of(2, port), signal.SIGKILL)
    _, errors = job.communicate(timeout=240)
    assert job.returncode == 0, errors[-3000:]
    assert "(exitcode: -9) local_rank: 2" in errors
    assert os.listdir(out) == ["breast_cancer"]
    plain = started(4, *script, str(tmp_path / "plain"))
    assert plain.returncode == 0, plain.stderr[-2000:]
    killed, whole = (params_of(p / "breast_cancer" / "normal") for p in (out, tmp_path / "plain"))
    np.testing.assert_array_equal(killed, whole)


@pytest.mark.slow
def test_two_hosts_one_cut_off_fail_in_words_and_resume(hosts: Host, tmp_path: Path) -> None:
    """Rows, folders and checkpoints of each host are on its own disk; the cable is pulled."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(2000, 3))
    y = X[:, 0] + rng.logistic(size=2000) > 0
    disks = [tmp_path / "a", tmp_path / "b"]
    for disk in disks:
        disk.mkdir()
        np.save(disk / "rows.npy", np.column_stack((X, y)))

    def both(*arguments: str) -> list[subprocess.Popen[str]]:
        return [
            hosts(number, "env", "-C", str(disks[number]), *command)
            for number, command in enumerate(nodes(29400, "10.77.0.1", *arguments))
        ]

    fresh = ["--data", "rows.npy", "--optimizer", "momentum", "--tol", "0", "--weighting", "none"]
    first, second = both(*fresh, "--timeout", "15", "--epochs", "1000000")
    kept = "runs/rows/normal/checkpoints"
    while not all(any(disk.glob(f"{kept}/rank-*/epoch-*")) for disk in disks):
        assert first.poll() is None and second.poll() is None
        time.sleep(0.05)
    assert hosts(1, "ip", "link", "set", "w0", "down").wait(timeout=20) == 0
    begun = time.monotonic()
    text, _ = first.communicate(timeout=180)
    assert first.returncode != 0 and time.monotonic() - begun < 90
    assert "lost touch with the other ranks" in text
    assert second.wait(timeout=180) != 0
    assert hosts(1, "ip", "link", "set", "w0", "up").wait(timeout=20) == 0
    newest = [max(int(p.stem[6:]) for p in disk.glob(f"{kept}/rank-*/epoch-*")) for disk in disks]
    epochs = str(min(newest) + 20)
    for process in both("--resume", "runs/rows", "--epochs", epochs):
        assert process.wait(timeout=180) == 0, process.communicate()
    plain = alone(
        *fresh, "--epochs", epochs, "--data", str(disks[0] / "rows.npy"), "--out", str(tmp_path)
    )
    assert plain.returncode == 0
    assert_close(*(model_of(p / "rows" / "normal") for p in (tmp_path, disks[0] / "runs")))
