"""The loss over two directions of parameter space, from above, with the path so far."""

from __future__ import annotations

from functools import cache

import numpy as np

from torchlogreg.viz.palette import LIGHT
from torchlogreg.viz.raster import Paper
from torchlogreg.viz.raster_inks import inks, ramp
from torchlogreg.viz.raster_marks import mask, places, stamp, trace, visible

BANDS = 28
"""Colours of the surface, from low to high loss."""

GRID = 17
"""Points a side at which the loss is computed; pixels are interpolated."""

DECADES = 4.0
"""Powers of ten of excess loss that the colours span, below the highest."""

FAR = 1e30
"""Places farther out (or NaN) are not shown: the fit has diverged."""

PATH = 12
"""Colours along the path, from the first epoch to the last."""


class SurfacePicture:
    """A loss surface in one hue, and the way the parameters went, from yellow to red.

    Parameters
    ----------
    size : int
        Pixels.
    labels : tuple of str
        Names of the two directions.
    """

    def __init__(self, size: int, labels: tuple[str, str]) -> None:
        self.size, self.labels = size, labels
        self.path_colours = tuple(_hex(rgb) for rgb in ramp(LIGHT.path, PATH))
        self.inks = inks(LIGHT.surface, BANDS, self.path_colours)
        self.limits = (0.0, 0.0, 0.0, 0.0)
        self.paper: Paper | None = None

    def window(self, path: np.ndarray) -> tuple[float, float, float, float]:
        """Limits ``(left, right, bottom, top)`` that show the path (m, 2).

        They stay as they are while the path fits, so that pictures can be compared.
        """
        path = path[(np.abs(path) < FAR).all(1)]  # NaN compares false
        low, high = path.min(0), path.max(0)
        left, right, bottom, top = self.limits
        if self.paper is None or (low < (left, bottom)).any() or (high > (right, top)).any():
            reach = np.maximum(high - low, max(1.0, 0.25 * float((high - low).max())))
            middle = (high + low) / 2
            left, bottom = (float(v) for v in middle - 0.85 * reach)
            right, top = (float(v) for v in middle + 0.85 * reach)
            self.limits = (left, right, bottom, top)
            self.paper = Paper(self.inks, self.size, self.limits, self.labels)
            words = "darker = lower loss (log); path from yellow to red"
            self.paper.explain(words)
        return self.limits

    def draw(
        self, loss: np.ndarray, path: np.ndarray, here: float, caption: tuple[str, str]
    ) -> bytes:
        """A palette PNG.

        Parameters
        ----------
        loss : ndarray, shape (GRID, GRID)
            Rows from the top of the window down, columns from left to right.
        path : ndarray, shape (m, 2)
            Places so far, the first to the last.
        here : float
            Loss at the last place: the darkest band ends at the lowest loss seen.
        caption : tuple of str
            Head and figures.
        """
        paper = self.paper
        if paper is None:
            raise ValueError("window() comes before draw(): it decides where to look")
        paper.inside[:] = _bands(loss, here, paper.height, paper.width)
        path = path[(np.abs(path) < FAR).all(1)]  # NaN compares false
        x, y = paper.columns(path[:, 0]), paper.rows(path[:, 1])
        trace(paper, x, y, self.path_colours, width=1.6)
        for place, colour, radius in ((0, 0, 4.0), (-1, -1, 5.0)):
            keep = visible(paper, x[[place]], y[[place]])
            at = places(paper, x[[place]][keep], y[[place]][keep])
            stamp(paper, at, mask("circle", radius, 1.6), self.path_colours[colour])
        paper.caption(*caption)
        return paper.png()


def _bands(loss: np.ndarray, here: float, height: int, width: int) -> np.ndarray:
    """Palette entries (height, width): bands of log excess loss with thin lines between."""
    finite = loss[np.isfinite(loss)]
    highest = float(finite.max()) if len(finite) else 1.0
    filled = np.where(np.isfinite(loss), loss, highest).astype(np.float32)
    smooth = _weights(height) @ filled @ _weights(width).T  # the loss is smooth, its log is not
    lowest = min(float(smooth.min()), here if np.isfinite(here) else highest)
    span = np.float32((highest - lowest) or 1.0)
    excess = np.maximum((smooth - np.float32(lowest)) / span, np.float32(10**-DECADES))
    level = 1 + np.log10(excess) / np.float32(DECADES)
    band = np.clip(level * BANDS, 0, BANDS - 1).astype(np.uint8)
    edge = np.zeros(band.shape, bool)
    edge[:, 1:] = band[:, 1:] != band[:, :-1]
    edge[1:] |= band[1:] != band[:-1]
    lighter = np.minimum(band + 3, BANDS - 1)
    shown: np.ndarray = np.where(edge, lighter, band)
    return shown


@cache
def _weights(n: int) -> np.ndarray:
    """Cubic interpolation (Catmull-Rom) from GRID points to n pixels, (n, GRID)."""
    at = np.linspace(0, GRID - 1, n)
    left = np.clip(at.astype(int), 0, GRID - 2)
    t = at - left
    cubic = (
        -0.5 * t + t**2 - 0.5 * t**3,
        1 - 2.5 * t**2 + 1.5 * t**3,
        0.5 * t + 2 * t**2 - 1.5 * t**3,
        -0.5 * t**2 + 0.5 * t**3,
    )
    weights = np.zeros((n, GRID))
    for shift, part in zip((-1, 0, 1, 2), cubic, strict=True):
        np.add.at(weights, (np.arange(n), np.clip(left + shift, 0, GRID - 1)), part)
    return weights.astype(np.float32)


def _hex(rgb: np.ndarray) -> str:
    return "#{:02X}{:02X}{:02X}".format(*rgb)
