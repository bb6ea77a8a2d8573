"""What all pictures of a fit's rows have in common: targets, names, colours, limits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from torchlogreg.viz.palette import LIGHT
from torchlogreg.viz.raster import RIGHT, Paper
from torchlogreg.viz.raster_inks import ramp
from torchlogreg.viz.raster_points import class_colours, legend

Mean = Callable[[np.ndarray], np.ndarray]
"""From ``eta (t, k)`` to the mean response: (t,), or probabilities (t, K)."""

FIELD = 96
"""Colours of a probability field."""

SHADES = 8
"""Colours of the markers of a numeric response."""


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
    n_rows : int
        Rows there are, if not all of them are shown.
    """

    y: np.ndarray
    class_names: tuple[str, ...]
    ordered: bool
    labels: tuple[str, str]
    size: int = 480
    sized: bool = False
    n_rows: int = 0

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


def around(values: np.ndarray) -> tuple[float, float]:
    """Limits with a margin of six per cent."""
    low, high = float(values.min()), float(values.max())
    margin = 0.06 * (high - low) or 0.5
    return low - margin, high + margin


def explain(paper: Paper, scene: Scene) -> None:
    """What the markers mean and how many there are, drawn once."""
    if scene.n_rows > len(scene.y):
        words = f"{len(scene.y):,} of {scene.n_rows:,} rows"
        right, foot = paper.size - RIGHT, paper.size - 12
        paper.text(words, right, foot, colour=LIGHT.muted, points=11, anchor="right")
    if scene.class_names:
        legend(paper, scene.class_names, scene.colours, mistakes=True, sized=scene.sized)
    elif paper.inks.n_ramp == FIELD:
        paper.explain("darker = larger: field predicted, markers observed")
    else:
        paper.explain("markers: observed response")
