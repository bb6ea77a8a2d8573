"""The binary logit on few rows: rows made ready, a look at them, and their curvature, compiled.

Rows are those of :class:`torchlogreg.few_rows.FewRows`: columns of ``X``, of ones, and of zeros up
to a multiple of ``tiles.HIGH``, (n, m). ``sign`` is ``1 - 2 y`` and ``u = sign * eta``, as in
:mod:`torchlogreg.small`. A look is one array, so that it is made and handed on at once:

    missed (n,)   u (n,)   losses (n,)   eta (n,)   theta (P,)   gradient (P,)   value
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from torchlogreg.kernels.bends import binary_bend
from torchlogreg.kernels.compiling import entry, inner
from torchlogreg.kernels.elementary import exp_negative, log1p_positive
from torchlogreg.kernels.products import accumulate_one, scores_one
from torchlogreg.kernels.tiles import upper_into

BLOCK = 256
"""Rows that are scaled at once, and still in the first-level cache when they are multiplied."""


def _ready(X: Any, near: float, design: Any, gram: Any, sizes: Any) -> Any:
    """Fill ``design`` (n, m), its Gram matrix (m, m) and the root mean squares of its first p + 1
    columns; 0 if an entry or a sum is not finite, 2 if means prove all columns near zero, else 1.
    """
    n, p = X.shape
    gram[:] = 0.0
    for start in range(0, n, BLOCK):
        x, rows = X[start : start + BLOCK], design[start : start + BLOCK]
        for i in range(x.shape[0]):
            for j in range(p):
                rows[i, j] = x[i, j]
            framed(rows[i], p)
        upper_into(rows, rows, gram, X[start + BLOCK : start + 2 * BLOCK])
    return judged(gram, sizes, n, near)


def _drawn(source: Any, index: Any, design: Any, sizes: Any) -> None:
    """The same of some rows of ``source``, which may be wider, without products."""
    n, p = index.shape[0], sizes.shape[0] - 1
    sizes[:] = 0.0
    for i in range(n):
        row, to = source[index[i]], design[i]
        for j in range(p):
            to[j] = row[j]
            sizes[j] += row[j] * row[j]
        framed(to, p)
    for j in range(p):
        sizes[j] = math.sqrt(sizes[j] / n) if sizes[j] > 0.0 else 1.0
    sizes[p] = 1.0


@inner
def framed(row: Any, p: int) -> None:
    """One, and zeros, behind the ``p`` columns of a row."""
    row[p] = 1.0
    for j in range(p + 1, row.shape[0]):
        row[j] = 0.0


@inner
def judged(gram: Any, sizes: Any, n: int, near: float) -> int:
    """Fill the lower half of ``gram``, and ``sizes``; the result of :func:`_ready`."""
    m, p, known, is_near = gram.shape[0], sizes.shape[0] - 1, 0.0, True
    for j in range(m):
        for k in range(j):
            gram[j, k] = gram[k, j]
    for j in range(p + 1):
        total, square = gram[p, j], gram[j, j]
        known += square + abs(total)
        sizes[j] = math.sqrt(square / n) if square > 0.0 else 1.0
        if j < p and not total * total <= near * near * n * square:
            is_near = False
    if not math.isfinite(known):
        return 0
    return 2 if is_near else 1


def _labelled(y: Any, sign: Any) -> int:
    """Fill ``sign`` (n,) or (0,); how many labels are 1, -1 if one is neither 0 nor 1."""
    odd = ones = 0
    for i in range(sign.shape[0]):
        sign[i] = 1.0 - 2.0 * y[i]
    for i in range(y.shape[0]):
        ones += y[i] == 1.0
        odd += not (y[i] == 0.0 or y[i] == 1.0)
    return -1 if odd else ones


@inner
def look(design: Any, sign: Any, share: Any, known: Any, strength: Any, at: Any) -> None:
    """Fill ``at`` but for ``theta``, which it holds."""
    (n, m), size = design.shape, strength.shape[0]
    missed, u, losses, eta = at[:n], at[n : 2 * n], at[2 * n : 3 * n], at[3 * n : 4 * n]
    theta, gradient = at[4 * n : 4 * n + size], at[4 * n + size : 4 * n + 2 * size]
    row, slopes = np.zeros((1, m)), np.empty((n, 1))
    for j in range(size):
        row[0, j] = theta[j]
    scores_one(design, row, slopes)
    scores = slopes.ravel()
    if known.shape[0]:
        for i in range(n):
            scores[i] += known[i]
    for i in range(n):
        eta[i] = scores[i]
        u[i] = sign[i] * scores[i]
    for i in range(n):
        small = exp_negative(-abs(u[i]))
        big = 1.0 / (1.0 + small)
        losses[i] = (u[i] if u[i] > 0.0 else 0.0) + log1p_positive(small)
        missed[i] = big if u[i] > 0.0 else small * big
    at[4 * n + 2 * size] = summed(design, sign, share, strength, theta, at[: 3 * n], scores, row)
    for j in range(size):
        gradient[j] = row[0, j] + strength[j] * theta[j]


@inner
def look_from_zero(design: Any, sign: Any, share: Any, strength: Any, at: Any) -> None:
    """Fill ``at`` where all parameters are zero, as in it, and no offset is known."""
    (n, m), size = design.shape, strength.shape[0]
    at[:n], at[n : 2 * n], at[3 * n : 4 * n] = 0.5, 0.0, 0.0
    at[2 * n : 3 * n] = math.log(2.0)
    theta, row, slopes = at[4 * n : 4 * n + size], np.empty((1, m)), np.empty(n)
    at[4 * n + 2 * size] = summed(design, sign, share, strength, theta, at[: 3 * n], slopes, row)
    at[4 * n + size : 4 * n + 2 * size] = row[0, :size]


@inner
def summed(
    design: Any, sign: Any, share: Any, strength: Any, theta: Any, at: Any, slopes: Any, row: Any
) -> Any:
    """Value with the penalty; ``slopes`` (n,) and their sum by columns, ``row`` (1, m)."""
    n = design.shape[0]
    missed, losses = at[:n], at[2 * n : 3 * n]
    value = pull = 0.0
    for i in range(n):
        value += share[i] * losses[i]
    for i in range(n):
        slopes[i] = share[i] * sign[i] * missed[i]
    for j in range(strength.shape[0]):
        pull += strength[j] * theta[j] * theta[j]
    row[:] = 0.0
    accumulate_one(design, slopes.reshape(n, 1), row, design[:0])
    return value + 0.5 * pull


@inner
def bent(design: Any, share: Any, strength: Any, u: Any, matrix: Any) -> None:
    """Hessian of the smooth value where rows have these ``u`` (n,), into ``matrix`` (P, P)."""
    (n, m), size = design.shape, strength.shape[0]
    bend, scaled, product = np.empty(n), np.empty((BLOCK, m)), np.zeros((m, m))
    for i in range(n):
        bend[i] = share[i] * binary_bend(u[i], 1.0)
    for start in range(0, n, BLOCK):
        rows = design[start : start + BLOCK]
        part = scaled[: rows.shape[0]]
        for i in range(rows.shape[0]):
            for j in range(m):
                part[i, j] = bend[start + i] * rows[i, j]
        upper_into(rows, part, product, design[start + BLOCK : start + 2 * BLOCK])
    for j in range(size):
        for k in range(j + 1):
            matrix[j, k] = matrix[k, j] = product[k, j]
        matrix[j, j] += strength[j]


def _look(design: Any, sign: Any, share: Any, known: Any, strength: Any, at: Any) -> None:
    """:func:`look`."""
    look(design, sign, share, known, strength, at)


def _bent(design: Any, share: Any, strength: Any, u: Any, matrix: Any) -> None:
    """:func:`bent`."""
    bent(design, share, strength, u, matrix)


LABELLED = entry(_labelled, "few_labelled")
READY = entry(_ready, "few_ready")
DRAWN = entry(_drawn, "few_drawn")
LOOK = entry(_look, "few_look")
BENT = entry(_bent, "few_bent")
