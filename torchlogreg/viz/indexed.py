"""Few colours for a whole film, and frames that differ only where something can be seen to move.

GIF, and WebP without loss, store what changed since the frame before. Lines are drawn anew on
every frame, and their soft edges come out a shade darker here and lighter there: unseen, but half
the bytes. A pixel therefore keeps its colour until it has changed visibly.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from torchlogreg.viz.selection import select_frames

if TYPE_CHECKING:
    from torchlogreg.viz.film import Film

Box = tuple[int, int, int, int]
"""Left, top, right, bottom in pixels from the upper left corner."""

FAINT, ALONE = 32, 80
"""Largest change of a channel (of 255) that a pixel ignores: anywhere, and where no neighbour
changes by more."""

EXACT = 8
"""A colour so near to one of the palette counts as flat, not as the edge of something."""

BITS = 6
"""Of each channel, when the nearest colour is looked up."""


def palette(film: Film, n_colors: int) -> np.ndarray:
    """Colours that suit eight frames of a film, (n_colors, 3) of uint8.

    1. Start with the most frequent colour.
    2. Add the one with the largest distance to those chosen, times the root of its frequency:
       paper and ink come out exact, and a thin path is not forgotten beside a wide surface.
    """
    frames = film.pixels([film.frames[i] for i in select_frames(len(film), 8)])
    pixels = np.concatenate([frame[::2, ::2, :3].reshape(-1, 3) for frame in frames])
    packed = pixels.astype(np.int32) @ np.array([65536, 256, 1], np.int32)
    codes, counts = np.unique(packed, return_counts=True)
    colors = np.stack([codes >> 16, codes >> 8 & 255, codes & 255], axis=1).astype(np.float32)
    chosen = [int(counts.argmax())]  # 1.
    distance = np.full(len(colors), np.inf, np.float32)
    for _ in range(n_colors - 1):  # 2.
        distance = np.minimum(distance, np.square(colors - colors[chosen[-1]]).sum(axis=1))
        chosen.append(int((np.sqrt(counts) * distance).argmax()))
    return np.asarray(colors[chosen], np.uint8)


class Indexer:
    """Frames, one after another, as indices into a palette.

    Parameters
    ----------
    colors : ndarray of uint8, shape (k, 3)
        At most 255; the palette's last entry means "as it was".
    faint, alone : int
        Changes to ignore, see ``FAINT``. Zero takes the nearest colour always.
    """

    def __init__(self, colors: np.ndarray, *, faint: int = FAINT, alone: int = ALONE) -> None:
        self.colors = colors.astype(np.int16)
        self.faint, self.alone = faint, alone
        self._nearest = _nearest(colors)
        self._frame: np.ndarray | None = None
        self._index: np.ndarray = np.zeros((0, 0), np.uint8)

    @property
    def table(self) -> np.ndarray:
        """256 entries RGBA, the last of them transparent, (256, 4) of uint8."""
        table = np.full((256, 4), 255, np.uint8)
        table[:, :3] = self.colors[0]
        table[: len(self.colors), :3] = self.colors
        table[-1, 3] = 0
        return table

    def __call__(self, frame: np.ndarray, sharp: Sequence[Box] = ()) -> np.ndarray:
        """Indices (height, width) of uint8 for a frame, RGBA; valid until the next.

        In the boxes ``sharp`` every change counts: of a digit left standing one reads another.
        """
        pixels = np.ascontiguousarray(frame).view(np.uint32)[..., 0]
        if self._frame is None:
            self._index = self._look_up(frame.reshape(-1, 4)).reshape(pixels.shape)
        else:
            changed = np.flatnonzero(pixels != self._frame)
            self._change(changed, frame.reshape(-1, 4)[changed])
        for left, top, right, bottom in sharp:
            part = frame[top:bottom, left:right]
            if part.size:
                index = self._look_up(part.reshape(-1, 4)).reshape(part.shape[:2])
                self._index[top:bottom, left:right] = index
        self._frame = pixels.copy()
        return self._index

    def _look_up(self, color: np.ndarray) -> np.ndarray:
        red, green, blue = (color[:, i].astype(np.int32) >> (8 - BITS) for i in range(3))
        return np.asarray(self._nearest[red << 2 * BITS | green << BITS | blue])

    def _change(self, changed: np.ndarray, color: np.ndarray) -> None:
        """Recolour pixels where it can be seen; a palette colour, or nearly, is always taken.

        Without that exception a line that has left would leave its soft edge behind on the paper.
        """
        flat, width = self._index.reshape(-1), self._index.shape[1]
        old, new = flat[changed], self._look_up(color)
        signed = color[:, :3].astype(np.int16)
        change = np.abs(signed - self.colors[old]).max(axis=1)
        exact = np.abs(signed - self.colors[new]).max(axis=1) <= EXACT
        strong = np.zeros(flat.size + 2 * width, bool)  # a row of margin above and below
        strong[changed[change > self.alone] + width] = True
        near = np.any([strong[changed + width + d] for d in (-1, 1, -width, width)], axis=0)
        seen = exact | (change > self.alone) | ((change > self.faint) & near)
        flat[changed[seen]] = new[seen]


def _nearest(colors: np.ndarray) -> np.ndarray:
    """Index of the nearest colour for every RGB of ``BITS`` bits, exact for the colours."""
    levels = (np.arange(1 << BITS, dtype=np.float32) + 0.5) * (256 >> BITS)
    grid = np.stack(np.meshgrid(levels, levels, levels, indexing="ij"), axis=-1).reshape(-1, 3)
    known = colors.astype(np.float32)
    nearest = np.empty(len(grid), np.uint8)
    for part in np.array_split(np.arange(len(grid)), 16):
        apart = np.square(known).sum(axis=1) - 2 * grid[part] @ known.T
        nearest[part] = apart.argmin(axis=1)
    cells = colors.astype(np.int32) >> (8 - BITS)
    backwards = slice(None, None, -1)  # of two in one cell the more important, the earlier, wins
    places = cells[:, 0] << 2 * BITS | cells[:, 1] << BITS | cells[:, 2]
    nearest[places[backwards]] = np.arange(len(colors), dtype=np.uint8)[backwards]
    return nearest
