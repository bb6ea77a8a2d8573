"""Residuals of a linear model and their products with the columns, in doubled precision."""

from __future__ import annotations

from typing import Any

import numpy as np

from torchlogreg.kernels.compiling import entry, strict
from torchlogreg.kernels.lanes import (
    add,
    fused,
    lanes_in,
    load,
    load_first,
    multiply,
    spread,
    store_first,
    subtract,
)


@strict
def two_sum(a: Any, b: Any) -> Any:
    """``a + b`` rounded, and what rounding took (Knuth), of registers."""
    high = add(a, b)
    part = subtract(high, a)
    return high, add(subtract(a, subtract(high, part)), subtract(b, part))


@strict
def sum_of_two(a: float, b: float) -> Any:
    """The same of numbers."""
    high = a + b
    part = high - a
    return high, (a - (high - part)) + (b - part)


@strict
def product(x: Any, high: Any, low: Any) -> Any:
    """``x (high + low)`` rounded, and what rounding took, of registers."""
    rounded = multiply(x, high)
    error = fused(x, high, subtract(spread(0.0), rounded))
    return rounded, fused(x, low, error)


@strict
def row_score(X: Any, start: int, p: int, weight: Any, room: Any) -> Any:
    """``x . weight`` of the row that begins at ``start``; ``weight`` (2, q) ends in zeros."""
    width, q = lanes_in(X), weight.shape[1]
    high = low = spread(0.0)
    for j in range(0, q, width):
        x = load(X, start + j) if j + width <= p else load_first(X, start + j, p - j)
        rounded, error = product(x, load(weight, j), load(weight, q + j))
        high, lost = two_sum(high, rounded)
        low = add(low, add(lost, error))
    store_first(room, 0, high, width)
    store_first(room, width, low, width)
    total, rest = room[0], room[width]
    for lane in range(1, width):
        total, lost = sum_of_two(total, room[lane])
        rest += lost + room[width + lane]
    return total, rest


@strict
def row_pull(X: Any, start: int, p: int, high: float, low: float, G: Any) -> None:
    """Add ``x (high + low)`` to the sums ``G`` (2, q)."""
    width, q = lanes_in(X), G.shape[1]
    by, rest = spread(high), spread(low)
    for j in range(0, q, width):
        x = load(X, start + j) if j + width <= p else load_first(X, start + j, p - j)
        rounded, error = product(x, by, rest)
        total, lost = two_sum(load(G, j), rounded)
        store_first(G, j, total, width)
        store_first(G, q + j, add(load(G, q + j), add(lost, error)), width)


def _run(
    first: int,
    last: int,
    size: int,
    X: Any,
    y: Any,
    sample_weight: Any,
    weight: Any,
    bias: Any,
    sums: Any,
) -> None:
    """Parts ``first`` to ``last`` of ``size`` rows: sums (parts, 2, q + 1), zeros before."""
    (n, p), q = X.shape, weight.shape[1]
    room, G = np.zeros(2 * lanes_in(X)), np.zeros((2, q))
    for part in range(first, last):
        G[:, :] = 0.0
        total = rest = 0.0
        for i in range(part * size, min(n, (part + 1) * size)):
            score, low = row_score(X, i * p, p, weight, room)
            high, lost = sum_of_two(y[0, i], -score)
            high, more = sum_of_two(high, -bias[0])
            high, low = sum_of_two(high, (lost + more) + ((y[1, i] - low) - bias[1]))
            if len(sample_weight):
                by = sample_weight[i]
                if by == 0.0:
                    continue
                room[0], room[lanes_in(X)] = high, low
                rounded, error = product(spread(by), spread(high), spread(low))
                store_first(room, 0, rounded, 1)
                store_first(room, 1, error, 1)
                high, low = room[0], room[1]
            row_pull(X, i * p, p, high, low, G)
            total, lost = sum_of_two(total, high)
            rest += lost + low
        sums[part, :, :q] = G
        sums[part, 0, q], sums[part, 1, q] = total, rest


RUN = entry(_run, "residuals", strict)
