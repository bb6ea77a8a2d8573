"""What hooks cost a fast fit: 1,000 epochs on the blobs."""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Iterable
from itertools import count
from pathlib import Path

import torch

from benchmarks.timing import ratios, summary
from common import table
from torchlogreg import OPTIMIZERS, Hook, LogisticRegression, fit
from torchlogreg.datasets import blobs
from torchlogreg.hooks import Progress, StopOnNonFinite, tensorboard_hooks


def add_options(p: argparse.ArgumentParser) -> None:
    """The command line of this benchmark."""
    p.add_argument("--optimizer", choices=sorted(OPTIMIZERS), default="sgd", help="of each fit")
    p.add_argument("--epochs", type=int, default=1000, help="of each fit")
    p.add_argument("--repeats", type=int, default=9, help="rounds, taken in turns")
    p.add_argument(
        "--memory-epochs", type=int, default=10_000, help="of the fit watched for memory"
    )


def run(args: argparse.Namespace) -> None:
    """Print the cost of the TensorBoard hooks at their defaults, and how memory grows."""
    with tempfile.TemporaryDirectory() as name:
        folders = (Path(name) / str(i) for i in count())
        seconds: dict[str, list[float]] = {}
        for turn in range(-1, args.repeats):  # the first turn warms up
            for label, make in KINDS.items():
                hooks = make(next(folders))  # outside the clock: it imports matplotlib
                begun = time.perf_counter()
                train(args.optimizer, args.epochs, hooks)
                if turn >= 0:
                    seconds.setdefault(label, []).append(time.perf_counter() - begun)
        bare = seconds["no hooks"]
        rows = []
        for label, values in seconds.items():
            times = summary([1e6 * s / args.epochs for s in values])
            ratio = ratios(values, bare)
            spread = f"{ratio.median:.3f} ({ratio.least:.3f} to {ratio.most:.3f})"
            rows.append([label, *(f"{t:.0f}" for t in times), spread])
        print(f"{args.epochs} epochs of {args.optimizer} on the blobs (500 x 2, float64)\n")
        print(table(["microseconds per epoch", "median", "least", "most", "times no hooks"], rows))
        watch = Memory(args.memory_epochs // 10)
        train(args.optimizer, args.memory_epochs, (*everything(next(folders)), watch))
        print(f"\nresident memory during {args.memory_epochs} epochs with all hooks, MiB:")
        print("  " + " ".join(f"{mib:.0f}" for mib in watch.resident))


def everything(folder: Path) -> tuple[Hook, ...]:
    """All hooks that train.py uses, at their defaults (its recorder, which keeps all, aside)."""
    return (*tensorboard_hooks(folder), StopOnNonFinite(), Progress())


KINDS: dict[str, Callable[[Path], tuple[Hook, ...]]] = {
    "no hooks": lambda folder: (),
    "StopOnNonFinite": lambda folder: (StopOnNonFinite(),),
    "four TensorBoard hooks": lambda folder: tensorboard_hooks(folder),
    "all of them": everything,
}


def train(optimizer: str, epochs: int, hooks: Iterable[Hook]) -> None:
    """Full batch, from zero, all epochs."""
    data = blobs()
    model = LogisticRegression(2, dtype=torch.float64)
    fit(model, data.X, data.y, optimizer=optimizer, max_epochs=epochs, tol=0, hooks=hooks)


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
