"""Linear least squares from the normal equations, refined: for many rows and sound columns."""

from __future__ import annotations

import torch
from torch import Tensor

from torchlogreg import kernels
from torchlogreg.data import Batch
from torchlogreg.losses import squared_error
from torchlogreg.moments import BLOCK, untouched
from torchlogreg.objective import Closure, Objective
from torchlogreg.optim.factor import Factor
from torchlogreg.passes import Found

SMALL = 2**18
"""Entries of ``X`` below which a QR in doubled precision costs no more than a millisecond or so."""

SOUND = 1e-8
"""Smallest pivot of the Gram matrix of unit columns: a condition number of about 1e4."""

DIGITS = 2e-13
"""Smallest pivot that has digits at all: a condition number of about two million."""

TINY = 1e-290
"""Sum of squares below which products of columns have few digits left, or none."""

LOST = 2e-12
"""Size of the last correction, against the solution, that is taken for rounding."""


def normal_equations(
    objective: Objective,
    batch: Batch,
    *,
    ridge: float,
    right: Tensor | None = None,
    rough: float = 0.0,
) -> Tensor | None:
    """Minimise ``sum s_i (y_i - a_i z)^2 + ridge |weight|^2`` for ``A = [X, 1]``; None if unsafe.

    1. ``G = A' S A + ridge`` of columns about the mean of a few rows, or about zero where that is
       near and compiled kernels are there, which move nothing; Cholesky of ``G`` with unit
       diagonal. None if a pivot says that the condition number, squared in ``G``, leaves too
       little.
    2. Residual ``r = y - A z`` on the rows themselves, and ``z += G^-1 (A' S r - ridge z)``: the
       error shrinks by about eps times the squared condition number, down to that which float64
       residuals leave, eps times the condition number.
    3. Until the next correction would be hidden by rounding, mostly one or two; None if they do not
       shrink by a thousand.

    Parameters
    ----------
    objective : Objective
        Of a linear regression; it remembers the sums of the rows.
    batch : Batch
        In float64.
    ridge : float
        ``>= 0``.
    right : Tensor, shape (P,), optional
        ``A' S y``, where a pass over the rows has shown it already.
    rough : float
        Relative error that will do: no 2 and 3, if the pivots promise a hundredth of it.

    Returns
    -------
    Tensor, shape (P,), or None

    References
    ----------
    Golub and Wilkinson, Note on the iterative refinement of least squares solution (1966); Björck,
    Numerical Methods for Least Squares Problems (1996), section 2.9.
    """
    if batch.X.dtype != torch.float64 or batch.y.dtype != torch.float64:
        return None
    if batch.offset is not None and batch.offset.numel() != len(batch):
        return None
    bias = objective.model.bias is not None
    y = batch.y
    if batch.offset is not None:
        y = batch.each(torch.sub, y, batch.offset.flatten())
    sums = _gram(objective, batch, ridge)  # 1
    if sums is None:
        return None
    G, size, centre = sums
    factor = Factor(G)
    needed = max(DIGITS, 100 * torch.finfo(G.dtype).eps / rough) if rough else SOUND
    if factor.singular or not float(factor.smallest_pivot) > needed:
        return None
    if right is None or bool(centre.any()):
        right = _right_side(batch, y, centre, bias, torch.zeros_like(size))
    z = factor.solve(right)
    before = z.abs()
    for _ in range(0 if rough else 4):
        step = factor.solve(_right_side(batch, y, centre, bias, z) - size * z)  # 2
        z = z + step
        shrinks = float((step.abs() / before.clamp(min=1e-300)).max())
        if bool((step.abs() * min(shrinks, 1.0) <= 2.0**-54 * z.abs()).all()):  # 3
            return _raw(z, centre) if bias else z
        if not shrinks < 1e-3 and not bool(step.norm() <= LOST * z.norm()):
            return None
        before = step.abs()
    return _raw(z, centre) if bias else z


@torch.no_grad()
def look_at_zero(closure: Closure) -> None:
    """Value and gradient of many rows where all parameters are zero, from the read that makes the
    Gram matrix: the first pass of a fit. They are remembered; elsewhere nothing is done.

    Parameters
    ----------
    closure : Closure
        Of an objective that least squares can solve.
    """
    objective, batch = closure.objective, closure.batch
    X, y, weight = batch.X, batch.y, batch.sample_weight
    whole = batch is closure.data and batch.total is None and not batch.mapped
    if not whole or batch.offset is not None or X.numel() <= SMALL or not kernels.gram_available(X):
        return
    params, dtypes = closure.params, {X.dtype, y.dtype, weight.dtype}
    trained = all(p.requires_grad for p in objective.model.parameters())
    if dtypes != {torch.float64} or not trained or any(bool(p.any()) for p in params):
        return
    if not float(weight.amin()) == 1.0 == float(weight.amax()):  # squares are those of the columns
        return
    sums = objective.remembered.moments(batch, y)
    if sums.by_y is None or bool(sums.centre.any()):
        return
    right = torch.cat((sums.by_y, y.sum()[None])) if len(params) > 1 else sums.by_y
    objective.remembered.keeps_rows = False
    objective.rows_read += len(batch)
    none = X.new_empty(0, 1), X.new_empty(0)
    squares = sums.gram.diagonal().clone()
    value, gradient = torch.dot(y, y) / batch.n, right * (-2.0 / batch.n)
    objective.remember(batch, Found(value, gradient, *none, squares=squares))


def _raw(z: Tensor, centre: Tensor) -> Tensor:
    """The solution for columns that are not moved."""
    return torch.cat((z[:-1], z[-1:] - torch.dot(z[:-1], centre)))


def triangle(objective: Objective, batch: Batch, *, ridge: float) -> Tensor | None:
    """``R`` with ``R'R = [X, 1]' S [X, 1] + ridge``, (P, P), from the same sums.

    A pivot of ``DIGITS`` is left with two digits, which is enough to correct a solution by, if the
    residuals are exact: each correction then gains as many.

    Returns
    -------
    Tensor or None
        None where columns depend on one another more than that, and without sums of float64.
    """
    if batch.X.dtype != torch.float64:
        return None
    sums = _gram(objective, batch, ridge)
    if sums is None:
        return None
    G, _, centre = sums
    lower, info = torch.linalg.cholesky_ex(G)
    pivots = lower.diagonal().square() / G.diagonal()
    if int(info) or not float(pivots.min()) > DIGITS:
        return None
    if objective.model.bias is None or not bool(centre.any()):
        upper: Tensor = lower.T.contiguous()
        return upper
    back = torch.eye(len(G), dtype=G.dtype, device=G.device)
    back[-1, :-1] = centre  # from columns that were moved to those that were not
    found: Tensor = torch.linalg.qr(lower.T @ back, mode="r").R
    return found


def _gram(objective: Objective, batch: Batch, ridge: float) -> tuple[Tensor, Tensor, Tensor] | None:
    """``A' S A + ridge`` of moved columns (P, P), the ridge (P,), and by what they were moved.

    None where products have too few digits.
    """
    sums, bias = objective.remembered.moments(batch), objective.model.bias is not None
    p = len(sums.total)
    size = torch.full((p + int(bias),), ridge, dtype=sums.gram.dtype, device=sums.gram.device)
    size[p:] = 0
    G = torch.zeros_like(size.outer(size))
    G[:p, :p] = sums.gram
    if bias:
        G[p, :p] = G[:p, p] = sums.total
        G[p, p] = batch.sample_weight.sum()
    G.diagonal().add_(size)
    return (G, size, sums.centre) if float(G.diagonal().min()) > TINY else None


def _right_side(batch: Batch, y: Tensor, centre: Tensor, bias: bool, z: Tensor) -> Tensor:
    """``A' S (y - A z)`` of moved columns, (P,): far from zero ``A z`` has no digits."""
    p = len(centre)
    if untouched(batch.X, centre):
        sums = kernels.evaluate(
            squared_error,
            batch.X,
            y,
            sample_weight=batch.sample_weight,
            weight=z[None, :p],
            intercepts=z[p:] if bias else z.new_zeros(1),
        )
        found = torch.cat((sums.by_weight[0], sums.by_intercepts)) if bias else sums.by_weight[0]
        return -0.5 * found
    b, start = torch.zeros_like(z), 0
    for block in batch.blocks(BLOCK):
        moved = block.X - centre
        eta = torch.addmv(z[p:], moved, z[:p]) if bias else moved @ z
        r = (y[start : start + len(block)] - eta) * block.sample_weight
        b[:p] += r @ moved
        b[p:] += r.sum()
        start += len(block)
    return b
