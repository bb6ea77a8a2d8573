"""Pictures of odd runs: crowded, diverging, tied, with names that look like formulas."""

from itertools import pairwise

import numpy as np
import pytest
from test_viz_scenes import SMALL, changed, filled_areas, full_redraw, recorded, rows, sgd

from torchlogreg import LinearRegression, LogisticRegression
from torchlogreg.viz import Boundary, Descent, Film, Race, save_picture
from torchlogreg.viz.raster import Paper
from torchlogreg.viz.raster_inks import inks
from torchlogreg.viz.raster_points import class_colours, legend
from torchlogreg.viz.surface import lowest_without_optimum, separable, window
from torchlogreg.weighting import BoostMisclassified


@pytest.fixture(scope="module", params=[40, 3000])
def crowd(request):
    boost = BoostMisclassified(1.2, cap=500)
    return recorded(LogisticRegression, *rows(2, n=request.param), sgd(0.3), weighting=boost)


def test_an_edge_never_hides_the_class_of_a_row(crowd):
    scene = Boundary(crowd, size=SMALL)
    for frame in (0, -1):
        scene.update(frame)
        edge = np.array(scene._points.artist.get_linewidths())
        chosen = scene._points.chosen
        weight = crowd["sample_weight"][frame][chosen]
        wrong = scene._wrong(frame % len(crowd))[chosen]
        one = scene.one[chosen[np.lexsort((wrong, -weight))]]
        diameter = np.sqrt(filled_areas(scene._points, one))
        assert np.all(diameter >= 2.4) and np.all(edge <= 0.3 * diameter + 1e-9)


def test_the_header_shows_the_recorded_accuracy(crowd):
    scene = Boundary(changed(crowd, records={"accuracy": np.full(len(crowd), 0.123)}), size=SMALL)
    scene.update(3)
    assert "accuracy 12.3 %" in scene.caption


def test_a_dollar_in_a_name_is_no_formula(crowd):
    scene = Boundary(crowd, features=("price $a$", "cost_$"), size=SMALL)
    axes = scene.figure.axes[0]
    assert axes.xaxis.label.get_text() == "price $a$"
    assert not axes.xaxis.label.get_parse_math() and not axes.yaxis.label.get_parse_math()


def test_a_dot_below_the_axis_is_hidden(crowd):
    values = np.linspace(0.9, 0.95, len(crowd))
    values[0] = 0.5
    scene = Boundary(changed(crowd, records={"accuracy": values}), size=SMALL)
    (curve,) = scene._groups[1].curves
    scene.update(0)
    assert np.isnan(curve.marker.get_ydata()).all()
    scene.update(2)
    assert curve.marker.get_ydata() == pytest.approx(values[2])


@pytest.mark.parametrize("n_classes", [2, 4])
def test_the_raster_legend_keeps_its_words_apart(n_classes, monkeypatch):
    colours = class_colours(n_classes, ordered=True)
    paper = Paper(inks(("#ffffff", "#000000"), 32, colours), 320, (0, 1, 0, 1), ("x", "y"))
    spans, write = [], paper.text

    def text(words, x, y, *, anchor="left", **look):
        width = write(words, x, y, anchor=anchor, **look)
        spans.append((x - width, x) if anchor == "right" else (x, x + width))
        return width

    monkeypatch.setattr(paper, "text", text)
    names = tuple(f"level {j}" for j in range(n_classes))
    legend(paper, names, colours, mistakes=True, sized=True)
    assert len(spans) >= 3
    assert all(a[1] + 4 <= b[0] for a, b in pairwise(spans))


@pytest.fixture(scope="module")
def lost():
    return recorded(LinearRegression, *rows(1, classes=False), sgd(1.5), 2000, start=(0.0, 0.0))


@pytest.mark.parametrize("in_3d", [False, True])
def test_a_run_that_ends_in_nan_says_when_and_shows_its_start(lost, in_3d, tmp_path):
    finite = np.isfinite(lost["objective"])
    assert not finite[-1]
    scene = Descent(lost, in_3d=in_3d, size=SMALL)
    for frame in (0, 5, -1):
        save_picture(scene, tmp_path / "picture.png", frame)
    assert f"diverged at iteration {lost['epoch'][finite.argmin()]}" in scene.caption
    assert "nan" not in scene._formula.get_text() and "diverged" in scene._formula.get_text()
    limits = window(scene.path, scene.goal)
    least = np.polyfit(lost.data["X"][:, 0], lost.data["y"], 1)[::-1]
    assert np.all((limits[:, 0] < least) & (least < limits[:, 1])) and np.ptp(limits) < 100
    low, high = scene._excess.axes.get_ylim()
    assert low < lost["objective"][1] < high < 1e6
    if in_3d:
        assert np.isfinite(scene.figure.axes[-1].azim)


def test_blitted_frames_of_a_lost_run_equal_a_full_redraw(lost):
    scene = Descent(lost, size=(1000, 450))
    frames = [0, 5, scene.n_frames - 1]
    for frame, pixels in zip(frames, Film(scene, frames=frames).pixels(), strict=True):
        different = np.any(pixels.copy() != full_redraw(scene, frame), axis=2).mean()
        scene.animate(True)
        assert different <= 1e-5


@pytest.mark.parametrize(
    ("x", "y", "lowest"),
    [
        ([0, 1, 2, 3], [0, 0, 1, 1], 0.0),
        ([0, 1, 2, 3], [1, 1, 0, 0], 0.0),
        ([0, 1, 1, 3], [0, 0, 1, 1], 0.5 * np.log(2)),
        ([1, 1, 1, 1], [0, 0, 1, 1], None),
        ([0, 2, 1, 3], [0, 0, 1, 1], None),
    ],
)
def test_only_what_is_separable_is_called_so(x, y, lowest):
    X = np.array(x, float)[:, None]
    history = recorded(LogisticRegression, X, np.array(y, float), sgd(0.5), 3)
    found = lowest_without_optimum(history)
    assert found == (lowest if lowest is None else pytest.approx(lowest))
    assert separable(history) == (lowest == 0.0)
    words = " ".join(t.get_text() for t in Descent(history, size=SMALL).figure.axes[-2].texts)
    assert ("towards 0 for ever" in words) == (lowest == 0.0)
    assert ("no finite optimum" in words) == (lowest is not None)


def test_a_run_without_a_finite_record_is_refused_in_one_line(lost):
    never = changed(lost, records={"params": np.full_like(lost["params"], np.nan)})
    for make in (Descent, lambda history: Race({"never": history})):
        with pytest.raises(ValueError, match="no record has finite parameters"):
            make(never)


def test_names_of_start_and_goal_lie_above_the_path():
    history = recorded(LogisticRegression, *rows(1), sgd(0.3))
    for scene in (Descent(history, size=SMALL), Race({"only": history}, size=SMALL)):
        words = [t for axes in scene.figure.axes for t in axes.texts]
        names = [t for t in words if t.get_text() in ("start", "lowest recorded")]
        assert len(names) == 2
        lines = scene._lines["only"] if isinstance(scene, Race) else scene._trail.line
        assert all(t.get_zorder() > lines.get_zorder() for t in names)


@pytest.mark.parametrize("in_3d", [False, True])
def test_names_of_one_spot_do_not_collide(lost, in_3d):
    scene = Descent(lost, in_3d=in_3d)
    texts = {t.get_text(): t for axes in scene.figure.axes for t in axes.texts}
    start, goal = (texts[n].get_window_extent() for n in ("start", "lowest recorded"))
    assert not start.overlaps(goal)
