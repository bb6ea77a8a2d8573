"""The two matrix products of a block of rows: scores ``X W'`` and gradient ``S' X``.

Several rows are taken at once, so that what is loaded is used more than once.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from torchlogreg.kernels.compiling import inner
from torchlogreg.kernels.lanes import (
    add,
    fetch_ahead,
    lanes_in,
    load,
    load_first,
    multiply_add,
    spread,
    store_first,
)


@inner
def scores_one(X: Any, W: Any, scores: Any) -> None:
    """``X @ W[0]`` into ``scores[:, 0]``, four rows at once."""
    n, p = X.shape
    w = W[0]
    whole = n - n % 4
    for i in range(0, whole, 4):
        x0, x1, x2, x3 = X[i], X[i + 1], X[i + 2], X[i + 3]
        a0 = a1 = a2 = a3 = X.dtype.type(0)
        for j in range(p):
            a0 += x0[j] * w[j]
            a1 += x1[j] * w[j]
            a2 += x2[j] * w[j]
            a3 += x3[j] * w[j]
        scores[i, 0], scores[i + 1, 0], scores[i + 2, 0], scores[i + 3, 0] = a0, a1, a2, a3
    for i in range(whole, n):
        x0 = X[i]
        a0 = X.dtype.type(0)
        for j in range(p):
            a0 += x0[j] * w[j]
        scores[i, 0] = a0


@inner
def scores_four(x: Any, y: Any, W: Any, c: int) -> Any:
    """Products of two rows ``x`` and ``y`` with rows c ... c + 3 of ``W``."""
    w0, w1, w2, w3 = W[c], W[c + 1], W[c + 2], W[c + 3]
    a0 = a1 = a2 = a3 = b0 = b1 = b2 = b3 = W.dtype.type(0)
    for j in range(x.shape[0]):
        u, v = x[j], y[j]
        a0 += u * w0[j]
        a1 += u * w1[j]
        a2 += u * w2[j]
        a3 += u * w3[j]
        b0 += v * w0[j]
        b1 += v * w1[j]
        b2 += v * w2[j]
        b3 += v * w3[j]
    return a0, a1, a2, a3, b0, b1, b2, b3


@inner
def scores_many(X: Any, W: Any, scores: Any) -> None:
    """``X @ W.T`` into ``scores`` (n, r), in tiles of two rows and four columns."""
    n, r = scores.shape
    tiled = r - r % 4
    for i in range(0, n, 2):
        k = min(i + 1, n - 1)  # the last odd row is its own partner
        x, y = X[i], X[k]
        for c in range(0, tiled, 4):
            s = scores_four(x, y, W, c)
            for d in range(4):
                scores[i, c + d] = s[d]
                scores[k, c + d] = s[4 + d]
        for c in range(tiled, r):
            w = W[c]
            a = b = X.dtype.type(0)
            for j in range(x.shape[0]):
                a += x[j] * w[j]
                b += y[j] * w[j]
            scores[i, c] = a
            scores[k, c] = b


@inner
def accumulate_one(X: Any, S: Any, G: Any, ahead: Any) -> None:
    """Add ``S[:, 0] @ X`` to ``G[0]``; meanwhile ``ahead``, the next rows, come into cache."""
    n, p = X.shape
    g = G[0]
    line = 64 // X.itemsize
    whole = n - n % 4
    for i in range(0, whole, 4):
        if i + 4 <= ahead.shape[0]:
            for j in range(i * p, (i + 4) * p, line):
                fetch_ahead(ahead, j)
        x0, x1, x2, x3 = X[i], X[i + 1], X[i + 2], X[i + 3]
        s0, s1, s2, s3 = S[i, 0], S[i + 1, 0], S[i + 2, 0], S[i + 3, 0]
        for j in range(p):
            g[j] += (s0 * x0[j] + s1 * x1[j]) + (s2 * x2[j] + s3 * x3[j])
    for i in range(whole, n):
        for j in range(p):
            g[j] += S[i, 0] * X[i, j]


@inner
def accumulate_and_square(X: Any, S: Any, G: Any, Q: Any, ahead: Any) -> None:
    """The same, and the squares of the columns added to ``Q`` (p,): what is loaded serves both."""
    n, p = X.shape
    g, q = G[0], Q
    line = 64 // X.itemsize
    whole = n - n % 4
    for i in range(0, whole, 4):
        if i + 4 <= ahead.shape[0]:
            for j in range(i * p, (i + 4) * p, line):
                fetch_ahead(ahead, j)
        x0, x1, x2, x3 = X[i], X[i + 1], X[i + 2], X[i + 3]
        s0, s1, s2, s3 = S[i, 0], S[i + 1, 0], S[i + 2, 0], S[i + 3, 0]
        for j in range(p):
            g[j] += (s0 * x0[j] + s1 * x1[j]) + (s2 * x2[j] + s3 * x3[j])
            q[j] += (x0[j] * x0[j] + x1[j] * x1[j]) + (x2[j] * x2[j] + x3[j] * x3[j])
    for i in range(whole, n):
        for j in range(p):
            g[j] += S[i, 0] * X[i, j]
            q[j] += X[i, j] * X[i, j]


@inner
def some(X: Any, index: int, used: int) -> Any:
    """Lanes of ``X`` from a flat index on: all, or the first ``used``."""
    return load(X, index) if used == lanes_in(X) else load_first(X, index, used)


@inner
def into(G: Any, index: int, lanes: Any, used: int) -> None:
    """Add the first ``used`` lanes to ``G`` from a flat index on."""
    store_first(G, index, add(load_first(G, index, used), lanes), used)


@inner
def tile_four(X: Any, S: Any, G: Any, c: int, j: int, used: int) -> None:
    """Add to ``G[c:c+4, j:j+used]``, held in registers while all rows go by, two at once."""
    n, p = X.shape
    a0 = a1 = a2 = a3 = b0 = b1 = b2 = b3 = spread(X.dtype.type(0))
    for i in range(0, n - 1, 2):
        x, y = some(X, i * p + j, used), some(X, i * p + p + j, used)
        a0 = multiply_add(spread(S[i, c]), x, a0)
        a1 = multiply_add(spread(S[i, c + 1]), x, a1)
        a2 = multiply_add(spread(S[i, c + 2]), x, a2)
        a3 = multiply_add(spread(S[i, c + 3]), x, a3)
        b0 = multiply_add(spread(S[i + 1, c]), y, b0)
        b1 = multiply_add(spread(S[i + 1, c + 1]), y, b1)
        b2 = multiply_add(spread(S[i + 1, c + 2]), y, b2)
        b3 = multiply_add(spread(S[i + 1, c + 3]), y, b3)
    if n % 2:
        x = some(X, (n - 1) * p + j, used)
        a0 = multiply_add(spread(S[n - 1, c]), x, a0)
        a1 = multiply_add(spread(S[n - 1, c + 1]), x, a1)
        a2 = multiply_add(spread(S[n - 1, c + 2]), x, a2)
        a3 = multiply_add(spread(S[n - 1, c + 3]), x, a3)
    o = c * p + j
    into(G, o, add(a0, b0), used)
    into(G, o + p, add(a1, b1), used)
    into(G, o + 2 * p, add(a2, b2), used)
    into(G, o + 3 * p, add(a3, b3), used)


@inner
def tile_one(X: Any, S: Any, G: Any, c: int, j: int, used: int) -> None:
    """Add to ``G[c, j:j+used]``, four rows at once."""
    n, p = X.shape
    a0 = a1 = a2 = a3 = spread(X.dtype.type(0))
    whole = n - n % 4
    for i in range(0, whole, 4):
        o = i * p + j
        a0 = multiply_add(spread(S[i, c]), some(X, o, used), a0)
        a1 = multiply_add(spread(S[i + 1, c]), some(X, o + p, used), a1)
        a2 = multiply_add(spread(S[i + 2, c]), some(X, o + 2 * p, used), a2)
        a3 = multiply_add(spread(S[i + 3, c]), some(X, o + 3 * p, used), a3)
    for i in range(whole, n):
        a0 = multiply_add(spread(S[i, c]), some(X, i * p + j, used), a0)
    into(G, c * p + j, add(add(a0, a1), add(a2, a3)), used)


@inner
def accumulate_many(X: Any, S: Any, G: Any) -> None:
    """Add ``S' X`` to ``G`` (r, p)."""
    p, width, rows = X.shape[1], lanes_in(X), S.shape[1]
    tiled = rows - rows % 4
    for j in range(0, p, width):
        used = min(width, p - j)
        for c in range(0, tiled, 4):
            tile_four(X, S, G, c, j, used)
        for c in range(tiled, rows):
            tile_one(X, S, G, c, j, used)


@inner
def squares_into(X: Any, out: Any) -> None:
    """Add the squares of the columns of ``X`` to ``out`` (p,), eight rows as if they were one."""
    n, p = X.shape
    flat, whole = X.ravel(), n - n % 8
    wide = np.zeros(8 * p, X.dtype)
    width = lanes_in(X)  # a divisor of eight
    for i in range(0, whole * p, 8 * p):
        for j in range(0, 8 * p, width):
            x = load(flat, i + j)
            store_first(wide, j, multiply_add(x, x, load(wide, j)), width)
    for i in range(8):
        for j in range(p):
            out[j] += wide[i * p + j]
    for i in range(whole, n):
        for j in range(p):
            out[j] += X[i, j] * X[i, j]


@inner
def long_squares_into(X: Any, out: Any) -> None:
    """The same for many columns, whose sums leave the first-level cache: four rows at once."""
    n, p = X.shape
    whole = n - n % 4
    for i in range(0, whole, 4):
        a, b, c, d = X[i], X[i + 1], X[i + 2], X[i + 3]
        for j in range(p):
            out[j] += (a[j] * a[j] + b[j] * b[j]) + (c[j] * c[j] + d[j] * d[j])
    for i in range(whole, n):
        for j in range(p):
            out[j] += X[i, j] * X[i, j]
