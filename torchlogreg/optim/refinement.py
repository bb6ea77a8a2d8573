"""Weighted linear least squares to the last digit, and of minimum norm where columns depend.

Each function works on a :class:`torchlogreg.design.Design` ``A`` and a response in units that the
caller has made moderate; ``R`` is a triangle with ``R'R = A' S A + diag(ridge)``.

References
----------
Björck, Stability analysis of the method of seminormal equations for linear least squares problems,
Linear Algebra Appl. 88/89 (1987), and Numerical Methods for Least Squares Problems (1996), sections
2.9 and 6.6; Golub, Klema and Stewart, Rank degeneracy and least squares problems (1976).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from torchlogreg.design import Design
from torchlogreg.double_double import DoubleDouble, matvec, vecmat
from torchlogreg.gram import normal_solve
from torchlogreg.response import Response

DOUBLED = 2**25
"""Entries of ``A`` up to which residuals are of doubled precision: 1e6 rows of 30 columns. With
compiled kernels they are at any size."""

DIGITS = 2.0**-56
"""Relative size of a correction that the rounding of float64 hides."""


class Solution(NamedTuple):
    """What was found, in units of the design's columns."""

    z: DoubleDouble
    rank: int
    settled: bool


def refine(
    design: Design, R: Tensor, y: Response, start: DoubleDouble | None = None
) -> tuple[DoubleDouble, bool]:
    """Minimise ``sum s_i (y_i - a_i z)^2 + ridge z^2`` for independent columns.

    1. Start: the seminormal equations ``R'R z = A' S y`` in float64.
    2. Residual ``r = y - A z`` and gradient ``g = A' S r - ridge z``, in doubled precision.
    3. Correction ``R'R dz = g`` in float64, added to ``z``, which is kept in doubled precision.
       Each makes the error smaller by about eps times the condition number (not its square, since
       ``R`` comes from a QR), down to eps^2 times its square.
    4. Until the next correction would vanish in rounding; or the corrections shrink no more.

    Above ``DOUBLED`` entries, and without compiled kernels, step 2 is done in float64, and steps 2
    and 3 twice.

    Returns
    -------
    (DoubleDouble, bool)
        ``z`` (P,), and whether the corrections vanished.
    """
    z = start
    if z is None and y.quick:  # 1
        z = DoubleDouble.of(torch.zeros_like(design.unit))
        z = DoubleDouble.of(normal_solve(R, y.gradient(design, z).value[:, None])[:, 0])
    elif z is None:
        z = DoubleDouble.of(normal_solve(R, y.plain_gradient(design)[:, None])[:, 0])
    before = torch.linalg.vector_norm(R @ z.high)
    doubled = design.shape[0] * design.shape[1] <= DOUBLED or y.quick
    for _ in range(12 if doubled else 2):
        if doubled:  # 2
            gradient = (y.gradient(design, z) - z * design.ridge).value
        else:
            gradient = y.plain_gradient(design, z.high) - design.ridge * z.high
        step = normal_solve(R, gradient[:, None])[:, 0]  # 3
        size = torch.linalg.vector_norm(R @ step)
        shrinks = float(size / before) if float(before) > 0 else 0.0
        if not shrinks < 0.5:  # 4; NaN is no progress either
            return z, _hidden(step, z.high)
        z, before = z + DoubleDouble.of(step), size
        if _hidden(shrinks * step, z.high):
            return z, True
    return z, not doubled


def minimum_norm(design: Design, R: Tensor, y: Response, eps: float) -> Solution:
    """The least-squares solution of smallest ``|z / unit|`` (the parameters in the user's units).

    1. Rank from the singular values of ``R`` with columns of unit length. If full: ``refine``.
    2. A basis of ``rank`` columns; the others are ``A_other = A_basis W``, each by ``refine``.
    3. All solutions are ``z_basis = z0 - W t, z_other = t``; the shortest one satisfies
       ``(I + W W') z_basis = z0`` and ``t = W' z_basis``, in the user's units.
    4. The basis columns are solved for again, beside these ``t``: an error in ``t`` then costs
       length, not fit.

    Parameters
    ----------
    design : Design
    R : Tensor, shape (P, P)
    y : Response
    eps : float
        Relative error of the data, which says when a singular value is rounding.
    """
    basis, others = independent_columns(R, design.unit, eps)  # 1
    if len(others) == 0:
        return Solution(*_full(design, R, y))
    if len(basis) == 0:  # nothing but zeros
        return Solution(DoubleDouble.of(torch.zeros_like(design.unit)), 0, True)
    part = design.select(basis)
    R_basis = torch.linalg.qr(R[:, basis], mode="r").R
    z0, settled = refine(part, R_basis, y)  # 2
    W = _dependence(design, R, R_basis, basis, others)
    W = W * (design.unit[others] / part.unit[:, None])  # 3; to the user's units
    shortest, t = _shortest(W, _scaled(z0, part.unit.reciprocal()))
    z_others = _scaled(t, design.unit[others])
    rest = y.less(design.select(others), z_others)  # 4
    z_basis, again = refine(part, R_basis, rest, _scaled(shortest, part.unit))
    order = torch.cat((basis, others)).argsort()
    return Solution(DoubleDouble.cat((z_basis, z_others))[order], len(basis), settled and again)


def independent_columns(R: Tensor, unit: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """Indices of a well-conditioned basis of the columns of ``R``, and of the others; sorted.

    Of equally good columns those of the largest ``unit`` make the basis: their coefficients are the
    small ones, and an error in them is.
    """
    size = torch.linalg.vector_norm(R, dim=0)
    scaled = R / torch.where(size > 0, size, 1.0)
    P = len(R)
    every = torch.arange(P, device=R.device)
    _, values, V = torch.linalg.svd(scaled)
    rank = int((values > eps * values[0]).sum()) if bool(values[0] > 0) else 0
    if rank == P:
        return every, every[:0]
    # The fewer of both kinds are picked, greedily: columns large in the range of R, or in its null.
    wide = rank <= P - rank
    picked = _pivots(V[:rank], unit.log2()) if wide else _pivots(V[rank:], -unit.log2())
    chosen = torch.zeros(P, dtype=torch.bool, device=R.device)
    chosen[picked] = True
    if not wide:
        chosen = ~chosen
    return every[chosen], every[~chosen]


def _full(design: Design, R: Tensor, y: Response) -> tuple[DoubleDouble, int, bool]:
    z, settled = refine(design, R, y)
    return z, len(R), settled


def _hidden(step: Tensor, z: Tensor) -> bool:
    return bool((step.abs() <= DIGITS * z.abs()).all())  # waits for the device


def _pivots(rows: Tensor, preference: Tensor) -> Tensor:
    """As many columns of (m, P) as it has rows, by Gram-Schmidt with pivoting; indices (m,).

    The pivot is the preferred one of the columns that are at least a tenth of the largest.
    """
    left, picked = rows.clone(), torch.zeros_like(preference, dtype=torch.bool)
    for _ in range(len(rows)):
        sizes = left.norm(dim=0).masked_fill(picked, 0.0)
        liked = preference.masked_fill(sizes < 0.1 * sizes.max(), -torch.inf) + 1e-3 * sizes
        best = liked.masked_fill(picked, -torch.inf).argmax()
        direction = left[:, best] / left[:, best].norm()
        left -= direction[:, None] * (direction @ left)
        picked[best] = True
    return picked.nonzero()[:, 0]


def _dependence(
    design: Design, R: Tensor, R_basis: Tensor, basis: Tensor, others: Tensor
) -> Tensor:
    """``W`` with ``A_others = A_basis W``, (rank, P - rank)."""
    part = design.select(basis).without_ridge()
    n, rank = part.shape
    right = R[:, basis].T @ R[:, others]
    W = normal_solve(R_basis, right)
    W = W + normal_solve(R_basis, R[:, basis].T @ (R[:, others] - R[:, basis] @ W))
    if len(others) > 256 or n * rank * len(others) > DOUBLED:
        return W
    columns = [
        refine(part, R_basis, Response.column(design, j), DoubleDouble.of(w))[0].value
        for j, w in zip(others.tolist(), W.T, strict=True)
    ]
    return torch.stack(columns, dim=1)


def _shortest(W: Tensor, b: DoubleDouble) -> tuple[DoubleDouble, DoubleDouble]:
    """``x`` with ``(I + W W') x = b``, and ``W' x``; rows of ``W`` may differ in size by 1e300."""
    largest = W.abs().amax(1).clamp(min=1.0)
    unit = torch.ldexp(torch.ones_like(largest), -torch.frexp(largest).exponent)
    scaled = unit[:, None] * W  # x = unit * q
    R = torch.linalg.qr(torch.cat((torch.diag(unit), scaled.T)), mode="r").R
    right, q = _scaled(b, unit), DoubleDouble.of(torch.zeros_like(b.high))
    for _ in range(4):
        left = _scaled(q, unit.square()) + matvec(scaled, vecmat(q, scaled))
        q = q + DoubleDouble.of(normal_solve(R, (right - left).value[:, None])[:, 0])
    return _scaled(q, unit), vecmat(q, scaled)


def _scaled(x: DoubleDouble, unit: Tensor) -> DoubleDouble:
    """Times powers of two, which is exact."""
    return DoubleDouble(x.high * unit, x.low * unit)
