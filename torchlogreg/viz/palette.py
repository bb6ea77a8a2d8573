"""Colours and type: the Okabe-Ito palette in a light and a dark theme, DejaVu fonts throughout."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap

BLUE, VERMILION, GREEN, PINK = "#0072B2", "#D55E00", "#009E73", "#CC79A7"
ORANGE, SKY, YELLOW = "#E69F00", "#56B4E9", "#F0E442"
"""Okabe and Ito, Color universal design (2008): told apart by readers with any colour vision."""

SANS, MONO = "DejaVu Sans", "DejaVu Sans Mono"
"""Shipped with matplotlib, so that pictures are the same everywhere."""


@dataclass(frozen=True)
class Theme:
    """Colours of a picture.

    Attributes
    ----------
    background, text, muted, grid, track : str
        Paper, headings, axis labels, grid lines, the empty part of the progress bar.
    accent : str
        The progress bar and the one curve that matters.
    class1, class0 : str
        Blue circles and vermilion squares.
    series : tuple of str
        Runs and optimizers, in this order.
    path, surface, quiet, field : tuple of str
        Stops of the colour ramps: first to last iteration; low to high loss, and the same below
        paths of many colours; P(y = 1) from 0 to 1.
    rim, halo, on_surface, level : str
        Edge of a path; edge and colour of words at the foot of a surface; level lines.
    earlier, idle : str
        Earlier fits; bars of samples that are classified right.
    faint : float
        Opacity of the rest of a run.
    """

    background: str
    text: str
    muted: str
    grid: str
    track: str
    accent: str
    class1: str
    class0: str
    series: tuple[str, ...]
    path: tuple[str, ...]
    surface: tuple[str, ...]
    quiet: tuple[str, ...]
    field: tuple[str, ...]
    rim: str
    halo: str
    on_surface: str
    level: str
    earlier: str
    idle: str
    faint: float

    def style(self) -> AbstractContextManager[None]:
        """Settings to draw under, whatever the user's own matplotlib style says."""
        settings = {k: v for k, v in matplotlib.rcParamsDefault.items() if k.startswith(STYLED)}
        return matplotlib.rc_context(
            settings
            | {
                "font.family": [SANS],
                "mathtext.fontset": "dejavusans",
                "text.color": self.text,
                "axes.labelcolor": self.muted,
                "axes.edgecolor": self.muted,
                "axes.facecolor": self.background,
                "svg.hashsalt": "torchlogreg",
                "savefig.dpi": "figure",
            }
        )

    def dress(self, axes: Axes) -> None:
        """Two spines, a quiet grid below everything, small muted tick labels."""
        axes.set_axisbelow(True)
        axes.grid(True, color=self.grid, linewidth=0.8)
        axes.tick_params(length=0, labelsize=9.5, labelcolor=self.muted, pad=5)
        for side, spine in axes.spines.items():
            spine.set_visible(side in ("left", "bottom"))
            spine.set_color(self.muted)
            spine.set_linewidth(0.8)

    def run_color(self, name: str, index: int) -> str:
        """Colour of a run: fixed for "normal" and "weighted", else by its place."""
        fixed = {"normal": self.series[0], "weighted": self.series[1]}
        return fixed.get(name, self.series[index % len(self.series)])


class Restyle:
    """Draw under the settings of a theme again and again: ``with restyle:`` swaps their values.

    Matplotlib's own context copies and checks all its settings, which takes a millisecond and a
    half: a quarter of the time of a frame. These were checked once.
    """

    def __init__(self, theme: Theme) -> None:
        with theme.style():
            self._inside = {k: v for k, v in dict.items(SETTINGS) if k.startswith(STYLED)}
        self._outside: dict[str, Any] = {}

    def __enter__(self) -> None:
        """The theme's values."""
        self._outside = {k: dict.__getitem__(SETTINGS, k) for k in self._inside}
        dict.update(SETTINGS, self._inside)

    def __exit__(self, *exception: object) -> None:
        """The values that were there before."""
        dict.update(SETTINGS, self._outside)


SETTINGS: Any = matplotlib.rcParams
"""Read and written here as the dictionary it is: to look a setting up by name may warn."""

STYLED: tuple[str, ...] = (
    "axes.",
    "figure.",
    "font.",
    "grid.",
    "lines.",
    "mathtext.",
    "patch.",
    "path.",
    "text.",
)
STYLED += ("xtick.", "ytick.", "savefig.", "svg.", "pdf.", "image.", "agg.", "scatter.", "hatch.")
"""Families of matplotlib settings that change how a picture looks."""

LIGHT = Theme(
    background="#FFFFFF",
    text="#1F2933",
    muted="#6B7785",
    grid="#E3E8EC",
    track="#E1E6EA",
    accent=VERMILION,
    class1=BLUE,
    class0=VERMILION,
    series=(BLUE, VERMILION, GREEN, PINK, ORANGE, SKY, "#1F2933"),
    path=("#FFD166", "#F08A24", "#D7301F"),
    quiet=("#C2CFDB", "#DFE6EC", "#F7F9FA"),
    surface=("#123F63", "#1F6490", "#5FA3B5", "#B9D2D4", "#F4F5F2"),
    field=("#D27C40", "#ECAE80", "#F9E2CF", "#FFFFFF", "#D6E6F2", "#8BB9DC", "#3E86BD"),
    rim="#FFFFFF",
    halo="#123F63",
    on_surface="#FFFFFF",
    level="#FFFFFF",
    earlier=ORANGE,
    idle="#CAD1D8",
    faint=0.28,
)
DARK = Theme(
    background="#10161D",
    text="#E9EEF2",
    muted="#93A1AF",
    grid="#222C36",
    track="#24303B",
    accent="#F0762B",
    class1=SKY,
    class0="#F0762B",
    series=(SKY, "#F0762B", "#1CC394", "#E09BC4", ORANGE, "#7F9CF5", "#E9EEF2"),
    path=("#FFE08A", "#F79A3A", "#F0532D"),
    quiet=("#3A4A59", "#222E39", "#131A21"),
    surface=("#7FD6E0", "#3C9DB4", "#23667F", "#1A3F52", "#141D26"),
    field=("#9C4A15", "#713D1C", "#40291C", "#10161D", "#1A3347", "#24557B", "#2F75A6"),
    rim="#10161D",
    halo="#10161D",
    on_surface="#FFFFFF",
    level="#10161D",
    earlier=ORANGE,
    idle="#3B4855",
    faint=0.32,
)
THEMES = {"light": LIGHT, "dark": DARK}


def theme_named(theme: str | Theme) -> Theme:
    """``"light"``, ``"dark"`` or a Theme of one's own.

    Raises
    ------
    ValueError
        For another name.
    """
    if isinstance(theme, Theme):
        return theme
    if theme not in THEMES:
        raise ValueError(f"theme is {theme!r}, but the themes are {', '.join(THEMES)}")
    return THEMES[theme]


def color_table(stops: tuple[str, ...], n: int = 1024) -> np.ndarray:
    """Colours between the stops, (n, 4) bytes RGBA."""
    ramp = LinearSegmentedColormap.from_list("ramp", stops, N=n)
    table: np.ndarray = ramp(np.arange(n), bytes=True)
    return table
