"""A fit that is resumed ends with the same bits; what cannot be resumed says so."""

from __future__ import annotations

import re
import signal
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.optim import lr_scheduler

from problems import params_of, problem
from torchlogreg import (
    L1,
    L2,
    OPTIMIZERS,
    BoostMisclassified,
    ClassBalanced,
    ClassMean,
    ElasticNet,
    FitResult,
    FitState,
    Focal,
    History,
    Hook,
    LogisticRegression,
    Product,
    Smoothed,
    fit,
    sparse_rows,
)
from torchlogreg.hooks import Checkpoint, Recorder

F64 = torch.float64

pytestmark = pytest.mark.filterwarnings("ignore::torchlogreg.ConvergenceWarning")

SPARSE = ("coordinate_newton", "dual_coordinate")
MODEL = {"least_squares": "linear", "block_lbfgs": "softmax"}
WEIGHTINGS: dict[str, Callable[[], Any]] = {
    "class_balanced": ClassBalanced,
    "boost": BoostMisclassified,
    "boost_forgetting": lambda: BoostMisclassified(1.5, cap=9.0, sticky=False),
    "class_mean": ClassMean,
    "focal": Focal,
    "smoothed_focal": lambda: Smoothed(Focal(), rate=0.3),
    "smoothed_boost": lambda: Smoothed(BoostMisclassified()),
    "product": lambda: Product(ClassBalanced(), Smoothed(Focal())),
    "function": lambda: lambda snapshot: 1 + snapshot.losses,
}
SCHEDULERS: dict[str, Callable[..., Any]] = {
    "cosine": partial(lr_scheduler.CosineAnnealingLR, T_max=7),
    "step": partial(lr_scheduler.StepLR, step_size=2),
    "milestones": partial(lr_scheduler.MultiStepLR, milestones=[2, 4]),
    "plateau": partial(lr_scheduler.ReduceLROnPlateau, patience=0, threshold=0.5),
    "lambda": partial(lr_scheduler.LambdaLR, lr_lambda=lambda epoch: 0.8**epoch),
    "one_cycle": partial(lr_scheduler.OneCycleLR, max_lr=0.2, total_steps=8),
    "chained": lambda o: lr_scheduler.SequentialLR(
        o,
        [lr_scheduler.ConstantLR(o, 0.5, 2), lr_scheduler.ExponentialLR(o, 0.9)],
        milestones=[3],
    ),
}


class Cut(Hook):
    """Ctrl-C after the third epoch; fits judge their last one otherwise, so max_epochs stays."""

    def on_epoch_end(self, state: FitState) -> None:
        """Once."""
        if state.epoch == 3:
            signal.raise_signal(signal.SIGINT)


def run(
    name: str = "logistic", *, n: int = 60, p: int = 3, shift: float = 0.0, **settings: Any
) -> tuple[Tensor, History, FitResult]:
    """Parameters, history and result of a fit of its own model, optimizer and generator."""
    case = problem(name, n=n, p=p)
    model, recorder = case.model(), Recorder()
    X = case.X + shift
    if settings.get("optimizer") in SPARSE:
        X = sparse_rows(torch.where(X.abs() > 0.5, X, 0.0).numpy())
        model = LogisticRegression(p, bias=False, dtype=F64)
    weighting, hooks = settings.pop("weighting", None), settings.pop("hooks", ())
    result = fit(
        model,
        X,
        case.y,
        weighting=None if weighting is None else weighting(),
        hooks=(recorder, *hooks),
        generator=torch.Generator().manual_seed(1),
        **({"max_epochs": 7, "tol": 0.0} | settings),
    )
    return params_of(model), recorder.history, result


def assert_resumed_is_straight(folder: Path, **settings: Any) -> None:
    """Seven epochs are three, then what was saved and four more: parameters, weights, history."""
    params, history, result = run(**settings)
    run(**settings, hooks=[Cut(), Checkpoint(folder, every=1)])
    resumed, records, again = run(**settings, hooks=[Checkpoint(folder)], resume=folder)
    assert torch.equal(params, resumed)
    assert torch.equal(result.sample_weight, again.sample_weight)
    assert (result.n_epochs, result.n_steps) == (again.n_epochs, again.n_steps)
    assert (result.objective, result.optimality) == (again.objective, again.optimality)
    assert list(history.records) == list(records.records)
    for key in set(history.records) - {"seconds"}:
        np.testing.assert_array_equal(history[key], records[key], err_msg=key)


@pytest.mark.parametrize("batch_size", (None, 16))
@pytest.mark.parametrize("optimizer", sorted(OPTIMIZERS))
def test_every_optimizer_resumes_bit_for_bit(
    tmp_path: Path, optimizer: str, batch_size: int | None
) -> None:
    if optimizer in SPARSE:
        pytest.importorskip("numba")
    settings = {
        "name": MODEL.get(optimizer, "logistic"),
        "optimizer": optimizer,
        "batch_size": batch_size,
        "penalty": None if optimizer == "least_squares" else L2(0.05),
    }
    try:
        run(**settings, max_epochs=1)
    except ValueError as error:
        assert batch_size and re.search("mini-batch|batch_size", str(error))
        return
    assert_resumed_is_straight(tmp_path, **settings)


@pytest.mark.parametrize("weighting", WEIGHTINGS)
@pytest.mark.parametrize(
    ("name", "optimizer", "batch_size"),
    (
        ("logistic", "newton", None),
        ("logistic", "lbfgs", None),
        ("softmax", "adam", 16),
        ("ordinal_logit", "newton", None),
        ("softmax", "saga", 16),
        ("softmax", "block_lbfgs", None),
        ("logistic", "proximal_newton", None),
    ),
)
def test_every_weighting_resumes_bit_for_bit(
    tmp_path: Path, weighting: str, name: str, optimizer: str, batch_size: int | None
) -> None:
    assert_resumed_is_straight(
        tmp_path,
        name=name,
        optimizer=optimizer,
        batch_size=batch_size,
        penalty=L2(0.05),
        weighting=WEIGHTINGS[weighting],
    )


@pytest.mark.parametrize("batch_size", (None, 16))
@pytest.mark.parametrize("scheduler", SCHEDULERS)
@pytest.mark.filterwarnings("ignore:Detected call of:UserWarning")
def test_every_scheduler_resumes_bit_for_bit(
    tmp_path: Path, scheduler: str, batch_size: int | None
) -> None:
    assert_resumed_is_straight(
        tmp_path,
        optimizer="momentum",
        scheduler=SCHEDULERS[scheduler],
        batch_size=batch_size,
    )


WAYS: dict[str, dict[str, Any]] = {
    "columns far from zero": {"optimizer": "newton", "shift": 1900.0},
    "columns far from zero, reweighted": {
        "optimizer": "newton",
        "shift": 1900.0,
        "weighting": Focal,
    },
    "samples": {"optimizer": "subsampled_newton", "n": 20_000},
    "samples far from zero": {"optimizer": "subsampled_newton", "n": 20_000, "shift": 1900.0},
    "more columns than rows": {
        "optimizer": "kernel_newton",
        "p": 90,
        "n": 40,
        "penalty": L2(0.01),
        "weighting": Focal,
    },
    "kinks": {"optimizer": "proximal_newton", "p": 40, "penalty": L1(0.02)},
    "kinks, reweighted": {
        "optimizer": "proximal_newton",
        "p": 40,
        "penalty": L1(0.02),
        "weighting": Focal,
    },
    "kinks of softmax": {
        "name": "softmax",
        "optimizer": "proximal_newton",
        "p": 40,
        "penalty": ElasticNet(0.02),
    },
    "fista": {"optimizer": "proximal_gradient", "p": 40, "penalty": L1(0.02)},
    "svrg with kinks": {"optimizer": "svrg", "penalty": L1(0.02), "batch_size": 7},
    "no penalty": {"optimizer": "newton_cg", "p": 12, "n": 300},
    "chosen": {"tol": 1e-6, "n": 3000},
    "chosen for l1": {"tol": 1e-6, "penalty": L1(0.01)},
    "stops in between": {"optimizer": "newton", "tol": 1e-6},
    "float32": {"optimizer": "adam", "batch_size": 32, "weighting": BoostMisclassified},
}


@pytest.mark.parametrize("way", WAYS)
def test_every_way_resumes_bit_for_bit(tmp_path: Path, way: str) -> None:
    assert_resumed_is_straight(tmp_path, **WAYS[way])


def test_the_global_source_of_random_numbers_is_resumed_too(tmp_path: Path) -> None:
    case = problem("logistic")

    def params(epochs: int, **settings: Any) -> Tensor:
        model = case.model()
        fit(model, case.X, case.y, optimizer="sgd", batch_size=8, max_epochs=epochs, **settings)
        return params_of(model)

    before = torch.get_rng_state()
    try:
        torch.manual_seed(5)
        straight = params(6)
        torch.manual_seed(5)
        params(2, hooks=[Checkpoint(tmp_path)])
        torch.manual_seed(6)
        assert torch.equal(params(6, resume=tmp_path), straight)
    finally:
        torch.set_rng_state(before)
