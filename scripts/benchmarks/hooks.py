"""What hooks cost a fast fit: 1,000 epochs of gradient descent on the blobs."""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

import torch

from benchmarks.timing import interleaved, ratios, summary
from common import table
from torchlogreg import Hook, LogisticRegression, fit
from torchlogreg.datasets import blobs
from torchlogreg.hooks import Progress, StopOnNonFinite, tensorboard_hooks


def add_options(p: argparse.ArgumentParser) -> None:
    """The command line of this benchmark."""
    p.add_argument("--epochs", type=int, default=1000, help="of each fit")
    p.add_argument("--repeats", type=int, default=9, help="rounds, taken in turns")
    p.add_argument(
        "--memory-epochs", type=int, default=10_000, help="of the fit watched for memory"
    )


def run(args: argparse.Namespace) -> None:
    """Print the cost of the TensorBoard hooks at their defaults, and how memory grows."""
    with tempfile.TemporaryDirectory() as name:
        folders = iter(Path(name) / str(i) for i in range(10**6))
        contenders: dict[str, Callable[[], object]] = {
            "no hooks": lambda: train(args.epochs, ()),
            "all TensorBoard hooks": lambda: train(args.epochs, everything(next(folders))),
        }
        seconds = interleaved(contenders, repeats=args.repeats)
        rows = []
        for name_, values in seconds.items():
            times = summary([1e6 * s / args.epochs for s in values])
            rows.append([name_, *(f"{t:.0f}" for t in times)])
        print(f"{args.epochs} epochs of gradient descent on the blobs (500 x 2, float64)\n")
        print(table(["microseconds per epoch", "median", "least", "most"], rows))
        ratio = ratios(seconds["all TensorBoard hooks"], seconds["no hooks"])
        print(f"\nwith hooks / without: {ratio.median:.3f} ({ratio.least:.3f} to {ratio.most:.3f})")
        watch = Memory(args.memory_epochs // 10)
        train(args.memory_epochs, (*everything(next(folders)), watch))
        print(f"\nresident memory during {args.memory_epochs} epochs with all hooks, MiB:")
        print("  " + " ".join(f"{mib:.0f}" for mib in watch.resident))


def everything(folder: Path) -> tuple[Hook, ...]:
    """All hooks that train.py uses, at their defaults (its recorder, which keeps all, aside)."""
    return (*tensorboard_hooks(folder), StopOnNonFinite(), Progress())


def train(epochs: int, hooks: Iterable[Hook]) -> None:
    """Full-batch gradient descent from zero."""
    data = blobs()
    model = LogisticRegression(2, dtype=torch.float64)
    sgd = torch.optim.SGD(model.parameters(), lr=0.1)
    fit(model, data.X, data.y, optimizer=sgd, max_epochs=epochs, tol=0, hooks=hooks)


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
