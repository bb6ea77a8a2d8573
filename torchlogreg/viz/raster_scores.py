"""How good a model is, as small pictures: calibration, confusion, predicted against observed."""

from __future__ import annotations

import numpy as np

from torchlogreg.viz.palette import BLUE, LIGHT
from torchlogreg.viz.raster import Paper, glyphs
from torchlogreg.viz.raster_inks import inks
from torchlogreg.viz.raster_marks import LARGEST, SHAPES, line, mask, places, stamp
from torchlogreg.viz.raster_points import Markers, class_colours, legend

BINS = 10
"""Bins of predicted probability in a calibration picture."""

SHARES = 32
"""Colours of a confusion matrix."""

Caption = tuple[str, str]


class CalibrationPicture:
    """Observed frequency against predicted probability, a curve for each class against the rest.

    Parameters
    ----------
    class_names : tuple of str
        Of two classes only the second is shown.
    ordered : bool
        Whether the classes are levels.
    size : int
        Pixels.
    """

    def __init__(self, class_names: tuple[str, ...], ordered: bool, size: int) -> None:
        colours = class_colours(len(class_names), ordered=ordered)
        names: tuple[str, ...] = class_names
        shapes: tuple[str, ...] = SHAPES
        if len(class_names) == 2:
            names, colours, shapes = class_names[1:], colours[1:], SHAPES[1:]
        self.colours, self.shapes = colours, shapes
        palette = inks((LIGHT.background, LIGHT.grid), 4, colours)
        limits = (-0.04, 1.04, -0.04, 1.04)
        even = [(t, f"{t:g}") for t in (0, 0.25, 0.5, 0.75, 1)]
        labels = ("predicted probability", "observed frequency")
        self.paper = Paper(palette, size, limits, labels, x_ticks=even, y_ticks=even)
        if len(class_names) == 2:
            self.paper.explain(f"P({names[0]}); area = rows in the bin")
        else:
            legend(self.paper, names, colours, mistakes=False, sized=False)

    def draw(self, p: np.ndarray, hit: np.ndarray, caption: Caption) -> bytes:
        """A palette PNG; ``p`` and ``hit`` are (n, curves), the second boolean."""
        paper = self.paper
        paper.clear()
        ends = np.array([0.0, 1.0])
        line(paper, paper.columns(ends), paper.rows(ends), LIGHT.muted, width=0.6)
        for j, colour in enumerate(self.colours):
            mean, observed, count = calibration(p[:, j], hit[:, j])
            x, y = paper.columns(mean), paper.rows(observed)
            line(paper, x, y, colour, width=0.9)
            radius = np.clip(9 * np.sqrt(count / count.max(initial=1)), 2.5, LARGEST)
            for k in np.argsort(-count):
                marker = mask(self.shapes[j % len(self.shapes)], round(float(radius[k])), 1.0)
                stamp(paper, places(paper, x[[k]], y[[k]]), marker, colour)
        paper.caption(*caption)
        return paper.png()


class ConfusionPicture:
    """Rows by true and predicted class: the share of each true class as colour, the count as text.

    Parameters
    ----------
    class_names : tuple of str
    size : int
        Pixels.
    """

    def __init__(self, class_names: tuple[str, ...], size: int) -> None:
        n = len(class_names)
        self.inks = inks((LIGHT.background, BLUE), SHARES, ())
        room = (size - 60) // max(1, n) // 6  # letters that fit under a cell
        short = [
            name if len(name) <= max(3, room) else name[: max(2, room - 1)] + "…"
            for name in class_names
        ]
        along = [(j + 0.5, name) for j, name in enumerate(short)]
        side = [
            (n - j - 0.5, name if len(name) <= 6 else f"{name[:3]}…{name[-2:]}")  # ends differ, too
            for j, name in enumerate(short)
        ]
        limits = (0.0, float(n), 0.0, float(n))
        labels = ("predicted class", "")
        self.paper = Paper(self.inks, size, limits, labels, x_ticks=along, y_ticks=side)
        self.paper.explain("row: true class; number: rows")

    def draw(self, counts: np.ndarray, caption: Caption) -> bytes:
        """A palette PNG; ``counts`` is (K, K), true by predicted."""
        paper, n = self.paper, len(counts)
        share = counts / np.maximum(counts.sum(1, keepdims=True), 1)
        entry = np.rint(share * (SHARES - 1)).astype(np.uint8)
        across = np.minimum(np.arange(paper.width) * n // paper.width, n - 1)
        down = np.minimum(np.arange(paper.height) * n // paper.height, n - 1)
        paper.inside[:] = entry[down[:, None], across]
        for j in range(1, n):
            paper.inside[j * paper.height // n] = SHARES // 8
            paper.inside[:, j * paper.width // n] = SHARES // 8
        paper.caption(*caption)
        if n <= 12:
            self._numbers(counts, share)
        return paper.png()

    def _numbers(self, counts: np.ndarray, share: np.ndarray) -> None:
        """The counts, in their cells: white on dark."""
        paper, n = self.paper, len(counts)
        for i in range(n):
            for j in range(n):
                levels = glyphs(str(int(counts[i, j])), points=13)
                row = (2 * i + 1) * paper.height // (2 * n) - levels.shape[0] // 2
                column = (2 * j + 1) * paper.width // (2 * n) - levels.shape[1] // 2
                under = paper.inside[row : row + levels.shape[0], column : column + levels.shape[1]]
                colour = LIGHT.background if share[i, j] > 0.55 else LIGHT.text
                under[:] = self.inks.ink(colour)[levels[: under.shape[0], : under.shape[1]], under]


class ObservedPicture:
    """Observed response against the predicted one: on the diagonal where the model is right.

    Parameters
    ----------
    y : ndarray, shape (m,)
        Observed.
    size : int
        Pixels.
    """

    def __init__(self, y: np.ndarray, size: int) -> None:
        self.y = y
        low, high = float(y.min()), float(y.max())
        margin = 0.06 * (high - low) or 0.5
        self.ends = np.array([low - margin, high + margin])
        low, high = (float(end) for end in self.ends)
        limits = (low, high, low, high)
        palette = inks((LIGHT.background, LIGHT.grid), 4, (BLUE,))
        self.paper = Paper(palette, size, limits, ("predicted", "observed"))
        self.paper.explain("on the diagonal: right")

    def draw(self, predicted: np.ndarray, caption: Caption) -> bytes:
        """A palette PNG; ``predicted`` is (m,)."""
        paper = self.paper
        paper.clear()
        line(paper, paper.columns(self.ends), paper.rows(self.ends), LIGHT.muted, width=0.6)
        span = self.ends[1] - self.ends[0]
        x = np.clip(np.nan_to_num(predicted), self.ends[0] - span, self.ends[1] + span)
        none = np.zeros(len(x), np.int64)
        markers = Markers(paper, x, self.y, none, (BLUE,), ("circle",))
        markers.draw(np.ones(len(x)), none.astype(bool))
        paper.caption(*caption)
        return paper.png()


def calibration(p: np.ndarray, hit: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean probability, observed frequency and rows of the bins that have any.

    Parameters
    ----------
    p : ndarray, shape (n,)
    hit : ndarray of bool, shape (n,)

    Returns
    -------
    three ndarrays, shape (b,), ``b <= BINS``
    """
    known = np.isfinite(p)
    p, hit = p[known], hit[known]
    which = np.minimum((p * BINS).astype(int), BINS - 1)
    count = np.bincount(which, minlength=BINS)
    some = count > 0
    mean = np.bincount(which, p, BINS)[some] / count[some]
    observed = np.bincount(which, hit, BINS)[some] / count[some]
    return mean, observed, count[some]
