"""Early stopping on held-out rows, and the stop on numbers that are none."""

from __future__ import annotations

import re
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from problems import MODELS, problem
from torchlogreg import (
    FitResult,
    FitState,
    Focal,
    Hook,
    LinearRegression,
    LogisticRegression,
    Uniform,
    fit,
)
from torchlogreg.hooks import EarlyStopping, Recorder, StopOnNonFinite
from torchlogreg.hooks.stopping import LONGEST


class Interrupt(Hook):
    """Ctrl-C at epoch 4."""

    def on_epoch_end(self, state: FitState) -> None:
        if state.epoch == 4:
            raise KeyboardInterrupt


def run(*hooks: Hook, name: str = "logistic", **settings: object) -> FitResult:
    """A short fit of gradient descent under the hooks."""
    case = problem(name)
    given = {"optimizer": "sgd", "max_epochs": 8, "tol": 0.0} | settings
    return fit(case.model(), case.X, case.y, hooks=hooks, **given)  # type: ignore[arg-type]


# Early stopping


def overfitting() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Twenty rows, fifteen noise columns: what training gains, held-out rows lose."""
    generator = torch.Generator().manual_seed(3)
    X = torch.randn(60, 15, generator=generator, dtype=torch.float64)
    y = X[:, 0] + torch.randn(60, generator=generator, dtype=torch.float64)
    return X[:20], y[:20], X[20:], y[20:]


def stopped(recorder: Recorder, **settings: object) -> tuple[FitResult, EarlyStopping]:
    X, y, X_held, y_held = overfitting()
    early = EarlyStopping(X_held, y_held, **settings)  # type: ignore[arg-type]
    model = LinearRegression(15, dtype=torch.float64)
    result = fit(model, X, y, optimizer="sgd", max_epochs=500, tol=0, hooks=[recorder, early])
    return result, early


def test_early_stopping_stops_after_patience_and_restores_the_best_epoch() -> None:
    recorder = Recorder()
    result, early = stopped(recorder, patience=10)
    assert 0 < early.best_epoch < result.n_epochs == early.best_epoch + 10
    assert early.best_loss == min(early.losses) == early.losses[early.best_epoch]
    assert early.epochs == list(range(result.n_epochs + 1))
    assert result.stop_reason == (
        "early stopping: no improvement of the held-out loss for 10 epochs "
        f"(best {early.best_loss:.6g} at epoch {early.best_epoch})"
    )
    best = torch.from_numpy(recorder.history.params(early.best_epoch)["weight"])
    assert torch.equal(result.model.weight, best)


def test_result_describes_the_parameters_put_back() -> None:
    recorder = Recorder()
    result, early = stopped(recorder)
    assert result.objective == recorder.history["objective"][early.best_epoch]
    assert result.optimality == recorder.history["optimality"][early.best_epoch]


def test_without_restore_the_last_parameters_stay() -> None:
    recorder = Recorder()
    result, _ = stopped(recorder, restore_best=False)
    last = torch.from_numpy(recorder.history.params()["weight"])
    assert torch.equal(result.model.weight, last)


def test_best_parameters_come_back_after_an_interrupt_too() -> None:
    case = problem("logistic")
    early = EarlyStopping(case.X, 1 - case.y, patience=99)  # against the truth: the start is best
    result = run(early, Interrupt())
    assert result.stop_reason == "interrupted" and early.best_epoch == 0
    assert not result.model.weight.any()


def test_an_improvement_smaller_than_min_delta_is_none() -> None:
    case = problem("logistic")
    early = EarlyStopping(case.X, case.y, patience=3, min_delta=10.0)
    result = run(early)
    assert (result.n_epochs, early.best_epoch) == (3, 0)


def test_every_looks_rarely_and_patience_still_counts_epochs() -> None:
    case = problem("logistic")
    early = EarlyStopping(case.X, 1 - case.y, patience=5, every=3)
    result = run(early, max_epochs=20)
    assert early.epochs == [0, 3, 6] and result.n_epochs == 6


@pytest.mark.parametrize("name", MODELS)
def test_held_out_loss_is_the_mean_loss_without_the_schedule(name: str) -> None:
    case = problem(name)
    weights = torch.linspace(0.5, 2.0, case.n, dtype=torch.float64)
    early = EarlyStopping(case.X, case.y, patience=99, sample_weight=weights)
    recorder = Recorder()
    run(recorder, early, name=name, optimizer="adam", sample_weight=weights)
    expected = torch.from_numpy(recorder.history["loss_unweighted"])
    torch.testing.assert_close(
        torch.tensor(early.losses, dtype=torch.float64), expected, rtol=1e-12, atol=0
    )


def test_zero_weight_of_a_held_out_row_equals_its_removal() -> None:
    case = problem("logistic")
    keep = torch.arange(case.n) % 3 > 0
    weighted = EarlyStopping(case.X, case.y, sample_weight=keep.double())
    removed = EarlyStopping(case.X[keep], case.y[keep])
    run(weighted, removed)
    assert weighted.losses == pytest.approx(removed.losses, rel=1e-14)


def test_held_out_rows_may_hold_one_class_only() -> None:
    case = problem("logistic")
    ones = case.y == 1
    early = EarlyStopping(case.X[ones], case.y[ones])
    assert run(early).n_epochs == len(early.losses) - 1


def test_early_stopping_forgets_earlier_fits() -> None:
    case = problem("logistic")
    early = EarlyStopping(case.X, case.y, patience=99)
    run(early)
    first = early.losses
    run(early)
    assert early.losses == first


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"patience": 0}, "patience is 0"),
        ({"min_delta": -1.0}, "min_delta is -1.0"),
        ({"min_delta": float("nan")}, "min_delta is nan"),
        ({"every": 0}, "every is 0"),
    ],
)
def test_early_stopping_refuses_impossible_settings(settings: dict[str, float], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        EarlyStopping(torch.zeros(2, 1), torch.zeros(2), **settings)  # type: ignore[arg-type]


def test_unsuitable_held_out_rows_are_refused_before_training() -> None:
    case = problem("logistic")
    model = case.model()
    wrong = {
        "X has 2 columns": (case.X[:, :2], case.y),
        "row 0": (case.X, case.y + 5),
        "must match": (case.X, case.y[:-1]),
    }
    for says, (X, y) in wrong.items():
        with pytest.raises(ValueError, match=f"held-out rows of EarlyStopping: .*{says}"):
            fit(model, case.X, case.y, hooks=[EarlyStopping(X, y)])
    assert not model.weight.any()


# Non-finite numbers


def diverge(lr: float, tol: float = 0.0) -> FitResult:
    generator = torch.Generator().manual_seed(0)
    X = torch.randn(50, 4, generator=generator)
    y = X.sum(1)
    sgd = partial(torch.optim.SGD, lr=lr)
    return fit(LinearRegression(4), X, y, optimizer=sgd, tol=tol, hooks=[StopOnNonFinite()])


@pytest.mark.parametrize("tol", [0.0, 1e-6])
def test_divergence_stops_with_epoch_rate_and_parameter(tol: float) -> None:
    result = diverge(1e6, tol)
    assert result.stop_reason.startswith("non-finite: loss is inf and weight[0, ")
    assert result.stop_reason.endswith(
        f"after epoch {result.n_epochs} with lr 1e+06; lower the learning rate"
    )
    assert result.n_epochs < 10 and not result.converged


@pytest.mark.parametrize("tol", [0.0, 1e-6])
def test_non_finite_parameter_is_named(tol: float) -> None:
    # With tol > 0, fit once took a NaN optimality for convergence and the reason was lost.
    result = diverge(3e38, tol)
    assert result.stop_reason == (
        "non-finite: weight[0, 0] is inf after epoch 1 with lr 3e+38; lower the learning rate"
    )
    assert not result.converged


def test_the_first_non_finite_entry_is_named() -> None:
    class Spoil(Hook):
        def on_epoch_end(self, state: FitState) -> None:
            with torch.no_grad():
                if state.epoch == 3:
                    state.model.weight[1, 2] = torch.nan

    result = run(Spoil(), StopOnNonFinite(), name="softmax")
    assert "weight[1, 2] is nan after epoch 3 with lr 0.1;" in result.stop_reason


class Overwrite(Hook):
    """Puts a number into a parameter at one epoch."""

    def __init__(self, epoch: int, value: float) -> None:
        self.epoch, self.value = epoch, value

    @torch.no_grad()
    def on_epoch_end(self, state: FitState) -> None:
        if state.epoch == self.epoch:
            state.model.weight[0, 1] = self.value


@pytest.mark.parametrize("epoch", [1, 12, 15, 200, 299, 300])
@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_a_spoilt_parameter_stops_the_fit_before_twice_the_epochs_or_250_more(
    epoch: int, value: float
) -> None:
    result = run(Overwrite(epoch, value), StopOnNonFinite(), max_epochs=300)
    assert result.stop_reason.startswith("non-finite: weight[0, ")
    found, reason = result.n_epochs, result.stop_reason
    assert epoch <= found <= epoch + min(epoch, LONGEST)
    if f"after epoch {found} with" not in reason:
        (finite,) = re.findall(rf"by epoch {found} \(finite after epoch (\d+)\) with", reason)
        assert int(finite) < epoch


@pytest.mark.parametrize("loss", [None, torch.ones(())])
@pytest.mark.parametrize("rows", [60, 2**20])
@pytest.mark.parametrize("batch_size", [None, 1])
def test_long_epochs_are_looked_at_one_by_one(
    rows: int, batch_size: int | None, loss: Tensor | None
) -> None:
    hook, looks = StopOnNonFinite(), list[int]()
    data = SimpleNamespace(X=torch.empty(rows, 1), n=rows)
    state: Any = SimpleNamespace(
        data=data, weighting=Uniform(), model=torch.nn.Linear(1, 1), loss=loss, max_epochs=1000
    )
    hook.on_fit_start(state)
    for epoch in range(1, 1001):
        state.epoch, state.step = epoch, epoch * (1 if batch_size is None else 300)
        if epoch >= hook.wake:
            hook.on_epoch_end(state)
            looks.append(epoch)
    long = rows > 60 or batch_size == 1
    assert looks == list(range(1, 1001)) if long else len(looks) < 20 and looks[-1] == 1000


def test_a_weighting_is_never_asked_about_parameters_that_are_no_numbers() -> None:
    # It would raise, and the run would end as an error that names the weighting.
    result = run(Overwrite(33, torch.nan), StopOnNonFinite(), max_epochs=99, weighting=Focal())
    assert result.stop_reason.startswith("non-finite: weight[0, 1] is nan after epoch 33 with")


def test_finite_fits_are_left_alone() -> None:
    assert run(StopOnNonFinite()).stop_reason == "max_epochs"


def test_optimizer_without_a_loss_or_a_rate_can_be_watched() -> None:
    class Silent(torch.optim.Optimizer):
        def __init__(self, params: object) -> None:
            super().__init__(params, {})  # type: ignore[arg-type]

        def step(self, closure: object = None) -> None:  # type: ignore[override]
            with torch.no_grad():
                self.param_groups[0]["params"][0].fill_(torch.inf)

    case = problem("logistic")
    model = LogisticRegression(3, dtype=torch.float64)
    result = fit(model, case.X, case.y, optimizer=Silent, tol=0, hooks=[StopOnNonFinite()])
    assert result.stop_reason.startswith(
        "non-finite: weight[0, 0] is inf after epoch 1 with lr nan"
    )
