"""``[X, 1]' A [X, 1]`` with the curvatures ``A`` of the binary loss, in one read of the rows."""

from __future__ import annotations

from typing import Any

import numpy as np

from torchlogreg.kernels.compiling import entry, exact
from torchlogreg.kernels.elementary import exp_negative
from torchlogreg.kernels.sweeps import to_scores
from torchlogreg.kernels.tiles import lay_out, rooms, upper_into


@exact
def binary_bend(eta: Any, one: Any) -> Any:
    """Second derivative of the binary loss by ``eta``; no digit is lost far from zero."""
    small = exp_negative(-abs(eta))
    big = one / (one + small)
    return small * big * big


def _bent(
    first: int,
    last: int,
    size: int,
    height: int,
    X: Any,
    sample_weight: Any,
    offset: Any,
    weight: Any,
    intercept: Any,
    sums: Any,
) -> None:
    """Upper triangles for some parts of the rows.

    Of sums (parts, p + 1, p + 1) the last column is that of the ones.
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
                for i in range(t - b):
                    a[i] = sample_weight[b + i] * binary_bend(eta[i] + intercept[0], one)
                for i in range(t - b):
                    out[p, p] += a[i]
                rows = lay_out(x, a, a[:0], plain, scaled)
                upper_into(rows, scaled[: t - b], G, X[t : min(t + height, end)])
            out[:p] += G[:p, : p + 1]


BENT = entry(_bent, "bent")
