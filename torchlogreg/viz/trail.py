"""A loss surface from above, and the path over it, yellow at the start and red at the end."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
from matplotlib.collections import PathCollection
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.path import Path
from matplotlib.patheffects import withStroke
from matplotlib.transforms import ScaledTranslation

from torchlogreg.history import History
from torchlogreg.viz.canvas import Scene
from torchlogreg.viz.palette import SANS, color_table
from torchlogreg.viz.surface import Optimum, Plane, excess_levels, loss_at
from torchlogreg.viz.text import FastText

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
    *,
    box: tuple[float, float, float, float],
    title: str,
    quiet: bool = False,
) -> Any:
    """A panel of filled level lines of the log excess loss; ``mark_goal`` says where it leads."""
    theme = scene.theme
    axes: Any = scene.panel(*box, title=title)
    a, b, loss = surface_grid(history, plane, limits)
    logs, levels = excess_levels(loss - min(best.loss, float(np.nanmin(loss))))
    ramp = LinearSegmentedColormap.from_list("surface", theme.quiet if quiet else theme.surface)
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
    return axes


def _why_none(best: Optimum) -> str:
    """Why there is no star."""
    if best.loss == 0:
        return "separable data: no finite optimum,\nthe loss falls towards 0 for ever"
    return f"quasi-separable data: no finite optimum,\nthe loss falls towards {best.loss:.4g}"


def mark_goal(
    scene: Scene,
    axes: Any,
    best: Optimum,
    goal: np.ndarray | None,
    paths: np.ndarray,
    *,
    quiet: bool = False,
) -> None:
    """A star at the optimum and its name, over the paths, or why there is none.

    To be called after the paths (m, 2) were handed to the scene: what comes later lies above.
    """
    theme = scene.theme
    ink, halo = (theme.text, theme.background) if quiet else (theme.on_surface, theme.halo)
    if goal is None:
        _explain(axes, _why_none(best), paths, ink=ink, halo=halo)
        return
    star = best.label == "optimum"  # a star promises an optimum
    size = 9 if not star else 11 if quiet else 17  # many marks of a race end here
    look = {"marker": "*" if star else "d", "ms": size, "mec": halo, "mew": 1.2, "color": ink}
    scene.moving(axes.plot(*goal, **look)[0])
    beside = "start" if np.allclose(goal, paths[0]) else ""
    name_spot(scene, axes, best.label, goal, paths, ink=ink, halo=halo, beside=beside)


def _explain(axes: Any, words: str, paths: np.ndarray, *, ink: str, halo: str) -> None:
    """Words in the corner that the paths leave free."""
    places = axes.transAxes.inverted().transform(axes.transData.transform(paths))
    corners = [(0, 1), (0, 0), (1, 1), (1, 0)]
    hits = [int((np.abs(places - corner) < (0.62, 0.16)).all(axis=1).sum()) for corner in corners]
    x, y = corners[hits.index(min(hits))]
    axes.text(
        0.97 if x else 0.03,
        0.97 if y else 0.03,
        words,
        fontsize=10,
        color=ink,
        linespacing=1.4,
        ha="right" if x else "left",
        va="top" if y else "bottom",
        transform=axes.transAxes,
        path_effects=[withStroke(linewidth=3, foreground=halo)],
    )


def name_spot(
    scene: Scene,
    axes: Any,
    name: str,
    spot: np.ndarray,
    paths: np.ndarray,
    *,
    ink: str,
    halo: str,
    beside: str = "",
) -> None:
    """A name beside a spot, in the quarter where the paths (m, 2) cover it least.

    It keeps clear of the name ``beside`` that this spot already has.
    """
    rank = _quarters(scene, axes, name, spot, paths)
    if beside:
        rank.remove(_quarters(scene, axes, beside, spot, paths)[0])
    x, y = rank[0]
    away = ScaledTranslation(13 * x / 72, 12 * y / 72, scene.figure.dpi_scale_trans)
    text = FastText(
        float(spot[0]),
        float(spot[1]),
        name,
        transform=axes.transData + away,
        fontsize=10,
        family=SANS,
        ha="left" if x > 0 else "right",
        va="center",
        color=ink,
        parse_math=False,
        path_effects=[withStroke(linewidth=3, foreground=halo)],
    )
    text.halo = (halo, 3.0)
    axes.add_artist(text)
    text.set_clip_on(False)
    scene.moving(text)


def _quarters(
    scene: Scene, axes: Any, name: str, spot: np.ndarray, paths: np.ndarray
) -> list[tuple[int, int]]:
    """Signs of offsets, best first: those that keep a name inside the axes and off the paths."""
    t = np.linspace(0, 1, 12)[:, None, None]
    dense = (paths[:-1] + t * np.diff(paths, axis=0)).reshape(-1, 2)
    pixels = axes.transData.transform(np.concatenate([paths, dense]))
    origin, (low, high) = axes.transData.transform(spot), axes.bbox.get_points()
    point = scene.figure.dpi / 72
    size = np.array([6.6 * len(name) + 10, 24.0]) * point
    quarters = [(1, -1), (-1, -1), (1, 1), (-1, 1)]
    covered = []
    for quarter in quarters:
        near = origin + np.array(quarter) * (7, 1) * np.array(point)  # a line is wide
        far = near + np.array(quarter) * size
        foot, top = np.minimum(near, far), np.maximum(near, far)
        hits = int(((pixels >= foot) & (pixels <= top)).all(axis=1).sum())
        outside = bool((foot < low).any() or (top > high).any())
        covered.append((outside, hits))
    return [quarters[i] for i in sorted(range(4), key=lambda i: covered[i])]


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
        look = {"ink": theme.text, "halo": theme.background}
        name_spot(scene, axes, "start", self.path[0], self.path, **look)
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
