"""Hooks: who is called when, the progress bar, early stopping, the stop on non-finite numbers."""

from __future__ import annotations

import subprocess
import sys
from functools import partial
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor

from problems import MODELS, problem
from torchlogreg import FitResult, FitState, Hook, LinearRegression, LogisticRegression, fit
from torchlogreg.hooks import EarlyStopping, Progress, Recorder, StopOnNonFinite
from torchlogreg.hooks import progress as progress_module


class Calls(Hook):
    """Writes down every call it gets, with the epoch and the step."""

    def __init__(self, log: list[tuple[str, str, int, int]], name: str = "") -> None:
        self.log, self.name = log, name

    def _note(self, moment: str, state: FitState) -> None:
        self.log.append((self.name, moment, state.epoch, state.step))

    def on_fit_start(self, state: FitState) -> None:
        self._note("start", state)

    def on_step_end(self, state: FitState) -> None:
        self._note("step", state)

    def on_epoch_end(self, state: FitState) -> None:
        self._note("epoch", state)

    def on_fit_end(self, state: FitState) -> None:
        self._note("end", state)


class Raise(Hook):
    """Raises at one epoch, as Ctrl-C or a faulty hook would."""

    def __init__(self, error: BaseException, epoch: int) -> None:
        self.error, self.epoch = error, epoch

    def on_epoch_end(self, state: FitState) -> None:
        if state.epoch == self.epoch:
            raise self.error


class RaiseAtEnd(Hook):
    """Fails in its last look."""

    def on_fit_end(self, state: FitState) -> None:
        raise OSError("disk full")


def run(*hooks: Hook, name: str = "logistic", **settings: object) -> FitResult:
    """A short fit of gradient descent under the hooks."""
    case = problem(name)
    given = {"optimizer": "sgd", "max_epochs": 8, "tol": 0.0} | settings
    return fit(case.model(), case.X, case.y, hooks=hooks, **given)  # type: ignore[arg-type]


# Who is called, when


@pytest.mark.parametrize("method", ["on_step_end", "on_epoch_end", "on_fit_end"])
def test_methods_not_overridden_are_never_called(
    method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: Hook, state: FitState) -> None:
        raise AssertionError(f"{method} was called")

    monkeypatch.setattr(Hook, method, fail)
    assert run(Hook()).n_epochs == 8


def test_moments_come_in_order_and_hooks_in_the_order_given() -> None:
    log: list[tuple[str, str, int, int]] = []
    run(Calls(log, "a"), Calls(log, "b"), max_epochs=2)
    moments = [
        *(("start", 0, 0), ("step", 0, 1), ("epoch", 1, 1)),
        *(("step", 1, 2), ("epoch", 2, 2), ("end", 2, 2)),
    ]
    assert log == [(name, *moment) for moment in moments for name in ("a", "b")]


@pytest.mark.parametrize("batch_size", [None, 7, 20, 60])
def test_step_hooks_are_called_once_per_step(batch_size: int | None) -> None:
    log: list[tuple[str, str, int, int]] = []
    result = run(Calls(log), batch_size=batch_size, generator=torch.Generator().manual_seed(0))
    steps = [step for _, moment, _, step in log if moment == "step"]
    assert steps == list(range(1, result.n_steps + 1))
    assert result.n_steps == 8 * (1 if batch_size is None else -(-60 // batch_size))


def test_hooks_do_not_change_the_fit() -> None:
    case = problem("logistic")
    plain = run()
    watched = run(
        Recorder(), Progress(), StopOnNonFinite(), EarlyStopping(case.X, case.y, patience=99)
    )
    assert torch.equal(plain.model.weight, watched.model.weight)
    assert plain.objective == watched.objective


def test_interrupt_ends_the_fit_and_every_hook_gets_its_last_look() -> None:
    log: list[tuple[str, str, int, int]] = []
    result = run(Calls(log, "before"), Raise(KeyboardInterrupt(), 5), Calls(log, "after"))
    assert (result.stop_reason, result.n_epochs, result.converged) == ("interrupted", 5, False)
    assert [call for call in log if call[1] == "end"] == [
        ("before", "end", 5, 5),
        ("after", "end", 5, 5),
    ]


def test_error_in_a_hook_is_raised_after_the_last_looks() -> None:
    log: list[tuple[str, str, int, int]] = []
    with pytest.raises(ZeroDivisionError, match="mine"):
        run(Calls(log), Raise(ZeroDivisionError("mine"), 3))
    assert [moment for _, moment, _, _ in log].count("end") == 1


@pytest.mark.parametrize("error", [None, KeyboardInterrupt(), ZeroDivisionError()])
def test_a_last_look_that_fails_takes_no_other_hook_with_it(error: BaseException | None) -> None:
    # A full disk in one hook once kept the hooks after it from closing their files.
    log: list[tuple[str, str, int, int]] = []
    interruption = [] if error is None else [Raise(error, 5)]
    with pytest.raises(OSError, match="disk full"):
        run(Calls(log, "first"), RaiseAtEnd(), *interruption, Calls(log, "last"))
    assert [name for name, moment, _, _ in log if moment == "end"] == ["first", "last"]


def test_import_loads_no_library_that_only_pictures_and_files_need() -> None:
    heavy = ("matplotlib", "tensorboard", "pandas", "sklearn", "tqdm")
    program = (
        "import sys, torch; known = set(sys.modules); import torchlogreg, torchlogreg.hooks; "
        f"print([m for m in {heavy} if m in set(sys.modules) - known])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


# Progress


def test_progress_is_silent_without_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    run(Progress(description="normal"))
    assert capsys.readouterr() == ("", "")


def test_progress_leaves_a_final_line_that_says_how_it_ended(
    capsys: pytest.CaptureFixture[str],
) -> None:
    result = run(Progress(description="normal", force=True), tol=1e-1, max_epochs=50)
    out, err = capsys.readouterr()
    last = err.rstrip("\n").split("\r")[-1]
    assert out == "" and err.endswith("\n")
    assert last.startswith("normal: ") and f"{result.n_epochs}/50" in last
    assert f"loss {result.objective:.6g}" in last and f"{result.optimality:.1e}" in last
    assert "converged" in last


@pytest.mark.parametrize("error", [KeyboardInterrupt(), ZeroDivisionError("mine")])
def test_progress_closes_its_bar_whatever_ends_the_fit(
    error: BaseException, capsys: pytest.CaptureFixture[str]
) -> None:
    hook = Progress(force=True)
    try:
        run(hook, Raise(error, 5))
    except ZeroDivisionError:
        pass
    err = capsys.readouterr().err
    assert err.endswith("\n")
    assert ("interrupted" in err) == isinstance(error, KeyboardInterrupt)
    assert hook._bar is None


def test_progress_computes_figures_only_when_a_redraw_is_due(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    drawn: list[int] = []
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(progress_module, "time", SimpleNamespace(perf_counter=lambda: clock.now))
    original = Progress._draw

    def draw(self: Progress, state: FitState, ending: str = "") -> None:
        drawn.append(state.epoch)
        clock.now += 0.01  # this redraw takes 10 ms, so the next is due 200 ms later
        original(self, state, ending)

    class Tick(Hook):
        def on_epoch_end(self, state: FitState) -> None:
            clock.now += 0.06

    monkeypatch.setattr(Progress, "_draw", draw)
    run(Tick(), Progress(force=True), max_epochs=9)
    assert drawn == [2, 6, 9]
    assert capsys.readouterr().err


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
    result = run(early, Raise(KeyboardInterrupt(), 4))
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
def test_held_out_loss_is_the_unweighted_mean_loss_of_the_model(name: str) -> None:
    case = problem(name)
    early = EarlyStopping(case.X, case.y, patience=99)
    recorder = Recorder()
    weights = torch.linspace(0.5, 2.0, case.n, dtype=torch.float64)
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
