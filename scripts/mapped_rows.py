"""Rows to train on that stay on disk: divided and standardised block by block, on each rank."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from rows import Split, class_counts, parts, refuse_absent
from torchlogreg import Model
from torchlogreg.datasets import Dataset
from torchlogreg.disk.mapped import room
from torchlogreg.distributed import all_max, all_min, all_rows, all_sum, count, rank, shard
from torchlogreg.scaling import Standardizer

SCORED = 100_000
"""Rows at most that are held out, and that are scored: they are in memory."""

ROWS = 2**14


def divide_mapped(
    args: argparse.Namespace, dataset: Dataset, model: Model, *, few: bool = False
) -> Split:
    """As ``divide``, with the rows to train on in a temporary file; nothing of their size is made.

    On several ranks each has its own consecutive rows of the file.

    1. Hold out random rows, ``SCORED`` at most; where they are ``few``, the same as ``divide``.
    2. Means and standard deviations of the others, on all ranks.
    3. These, standardised and in the dtype of the model, block by block onto disk.
    """
    n, p = count(len(dataset.X)), dataset.X.shape[1]
    held = held_out(args, dataset, n, few=few)[shard(n)]  # 1
    check(dataset, held)
    like, n_own = model.weight.detach(), int((~held).sum())
    n_train = count(n_own)
    scale = standardizer(dataset.X, held, centre=args.bias) if args.standardize else None  # 2
    X = room((n_own, p), like.dtype)  # 3
    y = room((n_own,), torch.int64 if dataset.class_names else like.dtype)
    start = 0
    for rows, keep in blocks(dataset.X, held):
        stop = start + len(rows)
        X[start:stop] = rows if scale is None else scale.transform(rows)
        y[start:stop] = torch.from_numpy(dataset.y[keep])
        start = stop
    before = int(all_rows(torch.tensor([n_own]))[: rank()].sum())  # on the ranks before this one
    first = np.flatnonzero(~held)[: max(0, SCORED - before)]
    X_raw, X_test = (all_rows(torch.from_numpy(dataset.X[i]).to(like.dtype)) for i in (first, held))
    y_raw, y_test = (all_rows(torch.from_numpy(dataset.y[i]).to(y.dtype)) for i in (first, held))
    own = (part.to(like.device) for part in (X, y, X_raw, y_raw, X_test, y_test))
    return Split(*own, scale, n_train)


def held_out(args: argparse.Namespace, dataset: Dataset, n: int, *, few: bool) -> np.ndarray:
    """Which of the ``n`` rows of all ranks are for testing, (n,)."""
    held = np.zeros(n, dtype=bool)
    if few:
        test = parts(args, dataset, all_rows(torch.from_numpy(dataset.y)).numpy())[1]
    else:
        size = min(max(1, round(args.test_size * n)), SCORED)
        test = np.random.default_rng(args.seed).choice(n, size, replace=False)
    held[test] = True
    return held


def check(dataset: Dataset, held: np.ndarray) -> None:
    """Refuse training rows in which a class, or all difference, is missing.

    Raises
    ------
    ValueError
        On all ranks.
    """
    y = dataset.y[~held]
    if dataset.class_names:
        counts = (class_counts(dataset, part) for part in (dataset.y, y))
        refuse_absent(dataset, *(all_sum(torch.from_numpy(c)).numpy() for c in counts))
        return
    far = torch.tensor(torch.inf, dtype=torch.float64)
    ends = torch.tensor((y.min(), y.max()), dtype=torch.float64) if len(y) else (far, -far)
    least, most = float(all_min(ends[0])), float(all_max(ends[1]))
    if least == most:
        raise ValueError(f"target {dataset.target_name!r} is {least:g} in all training rows")


def blocks(X: np.ndarray, held: np.ndarray) -> Iterator[tuple[Tensor, np.ndarray]]:
    """The rows that are not held out, in float64, and where they are."""
    for start in range(0, len(X), ROWS):
        keep = start + np.flatnonzero(~held[start : start + ROWS])
        if len(keep):
            yield torch.from_numpy(X[keep]).double(), keep


def standardizer(X: np.ndarray, held: np.ndarray, *, centre: bool) -> Standardizer:
    """Two passes: means; then what is left of them, standard deviations and extremes.

    Of the rows of all ranks.
    """
    n, zero = count(int((~held).sum())), torch.zeros(X.shape[1], dtype=torch.float64)
    mean = zero.clone()
    for rows, _ in blocks(X, held):
        mean += rows.sum(0) / n
    mean = all_sum(mean)
    left, squares, furthest, largest = zero.clone(), zero.clone(), zero.clone(), zero.clone()
    for rows, _ in blocks(X, held):
        largest = torch.maximum(largest, rows.abs().amax(0))
        rows -= mean
        left += rows.sum(0) / n
        squares += rows.square().sum(0) / n
        furthest = torch.maximum(furthest, rows.abs().amax(0))
    left, squares = all_sum(torch.stack((left, squares)))
    furthest, largest = all_max(torch.stack((furthest, largest)))
    constant = furthest <= 4 * torch.finfo(torch.float64).eps * largest
    scale = torch.where(constant, 1.0, (squares - left.square()).clamp(min=0).sqrt())
    return Standardizer(mean + left if centre else zero, scale)
