"""On a CUDA device: value and gradient in shares of a copy's bandwidth, then fits, in passes."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.timing import Times, summary
from common import device_of, positive
from torchlogreg import L2, FitState, Hook, LogisticRegression, fit, kernels
from torchlogreg.data import Batch
from torchlogreg.objective import Objective

TOLERANCES = (1e-2, 1e-3, 1e-4, 1e-5, 1e-6, 1e-7)
BLOCK = 2**25
"""Entries of ``X`` that the check of an answer takes to float64 at a time."""


@dataclass
class Pass:
    """What one piece of work takes, and its bandwidth counting ``X`` once (a copy: twice)."""

    work: str
    seconds: Times
    bytes: int
    share_of_copy: float

    @property
    def bandwidth(self) -> float:
        """Bytes a second, by the median."""
        return self.bytes / self.seconds.median


@dataclass
class Fitted:
    """The loosest tolerance that reaches the target, and what it takes."""

    asked: str
    optimizer: str
    tol: float
    suboptimality: float
    reached: bool
    seconds: Times
    times_x_w: float
    passes_counted: float
    extra_bytes: int


class Reads(Hook):
    """Counts what a fit read for values and gradients."""

    passes = 0.0

    def on_fit_end(self, state: FitState) -> None:
        """Rows read, in passes."""
        self.passes = state.objective.rows_read / len(state.data)


def add_options(p: argparse.ArgumentParser) -> None:
    """The command line of this benchmark."""
    p.add_argument("--rows", type=int, default=20_000_000)
    p.add_argument("--columns", type=int, default=100)
    p.add_argument("--rounds", type=int, default=9, help="timed runs, after two that warm up")
    p.add_argument("--target", type=float, default=1e-6, help="relative suboptimality of a fit")
    p.add_argument(
        "--optimizers", nargs="+", default=["auto", "lbfgs"], help="auto: the one fit chooses"
    )
    p.add_argument("--seed", type=int, default=0, help="of the rows")
    p.add_argument(
        "--device",
        choices=("cuda", "cpu"),
        default="cuda",
        help="cpu: to try this program out; its figures say nothing of a GPU",
    )
    p.add_argument("--json", type=Path, default=Path("runs/gpu.json"), help="what was measured")


def run(args: argparse.Namespace) -> None:
    """Refuse in one line without a device; else measure, print, save."""
    for name in ("rows", "columns", "rounds", "target"):
        positive(f"--{name}", getattr(args, name))
    device = device_of(args.device)
    X, y = make_rows(args.rows, args.columns, device, args.seed)
    machine = describe(device)
    print(f"{machine['device']}, torch {machine['torch']}, triton {machine['triton']}")
    print(f"{args.rows:,} x {args.columns} float32, {X.nbytes / 1e9:.3g} GB\n")
    passes = measure_passes(X, y, args.rounds)
    print(table_of_passes(passes))
    one = next(p.seconds.median for p in passes if p.work == "X @ w")
    fits = []
    for name in args.optimizers:
        fits.append(measure_fit(name, X, y, args.target, args.rounds, one))
    print(table_of_fits(fits, args.target))
    facts = {
        "machine": machine,
        "rows": args.rows,
        "columns": args.columns,
        "target": args.target,
        "passes": [asdict(p) for p in passes],
        "fits": [asdict(f) for f in fits],
    }
    args.json.parent.mkdir(parents=True, exist_ok=True)
    args.json.write_text(json.dumps(facts, indent=1))


def make_rows(n: int, p: int, device: torch.device, seed: int) -> tuple[Tensor, Tensor]:
    """Gaussian columns (n, p) of scales from 1 to 0.03 and labels (n,), made on the device."""
    g = torch.Generator(device).manual_seed(seed)
    X = torch.randn(n, p, device=device, generator=g)
    scales = torch.logspace(0, -1.5, p, device=device)
    X *= scales
    w = torch.randn(p, device=device, generator=g) / (scales * p**0.5)
    y = (torch.rand(n, device=device, generator=g) < torch.sigmoid(X @ w)).float()
    return X, y


def describe(device: torch.device) -> dict[str, str]:
    """The device and the versions."""
    name = "the CPU, not a GPU"
    if device.type == "cuda":
        name = torch.cuda.get_device_name(device)
    try:
        triton = metadata.version("triton")
    except metadata.PackageNotFoundError:
        triton = "not installed"
    return {"device": name, "torch": torch.__version__, "triton": triton}


def measure_passes(X: Tensor, y: Tensor, rounds: int) -> list[Pass]:
    """A copy, products, value and gradient by torch and, where it is there, by the kernel."""
    model = LogisticRegression(X.shape[1], device=X.device, dtype=X.dtype)
    data = Batch(X, y, torch.ones_like(y))
    w, s = torch.ones_like(X[0]), torch.ones_like(y)
    source = X.flatten()[: min(X.numel(), 2**28)]
    goal = torch.empty_like(source)

    def evaluate() -> None:
        Objective(model).closure(data, data)()  # a new one remembers nothing

    def in_torch() -> None:
        with kernels_off():
            evaluate()

    works: dict[str, tuple[int, Callable[[], object]]] = {
        "copy": (2 * source.nbytes, lambda: goal.copy_(source)),
        "X @ w": (X.nbytes, lambda: X @ w),
        "s @ X": (X.nbytes, lambda: s @ X),
        "value and gradient, torch": (X.nbytes, in_torch),
    }
    if kernels.available(model, model.nll, data):
        works["value and gradient, kernel"] = X.nbytes, evaluate
    times = take_turns({name: work for name, (_, work) in works.items()}, X.device, rounds)
    copied = works["copy"][0] / times["copy"].median
    return [
        Pass(name, times[name], size, size / times[name].median / copied)
        for name, (size, _) in works.items()
    ]


def measure_fit(name: str, X: Tensor, y: Tensor, target: float, rounds: int, one: float) -> Fitted:
    """The first of the tolerances that reaches the target; its time, and its passes."""
    alpha = 1.0 / len(y)
    optimizer = None if name == "auto" else name

    def solve(tol: float) -> tuple[LogisticRegression, Reads, str]:
        model, reads = LogisticRegression(X.shape[1], device=X.device, dtype=X.dtype), Reads()
        result = fit(model, X, y, optimizer=optimizer, penalty=L2(alpha), tol=tol, hooks=[reads])
        return model, reads, result.optimizer

    for tol in TOLERANCES:
        model, reads, used = solve(tol)
        missing = suboptimality(model, X, y, alpha)
        if missing <= target:
            break
    before = memory(X.device)
    times = take_turns({"fit": lambda: solve(tol)}, X.device, rounds)["fit"]
    return Fitted(
        asked=name,
        optimizer=used,
        tol=tol,
        suboptimality=missing,
        reached=missing <= target,
        seconds=times,
        times_x_w=times.median / one,
        passes_counted=reads.passes,
        extra_bytes=peak(X.device) - before,
    )


@torch.no_grad()
def suboptimality(model: LogisticRegression, X: Tensor, y: Tensor, alpha: float) -> float:
    """``(f - f*) / f`` by half the squared Newton decrement, in float64 from the rows themselves.

    Exact to second order, which is all there is as close to the optimum as it is asked for.
    """
    p = X.shape[1]
    at = torch.cat((model.weight[0], model.bias if model.bias is not None else X.new_zeros(1)))
    at = at.double()
    value = at.new_zeros(())
    gradient, hessian = at.new_zeros(p + 1), at.new_zeros(p + 1, p + 1)
    size = max(1, BLOCK // p)
    for rows, label in zip(X.split(size), y.double().split(size), strict=True):
        wide = torch.nn.functional.pad(rows.double(), (0, 1), value=1.0)
        eta = wide @ at
        share = torch.sigmoid(eta)
        value += (torch.nn.functional.softplus(eta) - label * eta).sum()
        gradient += (share - label) @ wide
        hessian += (wide * (share * (1 - share))[:, None]).T @ wide
    penalty = alpha * torch.ones_like(at)
    penalty[-1] = 0
    value = value / len(y) + 0.5 * (penalty * at.square()).sum()
    gradient, hessian = gradient / len(y) + penalty * at, hessian / len(y) + penalty.diag()
    return float(0.5 * gradient @ torch.linalg.solve(hessian, gradient) / value)


def take_turns(
    works: dict[str, Callable[[], object]], device: torch.device, rounds: int
) -> dict[str, Times]:
    """Seconds of each, after two rounds that warm up; waits for the device."""
    seconds: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(rounds + 2):
        for name, work in works.items():
            wait(device)
            begun = time.perf_counter()
            work()
            wait(device)
            seconds[name].append(time.perf_counter() - begun)
    return {name: summary(taken[2:]) for name, taken in seconds.items()}


def wait(device: torch.device) -> None:
    """For whatever the device still does."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def memory(device: torch.device) -> int:
    """Bytes in use on the device, from which a new peak is measured; 0 on the CPU."""
    if device.type != "cuda":
        return 0
    torch.cuda.reset_peak_memory_stats(device)
    return torch.cuda.memory_allocated(device)


def peak(device: torch.device) -> int:
    """Most bytes in use since; 0 on the CPU."""
    return torch.cuda.max_memory_allocated(device) if device.type == "cuda" else 0


@contextlib.contextmanager
def kernels_off() -> Iterator[None]:
    """Torch alone."""
    before = os.environ.get("TORCHLOGREG_KERNELS")
    os.environ["TORCHLOGREG_KERNELS"] = "off"
    try:
        yield
    finally:
        os.environ.pop("TORCHLOGREG_KERNELS")
        if before is not None:
            os.environ["TORCHLOGREG_KERNELS"] = before


def table_of_passes(passes: list[Pass]) -> str:
    """Markdown."""
    lines = ["| work | ms (least to most) | GB/s | of the copy |", "| --- | --- | --- | --- |"]
    for p in passes:
        ms, least, most = (f"{1e3 * t:.4g}" for t in p.seconds)
        speed = f"{p.bandwidth / 1e9:.4g} | {p.share_of_copy:.0%}"
        lines.append(f"| {p.work} | {ms} ({least} to {most}) | {speed} |")
    return "\n".join(lines) + "\n"


def table_of_fits(fits: list[Fitted], target: float) -> str:
    """Markdown."""
    lines = [
        f"| fit to {target:g} | tol | suboptimality | s (least to most) | in X @ w | "
        "values and gradients, passes | memory beside X, MB |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for f in fits:
        span = f"{f.seconds.least:.3g} to {f.seconds.most:.3g}"
        reached = f"{f.suboptimality:.1e}" + ("" if f.reached else " MISSED")
        took = f"{f.seconds.median:.3g} ({span}) | {f.times_x_w:.1f}"
        lines.append(
            f"| {f.asked} ({f.optimizer}) | {f.tol:g} | {reached} | {took} "
            f"| {f.passes_counted:.1f} | {f.extra_bytes / 1e6:.0f} |"
        )
    return "\n".join(lines)
