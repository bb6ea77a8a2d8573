"""Pictures drawn straight into palette indices: a millisecond each, for pages that want many.

A :class:`Paper` is a palette picture (one byte a pixel) with a frame, ticks and captions. Colours
are blended by table: ``ink(colour)[level, index]`` is the palette entry nearest to ``colour`` laid
over entry ``index`` with opacity ``level / LEVELS``, so edges are smooth without a single float.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.colors import to_rgb
from PIL import ImageFont

from torchlogreg.viz.palette import LIGHT, color_table
from torchlogreg.viz.png import palette_png

LEVELS = 4
"""Opacities an edge pixel can have."""

LONGEST = 300
"""Characters of a text that are drawn: more than any picture has room for."""

LEFT, RIGHT, TOP, BOTTOM = 54, 12, 54, 48
"""Margins around the plot, in pixels: tick labels left and below, two caption rows above."""

PAD = 20
"""Invisible border of the plot area, so that markers need no clipping."""


class Inks:
    """A palette: a ramp, a darker copy of it, and solid colours with their blends.

    Parameters
    ----------
    ramp : ndarray, shape (m, 3), bytes
        Colours of the field, ``m <= 128``; entries 0 ... m - 1 of the palette.
    solid : sequence of str
        Further colours, hexadecimal.
    """

    def __init__(self, ramp: np.ndarray, solid: Sequence[str]) -> None:
        paper, dark = _rgb(LIGHT.background), _rgb(LIGHT.text)
        shades = [ramp.astype(float)]
        shades += [_mix(ramp[:: max(1, len(ramp) // 24)], dark, t) for t in (0.35, 0.7)]
        shades += [np.stack([_mix(paper, dark, t) for t in np.linspace(0, 1, 9)])]
        for colour in (LIGHT.muted, *solid):
            rgb = _rgb(colour)
            mixed = [_mix(rgb, paper, t) for t in (0, 0.35, 0.7)] + [_mix(rgb, dark, 0.5)]
            shades.append(np.stack(mixed))
        rgb = np.concatenate(shades).round()[:256]
        self.n_ramp = len(ramp)
        self.rgb = rgb
        self.bytes = rgb.astype(np.uint8).tobytes()
        self._tables: dict[str, np.ndarray] = {}
        self.blends: dict[object, np.ndarray] = {}  # of whole markers, kept by who stamps them

    def nearest(self, rgb: np.ndarray) -> np.ndarray:
        """Palette entries closest to the colours (..., 3)."""
        distance = (self.rgb**2).sum(1) - 2 * rgb @ self.rgb.T
        nearest: np.ndarray = distance.argmin(-1).astype(np.uint8)
        return nearest

    def index(self, colour: str) -> int:
        """The entry of a colour."""
        return int(self.nearest(_rgb(colour)))

    def ink(self, colour: str) -> np.ndarray:
        """Blending table (LEVELS + 1, 256): opacity, entry below -> entry shown."""
        if colour not in self._tables:
            over = [_mix(self.rgb, _rgb(colour), level / LEVELS) for level in range(LEVELS + 1)]
            table = np.zeros((LEVELS + 1, 256), np.uint8)
            table[:, : len(self.rgb)] = self.nearest(np.stack(over))
            table[0] = np.arange(256)
            self._tables[colour] = table
        return self._tables[colour]


@cache
def inks(stops: tuple[str, ...], n: int, solid: tuple[str, ...], soft: bool = False) -> Inks:
    """The palette of a ramp between these stops; made once, since it takes milliseconds.

    ``soft`` moves the ramp a third nearer to the paper, so that markers stand out on it.
    """
    colours = ramp(stops, n)
    if soft:
        colours = (colours * 0.68 + 255 * 0.32).astype(np.uint8)
    return Inks(colours, solid)


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
        self.static = np.full((size, size), inks.index(LIGHT.background), np.uint8)
        self._frame(labels, x_ticks, y_ticks)
        self._rows = np.zeros((size, 1 + size), np.uint8)  # as PNG wants them: a filter before each
        self.image = self._rows[:, 1:]
        blank = inks.index(LIGHT.background)
        self.plot = np.full((self.height + 2 * PAD, self.width + 2 * PAD), blank, np.uint8)

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
        self.inside[:] = self.inks.index(LIGHT.background)
        for value, _ in self.x_ticks:
            self.inside[:, round(float(self.columns(np.array(value))))] = self.inks.n_ramp - 1
        for value, _ in self.y_ticks:
            self.inside[round(float(self.rows(np.array(value))))] = self.inks.n_ramp - 1

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
        static: bool = False,
    ) -> int:
        """Write at pixel ``x`` with the middle of a line at ``y``; returns the width used."""
        mask = glyphs(words, font, points)
        height, width = int(mask.shape[0]), int(mask.shape[1])
        x -= {"left": 0, "middle": width // 2, "right": width}[anchor]
        y -= height // 2
        x, y = max(0, min(x, self.size - width)), max(0, min(y, self.size - height))
        target = self.static if static else self.image
        under = target[y : y + height, x : x + width]
        under[:] = self.inks.ink(colour)[mask[: under.shape[0], : under.shape[1]], under]
        return width

    def caption(self, head: str, tail: str) -> None:
        """Start afresh, with the first caption row: a head in bold to the left, figures right."""
        np.copyto(self.image, self.static)  # fresh memory costs more than the copy
        self.text(head, LEFT, TOP - 39, font="DejaVuSansMono-Bold", points=16)
        right = self.size - RIGHT
        self.text(tail, right, TOP - 39, colour=LIGHT.muted, points=13, anchor="right")

    def explain(self, words: str) -> None:
        """The second caption row, drawn once."""
        self.text(words, LEFT, TOP - 16, colour=LIGHT.muted, points=12, static=True)

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
        bottom = TOP + self.height
        line = self.inks.index(LIGHT.muted)
        self.static[bottom, LEFT - 1 : LEFT + self.width] = line
        self.static[TOP : bottom + 1, LEFT - 1] = line
        left, right, low, high = self.limits
        self.x_ticks = list(x_ticks) if x_ticks is not None else ticks(left, right)
        self.y_ticks = list(y_ticks) if y_ticks is not None else ticks(low, high)
        small: Any = {"colour": LIGHT.muted, "points": 12, "static": True}
        for value, words in self.x_ticks:
            x = LEFT + round(float(self.columns(np.array(value))))
            self.static[bottom : bottom + 4, x] = line
            self.text(words, x, bottom + 13, anchor="middle", **small)
        for value, words in self.y_ticks:
            y = TOP + round(float(self.rows(np.array(value))))
            self.static[y, LEFT - 4 : LEFT] = line
            self.text(words, LEFT - 7, y, anchor="right", **small)
        small["points"] = 13
        self.text(labels[0], LEFT + self.width // 2, self.size - 12, anchor="middle", **small)
        self._upright(labels[1])

    def _upright(self, words: str) -> None:
        """The name of the vertical axis, read from below."""
        mask = np.rot90(glyphs(words, "DejaVuSans", 13))[-self.height :]
        top = TOP + (self.height - mask.shape[0]) // 2
        under = self.static[top : top + mask.shape[0], 1 : 1 + mask.shape[1]]
        under[:] = self.inks.ink(LIGHT.muted)[mask, under]


def ticks(low: float, high: float) -> list[tuple[float, str]]:
    """Three to seven round numbers between two limits, with their texts."""
    if not 0 < high - low < np.inf:
        return [(low, f"{low:.4g}")]
    rough = (high - low) / 5
    power = 10.0 ** np.floor(np.log10(rough))
    step = power * next(m for m in (1, 2, 5, 10) if m * power >= rough)
    first, last = int(np.ceil(low / step)), int(np.floor(high / step))
    texts = [f"{i * step:.6g}".replace("-", "−") for i in range(first, last + 1)]
    return [(i * step, text) for i, text in zip(range(first, last + 1), texts, strict=True)]


@cache
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


def ramp(stops: tuple[str, ...], n: int) -> np.ndarray:
    """Colours between the stops, (n, 3) bytes."""
    return color_table(stops, n)[:, :3]


@cache
def _font(name: str, points: int) -> ImageFont.FreeTypeFont:
    """DejaVu as shipped with matplotlib, so that pictures are the same everywhere."""
    folder = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    return ImageFont.truetype(str(folder / f"{name}.ttf"), points)


def _rgb(colour: str) -> np.ndarray:
    return np.array(to_rgb(colour)) * 255


def _mix(below: np.ndarray, above: np.ndarray, opacity: float) -> np.ndarray:
    mixed: np.ndarray = below + (above - below) * opacity
    return mixed
