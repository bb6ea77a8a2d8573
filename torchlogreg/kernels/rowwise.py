"""Losses and slopes of a block of rows, from their scores; the formulas of ``torchlogreg.losses``.

All block functions take the same arguments: scores (m, r) with the offset in them, y, sample_weight
(m,), intercepts (k,), table (2, K); they fill eta (m, k), losses (m,), slopes (m, r) by the scores,
add to by_intercept (k,), use work (m, k), and return the weighted sum of the losses.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from torchlogreg.kernels.compiling import exact, inner
from torchlogreg.kernels.elementary import exp_negative, log1p_positive


@exact
def binary_row(eta: Any, y: Any, one: Any) -> Any:
    """Loss of one row and its derivative; both terms of the loss are non-negative."""
    zero = one - one
    small = exp_negative(-abs(eta))
    tail = log1p_positive(small)
    big = one / (one + small)
    positive = eta > zero
    if_one = (zero if positive else -eta) + tail
    if_zero = (eta if positive else zero) + tail
    p = big if positive else small * big
    q = small * big if positive else big
    return y * if_one + (one - y) * if_zero, (one - y) * p - y * q


@exact
def squared_row(eta: Any, y: Any, one: Any) -> Any:
    """Squared error and its derivative."""
    residual = eta - y
    return residual * residual, residual + residual


def pointwise(row: Any) -> Any:
    """The block function of a loss with k = r = 1."""

    @inner
    def block(
        scores: Any,
        y: Any,
        sample_weight: Any,
        intercepts: Any,
        table: Any,
        eta: Any,
        losses: Any,
        slopes: Any,
        by_intercept: Any,
        work: Any,
    ) -> Any:
        score, at, slope = scores.ravel(), eta.ravel(), slopes.ravel()
        one, intercept = scores.dtype.type(1), intercepts[0]
        value = total = scores.dtype.type(0)
        for i in range(score.shape[0]):
            at[i] = score[i] + intercept
        for i in range(score.shape[0]):  # one more array here, and LLVM gives up vectorising
            loss, first = row(at[i], y[i], one)
            first *= sample_weight[i]
            losses[i] = loss
            slope[i] = first
            value += sample_weight[i] * loss
            total += first
        by_intercept[0] += total
        return value

    return block


@exact
def softplus_row(t: Any, one: Any) -> Any:
    """``log(1 + exp(t))`` and its derivative; both are 0 at minus infinity."""
    zero = one - one
    small = exp_negative(-abs(t))
    tail = log1p_positive(small)
    big = one / (one + small)
    positive = t > zero
    return (t if positive else zero) + tail, big if positive else small * big


@inner
def ordinal(
    scores: Any,
    y: Any,
    sample_weight: Any,
    intercepts: Any,
    table: Any,
    eta: Any,
    losses: Any,
    slopes: Any,
    by_intercept: Any,
    work: Any,
) -> Any:
    """Cumulative logit; ``table`` has log(1 - exp(-gap)) of every level and its derivative."""
    m, k = eta.shape
    score, slope = scores.ravel(), slopes.ravel()
    value = scores.dtype.type(0)
    ends, chances = np.empty(2 * m, scores.dtype), np.empty(2 * m, scores.dtype)
    none, by = scores.dtype.type(-np.inf), np.zeros(k + 2)
    for i in range(m):  # 1. -upper and lower; an end that is not there is infinitely far
        for j in range(k):
            eta[i, j] = intercepts[j] - score[i]
        upper, lower = eta[i, min(y[i], k - 1)], eta[i, max(y[i] - 1, 0)]
        ends[i] = -upper if y[i] < k else none
        ends[m + i] = lower if y[i] > 0 else none
        slope[i] = (upper - lower) * 0  # NaN for inf - inf, as in torch
    one, zero = scores.dtype.type(1), scores.dtype.type(0)
    for i in range(2 * m):  # 2. the part that is worth vectorising
        ends[i], chances[i] = softplus_row(ends[i], one)
    for i in range(m):  # 3. one level's share of loss, slope and cutpoints
        level, weight = y[i], sample_weight[i]
        inside = slope[i] if 0 < level < k else zero
        losses[i] = ends[i] + ends[m + i] - table[0, level] + inside
        value += weight * losses[i]
        slope[i] = weight * (chances[i] - chances[m + i])
        by[level + 1] -= weight * (chances[i] + table[1, level])  # both are 0 where there is
        by[level] += weight * (chances[m + i] + table[1, level])  # no cutpoint: by[0], by[k + 1]
    by_intercept += by[1 : k + 1]
    return value


@inner
def categorical(
    scores: Any,
    y: Any,
    sample_weight: Any,
    intercepts: Any,
    table: Any,
    eta: Any,
    losses: Any,
    slopes: Any,
    by_intercept: Any,
    work: Any,
) -> Any:
    """Softmax, everything relative to the largest entry of a row; k = r, or r + 1 (reference)."""
    m, r = scores.shape
    k = intercepts.shape[0]
    for i in range(m):
        if k > r:
            eta[i, 0] = intercepts[0]
        for c in range(r):
            eta[i, c + k - r] = scores[i, c] + intercepts[c + k - r]
        top = eta[i, 0]
        for c in range(1, k):
            top = eta[i, c] if eta[i, c] > top else top
        for c in range(k):
            work[i, c] = eta[i, c] - top
        losses[i] = top - eta[i, y[i]]
    flat = work.ravel()
    for i in range(m * k):
        flat[i] = exp_negative(flat[i])
    return _categorical_slopes(scores, y, sample_weight, eta, losses, slopes, by_intercept, work)


@inner
def _categorical_slopes(
    scores: Any,
    y: Any,
    sample_weight: Any,
    eta: Any,
    losses: Any,
    slopes: Any,
    by_intercept: Any,
    work: Any,
) -> Any:
    """Second half: ``work`` holds exp(eta - top), ``losses`` holds top - eta of the label."""
    m, r = scores.shape
    k = eta.shape[1]
    one = scores.dtype.type(1)
    value = scores.dtype.type(0)
    for i in range(m):
        top = 0
        for c in range(1, k):
            top = c if eta[i, c] > eta[i, top] else top
        work[i, top] = 0
        others = one - one
        for c in range(k):
            others += work[i, c]
        share = sample_weight[i] / (one + others)
        for c in range(k):
            work[i, c] *= share
        work[i, top] = share
        if y[i] == top:
            work[i, top] = -others * share  # not 1/(1 + others) - 1, which cancels
        else:
            work[i, y[i]] -= sample_weight[i]
        for c in range(k):
            by_intercept[c] += work[i, c]
        for c in range(r):
            slopes[i, c] = work[i, c + k - r]
        losses[i] += log1p_positive(others)
        value += sample_weight[i] * losses[i]
    return value
