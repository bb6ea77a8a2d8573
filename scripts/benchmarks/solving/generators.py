"""Rows to fit: friendly and hostile designs from a seed, and responses that a model explains."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy import sparse

Design = Callable[[np.random.Generator, int, int], np.ndarray]

WIDEST_ROTATION = 1000
SPREAD = 2.0
"""Standard deviation of the true scores: neither noise nor separable."""
RARE = 1e-3
CONDITION = 1e3


def gaussian(rng: np.random.Generator, n: int, p: int) -> np.ndarray:
    """Normal rows, condition number 1e3 in rotated axes, so that scaling columns cures nothing.

    Wider than 1,000 columns: neighbours correlate by one half instead (a rotation costs p^3).
    """
    Z = rng.standard_normal((n, p))
    if p > WIDEST_ROTATION:
        for j in range(1, p):
            Z[:, j] = 0.5 * Z[:, j - 1] + np.sqrt(0.75) * Z[:, j]
        return Z
    rotation, _ = np.linalg.qr(rng.standard_normal((p, p)))
    scales = np.logspace(0, -np.log10(CONDITION), p) if p > 1 else np.ones(1)
    return Z @ (scales[:, None] * rotation * np.sqrt(p))


def heavy(rng: np.random.Generator, n: int, p: int) -> np.ndarray:
    """Student's t with 2.5 degrees of freedom: a few rows hold most of the sum of squares."""
    return rng.standard_t(2.5, (n, p))


def dummies(rng: np.random.Generator, n: int, p: int) -> np.ndarray:
    """Indicator columns of one factor with Zipf frequencies; half the columns, the rest normal."""
    levels = max(1, p // 2)
    frequency = 1.0 / np.arange(1, levels + 2)
    level = rng.choice(levels + 1, size=n, p=frequency / frequency.sum())
    X = rng.standard_normal((n, p))
    X[:, :levels] = level[:, None] == np.arange(1, levels + 1)
    return X


def collinear(rng: np.random.Generator, n: int, p: int) -> np.ndarray:
    """Normal columns; the last half repeats the first to one part in a million."""
    X = rng.standard_normal((n, p))
    half = p // 2
    X[:, p - half :] = X[:, :half] + 1e-6 * X[:, p - half :]
    return X


DESIGNS: dict[str, Design] = {
    "gaussian": gaussian,
    "sorted": gaussian,
    "rare": gaussian,
    "heavy": heavy,
    "dummies": dummies,
    "collinear": collinear,
}


def sparse_design(
    rng: np.random.Generator, data: str, n: int, p: int, density: float
) -> sparse.csr_matrix:
    """Stored entries at random places, as many in each row, hostile in the way of ``data``.

    Normal; Student's t with 2.5 degrees of freedom ("heavy"); ones, as of as many factors with
    Zipf frequencies ("dummies"); or the last half of the columns repeats the first to one part in
    a million ("collinear").
    """
    each = max(1, round(density * p))
    if data == "collinear":
        half = sparse_entries(rng.integers(0, p // 2, (n, max(1, each // 2))), rng, p // 2)
        twin = half.copy()
        twin.data += 1e-6 * rng.standard_normal(len(twin.data))
        return sparse.hstack([half, twin], format="csr")
    if data == "dummies":
        levels = p // each
        frequency = 1.0 / np.arange(1, levels + 1)
        level = rng.choice(levels, size=(n, each), p=frequency / frequency.sum())
        X = sparse_entries(level + levels * np.arange(each), rng, p)
        X.data[:] = 1.0
        return X
    X = sparse_entries(rng.integers(0, p, (n, each)), rng, p)
    if data == "heavy":
        X.data[:] = rng.standard_t(2.5, len(X.data))
    return X


def sparse_entries(columns: np.ndarray, rng: np.random.Generator, p: int) -> sparse.csr_matrix:
    """Normal entries in ``columns`` (n, each) of n rows; those that meet are added."""
    n, each = columns.shape
    places = np.sort(columns, axis=1).astype(np.int32)
    starts = np.arange(0, n * each + 1, each, dtype=np.int32)
    X = sparse.csr_matrix((rng.standard_normal(n * each), places.ravel(), starts), shape=(n, p))
    X.sum_duplicates()
    return X


def true_weight(rng: np.random.Generator, X: np.ndarray, r: int, informative: int) -> np.ndarray:
    """Weights (p, r), zero but for ``informative`` columns; scores get the spread ``SPREAD``."""
    p = X.shape[1]
    weight = np.zeros((p, r))
    chosen = rng.permutation(p)[:informative]
    weight[chosen] = rng.standard_normal((len(chosen), r))
    scores = X[:20_000] @ weight
    return weight * (SPREAD / np.maximum(scores.std(axis=0), 1e-300))


def response(
    rng: np.random.Generator, scores: np.ndarray, kind: str, data: str, noise: float = 1.0
) -> np.ndarray:
    """What was seen, (n,): 0/1, class codes, or scores with normal noise."""
    n = len(scores)
    if kind == "linear":
        return scores[:, 0] + noise * rng.standard_normal(n)
    if kind == "softmax":
        if data == "rare":
            others = np.logaddexp.reduce(scores[:, :-1], axis=1)
            scores = scores.copy()
            scores[:, -1] += rare_shift(scores[:, -1] - others)
        return np.argmax(scores + rng.gumbel(size=scores.shape), axis=1)
    shifted = scores[:, 0] + (rare_shift(scores[:, 0]) if data == "rare" else 0.3)
    with np.errstate(over="ignore"):
        return (rng.random(n) < 1 / (1 + np.exp(-shifted))).astype(np.float64)


def rare_shift(scores: np.ndarray) -> float:
    """What to add to log-odds for one row in a thousand to be of that class, by bisection."""
    low, high = -60.0, 20.0
    for _ in range(60):
        middle = (low + high) / 2
        with np.errstate(over="ignore"):
            share = float(np.mean(1 / (1 + np.exp(-(scores + middle)))))
        low, high = (middle, high) if share < RARE else (low, middle)
    return low


def make(
    rng: np.random.Generator, kind: str, data: str, n: int, p: int, k: int, density: float
) -> tuple[np.ndarray | sparse.csr_matrix, np.ndarray]:
    """``X (n, p)`` and ``y (n,)``; every class has rows."""
    X = sparse_design(rng, data, n, p, density) if density < 1 else DESIGNS[data](rng, n, p)
    informative = p if p <= WIDEST_ROTATION else max(1, min(n, p) // 20)
    weight = true_weight(rng, X, k if kind == "softmax" else 1, informative)
    y = response(rng, np.asarray(X @ weight), kind, data)
    if kind != "linear":
        first = np.arange(k if kind == "softmax" else 2)
        y[: len(first)] = first
    if data == "sorted":
        order = np.argsort(y, kind="stable")
        X, y = X[order], y[order]
    return X, y
