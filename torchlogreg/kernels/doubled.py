"""``X' S (sigmoid(eta) - y)`` of a binary logit in doubled precision, in one read of the rows."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from torchlogreg.double_double import DoubleDouble
from torchlogreg.kernels.residual import residual_available
from torchlogreg.kernels.strips import as_array


def logit_sums_available(X: Tensor) -> bool:
    """Whether :func:`logit_sums` takes such rows."""
    return residual_available(X)


def logit_sums(
    X: Tensor,
    y: Tensor,
    sample_weight: Tensor,
    offset: Tensor | None,
    weight: DoubleDouble,
    bias: DoubleDouble | None,
) -> tuple[DoubleDouble, DoubleDouble, Tensor]:
    """``sum_i s_i q_i x_i``, ``sum_i s_i q_i`` of ``q = sigmoid(eta) - y``, and ``eta``, rounded.

    Torch's operations take twenty times as long, for each of their temporaries is written and read
    again, and of few rows each costs a call. Relative errors are those of
    :mod:`torchlogreg.double_double_functions`.

    Parameters
    ----------
    X : Tensor, shape (n, p)
        Rows for which :func:`logit_sums_available` holds.
    y, sample_weight : Tensor, shape (n,), float64
    offset : Tensor, shape (n,) or (n, 1), optional
    weight : DoubleDouble, shape (p,)
    bias : DoubleDouble, scalar, optional

    Returns
    -------
    (DoubleDouble, DoubleDouble, Tensor)
        Shapes (p,), (1,) and (n,). Rows of weight zero are passed over: their ``eta`` is 0.
    """
    from torchlogreg.kernels.doubled_logits import RUN
    from torchlogreg.kernels.lanes import WIDTH

    (n, p), lanes = X.shape, WIDTH // 64
    q = -(-p // lanes) * lanes
    wide, constant = np.zeros((2, q)), np.zeros(2)
    wide[0, :p], wide[1, :p] = as_array(weight.high), as_array(weight.low)
    if bias is not None:
        constant[:] = float(bias.high), float(bias.low)
    known = np.empty(0) if offset is None else as_array(offset.reshape(-1))
    eta, sums = np.empty(n), np.empty((2, q + 1))
    RUN(as_array(X), as_array(y), as_array(sample_weight), known, wide, constant, eta, sums)
    both = torch.from_numpy(sums)
    found = DoubleDouble(both[0], both[1])
    return found[:p], found[q:], torch.from_numpy(eta)
