"""Sums over the rows for a single score, ``k = r = 1``: no copy of ``X`` is made.

Where columns are not centred their basis is a scale alone, powers of two, which may as well be
applied to the sums: exactly.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from torchlogreg.inference.rows import CACHED, Problem
from torchlogreg.kernels import gram, gram_available


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
    """

    top: Tensor
    cross: Tensor
    at_eta: Tensor
    by_weight: Tensor
    by_eta: Tensor
    loss: Tensor
    weakest: float


def has_one_score(problem: Problem) -> bool:
    """Whether :func:`sums_of_one_score` knows ``problem``."""
    same = problem.data.X.dtype == problem.form.weight.dtype
    return same and problem.R.shape == (1, 1) and not bool(problem.basis.mean.any())


def sums_of_one_score(problem: Problem) -> Sums:
    """One pass over the rows.

    Parameters
    ----------
    problem : Problem
        One of which :func:`has_one_score` is true.
    """
    X, inverse = problem.data.X, 1 / problem.basis.scale
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
    unit = float(problem.R[0, 0]) * inverse
    return Sums(
        unit[:, None] * top * unit, unit * cross, at_eta, unit * by_weight, by_eta, loss,
        float(weakest),  # waits for the device
    )  # fmt: skip
