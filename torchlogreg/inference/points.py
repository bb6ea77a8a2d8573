"""Representative rows: the mean, the median, zero, or what the caller gives."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from torchlogreg.data import Batch
from torchlogreg.tensors import as_tensor

POINTS = ("overall", "mean", "median", "zero")


def representative(data: Batch, at: Any, n_features: int) -> tuple[list[Batch], str]:
    """Batches to average over, and the word for them.

    "overall" is ``data`` itself; any other point is a batch of one row.

    Raises
    ------
    ValueError
        If ``at`` is neither a known word nor rows of ``n_features`` finite numbers.
    """
    if isinstance(at, str):
        if at not in POINTS:
            raise ValueError(f"at is {at!r}, but the points are {', '.join(POINTS)}, or rows of X")
        return [data if at == "overall" else _summary(data, at)], at
    rows = _wide(as_tensor(at, "at", data.X.device))
    if rows.shape[-1:] != (n_features,) or rows.ndim not in (1, 2) or not len(rows):
        raise ValueError(
            f"at has shape {tuple(rows.shape)}, but one row ({n_features},) or several "
            f"(m, {n_features}) are needed"
        )
    if not bool(torch.isfinite(rows).all()):
        raise ValueError("at holds NaN or infinity; give finite rows")
    if rows.ndim == 1:
        return [_one(rows, None)], "row"
    return [_one(row, None) for row in rows], "rows"


def weighted_median(values: Tensor, sample_weight: Tensor) -> Tensor:
    """Median of every column (q,): a weight of 2 is a repeated row, and zero leaves a row out.

    The middle of all points at which at most half the weight lies on either side, so that two
    middle rows give their mean.

    Parameters
    ----------
    values : Tensor, shape (n, q)
    sample_weight : Tensor, shape (n,)
    """
    counted = sample_weight > 0
    medians = []
    for column in values[counted].T:  # a column at a time: sorting takes several times its memory
        ordered, index = _wide(column).sort()
        below = _wide(sample_weight[counted][index]).cumsum(0)
        half = 0.5 * below[-1]
        tie = 1e-12 * below[-1]  # sums of weights such as 0.1 are not exact
        low = int(torch.searchsorted(below, half - tie))
        high = int(torch.searchsorted(below, half + tie, right=True))
        medians.append(0.5 * (ordered[low] + ordered[min(high, len(ordered) - 1)]))
    return torch.stack(medians)


def _summary(data: Batch, at: str) -> Batch:
    """One row: mean, median or zero of columns and offset."""
    if at == "zero":
        return _one(torch.zeros_like(_wide(data.X[0])), None)
    average = weighted_median if at == "median" else _weighted_mean
    offset = data.offset
    if offset is not None:
        offset = average(offset.reshape(len(data), -1), data.sample_weight)
    return _one(average(data.X, data.sample_weight), offset)


def _weighted_mean(values: Tensor, sample_weight: Tensor) -> Tensor:
    """Mean of every column, (q,); in blocks, corrected once by the mean of the residuals."""
    total = _wide(sample_weight).sum()
    mean = torch.zeros_like(_wide(values[0]))
    for _ in range(2):
        rest = torch.zeros_like(mean)
        for start in range(0, len(values), 2**17):
            rows = slice(start, start + 2**17)
            rest += _wide(sample_weight[rows]) @ (_wide(values[rows]) - mean)
        mean = mean + rest / total
    return mean


def _wide(values: Tensor) -> Tensor:
    """float64, or float32 on Apple's GPUs, which have no other."""
    return values.float() if values.device.type == "mps" else values.double()


def _one(row: Tensor, offset: Tensor | None) -> Batch:
    """A batch of one row; its target is never read."""
    one = row.new_ones(1)
    return Batch(
        row.unsqueeze(0), torch.zeros_like(one), one, offset if offset is None else offset[None]
    )
