"""Scene: coefficients along a path of penalties, and below it how well each does on other rows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator

from torchlogreg.viz.canvas import DESIGN_HEIGHT, DESIGN_WIDTH, Scene, number
from torchlogreg.viz.labels import spread
from torchlogreg.viz.palette import Theme

LEFT, RIGHT = 84, 1092
"""Design pixels of both panels; to the right of them stand the names of columns."""

NAMED = 12
"""Columns at most that have names and colours; of more, those with the largest coefficients."""

NEAR = 10
"""Down to a tenth of the chosen alpha the coefficients decide how high the panel is."""

APART = 17
"""Design pixels between two names."""


class RegularisationPath(Scene):
    """A regularisation path and its cross-validation curve, as one still picture.

    Above, every coefficient against ``alpha``, strong penalties on the left. Below, the mean score
    of the folds with one standard error either way, and each fold thinly. Upright lines: the chosen
    alpha, and the largest within one standard error of the best.

    Parameters
    ----------
    alphas : array, shape (A,)
        Positive.
    coefficients : array, shape (A, p)
        Of one class, or of the second of two.
    scores : array, shape (n_folds, A)
        Greater is better.
    chosen : float
        One of ``alphas``.
    names : sequence of str, optional
        Of the columns.
    scoring : str
        What the scores are.
    title, subtitle : str, optional
    theme : {"light", "dark"} or Theme
    size : pair of int
        Pixels.

    Raises
    ------
    ValueError
        If the shapes do not go together, or an alpha is not positive.
    """

    def __init__(
        self,
        alphas: np.ndarray,
        coefficients: np.ndarray,
        scores: np.ndarray,
        chosen: float,
        *,
        names: Sequence[str] | None = None,
        scoring: str = "score",
        title: str = "Regularisation path",
        subtitle: str | None = None,
        theme: str | Theme = "light",
        size: tuple[int, int] = (DESIGN_WIDTH, DESIGN_HEIGHT),
    ) -> None:
        order = np.argsort(alphas)[::-1]
        self.alphas = np.asarray(alphas, dtype=np.float64)[order]
        A = len(self.alphas)
        if np.shape(coefficients)[:1] != (A,) or np.shape(scores)[1:] != (A,):
            raise ValueError(
                f"coefficients has shape {np.shape(coefficients)} and scores "
                f"{np.shape(scores)}, but ({A}, p) and (n_folds, {A}) go with {A} alphas"
            )
        if A < 2 or not (self.alphas > 0).all():
            raise ValueError("a path has at least two alphas, all of them positive")
        self.coefficients = np.asarray(coefficients, dtype=np.float64)[order]
        self.scores = np.asarray(scores, dtype=np.float64)[:, order]
        p = self.coefficients.shape[1]
        self.names = [f"column {j}" for j in range(p)] if names is None else list(names)
        self.chosen, self.scoring = float(chosen), scoring
        kept = int(np.count_nonzero(self.coefficients[self._at(self.chosen)]))
        if subtitle is None:
            subtitle = f"{len(self.scores)} folds · {A} alphas · {kept} of {p} columns kept"
        super().__init__(1, title=title, subtitle=subtitle, theme=theme, size=size)

    def build(self) -> None:
        """Path above, scores below, on one axis of alphas."""
        path = self.panel(LEFT, 118, RIGHT, 404, title="Coefficients")
        curve = self.panel(LEFT, 462, RIGHT, 652, title=f"Score of held-out rows: {self.scoring}")
        for axes in (path, curve):
            axes.set_xscale("log")
            axes.set_xlim(self.alphas[0] * 1.03, self.alphas[-1] / 1.03)
            axes.xaxis.set_major_locator(LogLocator(10, numticks=9))
            axes.xaxis.set_major_formatter(FuncFormatter(lambda alpha, _: f"{alpha:g}"))
            axes.xaxis.minorticks_off()
        curve.set_xlabel("alpha (strong penalty left, weak right)", fontsize=10.5)
        self._path(path)
        self._curve(curve)
        self._lines(path, curve)

    def move(self, frame: int) -> None:
        """Nothing moves."""
        place = self._at(self.chosen)
        mean = float(self.scores[:, place].mean())
        self.count("alpha", self.chosen, self.chosen, f"{self.scoring} {number(mean)}")
        self._counter.set_text(f"alpha  {self.chosen:.3g}")

    def _at(self, alpha: float) -> int:
        """Place of the alpha nearest in the logarithm."""
        return int(np.abs(np.log(self.alphas / alpha)).argmin())

    def _path(self, axes: Axes) -> None:
        """One line a column; the largest at the weak end in colour, with names."""
        last = self.coefficients[-1]
        place = self._at(self.chosen)
        rank = np.lexsort((-np.abs(last), -np.abs(self.coefficients[place])))
        named = rank[:NAMED]
        quiet = np.setdiff1d(np.arange(len(last)), named)
        axes.axhline(0, color=self.theme.muted, linewidth=0.8)
        axes.plot(self.alphas, self.coefficients[:, quiet], color=self.theme.idle, linewidth=1)
        # Weak penalties let some grow without end: the picture is of what is near the choice.
        near = self.coefficients[self.alphas >= self.alphas[place] / NEAR]
        low, high = float(near.min()), float(near.max())
        margin = 0.05 * (high - low or 1.0)
        axes.set_ylim(low - margin, high + margin)
        pixels = 404 - 118
        height = (high - low + 2 * margin) / pixels * APART
        ends = np.clip(last, low - margin, high + margin)
        wishes = ends[named]
        y = spread(wishes, np.full(len(named), height), low - margin, high + margin)
        for i, j in enumerate(named):
            color = self.theme.series[i % len(self.theme.series)]
            dash = "-" if i < len(self.theme.series) else (0, (5, 1.5))
            values = self.coefficients[:, j]
            axes.plot(self.alphas, values, color=color, linewidth=2, linestyle=dash)
            axes.annotate(
                self._short(self.names[j]),
                (self.alphas[-1], ends[j]),
                xytext=(RIGHT / DESIGN_WIDTH + 0.012, y[i]),
                textcoords=("figure fraction", "data"),
                color=color,
                fontsize=10,
                va="center",
                annotation_clip=False,
                arrowprops={
                    "arrowstyle": "-",
                    "color": color,
                    "linewidth": 0.7,
                    "shrinkA": 0,
                    "shrinkB": 0,
                    "relpos": (0, 0.5),
                },
            )

    def _curve(self, axes: Axes) -> None:
        """Mean and standard error of the folds; each fold thinly."""
        mean = self.scores.mean(axis=0)
        axes.plot(self.alphas, self.scores.T, color=self.theme.idle, linewidth=0.9)
        if len(self.scores) > 1:
            error = self.scores.std(axis=0, ddof=1) / len(self.scores) ** 0.5
            low, high, color = mean - error, mean + error, self.theme.series[0]
            axes.fill_between(self.alphas, low, high, color=color, alpha=0.22, linewidth=0)
        axes.plot(self.alphas, mean, color=self.theme.series[0], linewidth=2.2)
        place = self._at(self.chosen)
        axes.plot(self.alphas[place], mean[place], "o", color=self.theme.accent, markersize=7)
        least, most = float(self.scores.min()), float(self.scores.max())
        margin = 0.06 * (most - least or 1.0)
        axes.set_ylim(least - margin, most + margin)

    def _lines(self, path: Axes, curve: Axes) -> None:
        """Upright lines, with words above the path."""
        marks = [(self.chosen, " chosen", "-")]
        simple = self._simplest()
        if simple is not None and self._at(simple) != self._at(self.chosen):
            marks.append((simple, "within one s.e. ", "--"))
        for alpha, words, style in marks:
            for axes in (path, curve):
                axes.axvline(alpha, color=self.theme.accent, linewidth=1.3, linestyle=style)
            path.text(
                alpha,
                1.015,
                words,
                transform=path.get_xaxis_transform(),
                color=self.theme.accent,
                fontsize=9.5,
                ha="left" if alpha == self.chosen else "right",
                va="bottom",
            )

    def _simplest(self) -> float | None:
        """The largest alpha within one standard error of the best mean score."""
        if len(self.scores) < 2:
            return None
        mean = self.scores.mean(axis=0)
        best = int(mean.argmax())
        error = self.scores[:, best].std(ddof=1) / len(self.scores) ** 0.5
        return float(self.alphas[int(np.argmax(mean >= mean[best] - error))])

    @staticmethod
    def _short(name: str) -> str:
        return name if len(name) <= 22 else name[:21] + "…"
