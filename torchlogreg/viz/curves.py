"""Curves of one panel that grow with the frame: line, marker, and a label that keeps clear."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.text import Text

from torchlogreg.viz.canvas import DESIGN_HEIGHT, DESIGN_WIDTH, Scene, longest
from torchlogreg.viz.labels import spread


@dataclass
class Curve:
    """One run: ``steps`` and ``values`` (m,), and the artists that follow it."""

    name: str
    steps: np.ndarray
    values: np.ndarray
    shown: np.ndarray
    line: Line2D
    marker: Line2D
    label: Text

    def at(self, step: float) -> int:
        """Last record at or before a step, -1 before the first."""
        return int(np.searchsorted(self.steps, step, side="right")) - 1


@dataclass
class Curves:
    """The curves of one panel.

    Parameters
    ----------
    scene : Scene
    axes : Axes
        With its scale and y limits set.
    room : float
        Pixels of the design right of the axes that belong to the labels.
    caption : callable
        From name and value to the text of a label.
    follow : bool
        Labels stand beside the markers; else at the right edge.
    """

    scene: Scene
    axes: Axes
    room: float
    caption: Callable[[str, float], str]
    follow: bool = True
    curves: list[Curve] = field(default_factory=list)

    def add(
        self,
        name: str,
        steps: np.ndarray,
        values: np.ndarray,
        color: str,
        *,
        width: float = 3.0,
        dashed: bool = False,
        dashes: tuple[float, ...] | None = None,
        drawstyle: str = "default",
        symbol: str = "o",
    ) -> None:
        """Draw the whole run faint; prepare what moves. A dashed curve has no marker."""
        axes, theme = self.axes, self.scene.theme
        low, high = axes.get_ylim()
        floor = low if axes.get_yscale() == "log" else low - 2 * (high - low)  # zeros on a log axis
        ceiling = high + 2 * (high - low)
        with np.errstate(invalid="ignore"):
            shown = np.where(np.isfinite(values), np.clip(values, floor, ceiling), np.nan)
        dashes = (4.0, 2.4) if dashed else dashes
        linestyle = "solid" if dashes is None else (0, dashes)
        thin, opacity = 0.55 * width, theme.faint
        axes.plot(
            steps, shown, color=color, ls=linestyle, lw=thin, alpha=opacity, drawstyle=drawstyle
        )
        (line,) = axes.plot([], [], color=color, ls=linestyle, lw=width, drawstyle=drawstyle)
        line.set_solid_capstyle("round")
        dot = 0 if dashed else 9
        (marker,) = axes.plot([], [], symbol, color=color, markersize=dot, mew=1.6, clip_on=False)
        marker.set_markeredgecolor(theme.background)
        size, weight = (9.5, "normal") if dashed else (11, "bold")
        label = self.scene.words(0, 0, size=size, weight=weight, color=color)
        self.curves.append(Curve(name, steps, values, shown, line, marker, label))

    def finish(self) -> None:
        """Hand the artists over: lines below markers below labels; make the labels fit."""
        for kind in ("line", "marker", "label"):
            for curve in self.curves:
                self.scene.moving(getattr(curve, kind))
        figure = self.scene.figure
        self._pixel = figure.bbox.height / DESIGN_HEIGHT
        limit = (self.room - 18) * figure.bbox.width / DESIGN_WIDTH
        available = self.axes.get_window_extent().height / max(len(self.curves), 1)
        self._heights = []
        for curve in self.curves:
            height = self._fit(curve, limit, available)
            self._heights.append(min(height, available) / figure.bbox.height)

    def show(self, step: float) -> None:
        """Curves up to a step; a run that ended earlier stays where it ended."""
        wishes = []
        low, high = self.axes.get_ylim()
        for curve in self.curves:
            i = curve.at(step)
            curve.line.set_data(curve.steps[: i + 1], curve.shown[: i + 1])
            known = curve.shown[: i + 1]
            known = known[np.isfinite(known)]
            y = float(np.clip(known[-1] if len(known) else high, low, high))
            x = float(curve.steps[max(i, 0)])
            inside = i >= 0 and np.isfinite(curve.values[i])
            below = inside and curve.values[i] < low and self.axes.get_yscale() != "log"
            curve.marker.set_data([x], [y if inside and not below else np.nan])
            value = float(curve.values[i]) if i >= 0 else np.nan
            curve.label.set_text(self.caption(curve.name, value) if i >= 0 else "")
            wishes.append(self._wish(x, y if inside else high))
        self._place(wishes)

    def _fit(self, curve: Curve, limit: float, available: float) -> float:
        """Shrink a label to its share of the height, shorten its name; its height in pixels."""
        label, lines = curve.label, curve.name.split("\n")
        values = curve.values[np.linspace(0, len(curve.values) - 1, 60).astype(int)]
        widest = max(values, key=lambda value: len(self.caption("", value)))
        label.set_text(self.caption(curve.name, widest))
        box = label.get_window_extent()
        if box.height > available:
            size = float(label.get_fontsize()) * available / box.height
            label.set_fontsize(max(0.95 * size, 4.0))
            box = label.get_window_extent()

        def fits(length: int) -> bool:
            short = (x if len(x) <= length else x[: length - 1].rstrip() + "…" for x in lines)
            curve.name = "\n".join(short)
            label.set_text(self.caption(curve.name, widest))
            return bool(label.get_window_extent().width <= limit)

        if box.width > limit and max(map(len, lines)) > 2:
            fits(longest(fits, 2, max(map(len, lines)) - 1))
            box = label.get_window_extent()
        return float(box.height) + 3 * self._pixel

    def _wish(self, x: float, y: float) -> tuple[float, float]:
        """Where a label would like to be: a fraction of the figure."""
        figure = self.scene.figure
        across, up = self.axes.transData.transform((x, y))
        if not self.follow:
            across = self.axes.get_window_extent().x1 - 6 * self._pixel
        return (across + 14 * self._pixel) / figure.bbox.width, up / figure.bbox.height

    def _place(self, wishes: list[tuple[float, float]]) -> None:
        """Spread the labels upwards; a faint rest of run at the right makes the lowest go below."""
        if not wishes:
            return
        box = self.axes.get_position()
        heights, wished = np.array(self._heights), np.array([up for _, up in wishes])
        if self.follow:
            left = np.array([x for x, _ in wishes])
            inside = np.clip((box.x1 - left) / (box.width * 0.2), 0, 1)
            below = (wished == wished.min()) & (len(wishes) > 1)
            wished = wished + inside * np.where(below, -1, 1) * (0.5 * heights + 0.004)
        placed = spread(wished, heights, box.y0, box.y1)
        for curve, (x, _), y in zip(self.curves, wishes, placed, strict=True):
            curve.label.set_position((x, float(y)))
