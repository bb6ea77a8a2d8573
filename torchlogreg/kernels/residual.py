"""``A' S (y - A z)`` of a linear model in doubled precision, in one read of the rows."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from torchlogreg.double_double import DoubleDouble, total
from torchlogreg.kernels.interface import compiled
from torchlogreg.kernels.parts import cut, share
from torchlogreg.kernels.strips import as_array
from torchlogreg.meter import counted


def residual_available(X: Tensor) -> bool:
    """Whether :func:`residual_sums` takes such rows: float64, on a processor with fused products.

    Where it has none they are computed digit by digit, slower than torch's way.
    """
    if X.dtype != torch.float64 or not compiled(X):
        return False
    from torchlogreg.kernels.lanes import FUSED

    return FUSED


def residual_sums(
    X: Tensor,
    y: DoubleDouble,
    sample_weight: Tensor | None,
    weight: DoubleDouble,
    bias: DoubleDouble,
) -> tuple[DoubleDouble, DoubleDouble]:
    """``sum s_i r_i x_i`` and ``sum s_i r_i`` of the residuals ``r = y - X weight - bias``.

    A twentieth of the time of torch's operations, whose every temporary is written and read again.
    Products and sums lose nothing but what is below eps squared; no number may be so large or
    small that the square of it, times eps squared, is none (1e-120 to 1e120 is safe).

    Parameters
    ----------
    X : Tensor, shape (n, p)
        Contiguous rows for which :func:`residual_available` holds.
    y : DoubleDouble, shape (n,)
    sample_weight : Tensor, shape (n,), float64, optional
        Rows of weight zero are passed over, whatever they hold.
    weight : DoubleDouble, shape (p,)
    bias : DoubleDouble, scalar

    Returns
    -------
    (DoubleDouble, DoubleDouble)
        Shapes (p,) and (1,). The same, to the last bit, for any number of threads.
    """
    from torchlogreg.kernels.lanes import WIDTH
    from torchlogreg.kernels.residuals import RUN

    (n, p), lanes = X.shape, WIDTH // 64
    q = -(-p // lanes) * lanes
    wide = np.zeros((2, q))
    wide[0, :p], wide[1, :p] = weight.high.numpy(), weight.low.numpy()
    parts, size = cut(n, 8 * n * p)
    sums = np.zeros((parts, 2, q + 1))
    arrays = (
        as_array(X),
        torch.stack((y.high, y.low)).numpy(),
        np.empty(0) if sample_weight is None else as_array(sample_weight),
        wide,
        np.array([float(bias.high), float(bias.low)]),
        sums,
    )
    share(counted(lambda i, j: RUN(i, j, size, *arrays), n, p, parts), parts)
    both = torch.from_numpy(sums)
    found = total(DoubleDouble(both[:, 0], both[:, 1]), 0)
    return found[:p], found[q:]
