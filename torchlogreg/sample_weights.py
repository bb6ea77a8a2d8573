"""Sample weights as numbers: checked once, and scaled to mean one."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from torchlogreg.data import Batch


def mean_one(factor: Tensor) -> Tensor:
    """Scale to mean one; exact for ones, and safe for weights whose sum would overflow."""
    factor = factor / factor.max()
    return factor * (len(factor) / factor.sum())


def mean_one_on(data: Batch, factor: Tensor) -> Tensor:
    """:func:`mean_one` over the rows of all ranks, of which these (n,) are the ones of ``data``."""
    beside = data.mapped and factor.dtype == data.X.dtype
    scaled = data.room() if beside else torch.empty_like(factor)
    torch.div(factor, data.largest(factor.max()), out=scaled)
    return scaled.mul_(data.n / data.summed(scaled.sum()))


def checked_weights(weights: Tensor, n: int, name: str) -> Tensor:
    """``weights`` as they are, if they can weigh ``n`` rows.

    Raises
    ------
    ValueError
        If the shape is not (n,), an entry is negative, NaN or infinite, or all are zero.
    """
    if weights.shape != (n,):
        raise ValueError(
            f"{name} has shape {tuple(weights.shape)}, but one weight for each of the {n} rows is "
            "needed"
        )
    least, most = (float(end) for end in torch.aminmax(weights))  # NaN is neither
    if not (least >= 0 and most < math.inf):
        wrong = ~((weights >= 0) & torch.isfinite(weights))
        row = int(wrong.nonzero()[0])
        raise ValueError(
            f"{name}: row {row} has weight {weights[row].item():g}, but weights are finite and "
            "not negative; give 0 to leave a row out"
        )
    if not most:
        raise ValueError(f"{name}: all weights are zero from row 0 on, so nothing is left to fit")
    return weights
