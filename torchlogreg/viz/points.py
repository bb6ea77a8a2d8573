"""Points of two classes whose marker area is their sample weight."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.collections import PathCollection
from matplotlib.lines import Line2D
from matplotlib.markers import MarkerStyle
from matplotlib.transforms import Affine2D, IdentityTransform

from torchlogreg.viz.canvas import Scene

MOST_POINTS = 2_000
"""Points drawn; of more, the heaviest at the end and an even selection of the others."""

UNIT_AREA, MOST_AREA = 26.0, 420.0
"""Area of a marker of weight one, and of the heaviest, in square points."""

LEAST_AREA, LARGEST_AREA = 12.0, MOST_AREA
"""A marker of weight one is never smaller, none is ever larger: its colour must show."""

EDGE, MISTAKE, SHARE = 0.8, 1.8, 0.3
"""Widths of the edges of right and wrong rows in points, at most this share of the diameter."""


class WeightedPoints:
    """Blue circles and vermilion squares; misclassified ones have a dark edge.

    Parameters
    ----------
    scene : Scene
    axes : Axes
    X : ndarray, shape (n, 2)
    one : ndarray of bool, shape (n,)
        Rows of class 1.
    weights : ndarray, shape (m, n), optional
        Factors of the rows at every record.
    """

    def __init__(
        self, scene: Scene, axes: Any, X: np.ndarray, one: np.ndarray, weights: np.ndarray | None
    ) -> None:
        self.theme, self.X, self.one, self.weights = scene.theme, X, one, weights
        self.heaviest = 1.0 if weights is None else float(weights.max(initial=1.0))
        self.chosen = self._choose()
        crowd = min(1.0, (250 / len(self.chosen)) ** 0.5)
        self.unit = max(LEAST_AREA, min(UNIT_AREA * crowd, MOST_AREA / self.heaviest))
        self.dpi = scene.figure.dpi
        styles = [MarkerStyle(name) for name in "so"]
        self.shapes = [style.get_path().transformed(style.get_transform()) for style in styles]
        square = Affine2D().scale(np.sqrt(np.pi) / 2)  # the area of a circle of the same size
        self.shapes[0] = self.shapes[0].transformed(square)
        fills = (scene.theme.class0, scene.theme.class1)
        self.fills = np.array([fills[int(c)] for c in one])
        self.artist = PathCollection([], offsets=np.zeros((0, 2)), offset_transform=axes.transData)
        self.artist.set_transform(IdentityTransform())
        axes.add_collection(self.artist, autolim=False)
        scene.moving(self.artist)

    def show(self, frame: int, wrong: np.ndarray) -> None:
        """Draw one record, the heaviest first, so that none hides a lighter one."""
        weight = np.ones(len(self.X)) if self.weights is None else self.weights[frame]
        order = self.chosen[np.lexsort((wrong[self.chosen], -weight[self.chosen]))]
        bad = wrong[order]
        artist, theme = self.artist, self.theme
        artist.set_paths([self.shapes[int(c)] for c in self.one[order]])
        artist.set_offsets(self.X[order])
        diameter = np.sqrt(self.areas(weight[order]))
        edge = np.minimum(np.where(bad, MISTAKE, EDGE), SHARE * diameter)
        # An edge straddles the outline: a larger outline puts it outside the area.
        outside = edge * np.where(self.one[order], 1.0, 2 / np.sqrt(np.pi))
        artist.set_sizes((diameter + outside) ** 2, dpi=self.dpi)
        artist.set_facecolor(self.fills[order].tolist())
        artist.set_edgecolor([theme.text if b else theme.background for b in bad])
        artist.set_linewidth(edge.tolist())

    def areas(self, weight: np.ndarray) -> np.ndarray:
        """Filled areas in square points."""
        areas = self.unit * np.maximum(weight, 0.15)
        return np.asarray(np.clip(areas, 0.5 * LEAST_AREA, LARGEST_AREA))

    def size_legend(self, scene: Scene, top: float) -> None:
        """What an area means: one, and up to three larger weights."""
        place, most = scene.place, self.heaviest
        style: dict[str, Any] = {"ha": "left", "va": "center"}
        limit = LARGEST_AREA / self.unit  # weights beyond it look the same
        heading = "Marker area ∝ sample weight" + (f" ≤ {limit:.3g}×" if most > limit else "")
        most = min(most, limit)
        scene.figure.text(*place(858, top), heading, fontsize=12.5, fontweight="bold", **style)
        values = [1.0, *(v for v in (most / 4, most / 2, most) if v >= 1.35)]
        style = {"ha": "center", "va": "center", "fontsize": 9.5, "color": self.theme.muted}
        for value, x in zip(values, (888, 960, 1048, 1157), strict=False):
            diameter = float(np.sqrt(self.areas(np.array([value]))[0]))
            dot = Line2D(*np.array([place(x, top + 56)]).T, marker="o", ms=diameter, mew=0)
            dot.set(color=self.theme.muted, transform=scene.figure.transFigure)
            scene.figure.add_artist(dot)
            scene.figure.text(*place(x, top + 93), f"{value:.3g}×", **style)

    def _choose(self) -> np.ndarray:
        """Rows to draw."""
        n = len(self.X)
        if n <= MOST_POINTS:
            return np.arange(n)
        weight = np.zeros(n) if self.weights is None else self.weights[-1]
        heavy = np.argsort(-weight, kind="stable")[: MOST_POINTS // 2]
        even = np.linspace(0, n - 1, MOST_POINTS // 2).astype(int)
        return np.unique(np.concatenate([heavy, even]))
