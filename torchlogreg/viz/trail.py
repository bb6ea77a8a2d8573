"""A loss surface from above, and the path over it, yellow at the start and red at the end."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.path import Path
from matplotlib.patheffects import withStroke

from torchlogreg.history import History
from torchlogreg.viz.canvas import Scene
from torchlogreg.viz.palette import color_table
from torchlogreg.viz.surface import Optimum, Plane, excess_levels, loss_at

PIECES = 90
"""Pieces of one colour that a path consists of."""

GRID, COARSE_GRID, MANY_ROWS = 140, 60, 5_000


def surface_grid(
    history: History, plane: Plane, limits: np.ndarray, n: int | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Coordinates and losses on a grid over the window, each (n, n)."""
    if n is None:
        n = GRID if len(history.data["X"]) <= MANY_ROWS else COARSE_GRID
    (left, right), (low, high) = limits.tolist()
    a, b = np.meshgrid(np.linspace(left, right, n), np.linspace(low, high, n))
    return a, b, loss_at(history, plane.points(a, b)).reshape(n, n)


def surface_from_above(
    scene: Scene,
    history: History,
    plane: Plane,
    limits: np.ndarray,
    best: Optimum,
    goal: np.ndarray | None,
    *,
    box: tuple[float, float, float, float],
    title: str,
    quiet: bool = False,
) -> Any:
    """A panel of filled level lines of the log excess loss, with a star at the optimum."""
    theme = scene.theme
    axes: Any = scene.panel(*box, title=title)
    a, b, loss = surface_grid(history, plane, limits)
    logs, levels = excess_levels(loss - min(best.loss, float(np.nanmin(loss))))
    ramp = LinearSegmentedColormap.from_list("surface", theme.quiet if quiet else theme.surface)
    ink, halo = (theme.text, theme.background) if quiet else (theme.on_surface, theme.halo)
    axes.contourf(a, b, logs, levels=levels, cmap=ramp, extend="both")
    axes.contour(
        a,
        b,
        logs,
        levels=levels[1:-1],
        colors=theme.level,
        linewidths=0.6,
        linestyles="solid",
        alpha=0.75,
    )
    axes.grid(False)
    axes.set(xlim=limits[0], ylim=limits[1])
    axes.set_xlabel(plane.names[0], fontsize=11, labelpad=4)
    axes.set_ylabel(plane.names[1], fontsize=11, labelpad=4)
    _mark_goal(axes, best.label, goal, limits, ink=ink, halo=halo)
    return axes


def _mark_goal(
    axes: Any, label: str, goal: np.ndarray | None, limits: np.ndarray, *, ink: str, halo: str
) -> None:
    """A star at the optimum, or why there is none; a star promises an optimum."""
    effects: Any = [withStroke(linewidth=3, foreground=halo)]
    if goal is None:
        spot = {"transform": axes.transAxes, "ha": "left", "va": "top", "linespacing": 1.4}
        axes.text(
            0.03,
            0.97,
            "separable data: no finite optimum,\nthe loss falls towards 0 for ever",
            fontsize=10,
            color=ink,
            path_effects=effects,
            **spot,
        )
        return
    shape = "*" if label == "optimum" else "d"
    star = {"marker": shape, "ms": 17 if shape == "*" else 9, "mec": halo, "mew": 1.2, "color": ink}
    axes.plot(*goal, **star)
    side = -1 if goal[0] > limits[0].mean() + 0.3 * np.ptp(limits[0]) else 1
    axes.annotate(
        label,
        goal,
        (14 * side, -13),
        textcoords="offset points",
        fontsize=10,
        ha="left" if side > 0 else "right",
        color=ink,
        path_effects=effects,
    )


class Trail:
    """The path so far, its start and its present end.

    Parameters
    ----------
    scene : Scene
    axes : Axes
    path : ndarray, shape (m, 2)
    steps : ndarray, shape (m,)
        Iterations, which colour the path by their logarithm.
    bar : float, optional
        Left edge of a colour bar in design pixels.
    """

    def __init__(
        self,
        scene: Scene,
        axes: Any,
        path: np.ndarray,
        steps: np.ndarray,
        *,
        bar: float | None = None,
    ) -> None:
        theme = scene.theme
        low, high = np.array([axes.get_xlim(), axes.get_ylim()]).T
        far = 3 * (high - low)  # beyond this nothing is seen, and Agg cannot count
        self.path = np.clip(path, low - far, high + far)
        self.table = color_table(theme.path, PIECES) / 255
        last = max(float(steps[-1]), 1.0)
        self.position = np.log1p(steps) / np.log1p(last) * (PIECES - 1)
        self.pieces = self.position.round().astype(int)
        (halo,) = axes.plot([], [], color=theme.rim, lw=6, solid_capstyle="round")
        self.halo = scene.moving(halo)
        collection = PathCollection([], facecolors="none", edgecolors=self.table, linewidths=3.4)
        collection.set_capstyle("round")
        axes.add_collection(collection, autolim=False)
        self.line = scene.moving(collection)
        look: dict[str, Any] = {"marker": "o", "mec": theme.rim, "mew": 2, "ls": ""}
        (start,) = axes.plot(*self.path[:1].T, color=theme.path[0], ms=10, **look)
        scene.moving(start)
        (now,) = axes.plot([], [], color=theme.path[-1], ms=13, **look)
        self.now = scene.moving(now)
        self._name_start(axes, theme)
        if bar is not None:
            self._bar(scene, bar, last)

    def show(self, frame: int) -> None:
        """Draw the path up to a record."""
        self.halo.set_data(*self.path[: frame + 1].T)
        self.now.set_data(*self.path[frame : frame + 1].T)
        pieces = self.pieces[: frame + 1]
        cuts = np.concatenate([[0], np.flatnonzero(np.diff(pieces)) + 1, [frame + 1]])
        paths = [
            Path(self.path[max(a - 1, 0) : b])  # from the last point of the piece before
            for a, b in pairwise(cuts)
        ]
        self.line.set_paths(paths)
        self.line.set_edgecolor(self.table[pieces[cuts[:-1]]])

    def _name_start(self, axes: Axes, theme: Any) -> None:
        x, y = self.path[0]
        left = x > np.mean(axes.get_xlim()) + 0.3 * np.ptp(axes.get_xlim())
        axes.annotate(
            "start",
            (x, y),
            (-12 if left else 12, -12),
            textcoords="offset points",
            fontsize=10,
            ha="right" if left else "left",
            color=theme.text,
            path_effects=[withStroke(linewidth=3, foreground=theme.background, alpha=0.7)],
        )

    def _bar(self, scene: Scene, left: float, last: float) -> None:
        """Which colour is which iteration."""
        axes = scene.panel(left, 130, left + 17, 644)
        axes.imshow(
            color_table(scene.theme.path, 512)[:, None],
            origin="lower",
            aspect="auto",
            extent=(0, 1, 0, 1),
        )
        axes.grid(False)
        ticks = [0.0, *(10.0**e for e in range(int(np.log10(max(last, 1))) + 1)), last]
        if len(ticks) > 2 and ticks[-2] > 0.6 * last:
            del ticks[-2]
        spots = np.log1p(ticks) / np.log1p(last)
        axes.set_yticks(spots, [f"{t:g}" for t in ticks])
        axes.set_xticks([])
        axes.yaxis.tick_right()
        axes.tick_params(length=0)
        axes.yaxis.set_label_position("right")
        axes.set_ylabel("iteration", fontsize=11, labelpad=2)
        for spine in axes.spines.values():
            spine.set_visible(False)
