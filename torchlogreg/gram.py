"""The inverse of ``X' S X`` and the residual sum of squares, to the last digit of float64.

The condition number of a Gram matrix is the square of the design's, so that inverting it in plain
float64 leaves half the digits. Here ``R`` of a QR factorisation (which never squares) is the
starting point, and Newton's correction for inverses uses a Gram matrix of doubled precision.

References
----------
Schulz, Iterative Berechnung der reziproken Matrix, ZAMM 13 (1933); Björck, Numerical Methods for
Least Squares Problems (1996), section 2.9.
"""

from __future__ import annotations

import torch
from torch import Tensor

from torchlogreg.design import Design
from torchlogreg.double_double import DoubleDouble, matvec
from torchlogreg.response import Response

CUTOFF = 64 * 2.0**-52
"""Singular values of a scaled design below this share of the largest are rounding."""

REFINED = 2**27
"""Products ``n P^2`` up to which the Gram matrix is made in doubled precision (seconds)."""


def inverse_gram(X: Tensor, sample_weight: Tensor | None = None, *, bias: bool = True) -> Tensor:
    """``([X, 1]' S [X, 1])^-1``, float64, shape (P, P): columns of ``X`` first, then the ones.

    1. ``R`` with ``R'R`` the Gram matrix of columns scaled by powers of two.
    2. ``Z = R^-1 R^-T``, then ``Z += R^-1 R^-T (I - G Z)`` with ``G`` and ``Z`` in doubled
       precision until nothing changes. Above ``REFINED`` products ``n P^2``, ``Z`` as it is: 16
       digits less those of the design's condition number.

    Parameters
    ----------
    X : Tensor, shape (n, p)
    sample_weight : Tensor, shape (n,), optional
        ``S``, used as they are.
    bias : bool
        Whether a column of ones follows.

    Raises
    ------
    ValueError
        If the columns are linearly dependent to rounding.
    """
    design = Design(X, sample_weight, bias=bias)
    R = design.triangle()
    n, P = design.shape
    rank = rank_of(R)
    if rank < P:
        raise ValueError(
            f"the design has rank {rank} of {P} columns, so X'X has no inverse; drop the "
            "columns that others make up"
        )
    eye = torch.eye(P, dtype=R.dtype, device=R.device)
    Z = DoubleDouble.of(normal_solve(R, eye))
    if n * P * P <= REFINED:
        Z = refined_inverse(R, design.gram(), Z)
    inverse = Z.value
    inverse = 0.5 * (inverse + inverse.T)
    return inverse / design.unit[:, None] / design.unit[None, :]


def residual_sum_of_squares(
    X: Tensor,
    y: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    sample_weight: Tensor | None = None,
    offset: Tensor | None = None,
) -> Tensor:
    """``sum_i s_i (y_i - offset_i - x_i . weight - bias)^2`` in doubled precision, a scalar.

    Parameters
    ----------
    X : Tensor, shape (n, p)
    y : Tensor, shape (n,)
    weight : Tensor, shape (p,) or (1, p)
    bias : Tensor, shape () or (1,), optional
    sample_weight, offset : Tensor, shape (n,), optional

    Returns
    -------
    Tensor
        float64.
    """
    design = Design(X, sample_weight, bias=bias is not None)
    params = [weight.detach().flatten()] + ([] if bias is None else [bias.detach().flatten()])
    response = Response.of(design, y, offset)
    z = torch.cat(params).to(design.unit) / response.unit * design.unit
    found = response.sum_of_squares(design, DoubleDouble.of(z))
    return found * response.unit * response.unit


def rank_of(R: Tensor) -> int:
    """Numerical rank of a triangular factor (P, P), blind to the units of columns."""
    size = torch.linalg.vector_norm(R, dim=0)
    values = torch.linalg.svdvals(R / torch.where(size > 0, size, 1.0))
    return int((values > CUTOFF * values[0]).sum())


def refined_inverse(R: Tensor, G: DoubleDouble, Z: DoubleDouble) -> DoubleDouble:
    """Newton's iteration for ``G^-1`` with residuals of doubled precision.

    Parameters
    ----------
    R : Tensor, shape (P, P)
        Upper triangle, ``R'R`` nearly ``G``.
    G : DoubleDouble, shape (P, P)
    Z : DoubleDouble, shape (P, P)
        The first approximation of the inverse.
    """
    eye = torch.eye(len(R), dtype=R.dtype, device=R.device)
    for _ in range(10):
        columns = []
        for j in range(len(R)):
            column = matvec(G.high, Z[:, j])
            low = column.low + G.low @ Z.high[:, j]
            columns.append((DoubleDouble.of(eye[j]) - DoubleDouble(column.high, low)).value)
        change = normal_solve(R, torch.stack(columns, dim=1))
        Z = Z + DoubleDouble.of(change)
        if bool((change.abs() <= 1e-18 * Z.high.abs().max(0).values).all()):
            break
    return Z


def normal_solve(R: Tensor, right: Tensor) -> Tensor:
    """``R^-1 R^-T right``, (P, m)."""
    half = torch.linalg.solve_triangular(R.T, right, upper=False)
    solved: Tensor = torch.linalg.solve_triangular(R, half, upper=True)
    return solved
