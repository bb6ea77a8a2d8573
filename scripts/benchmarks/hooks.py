"""What hooks cost a fast fit: 1,000 epochs on the blobs."""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from itertools import count
from pathlib import Path
from typing import NamedTuple

import torch

from benchmarks.timing import ratios, summary
from common import table
from torchlogreg import BoostMisclassified, Hook, LogisticRegression, Weighting, fit
from torchlogreg.datasets import blobs
from torchlogreg.hooks import Progress, StopOnNonFinite, tensorboard_hooks


class Kind(NamedTuple):
    """A fit that hooks look at."""

    optimizer: str
    weighting: Callable[[], Weighting] | None = None
    batch_size: int | None = None


FITS = {
    "sgd": Kind("sgd"),
    "sgd-weighted": Kind("sgd", BoostMisclassified),
    "sgd-minibatch": Kind("sgd", batch_size=32),
    "adam": Kind("adam"),
    "lbfgs": Kind("lbfgs"),
}


def add_options(p: argparse.ArgumentParser) -> None:
    """The command line of this benchmark."""
    p.add_argument("--fits", nargs="+", choices=FITS, default=list(FITS), help="one table each")
    p.add_argument("--epochs", type=int, default=1000, help="of each fit")
    p.add_argument("--repeats", type=int, default=25, help="rounds, taken in turns")
    p.add_argument(
        "--memory-epochs", type=int, default=10_000, help="of the fit watched for memory"
    )


def run(args: argparse.Namespace) -> None:
    """Print the cost of hooks at their defaults, and how memory grows."""
    with tempfile.TemporaryDirectory() as name:
        folders = (Path(name) / str(i) for i in count())
        for fit_name in args.fits:
            seconds = measure(FITS[fit_name], args.epochs, args.repeats, folders)
            print(f"\n{args.epochs} epochs of {fit_name} on the blobs (500 x 2, float64)\n")
            report(seconds, args.epochs)
        watch = Memory(args.memory_epochs // 10)
        train(FITS["sgd"], args.memory_epochs, (*everything(next(folders)), watch))
        print(f"\nresident memory during {args.memory_epochs} epochs with all hooks, MiB:")
        print("  " + " ".join(f"{mib:.0f}" for mib in watch.resident))


def measure(
    kind: Kind, epochs: int, repeats: int, folders: Iterator[Path]
) -> dict[str, list[float]]:
    """Seconds of each round by label; every round runs each set of hooks once."""
    seconds: dict[str, list[float]] = {label: [] for label in KINDS}
    for turn in range(-1, repeats):  # the first turn warms up
        for label, make in KINDS.items():
            hooks = make(next(folders))  # outside the clock: it imports matplotlib
            begun = time.perf_counter()
            train(kind, epochs, hooks)
            if turn >= 0:
                seconds[label].append(time.perf_counter() - begun)
    return seconds


def report(seconds: dict[str, list[float]], epochs: int) -> None:
    """A table: microseconds per epoch, and the ratio to the same round without hooks."""
    rows = []
    for label, values in seconds.items():
        times = summary([1e6 * s / epochs for s in values])
        ratio = ratios(values, seconds["no hooks"])
        spread = f"{ratio.median:.3f} ({ratio.least:.3f} to {ratio.most:.3f})"
        rows.append([label, *(f"{t:.0f}" for t in times), spread])
    print(table(["microseconds per epoch", "median", "least", "most", "times no hooks"], rows))


def everything(folder: Path) -> tuple[Hook, ...]:
    """All hooks that train.py uses, at their defaults (its recorder, which keeps all, aside)."""
    return (*tensorboard_hooks(folder), StopOnNonFinite(), Progress())


KINDS: dict[str, Callable[[Path], tuple[Hook, ...]]] = {
    "no hooks": lambda folder: (),
    "StopOnNonFinite": lambda folder: (StopOnNonFinite(),),
    "four TensorBoard hooks": lambda folder: tensorboard_hooks(folder),
    "all of them": everything,
}


def train(kind: Kind, epochs: int, hooks: Iterable[Hook]) -> None:
    """From zero, all epochs."""
    data = blobs()
    model = LogisticRegression(2, dtype=torch.float64)
    weighting = None if kind.weighting is None else kind.weighting()
    fit(
        model,
        data.X,
        data.y,
        optimizer=kind.optimizer,
        weighting=weighting,
        batch_size=kind.batch_size,
        max_epochs=epochs,
        tol=0,
        hooks=hooks,
    )


class Memory(Hook):
    """Resident memory of this process now and then, from /proc."""

    def __init__(self, every: int) -> None:
        self.every = max(1, every)
        self.resident: list[float] = []

    def on_epoch_end(self, state: object) -> None:
        """Look at every ``every``-th epoch."""
        if state.epoch % self.every == 0:  # type: ignore[attr-defined]
            lines = Path("/proc/self/status").read_text().splitlines()
            kib = next(int(line.split()[1]) for line in lines if line.startswith("VmRSS"))
            self.resident.append(kib / 1024)
