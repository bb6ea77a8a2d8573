"""Rows as markers: class by shape and colour, weight by area, mistakes by a dark edge."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
from matplotlib.colors import LinearSegmentedColormap, to_hex

from torchlogreg.viz.palette import (
    BLUE,
    GREEN,
    LIGHT,
    ORANGE,
    PINK,
    SKY,
    VERMILION,
    YELLOW,
)
from torchlogreg.viz.raster import LEFT, TOP, Paper, glyphs
from torchlogreg.viz.raster_marks import LARGEST, SHAPES, mask, places, stamp, visible

CLASSES = (VERMILION, BLUE, GREEN, PINK, ORANGE, SKY, YELLOW)
"""Colours by class, Okabe-Ito."""

LEVEL_STOPS = (VERMILION, ORANGE, SKY, BLUE)
"""Ordered levels run from vermilion (low) to blue (high)."""

MOST_POINTS = 1_000
"""Rows shown; of more, this many are drawn by lot (the same ones in every picture)."""

STEP = 1.12
"""Radii are rounded to powers of this: weights closer than a quarter look the same."""


def class_colours(n_classes: int, *, ordered: bool = False) -> tuple[str, ...]:
    """One colour a class."""
    if ordered and n_classes > 2:
        ramp = LinearSegmentedColormap.from_list("levels", LEVEL_STOPS)
        return tuple(to_hex(ramp(j / (n_classes - 1))) for j in range(n_classes))
    return tuple(CLASSES[j % len(CLASSES)] for j in range(n_classes))


def shown_rows(n: int) -> np.ndarray:
    """Indices of the rows that get a marker."""
    if n <= MOST_POINTS:
        return np.arange(n)
    return np.sort(np.random.default_rng(0).choice(n, MOST_POINTS, replace=False))


class Markers:
    """The rows of one picture, at fixed places.

    Parameters
    ----------
    paper : Paper
    x, y : ndarray, shape (m,)
        In data units.
    group : ndarray of int, shape (m,)
        Class of each row, or the shade of a numeric response.
    colours, shapes : sequence of str
        By group.
    edge : str
        Colour of the edge of rows that are right.
    """

    def __init__(
        self,
        paper: Paper,
        x: np.ndarray,
        y: np.ndarray,
        group: np.ndarray,
        colours: tuple[str, ...],
        shapes: tuple[str, ...] = SHAPES,
        edge: str = LIGHT.background,
    ) -> None:
        self.paper = paper
        x, y = paper.columns(x), paper.rows(y)
        self.inside, self.at = visible(paper, x, y), places(paper, x, y)
        self.group = group.astype(np.int64)
        self.colours, self.shapes, self.edge = colours, shapes, edge
        # Four hundred points get 3.2 pixels; many get less, so that the field stays visible.
        self.base = float(np.clip(3.2 * (400 / max(1, len(x))) ** 0.35, 1.7, 5.0))

    def draw(self, weight: np.ndarray, wrong: np.ndarray) -> None:
        """Heaviest first, so that light rows stay visible.

        Parameters
        ----------
        weight : ndarray, shape (m,)
            Sample weights of mean about one; a row of weight zero is not drawn.
        wrong : ndarray of bool, shape (m,)
            Rows that get a dark edge.
        """
        keep, n = self.inside & (weight > 0), len(self.colours)
        even = np.ptp(weight) == 0  # mostly: one size for all
        sized = weight[:1] if even else np.where(keep, weight, 1)
        radius = np.clip(self.base * np.sqrt(sized), 1.0, LARGEST)
        power = np.rint(np.log(radius) * (1 / math.log(STEP))).astype(np.int64)
        key = np.where(keep, (power * 2 + ~wrong) * n + self.group, -1)
        order = (-key).argsort(kind="stable")
        key, at = key[order], self.at[order]
        first = [0, *((key[1:] != key[:-1]).nonzero()[0] + 1).tolist(), len(key)]
        for begin, end in pairwise(first):
            if begin < end and key[begin] >= 0:
                self._stamp(at[begin:end], int(key[begin]), n)

    def _stamp(self, at: np.ndarray, key: int, n: int) -> None:
        """All rows of one class, size and correctness."""
        rest, group = divmod(key, n)
        power, right = divmod(rest, 2)
        shape = self.shapes[group % len(self.shapes)]
        radius = round(min(STEP**power, LARGEST), 2)
        marker = mask(shape, radius, 0.9 if right else 1.3)
        edge = self.edge if right else LIGHT.text
        stamp(self.paper, at, marker, self.colours[group], edge)


def legend(
    paper: Paper, names: tuple[str, ...], colours: tuple[str, ...], *, mistakes: bool, sized: bool
) -> None:
    """The second caption row, drawn once: a marker and a name for each class."""
    entries = list(zip(names, colours, SHAPES * (len(names) // len(SHAPES) + 1), strict=False))
    extra = [("misclassified", LIGHT.muted, "circle")] * mistakes
    tail = "area = weight" if sized else ""
    at, y = LEFT, TOP - 16
    needed = sum(26 + glyphs(name, points=12).shape[1] for name, *_ in [*entries, *extra])
    if tail and at + needed > paper.size - 12 - glyphs(tail, points=12).shape[1]:
        tail = ""  # the classes matter more than what the area means
    room = paper.size - 12 - glyphs(tail or " ", points=12).shape[1]
    for place, (name, colour, shape) in enumerate([*entries, *extra]):
        width = glyphs(name, points=12).shape[1]
        if at + 14 + width > room:
            paper.text("…", at, y, colour=LIGHT.muted, points=12)
            break
        wrong = place == len(entries)
        _place(paper, at + 5, y, shape, colour, wrong)
        at += 14 + paper.text(name, at + 14, y, points=12, colour=LIGHT.muted) + 12
    if tail:
        paper.text(tail, paper.size - 12, y, points=12, colour=LIGHT.muted, anchor="right")


def _place(paper: Paper, x: int, y: int, shape: str, colour: str, wrong: bool) -> None:
    """A single marker in the caption."""
    marker = mask(shape, 4.0, 1.3 if wrong else 0.0)
    edge = LIGHT.text if wrong else colour
    rows, columns = marker.rows + y, marker.columns + x
    below = paper.inks.ink(edge)[marker.cover, paper.image[rows, columns]]
    paper.image[rows, columns] = paper.inks.ink(colour)[marker.fill, below]
