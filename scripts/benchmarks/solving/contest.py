"""A problem from its rows to its times: sweep every contender, then take turns."""

from __future__ import annotations

import math
import statistics
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.solving.client import WARM_UP, ContenderError, Worker
from benchmarks.solving.contender import Contender
from benchmarks.solving.judge import worst
from benchmarks.solving.ours import PASS
from benchmarks.solving.problems import Data, Spec
from benchmarks.solving.reference import Reference
from benchmarks.solving.sweep import Entry, sweep

SHORTEST = 0.05
LOOP = 0.05
"""What saga, begun anew 200 times, comes within; its loop and ours run all iterations anyway."""


@dataclass(frozen=True)
class Rules:
    """How contenders are measured.

    Attributes
    ----------
    threads : int
    targets : tuple of float
        Relative suboptimality.
    rounds : int
        Timed runs of each contender.
    limit : float
        Seconds of a contender's sweep, and of each of its timed runs.
    slow : float
        A peer that took this many times the fastest peer's time in its sweep is not timed again.
    """

    threads: int
    targets: tuple[float, ...]
    rounds: int = 5
    limit: float = 60.0
    slow: float = 10.0
    python: str = sys.executable
    optimizers: tuple[str, ...] = ()
    also: tuple[str, ...] = ()


@dataclass
class Contest:
    """What was measured on one problem.

    Attributes
    ----------
    spec : Spec
    best : Reference
    threads : int
    entries : list of Entry
        One for each contender and target.
    passes : list of float
        Seconds of one ``X @ w``, round by round.
    """

    spec: Spec
    best: Reference
    threads: int
    entries: list[Entry] = field(default_factory=list)
    passes: list[float] = field(default_factory=list)


Say = Callable[[str], None]


class Pool:
    """Workers that stay from problem to problem: what they compiled and imported stays with them.

    Parameters
    ----------
    folder : Path
        For logs and answers.
    rules : Rules
    """

    def __init__(self, folder: Path, rules: Rules) -> None:
        self.folder, self.rules = folder, rules
        self.workers: dict[str, Worker] = {}

    def __getitem__(self, name: str) -> Worker:
        """The worker of a contender; its process starts when it is first asked something."""
        if name not in self.workers:
            rules = self.rules
            self.workers[name] = Worker(
                name,
                rules.threads,
                self.folder,
                python=rules.python,
                optimizers=rules.optimizers,
                also=rules.also,
            )
        return self.workers[name]

    def rest(self) -> None:
        """Let all workers forget their rows."""
        for worker in self.workers.values():
            worker.forget()

    def close(self) -> None:
        """End all processes."""
        for worker in self.workers.values():
            worker.close()


def contest(
    data: Data,
    best: Reference,
    folder: Path,
    field_of: dict[str, Contender],
    pool: Pool,
    say: Say = lambda words: None,
) -> Contest:
    """Race all contenders that suit the problem; ``say`` hears of every step.

    What was measured survives Ctrl-C in ``KeyboardInterrupt.args[0]``.
    """
    rules = pool.rules
    result = Contest(data.spec, best, rules.threads)
    try:
        for contender in field_of.values():
            if contender is PASS or not contender.suits(data.spec):
                continue
            say(f"{contender.name}: sweep")
            entries = prepared(contender, pool[contender.name], data, best, folder, rules)
            result.entries += entries
            if all(e.status != "ok" for e in entries):
                pool[contender.name].forget()
        _leave_out_slow(result.entries, rules)
        one_pass = pool[PASS.name]
        one_pass.load(folder, rules.limit + WARM_UP)
        first = one_pass.solve({}, rules.limit, 3).seconds
        for turn in range(rules.rounds):
            result.passes.append(one_pass.solve({}, rules.limit, repeats(first)).seconds)
            _round(result, pool, data, turn, say)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(result) from None
    pool.rest()
    return result


def prepared(
    contender: Contender,
    worker: Worker,
    data: Data,
    best: Reference,
    folder: Path,
    rules: Rules,
) -> list[Entry]:
    """Entries after the sweep; those of a contender that cannot start say why."""
    if not contender.installed():
        why = ContenderError("missing", f"pip install {contender.pip}")
    else:
        try:
            worker.load(folder, rules.limit + WARM_UP)
            return sweep(contender, worker, data, best, wanted(data.spec, rules), rules.limit)
        except ContenderError as failure:
            why = failure
    entries = [Entry(contender.name, t, contender.ours) for t in wanted(data.spec, rules)]
    for entry in entries:
        entry.fail(why)
    return entries


def wanted(spec: Spec, rules: Rules) -> list[float]:
    """The targets; one of its own for a loop of so many iterations, which stops where it is."""
    return [LOOP] if spec.loop else list(rules.targets)


def _leave_out_slow(entries: list[Entry], rules: Rules) -> None:
    """One time, that of the sweep, for peers that are far from the fastest."""
    for target in rules.targets:
        here = [e for e in entries if e.target == target and e.status == "ok"]
        fastest = min((e.sweep_seconds for e in here if not e.ours), default=math.inf)
        for entry in here:
            if not entry.ours and entry.sweep_seconds > rules.slow * fastest:
                entry.status, entry.seconds = "slow", [entry.sweep_seconds]
                entry.words = "timed once, in its sweep"


def _round(result: Contest, pool: Pool, data: Data, turn: int, say: Say) -> None:
    """Every contender once for each target; another one begins each round."""
    rules = pool.rules
    live = [e for e in result.entries if e.status == "ok"]
    shift = turn % max(1, len(live))
    for entry in live[shift:] + live[:shift]:
        say(f"{entry.contender}: round {turn + 1} of {rules.rounds}")
        try:
            worker = pool[entry.contender]
            run = worker.solve(entry.setting, rules.limit, repeats(entry.sweep_seconds))
        except ContenderError as failure:
            entry.fail(failure)
            continue
        entry.add(run, worst(data, result.best, run.answers))


def repeats(seconds: float) -> int:
    """Solves in a row, so that together they last a twentieth of a second: 1 to 100."""
    return max(1, min(100, math.ceil(SHORTEST / max(seconds, 1e-9))))


def best_peer(entries: list[Entry], target: float) -> Entry | None:
    """The peer with the least median time at a target; a slow one only if there is no other."""
    timed = [
        e
        for e in entries
        if e.target == target and not e.ours and e.seconds and e.status in ("ok", "slow")
    ]
    return min(timed, key=lambda e: statistics.median(e.seconds), default=None)


def our_best(entries: list[Entry], target: float) -> Entry | None:
    """torchlogreg as it comes; named optimizers are shown, never chosen."""
    ours = [e for e in entries if e.target == target and e.contender == "torchlogreg"]
    return ours[0] if ours and ours[0].status == "ok" and ours[0].seconds else None


def passes(entry: Entry, result: Contest) -> float:
    """Median time in units of one ``X @ w``."""
    if not (entry.seconds and result.passes):
        return math.nan
    return statistics.median(entry.seconds) / statistics.median(result.passes)
