"""fit(): batches, dtypes, how it ends, what it says and returns."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from problems import MODELS, params_of, problem, small_ridge
from torchlogreg import (
    L2,
    OPTIMIZERS,
    FitState,
    Focal,
    Hook,
    LogisticRegression,
    fit,
)

F64 = torch.float64

# Many fits here stop early on purpose; tests/test_diagnostics_fit.py holds when fit warns.
pytestmark = pytest.mark.filterwarnings("ignore::torchlogreg.ConvergenceWarning")


@pytest.mark.parametrize("name", MODELS)
def test_mini_batches_come_near_the_optimum(name: str, generator: torch.Generator) -> None:
    case = problem(name)
    full, batches = case.model(), case.model()
    a = fit(full, case.X, case.y, penalty=L2(0.1))
    b = fit(
        batches,
        case.X,
        case.y,
        penalty=L2(0.1),
        optimizer=partial(torch.optim.Adam, lr=0.02),
        batch_size=20,
        max_epochs=150,
        generator=generator,
    )
    assert b.n_steps == 3 * b.n_epochs
    assert b.objective - a.objective < 2e-3


def test_the_generator_decides_the_order() -> None:
    case = problem("logistic")
    results = []
    for seed in (1, 1, 2):
        model = case.model()
        fit(
            model,
            case.X,
            case.y,
            optimizer="sgd",
            batch_size=7,
            max_epochs=3,
            generator=torch.Generator().manual_seed(seed),
        )
        results.append(params_of(model))
    assert torch.equal(results[0], results[1])
    assert not torch.equal(results[0], results[2])


def test_the_global_generator_is_left_alone_when_one_is_given(generator: torch.Generator) -> None:
    case = problem("logistic")
    before = torch.random.get_rng_state()
    fit(case.model(), case.X, case.y, batch_size=8, max_epochs=2, generator=generator)
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize("size", [60, 61, 10_000])
def test_a_batch_of_all_rows_is_one_step(size: int, generator: torch.Generator) -> None:
    case = problem("logistic")
    full, batch = case.model(), case.model()
    fit(full, case.X, case.y, optimizer="sgd", max_epochs=5, tol=0)
    result = fit(
        batch,
        case.X,
        case.y,
        optimizer="sgd",
        batch_size=size,
        max_epochs=5,
        tol=0,
        generator=generator,
    )
    assert result.n_steps == 5
    torch.testing.assert_close(params_of(full), params_of(batch), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("dtype", [torch.float32, F64])
@pytest.mark.parametrize("name", MODELS)
def test_the_model_is_trained_in_place_and_keeps_its_dtype(name: str, dtype: torch.dtype) -> None:
    case = problem(name, dtype=dtype)
    model = case.model()
    identity = [id(p) for p in model.parameters()]
    X = case.X.double().numpy()
    result = fit(model, X, case.y.numpy(), penalty=small_ridge(name), tol=1e-4)
    assert result.model is model and result.converged
    assert [id(p) for p in model.parameters()] == identity
    assert {p.dtype for p in model.parameters()} == {dtype}
    assert result.sample_weight.dtype == dtype


def test_the_users_arrays_are_not_changed() -> None:
    case = problem("logistic")
    X, y, weight = case.X.clone(), case.y.clone(), torch.arange(case.n, dtype=F64)
    kept = X.clone(), y.clone(), weight.clone()
    fit(case.model(), X, y, sample_weight=weight, weighting=Focal(), max_epochs=3)
    assert all(torch.equal(a, b) for a, b in zip((X, y, weight), kept, strict=True))


def test_a_second_fit_starts_where_the_first_ended() -> None:
    case = problem("logistic")
    once, twice = case.model(), case.model()
    fit(once, case.X, case.y, optimizer="sgd", max_epochs=10, tol=0)
    for _ in range(2):
        fit(twice, case.X, case.y, optimizer="sgd", max_epochs=5, tol=0)
    assert torch.equal(params_of(once), params_of(twice))


class At(Hook):
    """Does something at one epoch."""

    def __init__(self, epoch: int, act: Callable[[FitState], None]) -> None:
        self.epoch, self.act, self.ended = epoch, act, ""

    def on_epoch_end(self, state: FitState) -> None:
        """Act once."""
        if state.epoch == self.epoch:
            self.act(state)

    def on_fit_end(self, state: FitState) -> None:
        """Remember why."""
        self.ended = state.stop_reason


def interrupt(state: FitState) -> None:
    """What Ctrl-C does."""
    raise KeyboardInterrupt


def fail(state: FitState) -> None:
    """A hook that breaks."""
    raise RuntimeError("disk full")


ENDS: dict[str, tuple[dict[str, Any], Hook, str, bool, int | None]] = {
    "converged": ({}, Hook(), "converged", True, None),
    "max_epochs": ({"optimizer": "sgd", "max_epochs": 4}, Hook(), "max_epochs", False, 4),
    "tol=0": ({"tol": 0, "max_epochs": 12}, Hook(), "max_epochs", False, 12),
    "interrupted": ({"tol": 0}, At(3, interrupt), "interrupted", False, 3),
    "request": ({"tol": 0}, At(3, lambda s: s.request_stop("patience")), "patience", False, 3),
}


@pytest.mark.parametrize("end", ENDS)
def test_a_fit_says_how_it_ended(end: str) -> None:
    arguments, hook, reason, converged, epochs = ENDS[end]
    case = problem("logistic")
    result = fit(case.model(), case.X, case.y, hooks=[hook], **arguments)
    assert (result.stop_reason, result.converged) == (reason, converged)
    assert result.message.startswith(f"{reason} after {result.n_epochs} epochs of ")
    assert epochs in (None, result.n_epochs)
    assert "\n" not in result.message


def test_a_hooks_error_reaches_the_caller_and_every_hook_has_its_last_look() -> None:
    case, hook = problem("logistic"), At(2, fail)
    with pytest.raises(RuntimeError, match="disk full"):
        fit(case.model(), case.X, case.y, hooks=[hook], tol=0)
    assert hook.ended == "error: disk full"


def test_the_first_of_two_reasons_is_kept() -> None:
    case = problem("logistic")
    hooks = [At(2, lambda s: s.request_stop("first")), At(2, lambda s: s.request_stop("second"))]
    assert fit(case.model(), case.X, case.y, hooks=hooks, tol=0).stop_reason == "first"


@pytest.mark.parametrize("name", MODELS)
def test_converged_means_that_the_optimality_is_below_tol(name: str) -> None:
    case = problem(name)
    for optimizer in ("newton", "lbfgs", "proximal_gradient"):
        result = fit(
            case.model(),
            case.X,
            case.y,
            penalty=small_ridge(name),
            optimizer=optimizer,
            tol=1e-5,
            max_epochs=300,
        )
        assert result.converged and result.optimality <= 1e-5


def test_an_optimum_reached_in_the_last_epoch_has_converged() -> None:
    # Newton goes on past tol while it gains digits; max_epochs must not turn that into a failure.
    case = problem("linear")
    result = fit(case.model(), case.X, case.y, optimizer="newton", max_epochs=1)
    assert result.optimality < 1e-12
    assert result.converged and result.stop_reason == "converged"


@pytest.mark.parametrize("lr", [1e200, 1e308])
def test_a_fit_that_diverged_has_not_converged(lr: float) -> None:
    # NaN <= tol and NaN > tol are both false: "not above tol" once meant converged.
    case = problem("linear")
    optimizer = partial(torch.optim.SGD, lr=lr)
    result = fit(case.model(), case.X, case.y, optimizer=optimizer, max_epochs=20)
    assert not np.isfinite(result.optimality)
    assert not result.converged and result.stop_reason != "converged"


def test_newton_goes_on_past_tol_to_rounding() -> None:
    case = problem("logistic")
    assert fit(case.model(), case.X, case.y, optimizer="newton", tol=1e-6).optimality < 1e-12


def test_adaptive_convergence_waits_for_the_weights() -> None:
    case = problem("logistic")

    def restless(rows: Any) -> Tensor:
        state = torch.ones_like(rows.losses) if rows.previous is None else 3 - rows.previous
        state = torch.where(torch.arange(case.n) < 5, state, torch.ones_like(state))
        return state

    result = fit(
        case.model(), case.X, case.y, weighting=restless, optimizer="newton", tol=0.5, max_epochs=9
    )
    assert result.optimality <= 0.5
    assert not result.converged and "sample weights still change by" in result.message


def test_adaptive_weights_that_settle_converge() -> None:
    case = problem("logistic")
    result = fit(case.model(), case.X, case.y, weighting=lambda s: 1 + (s.y > 0.5), tol=1e-8)
    assert result.converged and result.n_epochs > 1


@pytest.mark.parametrize("name", MODELS)
def test_the_result_states_the_final_objective(name: str) -> None:
    case = problem(name)
    model, weight = case.model(), torch.arange(case.n, dtype=F64)
    result = fit(
        model, case.X, case.y, sample_weight=weight, penalty=L2(0.3), optimizer="sgd", max_epochs=3
    )
    with torch.no_grad():
        losses = model.nll(model(case.X), model.target(case.y))
        value = (weight * losses).sum() / weight.sum() + 0.15 * model.weight.square().sum()
    assert result.objective == pytest.approx(float(value), rel=1e-13)
    assert (result.n_epochs, result.n_steps, result.optimizer) == (3, 3, "SGD")
    assert result.seconds >= 0
    torch.testing.assert_close(result.sample_weight, weight / weight.mean())


CHOICES: dict[str, tuple[dict[str, Any], str, str]] = {
    "newton": ({}, "Newton", "full batch, smooth objective, 4 parameters"),
    "adam": ({"batch_size": 20}, "Adam", "mini-batches"),
}


@pytest.mark.parametrize("choice", CHOICES)
def test_a_chosen_optimizer_is_explained(choice: str) -> None:
    arguments, name, why = CHOICES[choice]
    case = problem("logistic")
    result = fit(case.model(), case.X, case.y, max_epochs=2, **arguments)
    assert result.optimizer == name
    assert f"optimizer {choice!r} was chosen: {why}" in result.message


def test_many_parameters_choose_newton_cg(generator: torch.Generator) -> None:
    X = torch.randn(20, 2100, generator=generator)
    result = fit(LogisticRegression(2100), X, torch.arange(20) % 2, max_epochs=2)
    assert result.optimizer == "NewtonCG" and "2101 parameters are too many" in result.message


def test_a_named_optimizer_is_not_explained() -> None:
    case = problem("logistic")
    assert "was chosen" not in fit(case.model(), case.X, case.y, optimizer="newton").message


def test_the_advice_names_the_limit_that_was_hit() -> None:
    case = problem("logistic")
    message = fit(case.model(), case.X, case.y, optimizer="sgd", max_epochs=3).message
    assert "raise max_epochs above 3, or use optimizer='newton'" in message


def test_every_optimizer_counts_one_step_an_epoch_on_a_full_batch() -> None:
    case = problem("linear")
    special = {"block_lbfgs", "kernel_newton"}  # for softmax, and under a ridge
    special |= {"coordinate_newton", "dual_coordinate"}  # for sparse rows
    for name in set(OPTIMIZERS) - special:
        result = fit(case.model(), case.X, case.y, optimizer=name, max_epochs=3, tol=0)
        assert result.n_steps == result.n_epochs == 3
