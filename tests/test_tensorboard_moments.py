"""When TensorBoard hooks write, into which file, and the landscape they draw."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
import torch

from event_pages import clouds, pictures, read, train
from problems import FACTORIES, MODELS, problem
from torchlogreg import BoostMisclassified, FitState, Hook, LogisticRegression, fit
from torchlogreg.hooks import (
    EventFile,
    TensorBoardBoundary,
    TensorBoardDetails,
    TensorBoardScalars,
    pace,
    tensorboard_hooks,
)
from torchlogreg.hooks.landscape import flat_params, objective_on
from torchlogreg.hooks.moments import MOST
from torchlogreg.hooks.pace import DENSE, log_spaced, next_dense
from torchlogreg.objective import Objective
from torchlogreg.penalties import L1, L2, ElasticNet, Penalty

# Fits stop early here on purpose.
pytestmark = pytest.mark.filterwarnings("ignore::torchlogreg.ConvergenceWarning")

F64 = torch.float64


# When


@pytest.mark.parametrize("max_epochs", [1, 2, 5, 10, 37, 200, 1000, 10**6])
def test_at_most_ten_log_spaced_moments(max_epochs: int) -> None:
    epochs = log_spaced(max_epochs, MOST - 1)
    assert epochs[0] == 1 and epochs[-1] == max_epochs and len(epochs) <= MOST - 1
    assert all(a < b for a, b in itertools.pairwise(epochs))


def test_dense_then_log_spaced_points_grow_with_the_logarithm() -> None:
    epoch, points = 0, []
    while epoch <= 10**6:
        points.append(epoch)
        epoch = next_dense(epoch)
    assert points[: DENSE + 1] == list(range(DENSE + 1)) and len(points) < 50
    assert all(b <= 2 * a for a, b in itertools.pairwise(points[DENSE:]))


@pytest.mark.parametrize("max_epochs", [1, 9, 100, 1000, 12345])
def test_moments_are_epochs_whose_figures_are_noted_anyway(max_epochs: int) -> None:
    noted = [0]
    while noted[-1] < max_epochs:
        noted.append(next_dense(noted[-1]))
    assert set(log_spaced(max_epochs, MOST - 1)) <= {*noted, max_epochs}


def test_the_scale_does_not_depend_on_where_one_joins_it() -> None:
    assert all(next_dense(epoch) == next_dense(next_dense(epoch) - 1) for epoch in range(2000))


def test_no_limit_shows_ten_pictures_and_both_ends(tmp_path: Path) -> None:
    train(TensorBoardBoundary(EventFile(tmp_path, share=None)), *clouds(), max_epochs=200)
    assert len(pictures(tmp_path, "boundary")) == MOST - 1 and MOST == 10
    assert list(pictures(tmp_path, "boundary/first")) == [0]
    assert list(pictures(tmp_path, "boundary/last")) == [200]


def test_a_fit_that_ends_early_shows_its_end_in_the_slider_too(tmp_path: Path) -> None:
    X, y = clouds()
    model = LogisticRegression(2, dtype=F64)
    hook = TensorBoardBoundary(EventFile(tmp_path, share=None))
    result = fit(model, X, y, optimizer="newton", penalty=L2(0.1), max_epochs=1000, hooks=[hook])
    epochs = list(pictures(tmp_path, "boundary"))
    assert epochs[-1] == result.n_epochs < 20 and len(set(epochs)) == len(epochs)


def test_every_is_kept_whatever_it_costs(tmp_path: Path) -> None:
    train(TensorBoardBoundary(EventFile(tmp_path, share=1e-9), every=7), *clouds())
    assert list(pictures(tmp_path, "boundary")) == [7, 14, 21, 28, 30]


def test_a_small_share_still_shows_both_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pace, "BLINK", 0.0)
    file = EventFile(tmp_path, share=1e-9)
    train(TensorBoardBoundary(file), *clouds(), max_epochs=100)
    assert list(pictures(tmp_path, "boundary/first")) == [0]
    assert list(pictures(tmp_path, "boundary/last")) == [100]
    assert list(pictures(tmp_path, "boundary")) == [100]


def test_a_fit_over_in_a_blink_shows_all_its_pictures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pace, "BLINK", 1000.0)
    X, y = clouds()
    hooks = tensorboard_hooks(tmp_path, share=1e-9)
    fit(LogisticRegression(2, dtype=F64), X, y, optimizer="sgd", max_epochs=30, tol=0, hooks=hooks)
    for tag in ("boundary", "surface", "calibration"):
        assert list(pictures(tmp_path, tag)) == list(pictures(tmp_path, "boundary"))
    assert len(pictures(tmp_path, "surface")) > 5


# One file


def test_all_hooks_share_one_event_file_in_any_order(tmp_path: Path) -> None:
    X, y = clouds()
    for k, order in enumerate(itertools.permutations(range(4), 4)):
        if k % 8:
            continue
        hooks = tensorboard_hooks(tmp_path / str(k), share=None)
        model = LogisticRegression(2, dtype=F64)
        fit(model, X, y, max_epochs=3, hooks=[hooks[j] for j in order])
        (file,) = [path for path in (tmp_path / str(k)).rglob("*") if path.is_file()]
        assert file.name.startswith("events.out.tfevents.")
        tags = read(file.parent).Tags()
        assert {"loss/weighted", "accuracy"} <= set(tags["scalars"])
        assert {"boundary", "surface", "calibration", "confusion"} <= set(tags["images"])
        assert set(tags["histograms"]) == {
            "distribution/weight",
            "distribution/gradient",
            "distribution/sample_weight",
        }
        tensors = {"pr", "summary/text_summary", "custom_scalars__config__"}
        assert tensors <= set(tags["tensors"])


def test_a_hook_that_fails_to_start_leaves_the_folder_free_for_a_second_try(tmp_path: Path) -> None:
    # The file of the first try once made the second one say "events of an earlier run".
    X, y = clouds()
    file = EventFile(tmp_path)
    hooks = [TensorBoardScalars(file), TensorBoardDetails(file, class_names=("only one",))]
    with pytest.raises(ValueError, match="1 class_names for 2 classes"):
        fit(LogisticRegression(2, dtype=F64), X, y, hooks=hooks)
    assert file._file is None and not list(tmp_path.iterdir())
    fit(LogisticRegression(2, dtype=F64), X, y, hooks=[TensorBoardScalars(file)])
    assert read(tmp_path).Tags()["scalars"]


def test_a_model_of_one_parameter_has_no_surface(tmp_path: Path) -> None:
    X, y = clouds()
    model = LogisticRegression(1, bias=False, dtype=F64)
    fit(model, X[:, :1], y, hooks=tensorboard_hooks(tmp_path, share=None))
    assert "boundary/last" in read(tmp_path).Tags()["images"]
    assert "surface/last" not in read(tmp_path).Tags()["images"]


def test_hooks_do_not_change_the_fit(tmp_path: Path) -> None:
    X, y = clouds()
    results = []
    for hooks in ((), tensorboard_hooks(tmp_path, share=None)):
        model = LogisticRegression(2, dtype=F64)
        fit(
            model,
            X,
            y,
            optimizer="sgd",
            batch_size=7,
            max_epochs=9,
            tol=0.0,
            hooks=hooks,
            weighting=BoostMisclassified(1.5, cap=3),
            generator=torch.Generator().manual_seed(1),
        )
        results.append(flat_params(model))
    assert torch.equal(*results)


def test_summary_tells_model_data_and_how_to_read(tmp_path: Path) -> None:
    X, y = clouds()
    hook = TensorBoardDetails(tmp_path, class_names=("no", "yes"), notes="# mine")
    train(hook, X, y)
    (event,) = read(tmp_path).Tensors("summary/text_summary")
    text = event.tensor_proto.string_val[0].decode()
    for words in ("# mine", "LogisticRegression", "no: 30, yes: 30", "0.6", "cost may rise"):
        assert words in text


# The landscape


@pytest.mark.parametrize("penalty", [None, L2(0.3), L1(0.2), ElasticNet(0.4, 0.5)], ids=repr)
@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("axes", [True, False])
def test_landscape_equals_the_objective_at_each_place(
    name: str, penalty: Penalty | None, axes: bool, generator: torch.Generator
) -> None:
    case = problem(name, n=20)
    model = FACTORIES[name](n_features=3, dtype=F64)
    n_params = len(flat_params(model))
    origin = torch.randn(n_params, generator=generator, dtype=F64)
    if axes:
        directions = torch.eye(n_params, dtype=F64)[[1, n_params - 1]]
    else:
        directions = torch.randn(2, n_params, generator=generator, dtype=F64)
    places = torch.randn(5, 2, generator=generator, dtype=F64)

    class Look(Hook):
        """Compares at the start of a fit, when there is a state."""

        def on_fit_start(self, state: FitState) -> None:
            self.objective, self.data = state.objective, state.data

    look = Look()
    fit(model, case.X, case.y, penalty=penalty, max_epochs=1, tol=0.0, hooks=[look])
    found = objective_on(look.objective, look.data, origin, directions, places)
    for place, value in zip(places, found, strict=True):
        torch.nn.utils.vector_to_parameters(origin + place @ directions, model.parameters())
        expected = Objective(model, penalty=penalty).closure(look.data, look.data).value()
        torch.testing.assert_close(value, expected, rtol=1e-10, atol=1e-10)
