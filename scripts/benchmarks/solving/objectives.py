"""The objective in numpy, apart from the package: what contenders are judged by.

Shapes: ``X (n, p)``, ``weight (r, p)``, ``bias (r,)``, scores (n, r); r is 1, or K for softmax.
Rows are taken in blocks, so that no temporary is larger than 64 MB.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from scipy.special import expit, logsumexp, softmax

from benchmarks.solving.problems import Data

BLOCK = 2**23
"""Numbers in a block."""


def blocks(data: Data) -> Iterator[tuple[Any, np.ndarray, slice]]:
    """Rows of ``X`` and ``y`` in float64, and where they are."""
    size = max(1, BLOCK // (data.spec.p if data.spec.density == 1 else 64))
    for start in range(0, data.spec.n, size):
        rows = slice(start, min(start + size, data.spec.n))
        yield data.X[rows].astype(np.float64, copy=False), data.y[rows], rows


def losses(kind: str, scores: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Loss of each row, (n,)."""
    if kind == "linear":
        return (y - scores[:, 0]) ** 2
    if kind == "softmax":
        chosen = scores[np.arange(len(y)), y.astype(int)]
        return logsumexp(scores, axis=1) - chosen
    return np.logaddexp(0.0, np.where(y > 0, -scores[:, 0], scores[:, 0]))


def slopes(kind: str, scores: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Derivative of each loss by its scores, (n, r)."""
    if kind == "linear":
        return 2 * (scores - y[:, None])
    if kind == "softmax":
        slope = softmax(scores, axis=1)
        slope[np.arange(len(y)), y.astype(int)] -= 1
        return slope
    return expit(scores) - y[:, None]


def value(
    data: Data, weight: np.ndarray, bias: np.ndarray, row_weight: np.ndarray | None = None
) -> float:
    """The objective; ``row_weight`` (n,) is scaled to mean one."""
    spec, total = data.spec, 0.0
    scale = 1.0 if row_weight is None else 1.0 / float(np.mean(row_weight))
    for X, y, rows in blocks(data):
        loss = losses(spec.kind, np.asarray(X @ weight.T) + bias, y)
        total += float(np.sum(loss if row_weight is None else scale * row_weight[rows] * loss))
    norm = 0.5 * spec.l2 * float(np.sum(weight**2)) + spec.l1 * float(np.sum(np.abs(weight)))
    return total / spec.n + norm


def gradient(
    data: Data, weight: np.ndarray, bias: np.ndarray, row_weight: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Derivative of the smooth part, by ``weight`` (r, p) and ``bias`` (r,)."""
    spec = data.spec
    by_weight, by_bias = np.zeros_like(weight), np.zeros_like(bias)
    scale = 1.0 if row_weight is None else 1.0 / float(np.mean(row_weight))
    for X, y, rows in blocks(data):
        slope = slopes(spec.kind, np.asarray(X @ weight.T) + bias, y)
        if row_weight is not None:
            slope = slope * (scale * row_weight[rows, None])
        by_weight += np.asarray(X.T @ slope).T
        by_bias += slope.sum(axis=0)
    return by_weight / spec.n + spec.l2 * weight, by_bias / spec.n
