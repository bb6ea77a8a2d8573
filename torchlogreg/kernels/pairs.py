"""Coordinate descent for two columns that are almost one: both at once, in their plane.

One after the other, such columns hand each other the same share for ever: the objective bends along
their difference as little as they differ. Here the second is ``rho`` times the first and a rest,
and whatever is as small as the rest is computed from the rest, not as a difference of sums.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from torchlogreg.kernels.compiling import inner

ALIKE = 0.5
"""A rest with less than this share of its column's squares makes a pair."""


@inner
def likeness(
    active: Any, entries: tuple[Any, Any, Any], prepared: tuple[Any, Any, Any], mate: Any
) -> tuple[Any, Any, Any]:
    """``rho`` and the rest's curvature of every pair, and whether a column is the second of one.

    ``mate`` (a,) has the place among the active of a column that may be like this one, or -1; those
    that turn out to be unlike are set to -1.
    """
    starts, places, data = entries
    _, begin, bent = prepared
    rho, rest, second = np.zeros(len(mate)), np.zeros(len(mate)), np.zeros(len(mate), np.bool_)
    for a in range(len(mate)):
        m = mate[a]
        if m < 0:
            continue
        j, k = active[a], active[m]
        at, b = places[starts[j] : starts[j + 1]], bent[begin[a] : begin[a + 1]]
        x, z = data[starts[j] : starts[j + 1]], data[starts[k] : starts[k + 1]]
        other, c = places[starts[k] : starts[k + 1]], bent[begin[m] : begin[m + 1]]
        same = len(x) == len(z)
        square = cross = whole = 0.0
        for i in range(min(len(x), len(z))):
            same &= at[i] == other[i]
            square += b[i] * x[i]
            cross += b[i] * z[i]
            whole += c[i] * z[i]
        mate[a] = -1
        if not (same and square > 0):
            continue
        ratio, left = cross / square, 0.0
        for i in range(len(x)):
            gap = z[i] - ratio * x[i]
            if z[i] != 0:
                left += c[i] / z[i] * gap * gap
        if left < ALIKE * whole:
            mate[a], rho[a], rest[a], second[m] = m, ratio, left, True
    return rho, rest, second


@inner
def in_plane(
    slope: tuple[float, float],
    bends: tuple[float, float, float, float],
    at: tuple[float, float],
    kink: tuple[float, float],
) -> tuple[bool, float, float]:
    """Steps of two weights to the minimum of ``slope d + d' H d / 2 + kink |at + d|``.

    ``bends`` has the diagonal of H, the entry beside it and the determinant. Nine patterns of signs
    (those of ``at`` first) are tried for one that holds after its own step; False if rounding
    leaves none.
    """
    g1, g2 = slope
    a, b, c, determinant = bends
    for t in range(-1, 9):
        s1, s2 = (np.sign(at[0]), np.sign(at[1])) if t < 0 else (t // 3 - 1.0, t % 3 - 1.0)
        d1, d2 = -at[0], -at[1]
        p, q = -g1 - kink[0] * s1, -g2 - kink[1] * s2
        if s1 != 0 and s2 != 0:
            d2 = (q - c / a * p) * a / determinant
            d1 = (p - c * d2) / a
        elif s1 != 0:
            d1 = (p - c * d2) / a
        elif s2 != 0:
            d2 = (q - c * d1) / b
        first, other = g1 + a * d1 + c * d2, g2 + c * d1 + b * d2
        holds = s1 * (at[0] + d1) > 0 if s1 != 0 else abs(first) <= kink[0]
        holds &= s2 * (at[1] + d2) > 0 if s2 != 0 else abs(other) <= kink[1]
        if holds:
            return True, d1, d2
    return False, 0.0, 0.0


@inner
def both(
    a: int,
    active: Any,
    entries: tuple[Any, Any, Any],
    prepared: tuple[Any, Any, Any],
    pairs: tuple[Any, Any, Any, Any],
    model: tuple[Any, Any, Any, Any],
    new: Any,
    moved: Any,
) -> float:
    """A column and its mate at once; twice the fall, 0 for one whose mate brings it along.

    -1 where rounding leaves no solution: nothing was moved, and each goes its own way this time.
    """
    starts, places, data = entries
    own, begin, bent = prepared
    mate, rho, rest, second = pairs
    slope, ridge, kink, weight = model
    m = mate[a]
    if m < 0:
        return 0.0
    j, k = active[a], active[m]
    at, b = places[starts[j] : starts[j + 1]], bent[begin[a] : begin[a + 1]]
    c = bent[begin[m] : begin[m + 1]]
    s = t = 0.0
    for i in range(len(b)):
        s += b[i] * moved[at[i]]
        t += c[i] * moved[at[i]]
    s += slope[j] + ridge[j] * (new[j] - weight[j])
    t += slope[k] + ridge[k] * (new[k] - weight[k])
    square, r1, r2 = own[a] - ridge[j], ridge[j], ridge[k]
    determinant = square * rest[a] + square * r2 + own[m] * r1  # own has r2, so r1 r2 is in
    bends = (own[a], own[m], rho[a] * square, determinant)
    found, d, e = False, 0.0, 0.0
    if determinant > 0:
        found, d, e = in_plane((s, t), bends, (new[j], new[k]), (kink[j], kink[k]))
    second[m] = found
    if not found:
        return -1.0
    if d != 0 or e != 0:
        new[j] = 0.0 if d == -new[j] else new[j] + d
        new[k] = 0.0 if e == -new[k] else new[k] + e
        x, z = data[starts[j] : starts[j + 1]], data[starts[k] : starts[k + 1]]
        for i in range(len(x)):
            moved[at[i]] += d * x[i] + e * z[i]
    along = d + rho[a] * e
    return float(square * along * along + rest[a] * e * e + r1 * d * d + r2 * e * e)
