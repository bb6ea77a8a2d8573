"""Pictures drawn straight into palette indices: a millisecond each, for pages that want many.

A :class:`Paper` is a palette picture (one byte a pixel) with a frame, ticks and captions.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from PIL import ImageFont

from torchlogreg.viz.palette import LIGHT
from torchlogreg.viz.png import palette_png
from torchlogreg.viz.raster_inks import LEVELS, Inks

LONGEST = 300
"""Characters of a text that are drawn: more than any picture has room for."""

HEAD = 28
"""Rows that the caption's first line is written into, anew in every picture."""

LEFT, RIGHT, TOP, BOTTOM = 54, 12, 54, 48
"""Margins around the plot, in pixels: tick labels left and below, two caption rows above."""

PAD = 20
"""Invisible border of the plot area, so that markers need no clipping."""


class Paper:
    """A picture with a frame around a plot area, redrawn again and again over the same static part.

    Parameters
    ----------
    inks : Inks
    size : int
        Width and height in pixels, ``>= 160``.
    limits : tuple of float
        ``(left, right, bottom, top)`` of the plot, in data units.
    labels : tuple of str
        Names of the two axes.
    x_ticks, y_ticks : sequence of (float, str), optional
        Default: round numbers.
    """

    def __init__(
        self,
        inks: Inks,
        size: int,
        limits: tuple[float, float, float, float],
        labels: tuple[str, str],
        *,
        x_ticks: Sequence[tuple[float, str]] | None = None,
        y_ticks: Sequence[tuple[float, str]] | None = None,
    ) -> None:
        self.inks, self.size, self.limits = inks, size, limits
        self.width, self.height = size - LEFT - RIGHT, size - TOP - BOTTOM
        self._rows = np.full((size, 1 + size), inks.blank, np.uint8)
        self._rows[:, 0] = 0  # as PNG wants them: a filter before each
        self.image = self._rows[:, 1:]
        self._frame(labels, x_ticks, y_ticks)
        self.plot = np.full((self.height + 2 * PAD, self.width + 2 * PAD), inks.blank, np.uint8)

    @property
    def inside(self) -> np.ndarray:
        """The visible part of the plot area, a view (height, width)."""
        return self.plot[PAD:-PAD, PAD:-PAD]

    def columns(self, x: np.ndarray) -> np.ndarray:
        """Pixel coordinate across, 0 at the left edge of the plot."""
        left, right, _, _ = self.limits
        across: np.ndarray = (x - left) / (right - left) * (self.width - 1)
        return across

    def rows(self, y: np.ndarray) -> np.ndarray:
        """Pixel coordinate downwards, 0 at the upper edge of the plot."""
        _, _, bottom, top = self.limits
        down: np.ndarray = (top - y) / (top - bottom) * (self.height - 1)
        return down

    def grid(self) -> tuple[np.ndarray, np.ndarray]:
        """Data coordinates of the pixel columns (width,) and rows (height,)."""
        left, right, bottom, top = self.limits
        return np.linspace(left, right, self.width), np.linspace(top, bottom, self.height)

    def clear(self) -> None:
        """A blank plot with a line at every tick, in the last colour of the ramp."""
        self.inside[:] = self.inks.blank
        for value, _ in self.x_ticks:
            self.inside[:, self._column(value)] = self.inks.n_ramp - 1
        for value, _ in self.y_ticks:
            self.inside[self._row(value)] = self.inks.n_ramp - 1

    def text(
        self,
        words: str,
        x: int,
        y: int,
        *,
        colour: str = LIGHT.text,
        font: str = "DejaVuSans",
        points: int = 12,
        anchor: str = "left",
    ) -> int:
        """Write at pixel ``x`` with the middle of a line at ``y``; returns the width used."""
        shown, ink = lettering(self.inks, words, font, points, colour)
        height, width = len(shown), shown.size // len(shown)
        x -= {"left": 0, "middle": width // 2, "right": width}[anchor]
        y -= height // 2
        x, y = max(0, min(x, self.size - width)), max(0, min(y, self.size - height))
        self._write(shown, ink, x, y)
        return width

    def caption(self, head: str, tail: str) -> None:
        """The first caption row, anew: a head in bold to the left, figures right."""
        self.image[:HEAD] = self.inks.blank
        self.text(head, LEFT, TOP - 39, font="DejaVuSansMono-Bold", points=16)
        right = self.size - RIGHT
        self.text(tail, right, TOP - 39, colour=LIGHT.muted, points=13, anchor="right")

    def explain(self, words: str) -> None:
        """The second caption row, drawn once."""
        self.text(words, LEFT, TOP - 16, colour=LIGHT.muted, points=12)

    def png(self) -> bytes:
        """Put the plot into the frame and encode all as a palette PNG."""
        self.image[TOP : TOP + self.height, LEFT : LEFT + self.width] = self.inside
        return palette_png(self._rows, self.inks.bytes)

    def _frame(
        self,
        labels: tuple[str, str],
        x_ticks: Sequence[tuple[float, str]] | None,
        y_ticks: Sequence[tuple[float, str]] | None,
    ) -> None:
        """Two axes with ticks and names, drawn once."""
        bottom, image, line = TOP + self.height, self.image, self.inks.index(LIGHT.muted)
        image[bottom, LEFT - 1 : LEFT + self.width] = line
        image[TOP : bottom + 1, LEFT - 1] = line
        left, right, low, high = self.limits
        self.x_ticks = list(x_ticks) if x_ticks is not None else ticks(left, right)
        self.y_ticks = list(y_ticks) if y_ticks is not None else ticks(low, high)
        small: Any = {"colour": LIGHT.muted, "points": 12}
        for value, words in self.x_ticks:
            x = LEFT + self._column(value)
            image[bottom : bottom + 4, x] = line
            self.text(words, x, bottom + 13, anchor="middle", **small)
        for value, words in self.y_ticks:
            y = TOP + self._row(value)
            image[y, LEFT - 4 : LEFT] = line
            self.text(words, LEFT - 7, y, anchor="right", **small)
        small["points"] = 13
        self.text(labels[0], LEFT + self.width // 2, self.size - 12, anchor="middle", **small)
        self._upright(labels[1])

    def _upright(self, words: str) -> None:
        """The name of the vertical axis, read from below."""
        parts = lettering(self.inks, words, "DejaVuSans", 13, LIGHT.muted)
        shown, ink = (np.rot90(part)[-self.height :] for part in parts)
        self._write(shown, ink, 1, TOP + (self.height - len(shown)) // 2)

    def _write(self, shown: np.ndarray, ink: np.ndarray, x: int, y: int) -> None:
        """Palette entries (height, width) where there is ink; others' letters stay."""
        under = self.image[y : y + shown.shape[0], x : x + shown.shape[1]]
        height, width = under.shape
        np.copyto(under, shown[:height, :width], where=ink[:height, :width])

    def _column(self, value: float) -> int:
        """The pixel column of a tick."""
        left, right, _, _ = self.limits
        return round((value - left) / (right - left) * (self.width - 1))

    def _row(self, value: float) -> int:
        """The pixel row of a tick."""
        _, _, bottom, top = self.limits
        return round((top - value) / (top - bottom) * (self.height - 1))


@lru_cache(maxsize=2048)
def lettering(
    inks: Inks, words: str, font: str, points: int, colour: str
) -> tuple[np.ndarray, np.ndarray]:
    """A line of text on blank paper: palette entries (height, width), and where there is ink."""
    levels = glyphs(words, font, points)
    return inks.on_paper(colour).take(levels), levels > 0


def ticks(low: float, high: float) -> list[tuple[float, str]]:
    """Three to seven round numbers between two limits, with their texts."""
    if not 0 < high - low < math.inf:
        return [(low, f"{low:.4g}")]
    rough = (high - low) / 5
    power = 10.0 ** math.floor(math.log10(rough))
    step = power * next(m for m in (1, 2, 5, 10) if m * power >= rough)
    first, last = math.ceil(low / step), math.floor(high / step)
    texts = [f"{i * step:.6g}".replace("-", "−") for i in range(first, last + 1)]
    return [(i * step, text) for i, text in zip(range(first, last + 1), texts, strict=True)]


@lru_cache(maxsize=2048)
def glyphs(words: str, font: str = "DejaVuSans", points: int = 12) -> np.ndarray:
    """Opacity levels (height, width) of a line of text, of which ``LONGEST`` characters count."""
    face = _font(font, points)
    words = " ".join(words[:LONGEST].splitlines())  # the layout fails at a line end
    mask = face.getmask(words, mode="L")
    width, height = mask.size
    if not width or not height:
        return np.zeros((1, 1), np.uint8)
    opacity = np.frombuffer(bytes(mask), np.uint8).reshape(height, width)
    top, line = round(face.getbbox(words)[1]), sum(face.getmetrics())
    levels = np.zeros((max(line, top + height), width), np.uint8)  # all lines share a baseline
    levels[top : top + height] = (opacity.astype(np.uint16) * LEVELS + 127) // 255
    return levels


@cache
def _font(name: str, points: int) -> ImageFont.FreeTypeFont:
    """DejaVu as shipped with matplotlib, so that pictures are the same everywhere."""
    folder = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    return ImageFont.truetype(str(folder / f"{name}.ttf"), points)
