"""Scene (c): the decision boundary of two features, and the sample weights that move it."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.image import AxesImage
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator, MultipleLocator

from torchlogreg.history import History
from torchlogreg.viz import read
from torchlogreg.viz.canvas import DESIGN_HEIGHT, DESIGN_WIDTH, Scene, number
from torchlogreg.viz.curves import Curves
from torchlogreg.viz.labels import cost_window, log_axis
from torchlogreg.viz.palette import Theme, color_table
from torchlogreg.viz.points import WeightedPoints
from torchlogreg.viz.surface import split

TABLE = 1024
"""Colours between P(y = 1) = 0 and 1."""

EARLIER = 9
"""Earlier boundaries on show, at geometrically spaced records."""


class Boundary(Scene):
    """Binary logistic regression on two features: probability field, boundary, sample weights.

    Parameters
    ----------
    history : History
        Recorded with ``Recorder(keep_data=True)``; with ``sample_weight`` if weights should show.
    features : pair of str, optional
        Names of the two columns.
    bands : int, optional
        Colours of the field. Default: 1,024, which look smooth. A GIF is several times smaller
        with 12 to 24.
    title, subtitle : str, optional
    theme : {"light", "dark"} or Theme
    size : pair of int

    Raises
    ------
    ValueError
        For a history of something else.
    """

    def __init__(
        self,
        history: History,
        *,
        features: tuple[str, str] | None = None,
        bands: int | None = None,
        title: str | None = None,
        subtitle: str | None = None,
        theme: str | Theme = "light",
        size: tuple[int, int] = (DESIGN_WIDTH, DESIGN_HEIGHT),
    ) -> None:
        facts = history.meta.get("model", {})
        if facts.get("class") != "LogisticRegression" or facts.get("n_features") != 2:
            raise ValueError(
                f"a boundary is drawn for LogisticRegression on 2 features, but the history is of "
                f"{facts.get('class')} on {facts.get('n_features')}; use CostCurves"
            )
        if "X" not in history.data:
            raise ValueError("the history holds no data; record it with Recorder(keep_data=True)")
        if bands is not None and bands < 2:
            raise ValueError(f"bands is {bands}, but a field has at least two colours")
        self.history = history
        self._named = features is not None
        self.features = features or ("$x_1$", "$x_2$")
        self.bands = bands
        self.steps = read.iterations(history)
        self.X = np.asarray(history.data["X"], float)
        self.one = np.asarray(history.data["y"]) >= 0.5
        self.slopes, self.intercepts = split(history, np.asarray(history["params"], float))
        self.weights = read.sample_weights(history)
        adaptive = read.adaptive_run({"": history}) is not None
        words = "Decision boundary" + (" under misclassification weighting" if adaptive else "")
        super().__init__(
            len(history),
            title=words if title is None else title,
            subtitle=read.settings([history]) if subtitle is None else subtitle,
            theme=theme,
            size=size,
        )

    def build(self) -> None:
        """The plane left, curves and the legend of sizes right."""
        axes: Any = self.panel(58, 130, 767, 630, title="Decision boundary and sample weights")
        axes.grid(False)
        plain = {"parse_math": not self._named}  # a $ in a column's name is no formula
        axes.set_xlabel(self.features[0], fontsize=11, labelpad=4, **plain)
        axes.set_ylabel(self.features[1], fontsize=11, labelpad=0, **plain)
        low, high = self.X.min(axis=0), self.X.max(axis=0)
        margin = 0.09 * np.where(high > low, high - low, 1.0)
        self.low, self.high = low - margin, high + margin
        axes.set(xlim=(self.low[0], self.high[0]), ylim=(self.low[1], self.high[1]))
        self._build_field(axes)
        self._points = WeightedPoints(self, axes, self.X, self.one, self.weights)
        self._legend()
        self._groups = [self._costs()]
        if "accuracy" in self.history:
            self._groups.append(self._accuracy())
        for group in self._groups:
            group.finish()
        if self.weights is not None:
            self._points.size_legend(self, 532)

    def move(self, frame: int) -> None:
        """Field, boundary, points and curves at one record."""
        self._field.set_data(self._colors(frame))
        for artist, milestone in zip(self._lines, self._milestones, strict=True):
            artist.set_data(*(self._line(milestone) if milestone < frame else ([], [])))
        self._now.set_data(*self._line(frame))
        rows = self._wrong(frame)
        self._points.show(frame, rows)
        for group in self._groups:
            group.show(float(self.steps[frame]))
        wrong = int(rows.sum())
        accuracy = 1 - wrong / len(self.X)
        if "accuracy" in self.history:  # as in its panel: there the user's weights may count
            accuracy = float(self.history["accuracy"][frame])
        figures = f"accuracy {100 * accuracy:.1f} %   misclassified {wrong}"
        self.count(
            read.unit([self.history]), float(self.steps[frame]), float(self.steps[-1]), figures
        )

    def _build_field(self, axes: Any) -> None:
        """An image of the panel's own pixels, so that nothing is resampled; and the boundaries."""
        box = axes.get_window_extent()
        rows, columns = max(round(box.height), 2), max(round(box.width), 2)
        x = np.linspace(self.low[0], self.high[0], columns + 1)
        y = np.linspace(self.low[1], self.high[1], rows + 1)
        self._x, self._y = (x[1:] + x[:-1]) / 2, (y[1:] + y[:-1]) / 2
        table = color_table(self.theme.field, TABLE)
        if self.bands:
            centres = (np.arange(self.bands) + 0.5) / self.bands * (TABLE - 1)
            chosen = np.minimum(np.arange(TABLE) * self.bands // TABLE, self.bands - 1)
            table = table[centres.round().astype(int)][chosen]
        self._table = np.ascontiguousarray(table).view(np.uint32)[:, 0]
        extent = (self.low[0], self.high[0], self.low[1], self.high[1])
        image = axes.imshow(
            np.zeros((rows, columns, 4), np.uint8),
            origin="lower",
            extent=extent,
            aspect="auto",
            interpolation="nearest",
        )
        self._field: AxesImage = self.moving(image)
        self._milestones = np.unique(np.geomspace(1, self.n_frames, EARLIER + 1).astype(int)) - 1
        fading = np.linspace(0.2, 0.55, len(self._milestones))
        self._lines = [
            self.moving(axes.plot([], [], color=self.theme.muted, lw=1.1, alpha=opacity)[0])
            for opacity in fading
        ]
        (now,) = axes.plot([], [], color=self.theme.text, lw=3)
        self._now: Line2D = self.moving(now)

    def _colors(self, frame: int) -> np.ndarray:
        """The field in RGBA, (rows, columns, 4), through the colour table."""
        a, b = self.slopes[frame]
        across = np.float32(self._x * a + self.intercepts[frame])
        up = np.float32(self._y * b)
        eta = np.nan_to_num(np.add.outer(up, across), posinf=80, neginf=-80).clip(-80, 80)
        index = (np.float32(TABLE - 1) / (1 + np.exp(-eta))).astype(np.intp)
        return np.asarray(self._table[index].view(np.uint8).reshape(*eta.shape, 4))

    def _line(self, frame: int) -> tuple[list[float], list[float]]:
        """Two points of the line ``P(y = 1) = 1/2``, far outside the window."""
        slope, intercept = self.slopes[frame], float(self.intercepts[frame])
        length = float(np.linalg.norm(slope))
        if not np.isfinite(length) or length == 0:
            return [], []
        middle = (self.low + self.high) / 2
        foot = middle - slope * (slope @ middle + intercept) / length**2
        if np.abs(foot - middle).max() > 50 * np.ptp([self.low, self.high]):
            return [], []
        along = np.array([-slope[1], slope[0]]) / length * 3 * np.abs(self.high - self.low).sum()
        ends = np.stack([foot - along, foot + along])
        return ends[:, 0].tolist(), ends[:, 1].tolist()

    def _wrong(self, frame: int) -> np.ndarray:
        """Rows on the wrong side, boolean (n,)."""
        with np.errstate(invalid="ignore", over="ignore"):
            eta = self.X @ self.slopes[frame] + self.intercepts[frame]
        return np.asarray((eta >= 0) != self.one)

    def _costs(self) -> Curves:
        """The cost, and what it would be without the weights."""
        costs = {"cost": (read.cost(self.history), self.theme.accent)}
        if read.reweighted(self.history):
            plain = read.unweighted_cost(self.history)
            costs = {
                "weighted": (costs["cost"][0], self.theme.accent),
                "unweighted": (plain, self.theme.muted),
            }
        low, high, logarithmic = cost_window([values for values, _ in costs.values()])
        title = "Cross-entropy" + (" (log)" if logarithmic else "")
        axes = self.panel(858, 130, 1075, 257, title=title)
        axes.set_ylim(low, high)
        if logarithmic:
            log_axis(axes, low, high, at_most=4)
        self._time(axes)
        group = Curves(self, axes, 160, lambda name, value: f"{name}\n{number(value)}")
        for name, (values, color) in costs.items():
            group.add(name, self.steps, values, color, width=2.6)
        return group

    def _accuracy(self) -> Curves:
        """Training accuracy, from where it matters."""
        axes = self.panel(858, 340, 1075, 468, title="Accuracy")
        accuracy = np.asarray(self.history["accuracy"], float)
        low = max(0.0, float(np.floor((np.nanquantile(accuracy, 0.1) - 0.06) * 5) / 5))
        axes.set_ylim(low, 1.0 + 0.03 * (1 - low))
        axes.yaxis.set_major_locator(MultipleLocator(0.1 if low >= 0.5 else 0.2))
        axes.yaxis.set_major_formatter(lambda value, _: f"{100 * value:.0f} %")
        self._time(axes)
        axes.set_xlabel(read.unit([self.history]), fontsize=11, labelpad=4)
        group = Curves(self, axes, 160, lambda _, value: f"{100 * value:.1f} %")
        color = self.theme.series[2]
        group.add("", self.steps, accuracy, color, width=2.6, drawstyle="steps-post")
        return group

    def _time(self, axes: Any) -> None:
        first, last = float(self.steps[0]), float(self.steps[-1])
        axes.set_xlim(first, last if last > first else first + 1)
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True, steps=[1, 2, 2.5, 5, 10]))

    def _legend(self) -> None:
        """What the marks mean, in one row below the panel."""
        theme = self.theme
        mark: dict[str, Any] = {"ls": "", "mew": 0, "ms": 7}
        marks = (
            ("class 1", {**mark, "marker": "o", "color": theme.class1}),
            ("class 0", {**mark, "marker": "s", "color": theme.class0}),
            ("misclassified", {**mark, "marker": "o", "ms": 11, "color": theme.muted}),
            ("p = 0.5", {"color": theme.text, "lw": 3}),
            ("earlier", {"color": theme.muted, "lw": 1.1, "alpha": 0.6}),
        )
        for (name, look), x in zip(marks, (165, 266, 368, 509, 613), strict=True):
            wide = 14 if "lw" in look else 0
            (left, y), (right, _) = self.place(x - wide, 686), self.place(x + wide, 686)
            line = Line2D([left, right], [y, y], transform=self.figure.transFigure, **look)
            if name == "misclassified":
                line.set(markeredgecolor=theme.text, markeredgewidth=1.8)
            self.figure.add_artist(line)
            self.figure.text(*self.place(x + 19, 686), name, fontsize=9.5, va="center")
