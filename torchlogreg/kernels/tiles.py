"""The upper triangle of ``S' X`` for a block of rows: eight rows of it by up to three registers.

Twenty-four sums stay in registers while all rows of the block go by. For each row eleven numbers
and registers are loaded for twenty-four multiplications, so that these are what time goes into:
a tile of four by one waits for its loads.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from torchlogreg.kernels.compiling import inner
from torchlogreg.kernels.lanes import (
    fetch_ahead,
    in_order,
    lanes_in,
    load,
    multiply_add,
    spread,
    spread_at,
)
from torchlogreg.kernels.products import into

HIGH = 8
"""Rows of a tile; the columns of ``S`` are filled up with zeros to a multiple of it."""


@inner
def tile_of_three(
    X: Any, S: Any, G: Any, c: int, j: int, by: int, to: int, ahead: Any, first: int
) -> None:
    """Add to ``G[c:c+8]`` from column ``j`` on: three registers.

    An entry of ``S`` lies ``by`` behind that of the row before, and ``to`` behind its neighbour.
    With each row a cache line of ``ahead`` is asked for, from the flat index ``first`` on.
    """
    (n, p), width, end = X.shape, lanes_in(X), ahead.size
    zero = spread(X.dtype.type(0))
    a0 = a1 = a2 = a3 = a4 = a5 = a6 = a7 = zero
    b0 = b1 = b2 = b3 = b4 = b5 = b6 = b7 = zero
    d0 = d1 = d2 = d3 = d4 = d5 = d6 = d7 = zero
    for i in range(n):
        o, q = i * p + j, i * by + c * to
        in_order()
        if first + i * width < end:
            fetch_ahead(ahead, first + i * width)
        x, y, z = load(X, o), load(X, o + width), load(X, o + 2 * width)
        s, t = spread_at(S, q), spread_at(S, q + to)
        a0, b0, d0 = multiply_add(s, x, a0), multiply_add(s, y, b0), multiply_add(s, z, d0)
        a1, b1, d1 = multiply_add(t, x, a1), multiply_add(t, y, b1), multiply_add(t, z, d1)
        s, t = spread_at(S, q + 2 * to), spread_at(S, q + 3 * to)
        a2, b2, d2 = multiply_add(s, x, a2), multiply_add(s, y, b2), multiply_add(s, z, d2)
        a3, b3, d3 = multiply_add(t, x, a3), multiply_add(t, y, b3), multiply_add(t, z, d3)
        s, t = spread_at(S, q + 4 * to), spread_at(S, q + 5 * to)
        a4, b4, d4 = multiply_add(s, x, a4), multiply_add(s, y, b4), multiply_add(s, z, d4)
        a5, b5, d5 = multiply_add(t, x, a5), multiply_add(t, y, b5), multiply_add(t, z, d5)
        s, t = spread_at(S, q + 6 * to), spread_at(S, q + 7 * to)
        a6, b6, d6 = multiply_add(s, x, a6), multiply_add(s, y, b6), multiply_add(s, z, d6)
        a7, b7, d7 = multiply_add(t, x, a7), multiply_add(t, y, b7), multiply_add(t, z, d7)
    column(G, c, j, a0, a1, a2, a3, a4, a5, a6, a7)
    column(G, c, j + width, b0, b1, b2, b3, b4, b5, b6, b7)
    column(G, c, j + 2 * width, d0, d1, d2, d3, d4, d5, d6, d7)


@inner
def tile_of_two(
    X: Any, S: Any, G: Any, c: int, j: int, by: int, to: int, ahead: Any, first: int
) -> None:
    """The same with two registers."""
    (n, p), width, end = X.shape, lanes_in(X), ahead.size
    zero = spread(X.dtype.type(0))
    a0 = a1 = a2 = a3 = a4 = a5 = a6 = a7 = zero
    b0 = b1 = b2 = b3 = b4 = b5 = b6 = b7 = zero
    for i in range(n):
        o, q = i * p + j, i * by + c * to
        in_order()
        if first + i * width < end:
            fetch_ahead(ahead, first + i * width)
        x, y = load(X, o), load(X, o + width)
        s, t = spread_at(S, q), spread_at(S, q + to)
        a0, b0 = multiply_add(s, x, a0), multiply_add(s, y, b0)
        a1, b1 = multiply_add(t, x, a1), multiply_add(t, y, b1)
        s, t = spread_at(S, q + 2 * to), spread_at(S, q + 3 * to)
        a2, b2 = multiply_add(s, x, a2), multiply_add(s, y, b2)
        a3, b3 = multiply_add(t, x, a3), multiply_add(t, y, b3)
        s, t = spread_at(S, q + 4 * to), spread_at(S, q + 5 * to)
        a4, b4 = multiply_add(s, x, a4), multiply_add(s, y, b4)
        a5, b5 = multiply_add(t, x, a5), multiply_add(t, y, b5)
        s, t = spread_at(S, q + 6 * to), spread_at(S, q + 7 * to)
        a6, b6 = multiply_add(s, x, a6), multiply_add(s, y, b6)
        a7, b7 = multiply_add(t, x, a7), multiply_add(t, y, b7)
    column(G, c, j, a0, a1, a2, a3, a4, a5, a6, a7)
    column(G, c, j + width, b0, b1, b2, b3, b4, b5, b6, b7)


@inner
def tile_of_one(
    X: Any, S: Any, G: Any, c: int, j: int, by: int, to: int, ahead: Any, first: int
) -> None:
    """The same with one."""
    (n, p), width, end = X.shape, lanes_in(X), ahead.size
    a0 = a1 = a2 = a3 = a4 = a5 = a6 = a7 = spread(X.dtype.type(0))
    for i in range(n):
        x, q = load(X, i * p + j), i * by + c * to
        in_order()
        if first + i * width < end:
            fetch_ahead(ahead, first + i * width)
        a0 = multiply_add(spread_at(S, q), x, a0)
        a1 = multiply_add(spread_at(S, q + to), x, a1)
        a2 = multiply_add(spread_at(S, q + 2 * to), x, a2)
        a3 = multiply_add(spread_at(S, q + 3 * to), x, a3)
        a4 = multiply_add(spread_at(S, q + 4 * to), x, a4)
        a5 = multiply_add(spread_at(S, q + 5 * to), x, a5)
        a6 = multiply_add(spread_at(S, q + 6 * to), x, a6)
        a7 = multiply_add(spread_at(S, q + 7 * to), x, a7)
    column(G, c, j, a0, a1, a2, a3, a4, a5, a6, a7)


@inner
def column(
    G: Any, c: int, j: int,
    a0: Any, a1: Any, a2: Any, a3: Any, a4: Any, a5: Any, a6: Any, a7: Any,
) -> None:  # fmt: skip
    """Add one register to each of eight rows of ``G``."""
    p, width = G.shape[1], lanes_in(G)
    o = c * p + j
    into(G, o, a0, width)
    into(G, o + p, a1, width)
    into(G, o + 2 * p, a2, width)
    into(G, o + 3 * p, a3, width)
    into(G, o + 4 * p, a4, width)
    into(G, o + 5 * p, a5, width)
    into(G, o + 6 * p, a6, width)
    into(G, o + 7 * p, a7, width)


@inner
def rooms(X: Any, height: int, more: int) -> Any:
    """For rows of ``X`` with ``more`` columns, for rows scaled, and for their product; zeros."""
    p, width = X.shape[1], lanes_in(X)
    m, q = -(-p // HIGH) * HIGH, -(-(p + more) // width) * width
    return np.zeros((height, q), X.dtype), np.zeros((height, m), X.dtype), np.zeros((m, q), X.dtype)


@inner
def lay_out(X: Any, d: Any, y: Any, plain: Any, scaled: Any) -> Any:
    """Rows times ``d`` into ``scaled``, and the rows followed by what is to be summed with them.

    ``[X, 1, y]`` in ``plain``, as far as it has columns, for ``y`` (n,) or (0,); ``X`` itself where
    it has no more than ``X``. Columns behind these fill a register up that is multiplied anyway.
    """
    (n, p), q = X.shape, plain.shape[1]
    for i in range(n):
        for j in range(p):
            scaled[i, j] = d[i] * X[i, j]
    if q == p:
        return X
    for i in range(n):
        for j in range(p):
            plain[i, j] = X[i, j]
        plain[i, p] = 1
    if q > p + 1:
        for i in range(y.shape[0]):
            plain[i, p + 1] = y[i]
    return plain[:n]


@inner
def upper_into(X: Any, S: Any, G: Any, ahead: Any) -> None:
    """Add ``S' X`` to ``G`` where a column is not left of its row, and to some more entries.

    X (n, p), S (n, m) and G (m, p): ``p`` a multiple of a register, ``m`` of ``HIGH``. Meanwhile
    the rows ``ahead`` are fetched, a cache line with each row of a tile: multiplying waits for
    memory no more than memory for it (1,000,000 x 100 in 70 ms instead of 90, 100,000 x 20 in 0.8
    instead of 2).
    """
    p, m, width, first = X.shape[1], S.shape[1], lanes_in(X), 0
    for c in range(0, m, HIGH):
        for j in range(c - c % width, p, 3 * width):
            left = p - j
            if left > 2 * width:
                tile_of_three(X, S, G, c, j, m, 1, ahead, first)
            elif left > width:
                tile_of_two(X, S, G, c, j, m, 1, ahead, first)
            else:
                tile_of_one(X, S, G, c, j, m, 1, ahead, first)
            first += len(X) * width
