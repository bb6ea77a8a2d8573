"""Tables and JSON of what was measured."""

from __future__ import annotations

import dataclasses
import datetime
import importlib.metadata
import json
import math
import os
import platform
import statistics
from pathlib import Path
from typing import Any

from benchmarks.solving.contest import LOOP, Contest, best_peer, our_best, passes
from benchmarks.solving.sweep import Entry, as_json
from benchmarks.timing import Times, ratios, summary
from common import table
from torchlogreg.whole_files import whole_file

SCHEMA = 1
PACKAGES = (
    "torch numpy scipy numba scikit-learn scikit-learn-intelex glum statsmodels skglm celer adelie "
    "snapml pytorch-minimize"
).split()


def seconds(value: float) -> str:
    """Three figures."""
    return f"{value:.3g}" if value < 1000 else f"{value:.0f}"


def ratio(result: Contest, target: float) -> Times | None:
    """Best peer / ours, round by round; None where either has no time."""
    peer, mine = best_peer(result.entries, target), our_best(result.entries, target)
    if peer is None or mine is None:
        return None
    rounds = min(len(peer.seconds), len(mine.seconds))
    if len(peer.seconds) == 1:
        return summary([peer.seconds[0] / s for s in mine.seconds])
    return ratios(peer.seconds[:rounds], mine.seconds[:rounds])


def text(result: Contest) -> str:
    """The tables of one problem, one for each target."""
    spec = result.spec
    size = f"{spec.n:,} x {spec.p:,}" + (f" x {spec.k} classes" if spec.kind == "softmax" else "")
    lines = [
        f"{spec.name}, {size}, {spec.data}, seed {spec.seed}, {result.threads} thread(s); "
        f"f* = {result.best.value:.12g}, proved to {result.best.certificate:.0e}"
    ]
    if result.passes:
        lines.append(f"one pass (X @ w): {1e3 * statistics.median(result.passes):.3g} ms")
    for target in sorted({e.target for e in result.entries}, reverse=True):
        lines += ["", f"to relative suboptimality {target:g}", ""]
        here = [e for e in result.entries if e.target == target]
        here.sort(key=lambda e: statistics.median(e.seconds) if e.seconds else math.inf)
        header = ["contender", "seconds", "least", "most", "n", "passes", "off by", "setting"]
        lines.append(table(header, [row(e, result) for e in here]))
        lines.append("\n" + sentence(result, target))
    return "\n".join(lines)


def row(entry: Entry, result: Contest) -> list[str]:
    """Cells of an entry; what went wrong stands where its setting would."""
    setting = ", ".join(
        f"{k}={v:g}" if isinstance(v, float) else f"{v}" for k, v in entry.setting.items()
    )
    if entry.status not in ("ok", "slow"):
        return [entry.contender, "-", "-", "-", "-", "-", "-", f"{entry.status}: {entry.words}"]
    if not entry.seconds:
        return [entry.contender, "-", "-", "-", "-", "-", "-", "not timed"]
    times = summary(entry.seconds)
    worst = f"{max(entry.suboptimality):.0e}" if entry.suboptimality else "-"
    told = "; ".join(words for words in (setting, entry.note, entry.words) if words)
    figures = [*(seconds(t) for t in times), str(len(entry.seconds))]
    return [entry.contender, *figures, f"{passes(entry, result):.3g}", worst, told]


def sentence(result: Contest, target: float) -> str:
    """Who won by how much, and what was asked."""
    spread, peer = ratio(result, target), best_peer(result.entries, target)
    if spread is None or peer is None:
        mine = [e for e in result.entries if e.contender == "torchlogreg" and e.target == target]
        why = f"torchlogreg {mine[0].status}" if mine and mine[0].status != "ok" else "no peer"
        return f"no ratio: {why}"
    wanted = asked(result, target)
    goal = "" if wanted is None else f"; asked: {wanted:g}"
    return (
        f"{peer.contender} / torchlogreg: {spread.median:.2f} "
        f"({spread.least:.2f} to {spread.most:.2f}){goal}"
    )


def asked(result: Contest, target: float) -> float | None:
    """The ratio the project asks for at 1e-4 and at 1e-10, on the benign design."""
    place = {1e-4: 0, 1e-10: 1, LOOP: 0}.get(target)
    if place is None or place >= len(result.spec.asked):
        return None
    return 1.0 if result.spec.data != "gaussian" else float(result.spec.asked[place])


def overview(results: list[Contest]) -> str:
    """One line for each problem and target."""
    rows = []
    for result in results:
        for target in sorted({e.target for e in result.entries}, reverse=True):
            spread, peer = ratio(result, target), best_peer(result.entries, target)
            mine = our_best(result.entries, target)
            rows.append(
                [
                    result.spec.name,
                    result.spec.data,
                    str(result.threads),
                    f"{target:g}",
                    "-" if mine is None else seconds(statistics.median(mine.seconds)),
                    "-" if mine is None else f"{passes(mine, result):.3g}",
                    "-" if peer is None else peer.contender,
                    "-" if peer is None else seconds(statistics.median(peer.seconds)),
                    "-" if spread is None else f"{spread.median:.2f}",
                    "-" if spread is None else f"{spread.least:.2f} to {spread.most:.2f}",
                    _wanted(asked(result, target)),
                ]
            )
    header = ["problem", "data", "threads", "target", "ours, s", "passes", "best peer", "peer, s"]
    return table([*header, "ratio", "spread", "asked"], rows)


def _wanted(value: float | None) -> str:
    return "-" if value is None else f"{value:g}"


def facts(results: list[Contest], arguments: dict[str, Any]) -> dict[str, Any]:
    """Everything measured, as JSON has it."""
    return {
        "schema": SCHEMA,
        "suboptimality": "(f - f*) / |f*|",
        "when": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "machine": machine(),
        "arguments": {k: str(v) if isinstance(v, Path) else v for k, v in arguments.items()},
        "results": [_result(r) for r in results],
    }


def _result(result: Contest) -> dict[str, Any]:
    targets = sorted({e.target for e in result.entries}, reverse=True)
    spreads = {f"{t:g}": ratio(result, t) for t in targets}
    peers = {f"{t:g}": best_peer(result.entries, t) for t in targets}
    return {
        "problem": dataclasses.asdict(result.spec),
        "threads": result.threads,
        "reference": {"value": result.best.value, "certificate": result.best.certificate},
        "pass_seconds": result.passes,
        "best_peer": {t: None if p is None else p.contender for t, p in peers.items()},
        "ratio": {t: None if s is None else s._asdict() for t, s in spreads.items()},
        "entries": [as_json(e) | {"passes": _finite(passes(e, result))} for e in result.entries],
    }


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def machine() -> dict[str, Any]:
    """Where it was measured, and how busy that was."""
    return {
        "processor": processor(),
        "cores": os.cpu_count(),
        "load": os.getloadavg() if hasattr(os, "getloadavg") else None,
        "python": platform.python_version(),
        "versions": {name: version(name) for name in PACKAGES},
    }


def processor() -> str:
    """The processor's name, where Linux tells it."""
    known = Path("/proc/cpuinfo")
    if not known.exists():
        return platform.processor()
    lines = known.read_text().splitlines()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def version(name: str) -> str | None:
    """An installed version."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def save(path: Path, results: list[Contest], arguments: dict[str, Any]) -> None:
    """Whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(facts(results, arguments), indent=1, allow_nan=False)
    with whole_file(path) as temporary:
        temporary.write_text(text + "\n")
