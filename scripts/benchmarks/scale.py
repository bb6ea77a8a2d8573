"""Time and bytes a row as the rows grow, in memory, mapped, and on two processes."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

from common import heading, table
from torchlogreg import LogisticRegression, fit
from torchlogreg.distributed import joined, rank, shard, world_size

WAYS = ("memory", "mapped", "ranks")


def add_options(p: argparse.ArgumentParser) -> None:
    """The command line."""
    p.add_argument("--rows", type=float, nargs="+", default=[1e4, 1e5, 1e6, 1e7], help="numbers")
    p.add_argument("--columns", type=int, default=20, help="features")
    p.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS), help="ranks: of two")
    p.add_argument("--optimizer", default="auto", help="a name, the same for all")
    p.add_argument("--repeats", type=int, default=3, help="fits, of which the quickest counts")
    p.add_argument("--json", type=Path, default=None, help="where the figures go")
    p.add_argument("--worker", type=Path, default=None, help=argparse.SUPPRESS)


def run(args: argparse.Namespace) -> None:
    """All sizes, each in processes of its own; or, as a worker, one fit."""
    if args.worker is not None:
        work(args)
        return
    found: list[dict[str, Any]] = []
    for n in (int(rows) for rows in args.rows):
        with tempfile.TemporaryDirectory() as folder:
            path = make(Path(folder) / "rows.npy", n, args.columns)
            found += [{"way": way, "n": n, **measure(args, way, path)} for way in args.ways]
    report(found, args.columns)
    if args.json is not None:
        args.json.write_text(json.dumps(found, indent=2) + "\n")


def make(path: Path, n: int, p: int) -> Path:
    """A file of rows, and one of targets beside it, block by block."""
    rng = np.random.default_rng(0)
    X = np.lib.format.open_memmap(path, "w+", np.float64, (n, p))
    y = np.lib.format.open_memmap(path.with_suffix(".y.npy"), "w+", np.float64, (n,))
    for start in range(0, n, 10_000):
        block = slice(start, start + 10_000)
        X[block] = rng.normal(size=X[block].shape)
        y[block] = X[block] @ np.full(p, p**-0.5) + rng.logistic(size=len(y[block])) > 0
    return path


def measure(args: argparse.Namespace, way: str, path: Path) -> dict[str, Any]:
    """Figures of the first process."""
    script = [str(Path(__file__).parents[1] / "benchmark.py"), "scale", "--worker", str(path)]
    command = [sys.executable, *script, "--ways", way, "--optimizer", args.optimizer]
    command += ["--repeats", str(args.repeats)]
    if way == "ranks":
        launch = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
        command[1:1] = launch
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    if done.returncode:
        raise ValueError(f"{way} failed: {done.stderr.strip().splitlines()[-1:]}")
    figures: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return figures


def work(args: argparse.Namespace) -> None:
    """The quickest of some fits, and the memory that it took beyond the rows."""
    way = args.ways[0]
    torch.set_num_threads(1)
    with joined():
        X, y = (
            np.load(path, mmap_mode="r")[shard(len(np.load(path, mmap_mode="r")))]
            for path in (args.worker, args.worker.with_suffix(".y.npy"))
        )
        if way == "memory":
            X, y = np.array(X), np.array(y)
        best = (float("inf"), 0.0, 0)
        few = min(2000, len(X))  # what a first fit loads, it loads once
        fit(LogisticRegression(X.shape[1], dtype=torch.float64), X[:few], y[:few])
        with most_memory() as peak:
            for _ in range(args.repeats):
                model = LogisticRegression(X.shape[1], dtype=torch.float64)
                cpu, wall = time.process_time(), time.perf_counter()
                result = fit(model, X, y, optimizer=args.optimizer)
                took = time.perf_counter() - wall, time.process_time() - cpu, result.n_epochs
                best = min(best, took)
        facts = {"seconds": best[0], "cpu": best[1], "epochs": best[2], "processes": world_size()}
        if rank() == 0:
            print(json.dumps({**facts, "bytes": world_size() * peak[0]}))


@contextmanager
def most_memory() -> Iterator[list[int]]:
    """Bytes that are no page of a file, at most, beyond those at the start."""
    before, peak, done = anonymous(), [0], threading.Event()

    def watch() -> None:
        while not done.wait(0.005):
            peak[0] = max(peak[0], anonymous() - before)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield peak
    finally:
        done.set()
        watcher.join()


def anonymous() -> int:
    """Memory of this process that is no page of a file, now; 0 where nobody says."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return 0
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith("RssAnon")), 0)


def report(found: list[dict[str, Any]], p: int) -> None:
    """Times and memory a row; efficiency is the time in memory, shared by the processes, over it.

    Bytes are those beyond the rows, of all processes.
    """
    heading(f"logistic regression, {p} columns, float64, one thread a process")
    memory = {f["n"]: f["seconds"] for f in found if f["way"] == "memory"}
    rows = []
    for f in found:
        ideal = memory.get(f["n"], float("nan")) / f["processes"]
        rows.append(
            (
                f"{f['way']} {f['n']:.0e}",
                f["epochs"],
                f"{f['seconds']:.3f}",
                f"{f['cpu'] / f['n'] * 1e9:.0f}",
                f"{f['bytes'] / f['n']:.0f}",
                f"{ideal / f['seconds']:.2f}",
            )
        )
    header = ["way and rows", "epochs", "seconds", "cpu ns a row", "bytes a row", "efficiency"]
    print(table(header, rows))
