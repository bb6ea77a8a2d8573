"""Single columns of a matrix stored by rows."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from torchlogreg.kernels.interface import compiled
from torchlogreg.kernels.parts import cut, share


def columns_available(X: Tensor) -> bool:
    """Whether :func:`columns`, and coordinate descent over them, are compiled for this matrix."""
    return compiled(X) and X.is_contiguous()


def columns(X: Tensor, which: Tensor, out: Tensor) -> None:
    """Write ``X.T[which]`` (m, n), eight rows of ``X`` read side by side.

    Parameters
    ----------
    X : Tensor, shape (n, p)
        One for which :func:`columns_available` holds.
    which : Tensor, shape (m,)
        Whole numbers from 0 to p - 1; fastest where they rise.
    out : Tensor, shape (m, n)
        Contiguous, of the dtype of ``X``.
    """
    from torchlogreg.kernels.coordinate import GATHER

    rows, places, into = X.detach().numpy(), which.numpy().view(np.uint64), out.numpy()
    parts, size = cut(-(-len(X) // 8), out.numel())
    share(lambda first, last: GATHER(first, last, 8 * size, rows, places, into), parts)
