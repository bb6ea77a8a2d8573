"""What a model thinks of every place: a plane of two features, or the curve of a single one.

A model is affine in the row, so three rows say what it thinks of a whole plane. Where all columns
of ``eta`` change in one direction (binary, ordinal, linear), a pixel's colour depends on its
distance along that direction alone: it is looked up in a table of quarter pixels, lines included.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from torchlogreg.viz.palette import LIGHT
from torchlogreg.viz.raster import LEVELS, Inks, Paper, inks, ramp
from torchlogreg.viz.raster_marks import SHAPES, line
from torchlogreg.viz.raster_points import Markers, class_colours, legend

Mean = Callable[[np.ndarray], np.ndarray]
"""From ``eta (t, k)`` to the mean response: (t,), or probabilities (t, K)."""

FIELD = 96
"""Colours of a probability field."""

SHADES = 8
"""Colours of the markers of a numeric response."""

CONTOURS = (0.1, 0.25, 0.75, 0.9)
"""Probabilities with a thin line; one half has a thick one."""


@dataclass(frozen=True)
class Scene:
    """What stays the same in all pictures of a fit.

    Attributes
    ----------
    y : ndarray, shape (m,)
        Class indices, or numbers.
    class_names : tuple of str
        Empty for a numeric response.
    ordered : bool
        Whether the classes are levels.
    labels : tuple of str
        Names of the two axes.
    size : int
        Pixels.
    sized : bool
        Whether weights differ between rows or will.
    """

    y: np.ndarray
    class_names: tuple[str, ...]
    ordered: bool
    labels: tuple[str, str]
    size: int = 480
    sized: bool = False

    @property
    def colours(self) -> tuple[str, ...]:
        """By class, or by shade of the response."""
        if self.class_names:
            return class_colours(len(self.class_names), ordered=self.ordered)
        table = ramp(LIGHT.surface[::-1], SHADES)
        return tuple("#{:02X}{:02X}{:02X}".format(*rgb) for rgb in table)

    @property
    def group(self) -> np.ndarray:
        """Which of the colours each row has."""
        if self.class_names:
            return self.y.astype(np.int64)
        low, high = self.range
        return np.clip((self.y - low) / (high - low) * SHADES, 0, SHADES - 1).astype(np.int64)

    @property
    def range(self) -> tuple[float, float]:
        """Numbers the colours span: the central 98 % of a numeric response."""
        low, high = (float(v) for v in np.quantile(self.y, (0.01, 0.99)))
        return (low, high) if high > low else (low - 0.5, low + 0.5)


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
            self._inks(n_classes), scene.size, (*_around(x), *_around(y)), scene.labels
        )
        shapes = SHAPES if n_classes else ("circle",)
        edge = LIGHT.background if n_classes else LIGHT.muted  # pale markers on a pale field
        self.markers = Markers(self.paper, x, y, scene.group, scene.colours, shapes, edge)
        _static_legend(self.paper, scene)

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
        start, across, up = eta[0], eta[1] - eta[0], eta[2] - eta[0]  # (k,) each
        left, right, bottom, top = self.paper.limits
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
        slope = float(np.hypot(column, row))
        unit = slope or 1.0
        across = np.rint(np.arange(self.paper.width) * (4 * column / unit)).astype(np.int16)
        down = np.rint(np.arange(self.paper.height) * (4 * row / unit)).astype(np.int16)
        lowest = int(across.min()) + int(down.min())
        n = int(across.max()) + int(down.max()) - lowest + 1
        distance = np.arange(lowest, lowest + n) * (slope / 4)
        table = self._colour(mean(start + distance[:, None]))
        np.take(table, (across - lowest) + down[:, None], out=self.paper.inside, mode="clip")

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


class CurvePicture:
    """One feature: the probability of every class against it, or the fitted line.

    Parameters
    ----------
    x : ndarray, shape (m,)
    scene : Scene
    """

    def __init__(self, x: np.ndarray, scene: Scene) -> None:
        self.scene = scene
        n_classes, y = len(scene.class_names), scene.y
        colours = scene.colours if n_classes else (class_colours(2)[1],)
        jitter = np.random.default_rng(0).uniform(-0.022, 0.022, len(x))
        y_ticks = [(t, f"{t:g}") for t in (0.0, 0.25, 0.5, 0.75, 1.0)]
        limits: tuple[float, float] = (-0.09, 1.09)
        if n_classes > 2:  # a row of markers for each class, below the curves
            limits = (-0.1 - 0.07 * n_classes, 1.06)
            y = -0.08 - 0.07 * y
        if n_classes:
            y = y + jitter
        else:
            limits = _around(y)
        self.paper = Paper(
            inks((LIGHT.background, LIGHT.grid), 4, (*colours, LIGHT.accent)),
            scene.size,
            (*_around(x), *limits),
            scene.labels,
            y_ticks=y_ticks if n_classes else None,
        )
        group = scene.group if n_classes else np.zeros(len(x))
        self.colours = colours
        shapes = SHAPES if n_classes else ("circle",)
        self.markers = Markers(self.paper, x, y, group, colours, shapes)
        _static_legend(self.paper, scene)

    @property
    def grid(self) -> np.ndarray:
        """Where the curve is asked for, (t,)."""
        return self.paper.grid()[0][::2]

    def draw(
        self, mu: np.ndarray, weight: np.ndarray, wrong: np.ndarray, caption: tuple[str, str]
    ) -> bytes:
        """A palette PNG; ``mu`` is (t,) or (t, K), at ``grid``."""
        paper = self.paper
        paper.clear()
        x = paper.columns(self.grid)
        several = mu.ndim == 2
        if not several:
            self._threshold(mu, x)
        self.markers.draw(weight, wrong)
        for j, curve in enumerate(mu.T if several else [mu]):
            y = np.clip(paper.rows(curve), -paper.height, 2.0 * paper.height)
            line(paper, x, y, self.colours[j] if several else LIGHT.text, width=1.5)
        paper.caption(*caption)
        return paper.png()

    def _threshold(self, mu: np.ndarray, x: np.ndarray) -> None:
        """A dotted line where the probability of class 1 crosses one half."""
        for place in np.flatnonzero(np.diff(mu >= 0.5)) if self.scene.class_names else ():
            column = round(float(x[place]))
            self.paper.inside[::4, column] = self.paper.inks.index(LIGHT.muted)
            self.paper.inside[1::4, column] = self.paper.inks.index(LIGHT.muted)


def _around(values: np.ndarray) -> tuple[float, float]:
    """Limits with a margin of six per cent."""
    low, high = float(values.min()), float(values.max())
    margin = 0.06 * (high - low) or 0.5
    return low - margin, high + margin


def _rule(table: np.ndarray, crossings: np.ndarray, ink: np.ndarray, width: int) -> np.ndarray:
    """Blend a line of ``width`` quarter pixels to each side into the table."""
    ruled = table.copy()
    for at in crossings:
        near = np.arange(max(0, at - width), min(len(table), at + width + 2))
        opacity = np.clip(width + 1 - abs(near - at - 0.5), 0, LEVELS).astype(np.uint8)
        ruled[near] = ink[opacity, table[near]]
    return ruled


def _static_legend(paper: Paper, scene: Scene) -> None:
    """What the markers mean, drawn once."""
    if scene.class_names:
        legend(paper, scene.class_names, scene.colours, mistakes=True, sized=scene.sized)
    elif paper.inks.n_ramp == FIELD:
        paper.explain("darker = larger: field predicted, markers observed")
    else:
        paper.explain("markers: observed response")
