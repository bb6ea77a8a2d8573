"""``Y' A Y`` for ``Y = X T + shift``, value and gradient of the binary loss, in one read."""

from __future__ import annotations

from typing import Any

import numpy as np

from torchlogreg.kernels.bends import binary_bend
from torchlogreg.kernels.compiling import entry, inner
from torchlogreg.kernels.lanes import lanes_in
from torchlogreg.kernels.products import accumulate_one
from torchlogreg.kernels.rowwise import binary_row
from torchlogreg.kernels.sweeps import to_scores
from torchlogreg.kernels.tiles import HIGH, tile_of_one, tile_of_three, tile_of_two, upper_into


@inner
def product_into(X: Any, T: Any, few: Any, Y: Any) -> None:
    """Add ``X T`` to ``Y``, eight rows by up to three registers at once.

    The last rows, fewer than eight, go by ``few`` (8, p); ``Y`` has room for as many as fill it.
    """
    n, (p, m), width = X.shape[0], T.shape, lanes_in(T)
    for c in range(0, n, HIGH):
        rows, at = X, c
        if c + HIGH > n:
            few[: n - c] = X[c:]
            rows, at = few, 0
        for j in range(0, m, 3 * width):
            left, out = m - j, Y[c - at :]
            if left > 2 * width:
                tile_of_three(T, rows, out, at, j, 1, p, T[:0], 0)
            elif left > width:
                tile_of_two(T, rows, out, at, j, 1, p, T[:0], 0)
            else:
                tile_of_one(T, rows, out, at, j, 1, p, T[:0], 0)


@inner
def losses_into(
    eta: Any, y: Any, sample_weight: Any, intercept: Any, slopes: Any, bends: Any, head: Any
) -> None:
    """First and second derivatives of some rows, with their weights; sums into ``head``."""
    one = eta.dtype.type(1)
    value = total = eta.dtype.type(0)
    for i in range(eta.shape[0]):
        eta[i] += intercept
    for i in range(eta.shape[0]):
        loss, first = binary_row(eta[i], y[i], one)
        slopes[i] = sample_weight[i] * first
        bends[i] = sample_weight[i] * binary_bend(eta[i], one)
        value += sample_weight[i] * loss
        total += sample_weight[i] * first
    least = head[0]
    for i in range(eta.shape[0]):
        least = min(least, bends[i] if sample_weight[i] > 0 else np.inf)
    head[0] = least
    head[2] += value
    head[3] += total


def _turned(
    first: int,
    last: int,
    size: int,
    height: int,
    X: Any,
    y: Any,
    sample_weight: Any,
    offset: Any,
    weight: Any,
    intercept: Any,
    T: Any,
    shift: Any,
    sums: Any,
    heads: Any,
) -> None:
    """Upper triangles (m, m) for parts of the rows, ``m`` a multiple of eight and of a register.

    ``heads`` (parts, 4 + p) gets the smallest second derivative of a row with weight, times that;
    the largest square of a row of ``Y``; value, and gradient by intercept and weight.
    """
    m = T.shape[1]
    scores, Y = np.empty((height, 1), X.dtype), np.empty((height, m), X.dtype)
    scaled, G, bends = np.empty((height, m), X.dtype), np.empty((m, m), X.dtype), np.empty(height)
    few = np.zeros((HIGH, X.shape[1]), X.dtype)
    slopes, gradient = np.empty((height, 1), X.dtype), np.empty((1, X.shape[1]), X.dtype)
    for part in range(first, last):
        out, end = sums[part], min((part + 1) * size, X.shape[0])
        head = heads[part]
        out[:], head[:], head[0] = 0, 0, np.inf
        for s in range(part * size, end, 32 * height):  # 32 blocks in the dtype of X, then float64
            G[:] = 0
            stop = min(s + 32 * height, end)
            for b in range(s, stop, height):
                t = min(b + height, stop)
                x, u, z, a, d = X[b:t], scores[: t - b], Y[: t - b], bends[: t - b], slopes[: t - b]
                to_scores(x, weight, offset[b:t], u)
                losses_into(u.ravel(), y[b:t], sample_weight[b:t], intercept[0], d.ravel(), a, head)
                gradient[:] = 0
                accumulate_one(x, d, gradient, X[t : t + height])
                for j in range(X.shape[1]):
                    head[4 + j] += gradient[0, j]
                for i in range(height):
                    Y[i] = shift
                product_into(x, T, few, Y)
                for i in range(t - b):
                    square = shift[0] - shift[0]
                    for j in range(m):
                        scaled[i, j] = a[i] * z[i, j]
                        square += z[i, j] * z[i, j]
                    head[1] = max(head[1], square)
                upper_into(z, scaled[: t - b], G, X[:0])
            for j in range(m):
                for k in range(m):
                    out[j, k] += G[j, k]


TURNED = entry(_turned, "turned")
