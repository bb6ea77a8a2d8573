"""Products of columns summed over the rows: Gram matrices, curvatures, squares, in one read."""

from __future__ import annotations

from contextlib import AbstractContextManager

import torch
from torch import Tensor

from torchlogreg.base import Model
from torchlogreg.data import Batch
from torchlogreg.kernels.interface import KINDS, available, compiled
from torchlogreg.kernels.strips import (
    as_array,
    bent_gram,
    mirrored,
    over_strips,
    squares,
    upper_gram,
)
from torchlogreg.losses import Loss
from torchlogreg.sparse import is_sparse
from torchlogreg.threads import SMALL, threads_for

WIDEST_GRAM = 512

MANY, LONG = 2**12, 2**20
"""Columns of sparse rows from which on no matrix of them is made; and numbers of a vector from
which on two threads are worth their while."""


def gram_available(X: Tensor) -> bool:
    """Whether :func:`gram` takes this matrix; not where it is wider than ``WIDEST_GRAM``: there
    the product leaves the cache, and a library's tiling is better."""
    return compiled(X) and X.shape[1] <= WIDEST_GRAM


def gram(X: Tensor, sample_weight: Tensor) -> Tensor:
    """``X' diag(sample_weight) X``, shape (p, p), in one read of ``X`` and half the products.

    Parameters
    ----------
    X : Tensor, shape (n, p)
        One for which :func:`gram_available` holds.
    sample_weight : Tensor, shape (n,)
        Any sign.
    """
    d = as_array(sample_weight)
    upper = over_strips(X, lambda part, rows: upper_gram(part, d[rows]))
    return mirrored(upper).to(X.dtype)


def gram_and_totals(X: Tensor, sample_weight: Tensor) -> tuple[Tensor, Tensor]:
    """The same, and ``sample_weight @ X`` (p,), which has then been read already.

    Parameters
    ----------
    X : Tensor, shape (n, p)
        One for which :func:`gram_available` holds.
    sample_weight : Tensor, shape (n,)
    """
    d, p = as_array(sample_weight), X.shape[1]
    found = over_strips(X, lambda part, rows: upper_gram(part, d[rows], totals=True))
    return mirrored(found[:p]).to(X.dtype), found[p].to(X.dtype)


def gram_and_right(X: Tensor, sample_weight: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The same, and ``(sample_weight * y) @ X`` (p,): all that normal equations want.

    Parameters
    ----------
    X : Tensor, shape (n, p)
        One for which :func:`gram_available` holds.
    sample_weight, y : Tensor, shape (n,)
        Of the dtype of ``X``.
    """
    d, right, p = as_array(sample_weight), as_array(y), X.shape[1]
    found = over_strips(X, lambda part, rows: upper_gram(part, d[rows], y=right[rows]))
    return mirrored(found[:p]).to(X.dtype), found[p].to(X.dtype), found[p + 1].to(X.dtype)


def curvature_available(model: Model, loss: Loss, batch: Batch) -> bool:
    """Whether :func:`curvature` takes these rows: the binary model and its loss, on the CPU."""
    binary = KINDS.get(loss) == "binary" and gram_available(batch.X)
    return binary and available(model, loss, batch)


def threads_of_fit(model: Model, loss: Loss, batch: Batch) -> AbstractContextManager[None]:
    """:func:`threads_for` the rows of a fit; wide products take long, too, and are a library's.

    Those of sparse rows know one thread, and what is left of many columns are short vectors: there
    a second one gains nothing, and waits for eight milliseconds where another program has its core.
    """
    n, p = batch.X.shape
    if is_sparse(batch.X):
        return threads_for(batch.X, swept=p >= MANY and max(n, p) <= LONG)
    swept = n * p >= SMALL and n > p and gram_available(batch.X) and available(model, loss, batch)
    return threads_for(batch.X, swept=swept)


def threads_of_looks(X: Tensor) -> AbstractContextManager[None]:
    """The same for what is looked at before a fit."""
    return threads_for(X, swept=X.numel() >= SMALL and gram_available(X))


def curvature(
    X: Tensor,
    *,
    sample_weight: Tensor,
    weight: Tensor,
    intercepts: Tensor,
    offset: Tensor | None = None,
) -> Tensor:
    """``[X, 1]' A [X, 1]``, ``A`` the weighted second derivatives of the binary loss, in one read.

    Parameters
    ----------
    X : Tensor, shape (n, p)
        One for which :func:`curvature_available` holds.
    sample_weight : Tensor, shape (n,)
    weight : Tensor, shape (1, p)
    intercepts : Tensor, shape (1,)
    offset : Tensor, shape (n,) or (n, 1), optional

    Returns
    -------
    Tensor, shape (p + 1, p + 1)
    """
    return _framed_gram(X, X.new_empty(0), sample_weight, weight, intercepts, offset)


def gradient_products(
    X: Tensor,
    y: Tensor,
    *,
    sample_weight: Tensor,
    weight: Tensor,
    intercepts: Tensor,
    offset: Tensor | None = None,
) -> Tensor:
    """``sum_i g_i g_i'``, ``g_i`` the gradient of a row's weighted binary loss, in one read.

    Parameters
    ----------
    X : Tensor, shape (n, p)
        One for which :func:`curvature_available` holds.
    y : Tensor, shape (n,)
        Labels, of the dtype of ``X``.
    sample_weight : Tensor, shape (n,)
    weight : Tensor, shape (1, p)
    intercepts : Tensor, shape (1,)
    offset : Tensor, shape (n,) or (n, 1), optional

    Returns
    -------
    Tensor, shape (p + 1, p + 1)
        The last row and column are the intercept's.
    """
    return _framed_gram(X, y, sample_weight, weight, intercepts, offset)


def _framed_gram(
    X: Tensor,
    y: Tensor,
    sample_weight: Tensor,
    weight: Tensor,
    intercepts: Tensor,
    offset: Tensor | None,
) -> Tensor:
    """``[X, 1]' A [X, 1]``: ``A`` squared slopes for ``y`` (n,), curvatures for none, (0,)."""
    shift = X.new_empty(len(X), 0) if offset is None else offset.reshape(len(X), -1)
    by_row = [as_array(y), as_array(sample_weight), as_array(shift)]
    shared = [as_array(weight), as_array(intercepts)]
    upper = over_strips(X, lambda part, rows: bent_gram(part, rows, by_row, shared))
    return mirrored(upper).to(X.dtype)


def squares_available(X: Tensor) -> bool:
    """Whether :func:`column_squares` takes this matrix; only in double precision."""
    return compiled(X) and X.dtype == torch.float64


def column_squares(X: Tensor) -> Tensor:
    """Sums of squares of the columns of ``X``, (p,); not finite where an entry is not.

    Parameters
    ----------
    X : Tensor, shape (n, p)
        One for which :func:`squares_available` holds.
    """
    return over_strips(X, lambda part, _: squares(part))
