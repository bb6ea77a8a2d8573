"""Compiled coordinate descent over columns, one after another.

Each loop depends on the one before it, so neither is shared among threads nor made of whole
vectors. Places are unsigned: numba then need not look whether one counts from the end, which made
the sums half as fast.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from torchlogreg.kernels.compiling import entry, inner
from torchlogreg.kernels.pairs import both, likeness

ROUGH = 2e-3
"""Share from which on weights that are zero wait for the next gradient, which judges all anyway."""


@inner
def _bent(
    active: Any, starts: Any, places: Any, data: Any, bend: Any, ridge: Any
) -> tuple[Any, Any, Any]:
    """Curvature of every active column, and its entries times ``bend``, side by side.

    A sweep then looks at far places once an entry, not twice. The second array says where the
    entries of a column begin.
    """
    own, begin = np.zeros(len(active)), np.zeros(len(active) + 1, np.int64)
    for a in range(len(active)):
        begin[a + 1] = begin[a] + starts[active[a] + 1] - starts[active[a]]
    bent = np.empty(begin[-1])
    for a in range(len(active)):
        j = active[a]
        at, x = places[starts[j] : starts[j + 1]], data[starts[j] : starts[j + 1]]
        b = bent[begin[a] : begin[a + 1]]
        square = 0.0
        for i in range(len(x)):
            b[i] = bend[at[i]] * x[i]
            square += b[i] * x[i]
        own[a] = square + ridge[j]
    return own, begin, bent


@inner
def _columns(
    active: Any,
    entries: tuple[Any, Any, Any],
    prepared: tuple[Any, Any, Any],
    pairs: tuple[Any, Any, Any, Any],
    model: tuple[Any, Any, Any, Any],
    new: Any,
    moved: Any,
    whole: bool,
) -> float:
    """A sweep over the columns; twice the largest fall of the quadratic part.

    Without ``whole`` weights that are zero stay as they are.
    """
    starts, places, data = entries
    own, begin, bent = prepared
    mate, _, _, second = pairs
    slope, ridge, kink, weight = model
    largest = 0.0
    for a in range(len(active)):
        if len(mate) and (mate[a] >= 0 or second[a]):
            fall = both(a, active, entries, prepared, pairs, model, new, moved)
            largest = max(largest, fall)
            if fall >= 0:
                continue
        j = active[a]
        if not whole and new[j] == 0 and kink[j] > 0:
            continue
        if not own[a] > 0:  # a column of zeros: the kink alone has a say
            new[j] = 0.0 if abs(slope[j]) < kink[j] else new[j]
            continue
        at, b = places[starts[j] : starts[j + 1]], bent[begin[a] : begin[a + 1]]
        s = 0.0
        for i in range(len(b)):
            s += b[i] * moved[at[i]]
        goal = new[j] - (slope[j] + ridge[j] * (new[j] - weight[j]) + s) / own[a]
        after = np.sign(goal) * max(abs(goal) - kink[j] / own[a], 0.0)
        step = after - new[j]
        if step != 0:
            new[j] = after
            largest = max(largest, own[a] * step * step)
            x = data[starts[j] : starts[j + 1]]
            for i in range(len(x)):
                moved[at[i]] += step * x[i]
    return largest


@inner
def _constant(bend: Any, total: float, moved: Any, intercept: Any) -> float:
    """The same for the intercept, a column of ones."""
    s = intercept[0]
    for i in range(len(bend)):
        s += bend[i] * moved[i]
    step: float = -s / total
    intercept[1] += step
    for i in range(len(bend)):
        moved[i] += step
    return total * step * step


def _quadratic(
    active: Any,
    starts: Any,
    places: Any,
    data: Any,
    bend: Any,
    slope: Any,
    ridge: Any,
    kink: Any,
    weight: Any,
    new: Any,
    moved: Any,
    intercept: Any,
    mate: Any,
    share: float,
    most: int,
) -> int:
    """Coordinate descent: ``slope d + (Xd)' bend (Xd) / 2 + ridge d^2 / 2 + kink |weight + d|``.

    ``new`` is ``weight + d`` and ``moved`` is ``X d`` plus the intercept's step. ``intercept`` has
    its slope and its step; empty if there is none. ``mate`` has, for each active column, the place
    of another that may be almost the same, or -1; empty if there are none. Ends when a sweep's
    largest fall is ``share`` of the largest before; returns the number of sweeps. After the first
    those that are zero stay so until the others are done, and then are looked at once more.
    """
    prepared = _bent(active, starts, places, data, bend, ridge)
    entries, model = (starts, places, data), (slope, ridge, kink, weight)
    pairs = (mate, *likeness(active, entries, prepared, mate))
    total, first, whole = bend.sum(), 0.0, True
    for sweep in range(most):
        largest = _columns(active, entries, prepared, pairs, model, new, moved, whole)
        if len(intercept) and total > 0:
            largest = max(largest, _constant(bend, total, moved, intercept))
        first = max(first, largest)
        few = largest <= share * first
        if few and (whole or share > ROUGH):
            return sweep + 1
        whole = few
    return most


QUADRATIC = entry(_quadratic, "coordinate_quadratic")


def _dense(
    rows: Any,
    local: Any,
    bend: Any,
    pull: Any,
    own: Any,
    gradient: Any,
    kink: Any,
    ridge: Any,
    unit: Any,
    start: Any,
    new: Any,
    whole: bool,
) -> float:
    """A sweep over the entries, whose columns are the ``rows[local]``; the largest violation met.

    ``gradient`` holds the ridge's part, ``own`` what a column's curvature is once it was needed,
    ``pull`` (n,) is ``bend`` times what ``new - start`` adds to the scores. Without ``whole``
    entries that are zero stay as they are.
    """
    largest = 0.0
    for j in range(len(local)):
        held = kink[j]
        if not whole and new[j] == 0 and held > 0:
            continue
        x = rows[local[j]]
        slope = gradient[j] + ridge[j] * (new[j] - start[j])
        s = x[0] * 0
        for i in range(len(x)):
            s += x[i] * pull[i]
        slope += s
        if new[j] == 0 and abs(slope) <= held:
            continue
        if own[j] < 0:
            square = x[0] * 0
            for i in range(len(x)):
                square += bend[i] * (x[i] * x[i])
            own[j] = square + ridge[j]
        if not own[j] > 0:  # a column of zeros: the kink alone has a say
            if abs(slope) < held:
                new[j] = 0.0
                largest = max(largest, (held - abs(slope)) / unit[j])
            continue
        goal = new[j] - slope / own[j]
        after = np.sign(goal) * max(abs(goal) - held / own[j], 0.0)
        step = after - new[j]
        if step != 0:
            new[j] = after
            largest = max(largest, own[j] * abs(step) / unit[j])
            for i in range(len(x)):
                pull[i] += step * (bend[i] * x[i])
    return largest


DENSE = entry(_dense, "coordinate_dense")


def _gather(first: int, last: int, size: int, X: Any, which: Any, found: Any) -> None:
    """Columns of ``X`` as rows of ``found`` (m, n), eight entries of each at once; for some parts
    of the rows, each of eights but the end."""
    begin, end = first * size, min(last * size, len(X))
    whole = end - (end - begin) % 8
    for i in range(begin, whole, 8):
        x0, x1, x2, x3 = X[i], X[i + 1], X[i + 2], X[i + 3]
        x4, x5, x6, x7 = X[i + 4], X[i + 5], X[i + 6], X[i + 7]
        for a in range(len(which)):
            j, out = which[a], found[a, i : i + 8]
            out[0], out[1], out[2], out[3] = x0[j], x1[j], x2[j], x3[j]
            out[4], out[5], out[6], out[7] = x4[j], x5[j], x6[j], x7[j]
    for i in range(whole, end):
        for a in range(len(which)):
            found[a, i] = X[i, which[a]]


GATHER = entry(_gather, "gather")
