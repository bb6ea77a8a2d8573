"""Newton's step among the rows for one score a row: conjugate gradients scaled by the rows."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from torchlogreg.optim.wide_kernel import Kernel

UNSEEN = 0.1
"""Share of a gradient's rows in its length below which they cancel one another."""


class System(NamedTuple):
    """``alpha a + D (K a + c b) = -G`` and ``c sum(D (K a + c b)) = -at_b``, ``D = diag(bend)``.

    Attributes
    ----------
    kernel : Kernel
        ``K``.
    alpha : float
    bend : Tensor, shape (n,)
        Curvatures, ``>= 0``.
    c : float
        What a one of ``b`` adds to all scores; 0 without an intercept.
    """

    kernel: Kernel
    alpha: float
    bend: Tensor
    c: float


def scaled_step(
    system: System, G: Tensor, at_b: Tensor, *, share: float, most: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Solve a system for ``a`` (n, 1), with ``K a`` (n, 1), and ``b`` (1,).

    Conjugate gradients of the columns' space see rows of very different curvature; here each is
    divided by its own ``alpha + D K_ii``. Solved is ``(alpha / D + K) a = -G / D``, scaled by its
    diagonal and written with ``a = a_0 + D s``, so that nothing is divided by a curvature, which
    may be zero.

    1. The intercept is eliminated: residuals lose their mean, each row weighing what it bends.
    2. Start: ``a_0 = -G / (alpha + D K_ii)``, as if rows were orthogonal. Where most of ``G`` is
       nothing to ``K``, as of equal rows with different labels, ``-G / alpha``, which solves
       for that part.
    3. Conjugate gradients in the inner product of ``D``, one product with ``K`` each.
    4. Done when the residual's ``sum K_ii g_i^2`` is a ``share^2`` of ``G' K G``.

    Parameters
    ----------
    system : System
    G, at_b : Tensor, shapes (n,) and (1,)
        Multipliers of the gradient.
    share : float
        Relative residual asked for.
    most : int
        Products at most.

    References
    ----------
    Cutajar et al., Preconditioning kernel matrices (2016), on systems of a kernel plus a diagonal;
    Jacobi's preconditioner is the simplest of them.
    """
    kernel, alpha, bend, c = system
    lengths, total = kernel.lengths, float(bend.sum()) if c else 0.0

    def centred(values: Tensor) -> Tensor:  # 1
        return values - torch.dot(bend, values) / total if total > 0 else values

    if total > 0:
        G = G - bend * (at_b / (c * total))
    scale = (alpha + bend * lengths).reciprocal_()
    KG, rough = kernel.times(G[:, None])[:, 0], float(torch.dot(lengths, G.square()))  # 2
    true = float(torch.dot(G, KG))
    if true < UNSEEN * rough:
        a, Ka = -G / alpha, -KG / alpha
        rest = centred(-Ka)
    else:
        rest = lengths * scale * G
        a = -scale * G - (rest - centred(rest)) * bend / alpha
        Ka = kernel.times(a[:, None])[:, 0].clone()
        rest = centred(-rest - Ka)
    search, size, goal = rest, 0.0, share**2 * true
    for _ in range(most):  # 3
        bent = bend * rest
        if not float(torch.dot(lengths, bent.square())) > goal:  # 4; NaN ends it, too
            break
        eased = centred(scale * rest)
        before, size = size, float(torch.dot(bent, eased))
        search = torch.add(eased, search, alpha=size / before) if before > 0 else eased
        move = bend * search
        product = kernel.times(move[:, None])[:, 0]
        ahead = centred(torch.add(product, search, alpha=alpha))
        curve = float(torch.dot(move, ahead))
        if not curve > 0:
            break
        a.add_(move, alpha=size / curve)
        Ka.add_(product, alpha=size / curve)
        rest = torch.sub(rest, ahead, alpha=size / curve)
    b = at_b.new_zeros(1)
    if total > 0:
        b = -(at_b / (c * total) + torch.dot(bend, Ka) / total) / c
    return a[:, None], Ka[:, None], b
