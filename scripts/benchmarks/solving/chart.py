"""A chart of the race: seconds of ours and of every peer, one row a problem."""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Any

from torchlogreg.viz.palette import theme_named

WIDTH, ROW, ABOVE, BELOW = 9.0, 0.55, 0.8, 0.65
"""Inches."""


def draw(facts: dict[str, Any], path: Path, theme: str = "light") -> None:
    """Dots on a log scale of seconds: ours filled, the best peer ringed, other peers small.

    Parameters
    ----------
    facts : dict
        What :func:`benchmarks.solving.report.facts` returns, or the JSON says. Shown are the
        tightest target and the largest number of threads.
    path : Path
    theme : str
        "light" or "dark".
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    look = theme_named(theme)
    rows = shown(facts)
    with look.style():
        height = BELOW + ROW * len(rows) + ABOVE
        figure = Figure(figsize=(WIDTH, height), dpi=120)
        FigureCanvasAgg(figure)
        figure.patch.set_facecolor(look.background)
        axes = figure.add_axes((0.25, BELOW / height, 0.70, ROW * len(rows) / height))
        look.dress(axes)
        axes.grid(False, axis="y")
        for place, row in enumerate(rows):
            _row(axes, place, row, look)
        axes.set_xscale("log")
        low, high = axes.get_xlim()
        axes.set_xlim(low / 2, high * 1.5)  # room for the names of the outermost
        axes.set_yticks(range(len(rows)), [row["label"] for row in rows])
        axes.tick_params(axis="y", labelcolor=look.text)
        axes.set_ylim(len(rows) - 0.4, -0.6)
        axes.set_xlabel("seconds (median)", fontsize=9.5)
        figure.text(0.02, 1 - 0.12 / height, title(facts), fontsize=11.5, color=look.text, va="top")
        _legend(axes, look)
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path)


def shown(facts: dict[str, Any]) -> list[dict[str, Any]]:
    """One row for each problem at its tightest target with a time, at the most threads."""
    most = max((r["threads"] for r in facts["results"]), default=0)
    rows = []
    for result in facts["results"]:
        if result["threads"] != most:
            continue
        timed = [e for e in result["entries"] if e["seconds"] and e["status"] in ("ok", "slow")]
        if not timed:
            continue
        target = min(e["target"] for e in timed)
        here = [e for e in timed if e["target"] == target]
        spread = result["ratio"].get(f"{target:g}")
        spec = result["problem"]
        design = "" if spec["data"] == "gaussian" else f", {spec['data']}"
        rows.append(
            {
                "label": f"{spec['name']}{design}\nto {target:g}",
                "ours": [median(e) for e in here if e["contender"] == "torchlogreg"],
                "peers": sorted((median(e), e["contender"]) for e in here if not e["ours"]),
                "ratio": None if spread is None else spread["median"],
            }
        )
    return rows


def median(entry: dict[str, Any]) -> float:
    """Seconds."""
    return float(statistics.median(entry["seconds"]))


def title(facts: dict[str, Any]) -> str:
    """What, where, when."""
    most = max((r["threads"] for r in facts["results"]), default=0)
    threads = "1 thread" if most == 1 else f"{most} threads"
    return f"Seconds to a proved optimum, {threads}, {facts['when'][:10]}"


def _row(axes: Any, place: int, row: dict[str, Any], look: Any) -> None:
    """The dots of a problem; the best peer has its name, ours the ratio."""
    color, other = look.series[0], look.series[1]
    for at, _ in row["peers"][1:]:
        axes.plot(at, place, "o", color=look.idle, markersize=5)
    if row["peers"]:
        at, name = row["peers"][0]
        axes.plot(at, place, "s", color=other, markersize=6.5)
        axes.annotate(
            name, (at, place), (0, -13), textcoords="offset points", ha="center", fontsize=8,
            color=look.muted,
        )  # fmt: skip
        if row["ours"]:
            axes.plot([row["ours"][0], at], [place, place], color=look.grid, zorder=1)
    if row["ours"]:
        axes.plot(row["ours"][0], place, "o", color=color, markersize=8)
        if row["ratio"] is not None:
            axes.annotate(
                f"{row['ratio']:.2g}×", (row["ours"][0], place), (0, 8), fontsize=9,
                textcoords="offset points", ha="center", color=look.text,
            )  # fmt: skip


def _legend(axes: Any, look: Any) -> None:
    from matplotlib.lines import Line2D

    kinds = (
        ("o", look.series[0], 8, "torchlogreg; best peer / ours"),
        ("s", look.series[1], 6.5, "best peer"),
        ("o", look.idle, 5, "other peers"),
    )
    handles = [
        Line2D([], [], marker=m, color=c, markersize=s, linestyle="", label=words)
        for m, c, s, words in kinds
    ]
    axes.legend(
        handles=handles, loc="lower left", bbox_to_anchor=(-0.32, 1.0), ncols=3, frameon=False,
        fontsize=9, labelcolor=look.muted,
    )  # fmt: skip
