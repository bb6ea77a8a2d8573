"""The cheapest setting of a contender that reaches each target."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from typing import Any

from benchmarks.solving.client import WARM_UP, ContenderError, Run, Worker
from benchmarks.solving.contender import Contender, Setting
from benchmarks.solving.judge import Verdict, worst
from benchmarks.solving.problems import Data
from benchmarks.solving.reference import Reference


@dataclass
class Entry:
    """A contender at a target.

    Attributes
    ----------
    status : str
        "ok"; else why there is no time: "missing", "refused", "crashed", "over time",
        "not reached" (no setting of the ladder does), "wrong" (a timed run missed the target).
    words : str
        The reason in words.
    setting : dict
        What was timed.
    sweep_seconds : float
        Of the run in the sweep that reached the target.
    seconds, cpu, suboptimality, errors : list of float
        Of every timed run: wall time, processor time, ``(f - f*) / |f*|``, the largest relative
        error of a standard error.
    optimality : float or None
        The contender's own, of the last run.
    """

    contender: str
    target: float
    ours: bool = False
    status: str = "ok"
    words: str = ""
    setting: Setting = field(default_factory=dict)
    sweep_seconds: float = math.nan
    seconds: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    suboptimality: list[float] = field(default_factory=list)
    errors: list[float] = field(default_factory=list)
    optimality: float | None = None
    note: str = ""

    def add(self, run: Run, verdict: Verdict) -> None:
        """A timed run; one that misses the target is the last."""
        self.seconds.append(run.seconds)
        self.cpu.append(run.cpu)
        self.suboptimality.append(verdict.suboptimality)
        self.errors.append(verdict.errors)
        self.optimality, self.note = run.answer.optimality, run.answer.note
        wrong = complaint(run, verdict, self.target)
        if wrong:
            self.status, self.words = "wrong", wrong

    def fail(self, failure: ContenderError) -> None:
        """No time, and why."""
        self.status, self.words = failure.kind, str(failure)


def complaint(run: Run, verdict: Verdict, target: float) -> str:
    """Why a run does not count, or nothing. Who reports convergence must report it."""
    if not verdict.reaches(target):
        errors = f", standard errors off by {verdict.errors:.0e}" if verdict.errors else ""
        return verdict.words or f"suboptimality {verdict.suboptimality:.0e}{errors}"
    return "did not converge by its own account" if run.answer.certified is False else ""


def sweep(
    contender: Contender,
    worker: Worker,
    data: Data,
    best: Reference,
    targets: list[float],
    limit: float,
) -> list[Entry]:
    """Climb the ladder until every target is reached, within ``limit`` seconds in all.

    1. Solve once with the cheapest setting, to warm up.
    2. Solve with each setting in turn; the first that reaches a target is the one to be timed.
    3. Targets left over: "not reached", or "over time".
    """
    entries = [Entry(contender.name, t, contender.ours) for t in sorted(targets, reverse=True)]
    open_entries, nearest = list(entries), math.inf
    ladder = contender.ladder(data.spec)
    try:
        worker.solve(ladder[0], limit + WARM_UP)  # 1
        begun = time.perf_counter()
        for setting in ladder:  # 2
            left = limit - (time.perf_counter() - begun)
            if left <= 0:
                raise ContenderError(
                    "over time", f"its sweep took {limit:g} s, {nearest:.0e} reached"
                )
            run = worker.solve(setting, left)
            verdict = worst(data, best, run.answers)
            nearest = min(nearest, verdict.suboptimality)
            for entry in list(open_entries):
                entry.words = complaint(run, verdict, entry.target)
                if not entry.words:
                    entry.setting, entry.note = setting, run.answer.note
                    entry.sweep_seconds = again(worker, setting, run.seconds, limit)
                    open_entries.remove(entry)
            if not open_entries:
                break
        for entry in open_entries:  # 3
            entry.status = "not reached"
    except ContenderError as failure:
        for entry in open_entries:
            entry.fail(failure)
    return entries


def again(worker: Worker, setting: Setting, seconds: float, limit: float) -> float:
    """The least of what a short solve took and takes; one slow moment excludes nobody."""
    if seconds > 1:
        return seconds
    return min(seconds, *(worker.solve(setting, limit).seconds for _ in range(3)))


def as_json(entry: Entry) -> dict[str, Any]:
    """An entry as JSON has it: no infinities, no NaN."""
    facts = dict(vars(entry))
    for name, value in facts.items():
        if isinstance(value, float) and not math.isfinite(value):
            facts[name] = None
        elif isinstance(value, list):
            facts[name] = [v if math.isfinite(v) else None for v in value]
    return facts
