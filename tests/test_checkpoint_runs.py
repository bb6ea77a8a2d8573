"""Checkpoints of a fit that is interrupted, ends, or is not the one that they are of."""

from __future__ import annotations

import io
import os
import signal
import warnings
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from test_checkpoint import SCHEDULERS, run

from problems import problem
from torchlogreg import L1, L2, BoostMisclassified, ConvergenceWarning, FitState, Focal, Hook
from torchlogreg.checkpoints.resuming import CheckpointWarning
from torchlogreg.hooks import Checkpoint, EarlyStopping

pytestmark = pytest.mark.filterwarnings("ignore::torchlogreg.ConvergenceWarning")


class Interrupts(Hook):
    """Ctrl-C in the middle of an epoch."""

    def __init__(self, step: int, times: int = 1) -> None:
        self.at, self.times = step, times

    def on_step_end(self, state: FitState) -> None:
        """In the last of these steps."""
        if state.step == self.at:
            for _ in range(self.times):
                signal.raise_signal(signal.SIGINT)


def test_ctrl_c_ends_the_epoch_saves_and_resumes_bit_for_bit(tmp_path: Path) -> None:
    settings: dict[str, Any] = {"optimizer": "adam", "batch_size": 16}
    straight, _, _ = run(**settings)
    hooks = [Interrupts(6), Checkpoint(tmp_path, every=100)]  # the second of four steps
    _, _, result = run(**settings, hooks=hooks)
    assert (result.stop_reason, result.n_epochs, result.n_steps) == ("interrupted", 2, 8)
    assert os.listdir(tmp_path) == ["epoch-00000002.safetensors"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    resumed, _, again = run(**settings, resume=tmp_path)
    assert torch.equal(resumed, straight) and again.stop_reason == "max_epochs"


def test_a_second_ctrl_c_ends_at_once_with_the_last_checkpoint(tmp_path: Path) -> None:
    hooks = [Interrupts(6, times=2), Checkpoint(tmp_path, every=1)]
    _, _, result = run(optimizer="adam", batch_size=16, hooks=hooks)
    assert (result.stop_reason, result.n_epochs, result.n_steps) == ("interrupted", 1, 6)
    assert os.listdir(tmp_path) == ["epoch-00000001.safetensors"]


def test_a_fit_that_has_ended_is_not_trained_further(tmp_path: Path) -> None:
    settings: dict[str, Any] = {"optimizer": "newton", "tol": 1e-8, "max_epochs": 50}
    params, _, result = run(**settings, hooks=[Checkpoint(tmp_path)])
    again, _, ended = run(**settings, resume=tmp_path)
    assert torch.equal(params, again)
    assert ended.converged and ended.n_epochs == result.n_epochs < 50


@pytest.mark.parametrize("optimizer", ["lbfgs", "newton", "proximal_gradient"])
def test_a_tighter_tolerance_trains_further(tmp_path: Path, optimizer: str) -> None:
    # "converged" was kept whatever tolerance it was said of, and a resumed fit did nothing.
    settings: dict[str, Any] = {"optimizer": optimizer, "max_epochs": 2000}
    _, _, loose = run(**settings, tol=1e-2, hooks=[Checkpoint(tmp_path / "loose")])
    straight, _, tight = run(**settings, tol=1e-6, hooks=[Checkpoint(tmp_path / "tight")])
    assert loose.converged and tight.converged and loose.n_epochs < tight.n_epochs
    resumed, _, again = run(**settings, tol=1e-6, resume=tmp_path / "loose")
    assert again.converged and again.optimality <= 1e-6 < loose.optimality
    assert torch.equal(straight, resumed) and again.n_epochs == tight.n_epochs
    settings["max_epochs"] = tight.n_epochs
    kept, _, same = run(**settings, tol=1e-3, resume=tmp_path / "tight")
    assert torch.equal(straight, kept) and same.n_epochs == tight.n_epochs and same.converged


def test_no_epochs_left_are_judged_by_the_tolerance_of_now(tmp_path: Path) -> None:
    settings: dict[str, Any] = {"optimizer": "rprop", "max_epochs": 60}
    _, _, strict = run(**settings, tol=1e-14, hooks=[Checkpoint(tmp_path)])
    assert strict.stop_reason == "max_epochs" and strict.optimality < 1e-2
    _, _, loose = run(**settings, tol=1e-2, resume=tmp_path)
    assert loose.converged and loose.n_epochs == 60


@pytest.mark.parametrize("penalty", [L2(1e-2), L1(1e-2)])
def test_a_last_epoch_that_was_content_with_less_is_no_end(
    tmp_path: Path, penalty: L2 | L1
) -> None:
    name = "newton" if isinstance(penalty, L2) else "proximal_newton"
    settings: dict[str, Any] = {"optimizer": name, "penalty": penalty, "tol": 1e-6}
    straight, _, whole = run(**settings, max_epochs=50)
    for cut in range(1, whole.n_epochs):
        folder = tmp_path / str(cut)
        run(**settings, max_epochs=cut, hooks=[Checkpoint(folder)])
        resumed, _, again = run(**settings, max_epochs=50, resume=folder)
        assert torch.equal(straight, resumed) and again.n_epochs == whole.n_epochs


def test_early_stopping_waits_and_restores_as_without_the_interruption(tmp_path: Path) -> None:
    case = problem("logistic", seed=3)

    def stopping() -> EarlyStopping:
        return EarlyStopping(case.X[:9], case.y[:9], patience=5)

    settings: dict[str, Any] = {"optimizer": "momentum", "max_epochs": 200}
    one, two = stopping(), stopping()
    straight, _, result = run(**settings, hooks=[one])
    assert result.stop_reason.startswith("early stopping")
    cut = settings | {"max_epochs": result.n_epochs - 2}
    run(**cut, hooks=[stopping(), Checkpoint(tmp_path)])
    resumed, _, again = run(**settings, hooks=[two], resume=tmp_path)
    assert torch.equal(straight, resumed) and again.stop_reason == result.stop_reason
    assert (one.epochs, one.losses, one.best_epoch) == (two.epochs, two.losses, two.best_epoch)


def test_as_many_are_kept_as_asked_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / ".epoch-00000002.77.tmp.safetensors").write_bytes(b"of a process that was killed")
    (tmp_path / "mine.txt").write_text("stays")
    run(optimizer="sgd", hooks=[Checkpoint(tmp_path, every=2, keep=2)])
    names = ["epoch-00000006.safetensors", "epoch-00000007.safetensors", "mine.txt"]
    assert sorted(os.listdir(tmp_path)) == names


def test_a_kill_between_the_last_file_and_the_removal_of_the_oldest_leaves_none_too_many(
    tmp_path: Path,
) -> None:
    last, _, _ = run(optimizer="sgd", hooks=[Checkpoint(tmp_path, every=1, keep=3)])
    (tmp_path / ".epoch-00000007.77.tmp.safetensors").write_bytes(b"of the same kill")
    done, _, _ = run(optimizer="sgd", hooks=[Checkpoint(tmp_path, keep=2)], resume=tmp_path)
    assert torch.equal(last, done)
    names = ["epoch-00000006.safetensors", "epoch-00000007.safetensors"]
    assert sorted(os.listdir(tmp_path)) == names


def test_what_cannot_be_removed_costs_no_file_that_can_be_read(tmp_path: Path) -> None:
    run(optimizer="sgd", hooks=[Checkpoint(tmp_path, every=1, keep=9)])
    (tmp_path / "epoch-00000009.safetensors").mkdir()  # no file, and not to be unlinked
    with pytest.warns(CheckpointWarning, match="it is no ordinary file"):
        run(optimizer="sgd", hooks=[Checkpoint(tmp_path, keep=1)], resume=tmp_path)
    names = ["epoch-00000007.safetensors", "epoch-00000009.safetensors"]
    assert sorted(os.listdir(tmp_path)) == names


def test_looking_on_changes_no_bit(tmp_path: Path) -> None:
    for optimizer in ("newton", "lbfgs", "proximal_gradient"):
        plain, _, _ = run(optimizer=optimizer)
        watched, _, _ = run(optimizer=optimizer, hooks=[Checkpoint(tmp_path / optimizer, every=1)])
        assert torch.equal(plain, watched)


OTHERS: dict[str, tuple[dict[str, Any], str]] = {
    "model": ({"name": "linear"}, "its model is"),
    "width": ({"p": 4}, "its model is"),
    "optimizer": ({"optimizer": "adam"}, "its optimizer is"),
    "rate": ({"optimizer": partial(torch.optim.SGD, lr=0.3)}, "its optimizer is"),
    "penalty": ({"penalty": L2(0.2)}, "its penalty is"),
    "weighting": ({"weighting": Focal}, "its weighting is"),
    "factor": ({"weighting": lambda: BoostMisclassified(3.0)}, "its weighting is"),
    "batches": ({"batch_size": 10}, "its batch_size is"),
    "schedule": ({"scheduler": SCHEDULERS["step"]}, "its scheduler is"),
    "rows": ({"n": 61}, "its rows, targets, weights or offset are not those"),
    "numbers": ({"shift": 1e-12}, "its rows, targets, weights or offset are not those"),
}


@pytest.mark.parametrize("other", OTHERS)
def test_a_checkpoint_of_another_fit_is_refused_in_one_line(tmp_path: Path, other: str) -> None:
    changed, words = OTHERS[other]
    run(optimizer="sgd", hooks=[Checkpoint(tmp_path)])
    with pytest.raises(ValueError, match=words) as caught:
        run(**({"optimizer": "sgd"} | changed), resume=tmp_path)
    assert "\n" not in str(caught.value) and "is a checkpoint of another fit" in str(caught.value)


def test_settings_and_folders_that_cannot_work_say_so(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="every is 0"):
        Checkpoint(tmp_path, every=0)
    with pytest.raises(ValueError, match="keep is 0"):
        Checkpoint(tmp_path, keep=0)
    with pytest.raises(FileNotFoundError, match="no such folder or file"):
        run(resume=tmp_path / "nowhere")
    empty, _, _ = run(optimizer="sgd", resume=tmp_path)  # a run that was killed early
    assert torch.equal(empty, run(optimizer="sgd")[0])
    run(optimizer="sgd", hooks=[Checkpoint(tmp_path)])
    with pytest.raises(FileExistsError, match="checkpoints of an earlier run; pass resume="):
        run(optimizer="sgd", hooks=[Checkpoint(tmp_path)])


class Guarded(torch.optim.SGD):
    """A user's optimizer that remembers what is no data."""

    def __init__(self, params: Any) -> None:
        super().__init__(params, lr=0.1)
        self.log = io.StringIO()


def test_what_cannot_be_kept_is_named(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match=r"log.* is a StringIO, which a checkpoint cannot"):
        run(optimizer=Guarded, hooks=[Checkpoint(tmp_path)])


def test_a_disk_that_is_full_costs_a_warning_not_the_fit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    straight, _, _ = run(optimizer="sgd")
    run(optimizer="sgd", max_epochs=3, hooks=[Checkpoint(tmp_path, every=1)])

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    before = sorted(os.listdir(tmp_path))
    monkeypatch.setattr(os, "fsync", full)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", CheckpointWarning)
        params, _, result = run(
            optimizer="sgd", resume=tmp_path, hooks=[Checkpoint(tmp_path, every=1)]
        )
    told = [w for w in caught if w.category is CheckpointWarning]
    assert len(told) == 1 and "No space left on device" in str(told[0].message)
    assert torch.equal(params, straight) and result.n_epochs == 7
    assert sorted(os.listdir(tmp_path)) == before  # whole ones, and no half of a new one


def test_another_number_of_threads_is_told(tmp_path: Path) -> None:
    """Sums in another order have other last digits: the promise of the same bits is off."""
    before = torch.get_num_threads()
    settings: dict[str, Any] = {"optimizer": "sgd", "n": 50_000}
    try:
        torch.set_num_threads(1)
        run(**settings, max_epochs=3, hooks=[Checkpoint(tmp_path)])
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            warnings.filterwarnings("ignore", category=ConvergenceWarning)
            same, _, _ = run(**settings, resume=tmp_path)
        torch.set_num_threads(2)
        with pytest.warns(CheckpointWarning, match="on 1 threads, here it has 2: the last digits"):
            other, _, _ = run(**settings, resume=tmp_path)
    finally:
        torch.set_num_threads(before)
    torch.testing.assert_close(other, same, rtol=1e-12, atol=0)
