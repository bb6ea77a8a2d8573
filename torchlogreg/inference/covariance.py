"""Covariances that trust the rows more than the model: HC0 to HC3, and clusters.

All are ``B (sum of outer products of scores) B`` with ``B`` the inverse information, after Huber
(1967) and White (1980). With ``g_i = D_i' s_i`` the score of a row:

=======  ======================================================================================
HC0      ``sum_i g_i g_i'``
HC1      HC0 times ``n / (n - P)``
HC2      ``s_i`` divided by ``sqrt(1 - h_i)``, ``h_i`` the leverage; unbiased for equal variances
HC3      ``s_i`` divided by ``1 - h_i``: close to leaving the row out (the jackknife)
cluster  scores summed within clusters first, times ``G / (G - 1)``, for linear regression also
         times ``(n - 1) / (n - P)``, as Stata and statsmodels have it
=======  ======================================================================================

A row with ``k > 1`` columns of ``eta`` has a ``k x k`` block of the hat matrix,
``H_i = C_i D_i B D_i'``, and its slopes are multiplied by ``(I - H_i)^(-1/2)`` or
``(I - H_i)^(-1)``: what leaving the row out does to first order, after Bell and McCaffrey (2002),
who adjust clusters so.

A frequency weight ``f`` means ``f`` equal rows; an importance weight ``v`` scales the score, so
that its square enters.

References
----------
MacKinnon and White, Some heteroskedasticity-consistent covariance matrix estimators with improved
finite sample properties, J. Econometrics 29 (1985). Liang and Zeger, Longitudinal data analysis
using generalized linear models, Biometrika 73 (1986). Bell and McCaffrey, Bias reduction in
standard errors for linear regression with multi-stage samples, Survey Methodology 28 (2002).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from torchlogreg.inference.rows import BLOCK, Problem, Rows

KINDS = ("classical", "HC0", "HC1", "HC2", "HC3", "cluster")

MOST_SUMS = 2**24
"""Numbers held for cluster sums at a time; with more clusters the rows are passed again."""


def row_meat(problem: Problem, factor: Tensor, kind: str, *, frequency: bool) -> Tensor:
    """Sum of outer products of the rows' scores, (P, P), in the basis.

    Parameters
    ----------
    problem : Problem
    factor : Tensor, shape (P, P)
        ``B = factor @ factor.T`` in the basis.
    kind : {"HC0", "HC1", "HC2", "HC3"}
    frequency : bool
        Whether weights count rows; otherwise they scale scores.

    Raises
    ------
    ValueError
        If a row has leverage one, for HC2 and HC3.
    """
    meat = torch.zeros_like(factor)
    k, start = len(problem.R), 0
    adjusts = kind in ("HC2", "HC3")
    size = max(1, BLOCK // (len(factor) * (2 * k if adjusts else 1)))
    for rows in problem.rows(size):
        s = rows.slopes
        if adjusts:
            s = _adjusted(problem, rows, factor, kind, frequency=frequency, start=start)
        scores = problem.pulled_back(s, rows.Z)
        w = rows.weight if frequency else rows.weight.square()
        meat += scores.T @ (w[:, None] * scores)
        start += len(s)
    return meat


def cluster_meat(problem: Problem, codes: Tensor, n_clusters: int) -> Tensor:
    """Sum over clusters of outer products of their summed scores, (P, P), in the basis.

    Parameters
    ----------
    problem : Problem
    codes : Tensor of int64, shape (n,)
        Cluster of every row, from 0.
    n_clusters : int
    """
    n_params = len(problem.basis.back)
    meat = torch.zeros_like(problem.basis.back)
    held = max(1, MOST_SUMS // n_params)
    for first in range(0, n_clusters, held):
        here = min(held, n_clusters - first)
        sums = meat.new_zeros(here + 1, n_params)  # the last one takes other clusters' rows
        start = 0
        for rows in problem.rows(max(1, BLOCK // n_params)):
            scores = problem.pulled_back(rows.slopes * rows.weight[:, None], rows.Z)
            own = codes[start : start + len(scores)] - first
            sums.index_add_(0, torch.where((own >= 0) & (own < here), own, here), scores)
            start += len(scores)
        meat += sums[:here].T @ sums[:here]
    return meat


def cluster_codes(clusters: Any, sample_weight: Tensor) -> tuple[Tensor, int]:
    """Labels of any kind as integers, and how many clusters have weight.

    Parameters
    ----------
    clusters : sequence, array, series or Tensor, shape (n,)
    sample_weight : Tensor, shape (n,)

    Returns
    -------
    codes : Tensor of int64, shape (n,)
        On the device of the weights.
    n_clusters : int

    Raises
    ------
    ValueError
        If the labels are not one for each row, one is missing, or all are equal.
    """
    labels = clusters.detach().cpu().numpy() if isinstance(clusters, Tensor) else clusters
    n = len(sample_weight)
    if isinstance(labels, str | Mapping) or not hasattr(labels, "__len__"):
        raise ValueError(
            f"clusters is a {type(labels).__name__}, but a list, array or series with one label "
            f"for each of {n} rows is needed"
        )
    shape = np.shape(labels) if hasattr(labels, "dtype") else (len(labels),)
    if shape != (n,):
        raise ValueError(
            f"clusters has shape {shape}, but one label for each of {n} rows is needed"
        )
    array = np.asarray(labels) if hasattr(labels, "dtype") else None
    if array is not None and array.dtype.kind in "biufUS":
        missing = np.isnan(array) if array.dtype.kind == "f" else np.zeros(n, bool)
        codes = np.unique(array, return_inverse=True)[1]
    else:  # text, dates, mixtures: equal is what Python calls equal
        values = list(labels)
        missing = np.array([v is None or not _equals_itself(v) for v in values])
        number: dict[Any, int] = {}
        codes = np.array([number.setdefault(_hashable(v), len(number)) for v in values])
    if missing.any():
        row = int(missing.argmax())
        raise ValueError(f"clusters has no label in row {row}; every row belongs to one cluster")
    counted = codes[(sample_weight > 0).cpu().numpy()]
    found, counted = np.unique(counted, return_inverse=True)
    if len(found) < 2:
        raise ValueError("clusters has one label in all rows, but at least two clusters are needed")
    number_of = np.zeros(int(codes.max()) + 1, np.int64)  # clusters without weight add zeros
    number_of[found] = np.arange(len(found))
    renumbered = torch.from_numpy(number_of[codes]).to(sample_weight.device)
    return renumbered, len(found)


def _adjusted(
    problem: Problem, rows: Rows, factor: Tensor, kind: str, *, frequency: bool, start: int
) -> Tensor:
    """Slopes times ``f(C V)``, ``V = D B D'``, where ``f(x)`` is 1 / (1 - x) or its square root.

    With ``f(x) = 1 + x g(x)`` and ``C = c c``: ``f(C V) = I + c g(c V c) c V``, symmetric inside.
    """
    half = problem.designs(rows.Z) @ factor  # (n, k, P)
    V = half @ half.mT
    C = rows.curvatures if frequency else rows.curvatures * rows.weight[:, None, None]
    if len(problem.R) == 1:
        h = (C * V).flatten()
        _refuse_certain(h, rows.weight, kind, start)
        power = (1 - h) if kind == "HC3" else (1 - h).sqrt()
        return rows.slopes / torch.where(rows.weight > 0, power, 1.0)[:, None]
    values, vectors = torch.linalg.eigh(C)
    root = (vectors * values.clamp(min=0).sqrt()[:, None, :]) @ vectors.mT
    h, vectors = torch.linalg.eigh(root @ V @ root)
    h = h.clamp(min=0)
    _refuse_certain(h.amax(1), rows.weight, kind, start)
    rest = torch.where(rows.weight[:, None] > 0, 1 - h, 1.0)
    g = 1 / rest if kind == "HC3" else 1 / (rest + rest.sqrt())
    inner = (vectors * g[:, None, :]) @ vectors.mT
    turned = (root @ (inner @ (root @ (V @ rows.slopes[:, :, None])))).squeeze(2)
    adjusted: Tensor = rows.slopes + turned
    return adjusted


def _refuse_certain(h: Tensor, weight: Tensor, kind: str, start: int) -> None:
    certain = (h > 1 - 1e-9) & (weight > 0)
    if bool(certain.any()):
        row = start + int(certain.nonzero()[0])
        raise ValueError(
            f"row {row} has leverage 1: a parameter serves it alone, and {kind} divides by zero; "
            "use HC1, or leave out the row and its column"
        )


def _equals_itself(value: Any) -> bool:
    """False for NaN, NaT and pandas.NA, which no label is."""
    try:
        return bool(value == value)
    except (TypeError, ValueError):
        return False


def _hashable(value: Any) -> Any:
    return tuple(value) if isinstance(value, list | np.ndarray) else value
