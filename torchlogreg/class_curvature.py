"""The curvature of the multinomial logit: every pair of classes once, every pair of columns once.

With ``p`` the probabilities of a row, its matrix ``diag(p) - p p'`` has ``-p_a p_b`` beside the
diagonal and ``p_a sum_b p_b`` on it, ``b`` the other classes. So the Hessian consists of
``G_ab = sum_i w_i p_ia p_ib z_i z_i'`` alone, with ``z_i`` the row and a one for the intercept:

    H_ab = -G_ab        H_aa = sum_b G_ab        nothing cancels

A product of three is summed over the rows, and the cheaper two are multiplied first: the columns
with each other, (n, m^2/2), if there are many pairs of classes, else classes with columns.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import Tensor

from torchlogreg.base import Model
from torchlogreg.data import Batch
from torchlogreg.losses import Loss, categorical_nll
from torchlogreg.models import SoftmaxRegression
from torchlogreg.sparse import is_sparse

ENTRIES = 2**18
"""Products in a block of rows, 2 MB in float64."""

TOGETHER = 4
"""Columns multiplied at once with all from the first of them on: few calls, few products twice."""

SMALL, QUICK = 2**18, 2**22
"""Products of columns, 2 MB, and of these with pairs of classes, up to which the fewest calls are
the fastest way: every product twice, and the first kept."""

RATE = 20
"""Multiplications and additions in a matrix product in the time that a product of two takes."""


def suits(model: Model, loss: Loss, X: Tensor) -> bool:
    """For the exact type only: what a subclass does is its own."""
    return type(model) is SoftmaxRegression and loss is categorical_nll and not is_sparse(X)


class Rows(NamedTuple):
    """Columns and ones ``Z`` (m, n), ``eta`` (K, n), and the weight of each row over all (n,)."""

    Z: Tensor
    eta: Tensor
    share: Tensor

    @classmethod
    def of(cls, model: Model, block: Batch, eta: Tensor, n: int) -> Rows:
        """From some of ``n`` rows and their ``eta`` (n, K)."""
        share = block.sample_weight / n
        share = share if block.y.ndim == 1 else share * block.y.sum(1)
        return cls(columns(block.X, _sizes(model)[0]), eta.T.contiguous(), share)


def columns(X: Tensor, m: int) -> Tensor:
    """Columns of ``X``, and ones up to ``m``, one after the other, (m, n)."""
    n, p = X.shape
    Z = X.new_empty(m, n)
    Z[:p] = X.T
    Z[p:] = 1.0
    return Z


def class_curvature(model: Model, parts: Iterable[Rows]) -> Tensor:
    """Gauss-Newton matrix of the mean over the rows, by all trainable parameters, (P, P).

    Parameters
    ----------
    model : Model
        One that :func:`suits`.
    parts : iterable of Rows
    """
    m, pairs = _sizes(model)
    first = _columns_first(m, pairs)
    height, width = (pairs, _n_products(m)) if first else (pairs * m, m)
    size = max(1, ENTRIES // (width if first else height))
    sums = model.weight.new_zeros(height, width)
    for Z, eta, share in parts:
        chances = torch.softmax(eta, 0)  # ten times faster than by rows
        weighted = chances * share
        for start in range(0, len(share), size):
            rows = slice(start, start + size)
            A, z = _paired(chances[:, rows], weighted[:, rows]), Z[:, rows]
            if first:
                sums.addmm_(A, _products(z).T)
            else:
                sums.addmm_((A.unsqueeze(1) * z).view(height, -1), z.T)
    return assembled(_unfolded(sums, m) if first else sums.view(pairs, m, m), model)


class Kept:
    """The same for very few rows, in ten calls: products of columns are kept from one to the next.

    Parameters
    ----------
    Z : Tensor, shape (m, n)
    share : Tensor, shape (n,)
    K : int
    order : Tensor, shape (K m,)
        Which parameters the classes have, column by column: class 0 first.
    """

    def __init__(self, Z: Tensor, share: Tensor, K: int, order: Tensor) -> None:
        m = Z.shape[0]
        self._products = (Z.unsqueeze(1) * Z).view(m * m, -1)
        self._share, self._K = share, K
        place = torch.empty_like(order)
        place[order] = torch.arange(K * m)
        own, column = place // m, place % m
        self._places = (own.unsqueeze(1) * K + own) * (m * m) + column.unsqueeze(1) * m + column

    @staticmethod
    def suits(n: int, m: int, K: int) -> bool:
        """Whether the rows are that few."""
        return n * m * m <= SMALL and n * m * m * K * K <= QUICK

    def curvature(self, eta: Tensor) -> Tensor:
        """Gauss-Newton matrix where the scores are ``eta`` (K, n)."""
        chances = torch.softmax(eta, 0)
        A = chances.unsqueeze(1) * (chances * self._share)
        own = A.diagonal(dim1=0, dim2=1)
        own.zero_()
        total = A.sum(1)
        A.neg_()
        own.copy_(total.T)
        return torch.take(torch.mm(A.view(self._K**2, -1), self._products.T), self._places)


def _sizes(model: Model) -> tuple[int, int]:
    """Columns, with the ones, and pairs of classes."""
    K = model.n_classes or 0
    return model.n_features + (model.bias is not None), K * (K - 1) // 2


def _columns_first(m: int, pairs: int) -> bool:
    """Whether products of columns are the cheaper ones to begin with."""
    return _n_products(m) * (RATE + pairs) < pairs * m * (RATE + m)


def _pieces(m: int) -> list[tuple[int, int]]:
    """First column and number of those that are multiplied together."""
    return [(i, min(TOGETHER, m - i)) for i in range(0, m, TOGETHER)]


def _n_products(m: int) -> int:
    return sum(size * (m - i) for i, size in _pieces(m))


def _paired(chances: Tensor, weighted: Tensor) -> Tensor:
    """``share p_a p_b`` for ``a < b``, (pairs, n)."""
    K, n = chances.shape
    A, at = chances.new_empty(K * (K - 1) // 2, n), 0
    for a in range(K - 1):
        end = at + K - 1 - a
        torch.mul(chances[a], weighted[a + 1 :], out=A[at:end])
        at = end
    return A


def _products(Z: Tensor) -> Tensor:
    """Products of columns with each other, some of them twice."""
    (m, n), at = Z.shape, 0
    found = Z.new_empty(_n_products(m), n)
    for i, size in _pieces(m):
        end = at + size * (m - i)
        room = found[at:end].view(size, m - i, n)
        torch.mul(Z[i : i + size].unsqueeze(1), Z[i:].unsqueeze(0), out=room)
        at = end
    return found


def _unfolded(sums: Tensor, m: int) -> Tensor:
    """Sums of such products as symmetric matrices, (pairs, m, m)."""
    G, at = sums.new_empty(len(sums), m, m), 0
    for i, size in _pieces(m):
        end = at + size * (m - i)
        part = sums[:, at:end].view(-1, size, m - i)
        G[:, i : i + size, i:] = part
        G[:, i:, i : i + size] = part.transpose(1, 2)
        at = end
    return G


def assembled(G: Tensor, model: Model) -> Tensor:
    """From pairs of classes (pairs, m, m) to parameters, ``weight`` first, (P, P)."""
    m, p, K = G.shape[1], model.n_features, model.n_classes or 0
    H, at = G.new_zeros(K, K, m, m), 0
    for a in range(K - 1):
        end = at + K - 1 - a
        torch.neg(G[at:end], out=H[a, a + 1 :])
        H[a + 1 :, a] = H[a, a + 1 :]
        at = end
    H.diagonal(dim1=0, dim2=1).copy_(H.sum(1).neg_().permute(1, 2, 0))
    r = len(model.weight)
    H = H[K - r :, K - r :].transpose(1, 2)  # (r, m, r, m)
    ww = H[:, :p, :, :p].reshape(r * p, r * p)
    if model.bias is None or not model.bias.requires_grad:
        return ww
    cc = H[:, p, :, p]
    if not model.weight.requires_grad:
        return cc.contiguous()
    whole = G.new_empty(r * m, r * m)
    whole[: r * p, : r * p] = ww
    whole[r * p :, : r * p] = H[:, p, :, :p].reshape(r, r * p)
    whole[: r * p, r * p :] = whole[r * p :, : r * p].T
    whole[r * p :, r * p :] = cc
    return whole
