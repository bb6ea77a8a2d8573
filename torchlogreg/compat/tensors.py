"""Tensors in, and where scikit-learn's array API dispatch is enabled, tensors out."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from sklearn import get_config
from torch import Tensor


def as_array(values: Any) -> Any:
    """A tensor's numbers on the host, without its gradient; everything else as it is."""
    return values.detach().cpu().numpy() if isinstance(values, Tensor) else values


def dispatched(X: Any) -> bool:
    """Whether what is made of ``X`` is wanted as tensors."""
    return isinstance(X, Tensor) and bool(get_config()["array_api_dispatch"])


def like(X: Any, values: Any) -> Any:
    """Numbers as a tensor on the device of ``X``, if that is wanted; text as it is."""
    if not dispatched(X) or np.asarray(values).dtype.kind not in "biuf":
        return values
    return torch.from_numpy(np.asarray(values)).to(X.device)
