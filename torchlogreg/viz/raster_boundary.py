"""What a model thinks of every place of a plane of two features.

A model is affine in the row, so three rows say what it thinks of a whole plane. Where all columns
of ``eta`` change in one direction (binary, ordinal, linear), a pixel's colour depends on its
distance along that direction alone: it is looked up in a table of quarter pixels, lines included.
"""

from __future__ import annotations

import math
from functools import cache

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from torchlogreg.viz.palette import LIGHT
from torchlogreg.viz.raster import Paper
from torchlogreg.viz.raster_inks import LEVELS, Inks, inks, ramp
from torchlogreg.viz.raster_marks import SHAPES, line
from torchlogreg.viz.raster_points import Markers
from torchlogreg.viz.raster_scene import FIELD, Mean, Scene, around, explain

CROWD = 600
"""Markers that hide the boundary, unless it is drawn over them."""

CONTOURS = (0.1, 0.25, 0.75, 0.9)
"""Probabilities with a thin line; one half has a thick one."""

LINES = np.array([*CONTOURS, 0.5])[:, None]

FLAT = 4.0
"""Boundaries nearer to level than one in this are drawn with rows and columns exchanged."""


class PlanePicture:
    """The plane of two features, coloured by what the model says, with the rows on it.

    Parameters
    ----------
    points : ndarray, shape (m, 2)
    scene : Scene
    """

    def __init__(self, points: np.ndarray, scene: Scene) -> None:
        self.scene = scene
        n_classes = len(scene.class_names)
        self.bands = max(2, 120 // n_classes) if n_classes > 2 else FIELD
        x, y = points.T
        self.paper = Paper(
            self._inks(n_classes), scene.size, (*around(x), *around(y)), scene.labels
        )
        shapes = SHAPES if n_classes else ("circle",)
        edge = LIGHT.background if n_classes else LIGHT.muted  # pale markers on a pale field
        self.markers = Markers(self.paper, x, y, scene.group, scene.colours, shapes, edge)
        explain(self.paper, scene)

    def draw(
        self,
        eta: np.ndarray,
        mean: Mean,
        weight: np.ndarray,
        wrong: np.ndarray,
        caption: tuple[str, str],
    ) -> bytes:
        """A palette PNG.

        Parameters
        ----------
        eta : ndarray, shape (3, k)
            At (0, 0), (1, 0) and (0, 1) of the plane.
        mean : Mean
        weight, wrong : ndarray, shape (m,)
        caption : tuple of str
            Head and figures.
        """
        paper = self.paper
        left, right, bottom, top = paper.limits
        with np.errstate(over="ignore", invalid="ignore"):  # a diverging fit is drawn, too
            across, up = eta[1:] - eta[0]  # (k,) each
            corner = eta[0] + across * left + up * top
            column = across * ((right - left) / (paper.width - 1))  # per pixel
            row = up * ((bottom - top) / (paper.height - 1))
            if not np.isfinite((corner, column, row)).all():
                paper.inside[:] = paper.inks.blank
            elif len(column) == 1 or self.scene.ordered:  # levels differ in the intercept alone
                self._one_direction(corner, float(column[0]), float(row[0]), mean)
            else:
                self._regions(corner, column, row)
        self.markers.draw(weight, wrong)
        if len(weight) > CROWD and len(column) == 1:
            self._boundary(float(corner[0]), float(column[0]), float(row[0]))
        paper.caption(*caption)
        return paper.png()

    def _inks(self, n_classes: int) -> Inks:
        """The palette: a field, or a tint of paper to colour for each class."""
        colours = self.scene.colours
        if n_classes <= 2:
            stops = LIGHT.field if n_classes else LIGHT.surface[::-1]
            return inks(stops, FIELD, colours, soft=True)
        tints = [ramp((LIGHT.background, c), 200)[14:104] for c in colours]
        pick = np.linspace(0, 89, self.bands).astype(int)
        return Inks(np.concatenate([tint[pick] for tint in tints])[:128], colours)

    def _one_direction(self, start: np.ndarray, column: float, row: float, mean: Mean) -> None:
        """Quarter pixels along the gradient index a table of colours."""
        slope = math.hypot(column, row)
        if not 0 < slope < math.inf:  # before training, or diverged
            self.paper.inside[:] = self._colour(mean(start[None]))
            return
        across, down = 4 * column / slope, 4 * row / slope
        height, width = shape = self.paper.inside.shape
        corners = (0.0, width * across, height * down, width * across + height * down)
        lowest, highest = math.floor(min(corners)), math.ceil(max(corners))
        distance = np.arange(lowest, highest + 2) * (slope / 4)
        table = self._colour(mean(start + distance[:, None]))
        if abs(down) > FLAT * abs(across):
            self.paper.inside[:] = _sheared(table, -lowest, down, across, shape[::-1]).T
        else:
            self.paper.inside[:] = _sheared(table, -lowest, across, down, shape)

    def _boundary(self, start: float, column: float, row: float) -> None:
        """The boundary between two classes once more, over markers that would hide it."""
        slope = float(np.hypot(column, row))
        if len(self.scene.class_names) != 2 or not 0 < slope < np.inf:
            return
        middle = np.array([-start * column, -start * row]) / slope**2  # nearest to the corner
        along = np.array([-row, column]) / slope * 4 * self.paper.size
        if np.abs(middle).max() < 2 * self.paper.size:
            x, y = np.stack((middle - along, middle + along)).T
            line(self.paper, x, y, LIGHT.background, width=2.0)
            line(self.paper, x, y, LIGHT.text, width=1.1)

    def _colour(self, mu: np.ndarray) -> np.ndarray:
        """Palette entries along the gradient, with lines where a class or a contour is crossed."""
        ink = self.paper.inks.ink
        if mu.ndim == 2:
            winner = mu.argmax(1)
            table: np.ndarray = self._tint(winner, mu.max(1))
            for at in np.flatnonzero(winner[1:] != winner[:-1]).tolist():
                _rule(table, at, ink(LIGHT.text), 5)
            return table
        if not self.scene.class_names:
            low, high = self.scene.range
            mu = (mu - low) / (high - low)
        mu = np.fmin(np.fmax(mu, 0), 1)  # NaN is 0
        table = np.rint(mu * (FIELD - 1)).astype(np.uint8)
        if self.scene.class_names:
            above = mu >= LINES
            for line, at in np.argwhere(above[:, 1:] != above[:, :-1]).tolist():
                thick = line == len(CONTOURS)
                _rule(table, at, ink(LIGHT.text if thick else LIGHT.muted), 6 if thick else 2)
        return table

    def _tint(self, winner: np.ndarray, p: np.ndarray) -> np.ndarray:
        """Entry of the winning class, the deeper the surer."""
        n_classes = len(self.scene.class_names)
        sure = (p - 1 / n_classes) * (self.bands / (1 - 1 / n_classes))
        band = np.minimum(sure, self.bands - 1).astype(np.uint8)
        tint: np.ndarray = (winner.astype(np.uint8) * np.uint8(self.bands) + band) % 128
        return tint

    def _regions(self, start: np.ndarray, column: np.ndarray, row: np.ndarray) -> None:
        """Softmax classes: the largest of K planes wins each pixel."""
        paper = self.paper
        scores = start[:, None] + column[:, None] * np.arange(paper.width)  # (K, width)
        drop = row[:, None] * np.arange(paper.height)  # (K, height)
        planes = (scores[:, None, :] + drop[:, :, None]).astype(np.float32)
        best, winner = planes[0].copy(), np.zeros(planes[0].shape, np.uint8)
        for j in range(1, len(planes)):
            np.copyto(winner, np.uint8(j), where=planes[j] > best)
            np.maximum(best, planes[j], out=best)
        coarse = planes[:, ::2, ::2] - best[::2, ::2]  # probabilities need half the resolution
        p = 1 / np.exp(coarse).sum(0)
        p = p.repeat(2, 0)[: paper.height].repeat(2, 1)[:, : paper.width]
        paper.inside[:] = self._tint(winner, p)
        border = np.zeros(winner.shape, bool)
        border[:, 1:] |= winner[:, 1:] != winner[:, :-1]
        border[1:] |= winner[1:] != winner[:-1]
        border[:, :-1] |= border[:, 1:]
        paper.inside[border] = paper.inks.index(LIGHT.text)


def _rule(table: np.ndarray, at: int, ink: np.ndarray, width: int) -> None:
    """Blend a line of ``width`` quarter pixels to each side into the table, after entry ``at``."""
    first, opacity = at - width, _opacity(width)
    near = table[max(0, first) : at + width + 2]
    near[:] = ink[opacity[max(0, -first) :][: len(near)], near]


@cache
def _opacity(width: int) -> np.ndarray:
    """Levels across a line, ``2 * width + 2`` quarter pixels."""
    apart = np.abs(np.arange(-width, width + 2) - 0.5)
    levels: np.ndarray = np.clip(width + 1 - apart, 0, LEVELS).astype(np.uint8)
    return levels


def _sheared(
    table: np.ndarray, zero: int, across: float, down: float, shape: tuple[int, ...]
) -> np.ndarray:
    """``table[zero + i * down + j * across]`` for rows i and columns j, to the next quarter pixel.

    Every row is a piece of one long row, moved: copied from that of four, a quarter of a pixel
    apart, which fits best. No index of the size of the picture, only bytes.

    1. How many quarter pixels further to the right row i begins.
    2. The long row, asked four times a pixel, then sorted into four.
    3. The pieces.
    """
    height, width = shape
    begin = np.rint(np.arange(height) * (4 * down / across)).astype(np.intp)  # 1
    leftmost = int(begin.min())
    begin -= leftmost
    n = width + int(begin.max()) // 4 + 1  # 2
    where = np.rint(np.arange(leftmost, leftmost + 4 * n) * (across / 4)).astype(np.intp)
    four = np.ascontiguousarray(table.take(where + zero, mode="clip").reshape(n, 4).T)
    pieces = sliding_window_view(four, width, axis=1)  # 3
    piece: np.ndarray = pieces[begin % 4, begin // 4]
    return piece
