"""Columns as short integers: a quarter of the memory, and what it takes to multiply them."""

from __future__ import annotations

from typing import Any

import numpy as np

from torchlogreg.kernels.compiling import entry, inner
from torchlogreg.kernels.lanes import fetch_ahead

WIDTH, HEIGHT = 128, 32
"""Of a tile that is turned over in the first-level cache; 32 short integers are one line of it."""


def _ranges(first: int, last: int, size: int, X: Any, sums: Any) -> None:
    """Least, greatest and sum of each column (parts, 3, p), for some parts of the rows."""
    n, p = X.shape
    for part in range(first, last):
        start, stop = part * size, min((part + 1) * size, n)
        low, high, total = sums[part]
        low[:], high[:], total[:] = X[start], X[start], 0
        whole = stop - (stop - start) % 4
        for i in range(start, whole, 4):
            a, b, c, d = X[i], X[i + 1], X[i + 2], X[i + 3]
            for j in range(p):
                low[j] = min(low[j], min(min(a[j], b[j]), min(c[j], d[j])))
                high[j] = max(high[j], max(max(a[j], b[j]), max(c[j], d[j])))
                total[j] += (a[j] + b[j]) + (c[j] + d[j])
        for i in range(whole, stop):
            for j in range(p):
                low[j], high[j] = min(low[j], X[i, j]), max(high[j], X[i, j])
                total[j] += X[i, j]


@inner
def _turn(x: Any, centre: Any, scale: Any, tile: Any, codes: Any) -> None:
    """A tile of rows, rounded, as columns."""
    rows, columns = x.shape
    for i in range(rows):
        for j in range(columns):
            tile[i, j] = np.int32((x[i, j] - centre[j]) * scale[j] + 32768.5)  # positive: rounds
    for j in range(columns):
        for i in range(rows):
            codes[j, i] = np.int16(tile[i, j] - 32768)


def _pack(first: int, last: int, size: int, X: Any, centre: Any, scale: Any, codes: Any) -> None:
    """``(X - centre) * scale``, between -32767 and 32767, as the rows of ``codes`` (p, n)."""
    n, p = X.shape
    tile = np.empty((HEIGHT, WIDTH), np.int32)
    for i in range(first * size, min(last * size, n), HEIGHT):
        k = min(i + HEIGHT, last * size, n)
        for j in range(0, p, WIDTH):
            m = min(j + WIDTH, p)
            _turn(X[i:k, j:m], centre[j:m], scale[j:m], tile, codes[j:m, i:k])


def _about(first: int, last: int, size: int, codes: Any, weights: Any, U: Any, sums: Any) -> None:
    """``sum_j weights_j codes_j (codes_j . u)`` for each row of ``U``, by fours of columns.

    A column is read once: it is still in the first-level cache when it is added.
    """
    single, n = np.float32, codes.shape[1]
    flat = codes.ravel()
    for part in range(first, last):
        sums[part] = 0
        for j in range(4 * part * size, min(4 * (part + 1) * size, len(codes)), 4):
            a, b, c, d = codes[j], codes[j + 1], codes[j + 2], codes[j + 3]
            for k in range(len(U)):
                u, out = U[k], sums[part, k]
                s = t = v = w = single(0)
                for i in range(n):
                    s += single(a[i]) * u[i]
                    t += single(b[i]) * u[i]
                    v += single(c[i]) * u[i]
                    w += single(d[i]) * u[i]
                s, t, v, w = (
                    s * weights[j],
                    t * weights[j + 1],
                    v * weights[j + 2],
                    w * weights[j + 3],
                )
                if k == 0 and j + 8 <= len(codes):
                    for i in range((j + 4) * n, (j + 8) * n, 32):
                        fetch_ahead(flat, i)
                for i in range(n):
                    out[i] += (s * single(a[i]) + t * single(b[i])) + (
                        v * single(c[i]) + w * single(d[i])
                    )


def _lengths(codes: Any, weights: Any, sums: Any) -> None:
    """``sum_j weights_j codes_ji^2``, the diagonal of what ``_about`` multiplies with, (n,)."""
    single, n = np.float32, codes.shape[1]
    for j in range(0, len(codes), 4):
        a, b, c, d = codes[j], codes[j + 1], codes[j + 2], codes[j + 3]
        s, t, v, w = weights[j], weights[j + 1], weights[j + 2], weights[j + 3]
        for i in range(n):
            sums[i] += (s * single(a[i]) * single(a[i]) + t * single(b[i]) * single(b[i])) + (
                v * single(c[i]) * single(c[i]) + w * single(d[i]) * single(d[i])
            )


RANGES = entry(_ranges, "ranges")
PACK = entry(_pack, "pack")
ABOUT = entry(_about, "about")
LENGTHS = entry(_lengths, "lengths")
