"""Hold autograd against the textbook formulas and against central differences."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

import torch
from torch import Tensor

from common import add_device_options, device_of, dtype_of, heading, main_guard, parser, table
from torchlogreg import (
    LinearRegression,
    LogisticRegression,
    Model,
    OrdinalRegression,
    SoftmaxRegression,
)
from torchlogreg.audit import AuditRow, audit

DESCRIPTION = """\
Hold autograd against the textbook formulas and against central differences.

Every model gets random rows, random sample weights and random non-zero parameters. For every
parameter the gradient of the mean weighted loss, and the parameter's rows of the Hessian, are
computed three ways:

  autograd   what training uses, in --dtype on --device
  formula    torchlogreg.analytic, in float64: X'(p - y)/n, X' diag(p(1-p)) X/n, ...
  central    (f(t + h) - f(t - h)) / 2h in float64, of the loss for the gradient and of the
             gradient for the Hessian; good for about ten digits, whatever is differentiated

The two error columns are the largest differences from autograd, relative to the largest entry.
"""

EPILOG = """\
exit status: 0 if every error is within tolerance, 1 if one is not, 2 for bad options.

examples:
  python scripts/gradient_audit.py
  python scripts/gradient_audit.py --rows 1000 --features 10 --classes 6 --seed 1
  python scripts/gradient_audit.py --dtype float32 --device cuda
"""

TOLERANCES = {torch.float64: (1e-12, 1e-7), torch.float32: (1e-4, 1e-4)}
"""Largest errors against the formulas and against central differences, by dtype of autograd."""


def main() -> int:
    """Parse, audit, report; 1 if anything disagrees."""
    args = options().parse_args()
    dtype, device = dtype_of(args.dtype), device_of(args.device)
    check_sizes(args)
    tolerances = TOLERANCES[dtype]
    generator = torch.Generator().manual_seed(args.seed)
    print(f"autograd in {args.dtype} on {device}; tolerances {tolerances[0]:g}, {tolerances[1]:g}")
    n_wrong, n_rows = 0, 0
    for name, model, y in problems(args.rows, args.features, args.classes, generator):
        X = torch.randn(args.rows, args.features, generator=generator, dtype=torch.float64)
        sample_weight = torch.rand(args.rows, generator=generator, dtype=torch.float64)
        randomise_(model, generator)
        y = y.to(device, dtype) if y.is_floating_point() else y.to(device)
        rows = audit(
            model.to(device, dtype),
            X.to(device, dtype),
            y,
            sample_weight=sample_weight.to(device, dtype),
        )
        heading(name)
        print(report(rows, tolerances))
        n_rows += len(rows)
        n_wrong += sum(not agrees(row, tolerances) for row in rows)
    print(f"\n{n_rows - n_wrong} of {n_rows} derivatives agree")
    return int(n_wrong > 0)


def options() -> argparse.ArgumentParser:
    """The command line."""
    made = parser(DESCRIPTION, EPILOG)
    made.add_argument("--rows", type=int, default=200, help="rows of the random data")
    made.add_argument("--features", type=int, default=4, help="columns of the random data")
    made.add_argument("--classes", type=int, default=4, help="of the models of several classes")
    add_device_options(made, seed="of the random problems")
    return made


def check_sizes(args: argparse.Namespace) -> None:
    """One line for sizes that no model can have."""
    for name, least in (("rows", 1), ("features", 1), ("classes", 2)):
        value = getattr(args, name)
        if value < least:
            raise ValueError(f"--{name} is {value}, but at least {least} is needed")


def problems(
    n: int, p: int, n_classes: int, generator: torch.Generator
) -> Iterator[tuple[str, Model, Tensor]]:
    """Every model with a hard target, and those that take one with a soft target too."""
    label = torch.randint(n_classes, (n,), generator=generator)
    soft = torch.rand(n, n_classes, generator=generator, dtype=torch.float64) + 0.1
    soft = soft / soft.sum(1, keepdim=True)
    probability = torch.rand(n, generator=generator, dtype=torch.float64)
    number = torch.randn(n, generator=generator, dtype=torch.float64)
    yield "linear", LinearRegression(p), number
    yield "logistic", LogisticRegression(p), (probability > 0.5).double()
    yield "logistic, soft target", LogisticRegression(p), probability
    for target, y in (("", label), (", soft target", soft)):
        yield f"softmax{target}", SoftmaxRegression(p, n_classes), y
        yield (
            f"softmax, reference class{target}",
            SoftmaxRegression(p, n_classes, reference=True),
            y,
        )
        for link in ("logit", "probit", "cloglog"):
            yield f"ordinal, {link}{target}", OrdinalRegression(p, n_classes, link), y


@torch.no_grad()
def randomise_(model: Model, generator: torch.Generator) -> None:
    """Move the parameters at random, but not so far that the probabilities are all 0 or 1."""
    for p in model.parameters():
        size = model.n_features**-0.5 if p is model.weight else 0.5
        p.add_(size * torch.randn(p.shape, generator=generator))


def agrees(row: AuditRow, tolerances: tuple[float, float]) -> bool:
    """Whether both errors are within tolerance; NaN is not."""
    return row.analytic_error <= tolerances[0] and row.difference_error <= tolerances[1]


def report(rows: list[AuditRow], tolerances: tuple[float, float]) -> str:
    """A table of one model."""
    header = ("parameter", "derivative", "entries", "largest", "vs formula", "vs central", "")
    return table(
        header,
        [
            (
                row.parameter,
                row.derivative,
                row.n_entries,
                f"{row.largest:.3e}",
                f"{row.analytic_error:.1e}",
                f"{row.difference_error:.1e}",
                "ok" if agrees(row, tolerances) else "WRONG",
            )
            for row in rows
        ],
    )


if __name__ == "__main__":
    main_guard(main)
