"""TensorBoardScalars, read back with TensorBoard's own reader."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams.api_pb2 import Status
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

from problems import CLASSIFIERS, MODELS, problem
from torchlogreg import L2, BoostMisclassified, FitResult, FitState, Hook, fit
from torchlogreg.hooks import Recorder, TensorBoardScalars
from torchlogreg.hooks import tensorboard as module

RECORDS = {
    "loss/weighted": "loss_weighted",
    "loss/unweighted": "loss_unweighted",
    "optimality": "optimality",
    "accuracy": "accuracy",
    "weight_norm": "weight_norm",
    "learning_rate": "learning_rate",
}


class Raise(Hook):
    """Raises at one epoch."""

    def __init__(self, error: BaseException, epoch: int = 5) -> None:
        self.error, self.epoch = error, epoch

    def on_epoch_end(self, state: FitState) -> None:
        if state.epoch == self.epoch:
            raise self.error


def run(*hooks: Hook, name: str = "logistic", **settings: object) -> FitResult:
    """Twelve epochs of gradient descent under the hooks."""
    case = problem(name)
    given = {"optimizer": "sgd", "max_epochs": 12, "tol": 0.0} | settings
    return fit(case.model(), case.X, case.y, hooks=hooks, **given)  # type: ignore[arg-type]


def read(folder: Path) -> EventAccumulator:
    """All events of the run."""
    events = EventAccumulator(str(folder), size_guidance={"scalars": 0})
    return events.Reload()


def steps(events: EventAccumulator, tag: str = "loss/weighted") -> list[int]:
    return [event.step for event in events.Scalars(tag)] if tag in events.Tags()["scalars"] else []


def plugin(events: EventAccumulator, name: str) -> HParamsPluginData:
    """One of the three summaries of the HPARAMS page."""
    content = events.SummaryMetadata(f"_hparams_/{name}").plugin_data.content
    return HParamsPluginData.FromString(content)


def settings_of(events: EventAccumulator) -> dict[str, str | float]:
    """The settings the HPARAMS page shows."""
    hparams = plugin(events, "session_start_info").session_start_info.hparams
    return {
        name: value.string_value if value.HasField("string_value") else value.number_value
        for name, value in hparams.items()
    }


def status(events: EventAccumulator) -> str:
    return Status.Name(plugin(events, "session_end_info").session_end_info.status)


# Curves


@pytest.mark.parametrize("every", [1, 5])
@pytest.mark.parametrize("name", MODELS)
def test_curves_equal_the_history(tmp_path: Path, name: str, every: int) -> None:
    recorder = Recorder(every)
    weighting = BoostMisclassified(factor=1.3) if name in CLASSIFIERS else None
    run(TensorBoardScalars(tmp_path, every=every), recorder, name=name, weighting=weighting)
    history, events = recorder.history, read(tmp_path)
    expected = {tag: record for tag, record in RECORDS.items() if record in history}
    assert set(events.Tags()["scalars"]) == {*expected, "seconds"}
    assert ("accuracy" in expected) == (name in CLASSIFIERS)
    for tag, record in expected.items():
        assert steps(events, tag) == history["epoch"].tolist()
        values = [event.value for event in events.Scalars(tag)]
        assert values == history[record].astype(np.float32).tolist()  # events hold float32
    seconds = [event.value for event in events.Scalars("seconds")]
    assert seconds == sorted(seconds) and seconds[0] >= 0


def test_learning_rate_follows_the_scheduler(tmp_path: Path) -> None:
    def halve(optimizer: torch.optim.Optimizer) -> torch.optim.lr_scheduler.LRScheduler:
        return torch.optim.lr_scheduler.ExponentialLR(optimizer, gamma=0.5)

    run(TensorBoardScalars(tmp_path), max_epochs=4, scheduler=halve)
    events = read(tmp_path)
    rates = [event.value for event in events.Scalars("learning_rate")]
    assert rates == pytest.approx([0.1, 0.1, 0.05, 0.025, 0.0125])
    assert settings_of(events)["lr"] == 0.1  # the one the fit began with


def test_a_live_reader_sees_the_points_when_they_are_due(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Peek(Hook):
        seen: list[list[int]]

        def on_fit_start(self, state: FitState) -> None:
            self.seen = [steps(read(tmp_path))]

        def on_epoch_end(self, state: FitState) -> None:
            self.seen.append(steps(read(tmp_path)))

    lazy, eager = Peek(), Peek()
    monkeypatch.setattr(module, "FLUSH_SECONDS", 1000.0)
    run(TensorBoardScalars(tmp_path), lazy, max_epochs=3)
    assert lazy.seen == [[], [], [], []]
    assert steps(read(tmp_path)) == [0, 1, 2, 3]
    monkeypatch.setattr(module, "FLUSH_SECONDS", 0.0)
    monkeypatch.setattr(module, "FIRST_SECONDS", 0.0)
    tmp_path = tmp_path / "eager"
    run(TensorBoardScalars(tmp_path), eager, max_epochs=2)
    assert eager.seen == [[0], [0, 1], [0, 1, 2]]


# One run


@pytest.mark.parametrize("ending", ["max_epochs", "interrupted", "error"])
def test_there_is_exactly_one_file_and_no_sub_run(tmp_path: Path, ending: str) -> None:
    errors = {"interrupted": KeyboardInterrupt(), "error": ZeroDivisionError()}
    hooks = [Raise(errors[ending])] if ending in errors else []
    hook = TensorBoardScalars(tmp_path / "a" / "run", metrics=lambda state: {"test/auc": 0.9})
    try:
        run(hook, *hooks)
    except ZeroDivisionError:
        pass
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) == 1 and files[0].parent == tmp_path / "a" / "run"


def test_settings_are_written_into_the_same_run(tmp_path: Path) -> None:
    result = run(
        TensorBoardScalars(tmp_path, hparams={"batch_size": 20, "split": 0.25, "scaled": True}),
        penalty=L2(0.5),
        batch_size=20,
        generator=torch.Generator().manual_seed(0),
    )
    events = read(tmp_path)
    settings = settings_of(events)
    expected = {
        **{"model": "LogisticRegression", "n_features": 3.0, "bias": "True"},
        **{"optimizer": "SGD", "lr": 0.1, "penalty": repr(L2(0.5)), "weighting": "Uniform"},
        **{"n_rows": 60.0, "max_epochs": 12.0, "dtype": "float64", "device": "cpu"},
        **{"steps_per_epoch": 3.0, "stop_reason": result.stop_reason},
        **{"batch_size": 20.0, "split": 0.25, "scaled": "True"},
    }
    assert settings == expected
    assert {info.name for info in plugin(events, "experiment").experiment.hparam_infos} == set(
        expected
    )


def test_own_settings_override_what_the_fit_knows(tmp_path: Path) -> None:
    run(TensorBoardScalars(tmp_path, hparams={"weighting": "boost by 2"}))
    assert settings_of(read(tmp_path))["weighting"] == "boost by 2"


def test_a_setting_that_is_no_number_is_left_out(tmp_path: Path) -> None:
    # NaN is no JSON: one such setting would keep the whole HPARAMS page from loading.
    run(TensorBoardScalars(tmp_path, hparams={"alpha": float("nan")}))
    assert "alpha" not in settings_of(read(tmp_path))


def test_final_metrics_are_scalars_of_the_run_and_columns_of_the_table(tmp_path: Path) -> None:
    def metrics(state: FitState) -> dict[str, float]:
        return {"test/epochs": float(state.epoch), "test/auc": 0.75}

    run(TensorBoardScalars(tmp_path, metrics=metrics))
    events = read(tmp_path)
    assert [(e.step, e.value) for e in events.Scalars("test/epochs")] == [(12, 12.0)]
    assert [(e.step, e.value) for e in events.Scalars("test/auc")] == [(12, 0.75)]
    columns = {m.name.tag for m in plugin(events, "experiment").experiment.metric_infos}
    assert columns == {*RECORDS, "seconds", "test/epochs", "test/auc"}


def test_success_is_the_status_of_a_fit_that_ended_by_itself(tmp_path: Path) -> None:
    run(TensorBoardScalars(tmp_path))
    events = read(tmp_path)
    begun = plugin(events, "session_start_info").session_start_info.start_time_secs
    ended = plugin(events, "session_end_info").session_end_info.end_time_secs
    assert status(events) == "STATUS_SUCCESS" and 0 < begun <= ended


@pytest.mark.parametrize("first", [True, False])
def test_interrupt_keeps_all_epochs_settings_and_says_so(tmp_path: Path, first: bool) -> None:
    hooks = [Raise(KeyboardInterrupt()), TensorBoardScalars(tmp_path)]
    result = run(*(hooks if first else reversed(hooks)))
    events = read(tmp_path)
    assert result.stop_reason == "interrupted"
    assert steps(events) == [0, 1, 2, 3, 4, 5]
    assert status(events) == "STATUS_FAILURE"
    assert settings_of(events)["stop_reason"] == "interrupted"


def test_error_keeps_what_was_logged_and_the_settings(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        run(TensorBoardScalars(tmp_path), Raise(ZeroDivisionError("mine")))
    events = read(tmp_path)
    assert steps(events) == [0, 1, 2, 3, 4, 5]
    assert status(events) == "STATUS_FAILURE"
    assert settings_of(events)["stop_reason"] == "error"


def test_failing_metrics_close_the_file_with_the_settings(tmp_path: Path) -> None:
    def metrics(state: FitState) -> dict[str, float]:
        raise ZeroDivisionError("mine")

    hook = TensorBoardScalars(tmp_path, every=1, metrics=metrics)
    with pytest.raises(ZeroDivisionError, match="mine"):
        run(hook)
    events = read(tmp_path)
    assert steps(events) == list(range(13)) and settings_of(events)["model"]
    assert hook.events._file is None


# What is refused, before training


@pytest.mark.parametrize("below", [".", "run"])
def test_folder_that_cannot_be_written_is_refused_in_one_line(tmp_path: Path, below: str) -> None:
    (tmp_path / "file").write_text("in the way")
    case = problem("logistic")
    model = case.model()
    hook = TensorBoardScalars(tmp_path / "file" / below)
    with pytest.raises(OSError, match=r"cannot be written .* choose another folder") as caught:
        fit(model, case.X, case.y, hooks=[hook])
    assert "\n" not in str(caught.value) and not model.weight.any()


def test_a_second_run_in_the_same_folder_is_refused(tmp_path: Path) -> None:
    hook = TensorBoardScalars(tmp_path, every=1)
    run(hook)
    with pytest.raises(FileExistsError, match="events of an earlier run"):
        run(hook)
    assert steps(read(tmp_path)) == list(range(13))


def test_bad_data_leave_no_folder(tmp_path: Path) -> None:
    case = problem("logistic")
    with pytest.raises(ValueError, match="rows"):
        fit(case.model(), case.X, case.y[:-1], hooks=[TensorBoardScalars(tmp_path / "runs" / "a")])
    assert list(tmp_path.iterdir()) == []


def test_last_look_without_a_start_does_nothing(tmp_path: Path) -> None:
    class Refuse(Hook):
        def on_fit_start(self, state: FitState) -> None:
            raise ZeroDivisionError("mine")

    with pytest.raises(ZeroDivisionError, match="mine"):
        run(Refuse(), TensorBoardScalars(tmp_path / "a"), Recorder())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("value", [None, [1, 2], torch.ones(())])
def test_settings_tensorboard_cannot_show_are_refused_at_once(value: object) -> None:
    with pytest.raises(ValueError, match=r"hparams\['x'\] is a .*pass str"):
        TensorBoardScalars("runs/x", hparams={"x": value})


def test_every_counts_from_one() -> None:
    with pytest.raises(ValueError, match="every is 0"):
        TensorBoardScalars("runs/x", every=0)
