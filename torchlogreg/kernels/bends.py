"""``[X, 1]' A [X, 1]`` with the curvatures ``A`` of the binary loss, in one read of the rows."""

from __future__ import annotations

from typing import Any

import numpy as np

from torchlogreg.kernels.compiling import entry, exact
from torchlogreg.kernels.elementary import exp_negative
from torchlogreg.kernels.products import rows_into
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

    Of sums (parts, p + 1, p + 1) the last row is that of the ones.
    """
    p, one = X.shape[1], X.dtype.type(1)
    plain, scaled, G = rooms(X, height)
    scores, total, bends = np.empty((height, 1), X.dtype), np.empty(p), np.empty(height, X.dtype)
    for part in range(first, last):
        out, end = sums[part], min((part + 1) * size, X.shape[0])
        out[:] = 0
        for s in range(part * size, end, height):
            t = min(s + height, end)
            x, u, a = X[s:t], scores[: t - s], bends[: t - s]
            to_scores(x, weight, offset[s:t], u)
            eta = u.ravel()
            for i in range(t - s):
                a[i] = sample_weight[s + i] * binary_bend(eta[i] + intercept[0], one)
            for i in range(t - s):
                out[p, p] += a[i]
            rows = lay_out(x, a, plain, scaled)
            total[:] = 0
            rows_into(scaled[: t - s, :p], total)
            G[:] = 0
            upper_into(rows, scaled[: t - s], G)
            for j in range(p):
                out[p, j] += total[j]
                for k in range(p):
                    out[j, k] += G[j, k]


BENT = entry(_bent, "bent")
