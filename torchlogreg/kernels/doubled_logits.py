"""Slopes of the binary loss in doubled precision, and their products with the columns.

The algorithms are those of :mod:`torchlogreg.double_double_functions`, number by number, with
products whose error a fused operation gives; nothing is reordered or fused by the compiler.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from torchlogreg.double_double_functions import FARTHEST, HALVINGS, INVERSE_FACTORIALS, LN2
from torchlogreg.kernels.compiling import entry, strict, whole
from torchlogreg.kernels.elementary import ROUND64, bits, number
from torchlogreg.kernels.lanes import fused_number, lanes_in
from torchlogreg.kernels.residuals import row_pull, row_score

BLOCK = 256
"""Rows whose slopes are held at once."""

HIGHS = tuple(high for high, _ in INVERSE_FACTORIALS)
LOWS = tuple(low for _, low in INVERSE_FACTORIALS)
TAIL = tuple(1.0 / math.factorial(j) for j in range(7, 13))
LN2_HIGH, LN2_MIDDLE, LN2_LOW = LN2
SMALL, TIMES = 2.0**-HALVINGS, HALVINGS


@whole
def renormalised(high: float, low: float) -> Any:
    """``high + low`` of which the second is the smaller (Dekker)."""
    total = high + low
    return total, low - (total - high)


@whole
def added(a: float, b: float, c: float, d: float) -> Any:
    """``(a + b) + (c + d)``."""
    high = a + c
    part = high - a
    lost = (a - (high - part)) + (c - part)
    total = high + (lost + (b + d))
    part = total - high
    return total, (high - (total - part)) + ((lost + (b + d)) - part)


@whole
def multiplied(a: float, b: float, c: float, d: float) -> Any:
    """``(a + b) (c + d)``."""
    product = a * c
    error = fused_number(a, c, -product)
    return renormalised(product, (error + a * d) + b * c)


@whole
def exponential(high: float, low: float) -> Any:
    """``exp(high + low)``, clamped to +-600; NaN stays."""
    rest = low if abs(high) < FARTHEST else 0.0
    x = FARTHEST if high > FARTHEST else (-FARTHEST if high < -FARTHEST else high)
    rounded = x * (1.0 / math.log(2.0)) + ROUND64
    m = rounded - ROUND64
    product = m * LN2_MIDDLE
    error = fused_number(m, LN2_MIDDLE, -product)
    a, b = added(x - m * LN2_HIGH, rest, -product, -error)
    a, b = renormalised(a, b - m * LN2_LOW)
    a, b = a * SMALL, b * SMALL
    q = TAIL[5] * a
    q = (q + TAIL[4]) * a
    q = (q + TAIL[3]) * a
    q = (q + TAIL[2]) * a
    q = (q + TAIL[1]) * a
    q = (q + TAIL[0]) * a
    c, d = added(q, 0.0, HIGHS[5], LOWS[5])
    c, d = multiplied(c, d, a, b)
    c, d = added(c, d, HIGHS[4], LOWS[4])
    c, d = multiplied(c, d, a, b)
    c, d = added(c, d, HIGHS[3], LOWS[3])
    c, d = multiplied(c, d, a, b)
    c, d = added(c, d, HIGHS[2], LOWS[2])
    c, d = multiplied(c, d, a, b)
    c, d = added(c, d, HIGHS[1], LOWS[1])
    c, d = multiplied(c, d, a, b)
    c, d = added(c, d, HIGHS[0], LOWS[0])
    c, d = multiplied(c, d, a, b)
    for _ in range(TIMES):  # e^2t - 1 = 2 (e^t - 1) + (e^t - 1)^2
        e, f = multiplied(c, d, c, d)
        c, d = added(2.0 * c, 2.0 * d, e, f)
    c, d = added(c, d, 1.0, 0.0)
    power = number((bits(rounded) + 1023) << 52)
    return c * power, d * power


@whole
def probability(high: float, low: float) -> Any:
    """``1 / (1 + exp(-(high + low)))``."""
    a, b = exponential(-high, -low)
    a, b = added(a, b, 1.0, 0.0)
    start = 1.0 / a
    product = a * start
    error = fused_number(a, start, -product)
    rest = ((1.0 - product) - error) - b * start
    return renormalised(start, start * rest)


@strict
def _slopes(y: Any, sample_weight: Any, highs: Any, lows: Any) -> None:
    """From ``eta`` (n,), in two parts, to weighted slopes, in place."""
    for i in range(y.shape[0]):
        a, b = probability(highs[i], lows[i])
        a, b = added(a, b, -y[i], 0.0)
        a, b = multiplied(a, b, sample_weight[i], 0.0)
        highs[i], lows[i] = a, b


def _run(
    X: Any, y: Any, sample_weight: Any, offset: Any, weight: Any, bias: Any, eta: Any, sums: Any
) -> None:
    """Fill ``eta`` (n,), rounded, and ``sums`` (2, q + 1): slopes by columns, and their own sum.

    Rows without weight have 0; ``weight`` (2, q) ends in zeros; ``offset`` (n,) or (0,).
    """
    (n, p), q = X.shape, weight.shape[1]
    room, G = np.zeros(2 * lanes_in(X)), np.zeros((2, q))
    highs, lows, total, rest = np.empty(BLOCK), np.empty(BLOCK), 0.0, 0.0
    for start in range(0, n, BLOCK):
        size = min(BLOCK, n - start)
        for i in range(size):
            highs[i] = lows[i] = eta[start + i] = 0.0
            if sample_weight[start + i] == 0.0:  # whatever the row holds
                continue
            high, low = row_score(X, (start + i) * p, p, weight, room)
            high, low = added(high, low, bias[0], bias[1])
            if offset.shape[0]:
                high, low = added(high, low, offset[start + i], 0.0)
            highs[i], lows[i] = high, low
            eta[start + i] = high + low
        end = start + size
        _slopes(y[start:end], sample_weight[start:end], highs, lows)
        for i in range(size):
            if sample_weight[start + i] == 0.0:
                continue
            row_pull(X, (start + i) * p, p, highs[i], lows[i], G)
            total, rest = added(total, rest, highs[i], lows[i])
    sums[:, :q] = G
    sums[0, q], sums[1, q] = total, rest


RUN = entry(_run, "doubled_logits", strict)
