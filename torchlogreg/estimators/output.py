"""Results in the kind of container that the input came in."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from sklearn.metrics import accuracy_score, r2_score
from torch import Tensor


def like(X: Any, values: Tensor) -> Any:
    """A tensor for tensors, an array for everything else."""
    return values if isinstance(X, Tensor) else to_numpy(values)


def to_numpy(values: Any) -> Any:
    """An array of its own, on the host."""
    if isinstance(values, Tensor):
        return values.detach().cpu().numpy().copy()
    return np.asarray(values)


def accuracy(y: Any, predicted: Any, sample_weight: Any) -> float:
    """Share of the weight of the rows whose label is predicted; on the device, if both are there.

    Parameters
    ----------
    y, predicted : array or Tensor, shape (n,)
    sample_weight : array or Tensor, shape (n,), or None
    """
    if isinstance(y, Tensor) and isinstance(predicted, Tensor):
        right = (y.reshape(-1).to(predicted.device) == predicted).to(torch.float32)
        if sample_weight is None:
            return float(right.sum(dtype=_wide(right))) / len(right)
        weight = torch.as_tensor(sample_weight, device=right.device).to(_wide(right))
        return float(right.to(weight) @ weight / weight.sum())
    counts = None if sample_weight is None else to_numpy(sample_weight)
    return float(accuracy_score(to_numpy(y), to_numpy(predicted), sample_weight=counts))


def r_squared(y: Any, predicted: Any, sample_weight: Any) -> float:
    """Coefficient of determination; on the device, if both are there.

    Parameters
    ----------
    y, predicted : array or Tensor, shape (n,)
    sample_weight : array or Tensor, shape (n,), or None
    """
    if not (isinstance(y, Tensor) and isinstance(predicted, Tensor)):
        counts = None if sample_weight is None else to_numpy(sample_weight)
        return float(r2_score(to_numpy(y), to_numpy(predicted), sample_weight=counts))
    wide, device = _wide(predicted), predicted.device
    y = y.reshape(-1).to(device).to(wide)
    share = (
        torch.ones_like(y)
        if sample_weight is None
        else (torch.as_tensor(sample_weight, device=device).to(wide))
    )
    share = share / share.sum()
    left = share @ (y - predicted.to(wide)).square()
    return 1 - float(left / (share @ (y - share @ y).square()))


def _wide(values: Tensor) -> torch.dtype:
    """float64 where the device has it."""
    return torch.float32 if values.device.type == "mps" else torch.float64


def labels_at(classes: Any, index: Tensor, X: Any) -> Any:
    """The labels ``classes[index]``; a tensor for tensors, unless the labels are text."""
    if not isinstance(X, Tensor):
        return to_numpy(classes)[to_numpy(index)]
    if isinstance(classes, Tensor):
        return classes.to(index.device)[index]
    if classes.dtype.kind in "biuf":
        return torch.from_numpy(classes).to(index.device)[index]
    return classes[to_numpy(index)]
