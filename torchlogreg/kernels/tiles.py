"""The upper triangle of ``S' X`` for a block of rows: eight rows of it by up to three registers.

Twenty-four sums stay in registers while all rows of the block go by. For each row eleven numbers
and registers are loaded for twenty-four multiplications, so that these are what time goes into:
a tile of four by one waits for its loads.
"""

from __future__ import annotations

from typing import Any

from torchlogreg.kernels.compiling import inner
from torchlogreg.kernels.lanes import (
    lanes_in,
    load,
    multiply_add,
    spread,
)
from torchlogreg.kernels.products import into, some

HIGH = 8
"""Rows of a tile; the columns of ``S`` are filled up with zeros to a multiple of it."""


@inner
def tile_of_three(X: Any, S: Any, G: Any, c: int, j: int, used: int) -> None:
    """Add to ``G[c:c+8]`` from column ``j`` on: three registers, ``used`` lanes of the last."""
    n, p, width = X.shape[0], X.shape[1], lanes_in(X)
    zero = spread(X.dtype.type(0))
    a0 = a1 = a2 = a3 = a4 = a5 = a6 = a7 = zero
    b0 = b1 = b2 = b3 = b4 = b5 = b6 = b7 = zero
    d0 = d1 = d2 = d3 = d4 = d5 = d6 = d7 = zero
    for i in range(n):
        o = i * p + j
        x, y, z = load(X, o), load(X, o + width), some(X, o + 2 * width, used)
        s, t = spread(S[i, c]), spread(S[i, c + 1])
        a0, b0, d0 = multiply_add(s, x, a0), multiply_add(s, y, b0), multiply_add(s, z, d0)
        a1, b1, d1 = multiply_add(t, x, a1), multiply_add(t, y, b1), multiply_add(t, z, d1)
        s, t = spread(S[i, c + 2]), spread(S[i, c + 3])
        a2, b2, d2 = multiply_add(s, x, a2), multiply_add(s, y, b2), multiply_add(s, z, d2)
        a3, b3, d3 = multiply_add(t, x, a3), multiply_add(t, y, b3), multiply_add(t, z, d3)
        s, t = spread(S[i, c + 4]), spread(S[i, c + 5])
        a4, b4, d4 = multiply_add(s, x, a4), multiply_add(s, y, b4), multiply_add(s, z, d4)
        a5, b5, d5 = multiply_add(t, x, a5), multiply_add(t, y, b5), multiply_add(t, z, d5)
        s, t = spread(S[i, c + 6]), spread(S[i, c + 7])
        a6, b6, d6 = multiply_add(s, x, a6), multiply_add(s, y, b6), multiply_add(s, z, d6)
        a7, b7, d7 = multiply_add(t, x, a7), multiply_add(t, y, b7), multiply_add(t, z, d7)
    column(G, c, j, width, a0, a1, a2, a3, a4, a5, a6, a7)
    column(G, c, j + width, width, b0, b1, b2, b3, b4, b5, b6, b7)
    column(G, c, j + 2 * width, used, d0, d1, d2, d3, d4, d5, d6, d7)


@inner
def tile_of_two(X: Any, S: Any, G: Any, c: int, j: int, used: int) -> None:
    """The same with two registers."""
    n, p, width = X.shape[0], X.shape[1], lanes_in(X)
    zero = spread(X.dtype.type(0))
    a0 = a1 = a2 = a3 = a4 = a5 = a6 = a7 = zero
    b0 = b1 = b2 = b3 = b4 = b5 = b6 = b7 = zero
    for i in range(n):
        o = i * p + j
        x, y = load(X, o), some(X, o + width, used)
        s, t = spread(S[i, c]), spread(S[i, c + 1])
        a0, b0 = multiply_add(s, x, a0), multiply_add(s, y, b0)
        a1, b1 = multiply_add(t, x, a1), multiply_add(t, y, b1)
        s, t = spread(S[i, c + 2]), spread(S[i, c + 3])
        a2, b2 = multiply_add(s, x, a2), multiply_add(s, y, b2)
        a3, b3 = multiply_add(t, x, a3), multiply_add(t, y, b3)
        s, t = spread(S[i, c + 4]), spread(S[i, c + 5])
        a4, b4 = multiply_add(s, x, a4), multiply_add(s, y, b4)
        a5, b5 = multiply_add(t, x, a5), multiply_add(t, y, b5)
        s, t = spread(S[i, c + 6]), spread(S[i, c + 7])
        a6, b6 = multiply_add(s, x, a6), multiply_add(s, y, b6)
        a7, b7 = multiply_add(t, x, a7), multiply_add(t, y, b7)
    column(G, c, j, width, a0, a1, a2, a3, a4, a5, a6, a7)
    column(G, c, j + width, used, b0, b1, b2, b3, b4, b5, b6, b7)


@inner
def tile_of_one(X: Any, S: Any, G: Any, c: int, j: int, used: int) -> None:
    """The same with one."""
    n, p = X.shape
    a0 = a1 = a2 = a3 = a4 = a5 = a6 = a7 = spread(X.dtype.type(0))
    for i in range(n):
        x = some(X, i * p + j, used)
        a0 = multiply_add(spread(S[i, c]), x, a0)
        a1 = multiply_add(spread(S[i, c + 1]), x, a1)
        a2 = multiply_add(spread(S[i, c + 2]), x, a2)
        a3 = multiply_add(spread(S[i, c + 3]), x, a3)
        a4 = multiply_add(spread(S[i, c + 4]), x, a4)
        a5 = multiply_add(spread(S[i, c + 5]), x, a5)
        a6 = multiply_add(spread(S[i, c + 6]), x, a6)
        a7 = multiply_add(spread(S[i, c + 7]), x, a7)
    column(G, c, j, used, a0, a1, a2, a3, a4, a5, a6, a7)


@inner
def column(
    G: Any, c: int, j: int, used: int,
    a0: Any, a1: Any, a2: Any, a3: Any, a4: Any, a5: Any, a6: Any, a7: Any,
) -> None:  # fmt: skip
    """Add one register to each of eight rows of ``G`` (m, p), m a multiple of eight."""
    p = G.shape[1]
    o = c * p + j
    into(G, o, a0, used)
    into(G, o + p, a1, used)
    into(G, o + 2 * p, a2, used)
    into(G, o + 3 * p, a3, used)
    into(G, o + 4 * p, a4, used)
    into(G, o + 5 * p, a5, used)
    into(G, o + 6 * p, a6, used)
    into(G, o + 7 * p, a7, used)


@inner
def upper_into(X: Any, S: Any, G: Any) -> None:
    """Add ``S' X`` to ``G`` where a column is not left of its row, and to some more entries.

    X (n, p), S (n, m) and G (m, p), with ``m >= p`` a multiple of ``HIGH``.
    """
    p, width = X.shape[1], lanes_in(X)
    for c in range(0, p, HIGH):
        for j in range(c, p, 3 * width):
            left = p - j
            if left > 2 * width:
                tile_of_three(X, S, G, c, j, min(left - 2 * width, width))
            elif left > width:
                tile_of_two(X, S, G, c, j, left - width)
            else:
                tile_of_one(X, S, G, c, j, left)
