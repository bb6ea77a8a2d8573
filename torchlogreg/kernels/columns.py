"""Single columns of a matrix stored by rows."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from torchlogreg.kernels.interface import compiled


def columns_available(X: Tensor) -> bool:
    """Whether :func:`columns`, and coordinate descent over them, are compiled for this matrix."""
    return compiled(X) and X.is_contiguous()


def columns(X: Tensor, which: Tensor) -> Tensor:
    """``X.T[which]`` (m, n), in two thirds of the time: eight rows are read side by side.

    Parameters
    ----------
    X : Tensor, shape (n, p)
        One for which :func:`columns_available` holds.
    which : Tensor, shape (m,)
        Whole numbers from 0 to p - 1; fastest where they rise.
    """
    from torchlogreg.kernels.coordinate import GATHER

    found = X.new_empty(len(which), len(X))
    GATHER(X.detach().numpy(), which.numpy().view(np.uint64), found.numpy())
    return found
