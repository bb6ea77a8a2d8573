"""Scene: a picture whose static artists are drawn once and whose moving artists follow a frame."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from bisect import bisect_left
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.text import Text

from torchlogreg.viz.palette import MONO, SANS, Theme, theme_named
from torchlogreg.viz.text import FastText
from torchlogreg.whole_files import whole_file

DESIGN_WIDTH, DESIGN_HEIGHT = 1280, 720
"""Panels are laid out in these pixels; type and lines scale with the real size."""

BAR_HEIGHT = 6
PICTURES = {
    ".png": {"Software": None},
    ".svg": {"Date": None, "Creator": None},
    ".pdf": {"CreationDate": None, "Creator": None, "Producer": None},
}
"""Formats of a single picture; their dates are left out, so that equal runs give equal files."""

AnyArtist = TypeVar("AnyArtist", bound=Artist)


class Scene(ABC):
    """A film or picture still to be drawn: title and settings, counter and figures, panels.

    A scene says what is still (``build``, called once) and what moves (``move``, once a frame);
    how frames become files is the business of ``film.py``.

    Parameters
    ----------
    n_frames : int
        Frames there are, usually one for each record.
    title, subtitle : str
        Left part of the header; shortened if too long.
    theme : {"light", "dark"} or Theme
    size : pair of int
        Width and height in pixels, even, as video encoders need.

    Attributes
    ----------
    figure : matplotlib.figure.Figure
        Not known to pyplot.
    artists : list of Artist
        What moves, in the order of drawing.
    caption : str
        Counter and figures of the frame now shown.

    Raises
    ------
    ValueError
        Without frames, or for a size that no encoder takes.
    """

    def __init__(
        self,
        n_frames: int,
        *,
        title: str,
        subtitle: str = "",
        theme: str | Theme = "light",
        size: tuple[int, int] = (DESIGN_WIDTH, DESIGN_HEIGHT),
    ) -> None:
        if n_frames < 1:
            raise ValueError("there are no records to draw; record a fit with hooks.Recorder()")
        width, height = size
        if width % 2 or height % 2 or width < 320 or height < 180:
            raise ValueError(
                f"size is {width} x {height} pixels, but video needs even sizes from 320 x 180 on"
            )
        self.n_frames = n_frames
        self.theme = theme_named(theme)
        self.size = (width, height)
        self.title = title
        self.caption = ""
        self.artists: list[Artist] = []
        dpi = 100 * min(width / DESIGN_WIDTH, height / DESIGN_HEIGHT)
        inches = ((width + 0.01) / dpi, (height + 0.01) / dpi)  # 0.01: never a pixel less
        with self.theme.style():
            self.figure = Figure(figsize=inches, dpi=dpi, facecolor=self.theme.background)
            self.canvas = FigureCanvasAgg(self.figure)
            self._header(title, subtitle)
            self.build()

    @abstractmethod
    def build(self) -> None:
        """Draw the panels; hand what will move to ``moving``."""

    @abstractmethod
    def move(self, frame: int) -> None:
        """Set the moving artists, and the header by ``count``, for a frame in [0, n_frames)."""

    def update(self, frame: int) -> Sequence[Artist]:
        """Show a frame; negative ones count from the end.

        Raises
        ------
        IndexError
            If there is no such frame.
        """
        if not -self.n_frames <= frame < self.n_frames:
            raise IndexError(f"frame {frame} was asked for, but there are {self.n_frames}")
        self.move(frame % self.n_frames)
        return self.artists

    def moving(self, artist: AnyArtist) -> AnyArtist:
        """Take an artist out of the still background; it is drawn on every frame, on top."""
        artist.set_animated(True)
        artist.set_zorder(10 + len(self.artists))  # a full drawing gives the same picture
        self.artists.append(artist)
        return artist

    def animate(self, moving: bool) -> None:
        """Whether full drawings leave out what moves, as blitting needs, or show it."""
        for artist in self.artists:
            artist.set_animated(moving)

    def panel(
        self, left: float, top: float, right: float, bottom: float, *, title: str = ""
    ) -> Axes:
        """Axes at these pixels of a 1280 x 720 design, counted from the upper left corner."""
        width, height = DESIGN_WIDTH, DESIGN_HEIGHT
        box = (left / width, 1 - bottom / height, (right - left) / width, (bottom - top) / height)
        axes = self.figure.add_axes(box)
        self.theme.dress(axes)
        axes.set_title(
            title, loc="left", fontsize=12.5, fontweight="bold", pad=9, color=self.theme.text
        )
        return axes

    def place(self, x: float, y: float) -> tuple[float, float]:
        """Design pixels from the upper left corner, as a fraction of the figure."""
        return x / DESIGN_WIDTH, 1 - y / DESIGN_HEIGHT

    def words(
        self,
        x: float,
        y: float,
        *,
        size: float,
        color: str | None = None,
        weight: str = "normal",
        ha: str = "left",
        family: str = SANS,
    ) -> FastText:
        """Text that will change, at a fraction of the figure; still to be handed to ``moving``."""
        text = FastText(
            x,
            y,
            "",
            fontsize=size,
            color=self.theme.text if color is None else color,
            fontweight=weight,
            family=family,
            ha=ha,
            va="center",
            linespacing=1.15,
            parse_math=False,
            transform=self.figure.transFigure,
        )
        self.figure.add_artist(text)
        return text

    def count(self, unit: str, now: float, end: float, figures: str) -> None:
        """Set the right part of the header and the progress bar."""
        width = len(f"{end:g}")
        self._counter.set_text(f"{unit}  {now:>{width}g} / {end:g}")
        self._figures.set_text(figures)
        self.caption = f"{self._counter.get_text()}   {figures}".strip()
        self._bar.set_width(now / end if end else 1.0)

    def _header(self, title: str, subtitle: str) -> None:
        theme, text, place = self.theme, self.figure.text, self.place
        bar: dict[str, Any] = {"transform": self.figure.transFigure, "linewidth": 0}
        height = BAR_HEIGHT / DESIGN_HEIGHT
        self.figure.add_artist(Rectangle((0, 0), 1, height, color=theme.track, **bar))
        self._bar = Rectangle((0, 0), 0, height, color=theme.accent, **bar)
        self.figure.add_artist(self.moving(self._bar))
        style: dict[str, Any] = {"va": "center", "parse_math": False}
        heading = text(*place(58, 30), title, fontsize=17, fontweight="bold", **style)
        below = text(*place(58, 60), subtitle, fontsize=11, color=theme.muted, **style)
        fit_width(heading, 900 / DESIGN_WIDTH)
        fit_width(below, 780 / DESIGN_WIDTH)
        style = {"ha": "right", "family": MONO}
        self._counter = self.words(*place(1235, 31), size=13, weight="bold", **style)
        self._figures = self.words(*place(1235, 60), size=10.5, color=theme.muted, **style)
        self.moving(self._counter)
        self.moving(self._figures)


def fit_width(text: Text, width: float) -> None:
    """Make a text at most ``width`` (a share of the figure) wide: smaller, then shorter."""
    figure = text.get_figure(root=True)
    if figure is None or not text.get_text():
        return
    limit, size, words = width * figure.bbox.width, float(text.get_fontsize()), text.get_text()

    def fits(length: int) -> bool:
        text.set_text(words[:length].rstrip() + "…")
        return bool(text.get_window_extent().width <= limit)

    for shrink in (0.95, 0.9, 0.85, 0.8, 0.75):
        if text.get_window_extent().width > limit:
            text.set_fontsize(shrink * size)
    if text.get_window_extent().width > limit and len(words) > 1:
        fits(longest(fits, 1, len(words) - 1))


def longest(fits: Callable[[int], bool], least: int, most: int) -> int:
    """The largest length that fits, of lengths of which the shorter fit if the longer do.

    Laying out a text costs by its length: one character less each time was quadratic.
    """
    return least + bisect_left(range(least + 1, most + 1), True, key=lambda n: not fits(n))


def number(value: float) -> str:
    """A cost as it stands beside a curve: 0.5701, 1.2e-07, inf."""
    if value == 0:
        return "0"
    plain = 1e-3 <= abs(value) < 1e4
    return f"{value:.4f}" if plain else f"{value:.2e}"


def save_picture(scene: Scene, path: str | os.PathLike[str], frame: int = -1) -> Path:
    """Draw one frame in full and write it; the file appears whole or not at all.

    Parameters
    ----------
    scene : Scene
    path : path
        Its suffix says the format: .png, .svg or .pdf.
    frame : int
        Which frame; the last by default.

    Returns
    -------
    Path

    Raises
    ------
    ValueError
        For another suffix.
    OSError
        If it cannot be written.
    """
    path, kind = Path(path), Path(path).suffix.lower()
    if kind not in PICTURES:
        raise ValueError(
            f"{path.name} ends in {path.suffix!r}, which is no picture format here; "
            f"use one of {', '.join(PICTURES)}"
        )
    scene.update(frame)
    try:
        with whole_file(path) as temporary, scene.theme.style():
            scene.animate(False)
            facts = dict(PICTURES[kind])
            scene.figure.savefig(temporary, format=kind[1:], facecolor="auto", metadata=facts)
    finally:
        scene.animate(True)
    return path
