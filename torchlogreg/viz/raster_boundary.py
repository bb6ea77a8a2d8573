"""What a model thinks of every place of a plane of two features.

A model is affine in the row, so three rows say what it thinks of a whole plane. Where all columns
of ``eta`` change in one direction (binary, ordinal, linear), a pixel's colour depends on its
distance along that direction alone: it is looked up in a table of quarter pixels, lines included.
"""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from torchlogreg.viz.palette import LIGHT
from torchlogreg.viz.raster import LEVELS, Inks, Paper, inks, ramp
from torchlogreg.viz.raster_marks import SHAPES, line
from torchlogreg.viz.raster_points import Markers
from torchlogreg.viz.raster_scene import FIELD, Mean, Scene, around, explain

CROWD = 600
"""Markers that hide the boundary, unless it is drawn over them."""

CONTOURS = (0.1, 0.25, 0.75, 0.9)
"""Probabilities with a thin line; one half has a thick one."""


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
        with np.errstate(invalid="ignore"):
            start, across, up = eta[0], eta[1] - eta[0], eta[2] - eta[0]  # (k,) each
        left, right, bottom, top = self.paper.limits
        with np.errstate(over="ignore", invalid="ignore"):  # a diverging fit is drawn, too
            start = start + across * left + up * top
            column = across * ((right - left) / (self.paper.width - 1))  # per pixel
            row = -up * ((top - bottom) / (self.paper.height - 1))
        if not np.isfinite(np.stack((start, column, row))).all():
            self.paper.inside[:] = self.paper.inks.index(LIGHT.background)
        elif len(column) == 1 or self.scene.ordered:  # levels differ in the intercept alone
            self._one_direction(start, float(column[0]), float(row[0]), mean)
        else:
            self._regions(start, column, row)
        self.markers.draw(weight, wrong)
        if len(weight) > CROWD and len(column) == 1:
            self._boundary(float(start[0]), float(column[0]), float(row[0]))
        self.paper.caption(*caption)
        return self.paper.png()

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
        unit = slope = float(np.hypot(column, row))
        if not slope:  # before training
            self.paper.inside[:] = self._colour(mean(start[None]))
            return
        across = np.rint(np.arange(self.paper.width) * (4 * column / unit)).astype(np.intp)
        down = np.rint(np.arange(self.paper.height) * (4 * row / unit)).astype(np.intp)
        lowest = int(across.min()) + int(down.min())
        n = int(across.max()) + int(down.max()) - lowest + 1
        distance = np.arange(lowest, lowest + n) * (slope / 4)
        table = self._colour(mean(start + distance[:, None]))
        # Pixel (i, j) shows table[across[j] + down[i] - lowest]: first the windows of the table
        # that start at across, one a column, then down within them. Bytes only, no large index.
        lower, upper = int(down.min()), int(down.max())
        windows = sliding_window_view(table, upper - lower + 1)[across - int(across.min())]
        self.paper.inside[:] = windows.T[down - lower]

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
            table = self._tint(mu.argmax(1), mu.max(1))
            return _rule(table, np.flatnonzero(np.diff(mu.argmax(1))), ink(LIGHT.text), 5)
        low, high = (0.0, 1.0) if self.scene.class_names else self.scene.range
        share = np.clip(np.nan_to_num((mu - low) / (high - low)), 0, 1)
        table = np.rint(share * (FIELD - 1)).astype(np.uint8)
        if self.scene.class_names:
            for level in CONTOURS:
                table = _rule(table, np.flatnonzero(np.diff(share >= level)), ink(LIGHT.muted), 2)
            table = _rule(table, np.flatnonzero(np.diff(mu >= 0.5)), ink(LIGHT.text), 6)
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


def _rule(table: np.ndarray, crossings: np.ndarray, ink: np.ndarray, width: int) -> np.ndarray:
    """Blend a line of ``width`` quarter pixels to each side into the table."""
    ruled = table.copy()
    for at in crossings:
        near = np.arange(max(0, at - width), min(len(table), at + width + 2))
        opacity = np.clip(width + 1 - abs(near - at - 0.5), 0, LEVELS).astype(np.uint8)
        ruled[near] = ink[opacity, table[near]]
    return ruled
