"""Several ranks: equal to each other bit for bit, and to one process to 1e-12."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import ranks
import torch

from orphans import WITH_PARENT
from torchlogreg import distributed

HERE = Path(__file__).parent
RANKS = 3
LOOSE = {"lbfgs": 1e-8, "focal": 1e-8, "fista": 1e-9}
"""L-BFGS, which focal takes, and FISTA's step sizes multiply rounding; all others: 1e-12."""


def free_port() -> int:
    """One that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def environment(**more: str) -> dict[str, str]:
    """One thread a rank."""
    return {**os.environ, "OMP_NUM_THREADS": "1", **more}


def started(n: int, *command: str) -> subprocess.CompletedProcess[str]:
    """Run a script on ``n`` ranks by torchrun."""
    run = [*WITH_PARENT, sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", str(n)]
    run += ["--master-port", str(free_port()), *command]
    return subprocess.run(run, capture_output=True, text=True, timeout=240, env=environment())


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, np.ndarray]]:
    """What each of three ranks found."""
    folder = tmp_path_factory.mktemp("ranks")
    run = started(RANKS, str(HERE / "ranks.py"), "table", str(folder))
    assert run.returncode == 0, run.stderr[-3000:]
    return [dict(np.load(folder / f"{rank}.npz")) for rank in range(RANKS)]


@pytest.fixture(scope="module")
def alone() -> dict[str, np.ndarray]:
    """What one process finds."""
    return dict(ranks.answers(slice(None)))


@pytest.mark.parametrize("name", [*ranks.FITS, "standard errors", "HC1"])
def test_ranks_are_equal_to_each_other_and_to_one_process(
    name: str, found: list[dict[str, np.ndarray]], alone: dict[str, np.ndarray]
) -> None:
    assert all(each[name].tobytes() == found[0][name].tobytes() for each in found)
    size = np.abs(alone[name]).max()
    assert np.abs(found[0][name] - alone[name]).max() <= LOOSE.get(name, 1e-12) * size


@pytest.mark.parametrize("name", [name for name in ranks.FITS if name not in LOOSE])
def test_ranks_take_the_epochs_of_one_process(
    name: str, found: list[dict[str, np.ndarray]], alone: dict[str, np.ndarray]
) -> None:
    (epochs, converged), (alone_epochs, alone_converged) = (
        each[f"{name}: epochs"].tolist() for each in (found[0], alone)
    )
    assert converged == alone_converged
    # The lasso's last epoch, from 1e-16 to 2e-17, is rounding's.
    assert abs(epochs - alone_epochs) <= (1 if name == "lasso" else 0)
    objective = alone[f"{name}: objective"]
    assert abs(found[0][f"{name}: objective"] - objective) <= 1e-12 * abs(objective)


def test_the_diagnosis_is_that_of_one_process(
    found: list[dict[str, np.ndarray]], alone: dict[str, np.ndarray]
) -> None:
    assert alone["separated"][0] == "separated" and "'d'" in alone["separated"][1]
    assert all(each["separated"].tolist() == alone["separated"].tolist() for each in found)


def test_many_rows_are_gathered_only_where_there_is_something_to_say(
    found: list[dict[str, np.ndarray]], alone: dict[str, np.ndarray]
) -> None:
    sound, dependent = "many rows, sound", "many rows, dependent"
    assert alone[sound][1] == "" and "linearly dependent" in alone[dependent][1]
    for each in found:
        assert each[sound].tolist() == [*alone[sound][:2], "False"]
        assert each[dependent].tolist() == [*alone[dependent][:2], "True"]


@pytest.mark.parametrize("name", ["saga", "kernel_newton", "dual_coordinate", "coordinate_newton"])
def test_optimizers_that_need_the_rows_themselves_refuse_in_words(
    name: str, found: list[dict[str, np.ndarray]]
) -> None:
    assert all("spread over 3 ranks" in str(each[name]) for each in found)


def test_an_error_in_the_rows_of_one_rank_ends_all(found: list[dict[str, np.ndarray]]) -> None:
    assert "X has nan in row 3, column 2" in str(found[1]["NaN"])
    for rank in (0, 2):
        assert "rank 1 failed checking its rows" in str(found[rank]["NaN"])
    assert "nothing to fit" in str(found[0]["no rows"])
    assert "rank 0 failed checking its rows" in str(found[2]["no rows"])
    assert all("all 240 rows with weight are of class 0" in str(e["one class"]) for e in found)
    assert all("one has 37" in str(each["batch_size"]) for each in found)


@pytest.mark.parametrize("name", ranks.BATCHED)
def test_a_rank_takes_as_many_batches_as_the_smallest_can_fill_and_one_may_end_all(
    name: str, found: list[dict[str, np.ndarray]]
) -> None:
    # 37 rows are three batches of ten; rank 1 asks for the end after two epochs.
    assert all(each[f"batches {name}"].tolist() == [6, 2] for each in found)
    own = f"batched {name}"
    assert np.abs(found[0][own]).max() > 0.01
    assert all(each[own].tobytes() == found[0][own].tobytes() for each in found)


def test_a_batch_of_several_ranks_is_ten_rows_of_each(found: list[dict[str, np.ndarray]]) -> None:
    """Gradient descent written out: each rank draws an order of its own rows, with one seed."""
    X, y, _ = (part.numpy() for part in ranks.rows("logistic"))
    X, params = np.column_stack((X, np.ones(len(X)))), np.zeros(5)
    cuts = ranks.CUTS[RANKS]
    sources = [torch.Generator().manual_seed(1) for _ in range(RANKS)]
    for _ in range(2):
        orders = [
            first + torch.randperm(last - first, generator=source).numpy()
            for source, first, last in zip(sources, cuts, cuts[1:], strict=False)
        ]
        for step in range(3):
            batch = np.concatenate([order[10 * step : 10 * step + 10] for order in orders])
            slope = 1 / (1 + np.exp(-X[batch] @ params)) - y[batch]
            params = params - 0.1 * (slope @ X[batch] / 30 + 0.1 * params * [1, 1, 1, 1, 0])
    np.testing.assert_allclose(found[0]["batched sgd"], params, rtol=1e-12)


@pytest.mark.parametrize("kind", ranks.COLUMNS)
def test_columns_are_standardised_by_the_rows_of_all_ranks(
    kind: str, found: list[dict[str, np.ndarray]], alone: dict[str, np.ndarray]
) -> None:
    name = f"columns, {kind}"
    assert all(each[name].tobytes() == found[0][name].tobytes() for each in found)
    np.testing.assert_allclose(found[0][name], alone[name], rtol=1e-12)


def test_a_rank_that_fails_ends_the_others_with_one_line(tmp_path: Path) -> None:
    run = started(2, str(HERE / "ranks.py"), "fail", str(tmp_path))
    assert run.returncode != 0
    assert "this rank has failed" in run.stderr


def test_shards_are_consecutive_and_all_rows() -> None:
    assert distributed.world_size() == 1 and distributed.rank() == 0
    assert distributed.shard(7) == slice(0, 7)


def test_on_one_process_nothing_is_summed() -> None:
    x = ranks.rows("logistic")[0]
    for function in (distributed.all_sum, distributed.all_min, distributed.all_rows):
        assert function(x) is x


def test_a_killed_rank_comes_back_from_the_checkpoint_to_the_same_bits(tmp_path: Path) -> None:
    script = [str(HERE / "ranks.py")]
    plain = started(4, *script, "whole", str(tmp_path))
    killed = started(4, "--max-restarts", "1", *script, "killed", str(tmp_path))
    assert plain.returncode == killed.returncode == 0, killed.stderr[-3000:]
    assert (tmp_path / "killed").read_text() == "epoch 20"
    for rank in range(4):
        a, b = (np.load(tmp_path / f"{rank} {task}.npz")["model"] for task in ("whole", "killed"))
        assert a.tobytes() == b.tobytes()


Host = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def hosts() -> Iterator[Host]:
    """Two network namespaces with a cable between them; runs a command on the one or the other."""
    names, made = [f"tlr{os.getpid()}{side}" for side in "ab"], []

    def ip(*words: str) -> bool:
        return subprocess.run(["ip", *words], capture_output=True).returncode == 0

    try:
        if os.name != "posix" or os.geteuid() != 0 or not all(ip("netns", "add", n) for n in names):
            pytest.skip("two hosts need root, iproute2 and the right to make network namespaces")
        if not ip("link", "add", "w0", "netns", names[0], "type", "veth",
                  "peer", "name", "w0", "netns", names[1]):  # fmt: skip
            pytest.skip("two hosts need virtual cables (veth), which this kernel does not have")
        for number, name in enumerate(names):
            ip("-n", name, "addr", "add", f"10.77.0.{number + 1}/24", "dev", "w0")
            ip("-n", name, "link", "set", "w0", "up")
            ip("-n", name, "link", "set", "lo", "up")

        def run(number: int, *command: str) -> subprocess.Popen[str]:
            made.append(
                subprocess.Popen(
                    [*WITH_PARENT, "ip", "netns", "exec", names[number], *command],
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    text=True,
                    start_new_session=True,
                    env=environment(GLOO_SOCKET_IFNAME="w0"),
                )
            )
            return made[-1]

        yield run
    finally:
        for process in made:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
        for name in names:
            ip("netns", "del", name)


def on_both(hosts: Host, task: str, folder: Path) -> list[subprocess.Popen[str]]:
    """torchrun on both hosts, one rank each."""
    launch = [sys.executable, "-m", "torch.distributed.run", "--nnodes", "2", "--nproc-per-node"]
    launch += ["1", "--master-addr", "10.77.0.1", "--master-port", "29400", "--node-rank"]
    script = [str(HERE / "ranks.py"), task, str(folder)]
    return [hosts(number, *launch, str(number), *script) for number in range(2)]


def test_two_hosts_are_equal_to_one_process(hosts: Host, tmp_path: Path) -> None:
    (tmp_path / "epochs").write_text("50")
    assert_as_one_process(on_both(hosts, "one", tmp_path), tmp_path, 1e-12)


def assert_as_one_process(hosts: list[subprocess.Popen[str]], folder: Path, share: float) -> None:
    """Both end with the same bits, and with the numbers of a fit without them."""
    outputs = [(p.communicate(timeout=180)[0], p.returncode) for p in hosts]
    assert [code for _, code in outputs] == [0, 0], outputs
    a, b = (np.load(folder / f"{rank}.npz")["model"] for rank in range(2))
    assert a.tobytes() == b.tobytes()
    epochs = int((folder / "epochs").read_text())
    truth = ranks.flat(ranks.descended(slice(None), epochs, [], None))
    assert np.abs(a - truth).max() <= share * np.abs(truth).max()


@pytest.mark.slow
def test_a_host_cut_off_ends_the_other_within_the_timeout_and_both_resume(
    hosts: Host, tmp_path: Path
) -> None:
    (tmp_path / "epochs").write_text(str(10**7))
    first, second = on_both(hosts, "cut", tmp_path)
    while not all((tmp_path / f"{rank}.started").exists() for rank in range(2)):
        assert first.poll() is None
        time.sleep(0.2)
    time.sleep(2)
    cut = hosts(1, "ip", "link", "set", "w0", "down")
    assert cut.wait(timeout=20) == 0
    text, _ = first.communicate(timeout=180)
    assert first.returncode != 0
    assert "lost touch with the other ranks" in text
    assert second.wait(timeout=180) != 0
    assert hosts(1, "ip", "link", "set", "w0", "up").wait(timeout=20) == 0
    done = max(int(file.stem.partition("-")[2]) for file in tmp_path.glob("kept/**/epoch-*"))
    assert done >= 50
    (tmp_path / "epochs").write_text(str(done + 25))
    assert_as_one_process(on_both(hosts, "resumed", tmp_path), tmp_path, 1e-9)


def test_estimators_refuse_several_ranks_in_words(tmp_path: Path) -> None:
    run = started(2, str(HERE / "ranks.py"), "estimator", str(tmp_path))
    assert run.returncode != 0
    assert "LogisticClassifier fits the rows of one process, and here are 2; use" in run.stderr
