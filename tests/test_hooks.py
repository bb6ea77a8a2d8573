"""Hooks: who is called when, whatever happens, and the progress bar."""

from __future__ import annotations

import math
import re
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch

from problems import problem
from torchlogreg import FitResult, FitState, Hook, fit
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


@pytest.mark.parametrize("ahead", [1, 3, 100, math.inf])
def test_a_hook_sleeps_until_the_epoch_it_chose_and_wakes_no_other(ahead: float) -> None:
    class Sleeper(Hook):
        """Skips ``ahead - 1`` epochs after each look."""

        def on_fit_start(self, state: FitState) -> None:
            self.wake, self.seen = 1, list[int]()

        def on_epoch_end(self, state: FitState) -> None:
            self.seen.append(state.epoch)
            self.wake = state.epoch + ahead

    sleeper, log = Sleeper(), []
    for _ in range(2):  # a second fit begins afresh
        log.clear()
        run(sleeper, Calls(log))
        assert sleeper.seen == ([1] if ahead > 8 else list(range(1, 9, int(ahead))))
        assert [epoch for _, moment, epoch, _ in log if moment == "epoch"] == list(range(1, 9))


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


def test_progress_tells_how_much_of_an_epoch_of_mini_batches_is_done(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(progress_module, "time", SimpleNamespace(perf_counter=lambda: clock.now))

    class Tick(Hook):
        def on_step_end(self, state: FitState) -> None:
            clock.now += 0.05

    batch = -(-len(problem("logistic").X) // 8)
    run(Tick(), Progress(force=True), max_epochs=2, batch_size=batch, tol=0)
    err = capsys.readouterr().err
    shares = [float(s) for s in re.findall(r"(\d+)% of epoch 1", err)]
    assert shares == sorted(shares) and len(set(shares)) >= 3 and 20 <= shares[0] <= 30
    assert "of epoch 2" in err and "of epoch 3" not in err


def test_ctrl_c_while_hooks_start_ends_the_fit_cleanly() -> None:
    class Impatient(Hook):
        def on_fit_start(self, state: FitState) -> None:
            raise KeyboardInterrupt

    case = problem("logistic")
    result = fit(case.model(), case.X, case.y, hooks=[Impatient()])
    assert result.stop_reason == "interrupted" and result.n_epochs == 0
