"""Descent, boundary and race: drawn from records, true to the data, calm in odd cases."""

from itertools import pairwise

import numpy as np
import pytest
import torch

from torchlogreg import L1, L2, LinearRegression, LogisticRegression, SoftmaxRegression, fit
from torchlogreg.history import History
from torchlogreg.hooks import Recorder
from torchlogreg.viz import Boundary, Descent, Film, Race, save_picture
from torchlogreg.viz.surface import loss_at, optimum, recorded_loss, separable, window
from torchlogreg.weighting import BoostMisclassified

# Fits stop early here on purpose.
pytestmark = pytest.mark.filterwarnings("ignore::torchlogreg.ConvergenceWarning")

SMALL = (640, 360)


def sgd(lr):
    return lambda params: torch.optim.SGD(params, lr=lr)


def recorded(kind, X, y, optimizer, epochs=60, start=(2.0, -1.5), **settings):
    model, recorder = kind(X.shape[1], dtype=torch.float64), Recorder(keep_data=True)
    with torch.no_grad():
        model.bias.fill_(start[0])
        model.weight.fill_(start[1])
    fit(model, X, y, optimizer=optimizer, max_epochs=epochs, tol=0, hooks=[recorder], **settings)
    return recorder.history


def rows(p, n=40, classes=True):
    rng = np.random.default_rng(p)
    X = rng.normal(size=(n, p))
    eta = X @ np.linspace(2, -1, p) + 0.3
    noise = rng.uniform(size=n)
    return X, (noise < 1 / (1 + np.exp(-eta))).astype(float) if classes else eta + noise


@pytest.fixture(scope="module")
def linear():
    return recorded(LinearRegression, *rows(1, classes=False), sgd(0.05))


@pytest.fixture(scope="module")
def logistic():
    return recorded(LogisticRegression, *rows(1), sgd(0.3))


@pytest.fixture(scope="module")
def weighted():
    boost = BoostMisclassified(1.2, cap=8)
    return recorded(LogisticRegression, *rows(2), sgd(0.3), weighting=boost)


@pytest.fixture(scope="module")
def runs():
    steps = {"SGD": sgd(0.2), "Newton": "newton", "Too fast": sgd(300.0)}
    return {name: recorded(LogisticRegression, *rows(1), o, 30) for name, o in steps.items()}


def changed(history, *, records=None, data=None, **meta):
    return History(
        history.records | (records or {}), history.data | (data or {}), history.meta | meta
    )


def full_redraw(scene, frame):
    scene.update(frame)
    scene.animate(False)
    with scene.theme.style():
        scene.canvas.draw()
    return np.asarray(scene.canvas.buffer_rgba()).copy()


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("kind", ["linear", "logistic", "3d", "boundary", "race"])
def test_blitted_frames_equal_a_full_redraw(kind, theme, linear, logistic, weighted, runs):
    scene = {
        "linear": lambda: Descent(linear, theme=theme, size=(1000, 450)),
        "logistic": lambda: Descent(logistic, theme=theme, size=(1000, 450)),
        "3d": lambda: Descent(logistic, in_3d=True, theme=theme, size=(1000, 450)),
        "boundary": lambda: Boundary(weighted, theme=theme, size=(1000, 450)),
        "race": lambda: Race(runs, theme=theme, size=(1000, 450)),
    }[kind]()
    frames = [0, 1, 7, scene.n_frames - 1]
    for frame, pixels in zip(frames, Film(scene, frames=frames).pixels(), strict=True):
        different = np.any(pixels.copy() != full_redraw(scene, frame), axis=2).mean()
        scene.animate(True)
        assert different <= 1e-5


@pytest.mark.parametrize("penalty", [None, L2(0.3), L1(0.1)])
@pytest.mark.parametrize("kind", [LinearRegression, LogisticRegression])
def test_the_surface_passes_through_the_recorded_objective(kind, penalty):
    X, y = rows(3, classes=kind is LogisticRegression)
    optimizer = None if isinstance(penalty, L1) else sgd(0.05)
    history = recorded(kind, X, y, optimizer, 10, penalty=penalty)
    surface = loss_at(history, history["params"])
    np.testing.assert_allclose(surface, history["objective"], rtol=1e-6)


def test_the_surface_of_a_weighted_run_is_its_unweighted_loss(weighted):
    np.testing.assert_allclose(recorded_loss(weighted), weighted["loss_unweighted"], rtol=1e-9)


def test_a_loss_that_is_not_the_models_own_is_refused(linear):
    other = changed(linear, records={"objective": linear["objective"] + 1})
    with pytest.raises(ValueError, match="not those of the model on the data"):
        Descent(other)


def test_the_optimum_is_read_and_never_computed(logistic):
    assert optimum(logistic, recorded_loss(logistic)).label == "lowest recorded"
    known = recorded(LogisticRegression, *rows(1), "newton", 30)["params"][-1]
    found = optimum(changed(logistic, optimum={"params": known.tolist()}), logistic["objective"])
    assert found.label == "optimum" and found.loss < logistic["objective"].min()


def test_separable_data_have_no_star_and_the_picture_says_so():
    x = np.r_[-3:-1:9j, 1:3:9j][:, None]
    history = recorded(LogisticRegression, x, (x[:, 0] > 0).astype(float), sgd(0.5))
    assert separable(history) and optimum(history, history["objective"]).params is None
    words = [t.get_text() for axes in Descent(history, size=SMALL).figure.axes for t in axes.texts]
    assert any("no finite optimum" in text for text in words)
    assert not any(text == "optimum" for text in words)
    penalised = recorded(
        LogisticRegression, x, (x[:, 0] > 0).astype(float), sgd(0.5), penalty=L2(0.1)
    )
    assert not separable(penalised)


def test_the_window_shows_start_and_goal_whatever_the_path_does():
    start, goal = np.array([3.0, -2.0]), np.array([0.5, 1.0])
    wild = np.stack([start, [1e9, -1e12], [np.inf, np.nan], goal])
    limits = window(wild, goal)
    for point in (start, goal):
        assert np.all((limits[:, 0] < point) & (point < limits[:, 1]))
    assert np.ptp(limits) < 30


def test_a_path_that_stays_has_a_window():
    limits = window(np.zeros((5, 2)), np.zeros(2))
    assert np.all(limits[:, 0] < 0) and np.all(limits[:, 1] > 0)


@pytest.mark.parametrize("in_3d", [False, True])
def test_a_diverging_descent_makes_pictures(tmp_path, in_3d):
    history = recorded(LinearRegression, *rows(1, classes=False), sgd(3.0), 25)
    assert history["objective"][-1] > 1e12
    scene = Descent(history, in_3d=in_3d, size=SMALL)
    for frame in (0, 5, -1):
        assert save_picture(scene, tmp_path / f"{frame}.png", frame).exists()


def test_one_record_makes_every_scene(linear, weighted, tmp_path):
    def first(history):
        return History({k: v[:1] for k, v in history.records.items()}, history.data, history.meta)

    scenes = [
        Descent(first(linear), size=SMALL),
        Boundary(first(weighted), size=SMALL),
        Race({"only": first(linear)}, size=SMALL),
    ]
    for i, scene in enumerate(scenes):
        assert save_picture(scene, tmp_path / f"{i}.png").exists()


def test_histories_from_disk_draw_the_same(linear, tmp_path):
    loaded = History.load(linear.save(tmp_path / "run.npz"))
    a, b = (next(Film(Descent(h, size=SMALL)).pixels([5])).copy() for h in (linear, loaded))
    assert np.array_equal(a, b)


def filled_areas(points, one):
    """Areas inside the edges, as drawn: circles of class 1, squares of class 0."""
    edge = np.array(points.artist.get_linewidths()) * np.where(one, 1, 2 / np.sqrt(np.pi))
    return (np.sqrt(points.artist.get_sizes()) - edge) ** 2


def test_marker_area_is_proportional_to_sample_weight(weighted):
    scene = Boundary(weighted, size=SMALL)
    scene.update(-1)
    weight = weighted["sample_weight"][-1]
    order = np.lexsort((scene._wrong(len(weighted) - 1), -weight))
    areas = filled_areas(scene._points, scene.one[order])
    np.testing.assert_allclose(areas / areas[-1], weight[order] / weight.min(), rtol=1e-9)
    shapes = [
        path.to_polygons(closed_only=True)[0] for path in scene._points.shapes
    ]  # square and circle of one weight cover the same area
    area = [
        abs(sum(a[0] * b[1] - a[1] * b[0] for a, b in pairwise(np.vstack([s, s[:1]])))) / 2
        for s in shapes
    ]
    assert area[0] == pytest.approx(area[1], rel=0.02)


def test_the_heaviest_points_are_drawn_first(weighted):
    scene = Boundary(weighted, size=SMALL)
    for frame in (0, 20, -1):
        scene.update(frame)
        weight = weighted["sample_weight"][frame]
        order = np.lexsort((scene._wrong(frame % len(weighted)), -weight))
        assert np.all(np.diff(filled_areas(scene._points, scene.one[order])) <= 1e-9)


def test_the_header_counts_the_misclassified(weighted):
    scene = Boundary(weighted, size=SMALL)
    for frame in (0, 15, 60):
        scene.update(frame)
        wrong = round(40 * (1 - weighted["accuracy"][frame]))
        assert f"misclassified {wrong}" in scene.caption


def test_the_field_is_the_probability(weighted):
    scene = Boundary(weighted, size=SMALL, bands=2)
    colors = scene._colors(30)
    x, y = np.meshgrid(scene._x, scene._y)
    slopes, intercept = weighted["params"][30][:2], weighted["params"][30][2]
    one = slopes[0] * x + slopes[1] * y + intercept > 0
    blue = colors[..., 2] > colors[..., 0]
    assert np.mean(one == blue) > 0.999
    assert len(np.unique(colors.reshape(-1, 4), axis=0)) == 2


@pytest.mark.parametrize("weights", [[0.0, 0.0, 0.0], [1e308, -1e308, 3.0], [np.nan, 1.0, 0.0]])
def test_extreme_parameters_still_make_a_field(weighted, weights, tmp_path):
    params = np.tile(np.array(weights), (len(weighted), 1))
    scene = Boundary(changed(weighted, records={"params": params}), size=SMALL)
    with np.errstate(over="ignore", invalid="ignore"):
        assert save_picture(scene, tmp_path / "field.png").exists()


def test_many_points_are_thinned_but_all_are_counted():
    X, y = rows(2, n=6000)
    history = recorded(LogisticRegression, X, y, sgd(0.3), 3)
    scene = Boundary(history, size=SMALL)
    scene.update(-1)
    assert len(scene._points.artist.get_offsets()) <= 2000
    assert f"misclassified {round(6000 * (1 - history['accuracy'][-1]))}" in scene.caption


def test_the_standing_orders_by_excess_loss_and_marks_who_left(runs):
    scene = Race(runs, size=SMALL)
    scene.update(-1)
    ranks = {name: int(text.get_text().split()[0]) for name, text in scene._names.items()}
    assert ranks == {"Newton": 1, "SGD": 2, "Too fast": 3}
    left = [name for name, text in scene._values.items() if "left" in text.get_text()]
    assert left == ["Too fast"]


def test_the_race_counts_evaluations_where_they_are_known(runs):
    newton, slow = runs["Newton"], runs["SGD"]
    uncounted = {k: v for k, v in slow.records.items() if k != "evaluations"}
    racers = {
        "record": changed(newton, records={"evaluations": 3 * newton["step"]}),
        "meta": History(uncounted, slow.data, slow.meta | {"evaluations": list(range(0, 62, 2))}),
        "steps": History(uncounted, slow.data, slow.meta),
    }
    scene = Race(racers, size=SMALL)
    scene.update(-1)
    counts = {name: text.get_text().split(" · ")[1] for name, text in scene._values.items()}
    assert counts == {
        "record": f"{3 * newton['step'][-1]} ev.",
        "meta": "60 ev.",
        "steps": "30 ev.",
    }


@pytest.mark.parametrize("coefficients", [None, (0, 2), (3, 1)])
def test_more_parameters_race_in_a_plane_through_the_optimum(coefficients, tmp_path):
    X, y = rows(3)
    runs = {
        n: recorded(LogisticRegression, X, y, o, 20) for n, o in (("a", sgd(0.3)), ("b", "newton"))
    }
    scene = Race(runs, coefficients=coefficients, size=SMALL)
    best = scene.plane.points(*scene._goal[:, None])[0]
    np.testing.assert_allclose(best, scene.best.params, atol=1e-9)
    np.testing.assert_allclose(
        scene.plane.directions @ scene.plane.directions.T, np.eye(2), atol=1e-9
    )
    assert save_picture(scene, tmp_path / "race.png", 5).exists()


def softmax():
    X, y = rows(2)
    recorder = Recorder(keep_data=True)
    fit(SoftmaxRegression(2, 2), X, y.astype(int), max_epochs=2, hooks=[recorder])
    return recorder.history


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda h: Descent(changed(h["weighted"])), "3 parameters, but this scene shows one"),
        (lambda h: Descent(History({"epoch": np.arange(0)})), "no records"),
        (lambda h: Descent(History(h["linear"].records, {}, h["linear"].meta)), "keep_data=True"),
        (lambda h: Boundary(h["linear"]), "LinearRegression on 1; use CostCurves"),
        (lambda h: Boundary(h["weighted"], bands=1), "at least two colours"),
        (lambda h: Boundary(softmax()), "SoftmaxRegression on 2"),
        (lambda h: Race({}), "0 runs were given"),
        (lambda h: Race({"a": h["linear"], "b": h["weighted"]}), "no common surface"),
        (lambda h: Race({"a": h["weighted"]}, coefficients=(1, 1)), "are not two of 0 ... 2"),
        (lambda h: Race({"a": softmax()}), "not for SoftmaxRegression"),
    ],
)
def test_scenes_say_what_they_cannot_draw(make, message, linear, weighted):
    with pytest.raises(ValueError, match=message):
        make({"linear": linear, "weighted": weighted})
