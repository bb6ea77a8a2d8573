"""Rows to train on that stay on disk: divided and standardised block by block."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from rows import Split, check_classes
from torchlogreg import Model
from torchlogreg.datasets import Dataset
from torchlogreg.mapped import room
from torchlogreg.scaling import Standardizer

SCORED = 100_000
"""Rows at most that are held out, and that are scored: they are in memory."""

ROWS = 2**14


def divide_mapped(args: argparse.Namespace, dataset: Dataset, model: Model) -> Split:
    """As ``divide``, with the rows to train on in a temporary file; nothing of their size is made.

    1. Hold out random rows, ``SCORED`` at most.
    2. Means and standard deviations of the others.
    3. These, standardised and in the dtype of the model, block by block onto disk.
    """
    n, p = dataset.X.shape
    held = np.zeros(n, dtype=bool)  # 1
    count = min(max(1, round(args.test_size * n)), SCORED)
    held[np.random.default_rng(args.seed).choice(n, count, replace=False)] = True
    check_classes(dataset, dataset.y[~held])
    like = model.weight.detach()
    scale = standardizer(dataset.X, held, centre=args.bias) if args.standardize else None  # 2
    X = room((n - count, p), like.dtype)  # 3
    y = room((n - count,), torch.int64 if dataset.class_names else like.dtype)
    start = 0
    for rows, keep in blocks(dataset.X, held):
        stop = start + len(rows)
        X[start:stop] = rows if scale is None else scale.transform(rows)
        y[start:stop] = torch.from_numpy(dataset.y[keep])
        start = stop
    first = np.flatnonzero(~held)[:SCORED]
    X_raw, X_test = (torch.from_numpy(dataset.X[i]).to(like.dtype) for i in (first, held))
    y_test = torch.from_numpy(dataset.y[held]).to(y.dtype)
    return Split(X, X_raw, y, X_test, y_test, scale)


def blocks(X: np.ndarray, held: np.ndarray) -> Iterator[tuple[Tensor, np.ndarray]]:
    """The rows that are not held out, in float64, and where they are."""
    for start in range(0, len(X), ROWS):
        keep = start + np.flatnonzero(~held[start : start + ROWS])
        yield torch.from_numpy(X[keep]).double(), keep


def standardizer(X: np.ndarray, held: np.ndarray, *, centre: bool) -> Standardizer:
    """Two passes: means; then what is left of them, standard deviations and extremes."""
    n, zero = len(X) - held.sum(), torch.zeros(X.shape[1], dtype=torch.float64)
    mean = zero.clone()
    for rows, _ in blocks(X, held):
        mean += rows.sum(0) / n
    left, squares, furthest, largest = zero.clone(), zero.clone(), zero.clone(), zero.clone()
    for rows, _ in blocks(X, held):
        largest = torch.maximum(largest, rows.abs().amax(0))
        rows -= mean
        left += rows.sum(0) / n
        squares += rows.square().sum(0) / n
        furthest = torch.maximum(furthest, rows.abs().amax(0))
    constant = furthest <= 4 * torch.finfo(torch.float64).eps * largest
    scale = torch.where(constant, 1.0, (squares - left.square()).clamp(min=0).sqrt())
    return Standardizer(mean + left if centre else zero, scale)
