"""Inks: the palette of a picture, and which of its entries a colour laid over another gives.

Colours are blended by table: ``ink(colour)[level, index]`` is the palette entry nearest to
``colour`` laid over entry ``index`` with opacity ``level / LEVELS``, so edges are smooth without a
single float.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np
from matplotlib.colors import to_rgb

from torchlogreg.viz.palette import LIGHT, color_table

LEVELS = 4
"""Opacities an edge pixel can have."""


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
        self.blank = int(self.nearest(paper))
        self._entries: dict[str, int] = {}
        self._tables: dict[str, np.ndarray] = {}
        self.blends: dict[object, np.ndarray] = {}  # of whole markers, kept by who stamps them

    def nearest(self, rgb: np.ndarray) -> np.ndarray:
        """Palette entries closest to the colours (..., 3)."""
        distance = (self.rgb**2).sum(1) - 2 * rgb @ self.rgb.T
        nearest: np.ndarray = distance.argmin(-1).astype(np.uint8)
        return nearest

    def index(self, colour: str) -> int:
        """The entry of a colour."""
        if colour not in self._entries:
            self._entries[colour] = int(self.nearest(_rgb(colour)))
        return self._entries[colour]

    def ink(self, colour: str) -> np.ndarray:
        """Blending table (LEVELS + 1, 256): opacity, entry below -> entry shown."""
        if colour not in self._tables:
            over = [_mix(self.rgb, _rgb(colour), level / LEVELS) for level in range(LEVELS + 1)]
            table = np.zeros((LEVELS + 1, 256), np.uint8)
            table[:, : len(self.rgb)] = self.nearest(np.stack(over))
            table[0] = np.arange(256)
            self._tables[colour] = table
        return self._tables[colour]

    def on_paper(self, colour: str) -> np.ndarray:
        """The entries of its opacities over blank paper (LEVELS + 1,)."""
        over: np.ndarray = self.ink(colour)[:, self.blank]
        return over


@cache
def inks(stops: tuple[str, ...], n: int, solid: tuple[str, ...], soft: bool = False) -> Inks:
    """The palette of a ramp between these stops; made once, since it takes milliseconds.

    ``soft`` moves the ramp a third nearer to the paper, so that markers stand out on it.
    """
    colours = ramp(stops, n)
    if soft:
        colours = (colours * 0.68 + 255 * 0.32).astype(np.uint8)
    return Inks(colours, solid)


def ramp(stops: tuple[str, ...], n: int) -> np.ndarray:
    """Colours between the stops, (n, 3) bytes."""
    return color_table(stops, n)[:, :3]


def _rgb(colour: str) -> np.ndarray:
    return np.array(to_rgb(colour)) * 255


def _mix(below: np.ndarray, above: np.ndarray, opacity: float) -> np.ndarray:
    mixed: np.ndarray = below + (above - below) * opacity
    return mixed
