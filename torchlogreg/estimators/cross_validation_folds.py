"""What cross-validation is made of: folds as row weights, and a grid of penalties."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from torchlogreg.estimators.cross_validation_batched import Rows
from torchlogreg.estimators.cross_validation_paths import new_model
from torchlogreg.estimators.labels import class_weighting
from torchlogreg.optim import alpha_max
from torchlogreg.sample_weights import checked_weights
from torchlogreg.tensors import as_tensor
from torchlogreg.weighting import Snapshot

SPAN = 1e-4
"""Smallest alpha of a grid, as a share of the one from which on L1 keeps no column."""

WEAKEST = 1e-3
"""Share of L1 that the grid of a ridge is laid for, as glmnet does."""


def fold_shares(
    splits: list[Any], codes: Tensor, weight: Tensor, classes: Any, class_weight: Any
) -> Tensor:
    """Row weights of every fold, and last of all rows, each summing to one.

    Parameters
    ----------
    splits : list of pairs of index arrays
        Training and test rows of every fold; a row that repeats counts as often.
    codes, weight : Tensor, shape (n,)
    classes : ndarray or Tensor, shape (K,)
    class_weight : mapping of label to float, "balanced" or None

    Returns
    -------
    Tensor, shape (F + 1, n)

    Raises
    ------
    ValueError
        If a class is missing among the training rows of a fold.
    """
    weighting, shares = class_weighting(class_weight, classes), []
    for fold, train in enumerate([*(train for train, _ in splits), None]):
        share = weight * (1 if train is None else times(train, weight))
        counted = share > 0
        lacking = set(range(len(classes))) - set(codes[counted].tolist())
        if lacking:
            where = "all rows" if train is None else f"the training rows of fold {fold}"
            raise ValueError(
                f"{where} have none of class {classes.tolist()[min(lacking)]!r}; use fewer "
                "folds, or a splitter that stratifies"
            )
        if weighting is not None:
            y = codes[counted]
            nothing = torch.zeros(len(y), device=y.device)
            snapshot = Snapshot(y, nothing[:, None], nothing, y, torch.ones_like(nothing))
            share[counted] *= weighting(snapshot).to(share)
        shares.append(share / share.sum())
    return torch.stack(shares)


def times(train: Any, weight: Tensor) -> Tensor:
    """How often every row (n,) is among those of a fold."""
    rows = np.arange(len(weight))[train]  # of a mask too
    return torch.from_numpy(np.bincount(rows, minlength=len(weight))).to(weight)


def grid(alphas: Any, l1_ratios: np.ndarray, data: Rows, dtype: torch.dtype) -> np.ndarray:
    """The strengths, largest first.

    Parameters
    ----------
    alphas : int or sequence of float
        How many, or the numbers themselves.
    l1_ratios : ndarray, shape (L,)
    data : Rows
        The last of whose folds is all rows.
    dtype : torch.dtype

    Raises
    ------
    ValueError
        If there are none, or one is negative or not finite.
    """
    if not isinstance(alphas, int | np.integer):
        strengths = np.unique(np.asarray(alphas, dtype=np.float64))[::-1]
        if not len(strengths) or not (np.isfinite(strengths).all() and strengths[-1] >= 0):
            raise ValueError(f"alphas is {alphas!r}, but it holds finite numbers >= 0")
        return strengths
    if alphas < 1:
        raise ValueError(f"alphas is {alphas!r}, but at least one is needed")
    model = new_model(data, dtype)
    kept = data.shares[-1] > 0
    offset = None if data.offset is None else data.offset[kept]
    top = alpha_max(
        model,
        data.X[kept],
        data.codes[kept],
        sample_weight=data.shares[-1][kept],
        offset=offset,
    )
    top = top if top > 0 else 1.0
    high = top / max(WEAKEST, l1_ratios.min())
    return np.geomspace(high, SPAN * top, alphas) if alphas > 1 else np.array([top])


def row_weights(sample_weight: Any, rows: Tensor) -> Tensor:
    """Row weights as numbers, on the device of the rows."""
    like = torch.float32 if rows.device.type == "mps" else torch.float64
    if sample_weight is None:
        return torch.ones(len(rows), dtype=like, device=rows.device)
    weight = as_tensor(sample_weight, "sample_weight", rows.device).detach()
    return checked_weights(weight, len(rows), "sample_weight").to(like)


def known_scores(offset: Any, rows: Tensor) -> Tensor | None:
    """(n, 1) or (n, r)."""
    if offset is None:
        return None
    known = as_tensor(offset, "offset", rows.device).to(torch.float64)
    if len(known) != len(rows):
        raise ValueError(f"offset has {len(known)} rows, but X has {len(rows)}")
    return known.unsqueeze(1) if known.ndim == 1 else known


def checked_ratios(l1_ratios: Any) -> np.ndarray:
    """Shares of L1 (L,).

    Raises
    ------
    ValueError
        If there are none, or one is not in [0, 1].
    """
    ratios = np.asarray(l1_ratios, dtype=np.float64)
    if ratios.ndim != 1 or not len(ratios) or not ((ratios >= 0) & (ratios <= 1)).all():
        raise ValueError(f"l1_ratios is {l1_ratios!r}, but it holds numbers from 0 to 1")
    return ratios
