"""Labels beside curves that never meet one another or the frame, and ticks for log axes."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FixedFormatter, FixedLocator, MaxNLocator, NullLocator
from numpy.typing import ArrayLike


def spread(preferred: ArrayLike, heights: ArrayLike, low: float, high: float) -> np.ndarray:
    """Centres of labels, as near to where they would like to be as disjointness allows.

    1. In preferred order, subtract the heights stacked so far: disjoint becomes non-decreasing.
    2. Pool neighbours that decrease (least squares under that order).
    3. Clip to the frame and add the heights again.

    Parameters
    ----------
    preferred, heights : array, shape (n,)
        Centre and height of each label, in one unit, upwards.
    low, high : float
        Frame. Labels too many for it share it, overlapping evenly.

    Returns
    -------
    ndarray, in the order of ``preferred``.
    """
    wish, height = np.asarray(preferred, float), np.asarray(heights, float)
    if len(wish) == 0:
        return wish
    height = height * min(1.0, (high - low) / height.sum())
    order = np.argsort(wish, kind="stable")
    sizes = height[order]
    stacked = np.cumsum(sizes) - sizes / 2  # 1.
    pools: list[tuple[float, int]] = []
    for value in wish[order] - stacked:  # 2.
        mean, count = float(value), 1
        while pools and pools[-1][0] > mean:
            other, n = pools.pop()
            mean, count = (mean * count + other * n) / (count + n), count + n
        pools.append((mean, count))
    level = np.concatenate([np.full(n, mean) for mean, n in pools])
    placed = np.empty_like(wish)
    placed[order] = np.clip(level, low, max(low, high - height.sum())) + stacked  # 3.
    return placed


LADDERS: Sequence[Sequence[float]] = (
    (1, 1.2, 1.4, 1.6, 1.8, 2, 2.5, 3, 3.5, 4, 5, 6, 7, 8),
    (1, 1.2, 1.5, 2, 3, 4, 5, 6, 8),
    (1, 2, 3, 5),
    (1, 3),
    (1,),
)
"""Mantissas of ticks within a decade, from dense to sparse."""


def log_ticks(low: float, high: float, at_most: int = 9) -> list[float]:
    """Round numbers between two positive ones: 0.3 0.4 0.5, or 0.1 1 10, or every third decade."""
    if high / low < 2.5:
        values = MaxNLocator(at_most - 2).tick_values(low, high)
        return [float(t) for t in values if low <= t <= high]
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    for mantissas in LADDERS:
        decades = range(max(first, -307), min(last, 307) + 1)
        ticks = [m * 10.0**e for e in decades for m in mantissas]
        ticks = [t for t in ticks if low <= t <= high]
        if len(ticks) <= at_most:
            return ticks
    return ticks[:: math.ceil(len(ticks) / at_most)]


def log_axis(axes: Axes, low: float, high: float, which: str = "y", at_most: int = 9) -> None:
    """Make an axis logarithmic over a window, with ticks that read as plain numbers if they can."""
    axis = axes.yaxis if which == "y" else axes.xaxis
    axes.set(**{f"{which}scale": "log", f"{which}lim": (low, high)})
    ticks = log_ticks(low, high, at_most)
    axis.set_major_locator(FixedLocator(ticks))
    axis.set_major_formatter(FixedFormatter([tick_label(t, ticks) for t in ticks]))
    axis.set_minor_locator(NullLocator())


def tick_label(value: float, among: Sequence[float]) -> str:
    """Plain numbers while all are short; powers of ten otherwise."""
    if min(among) >= 1e-3 and max(among) < 1e5:
        different = (d for d in range(5, 16) if len({f"{t:.{d}g}" for t in among}) == len(among))
        digits = next(different, 16)
        return f"{value:.{digits}g}"
    exponent = math.log10(value)
    if abs(exponent - round(exponent)) < 1e-9:
        return f"$10^{{{round(exponent)}}}$"
    return f"{value:.3g}"


def cost_window(curves: Sequence[np.ndarray]) -> tuple[float, float, bool]:
    """Window that shows all curves but a divergence, and whether it is logarithmic.

    A cost above thirty times the highest start is off the window: one diverging run must not
    flatten the others. The foot is wide enough for a label below the lowest curve.
    """
    finite = [c[np.isfinite(c)] for c in curves]
    values = np.concatenate([np.zeros(0), *finite])
    if len(values) == 0:
        return 0.0, 1.0, False
    starts = [float(c[0]) for c in finite if len(c)]
    low, high, start = float(values.min()), float(values.max()), max(starts)
    positive = values[values > 0]
    if low < 0 or len(positive) == 0:
        high = min(high, start + 30 * max(start - low, 1e-300))
        margin = 0.06 * (high - low) or max(abs(high), 1.0) * 0.1
        return low - 1.6 * margin, high + margin, False
    high = min(high, 30 * start) if start > 0 else high
    bottom, top = math.log10(positive.min()), math.log10(max(high, positive.min()))
    margin = max(0.06 * (top - bottom), 0.02)
    lowest, highest = max(bottom - 1.6 * margin, -307.0), min(top + margin, 308.0)
    return float(10**lowest), float(10**highest), True


def told_apart(names: Sequence[str], width: int) -> dict[str, str]:
    """Names of at most ``width`` characters, by name.

    Those that are longer lose words with which all begin, as many as they must: these tell nothing.
    What is still too long loses its end, or its middle if ends are what differs.
    """
    first, last = min(names), max(names)  # what these two share, all share
    same = 0 if first == last else next(i for i, c in enumerate(last) if first[i : i + 1] != c)
    cuts = [0, *(i + 1 for i, c in enumerate(first[:same]) if c in " -_/=,")]
    longest = max(map(len, names))
    cut = next((cut for cut in cuts if longest - cut < width), cuts[-1])

    def shortened(name: str, head: int) -> str:
        if len(name) <= width:
            return name
        rest = "…" + name[cut:] if cut else name
        if len(rest) <= width:
            return rest
        return rest[:head] + "…" + rest[len(rest) - (width - 1 - head) :]

    for head in (width - 1, width // 3):
        short = {name: shortened(name, head) for name in names}
        if len(set(short.values())) == len(set(names)):
            break
    return short
