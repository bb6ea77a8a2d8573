"""Markers and lines for palette pictures: small masks stamped by one indexed assignment."""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import numpy as np

from torchlogreg.viz.palette import LIGHT
from torchlogreg.viz.raster import PAD, Paper
from torchlogreg.viz.raster_inks import LEVELS

SHAPES = ("square", "circle", "triangle", "diamond", "cross", "hexagon")
"""By class; class 0 a square and class 1 a circle, as in all pictures here."""

LARGEST = PAD - 3.0
"""Largest radius of a marker, in pixels."""


class Mask(NamedTuple):
    """Pixels of a marker around its centre, and how much of each is edge and is inside."""

    rows: np.ndarray
    columns: np.ndarray
    cover: np.ndarray
    fill: np.ndarray
    key: tuple[str, float, float, float, float]  # what it was made from


@cache
def mask(shape: str, radius: float, edge: float, down: float = 0.0, right: float = 0.0) -> Mask:
    """Opacity levels of a marker whose inside has this radius and whose edge is this wide.

    ``down`` and ``right`` move its centre by parts of a pixel.
    """
    reach = int(np.ceil(radius + edge)) + 1
    fine = (np.arange((2 * reach + 1) * 4) + 0.5) / 4 - reach - 0.5  # 4 x 4 samples a pixel
    y, x = fine[:, None] - down, fine[None, :] - right
    distance = _distance(shape, x, y)
    covers, fills = (
        (distance <= r).reshape(2 * reach + 1, 4, 2 * reach + 1, 4).mean((1, 3))
        for r in (radius + edge, radius)
    )
    cover = np.rint(covers * LEVELS).astype(np.uint8)
    fill = np.rint(fills * LEVELS).astype(np.uint8)
    rows, columns = np.nonzero(cover)
    key = (shape, radius, edge, down, right)
    return Mask(rows - reach, columns - reach, cover[rows, columns], fill[rows, columns], key)


def stamp(
    paper: Paper,
    at: np.ndarray,
    shape: Mask,
    colour: str,
    edge: str = LIGHT.background,
) -> None:
    """Put a marker on the plot at every one of ``places`` (m,), in the order given.

    The edge is blended over what lies below, the inside over the edge.
    """
    width, flat, blends = paper.plot.shape[1], paper.plot.reshape(-1), paper.inks.blends
    if (shape.key, colour, edge) not in blends:  # each pixel of the marker: entry below -> shown
        over = paper.inks.ink(colour)[shape.fill[:, None], paper.inks.ink(edge)[shape.cover]]
        blends[shape.key, colour, edge] = over.reshape(-1)
    shown = blends[shape.key, colour, edge]
    where = at[:, None] + (shape.rows * width + shape.columns)  # (m, pixels of the marker)
    flat[where] = shown.take(flat.take(where) + np.arange(0, len(shown), 256))


def places(paper: Paper, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Where in the flattened plot, with its border, the pixel positions (m,) are."""
    row, column = np.rint(y).astype(np.intp) + PAD, np.rint(x).astype(np.intp) + PAD
    at: np.ndarray = row * paper.plot.shape[1] + column
    return at


def visible(paper: Paper, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Which pixel positions lie on the plot or just beside it, so that a marker may go there."""
    inside: np.ndarray = (x >= -2) & (x <= paper.width + 1) & (y >= -2) & (y <= paper.height + 1)
    return inside


def trace(
    paper: Paper, x: np.ndarray, y: np.ndarray, colours: tuple[str, ...], *, width: float = 1.25
) -> None:
    """A smooth line through pixel positions, cased in white, running through ``colours``."""
    x, y = _resample(x, y)
    piece = np.arange(len(x)) * len(colours) // max(1, len(x))
    keep = visible(paper, x, y)
    x, y, piece = x[keep], y[keep], piece[keep]
    cover, _ = _swept(paper, x, y, width + 1.0, piece)
    _lay(paper, cover, LIGHT.background)
    cover, of = _swept(paper, x, y, width, piece)
    where = np.flatnonzero(cover > 0)  # of booleans: ten times as fast
    flat, tables = paper.plot.reshape(-1), np.stack([paper.inks.ink(c) for c in colours])
    flat[where] = tables[of[where], cover[where], flat[where]]


def line(paper: Paper, x: np.ndarray, y: np.ndarray, colour: str, *, width: float = 1.25) -> None:
    """A smooth line through pixel positions, without a casing."""
    x, y = _resample(x, y)
    keep = visible(paper, x, y)
    cover, _ = _swept(paper, x[keep], y[keep], width, np.zeros(int(keep.sum()), np.intp))
    _lay(paper, cover, colour)


def _swept(
    paper: Paper, x: np.ndarray, y: np.ndarray, radius: float, piece: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Opacity of what a disc covers on its way, and the last piece of the way that touched it."""
    cover, of = np.zeros(paper.plot.size, np.uint8), np.zeros(paper.plot.size, np.uint8)
    width = paper.plot.shape[1]
    quarters = np.rint(np.stack((y, x)) * 4).astype(np.intp) + 4 * PAD
    row, column = quarters // 4
    part = (quarters[0] % 4) * 4 + quarters[1] % 4
    for at in np.unique(part):
        disc = mask("circle", radius, 0, at // 4 / 4, at % 4 / 4)
        here = part == at
        where = (row[here] * width + column[here])[:, None] + disc.rows * width + disc.columns
        np.maximum.at(cover, where.ravel(), np.tile(disc.cover, len(where)))
        of[where] = piece[here][:, None]
    return cover, of


def _lay(paper: Paper, cover: np.ndarray, colour: str) -> None:
    """Blend a colour over the plot, by opacity."""
    where = np.flatnonzero(cover > 0)  # of booleans: ten times as fast
    flat = paper.plot.reshape(-1)
    flat[where] = paper.inks.ink(colour)[cover[where], flat[where]]


def _resample(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Positions about a pixel apart along a polyline, at most 4,000."""
    length = np.concatenate(([0.0], np.cumsum(np.hypot(np.diff(x), np.diff(y)))))
    if not (len(x) and np.isfinite(length[-1])):
        return x[:0], y[:0]
    at = np.linspace(0, length[-1], int(min(4000, length[-1] * 1.25)) + 1)
    return np.interp(at, length, x), np.interp(at, length, y)


def _distance(shape: str, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Distance from the centre in the shape's own norm; equal radii have about equal areas."""
    distance: np.ndarray
    if shape == "square":
        distance = np.maximum(abs(x), abs(y)) / 0.886
    elif shape == "triangle":
        distance = np.maximum(y + 0.2, abs(x) * 0.866 - (y + 0.2) * 0.5) / 0.78
    elif shape == "diamond":
        distance = (abs(x) + abs(y)) / 1.253
    elif shape == "cross":
        arm = np.maximum(abs(x) / 1.2, abs(y) / 0.5)
        distance = np.minimum(arm, np.maximum(abs(x) / 0.5, abs(y) / 1.2))
    elif shape == "hexagon":
        distance = np.maximum(abs(y), abs(x) * 0.866 + abs(y) * 0.5) / 0.952
    else:
        distance = np.hypot(x, y)
    return distance
