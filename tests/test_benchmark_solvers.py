"""The race of solvers judges rightly: wrong, crashing, slow and absent contenders are rows."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
SCRIPTS = TESTS.parent / "scripts"
sys.path.insert(0, str(SCRIPTS))
try:
    from benchmarks.compare import Outcome
    from benchmarks.solving import chart, problems, report
    from benchmarks.solving.client import ContenderError, Worker
    from benchmarks.solving.contest import Contest, best_peer, repeats
    from benchmarks.solving.problems import PROBLEMS
    from benchmarks.solving.sweep import Entry
finally:
    sys.path.remove(str(SCRIPTS))

ENVIRONMENT = os.environ | {"PYTHONPATH": str(TESTS), "OMP_NUM_THREADS": "1"}


def benchmark(*arguments: object, timeout: float = 300) -> subprocess.CompletedProcess[str]:
    """scripts/benchmark.py in a process of its own."""
    command = [sys.executable, str(SCRIPTS / "benchmark.py"), *map(str, arguments)]
    return subprocess.run(
        command, capture_output=True, text=True, env=ENVIRONMENT, timeout=timeout, check=False
    )


@pytest.fixture(scope="module")
def raced(tmp_path_factory):
    """One run with all the contenders that misbehave: what it printed, and its JSON."""
    folder = tmp_path_factory.mktemp("race")
    done = benchmark(
        "solvers", "--problems", "tall-1k-20", "--rows", 200, "--columns", 3, "--threads", 1,
        "--rounds", 2, "--limit", 15, "--also", "bench_contenders", "--json", folder / "r.json",
        "--chart", folder / "r.png", "--only", "torchlogreg", "exact", "wrong", "crash", "sleep",
        "refuse", "fickle", "absent",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done, json.loads((folder / "r.json").read_text()), folder


def entry(raced, contender: str, target: float) -> dict:
    """A row of the JSON."""
    found = raced[1]["results"][0]["entries"]
    return next(e for e in found if e["contender"] == contender and e["target"] == target)


@pytest.mark.parametrize(
    ("contender", "status", "words"),
    [
        ("wrong", "not reached", "suboptimality"),
        ("crash", "crashed", "exit status 3: out of luck"),
        ("sleep", "over time", "over"),
        ("refuse", "refused", "ValueError: not these rows"),
        ("fickle", "wrong", "suboptimality"),
        ("absent", "missing", "pip install no-such-thing"),
    ],
)
def test_misbehaviour_is_a_row_and_not_the_end(raced, contender, status, words):
    for target in (1e-4, 1e-10):
        row = entry(raced, contender, target)
        assert row["status"] == status and words in row["words"]
    assert f"{status}: " in raced[0].stdout
    assert "pip install no-such-thing" in raced[0].stdout.splitlines()[0]


def test_the_cheapest_setting_that_reaches_each_target_is_timed(raced):
    loose, tight = (entry(raced, "exact", t) for t in (1e-4, 1e-10))
    assert loose["status"] == tight["status"] == "ok"
    assert loose["setting"]["off"] > tight["setting"]["off"]
    assert 0 < max(loose["suboptimality"]) <= 1e-4 and max(tight["suboptimality"]) <= 1e-10
    assert len(loose["seconds"]) == len(loose["cpu"]) == 2


def test_ours_is_certified_and_the_ratio_is_that_of_the_rounds(raced):
    result = raced[1]["results"][0]
    ours = entry(raced, "torchlogreg", 1e-10)
    assert ours["status"] == "ok" and ours["ours"] and ours["optimality"] <= ours["setting"]["tol"]
    assert result["best_peer"]["1e-10"] == "exact"
    exact = entry(raced, "exact", 1e-10)["seconds"]
    rounds = [a / b for a, b in zip(exact, ours["seconds"], strict=True)]
    assert result["ratio"]["1e-10"]["least"] == pytest.approx(min(rounds))
    assert len(result["pass_seconds"]) == 2 and ours["passes"] > 0


def test_json_says_what_where_and_how(raced):
    facts = raced[1]
    assert facts["schema"] == report.SCHEMA and facts["suboptimality"] == "(f - f*) / |f*|"
    assert facts["machine"]["versions"]["torch"] and facts["machine"]["cores"] >= 1
    assert facts["arguments"]["rounds"] == 2
    assert facts["results"][0]["problem"]["n"] == 200
    assert facts["results"][0]["reference"]["certificate"] < 1e-13


def test_chart_is_drawn_from_the_json(raced, tmp_path):
    assert (raced[2] / "r.png").read_bytes().startswith(b"\x89PNG")
    chart.draw(raced[1], tmp_path / "dark.png", "dark")
    assert (tmp_path / "dark.png").read_bytes().startswith(b"\x89PNG")
    assert chart.shown(raced[1])[0]["ours"]


def test_interruption_keeps_what_was_measured(tmp_path):
    path = tmp_path / "cut.json"
    command = [
        sys.executable, SCRIPTS / "benchmark.py", "solvers", "--problems", "tall-1k-20", "--rows",
        "100", "--columns", "2", "--threads", "1", "2", "--limit", "100", "--rounds", "1", "--also",
        "bench_contenders", "--only", "exact", "--json", path, "--data", "gaussian", "heavy",
        "collinear", "dummies", "sorted", "rare", "--seeds", *map(str, range(50)),
    ]  # fmt: skip
    process = subprocess.Popen(command, env=ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=-1)
    for _ in range(600):
        if path.exists():
            break
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130 and b"interrupted" in err
    assert json.loads(path.read_text())["results"]


def contest_of(*entries: Entry) -> Contest:
    """A result without its rows."""
    return Contest(PROBLEMS["ridge"], None, 2, list(entries), [0.01])  # type: ignore[arg-type]


def test_a_slow_peer_is_best_only_if_alone_and_failures_never():
    fast = Entry("a", 1e-4, seconds=[2.0, 2.0])
    slow = Entry("b", 1e-4, status="slow", seconds=[1.9])
    wrong = Entry("c", 1e-4, status="wrong", seconds=[0.1])
    mine = Entry("torchlogreg", 1e-4, ours=True, seconds=[1.0, 0.5])
    assert best_peer([fast, wrong, mine], 1e-4) is fast
    assert best_peer([slow, wrong], 1e-4) is slow and best_peer([wrong, mine], 1e-4) is None
    spread = report.ratio(contest_of(fast, mine), 1e-4)
    assert spread is not None and spread == (3.0, 2.0, 4.0)
    assert "asked: 1.8" in report.sentence(contest_of(fast, mine), 1e-4)


def test_short_solves_are_repeated_until_they_can_be_timed():
    assert [repeats(s) for s in (1.0, 0.05, 0.01, 1e-9)] == [1, 1, 5, 100]


@pytest.mark.parametrize(
    ("seconds", "slower"),
    [
        ([1.0, 1.0, 1.0], False),
        ([1.05, 1.05, 1.05], False),
        ([1.0, 1.5, 1.5], False),  # its fastest is as fast: noise
        ([1.2, 1.3, 1.2], True),
        ([0.5, 0.5, 0.5], False),
    ],
)
def test_compare_calls_slower_what_is_beyond_the_band(seconds, slower):
    base = Entry("torchlogreg", 1e-8, seconds=[1.0, 1.0, 1.0])
    head = Entry("torchlogreg", 1e-8, seconds=seconds)
    assert Outcome(PROBLEMS["ridge"], base, head).slower(0.1) is slower
    broken = Entry("torchlogreg", 1e-8, status="crashed")
    assert Outcome(PROBLEMS["ridge"], base, broken).slower(0.1)
    assert not Outcome(PROBLEMS["ridge"], broken, head).slower(0.1)


@pytest.mark.slow
def test_compare_of_a_commit_with_itself_finds_nothing_slower(tmp_path):
    # A band of ten: no assertion on time, only that both trees were checked out and solved.
    done = benchmark(
        "compare", "HEAD", "HEAD", "--problems", "tall-1k-20", "--rows", 200, "--columns", 3,
        "--rounds", 1, "--band", 10, "--threads", 1,
    )  # fmt: skip
    if "not a git repository" in done.stderr:
        pytest.skip("no git history here")
    assert done.returncode == 0, done.stderr
    assert "nothing slower" in done.stdout
    trees = subprocess.run(["git", "worktree", "list"], capture_output=True, text=True, cwd=TESTS)
    assert "compare-" not in trees.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("compare", "no-such-commit", "HEAD"), "git worktree add failed"),
        (("solvers", "--rounds", "0"), "--rounds is 0, but it is above 0"),
        (("solvers", "--targets", "-1"), "--targets has -1.0, but all are above 0"),
        (("solvers", "--only", "nobody"), "--only has 'nobody', but contenders are torchlogreg"),
    ],
)
def test_bad_requests_are_one_line(arguments, words):
    done = benchmark(*arguments)
    assert done.returncode == 2 and words in done.stderr and done.stderr.count("\n") == 1


def test_gpu_says_in_one_line_that_there_is_none():
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is one")
    done = benchmark("gpu")
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and not done.stdout
    assert "no CUDA device" in done.stderr


def test_gpu_program_runs_on_the_cpu_and_says_so(tmp_path):
    done = benchmark(
        "gpu", "--device", "cpu", "--rows", 2000, "--columns", 4, "--rounds", 1,
        "--optimizers", "auto", "newton", "--json", tmp_path / "g.json",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("the CPU, not a GPU") and "of the copy" in done.stdout
    assert "| value and gradient, torch |" in done.stdout and "MISSED" not in done.stdout
    facts = json.loads((tmp_path / "g.json").read_text())
    assert facts["passes"][0]["work"] == "copy" and facts["passes"][0]["share_of_copy"] == 1
    assert [f["asked"] for f in facts["fits"]] == ["auto", "newton"]
    for fitted in facts["fits"]:
        assert fitted["reached"] and 0 <= fitted["suboptimality"] <= facts["target"] == 1e-6
        assert 1 <= fitted["passes_counted"] <= 12


def test_the_gpu_program_knows_how_far_an_answer_is_from_the_optimum():
    # Against the objective itself, at the optimum that Newton finds and a little beside it.
    import torch

    from benchmarks import gpu
    from torchlogreg import L2, LogisticRegression, Objective, fit
    from torchlogreg.data import Batch

    X, y = gpu.make_rows(3000, 5, torch.device("cpu"), 0)
    X, y, alpha = X.double(), y.double(), 1 / 3000
    model = LogisticRegression(5, dtype=torch.float64)
    fit(model, X, y, penalty=L2(alpha), optimizer="newton", tol=1e-10)
    data = Batch(X, y, torch.ones_like(y))
    least = float(Objective(model, penalty=L2(alpha)).value(data))
    assert gpu.suboptimality(model, X, y, alpha) < 1e-14
    for size in (1e-2, 1e-3):
        with torch.no_grad():
            model.weight += size
            model.bias -= size
        value = float(Objective(model, penalty=L2(alpha)).value(data))
        share = (value - least) / value
        assert gpu.suboptimality(model, X, y, alpha) == pytest.approx(share, rel=0.05)


def test_a_killed_worker_starts_again_and_warms_up(tmp_path, monkeypatch):
    # A contender killed at a tight setting is timed at its loose one by a new process; the first
    # solve there compiles and imports, and must not be the one on the clock.
    monkeypatch.setenv("PYTHONPATH", str(TESTS))
    problems.make(dataclasses.replace(PROBLEMS["tall-1k-20"], n=50, p=6), tmp_path)
    worker = Worker("sleep", 1, tmp_path, also=("bench_contenders",))
    try:
        worker.load(tmp_path, 60)
        assert worker.solve({}, 60).answer.weight.shape == (1, 6)
        for _ in range(2):  # the second starts anew, warms up at once, and is too slow again
            with pytest.raises(ContenderError, match="over 1 s"):
                worker.solve({}, 1)
            assert worker.process is None
    finally:
        worker.close()
