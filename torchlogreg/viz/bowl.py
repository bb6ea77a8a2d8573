"""The loss surface as a landscape in 3-D, seen by a camera that stands still."""

from __future__ import annotations

from typing import Any

import numpy as np
from contourpy import contour_generator
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.lines import Line2D
from mpl_toolkits.mplot3d import proj3d  # type: ignore[import-untyped]
from mpl_toolkits.mplot3d.axes3d import Axes3D  # type: ignore[import-untyped]

from torchlogreg.history import History
from torchlogreg.viz.canvas import DESIGN_HEIGHT, DESIGN_WIDTH, Scene
from torchlogreg.viz.surface import Optimum, Plane, excess_levels, loss_at
from torchlogreg.viz.trail import surface_grid

CELLS = 70


class Bowl:
    """Surface and level lines, still; the path and its end, moving.

    The path is projected once: moving artists are then ordinary flat lines, which draw fast.

    Parameters
    ----------
    scene : Scene
    history : History
    plane : Plane
    limits : ndarray, shape (2, 2)
    best : Optimum
    path : ndarray, shape (m, 2)
    """

    def __init__(
        self,
        scene: Scene,
        history: History,
        plane: Plane,
        limits: np.ndarray,
        best: Optimum,
        path: np.ndarray,
    ) -> None:
        self.scene = scene
        axes = self._axes(plane, limits, path)
        a, b, loss = surface_grid(history, plane, limits, CELLS)
        self._surface(axes, a, b, loss, best)
        inside = np.clip(path, limits[:, 0], limits[:, 1])
        height = loss_at(history, plane.points(*inside.T))
        outside = ~((path >= limits[:, 0]) & (path <= limits[:, 1])).all(axis=1)
        x, y, _ = proj3d.proj_transform(*inside.T, height, axes.get_proj())
        self.spots = np.column_stack([x, y])
        self.spots[outside] = np.nan
        theme = scene.theme
        flat: dict[str, Any] = {"transform": axes.transData}
        self.lines = [
            Line2D([], [], color=theme.rim, lw=5.5, solid_capstyle="round", **flat),
            Line2D([], [], color=theme.path[-1], lw=3.2, solid_capstyle="round", **flat),
        ]
        dot = {"marker": "o", "mec": theme.rim, "mew": 2, "ls": "", **flat}
        start = Line2D(*self.spots[:1].T, color=theme.path[0], ms=9, **dot)
        self.now = Line2D([], [], color=theme.path[-1], ms=12, **dot)
        for artist in (*self.lines, start, self.now):
            scene.figure.add_artist(scene.moving(artist))

    def show(self, frame: int) -> None:
        """Draw the path up to a record."""
        for line in self.lines:
            line.set_data(*self.spots[: frame + 1].T)
        self.now.set_data(*self.spots[frame : frame + 1].T)

    def _axes(self, plane: Plane, limits: np.ndarray, path: np.ndarray) -> Any:
        """Three quiet axes, seen from above one corner."""
        scene, theme = self.scene, self.scene.theme
        left, top, right, bottom = 838, 140, 1240, 600
        width, height = DESIGN_WIDTH, DESIGN_HEIGHT
        box = (left / width, 1 - bottom / height, (right - left) / width, (bottom - top) / height)
        make: Any = Axes3D
        axes = make(scene.figure, rect=box, computed_zorder=False, facecolor="none")
        scene.figure.add_axes(axes)
        # From beyond the end of the path, a little to the side: the start is at the back, and the
        # rim nearest to the eye is low.
        finite = path[np.isfinite(path).all(axis=1)]
        ahead = (finite[-1] - finite[0]) / np.ptp(limits, axis=1)
        axes.view_init(elev=40, azim=float(np.degrees(np.arctan2(ahead[1], ahead[0]))) + 38)
        axes.set_box_aspect((1, 1, 0.72), zoom=0.94)
        for axis, name in zip(
            (axes.xaxis, axes.yaxis, axes.zaxis),
            (plane.names[0].split("  ")[0], plane.names[1].split("  ")[0], "loss"),
            strict=True,
        ):
            axis.set_pane_color((0, 0, 0, 0))
            axis.line.set_color(theme.muted)
            axis._axinfo["grid"].update(color=theme.grid, linewidth=0.7)
            axis.set_label_text(name, fontsize=10.5, color=theme.muted)
        axes.zaxis.labelpad = 1  # else its name leaves the panel
        axes.tick_params(labelsize=9, labelcolor=theme.muted, color=theme.muted, pad=0)
        axes.set(xlim=limits[0], ylim=limits[1])
        scene.figure.text(
            *scene.place(855, 112),
            "Loss surface, in 3-D",
            fontsize=12.5,
            fontweight="bold",
            va="center",
        )
        return axes

    def _surface(
        self, axes: Any, a: np.ndarray, b: np.ndarray, loss: np.ndarray, best: Optimum
    ) -> None:
        theme = self.scene.theme
        logs, levels = excess_levels(loss - min(best.loss, float(np.nanmin(loss))))
        ramp = LinearSegmentedColormap.from_list("surface", theme.surface)
        share = (logs - levels[0]) / (levels[-1] - levels[0])
        axes.plot_surface(
            a,
            b,
            loss,
            facecolors=ramp(share),
            rcount=CELLS,
            ccount=CELLS,
            shade=False,
            linewidth=0,
            antialiased=False,
            zorder=1,
        )
        axes.set_zlim(0.98 * float(loss.min()) if loss.min() > 0 else loss.min(), loss.max())
        lines = contour_generator(a, b, logs)
        for level in levels[1:-1]:
            for segment in lines.lines(level):
                self._on_surface(axes, a, b, loss, np.asarray(segment))

    def _on_surface(
        self, axes: Any, a: np.ndarray, b: np.ndarray, loss: np.ndarray, segment: np.ndarray
    ) -> None:
        """One level line, lifted on to the surface."""
        column = np.clip(np.searchsorted(a[0], segment[:, 0]) - 1, 0, CELLS - 2)
        row = np.clip(np.searchsorted(b[:, 0], segment[:, 1]) - 1, 0, CELLS - 2)
        u = (segment[:, 0] - a[0][column]) / (a[0][column + 1] - a[0][column])
        v = (segment[:, 1] - b[:, 0][row]) / (b[:, 0][row + 1] - b[:, 0][row])
        below = (1 - u) * loss[row, column] + u * loss[row, column + 1]
        above = (1 - u) * loss[row + 1, column] + u * loss[row + 1, column + 1]
        height = (1 - v) * below + v * above
        axes.plot(
            *segment[:, :2].T, height, color=self.scene.theme.level, lw=0.7, alpha=0.8, zorder=2
        )
