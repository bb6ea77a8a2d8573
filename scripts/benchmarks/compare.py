"""Whether a commit is slower than another: both checked out, solving the same rows in turns."""

from __future__ import annotations

import argparse
import statistics
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

from benchmarks.solvers import add_problem_options, chosen_problems
from benchmarks.solving import problems
from benchmarks.solving.client import ContenderError, Worker
from benchmarks.solving.contest import LOOP, repeats
from benchmarks.solving.judge import worst
from benchmarks.solving.ours import ours
from benchmarks.solving.problems import PROBLEMS, Spec
from benchmarks.solving.reference import Reference, reference
from benchmarks.solving.sweep import Entry, sweep
from benchmarks.timing import Times, ratios
from common import table

ROOT = Path(__file__).resolve().parents[2]
QUICK = ["tall-1k-20", "tall-100k-20", "ridge", "lasso", "fit+errors", "cost-logger"]


class Outcome(NamedTuple):
    """Both trees on one problem.

    Attributes
    ----------
    spec : Spec
    base, head : Entry
    """

    spec: Spec
    base: Entry
    head: Entry

    @property
    def ratio(self) -> Times | None:
        """Head / base, round by round; None where either failed."""
        if self.base.status != "ok" or self.head.status != "ok":
            return None
        return ratios(self.head.seconds, self.base.seconds)

    def slower(self, band: float) -> bool:
        """Beyond the band in the median of the rounds and in the fastest of them; or broken.

        Noise slows some rounds of one tree, hardly its median and its fastest at once.
        """
        if self.base.status != "ok":
            return False  # nothing to be slower than
        spread = self.ratio
        if spread is None:
            return True
        fastest = min(self.head.seconds) / min(self.base.seconds)
        return min(spread.median, fastest) > 1 + band


def add_options(p: argparse.ArgumentParser) -> None:
    """The command line of this benchmark."""
    p.add_argument("base", metavar="BASE", help="a commit")
    p.add_argument("head", metavar="HEAD", help="another; not slower, one hopes")
    p.add_argument("--problems", nargs="+", choices=PROBLEMS, default=QUICK, metavar="PROBLEM")
    add_problem_options(p)
    p.add_argument("--target", type=float, default=1e-8, help="relative suboptimality")
    p.add_argument("--threads", type=int, default=2, help="of each tree")
    p.add_argument("--rounds", type=int, default=9, help="timed runs of each tree")
    p.add_argument("--limit", type=float, default=120, help="seconds of a sweep and of a solve")
    p.add_argument(
        "--band", type=float, default=0.1, help="noise: slower by no more than this share is equal"
    )
    p.set_defaults(data=["gaussian"])


def run(args: argparse.Namespace) -> int:
    """Print the ratios; 1 if any problem became slower beyond the band, else 0."""
    with checked_out(args.base) as base, checked_out(args.head) as head:
        outcomes = [one(spec, base, head, args) for spec in chosen_problems(args)]
    rows = [row(outcome, args.band) for outcome in outcomes]
    header = ["problem", "base, s", "head, s", "head / base", "least", "most", "verdict"]
    print(table(header, rows))
    slower = [o.spec.name for o in outcomes if o.slower(args.band)]
    if slower:
        print(f"\nslower by more than {args.band:.0%}: {', '.join(slower)}")
        return 1
    print(f"\nnothing slower by more than {args.band:.0%}")
    return 0


@contextmanager
def checked_out(commit: str) -> Iterator[Path]:
    """A temporary worktree of a commit.

    Raises
    ------
    ValueError
        If git does not know it.
    """
    with tempfile.TemporaryDirectory(prefix="compare-") as name:
        tree = Path(name) / "tree"
        git("worktree", "add", "--detach", "--quiet", str(tree), commit)
        try:
            yield tree
        finally:
            git("worktree", "remove", "--force", str(tree))


def git(*words: str) -> None:
    """A git command in this repository."""
    done = subprocess.run(["git", "-C", str(ROOT), *words], capture_output=True, text=True)
    if done.returncode:
        raise ValueError(f"git {words[0]} {words[1]} failed: {done.stderr.strip()}")


def one(spec: Spec, base: Path, head: Path, args: argparse.Namespace) -> Outcome:
    """Both trees on one problem, in turns; the other one begins each round."""
    with tempfile.TemporaryDirectory(prefix="compare-") as name, ExitStack() as stack:
        folder = Path(name)
        data = problems.make(spec, folder)
        best = reference(data)
        workers, entries = [], []
        for tree in (base, head):
            worker = Worker("torchlogreg", args.threads, folder, tree=tree)
            stack.callback(worker.close)
            workers.append(worker)
            entries.append(first(worker, data, best, folder, args))
        number = repeats(min(e.sweep_seconds for e in entries))
        for turn in range(args.rounds):
            for i in (0, 1) if turn % 2 else (1, 0):
                timed(workers[i], entries[i], data, best, number, args.limit)
    return Outcome(spec, *entries)


def first(
    worker: Worker, data: problems.Data, best: Reference, folder: Path, args: argparse.Namespace
) -> Entry:
    """The loosest tolerance that reaches the target in this tree."""
    try:
        worker.load(folder, args.limit)
        target = LOOP if data.spec.loop else args.target
        return sweep(ours(), worker, data, best, [target], args.limit)[0]
    except ContenderError as failure:
        entry = Entry("torchlogreg", args.target)
        entry.fail(failure)
        return entry


def timed(
    worker: Worker,
    entry: Entry,
    data: problems.Data,
    best: Reference,
    number: int,
    limit: float,
) -> None:
    """One more timed run, unless it failed before."""
    if entry.status != "ok":
        return
    try:
        run = worker.solve(entry.setting, limit, number)
        entry.add(run, worst(data, best, run.answers))
    except ContenderError as failure:
        entry.fail(failure)


def row(outcome: Outcome, band: float) -> list[str]:
    """Cells of a problem."""
    base, head, spread = outcome.base, outcome.head, outcome.ratio
    if spread is None:
        told = "; ".join(
            f"{side} {e.status}: {e.words}"
            for side, e in (("base", base), ("head", head))
            if e.status != "ok"
        )
        return [outcome.spec.name, "-", "-", "-", "-", "-", told]
    seconds = [f"{statistics.median(e.seconds):.3g}" for e in (base, head)]
    verdict = "slower" if outcome.slower(band) else "ok"
    return [outcome.spec.name, *seconds, *(f"{r:.2f}" for r in spread), verdict]
