"""Scene (b): a fit of one feature beside its loss surface, from above and in 3-D."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.collections import LineCollection
from matplotlib.colors import to_rgba
from matplotlib.lines import Line2D

from torchlogreg.history import History
from torchlogreg.viz import read
from torchlogreg.viz.bowl import Bowl
from torchlogreg.viz.canvas import DESIGN_HEIGHT, DESIGN_WIDTH, Scene
from torchlogreg.viz.curves import Curves
from torchlogreg.viz.labels import log_axis
from torchlogreg.viz.palette import Theme
from torchlogreg.viz.surface import Plane, diverged, optimum, recorded_loss, split, window
from torchlogreg.viz.trail import Trail, mark_goal, surface_from_above

EARLIER = 9
"""Earlier fits on show, the older the fainter: those at geometrically spaced records.

Once passed they stand still, for the eye's sake and for small files.
"""

MOST_POINTS = 1_500
"""Points drawn; of more, an even selection."""


class Descent(Scene):
    """Gradient descent on one feature and an intercept: the fit, and the path over the loss.

    Parameters
    ----------
    history : History
        Of a linear or binary logistic regression with one feature and a bias, recorded with
        ``Recorder(keep_data=True)``. The optimum is ``meta["optimum"]`` (``params`` and ``loss``)
        if that is there, else the lowest record; separable data have none, and the picture says so.
    in_3d : bool
        Show the surface also as a landscape.
    title, subtitle : str, optional
    theme : {"light", "dark"} or Theme
    size : pair of int, optional
        Pixels; 1280 x 720, or 1440 x 720 in 3-D.

    Raises
    ------
    ValueError
        For a history of something else.
    """

    def __init__(
        self,
        history: History,
        *,
        in_3d: bool = False,
        title: str | None = None,
        subtitle: str | None = None,
        theme: str | Theme = "light",
        size: tuple[int, int] | None = None,
    ) -> None:
        if len(history) == 0:
            raise ValueError("the history has no records; record it with hooks.Recorder()")
        n_params = sum(int(np.prod(shape)) for _, shape in history.meta.get("params", []))
        if n_params != 2 or len(history.meta["params"]) != 2:
            raise ValueError(
                f"the history has {n_params} parameters, but this scene shows one weight and one "
                "bias; use CostCurves, Boundary or Race for other models"
            )
        self.history = history
        self.in_3d = in_3d
        self.losses = recorded_loss(history)
        self.optimum = optimum(history, self.losses)
        self.lost = diverged(history, self.losses)
        weight, intercept = split(history, np.asarray(history["params"], float))
        self.path = np.stack([intercept, weight[:, 0]], axis=1)  # (w_0, w_1)
        self.steps = read.iterations(history)
        self.logistic = history.meta["model"]["class"] == "LogisticRegression"
        name = "logistic regression" if self.logistic else "linear regression, L2 loss"
        own = f"{'cross-entropy' if self.logistic else 'mean squared error'} · "
        super().__init__(
            len(history),
            title=f"Gradient descent · {name}" if title is None else title,
            subtitle=own + read.settings([history]) if subtitle is None else subtitle,
            theme=theme,
            size=size or (1440 if in_3d else DESIGN_WIDTH, DESIGN_HEIGHT),
        )

    def build(self) -> None:
        """Fit and excess loss left, the surface right, and in 3-D at the far right."""
        facts = self.history.meta["params"]
        directions = np.eye(2)[::-1] if facts[0][0] == "weight" else np.eye(2)
        plane = Plane(np.zeros(2), directions, ("$w_0$  (intercept)", "$w_1$  (slope)"))
        goal = self.optimum.params
        self.goal = None if goal is None else plane.coordinates(goal[None])[0]
        limits = window(self.path, self.goal)
        right = 404 if self.in_3d else 574
        self._build_fit(64 if self.in_3d else 77, right)
        self._build_excess(64 if self.in_3d else 77, right)
        above = (475, 130, 822, 644) if self.in_3d else (659, 130, 1172, 644)
        axes = surface_from_above(
            self,
            self.history,
            plane,
            limits,
            self.optimum,
            box=above,
            title="Loss surface, from above" if self.in_3d else "Loss surface  $L(w_0, w_1)$",
        )
        self._trail = Trail(self, axes, self.path, self.steps, bar=None if self.in_3d else 1184)
        mark_goal(self, axes, self.optimum, self.goal, self._trail.path)
        if self.in_3d:
            self._bowl = Bowl(self, self.history, plane, limits, self.optimum, self.path)

    def move(self, frame: int) -> None:
        """The fit at this record, some before it, the path so far."""
        self._move_fit(frame)
        self._excess.show(float(self._log_steps[frame]))
        self._trail.show(frame)
        if self.in_3d:
            self._bowl.show(frame)
        now, end = float(self.steps[frame]), float(self.steps[-1])
        figures = f"loss {_digits(self.losses[frame], '.5f')}"
        if self.lost is not None and frame >= self.lost:
            figures = f"diverged at {read.unit([self.history])} {self.steps[self.lost]:g}"
        elif self.logistic and "accuracy" in self.history:
            figures += f"   accuracy {100 * self.history['accuracy'][frame]:.1f} %"
        elif "optimality" in self.history:
            figures += f"   max|∇L| {self.history['optimality'][frame]:.2e}"
        self.count(read.unit([self.history]), now, end, figures)

    def _build_fit(self, left: float, right: float) -> None:
        """Points, the curve now and before, and where it is heading."""
        formula = r"Fit  $\sigma(w_0 + w_1 x)$" if self.logistic else "Fit"
        axes = self.panel(left, 130, right, 409, title=formula)
        axes.set_xlabel("x", fontsize=11, labelpad=4)
        x, y = self._points()
        low, high = float(x.min()), float(x.max())
        margin = 0.06 * (high - low) or 1.0
        self._grid = np.linspace(low - margin, high + margin, 200 if self.logistic else 2)
        axes.set_xlim(self._grid[0], self._grid[-1])
        span = float(y.max() - y.min()) or 1.0
        axes.set_ylim(float(y.min()) - 0.3 * span, float(y.max()) + 0.25 * span)
        if self.logistic:
            axes.set(ylim=(-0.12, 1.12), yticks=[0, 0.5, 1])
        theme, thin = self.theme, {"lw": 1.5, "ls": (0, (4, 2.5)), "color": self.theme.muted}
        self._add_reference(axes, thin)
        self._milestones = np.unique(np.geomspace(1, self.n_frames, EARLIER + 1).astype(int)) - 1
        fading = np.linspace(0.25, 0.65, len(self._milestones))
        colors = [to_rgba(theme.earlier, opacity) for opacity in fading]
        earlier = LineCollection([], colors=colors, linewidths=1.4)
        axes.add_collection(earlier, autolim=False)
        self._earlier = self.moving(earlier)
        residuals = LineCollection([], colors=theme.muted, linewidths=0.9, alpha=0.6)
        axes.add_collection(residuals, autolim=False)
        self._residuals = self.moving(residuals)
        self._rest = np.column_stack([x, y])
        (line,) = axes.plot([], [], color=theme.accent, lw=3.4, solid_capstyle="round")
        self._line = self.moving(line)
        if self.logistic:
            self._half = self.moving(axes.axvline(0, color=theme.muted, lw=1, ls=(0, (2, 2))))
        for points in self._markers(axes, x, y):
            self.moving(points)
        words = self.words(*self.place(left + 15, 152), size=12, color=theme.accent, weight="bold")
        self._formula = self.moving(words)

    def _add_reference(self, axes: Any, thin: dict[str, Any]) -> None:
        """The fit at the optimum, dashed, named in the corner."""
        if self.goal is None or self.optimum.label != "optimum":
            return
        axes.plot(self._grid, self._curve(self.goal), **thin)
        name = "maximum likelihood" if self.logistic else "least squares"
        penalised = self.history.meta.get("penalty", "None") != "None"
        text = f"- - {'optimum' if penalised else name}"
        spot = {"x": 0.97, "y": 0.55 if self.logistic else 0.07}
        axes.text(
            *spot.values(),
            text,
            transform=axes.transAxes,
            color=self.theme.muted,
            fontsize=9.5,
            ha="right",
            va="center",
        )

    def _points(self) -> tuple[np.ndarray, np.ndarray]:
        """The data, thinned if there are very many."""
        x, y = (np.asarray(self.history.data[k], float) for k in ("X", "y"))
        chosen = np.unique(np.linspace(0, len(x) - 1, min(len(x), MOST_POINTS)).astype(int))
        return x[chosen, 0], y[chosen]

    def _markers(self, axes: Any, x: np.ndarray, y: np.ndarray) -> list[Line2D]:
        """Circles; for classes circles and squares, a little apart so that they can be counted."""
        size = 7 if len(x) <= 150 else 4
        edge: dict[str, Any] = {"ls": "", "mec": self.theme.background, "mew": 1.2, "ms": size}
        if not self.logistic:
            return list(axes.plot(x, y, marker="o", color=self.theme.class1, **edge))
        shaken = y + 0.08 * (0.618034 * np.arange(1, len(y) + 1) % 1 - 0.5)
        one = y >= 0.5
        blue = axes.plot(x[one], shaken[one], marker="o", color=self.theme.class1, **edge)
        red = axes.plot(x[~one], shaken[~one], marker="s", color=self.theme.class0, **edge)
        return [*blue, *red]

    def _curve(self, point: np.ndarray) -> np.ndarray:
        """The fit over the grid at ``(w_0, w_1)``."""
        eta = point[0] + point[1] * self._grid
        if not self.logistic:
            return np.asarray(eta)
        with np.errstate(over="ignore"):
            return np.asarray(1 / (1 + np.exp(-eta)))

    def _move_fit(self, frame: int) -> None:
        """The fit now and at earlier milestones, the older the fainter."""
        if self.lost is not None and frame >= self.lost:
            unit = read.unit([self.history])
            self._formula.set_text(f"diverged at {unit} {self.steps[self.lost]:g}")
        elif not self.logistic:
            self._formula.set_text(_formula(*self.path[frame]))
        else:
            self._formula.set_text("")
        w0, w1 = self.path[frame]
        chosen = self._milestones[self._milestones < frame]
        lines = [np.column_stack([self._grid, self._curve(self.path[i])]) for i in chosen]
        self._earlier.set_segments(lines)
        self._line.set_data(self._grid, self._curve(self.path[frame]))
        if self.logistic:
            with np.errstate(divide="ignore", invalid="ignore"):
                self._half.set_xdata([-w0 / w1] * 2 if w1 else [np.nan] * 2)
            return
        x = self._rest[:, 0]
        ends = np.column_stack([x, w0 + w1 * x])
        self._residuals.set_segments(list(np.stack([self._rest, ends], axis=1)))

    def _build_excess(self, left: float, right: float) -> None:
        """Loss above the optimum on log axes; iteration 0 stands left of 1."""
        axes = self.panel(left, 512, right, 644, title=r"Excess loss  $L - L^\star$")
        excess = self.losses - self.optimum.loss
        positive = excess[np.isfinite(excess) & (excess > 0)]
        top = float(positive.max()) if len(positive) else 1.0
        first = float(positive[0]) if len(positive) else 0.1
        top = min(top, 1e3 * first)  # whoever diverges leaves the panel
        foot = max(float(positive.min()) if len(positive) else 0.1, 1e-13 * top)
        log_axis(axes, foot / 2.5, max(top, 10 * foot) * 2.5, at_most=6)
        last = max(float(self.steps[-1]), 10.0)
        self._log_steps = np.where(self.steps > 0, self.steps, 0.6)
        log_axis(axes, 0.6, last, which="x", at_most=6)
        decades = [10.0**e for e in range(int(np.log10(last)) + 1)]
        axes.set_xticks([0.6, *decades], ["0", *(f"{d:g}" for d in decades)])
        axes.set_xlabel(f"{read.unit([self.history])} (log)", fontsize=11, labelpad=5)
        self._excess = Curves(self, axes, 20, lambda name, value: "")
        self._excess.add("excess", self._log_steps, excess, self.theme.accent)
        self._excess.finish()


def _digits(value: float, form: str) -> str:
    """A number in a fixed form, or in powers of ten once that would be long."""
    return format(value, form if abs(value) < 1e5 else form[:-2] + "2e")


def _formula(w0: float, w1: float) -> str:
    """The fitted line, in words."""
    return f"ŷ = {_digits(w1, '+.3f')} x {'+' if w0 >= 0 else '−'} {_digits(abs(w0), '.3f')}"
