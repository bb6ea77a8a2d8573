"""A process that solves for one contender, and stays: ``python -m benchmarks.solving.worker``.

One request a line on stdin, one reply a line on what was stdout: libraries that print cannot
disturb it. Requests: ``load`` a problem's folder, ``solve`` with a setting (timed; the answer goes
into a file), ``forget``.
"""

from __future__ import annotations

import gc
import json
import os
import statistics
import sys
import time
import warnings
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from benchmarks.solving import problems
from benchmarks.solving.client import ARRAYS
from benchmarks.solving.contender import Answer, Solve
from benchmarks.solving.registry import contenders


def main() -> None:
    """Serve until stdin ends."""
    facts = json.loads(sys.argv[1])
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: facts["threads"]])
    warnings.simplefilter("ignore")
    contender = contenders(facts["optimizers"], facts["also"])[facts["contender"]]
    solve: Solve | None = None
    for line in sys.stdin:
        request = json.loads(line)
        if request["ask"] == "load":
            solve = None
            gc.collect()
            reply, solve = loading(contender, Path(request["folder"]), facts["threads"])
        elif request["ask"] == "solve" and solve is not None:
            reply = solving(solve, request["setting"], Path(request["to"]), request["repeats"])
        else:
            solve = None
            gc.collect()
            reply = {"ok": True}
        send(replies, reply)


def loading(contender: Any, folder: Path, threads: int) -> tuple[dict[str, Any], Solve | None]:
    """Map the rows and convert them."""
    try:
        return {"ok": True}, contender.start(problems.load(folder), threads)
    except Exception as error:
        return refusal(error), None


def solving(solve: Solve, setting: dict[str, Any], to: Path, repeats: int) -> dict[str, Any]:
    """Solve on the clock; write all answers. Times are medians over the repeats."""
    gc.collect()
    times, answers = [], []
    try:
        for _ in range(repeats):
            cpu, begun = time.process_time(), time.perf_counter()
            answers.append(solve(setting))
            times.append((time.perf_counter() - begun, time.process_time() - cpu))
    except Exception as error:
        return refusal(error)
    write(answers, to)
    last = answers[-1]
    return {
        "ok": True,
        "seconds": statistics.median(t for t, _ in times),
        "cpu": statistics.median(c for _, c in times),
        "optimality": last.optimality,
        "certified": None if last.certified is None else all(a.certified for a in answers),
        "note": last.note,
    }


def write(answers: list[Answer], to: Path) -> None:
    """The arrays of all answers, as .npz."""
    arrays = {f"{name}{i}": getattr(a, name) for i, a in enumerate(answers) for name in ARRAYS}
    np.savez(to, **{name: a for name, a in arrays.items() if a is not None})


def refusal(error: Exception) -> dict[str, Any]:
    """What went wrong, in one line."""
    words = " ".join(str(error).split()) or "no message"
    return {"ok": False, "error": f"{type(error).__name__}: {words}"[:300]}


def send(replies: TextIO, reply: dict[str, Any]) -> None:
    """One line."""
    replies.write(json.dumps(reply) + "\n")
    replies.flush()


if __name__ == "__main__":
    main()
