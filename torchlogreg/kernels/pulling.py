"""``X' v`` in one read of ``X``: what leads from slopes by rows to a gradient by columns."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from torchlogreg.kernels.interface import compiled
from torchlogreg.kernels.parts import cut, share
from torchlogreg.kernels.strips import Array, as_array, over_strips
from torchlogreg.meter import counted


def pulled_available(X: Tensor) -> bool:
    """Whether :func:`pulled` takes this matrix."""
    return compiled(X)


def pulled(X: Tensor, slopes: Tensor, *, squared: bool = False) -> tuple[Tensor, Tensor | None]:
    """``slopes @ X`` (p,), in two thirds of a library's time: four rows are read side by side.

    Parameters
    ----------
    X : Tensor, shape (n, p)
        One for which :func:`pulled_available` holds.
    slopes : Tensor, shape (n,)
        Of the dtype of ``X``.
    squared : bool
        Whether the sums of squares of the columns (p,) are wanted too: they cost a tenth of a read
        of their own. In double precision only; else None.
    """
    p, by_row, doubled = X.shape[1], as_array(slopes)[:, None], X.dtype == torch.float64
    width = 2 * p if squared and doubled else p
    sums = over_strips(X, lambda part, rows: _pulled(part, by_row[rows], width))
    return sums[:p].to(X.dtype), sums[p:] if width > p else None


def _pulled(X: Tensor, slopes: Array, width: int) -> Tensor:
    """The same of contiguous rows, (p,) or with the squares (2 p,)."""
    from torchlogreg.kernels.sweeps import PULLED

    n, p = X.shape
    parts, size = cut(n, n * p)
    sums, rows = np.empty((parts, width)), as_array(X)
    run = counted(lambda i, j: PULLED(i, j, size, rows, slopes, sums), n, p, parts)
    share(run, parts)
    return torch.from_numpy(sums.sum(0))
