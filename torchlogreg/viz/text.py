"""Text that changes on every frame, drawn from cached glyphs: ten times as fast as Text."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from matplotlib.backends.backend_agg import RendererAgg
from matplotlib.colors import to_rgba
from matplotlib.font_manager import FontProperties
from matplotlib.text import Text
from matplotlib.transforms import Bbox


class Glyph(NamedTuple):
    """One character: its coverage (rows, columns) of bytes, and how far it moves the pen."""

    mask: np.ndarray
    advance: float


class Face(NamedTuple):
    """A font at a size: family, weight, points, dots per inch."""

    family: str
    weight: str | int
    points: float
    dpi: float


class FastText(Text):
    """Upright plain text in one of our own fonts; on other canvases than Agg an ordinary Text.

    Laying out and rasterising a line of text costs matplotlib about a millisecond; a film shows ten
    lines on every frame, of which mostly digits change.

    Attributes
    ----------
    halo : (str, float) or None
        Colour and width, in points, of what surrounds the letters, as ``withStroke`` draws it.
    """

    halo: tuple[str, float] | None = None

    def draw(self, renderer: Any) -> None:
        """Paste the glyphs; without them (PDF, SVG) leave it to matplotlib."""
        if not isinstance(renderer, RendererAgg):
            super().draw(renderer)
            return
        if not self.get_visible() or not self.get_text():
            return
        mask, (left, bottom) = self._mask(), self._corner()
        if self.halo is not None:
            color, width = self.halo
            figure: Any = self.get_figure(root=True)
            around, reach = widened(mask.tobytes(), mask.shape, width / 2 * figure.dpi / 72)
            self._paste(renderer, around, left - reach, bottom - reach, color)
        self._paste(renderer, mask, left, bottom, self.get_color())

    def _paste(self, renderer: Any, mask: np.ndarray, left: int, bottom: int, color: Any) -> None:
        """Lay a colour over the canvas where the mask covers it."""
        red, green, blue, opacity = to_rgba(color, self.get_alpha())
        picture = np.empty((*mask.shape, 4), np.uint8)
        picture[..., :3] = np.round(np.array([red, green, blue]) * 255)
        picture[..., 3] = mask if opacity == 1 else np.round(mask * opacity)
        gc = renderer.new_gc()
        renderer.draw_image(gc, left, bottom, picture[::-1])  # Agg counts rows from below
        gc.restore()

    def get_window_extent(self, renderer: Any = None, dpi: Any = None) -> Bbox:
        """Where it is drawn, in pixels."""
        if not self.get_text():
            return super().get_window_extent(renderer, dpi)
        (rows, columns), (left, bottom) = self._mask().shape, self._corner()
        return Bbox.from_bounds(left, bottom, columns, rows)

    def _mask(self) -> np.ndarray:
        """Coverage of all lines."""
        figure: Any = self.get_figure(root=True)
        face = Face(
            self.get_fontfamily()[0], self.get_fontweight(), float(self.get_fontsize()), figure.dpi
        )
        spacing = 1.15
        lines = [line_mask(line, face) for line in self.get_text().split("\n")]
        height = lines[0].shape[0]
        step = round(height * spacing * 0.86)
        mask = np.zeros(
            (height + step * (len(lines) - 1), max(line.shape[1] for line in lines)), np.uint8
        )
        for i, line in enumerate(lines):
            part = mask[i * step : i * step + height, : line.shape[1]]
            np.maximum(part, line, out=part)
        return mask

    def _corner(self) -> tuple[int, int]:
        """Lower left corner in pixels."""
        rows, columns = self._mask().shape
        x, y = self.get_transform().transform(self.get_position())
        x -= {"left": 0.0, "center": 0.5, "right": 1.0}[self.get_horizontalalignment()] * columns
        share = {"bottom": 0.0, "baseline": 0.25, "center": 0.5, "top": 1.0}
        y -= share.get(self.get_verticalalignment(), 0.5) * rows
        return round(x), round(y)


@lru_cache(maxsize=64)
def widened(mask: bytes, shape: tuple[int, int], radius: float) -> tuple[np.ndarray, int]:
    """Coverage of all within ``radius`` pixels of a mask, and by how many pixels it is larger."""
    reach = int(np.ceil(radius + 0.5))
    inner = np.pad(np.frombuffer(mask, np.uint8).reshape(shape), 2 * reach).astype(float)
    rows, columns = shape[0] + 2 * reach, shape[1] + 2 * reach
    found = np.zeros((rows, columns))
    for down in range(-reach, reach + 1):
        for right in range(-reach, reach + 1):
            share = float(np.clip(radius + 0.5 - np.hypot(down, right), 0, 1))  # a soft edge
            top, left = reach + down, reach + right
            np.maximum(found, share * inner[top : top + rows, left : left + columns], out=found)
    return np.asarray(found.round(), np.uint8), reach


@lru_cache(maxsize=256)
def line_mask(line: str, face: Face) -> np.ndarray:
    """Coverage of one line (rows, columns): the same rows for every line of a face."""
    em = face.points * face.dpi / 72
    pad = int(em)
    glyphs = [glyph(character, face) for character in line]
    width = int(np.ceil(sum(g.advance for g in glyphs)))
    rows = int(np.ceil(1.3 * em))
    canvas, pen = np.zeros((rows, width + 2 * pad), np.uint8), float(pad)
    for mask, advance in glyphs:
        start = round(pen) - pad
        part = canvas[:, start : start + mask.shape[1]]
        np.maximum(part, mask[:, : part.shape[1]], out=part)
        pen += advance
    return canvas[:, pad : pad + max(width, 1)]


@lru_cache(maxsize=4096)
def glyph(character: str, face: Face) -> Glyph:
    """Draw one character with matplotlib, once."""
    em = face.points * face.dpi / 72
    pad, rows = int(em), int(np.ceil(1.3 * em))
    font = FontProperties(family=[face.family], weight=face.weight, size=face.points)
    make: Any = RendererAgg
    renderer = make(int(3 * em) + 2, rows, face.dpi)

    def width(text: str) -> float:
        """Pixels that matplotlib advances."""
        return float(renderer.get_text_width_height_descent(text, font, False)[0])

    gc = renderer.new_gc()
    gc.set_foreground("black")
    if not character.isspace():
        renderer.draw_text(gc, pad, round(rows - 0.32 * em), character, font, 0)
    mask = np.asarray(renderer.buffer_rgba())[..., 3].copy()
    # Between bars, because the width of a text alone may be that of its ink.
    return Glyph(mask, (width("|" + character * 8 + "|") - width("||")) / 8)
