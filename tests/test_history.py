"""History and Recorder: what is recorded, saved whole or not at all, loaded without pickle."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from problems import MODELS, problem
from torchlogreg import BoostMisclassified, FitState, History, Hook, Weighting, fit
from torchlogreg.configuration import build
from torchlogreg.data import Batch
from torchlogreg.hooks import Recorder
from torchlogreg.objective import Objective


class Interrupt(Hook):
    """Ctrl-C at epoch 5."""

    def on_epoch_end(self, state: FitState) -> None:
        if state.epoch == 5:
            raise KeyboardInterrupt


def record(
    recorder: Recorder,
    *hooks: Hook,
    name: str = "logistic",
    weighting: Weighting | None = None,
    max_epochs: int = 7,
) -> History:
    """The history of a short fit by gradient descent."""
    case = problem(name)
    settings = {"optimizer": "adam", "max_epochs": max_epochs, "weighting": weighting}
    fit(case.model(), case.X, case.y, tol=0, hooks=[*hooks, recorder], **settings)  # type: ignore[arg-type]
    return recorder.history


def assert_same(a: History, b: History) -> None:
    """Equal arrays of equal dtype, equal meta."""
    assert a.meta == b.meta
    for mine, other in ((a.records, b.records), (a.data, b.data)):
        assert mine.keys() == other.keys()
        for key, array in mine.items():
            assert array.dtype == other[key].dtype
            np.testing.assert_array_equal(array, other[key])


def small() -> History:
    """A history made by hand."""
    return History({"epoch": np.arange(3), "loss": np.array([3.0, 2.0, 1.5])}, meta={"name": "é"})


# What is recorded


@pytest.mark.parametrize("name", MODELS)
def test_every_record_can_be_computed_again_from_its_parameters(name: str) -> None:
    history = record(Recorder(keep_data=True), name=name)
    model = build(history.meta["model"], dtype=torch.float64)
    X, y = (torch.from_numpy(history.data[part]) for part in ("X", "y"))
    data = Batch(X, y, torch.ones(len(X), dtype=torch.float64))
    for i in range(len(history)):
        model.load_state_dict({k: torch.from_numpy(v) for k, v in history.params(i).items()})
        objective = Objective(model)
        closure = objective.closure(data, data)
        assert history["objective"][i] == pytest.approx(float(closure.value()), rel=1e-13)
        assert history["optimality"][i] == pytest.approx(float(closure.optimality()), rel=1e-12)
        assert history["weight_norm"][i] == pytest.approx(model.weight.norm().item(), rel=1e-14)


@pytest.mark.parametrize(
    ("every", "epochs"), [(1, range(8)), (3, [0, 3, 6, 7]), (7, [0, 7]), (100, [0, 7])]
)
def test_start_and_last_epoch_are_always_recorded(every: int, epochs: list[int]) -> None:
    history = record(Recorder(every))
    assert history["epoch"].tolist() == list(epochs)


def test_rare_records_equal_those_of_every_epoch() -> None:
    often, rarely = record(Recorder()), record(Recorder(3))
    for name in set(often.records) - {"seconds"}:
        np.testing.assert_array_equal(often[name][rarely["epoch"]], rarely[name])


def test_only_classifiers_have_an_accuracy() -> None:
    assert "accuracy" not in record(Recorder(), name="linear")
    history = record(Recorder(), name="logistic")
    case = problem("logistic")
    eta = case.X @ torch.from_numpy(history.params()["weight"][0]) + history.params()["bias"][0]
    assert history["accuracy"][-1] == float(((eta >= 0).double() == case.y).double().mean())


def test_weighted_and_unweighted_loss_part_when_misclassified_rows_gain_weight() -> None:
    weighting = BoostMisclassified(factor=1.5)
    history = record(Recorder(sample_weight=True, keep_data=True), weighting=weighting)
    assert history["sample_weight"].shape == (8, 60)
    np.testing.assert_allclose(history["sample_weight"].mean(1), 1.0, rtol=1e-14)
    assert (history["loss_weighted"][2:] > history["loss_unweighted"][2:]).all()
    assert history["loss_weighted"][0] == history["loss_unweighted"][0]


@pytest.mark.parametrize(
    ("asked", "weighting", "kept"),
    [
        (None, None, False),
        (None, BoostMisclassified(), True),
        (True, None, True),
        (False, BoostMisclassified(), False),
    ],
)
def test_sample_weights_are_recorded_if_adaptive_unless_told_otherwise(
    asked: bool | None, weighting: Weighting | None, kept: bool
) -> None:
    history = record(Recorder(sample_weight=asked), weighting=weighting)
    assert ("sample_weight" in history) == kept


def test_data_are_kept_on_request_only_and_as_a_copy() -> None:
    assert record(Recorder()).data == {}
    history = record(Recorder(keep_data=True))
    case = problem("logistic")
    np.testing.assert_array_equal(history.data["X"], case.X.numpy())
    np.testing.assert_array_equal(history.data["y"], case.y.double().numpy())


@pytest.mark.parametrize("name", MODELS)
def test_params_have_the_names_and_shapes_of_the_module(name: str) -> None:
    history = record(Recorder(), name=name)
    model = problem(name).model()
    assert {k: v.shape for k, v in history.params().items()} == {
        k: tuple(p.shape) for k, p in model.named_parameters()
    }
    start = history.params(0)
    for key, p in model.named_parameters():
        np.testing.assert_array_equal(start[key], p.detach().numpy())


def test_interrupted_history_is_complete_up_to_the_interrupt(tmp_path: Path) -> None:
    # The interrupting hook comes first, so that the recorder has not seen epoch 5 when it strikes.
    history = record(Recorder(), Interrupt())
    assert history["epoch"].tolist() == list(range(6))
    assert (history.meta["stop_reason"], history.meta["converged"]) == ("interrupted", False)
    assert_same(History.load(history.save(tmp_path / "h")), history)


def test_a_second_fit_starts_a_new_history() -> None:
    recorder = Recorder(keep_data=True)
    first = record(recorder, max_epochs=3)
    second = record(recorder, name="linear", max_epochs=5)
    assert (len(first), len(second)) == (4, 6)
    assert second.meta["model"]["class"] == "LinearRegression"
    assert first.meta["model"]["class"] == "LogisticRegression"
    assert "accuracy" not in second and "accuracy" in first


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_records_follow_the_dtype_as_far_as_numpy_has_it(dtype: torch.dtype) -> None:
    case = problem("linear", dtype=dtype)
    recorder = Recorder()
    fit(case.model(), case.X, case.y, optimizer="sgd", max_epochs=2, tol=0, hooks=[recorder])
    assert recorder.history["params"].dtype == np.float32
    assert recorder.history.meta["dtype"] == str(dtype).removeprefix("torch.")


def test_recorder_refuses_what_it_could_not_save() -> None:
    with pytest.raises(ValueError, match="every is 0"):
        Recorder(0)
    with pytest.raises(TypeError, match="meta"):
        Recorder(meta={"when": object()})


# Save and load


@pytest.mark.parametrize("name", ["h", "h.npz", "run.1"])
def test_round_trip_keeps_everything(tmp_path: Path, name: str) -> None:
    history = record(Recorder(keep_data=True, meta={"title": "Gauß", "n": [1, 2.5, None]}))
    path = history.save(tmp_path / name)
    assert path.suffix == ".npz"
    assert_same(History.load(path), history)
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_failed_write_leaves_the_old_file_and_no_new_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = small()
    path = old.save(tmp_path / "h.npz")

    def fail(file: object, **arrays: np.ndarray) -> None:
        file.write(b"half")  # type: ignore[attr-defined]
        raise OSError("disk full")

    monkeypatch.setattr(np, "savez_compressed", fail)
    for target in (path, tmp_path / "new.npz"):
        with pytest.raises(OSError, match="disk full"):
            small().save(target)
    assert [p.name for p in tmp_path.iterdir()] == ["h.npz"]
    assert_same(History.load(path), old)


@pytest.mark.parametrize(
    "history",
    [
        History({"epoch": np.array([object()])}),
        History({"epoch": np.arange(2)}, meta={"bad": object()}),
    ],
    ids=["objects", "meta"],
)
def test_what_cannot_be_loaded_is_not_saved(tmp_path: Path, history: History) -> None:
    with pytest.raises(TypeError):
        history.save(tmp_path / "h")
    assert list(tmp_path.iterdir()) == []


class Bomb:
    """Does harm when unpickled."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return Path.touch, (Path("harm"),)  # type: ignore[return-value]


def test_pickled_content_is_refused_and_never_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    meta = np.array(json.dumps({}))
    bombs = np.array([Bomb()], dtype=object)
    np.savez("hostile.npz", meta=meta, **{"records/epoch": bombs})
    np.savez("meta.npz", meta=bombs)
    Path("bare.npz").write_bytes(pickle.dumps(Bomb()))
    for name in ("hostile.npz", "meta.npz", "bare.npz"):
        with pytest.raises(ValueError, match=f"{name} is no history"):
            History.load(name)
    assert not Path("harm").exists()


def foreign(kind: str, path: Path) -> None:
    """Write a file that is no history."""
    if kind == "npy":
        with open(path, "wb") as file:
            np.save(file, np.arange(3))
    elif kind == "text":
        path.write_text("epoch,loss\n1,2\n")
    elif kind == "empty":
        path.touch()
    elif kind == "truncated":
        whole = small().save(path).read_bytes()
        path.write_bytes(whole[: len(whole) // 2])
    elif kind == "corrupt":
        whole = bytearray(small().save(path).read_bytes())
        whole[60:90] = bytes(30)
        path.write_bytes(bytes(whole))
    else:
        contents = {
            "no meta": {"records/epoch": np.arange(3)},
            "meta no JSON": {"meta": np.array("{")},
            "meta no object": {"meta": np.array("[1]")},
            "foreign part": {"meta": np.array("{}"), "weights": np.arange(3)},
            "unequal": {"meta": np.array("{}"), "records/a": np.arange(3), "records/b": np.eye(2)},
            "scalar": {"meta": np.array("{}"), "records/a": np.array(1.0)},
        }
        np.savez(path, **contents[kind])


@pytest.mark.parametrize(
    "kind",
    [
        *("npy", "text", "empty", "truncated", "corrupt", "no meta", "meta no JSON"),
        *("meta no object", "foreign part", "unequal", "scalar"),
    ],
)
def test_a_file_that_is_no_history_is_a_value_error(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "x.npz"
    foreign(kind, path)
    with pytest.raises(ValueError, match=r"x\.npz is no history saved by torchlogreg") as caught:
        History.load(path)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_said_to_be_missing(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        History.load(tmp_path / "none.npz")


def test_records_of_unequal_length_are_refused() -> None:
    with pytest.raises(ValueError, match="differ in length"):
        History({"a": np.arange(2), "b": np.arange(3)})


def test_unknown_record_is_named_with_those_there_are() -> None:
    with pytest.raises(KeyError, match=r"no record 'los'; there are epoch, loss"):
        small()["los"]
    assert "loss" in small() and "los" not in small()
    assert len(History({})) == 0
