"""``[X, 1]' A [X, 1]``, ``A`` curvatures or squared slopes of the binary loss, in one read."""

from __future__ import annotations

from typing import Any

import numpy as np

from torchlogreg.kernels.compiling import entry, exact, inner
from torchlogreg.kernels.elementary import exp_negative
from torchlogreg.kernels.rowwise import binary_row
from torchlogreg.kernels.sweeps import to_scores
from torchlogreg.kernels.tiles import lay_out, rooms, upper_into


@exact
def binary_bend(eta: Any, one: Any) -> Any:
    """Second derivative of the binary loss by ``eta``; no digit is lost far from zero."""
    small = exp_negative(-abs(eta))
    big = one / (one + small)
    return small * big * big


@inner
def slopes_squared_into(eta: Any, y: Any, sample_weight: Any, intercept: Any, out: Any) -> None:
    """Squares of the weighted losses' first derivatives, into ``out`` (n,)."""
    one = eta.dtype.type(1)
    for i in range(eta.shape[0]):
        _, slope = binary_row(eta[i] + intercept, y[i], one)
        out[i] = (sample_weight[i] * slope) ** 2


def _bent(
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
    sums: Any,
) -> None:
    """Upper triangles for some parts of the rows.

    With labels, ``y`` (n,), of squared slopes; without any, (0,), of curvatures. Of sums
    (parts, p + 1, p + 1) the last column is that of the ones.
    """
    p, one = X.shape[1], X.dtype.type(1)
    plain, scaled, G = rooms(X, height, 1)
    scores, bends = np.empty((height, 1), X.dtype), np.empty(height, X.dtype)
    for part in range(first, last):
        out, end = sums[part], min((part + 1) * size, X.shape[0])
        out[:] = 0
        for s in range(part * size, end, 32 * height):  # 32 blocks in the dtype of X, then float64
            G[:] = 0
            stop = min(s + 32 * height, end)
            for b in range(s, stop, height):
                t = min(b + height, stop)
                x, u, a = X[b:t], scores[: t - b], bends[: t - b]
                to_scores(x, weight, offset[b:t], u)
                eta = u.ravel()
                if y.shape[0]:
                    slopes_squared_into(eta, y[b:t], sample_weight[b:t], intercept[0], a)
                else:
                    for i in range(t - b):
                        a[i] = sample_weight[b + i] * binary_bend(eta[i] + intercept[0], one)
                for i in range(t - b):
                    out[p, p] += a[i]
                rows = lay_out(x, a, a[:0], plain, scaled)
                upper_into(rows, scaled[: t - b], G, X[t : min(t + height, end)])
            out[:p] += G[:p, : p + 1]


BENT = entry(_bent, "bent")
