"""Indexed frames: what can be seen is shown, what cannot costs nothing, words stay legible."""

import numpy as np
import pytest

from torchlogreg.history import History
from torchlogreg.viz import CostCurves
from torchlogreg.viz.film import Film
from torchlogreg.viz.indexed import ALONE, FAINT, Indexer, palette
from torchlogreg.viz.sinks import GIF_COLORS, words

COLORS = np.array([[255, 255, 255], [0, 0, 0], [220, 50, 40], [150, 150, 150]], np.uint8)


def frame(color, shape=(6, 8)):
    return np.full((*shape, 4), (*color, 255), np.uint8)


def shown(indexer, picture, *sharp):
    index = indexer(picture, sharp)
    return indexer.table[index][..., :3]


@pytest.mark.parametrize("color", COLORS.tolist())
def test_a_palette_colour_is_always_taken(color):
    for before in COLORS:
        indexer = Indexer(COLORS)
        shown(indexer, frame(before))
        assert np.array_equal(shown(indexer, frame(color)), frame(color)[..., :3])


def test_a_faint_change_is_ignored_and_a_visible_one_shown():
    levels = np.arange(0, 256, 25, np.uint8)
    indexer = Indexer(np.stack([levels] * 3, axis=1))
    shown(indexer, frame([100] * 3))
    near = shown(indexer, frame([100 + FAINT - 16] * 3))
    assert (near == 100).all()
    far = shown(indexer, frame([100 + ALONE + 7] * 3))
    assert abs(int(far[0, 0, 0]) - (100 + ALONE + 7)) <= 13


def test_every_change_counts_inside_a_sharp_box():
    levels = np.arange(0, 256, 5, np.uint8)
    indexer = Indexer(np.stack([levels] * 3, axis=1), faint=32)
    indexer(frame([100] * 3))
    seen = shown(indexer, frame([120] * 3), (2, 1, 5, 4))
    assert (seen[1:4, 2:5] == 120).all()


def test_words_of_a_film_are_those_of_frames_drawn_alone():
    m = 30
    steps, values = np.arange(m), np.geomspace(1, 0.1, m)
    film = Film(
        CostCurves({"run": History({"epoch": steps, "objective": values})}, size=(640, 360))
    )
    colors = palette(film, GIF_COLORS)
    running = Indexer(colors)
    assert len(colors) == GIF_COLORS
    for picture in film.pixels():
        boxes = words(film)
        index, alone = running(picture, boxes), Indexer(colors)(picture)
        assert len(boxes) >= 2
        for left, top, right, bottom in boxes:
            assert np.array_equal(index[top:bottom, left:right], alone[top:bottom, left:right])
