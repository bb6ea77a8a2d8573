"""Scene (a): costs of several runs, their accuracy, and the sorted sample weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator, MultipleLocator

from torchlogreg.history import History
from torchlogreg.viz import read
from torchlogreg.viz.canvas import DESIGN_HEIGHT, DESIGN_WIDTH, Scene, number
from torchlogreg.viz.curves import Curves
from torchlogreg.viz.labels import cost_window, log_axis
from torchlogreg.viz.palette import Theme

GUTTER, WIDE_GUTTER = 130, 200
"""Pixels right of the cost panel, kept free for its labels."""

MANY = 5
"""More curves than this have labels of one line, in the wide gutter."""

DASHES = (None, (6.0, 1.5), (3.0, 1.0, 1.0, 1.0), (1.0, 1.0))
"""Once the colours have all been used, runs differ by their dashes."""


class CostCurves(Scene):
    """Costs being minimised, training accuracy and sample weights of one or more runs.

    A run whose rows are weighted also shows its cost without the weights, but with the penalty,
    dashed: the weighted cost rises as weights grow, while the model may well improve.

    Parameters
    ----------
    histories : mapping of str to History
        Runs by name; "normal" and "weighted" have colours of their own.
    title, subtitle : str, optional
        Default: what the histories say about the model and the optimizer.
    theme : {"light", "dark"} or Theme
    size : pair of int
        Pixels.

    Raises
    ------
    ValueError
        Without runs or records.
    """

    def __init__(
        self,
        histories: Mapping[str, History],
        *,
        title: str | None = None,
        subtitle: str | None = None,
        theme: str | Theme = "light",
        size: tuple[int, int] = (DESIGN_WIDTH, DESIGN_HEIGHT),
    ) -> None:
        if not histories:
            raise ValueError("there are no runs to draw; pass {'name': history}")
        for name, history in histories.items():
            if len(history) == 0:
                raise ValueError(f"run {name!r} has no records; record it with hooks.Recorder()")
        self.histories = dict(histories)
        runs = list(self.histories.values())
        self.steps = np.unique(np.concatenate([read.iterations(h) for h in runs]))
        self.unit = read.unit(runs)
        super().__init__(
            len(self.steps),
            title=read.model_title(runs[0]) if title is None else title,
            subtitle=read.settings(runs) if subtitle is None else subtitle,
            theme=theme,
            size=size,
        )

    def build(self) -> None:
        """Cost panel left; accuracy and sample weights right, if there are any."""
        accurate = {n: h for n, h in self.histories.items() if "accuracy" in h}
        weighted = read.adaptive_run(self.histories)
        self._groups = [self._costs(760 if accurate or weighted else 1240)]
        if accurate:
            self._groups.append(self._accuracy(accurate, 342 if weighted else 644))
        self._weighted = self.histories[weighted] if weighted else None
        if weighted:
            self._weights(weighted, 432 if accurate else 130)
        for group in self._groups:
            group.finish()

    def move(self, frame: int) -> None:
        """Curves up to this step; the bars of its sample weights."""
        step = float(self.steps[frame])
        self._cut.set_xdata([step, step])
        for group in self._groups:
            group.show(step)
        if self._weighted is not None:
            self._show_weights(self._weighted, step)
        self.count(self.unit, step, float(self.steps[-1]), self._figures_at(step))

    def _costs(self, right: float) -> Curves:
        """The cost panel; labels live in a gutter at its right."""
        costs = {name: read.cost(history) for name, history in self.histories.items()}
        plain = {
            name: read.unweighted_cost(history)
            for name, history in self.histories.items()
            if read.reweighted(history)
        }
        low, high, logarithmic = cost_window([*costs.values(), *plain.values()])
        title = "Cost being minimised" + ("  (log scale)" if logarithmic else "")
        lines = len(costs) + len(plain)
        gutter = GUTTER if lines <= MANY else WIDE_GUTTER
        axes = self.panel(83, 130, right - gutter, 644, title=title)
        axes.set_ylim(low, high)
        if logarithmic:
            log_axis(axes, low, high)
        self._time(axes)
        cut = axes.axvline(0, color=self.theme.muted, linewidth=0.9, linestyle=(0, (2, 2)))
        self._cut = self.moving(cut)
        group = Curves(self, axes, gutter, _two_lines if lines <= MANY else _one_line)
        for i, (name, history) in enumerate(self.histories.items()):
            color, steps = self.theme.run_color(name, i), read.iterations(history)
            if name in plain:
                # The colour says whose: a name would not fit.
                group.add("without weights", steps, plain[name], color, width=1.6, dashed=True)
            width, dashes = 3.0 if lines <= MANY else 2.2, DASHES[i // 7 % len(DASHES)]
            group.add(name, steps, costs[name], color, width=width, dashes=dashes)
        return group

    def _accuracy(self, histories: Mapping[str, History], bottom: float) -> Curves:
        """Steps of the training accuracy, from where it matters up to 100 %."""
        axes = self.panel(814, 130, 1152, bottom, title="Training accuracy")
        values = np.concatenate([np.asarray(h["accuracy"], float) for h in histories.values()])
        values = values[np.isfinite(values)]
        usual = float(np.quantile(values, 0.1)) if len(values) else 0.0
        low = max(0.0, float(np.floor((usual - 0.06) * 10) / 10))
        axes.set_ylim(low, 1.0 + 0.02 * (1 - low))
        axes.yaxis.set_major_locator(MultipleLocator(0.05 if low >= 0.7 else 0.1))
        axes.yaxis.set_major_formatter(lambda value, _: f"{100 * value:.0f} %")
        self._time(axes)
        group = Curves(self, axes, 88, lambda _, value: f"{100 * value:.1f} %", follow=False)
        for name, history in histories.items():
            i = list(self.histories).index(name)
            color, steps = self.theme.run_color(name, i), read.iterations(history)
            accuracy = np.asarray(history["accuracy"], float)
            group.add(name, steps, accuracy, color, width=2.4, drawstyle="steps-post")
        return group

    def _weights(self, name: str, top: float) -> None:
        """Bars of one run's sample weights, heaviest first, the misclassified ones coloured."""
        named = len(self.histories) > 1 and name != "weighted"
        title = "Sample weights, sorted" + (f"  ({name})" if named else "")
        axes = self.panel(814, top, 1152, 644, title=title)
        weight = np.asarray(self.histories[name]["sample_weight"], float)
        n = weight.shape[1]
        axes.set(xlim=(0, n), ylim=(0, 1.1 * float(weight[np.isfinite(weight)].max(initial=1.0))))
        axes.set_xlabel("sample (heaviest first)", fontsize=11, labelpad=5)
        axes.yaxis.set_major_locator(MaxNLocator(6, integer=axes.get_ylim()[1] > 3))
        axes.xaxis.set_major_locator(MaxNLocator(8, integer=True))
        edges, zero = np.arange(n + 1), np.zeros(n)
        color = self.theme.run_color(name, list(self.histories).index(name))
        bars = [axes.stairs(zero, edges, fill=True, color=c) for c in (self.theme.idle, color)]
        self._all, self._wrong = (self.moving(bar) for bar in bars)
        self.moving(axes.axhline(1, color=self.theme.muted, linewidth=1, linestyle=(0, (3, 2))))
        style: dict[str, Any] = {"color": self.theme.muted, "fontsize": 9.5, "va": "center"}
        axes.text(1.015, 1, "mean 1", transform=axes.get_yaxis_transform(), **style)
        text = self.words(
            *self.place(1141, top + 16), size=10, color=color, weight="bold", ha="right"
        )
        self._wrong_text = self.moving(text)

    def _show_weights(self, history: History, step: float) -> None:
        i = max(int(np.searchsorted(read.iterations(history), step, side="right")) - 1, 0)
        weight = np.nan_to_num(np.asarray(history["sample_weight"][i], float), posinf=0.0)
        wrong = read.misclassified(history, i)
        # Among equals the misclassified come first, so that the colours do not interleave.
        order = np.lexsort((-1.0 * (wrong if wrong is not None else weight), -weight))
        self._all.set_data(weight[order])
        if wrong is not None:
            self._wrong.set_data(np.where(wrong[order], weight[order], 0.0))
            self._wrong_text.set_text(f"■ misclassified now: {int(wrong.sum())}")
        elif "accuracy" in history:
            count = round((1 - float(history["accuracy"][i])) * len(weight))
            self._wrong_text.set_text(f"misclassified now: {count}")

    def _time(self, axes: Axes) -> None:
        """The axis of iterations; a single record gets a little width."""
        first, last = float(self.steps[0]), float(self.steps[-1])
        axes.set_xlim(first, last if last > first else first + 1)
        axes.set_xlabel(self.unit, fontsize=11, labelpad=5)
        axes.xaxis.set_major_locator(MaxNLocator(8, integer=True, steps=[1, 2, 2.5, 5, 10]))

    def _figures_at(self, step: float) -> str:
        """Costs at a step, or the lowest of many."""
        now = {}
        for name, history in self.histories.items():
            i = int(np.searchsorted(read.iterations(history), step, side="right")) - 1
            now[name] = float(read.cost(history)[max(i, 0)])
        text = "   ".join(f"{name} {number(value)}" for name, value in now.items())
        if len(text) <= 44:
            return text
        best = min(now, key=lambda name: (not np.isfinite(now[name]), now[name]))
        return f"lowest {best[:20]} {number(now[best])}"


def _two_lines(name: str, value: float) -> str:
    return f"{name}\n{number(value)}"


def _one_line(name: str, value: float) -> str:
    return f"{name} {number(value)}"
