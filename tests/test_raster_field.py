"""The field behind a boundary, against the same places asked one by one."""

from __future__ import annotations

import numpy as np
import pytest

from torchlogreg.viz.palette import LIGHT
from torchlogreg.viz.raster import Paper
from torchlogreg.viz.raster_boundary import PlanePicture, _sheared
from torchlogreg.viz.raster_inks import inks
from torchlogreg.viz.raster_marks import mask, places, stamp
from torchlogreg.viz.raster_scene import FIELD, Scene


@pytest.mark.parametrize("across", [-4.0, -1.3, 0.9, 3.99])
@pytest.mark.parametrize("share", [-4.0, -1.0, -0.01, 0.0, 0.3, 2.5])
def test_a_sheared_table_is_within_a_step_of_every_pixels_own_place(
    across: float, share: float
) -> None:
    height, width, down = 70, 90, across * share
    place = down * np.arange(height)[:, None] + across * np.arange(width)
    lowest = int(np.floor(place.min()))
    table = np.arange(lowest, int(np.ceil(place.max())) + 1)
    found = _sheared(table, -lowest, across, down, (height, width))
    assert found.shape == place.shape
    # Half a step from the table, an eighth of a pixel from the row: half a step at most.
    assert np.abs(found - place).max() <= 1.0 + 1e-9


@pytest.mark.parametrize("turn", np.arange(0, 360, 15).tolist())
def test_the_field_has_the_colour_of_the_probability_at_every_pixel(turn: float) -> None:
    points = np.random.default_rng(0).normal(size=(40, 2))
    y = (points[:, 0] > 0).astype(int)
    scene = Scene(y=y, class_names=("a", "b"), ordered=False, labels=("x1", "x2"), size=240)
    picture = PlanePicture(points, scene)
    weight = 0.8 * np.array([np.cos(np.deg2rad(turn)), np.sin(np.deg2rad(turn))])
    eta = np.array([[0.2], [0.2 + weight[0]], [0.2 + weight[1]]])

    def mean(eta: np.ndarray) -> np.ndarray:
        probability: np.ndarray = 1 / (1 + np.exp(-eta[:, 0]))
        return probability

    none = np.zeros(40)
    picture.draw(eta, mean, none, none.astype(bool), ("", ""))  # of weight zero: not drawn
    across, down = picture.paper.grid()
    p = mean((0.2 + weight[0] * across + weight[1] * down[:, None]).reshape(-1, 1))
    expected = p.reshape(picture.paper.inside.shape) * (FIELD - 1)
    shown = picture.paper.inside.astype(int)
    lines = np.array([0.1, 0.25, 0.5, 0.75, 0.9])
    slope = p.reshape(shown.shape) * (1 - p.reshape(shown.shape)) * 5.0 / shown.shape[0]
    near = np.abs(p.reshape(shown.shape)[..., None] - lines).min(-1) < 4 * slope  # four pixels
    assert near.mean() < 0.5
    assert np.abs(shown - expected)[~near].max() < 1.5
    half = np.abs(p.reshape(shown.shape) - 0.5) < 0.004
    dark = picture.paper.inks.rgb[shown[half]].sum(1)
    assert half.any() and (dark < 400).mean() > 0.95


def test_a_text_over_another_leaves_its_letters() -> None:
    paper = Paper(inks(LIGHT.field, FIELD, ()), 240, (0.0, 1.0, 0.0, 1.0), ("", ""))
    paper.text("llllllll", 60, 100)
    before = paper.image != paper.inks.blank
    paper.text("........", 60, 100)
    assert (paper.image != paper.inks.blank)[before].all()


def test_a_new_caption_leaves_nothing_of_the_old_one_and_all_else() -> None:
    paper = Paper(inks(LIGHT.field, FIELD, ()), 240, (0.0, 1.0, 0.0, 1.0), ("x", "y"))
    paper.explain("what is shown")
    paper.caption("epoch 5", "accuracy 50.0 %")
    once = paper.image.copy()
    paper.caption("epoch 123456 gjpqy|", "accuracy 100.0 %   loss 0.123456789")
    assert not np.array_equal(once, paper.image)
    paper.caption("epoch 5", "accuracy 50.0 %")
    assert np.array_equal(once, paper.image)


def test_markers_are_stamped_where_their_pixels_are() -> None:
    paper = Paper(inks(LIGHT.field, FIELD, (LIGHT.class1,)), 240, (0.0, 1.0, 0.0, 1.0), ("", ""))
    paper.inside[:] = 0
    x, y = np.array([30.4, 100.0]), np.array([50.0, 80.6])
    stamp(paper, places(paper, x, y), mask("circle", 3.0, 0.9), LIGHT.class1)
    blue = paper.inside == paper.inks.index(LIGHT.class1)
    assert blue[50, 30] and blue[81, 100]
    rows, columns = np.nonzero(blue)
    near = np.hypot(rows[:, None] - np.rint(y), columns[:, None] - np.rint(x)).min(1)
    assert near.max() <= 3.5 and blue.sum() > np.pi * 3**2, "two discs, less their soft edges"
