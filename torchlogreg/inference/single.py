"""Sums over the rows for a single score, ``k = r = 1``: no copy of ``X`` is made.

Where columns are not centred their basis is a scale alone, powers of two, which may as well be
applied to the sums: exactly.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from torchlogreg import kernels
from torchlogreg.data import pieces
from torchlogreg.few_rows import TILE
from torchlogreg.inference.rows import CACHED, Problem
from torchlogreg.kernels import gram, gram_available
from torchlogreg.losses import binary_nll


class Sums(NamedTuple):
    """What the information and the gradient are made of, in the basis.

    Attributes
    ----------
    top, cross, at_eta : Tensor, shapes (p, p), (p,) and ()
        ``sum a_i z_i z_i'``, ``sum a_i z_i`` and ``sum a_i`` with ``a_i = w_i C_i``.
    by_weight, by_eta : Tensor, shapes (p,) and ()
        ``sum w_i s_i z_i`` and ``sum w_i s_i``.
    loss : Tensor, scalar
    weakest : float
        Smallest ``a_i`` of a row with weight.
    bend : Tensor, shape (n,), or None
        ``a``, where it is at hand.
    """

    top: Tensor
    cross: Tensor
    at_eta: Tensor
    by_weight: Tensor
    by_eta: Tensor
    loss: Tensor
    weakest: float
    bend: Tensor | None = None


def has_one_score(problem: Problem) -> bool:
    """Whether :func:`sums_of_one_score` knows ``problem``."""
    same = problem.data.X.dtype == problem.form.weight.dtype
    return same and problem.R.shape == (1, 1) and not bool(problem.basis.mean.any())


def sums_of_one_score(problem: Problem) -> Sums:
    """One pass over the rows; two quicker ones with compiled kernels.

    Parameters
    ----------
    problem : Problem
        One of which :func:`has_one_score` is true.
    """
    sums = _compiled(problem) if _has_kernels(problem) else _by_blocks(problem)
    unit = float(problem.R[0, 0]) / problem.basis.scale
    top, cross, by_weight = (
        unit[:, None] * sums.top * unit,
        unit * sums.cross,
        unit * sums.by_weight,
    )
    return sums._replace(top=top, cross=cross, by_weight=by_weight)


def again_of_one_score(problem: Problem, T: Tensor, bend: Tensor) -> Tensor:
    """``T' A T`` (P, P) from rows that are multiplied with ``T`` first, which loses no digits.

    Parameters
    ----------
    problem : Problem
        One of which :func:`has_one_score` is true.
    T : Tensor, shape (P, P)
    bend : Tensor, shape (n,)
        Of the first sums.
    """
    X, p, P = problem.data.X, len(problem.basis.scale), len(T)
    width = -(-P // TILE) * TILE
    scaled, shift = X.new_zeros(p, width), X.new_zeros(1, width)
    scaled[:, :P] = problem.R / problem.basis.scale[:, None] * T[:p]
    shift[:, :P] = problem.M @ T[p:]
    again, size = X.new_zeros(width, width), max(1, CACHED // width)
    room = X.new_empty(min(size, len(X)), width)
    for rows, root in pieces(X, bend.sqrt(), size=size):
        turned = torch.addmm(shift, rows, scaled, out=room[: len(rows)]).mul_(root[:, None])
        again.addmm_(turned.T, turned)
    return again[:P, :P]


def _has_kernels(problem: Problem) -> bool:
    """Whether compiled kernels take the rows: binary logits, in memory."""
    data, form = problem.data, problem.form
    known = form.nll is binary_nll and not data.mapped and gram_available(data.X)
    return known and kernels.available(form.model, form.nll, data)


def _compiled(problem: Problem) -> Sums:
    """Of unscaled columns: losses and gradient in one read, the Gram matrix in another."""
    data, form = problem.data, problem.form
    found = kernels.evaluate(
        form.nll,
        data.X,
        data.y,
        sample_weight=data.sample_weight,
        weight=form.weight,
        intercepts=form.intercepts @ form.M.T,
        offset=data.offset,
    )
    eta = found.eta.view(-1)
    bend = torch.sigmoid(eta).mul_(torch.sigmoid(-eta)).mul_(data.sample_weight)
    top, cross = kernels.gram_and_totals(data.X, bend)
    weakest = torch.where(data.sample_weight > 0, bend, torch.inf).min()
    return Sums(
        top, cross, bend.sum(), found.by_weight.view(-1), found.by_intercepts.sum(), found.value,
        float(weakest), bend,
    )  # fmt: skip


def _by_blocks(problem: Problem) -> Sums:
    """Of unscaled columns, without kernels for all of it."""
    X = problem.data.X
    p, zero = X.shape[1], X.new_zeros(())
    sums: tuple[Tensor, ...] = (X.new_zeros(p, p), X.new_zeros(p), zero, X.new_zeros(p), zero, zero)
    weakest = zero + torch.inf
    for block in problem.data.blocks(max(CACHED, p * p)):
        losses, slopes, C, w = problem.derivatives(block)
        a, s, X = C[:, 0, 0] * w, slopes[:, 0] * w, block.X
        product = gram(X, a) if gram_available(X) else (X * a[:, None]).T @ X
        here = (product, a @ X, a.sum(), s @ X, s.sum(), torch.dot(w, losses))
        sums = tuple(x + y for x, y in zip(sums, here, strict=True))
        weakest = torch.minimum(weakest, torch.where(w > 0, a, torch.inf).min())
    top, cross, at_eta, by_weight, by_eta, loss = sums
    return Sums(top, cross, at_eta, by_weight, by_eta, loss, float(weakest))  # waits for the device


def framed(top: Tensor, cross: Tensor, at_eta: Tensor, M: Tensor) -> Tensor:
    """The whole matrix (P, P) from the parts of weights and intercepts."""
    side = M.T @ cross
    rows = (torch.cat((top, side.T), dim=1), torch.cat((side, M.T @ at_eta @ M), dim=1))
    matrix = torch.cat(rows)
    return (matrix + matrix.T) / 2
