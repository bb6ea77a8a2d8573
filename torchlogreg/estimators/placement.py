"""Where an estimator computes, and in what."""

from __future__ import annotations

import torch


def device_of(device: str | torch.device) -> torch.device:
    """A device that is there.

    Raises
    ------
    ValueError
        If torch has no such device, or it is a CUDA device where torch sees none.
    """
    try:
        found = torch.device(device)
    except RuntimeError:  # torch lists all kinds it was ever built for
        raise ValueError(f"device is {device!r}, which torch does not know; use 'cpu'") from None
    if found.type == "cuda" and not torch.cuda.is_available():
        raise ValueError(f"device is {str(device)!r}, but torch sees no CUDA device; use 'cpu'")
    return found


def dtype_of(dtype: str | torch.dtype | None) -> torch.dtype:
    """A floating dtype of torch.

    Raises
    ------
    ValueError
        If it is none.
    """
    found = getattr(torch, dtype, None) if isinstance(dtype, str) else dtype or torch.float64
    if not isinstance(found, torch.dtype) or not found.is_floating_point:
        raise ValueError(f"dtype is {dtype!r}, but it is 'float64', 'float32' or torch's own")
    return found
