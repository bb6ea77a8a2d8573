"""Cost curves: every history makes a picture, labels keep clear of one another and of the frame."""

from itertools import combinations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from torchlogreg import L1, L2, LinearRegression, LogisticRegression, fit
from torchlogreg.history import History
from torchlogreg.hooks import Recorder
from torchlogreg.viz import Boundary, CostCurves, save_picture
from torchlogreg.viz.canvas import number
from torchlogreg.viz.labels import cost_window, log_ticks, spread, tick_label, told_apart
from torchlogreg.viz.read import unweighted_cost
from torchlogreg.viz.surface import loss_at
from torchlogreg.weighting import BoostMisclassified

M = 30
STEPS = np.arange(M)


def logistic(weighting=None, epochs=M, n=60, penalty=None):
    rng = np.random.default_rng(5)
    y = (np.arange(n) % 2).astype(float)
    X = rng.normal(size=(n, 2)) + np.where(y[:, None] > 0, 0.8, -0.8)
    model, recorder = LogisticRegression(2, dtype=torch.float64), Recorder(keep_data=True)
    settings = {"optimizer": torch.optim.SGD(model.parameters(), lr=0.3), "max_epochs": epochs}
    if isinstance(penalty, L1):
        settings["optimizer"] = "proximal_gradient"
    settings |= {"weighting": weighting, "penalty": penalty, "tol": 0}
    fit(model, X, y, hooks=[recorder], **settings)
    return recorder.history


@pytest.fixture(scope="module")
def runs():
    return {"normal": logistic(), "weighted": logistic(BoostMisclassified(1.1, cap=6))}


def costs(values):
    values = np.asarray(values, float)
    return History({"epoch": np.arange(len(values)), "objective": values})


COSTS = {
    "constant": np.full(M, 2.0),
    "huge": np.geomspace(1, 1e308, M),
    "tiny": np.geomspace(1, 1e-320, M),
    "zero": np.zeros(M),
    "falls to zero": np.maximum(0.0, 1 - STEPS / 10),
    "negative": -STEPS.astype(float),
    "turns nan": np.where(STEPS > 20, np.nan, 1.0 / (1 + STEPS)),
    "turns infinite": np.where(STEPS > 10, np.inf, 1.0),
    "nan throughout": np.full(M, np.nan),
}


def boxes(scene):
    scene.canvas.draw()
    labels = [curve.label for group in scene._groups for curve in group.curves]
    return [label.get_window_extent() for label in labels if label.get_text()]


def clear(scene):
    """No label meets another or leaves the picture."""
    found = boxes(scene)
    inside = all(
        b.x0 >= 0 and b.y0 >= 0 and b.x1 <= scene.size[0] and b.y1 <= scene.size[1] for b in found
    )
    return inside and not any(a.overlaps(b) for a, b in combinations(found, 2))


@pytest.mark.parametrize("frame", [0, 3, 12, -1])
@pytest.mark.parametrize("size", [(1280, 720), (1000, 450), (640, 360)])
def test_labels_keep_clear_of_one_another_and_the_frame(runs, size, frame):
    scene = CostCurves(runs, size=size)
    scene.update(frame)
    assert clear(scene)


@pytest.mark.parametrize("n", [1, 2, 6, 12])
def test_labels_of_many_long_named_runs_keep_clear(n):
    scene = CostCurves(
        {f"optimizer number {i} with a name": costs(np.geomspace(1, 0.3, M)) for i in range(n)}
    )
    scene.update(M // 2)
    assert clear(scene)


@pytest.mark.parametrize("length", [1, M])
@pytest.mark.parametrize("name", COSTS)
def test_any_cost_makes_a_picture(tmp_path, name, length):
    path = save_picture(CostCurves({"run": costs(COSTS[name][:length])}), tmp_path / "run.png")
    assert path.read_bytes().startswith(b"\x89PNG")


def test_all_odd_costs_together_keep_clear():
    scene = CostCurves({name: costs(values) for name, values in COSTS.items()})
    for frame in (0, 15, -1):
        scene.update(frame)
        assert clear(scene)


def test_a_diverging_run_does_not_flatten_the_others():
    low, high, _ = cost_window([np.geomspace(1, 1e300, M), np.geomspace(1, 0.1, M)])
    assert high < 100 and low < 0.1


def test_runs_of_different_length_stay_where_they_ended():
    scene = CostCurves({"short": costs([1, 0.5]), "long": costs(np.geomspace(1, 0.1, M))})
    scene.update(-1)
    short = next(c for c in scene._groups[0].curves if c.name == "short")
    assert scene.n_frames == M
    assert short.marker.get_xdata() == [1] and short.label.get_text() == "short\n0.5000"


def test_panels_follow_what_was_recorded(runs):
    def n_axes(histories):
        return len(CostCurves(histories).figure.axes)

    X = np.linspace(0, 1, 20)[:, None]
    recorder = Recorder()
    fit(LinearRegression(1, dtype=torch.float64), X, 2 * X[:, 0], hooks=[recorder])
    assert n_axes(runs) == 3
    assert n_axes({"normal": runs["normal"]}) == 2  # no weights
    assert n_axes({"line": recorder.history}) == 1  # neither weights nor accuracy


def test_weighted_run_shows_its_unweighted_cost(runs):
    names = [curve.name for curve in CostCurves(runs)._groups[0].curves]
    assert names == ["normal", "without weights", "weighted"]


@pytest.mark.parametrize("penalty", [None, L2(0.5), L1(0.2)])
def test_unweighted_cost_has_the_penalty_of_the_cost_it_is_compared_with(penalty):
    history = logistic(BoostMisclassified(2.0), penalty=penalty)
    scene = CostCurves({"normal": logistic(penalty=penalty), "weighted": history})
    dashed = next(c for c in scene._groups[0].curves if c.name == "without weights")
    values = loss_at(history, history["params"])  # the objective that the normal run minimises
    np.testing.assert_allclose(dashed.values, values, rtol=1e-9)
    small = Boundary(history)._groups[0].curves[1]
    np.testing.assert_allclose(small.values, values, rtol=1e-9)


def test_unweighted_cost_is_the_loss_where_no_objective_was_recorded(runs):
    few = {k: v for k, v in runs["weighted"].records.items() if k != "objective"}
    few["loss_unweighted"] = np.where(few["epoch"] > 5, np.inf, few["loss_unweighted"])
    np.testing.assert_array_equal(unweighted_cost(History(few)), few["loss_unweighted"])


@pytest.mark.parametrize("size", [(1280, 720), (1000, 450), (640, 360), (400, 400)])
@pytest.mark.parametrize("scale", [1e-9, 0.0444, 1234.5])
@pytest.mark.parametrize("n", [1, 2, 5])
def test_the_label_of_the_unweighted_cost_is_never_cut(runs, size, scale, n):
    losses = ("objective", "loss_weighted", "loss_unweighted")
    records = runs["weighted"].records
    scaled = records | {k: scale * np.asarray(records[k]) for k in losses}
    scene = CostCurves({f"a long name of run {i}": History(scaled) for i in range(n)}, size=size)
    scene.update(-1)
    labels = [c.label for c in scene._groups[0].curves if c.name.startswith("without")]
    value = number(scaled["loss_unweighted"][-1])
    assert len(labels) == n
    assert {label.get_text().split() == ["without", "weights", value] for label in labels} == {True}


def test_misclassified_bars_agree_with_the_recorded_accuracy(runs):
    history = runs["weighted"]
    scene = CostCurves(runs)
    for frame in (0, 5, M):
        scene.update(frame)
        wrong = np.count_nonzero(scene._wrong.get_data().values)
        assert wrong == round(60 * (1 - history["accuracy"][frame]))


@pytest.mark.parametrize("suffix", [".png", ".svg", ".pdf"])
def test_pictures_of_equal_runs_are_equal_files(runs, tmp_path, suffix):
    files = [tmp_path / f"{i}{suffix}" for i in range(2)]
    for file in files:
        save_picture(CostCurves(runs), file)
    assert files[0].read_bytes() == files[1].read_bytes()


def test_still_pictures_contain_what_moves(runs, tmp_path):
    path = save_picture(CostCurves(runs), tmp_path / "run.svg")
    assert path.stat().st_size > 20_000 and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("name", ["run.jpeg", "run"])
def test_unknown_suffix_is_refused_and_leaves_nothing(runs, tmp_path, name):
    with pytest.raises(ValueError, match="use one of"):
        save_picture(CostCurves(runs), tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_unwritable_path_raises_and_leaves_nothing(runs, tmp_path):
    scene = CostCurves(runs)
    with pytest.raises(FileNotFoundError):
        save_picture(scene, tmp_path / "nowhere" / "run.png")
    (tmp_path / "taken.png").mkdir()
    with pytest.raises(OSError):
        save_picture(scene, tmp_path / "taken.png")
    assert [p.name for p in tmp_path.iterdir()] == ["taken.png"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"histories": {}}, "there are no runs"),
        ({"histories": {"empty": costs([])}}, "'empty' has no records"),
        ({"histories": {"a": costs([1])}, "theme": "blue"}, "themes are light, dark"),
        ({"histories": {"a": costs([1])}, "size": (1001, 450)}, "even sizes"),
    ],
)
def test_bad_arguments_name_the_cure(arguments, message):
    with pytest.raises(ValueError, match=message):
        CostCurves(**arguments)


def test_dollar_signs_in_names_are_not_mathematics(tmp_path):
    scene = CostCurves({"$x_1 and $y": costs([2, 1])}, title="5 $ or $6", subtitle="$\\alpha")
    assert save_picture(scene, tmp_path / "run.png").exists()


def test_long_titles_stay_clear_of_the_counter(runs):
    scene = CostCurves(runs, title="A long title " * 20, subtitle="many settings · " * 30)
    scene.update(-1)
    title, subtitle = scene.figure.texts[:2]
    assert not title.get_window_extent().overlaps(scene._counter.get_window_extent())
    assert not subtitle.get_window_extent().overlaps(scene._figures.get_window_extent())


@given(
    st.lists(st.tuples(st.floats(-2, 3), st.floats(0.01, 0.2)), min_size=1, max_size=8),
)
def test_spread_labels_are_disjoint_inside_and_idempotent(pairs):
    wish, heights = np.array(pairs).T
    heights = heights * min(1, 0.999 / heights.sum())
    placed = spread(wish, heights, 0.0, 1.0)
    order = np.argsort(placed)
    lower, upper = (placed - heights / 2)[order], (placed + heights / 2)[order]
    assert lower[0] >= -1e-9 and upper[-1] <= 1 + 1e-9
    assert np.all(lower[1:] >= upper[:-1] - 1e-9)
    np.testing.assert_allclose(spread(placed, heights, 0.0, 1.0), placed, atol=1e-9)


@pytest.mark.parametrize("window", [(0.2, 1.7), (1, 1.001), (1e-300, 1e300), (0.9, 11), (3, 5e4)])
def test_log_ticks_are_few_inside_and_told_apart(window):
    ticks = log_ticks(*window)
    assert 2 <= len(ticks) <= 9
    assert all(window[0] <= t <= window[1] for t in ticks)
    assert len({tick_label(t, ticks) for t in ticks}) == len(ticks)


@pytest.mark.parametrize(
    ("value", "text"), [(0.57011, "0.5701"), (0, "0"), (1.5e-7, "1.50e-07"), (np.inf, "inf")]
)
def test_numbers_read_plainly(value, text):
    assert number(value) == text


@pytest.mark.parametrize(
    ("names", "shown"),
    [
        (["sgd", "adam", "newton"], ["sgd", "adam", "newton"]),
        (["gradient descent lr 0.1", "gradient descent lr 0.2"], ["…lr 0.1", "…lr 0.2"]),
        (["gradient descent", "sgd"], ["gradient d…", "sgd"]),
        (["stochasticaverage", "stochasticsteepest"], ["sto…average", "sto…teepest"]),
        (["one very long name of a single run"], ["one very l…"]),
    ],
)
def test_long_names_are_shortened_to_what_tells_them_apart(names, shown):
    assert list(told_apart(names, 11).values()) == shown
    assert all(len(name) <= 11 for name in shown)
