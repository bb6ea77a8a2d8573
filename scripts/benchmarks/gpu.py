"""On a CUDA device: bandwidth of a copy, passes, fits of 20M x 100 float32 rows."""

from __future__ import annotations

import argparse
import dataclasses
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch

from benchmarks.solvers import add_problem_options, add_race_options, check, race
from benchmarks.solving.problems import GPU, Spec
from common import device_of

COPIED = 2**30
"""Bytes of the copy that measures the bandwidth."""


def add_options(p: argparse.ArgumentParser) -> None:
    """The command line of this benchmark."""
    add_problem_options(p)
    p.add_argument(
        "--device",
        choices=("cuda", "cpu"),
        default="cuda",
        help="cpu: to try this program out; its figures say nothing of a GPU",
    )
    add_race_options(p, targets=[1e-6])
    p.set_defaults(threads=[1])


def run(args: argparse.Namespace) -> None:
    """Refuse in one line without a device; else measure, race, save."""
    check(args)
    device_of(args.device)
    print(bandwidths(specs(args)[0]))
    race(args, specs(args))


def specs(args: argparse.Namespace) -> list[Spec]:
    """The problem for each seed, scaled as asked."""
    sizes = {"n": args.rows, "p": args.columns}
    new: dict[str, Any] = {k: v for k, v in sizes.items() if v is not None}
    new["device"] = args.device
    return [dataclasses.replace(GPU, seed=seed, **new) for seed in args.seeds]


def bandwidths(spec: Spec) -> str:
    """What a copy reaches, and ``X @ w`` and value with gradient in shares of it."""
    from torchlogreg.data import Batch
    from torchlogreg.models import LogisticRegression
    from torchlogreg.objective import Objective

    X = torch.randn(spec.n, spec.p, device=spec.device)
    w = torch.randn(spec.p, device=spec.device)
    model = LogisticRegression(spec.p, device=spec.device, dtype=X.dtype)
    y = torch.zeros(spec.n, device=spec.device)
    y[::2] = 1
    data = Batch(X, y, torch.ones_like(y), None)
    source = torch.empty(min(COPIED, X.nbytes), dtype=torch.uint8, device=spec.device)
    goal = torch.empty_like(source)

    def evaluate() -> None:
        objective = Objective(model)  # a new one remembers nothing
        objective.closure(data, data)()

    copied = 2 * source.nbytes / seconds(lambda: goal.copy_(source), spec.device)
    lines = [
        f"{device_name(spec.device)}, torch {torch.__version__}, {spec.n:,} x {spec.p} float32"
    ]
    lines.append(f"copy: {copied / 1e9:.0f} GB/s, read and written")
    for words, work in (("X @ w", lambda: X @ w), ("value and gradient", evaluate)):
        taken = seconds(work, spec.device)
        reached = X.nbytes / taken
        lines.append(
            f"{words}: {1e3 * taken:.3g} ms, {reached / 1e9:.0f} GB/s counting X once, "
            f"{reached / copied:.0%} of the copy"
        )
    if spec.device == "cuda":
        torch.cuda.empty_cache()  # for the workers
    return "\n".join(lines) + "\n"


def seconds(work: Callable[[], object], device: str, rounds: int = 9) -> float:
    """Median over the rounds, after two that warm up; waits for the device."""
    times = []
    for _ in range(rounds + 2):
        begun = time.perf_counter()
        work()
        if device == "cuda":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - begun)
    return statistics.median(times[2:])


def device_name(device: str) -> str:
    """What the device calls itself."""
    return torch.cuda.get_device_name() if device == "cuda" else "the CPU, not a GPU"
