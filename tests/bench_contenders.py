"""Contenders that misbehave, for the tests of the benchmark: ``--also bench_contenders``."""

from __future__ import annotations

import os
import time

import numpy as np

from benchmarks.solving.contender import Answer, Contender, Setting, Solve, decades, once, plain
from benchmarks.solving.problems import Data
from benchmarks.solving.reference import reference


def answering(off: float, setting: Setting, data: Data) -> Answer:
    """The optimum, moved away by ``off`` relative to its size."""
    best = reference(data)
    return Answer(best.weight * (1 + off), best.bias)


def start_exact(data: Data, threads: int) -> Solve:
    """As near as the setting says."""
    return lambda setting: answering(setting["off"], setting, data)


def start_wrong(data: Data, threads: int) -> Solve:
    """Never near."""
    return lambda setting: answering(0.5, setting, data)


def start_crash(data: Data, threads: int) -> Solve:
    """Dies in the middle, with words on stderr and noise on stdout."""

    def solve(setting: Setting) -> Answer:
        print("noise on stdout")
        os.write(2, b"out of luck\n")
        os._exit(3)

    return solve


def start_sleep(data: Data, threads: int) -> Solve:
    """Warms up at once, then takes for ever."""
    calls: list[int] = []

    def solve(setting: Setting) -> Answer:
        if calls:
            time.sleep(600)
        calls.append(1)
        return Answer(np.zeros((1, data.spec.p)), np.zeros(1))

    return solve


def start_refuse(data: Data, threads: int) -> Solve:
    """Says no."""
    raise ValueError("not these\nrows")


def start_fickle(data: Data, threads: int) -> Solve:
    """Right in its sweep (a few solves), wrong when timed."""
    calls: list[int] = []

    def solve(setting: Setting) -> Answer:
        calls.append(1)
        return answering(0.0 if len(calls) <= 8 else 0.5, setting, data)

    return solve


CONTENDERS = [
    Contender("exact", "numpy", "numpy", plain, decades("off", 0, 9), start_exact),
    Contender("wrong", "numpy", "numpy", plain, once(), start_wrong),
    Contender("crash", "numpy", "numpy", plain, once(), start_crash),
    Contender("sleep", "numpy", "numpy", plain, once(), start_sleep),
    Contender("refuse", "numpy", "numpy", plain, once(), start_refuse),
    Contender("fickle", "numpy", "numpy", plain, once(), start_fickle),
    Contender("absent", "no_such_module", "no-such-thing", plain, once(), start_exact),
]
