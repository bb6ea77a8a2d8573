"""Scene (d): optimizers race over the user's own loss, from one start to one optimum."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.patches import Rectangle

from torchlogreg.history import History
from torchlogreg.viz import read
from torchlogreg.viz.canvas import DESIGN_HEIGHT, DESIGN_WIDTH, Scene
from torchlogreg.viz.curves import Curves
from torchlogreg.viz.labels import log_axis, told_apart
from torchlogreg.viz.palette import Theme
from torchlogreg.viz.surface import Optimum, Plane, names, optimum, recorded_loss, window
from torchlogreg.viz.trail import mark_goal, name_spot, surface_from_above

SYMBOLS = "osD^vPX<>p"
"""Runs differ by colour and by shape."""

DIGITS = 12.0
"""Excess losses below the start's times ten to minus this are not told apart."""

MOST_RUNS = 10

NAME_WIDTH = 11
"""Characters of a name that the standing has room for."""


class Race(Scene):
    """Paths of several optimizers over one loss surface, their excess losses, and their standing.

    The window comes from the start and the optimum, so that a diverging run cannot ruin it; who has
    left it is marked at its edge. The standing also counts evaluations of the closure
    (``meta["evaluations"]`` or a record of that name, one for each record, else the steps): one
    step of L-BFGS or of a line search costs several.

    Parameters
    ----------
    histories : mapping of str to History
        At most ten runs on the same data, from a linear or binary logistic regression, recorded
        with ``Recorder(keep_data=True)``.
    coefficients : pair of int, optional
        Which two entries of the parameter vector span the plane; the others stay at the optimum.
        Default: both, if there are two; else the two principal directions of all paths.
    title, subtitle : str, optional
    theme : {"light", "dark"} or Theme
    size : pair of int

    Raises
    ------
    ValueError
        For too many runs, or runs that do not share a surface.
    """

    def __init__(
        self,
        histories: Mapping[str, History],
        *,
        coefficients: tuple[int, int] | None = None,
        title: str | None = None,
        subtitle: str | None = None,
        theme: str | Theme = "light",
        size: tuple[int, int] = (DESIGN_WIDTH, DESIGN_HEIGHT),
    ) -> None:
        check(histories)
        self.histories = dict(histories)
        self._short = told_apart(list(histories), NAME_WIDTH)
        runs = list(self.histories.values())
        self.losses = {name: recorded_loss(h) for name, h in self.histories.items()}
        self.best = self._optimum()
        self.plane = plane_of(runs, self.best, coefficients)
        self.paths = {n: self.plane.coordinates(h["params"]) for n, h in self.histories.items()}
        self.excess = {name: losses - self.best.loss for name, losses in self.losses.items()}
        self.steps = np.unique(np.concatenate([read.iterations(h) for h in runs]))
        model = read.model_title(runs[0]).lower()
        rates = " · ".join(read.described(name, h) for name, h in self.histories.items())
        settings = f"same start, same data · lr: {rates}"
        super().__init__(
            len(self.steps),
            title=f"Optimiser race · {model}" if title is None else title,
            subtitle=settings if subtitle is None else subtitle,
            theme=theme,
            size=size,
        )

    def build(self) -> None:
        """Surface left, excess loss and standing right."""
        goal = self.best.params
        self._goal = None if goal is None else self.plane.coordinates(goal[None])[0]
        limits = window(np.concatenate(list(self.paths.values())), self._goal)
        flat = self.plane.directions.shape[1] == 2
        axes = surface_from_above(
            self,
            next(iter(self.histories.values())),
            self.plane,
            limits,
            self.best,
            box=(64, 130, 656, 644),
            title="Paths on the loss surface" + ("" if flat else "  (slice through the optimum)"),
            quiet=True,
        )
        axes.yaxis.set_label_coords(-0.079, 0.5)  # clear of long numbers and of the frame
        self._limits = limits
        self._colors = {n: self.theme.series[i % 7] for i, n in enumerate(self.histories)}
        self._build_excess()
        self._build_paths(axes)
        self._build_standing()

    def move(self, frame: int) -> None:
        """Everyone at this iteration; who has stopped stays."""
        step = float(self.steps[frame])
        now = {}
        for name, history in self.histories.items():
            i = max(int(np.searchsorted(read.iterations(history), step, side="right")) - 1, 0)
            now[name] = i
            self._move_path(name, i)
        self._curves.show(float(self._log(np.array([step]))[0]))
        leader = self._rank(now)
        known = f"L* {self.best.loss:.5f}"
        unit = read.unit(list(self.histories.values()))
        self.count(unit, step, float(self.steps[-1]), f"leader {self._short[leader]}   {known}")

    def _optimum(self) -> Optimum:
        """The best that any of the runs knows."""
        found = [optimum(h, self.losses[name]) for name, h in self.histories.items()]
        return min(found, key=lambda best: (best.label == "lowest recorded", best.loss))

    def _log(self, steps: np.ndarray) -> np.ndarray:
        return np.asarray(np.where(steps > 0, steps, 0.6))

    def _build_excess(self) -> None:
        """Excess losses on log axes."""
        axes: Any = self.panel(762, 130, 1235, 354, title=r"Excess loss  $L - L^\star$")
        start = max(float(values[0]) for values in self.excess.values())
        start = start if np.isfinite(start) and start > 0 else 1.0
        every = np.concatenate(list(self.excess.values()))
        positive = every[np.isfinite(every) & (every > 0)]
        foot = max(float(positive.min(initial=start)), start * 10**-DIGITS)
        log_axis(axes, foot / 2, 4 * max(start, 2 * foot), at_most=7)
        last = max(float(self.steps[-1]), 10.0)
        log_axis(axes, 0.6, last, which="x", at_most=6)
        decades = [10.0**e for e in range(int(np.log10(last)) + 1)]
        axes.set_xticks([0.6, *decades], ["0", *(f"{d:g}" for d in decades)])
        axes.set_xlabel("iteration (log)", fontsize=11, labelpad=4)
        self._curves = Curves(self, axes, 20, lambda name, value: "")
        for i, (name, history) in enumerate(self.histories.items()):
            steps = self._log(read.iterations(history))
            color, symbol = self._colors[name], SYMBOLS[i]
            self._curves.add(name, steps, self.excess[name], color, width=2.4, symbol=symbol)
        self._curves.finish()

    def _build_paths(self, axes: Any) -> None:
        """A line and a mark for each run, and the common start."""
        theme = self.theme
        look: dict[str, Any] = {"mec": theme.background, "mew": 1.6, "ls": "", "clip_on": False}
        self._lines, self._marks = {}, {}
        far = 3 * np.ptp(self._limits, axis=1)
        low, high = self._limits[:, 0] - far, self._limits[:, 1] + far
        self.paths = {n: np.clip(p, low, high) for n, p in self.paths.items()}
        for name in self.histories:
            (line,) = axes.plot([], [], color=self._colors[name], lw=2.6, solid_capstyle="round")
            self._lines[name] = self.moving(line)
        start = next(iter(self.paths.values()))[0]
        mark = axes.plot(*start, "o", ms=12, mfc="none", mec=theme.text, mew=2.4)
        self.moving(mark[0])
        for i, name in enumerate(self.histories):
            (mark,) = axes.plot([], [], SYMBOLS[i], ms=12, color=self._colors[name], **look)
            self._marks[name] = self.moving(mark)
        together = np.concatenate(list(self.paths.values()))
        mark_goal(self, axes, self.best, self._goal, together, quiet=True)
        name_spot(self, axes, "start", start, together, ink=theme.text, halo=theme.background)

    def _move_path(self, name: str, i: int) -> None:
        """The path so far; outside the window a small hollow mark at its edge."""
        path = self.paths[name]
        self._lines[name].set_data(*path[: i + 1].T)
        inside = np.clip(path[i], self._limits[:, 0], self._limits[:, 1])
        left = self._left(name, i)
        mark = self._marks[name]
        mark.set_data(*inside[:, None])
        mark.set_markerfacecolor(self.theme.background if left else self._colors[name])
        mark.set_markeredgecolor(self._colors[name] if left else self.theme.background)
        mark.set_markersize(9 if left else 12)

    def _left(self, name: str, i: int) -> bool:
        """Whether a run is outside the window at a record."""
        at = self.paths[name][i]
        return not bool(((at >= self._limits[:, 0]) & (at <= self._limits[:, 1])).all())

    def _build_standing(self) -> None:
        """Bars of gained digits, the leader on top."""
        corner = self.place(762, 429)
        heading: dict[str, Any] = {"fontsize": 12.5, "fontweight": "bold", "va": "center"}
        self.figure.text(*corner, "Standing  (digits of accuracy gained)", **heading)
        self._slot = min(31.0, 215 / len(self.histories))
        height = 0.62 * self._slot / DESIGN_HEIGHT
        self._bars, self._names, self._values = {}, {}, {}
        size = min(11.0, 0.4 * self._slot)
        for name in self.histories:
            bar = Rectangle((self.place(870, 0)[0], 0), 0, height, lw=0, color=self._colors[name])
            bar.set_transform(self.figure.transFigure)
            self.figure.add_artist(self.moving(bar))
            self._bars[name] = bar
            self._names[name] = self.moving(self.words(0, 0, size=size, ha="right"))
            value = self.words(0, 0, size=0.86 * size, color=self.theme.muted)
            self._values[name] = self.moving(value)

    def _rank(self, now: Mapping[str, int]) -> str:
        """Set bars and words in the order of the excess losses; who leads."""
        excess = {n: float(self.excess[n][i]) for n, i in now.items()}
        excess = {n: e if np.isfinite(e) else np.inf for n, e in excess.items()}
        order = sorted(excess, key=lambda name: excess[name])
        for rank, name in enumerate(order, start=1):
            i, y = now[name], 467 + (rank - 1) * self._slot
            start = max(float(self.excess[name][0]), 1e-300)
            gained = -np.log10(max(excess[name] / start, 10**-DIGITS))
            length = 205 * float(np.clip(gained, 0.1, DIGITS)) / DIGITS
            (x, middle), half = self.place(870, y), self._bars[name].get_height() / 2
            self._bars[name].set_y(middle - half)
            self._bars[name].set_width(length / DESIGN_WIDTH)
            self._names[name].set_text(f"{rank}  {self._short[name]}")
            self._names[name].set_position((x - 7 / DESIGN_WIDTH, middle))
            shown_excess = max(excess[name], start * 10**-DIGITS)
            words = f"{shown_excess:.1e}" if np.isfinite(excess[name]) else "diverged"
            words += f" · {read.evaluations(self.histories[name], i)} ev."
            words += " · left" if self._left(name, i) else ""
            self._values[name].set_text(words)
            self._values[name].set_position((x + (length + 6) / DESIGN_WIDTH, middle))
        return order[0]


def check(histories: Mapping[str, History]) -> None:
    """One line about what keeps these runs from racing."""
    if not 1 <= len(histories) <= MOST_RUNS:
        raise ValueError(f"{len(histories)} runs were given, but a race shows 1 to {MOST_RUNS}")
    first = next(iter(histories))
    for name, history in histories.items():
        if len(history) == 0:
            raise ValueError(f"run {name!r} has no records; record it with hooks.Recorder()")
        same = ("model", "params", "n_rows", "penalty")
        other = [k for k in same if history.meta.get(k) != histories[first].meta.get(k)]
        if other:
            raise ValueError(f"runs {first!r} and {name!r} differ in {other[0]}: no common surface")


def plane_of(runs: list[History], best: Optimum, coefficients: tuple[int, int] | None) -> Plane:
    """The plane to draw: two coefficients, or the principal plane of the paths."""
    called = names(runs[0])
    n = len(called)
    if n < 2:
        raise ValueError("a race needs a surface, but the model has a single parameter")
    if coefficients is None and n == 2:
        coefficients = (0, 1) if called[0] == "w_0" else (1, 0)
    origin = runs[0]["params"][0] if best.params is None else best.params
    origin = np.asarray(origin, float).copy()
    if coefficients is not None:
        i, j = coefficients
        if i == j or not (0 <= min(i, j) and max(i, j) < n):
            raise ValueError(f"coefficients {coefficients} are not two of 0 ... {n - 1}")
        origin[[i, j]] = 0
        return Plane(origin, np.eye(n)[[i, j]], (f"${called[i]}$", f"${called[j]}$"))
    steps = np.concatenate([np.asarray(h["params"], float) for h in runs]) - origin
    reach = np.linalg.norm(steps[0]) or 1.0
    near = steps[np.isfinite(steps).all(axis=1)]
    near = near[np.linalg.norm(near, axis=1) <= 3 * reach]  # the plane of those that stayed
    _, _, directions = np.linalg.svd(near, full_matrices=True)
    return Plane(origin, directions[:2], ("first principal direction", "second"))
