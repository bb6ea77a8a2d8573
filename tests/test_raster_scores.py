"""Words on the pictures of scores."""

from __future__ import annotations

from torchlogreg.viz.raster_scores import ConfusionPicture


def test_names_cut_short_beside_the_cells_still_differ() -> None:
    # "class 0" and "class 1" were both "class…", so nobody could tell the rows apart.
    paper = ConfusionPicture(("class 0", "class 1"), 360).paper
    names = [name for _, name in paper.y_ticks]
    assert len(set(names)) == 2
