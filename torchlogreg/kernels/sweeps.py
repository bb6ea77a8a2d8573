"""One read of the rows: what Python calls, for a range of parts of the rows.

The rows are cut into parts by their number alone, every part has its own sums, and the sums are
added in their order: the result does not depend on how many threads shared the parts.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from torchlogreg.kernels.compiling import entry, inner
from torchlogreg.kernels.products import (
    accumulate_and_square,
    accumulate_many,
    accumulate_one,
    long_squares_into,
    scores_many,
    scores_one,
    squares_into,
)
from torchlogreg.kernels.rowwise import (
    binary_row,
    categorical,
    ordinal,
    pointwise,
    squared_row,
)
from torchlogreg.kernels.tiles import lay_out, rooms, upper_into


@inner
def to_scores(X: Any, weight: Any, offset: Any, scores: Any) -> None:
    """``X @ weight.T`` and the offset, which has 0, 1 or r columns."""
    if scores.shape[1] == 1:
        scores_one(X, weight, scores)
    else:
        scores_many(X, weight, scores)
    for i in range(offset.shape[0]):
        for c in range(scores.shape[1] if offset.shape[1] > 0 else 0):
            scores[i, c] += offset[i, min(c, offset.shape[1] - 1)]


@inner
def to_gradient(X: Any, slopes: Any, ahead: Any, G: Any, squares: Any) -> None:
    """``slopes.T @ X`` into ``G``; the squares of the columns are added where there is room."""
    G[:] = 0
    if slopes.shape[1] > 1:
        accumulate_many(X, slopes, G)
        if squares.shape[0] > 0:
            add_squares(X, squares)
    elif squares.shape[0] > 0:
        accumulate_and_square(X, slopes, G, squares, ahead)
    else:
        accumulate_one(X, slopes, G, ahead)


@inner
def add_squares(X: Any, out: Any) -> None:
    """Add the squares of the columns to ``out`` (p,)."""
    if X.shape[1] < 512:
        squares_into(X, out)
    else:
        long_squares_into(X, out)


def sweep(rows: Any, name: str) -> Any:
    """Value, gradients, eta and losses of parts ``first`` ... ``last - 1`` of the rows.

    ``sums`` (parts, 1 + r p + k) holds value, gradient by weight, gradient by the intercepts; with
    p more, the columns' squares. Where ``eta`` and ``losses`` are empty they are not kept. Weights
    that are all one are given for one block, ``height`` of them.
    """

    def run(
        first: int,
        last: int,
        size: int,
        height: int,
        X: Any,
        y: Any,
        sample_weight: Any,
        offset: Any,
        weight: Any,
        intercepts: Any,
        table: Any,
        eta: Any,
        losses: Any,
        sums: Any,
    ) -> None:
        (r, p), k = weight.shape, intercepts.shape[0]
        scores, slopes = np.empty((height, r), X.dtype), np.empty((height, r), X.dtype)
        work, G = np.empty((height, k), X.dtype), np.empty((r, p), X.dtype)
        n, m = X.shape[0], 1 + r * p
        kept, even = losses.shape[0] == n, sample_weight.shape[0] != n
        etas, values = np.empty((height, k), X.dtype), np.empty(height, X.dtype)
        for part in range(first, last):
            out, end = sums[part], min((part + 1) * size, n)
            out[:], at_weight = 0, out[1:m]
            for s in range(part * size, end, height):
                t = min(s + height, end)
                x, u, v = X[s:t], scores[: t - s], slopes[: t - s]
                to_scores(x, weight, offset[s:t], u)
                weights = sample_weight[: t - s] if even else sample_weight[s:t]
                at = eta[s:t] if kept else etas[: t - s]
                each = losses[s:t] if kept else values[: t - s]
                out[0] += rows(
                    u, y[s:t], weights, intercepts, table, at, each, v,
                    out[m : m + k], work[: t - s],
                )  # fmt: skip
                to_gradient(x, v, X[t : t + height], G, out[m + k :])
                at_weight += G.ravel()

    return entry(run, name)


def _gram(
    first: int, last: int, size: int, height: int, X: Any, sample_weight: Any, y: Any, sums: Any
) -> None:
    """Upper triangles of ``X' diag(sample_weight) X`` of some parts of the rows.

    Of sums (parts, p + 1, p) the last row is ``sample_weight @ X``; sums (parts, p, p) have none;
    of sums (parts, p + 2, p) the last is ``(sample_weight * y) @ X``.
    """
    p, more = X.shape[1], sums.shape[1] - X.shape[1]
    plain, scaled, G = rooms(X, height, more)
    for part in range(first, last):
        out, end = sums[part], min((part + 1) * size, X.shape[0])
        out[:] = 0
        for s in range(part * size, end, 32 * height):  # 32 blocks in the dtype of X, then float64
            G[:] = 0
            stop = min(s + 32 * height, end)
            for b in range(s, stop, height):
                t = min(b + height, stop)
                rows = lay_out(X[b:t], sample_weight[b:t], y[b:t], plain, scaled)
                upper_into(rows, scaled[: t - b], G, X[t : min(t + height, end)])
            out[:p] += G[:p, :p]
            for k in range(more):
                out[p + k] += G[:p, p + k]


def _squares(first: int, last: int, size: int, X: Any, sums: Any) -> None:
    """Sums of squares of the columns, for some parts of the rows."""
    for part in range(first, last):
        sums[part] = 0
        add_squares(X[part * size : (part + 1) * size], sums[part])


def _pulled(first: int, last: int, size: int, X: Any, slopes: Any, sums: Any) -> None:
    """``slopes.T @ X`` for some parts of the rows; where ``sums`` is wider, squares after it."""
    p = X.shape[1]
    G = np.empty((1, p), X.dtype)
    for part in range(first, last):
        rows, out = slice(part * size, (part + 1) * size), sums[part]
        out[p:] = 0
        to_gradient(X[rows], slopes[rows], X[:0], G, out[p:])
        out[:p] = G[0]


SWEEPS = {
    "binary": sweep(pointwise(binary_row), "binary"),
    "squared": sweep(pointwise(squared_row), "squared"),
    "categorical": sweep(categorical, "categorical"),
    "ordinal": sweep(ordinal, "ordinal"),
}
GRAM = entry(_gram, "gram")
SQUARES = entry(_squares, "squares")
PULLED = entry(_pulled, "pulled")
