"""Pictures of odd runs: crowded, diverging, tied, with names that look like formulas."""

from itertools import pairwise

import numpy as np
import pytest
from test_viz_scenes import SMALL, changed, filled_areas, recorded, rows, sgd

from torchlogreg import LogisticRegression
from torchlogreg.viz import Boundary
from torchlogreg.viz.raster import Paper, inks
from torchlogreg.viz.raster_points import class_colours, legend
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
