"""The command line of train.py, and what its words stand for."""

from __future__ import annotations

import argparse
import functools
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch.optim import lr_scheduler

from common import add_device_options, add_output_options, parser, positive
from experiments import command_of
from torchlogreg import (
    OPTIMIZERS,
    LinearRegression,
    LogisticRegression,
    Model,
    OrdinalRegression,
    Penalty,
    SoftmaxRegression,
    Weighting,
)
from torchlogreg.combinators import Rule
from torchlogreg.datasets import DATASETS, Dataset
from torchlogreg.distributed import TIMEOUT
from torchlogreg.names import PENALTIES, WEIGHTINGS, penalty_of, weighting_of

DESCRIPTION = """\
Train a normal and a misclassification-weighted model side by side, and keep everything.

Without arguments: binary logistic regression on scikit-learn's breast cancer data (569 tumours,
30 measurements), once plain and once with rows that the model gets wrong gaining weight as
training goes. Under runs/breast_cancer/ you then find, for each of the two, TensorBoard events
(live while it trains), the model, and its history; and a picture of both cost curves.
"""

EPILOG = """\
examples:
  python scripts/train.py
  python scripts/train.py --data iris --optimizer adam --epochs 500
  python scripts/train.py --data my.csv --target bought --weighting focal --penalty l2 --alpha 0.01
  python scripts/train.py --data levels --model ordinal --link probit
  python scripts/train.py --resume runs/breast_cancer
  python scripts/watch.py          (in another terminal, at any time)
"""

LARGE = 2**31
"""Bytes of a file above which its rows are mapped."""

SCHEDULES: dict[str, Callable[[int], Any]] = {
    "cosine": lambda n: functools.partial(lr_scheduler.CosineAnnealingLR, T_max=n),
    "step": lambda n: functools.partial(lr_scheduler.StepLR, step_size=max(1, n // 3)),
    "exponential": lambda n: functools.partial(lr_scheduler.ExponentialLR, gamma=0.01 ** (1 / n)),
    "plateau": lambda n: lr_scheduler.ReduceLROnPlateau,
}


def options() -> argparse.ArgumentParser:
    """The command line."""
    p = parser(DESCRIPTION, EPILOG)
    data = p.add_argument_group("data")
    data.add_argument(
        "--data",
        default="breast_cancer",
        metavar="NAME|FILE",
        help=f"a set ({', '.join(DATASETS)}) or a .csv, .parquet or .npy file",
    )
    data.add_argument("--target", metavar="COLUMN", help="what to predict, in a file")
    data.add_argument("--test-size", type=float, default=0.2, help="share of rows held out")
    data.add_argument(
        "--mapped",
        action="store_true",
        help="leave the rows of a .npy or .parquet file on disk, as is done above 2 GiB anyway; "
        "temporary files of their size in float64 and in --dtype go to TMPDIR, and at most 100000 "
        "rows are held out and scored. Under torchrun each rank reads only its own rows of such "
        "files, and all of a .csv",
    )
    data.add_argument(
        "--no-standardize",
        dest="standardize",
        action="store_false",
        help="train on raw columns (else they are standardised, and the model is folded back)",
    )
    model = p.add_argument_group("model")
    model.add_argument(
        "--model",
        choices=("auto", "linear", "logistic", "softmax", "ordinal"),
        default="auto",
        help="auto: by the target",
    )
    model.add_argument(
        "--link", choices=("logit", "probit", "cloglog"), help="of --model ordinal (default: logit)"
    )
    model.add_argument("--no-bias", dest="bias", action="store_false", help="no intercept")
    model.add_argument(
        "--penalty",
        choices=tuple(PENALTIES),
        default="l2",
        help="on the weights; jeffreys: Firth's bias reduction, of logistic and softmax",
    )
    model.add_argument(
        "--alpha", type=float, help="strength of the penalty (default: 0.001; jeffreys: 0.5)"
    )
    model.add_argument("--l1-ratio", type=float, default=0.5, help="share of L1 in elasticnet")
    weighting = p.add_argument_group("weighting of the second run")
    weighting.add_argument(
        "--weighting",
        choices=WEIGHTINGS,
        help="boost: misclassified rows; class_mean: their classes, as the original cost logger; "
        "balanced: rare classes; focal: uncertain rows; none: train only the normal run "
        "(default: boost, none for a numeric target)",
    )
    weighting.add_argument("--factor", type=float, default=2.0, help="gain of a misclassified row")
    weighting.add_argument("--cap", type=float, help="most a row can gain (default: --factor)")
    weighting.add_argument("--forget", action="store_true", help="rows that become right fall back")
    weighting.add_argument("--gamma", type=float, default=2.0, help="exponent of focal")
    training = p.add_argument_group("training")
    training.add_argument(
        "--optimizer",
        choices=("auto", *sorted(OPTIMIZERS)),
        help="auto: chosen by size and penalty; "
        "default: lbfgs, or proximal_gradient for l1 and elasticnet, or adam for mini-batches",
    )
    training.add_argument("--lr", type=float, help="learning rate (default: the optimizer's)")
    training.add_argument("--schedule", choices=tuple(SCHEDULES), help="of the learning rate")
    training.add_argument("--epochs", type=int, default=200, help="at most")
    training.add_argument("--tol", type=float, default=1e-6, help="converged at this optimality")
    training.add_argument("--batch-size", type=int, help="rows a step (default: all)")
    add_device_options(p, seed="of the split and of the order of mini-batches")
    add_output_options(p, "")
    p.add_argument(
        "--timeout",
        type=float,
        default=TIMEOUT,
        metavar="SECONDS",
        help="that a process of torchrun waits for the others before it gives them up",
    )
    p.add_argument(
        "--resume",
        type=Path,
        metavar="FOLDER",
        help="go on with an experiment that was interrupted, such as runs/iris; its options hold, "
        "but for those given now (say, more --epochs)",
    )
    return p


def arguments(now: argparse.Namespace) -> argparse.Namespace:
    """The command line; of an experiment that is resumed its own, then what is given ``now``.

    Raises
    ------
    ValueError
        If the folder of --resume is none of train.py's.
    """
    if now.resume is None:
        return now
    return options().parse_args(command_of(now.resume) + sys.argv[1:])


def check(args: argparse.Namespace) -> None:
    """Refuse numbers out of range before any data is read.

    Raises
    ------
    ValueError
        Naming the option.
    """
    positive("--lr", args.lr)
    if args.epochs < 1:
        raise ValueError(f"--epochs is {args.epochs}, but at least one is needed")
    if not 0 < args.test_size < 1:
        raise ValueError(f"--test-size is {args.test_size}, but it is a share between 0 and 1")
    if args.optimizer == "auto" and args.lr is not None:
        raise ValueError("--lr needs an optimizer by name: auto may choose one without")
    if args.target is not None and args.data in DATASETS:
        raise ValueError(f"--target is for files; the set {args.data} has its own target")
    make_penalty(args)


def can_be_mapped(args: argparse.Namespace) -> bool:
    """Whether --data is a file of which a part can be read alone: .npy or .parquet."""
    path = Path(args.data)
    return path.suffix.lower() in (".npy", ".parquet") and args.data not in DATASETS


def stays_on_disk(args: argparse.Namespace, device: torch.device) -> bool:
    """Whether the rows are mapped: on request, and where the file is large.

    Raises
    ------
    ValueError
        If they cannot be.
    """
    path, fits = Path(args.data), can_be_mapped(args)
    if args.mapped and not fits:
        raise ValueError(
            f"--mapped is for .npy and .parquet files, not {args.data}; scripts/convert.py makes "
            ".parquet of .csv"
        )
    if args.mapped and device.type != "cpu":
        raise ValueError(f"--mapped rows stay on disk, not on {device}; add --device cpu")
    large = fits and path.is_file() and path.stat().st_size > LARGE
    return args.mapped or (large and device.type == "cpu")


def make_model(
    args: argparse.Namespace, dataset: Dataset, device: torch.device, dtype: torch.dtype
) -> Model:
    """The model that --model and the target ask for."""
    n_classes, p = len(dataset.class_names), len(dataset.feature_names)
    kind = args.model
    if kind == "auto":
        several = "ordinal" if dataset.ordered else "softmax"
        kind = "linear" if n_classes == 0 else "logistic" if n_classes == 2 else several
    if kind == "linear" and n_classes:
        raise ValueError(f"--model linear, but {dataset.target_name!r} has classes; use logistic")
    if kind != "linear" and not n_classes:
        raise ValueError(f"--model {kind}, but {dataset.target_name!r} is a number; use linear")
    if kind == "logistic" and n_classes != 2:
        raise ValueError(f"--model logistic, but there are {n_classes} classes; use softmax")
    if args.link is not None and kind != "ordinal":
        raise ValueError(f"--link {args.link} is for --model ordinal; this model is {kind}")
    if kind == "linear":
        return LinearRegression(p, bias=args.bias, device=device, dtype=dtype)
    if kind == "logistic":
        return LogisticRegression(p, bias=args.bias, device=device, dtype=dtype)
    if kind == "softmax":
        return SoftmaxRegression(p, n_classes, bias=args.bias, device=device, dtype=dtype)
    link = args.link or "logit"
    return OrdinalRegression(p, n_classes, link=link, bias=args.bias, device=device, dtype=dtype)


def chosen_weightings(args: argparse.Namespace, model: Model) -> dict[str, Weighting | Rule | None]:
    """Names of the runs and their weightings."""
    if model.n_classes is None and args.weighting not in (None, "none"):
        raise ValueError(
            f"--weighting {args.weighting} weighs by class, but the target is a number"
        )
    if model.n_classes is None or args.weighting == "none":
        return {"normal": None}
    weighting = weighting_of(
        args.weighting or "boost",
        factor=args.factor,
        cap=args.cap,
        sticky=not args.forget,
        gamma=args.gamma,
    )
    return {"normal": None, "weighted": weighting}


def make_penalty(args: argparse.Namespace) -> Penalty | None:
    """The penalty that --penalty names."""
    return penalty_of(args.penalty, args.alpha, args.l1_ratio)


def make_optimizer(args: argparse.Namespace, penalty: Penalty | None) -> Any:
    """A factory for the optimizer that --optimizer names."""
    name = args.optimizer
    if name == "auto":
        return None
    if name is None:
        name = "adam" if args.batch_size else "lbfgs"
        name = name if penalty is None or penalty.smooth else "proximal_gradient"
    factory = OPTIMIZERS[name]
    return factory if args.lr is None else functools.partial(factory, lr=args.lr)
