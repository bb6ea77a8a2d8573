"""Results in the kind of container that the input came in."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor


def like(X: Any, values: Tensor) -> Any:
    """A tensor for tensors, an array for everything else."""
    return values if isinstance(X, Tensor) else to_numpy(values)


def to_numpy(values: Any) -> Any:
    """An array of its own, on the host."""
    if isinstance(values, Tensor):
        return values.detach().cpu().numpy().copy()
    return np.asarray(values)


def labels_at(classes: Any, index: Tensor, X: Any) -> Any:
    """The labels ``classes[index]``; a tensor for tensors, unless the labels are text."""
    if not isinstance(X, Tensor):
        return to_numpy(classes)[to_numpy(index)]
    if isinstance(classes, Tensor):
        return classes.to(index.device)[index]
    if classes.dtype.kind in "biuf":
        return torch.from_numpy(classes).to(index.device)[index]
    return classes[to_numpy(index)]
