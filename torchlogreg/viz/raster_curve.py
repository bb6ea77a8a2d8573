"""What a model thinks along a single feature: curves of probabilities, or the fitted line."""

from __future__ import annotations

import numpy as np

from torchlogreg.viz.palette import LIGHT
from torchlogreg.viz.raster import Paper
from torchlogreg.viz.raster_inks import inks
from torchlogreg.viz.raster_marks import SHAPES, line
from torchlogreg.viz.raster_points import Markers, class_colours
from torchlogreg.viz.raster_scene import Scene, around, explain


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
            limits = around(y)
        self.paper = Paper(
            inks((LIGHT.background, LIGHT.grid), 4, (*colours, LIGHT.accent)),
            scene.size,
            (*around(x), *limits),
            scene.labels,
            y_ticks=y_ticks if n_classes else None,
        )
        group = scene.group if n_classes else np.zeros(len(x))
        self.colours = colours
        shapes = SHAPES if n_classes else ("circle",)
        self.markers = Markers(self.paper, x, y, group, colours, shapes)
        explain(self.paper, scene)

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
