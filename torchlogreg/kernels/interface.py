"""What the rest of the package calls: tensors in and out, compilers only behind these doors."""

from __future__ import annotations

import functools
import importlib.util
import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import NamedTuple

import torch
from torch import Tensor

from torchlogreg import losses
from torchlogreg.base import Model
from torchlogreg.cumulative import log1mexp
from torchlogreg.data import Batch
from torchlogreg.kernels import triton_sums
from torchlogreg.kernels.strips import as_array, over_strips, swept
from torchlogreg.losses import Loss
from torchlogreg.models import (
    LinearRegression,
    LogisticRegression,
    OrdinalRegression,
    SoftmaxRegression,
)
from torchlogreg.sparse import is_sparse

KINDS: dict[Loss, str] = {
    losses.squared_error: "squared",
    losses.binary_nll: "binary",
    losses.categorical_nll: "categorical",
    losses.cumulative_nll: "ordinal",
}
# The exact types: what a subclass does in forward() is its own.
MODELS: dict[str, tuple[type[Model], ...]] = {
    "squared": (LinearRegression, LogisticRegression),
    "binary": (LinearRegression, LogisticRegression),
    "categorical": (SoftmaxRegression,),
    "ordinal": (OrdinalRegression,),
}
DTYPES = (torch.float64, torch.float32)

LARGE = 2**20
"""Entries of ``X`` below which loading kernels costs more than a fit."""

SMALLEST: ContextVar[int] = ContextVar("SMALLEST", default=LARGE)
"""Entries of ``X`` from which on kernels are used; ``prepare`` sets it."""


class Sums(NamedTuple):
    """One read of the rows: sums over them, nothing divided by their number.

    Attributes
    ----------
    value : Tensor, scalar
        ``sum_i sample_weight_i loss_i``.
    by_weight : Tensor, shape (r, p)
    by_intercepts : Tensor, shape (k,)
        Derivatives of ``value``.
    eta : Tensor, shape (n, k)
    losses : Tensor, shape (n,)
        Unweighted.
    squares : Tensor, shape (p,), or None
        Of the columns, where they were asked for.
    """

    value: Tensor
    by_weight: Tensor
    by_intercepts: Tensor
    eta: Tensor
    losses: Tensor
    squares: Tensor | None = None


def available(model: Model, loss: Loss, batch: Batch) -> bool:
    """Whether :func:`evaluate` takes these rows: built-in model and loss, dense rows.

    On the CPU numba is needed, and ``SMALLEST`` entries of ``X``; on a CUDA device Triton, 2^24
    entries, and one score. False as well for distributions as targets of the multinomial and
    ordinal models, and with ``TORCHLOGREG_KERNELS=off`` in the environment.

    Parameters
    ----------
    model : Model
    loss : Loss
    batch : Batch
    """
    kind = KINDS.get(loss)
    if kind is None or type(model) not in MODELS[kind] or model._forward_hooks:
        return False
    dtype = model.weight.dtype
    whole = kind in ("categorical", "ordinal")
    y_fits = batch.y.dtype == (torch.int64 if whole else dtype) and batch.y.ndim == 1
    offset_fits = batch.offset is None or _plain(batch.offset, dtype)
    return (
        y_fits
        and offset_fits
        and _plain(batch.sample_weight, dtype)
        and not batch.y.requires_grad
        and _plain(batch.X, dtype)
        and (compiled(batch.X) or (kind in triton_sums.KINDS and triton_sums.available(batch.X)))
    )


def compiled(X: Tensor) -> bool:
    """Whether numba's kernels read this matrix, and it is large enough to be worth it."""
    return (
        X.numel() >= max(1, SMALLEST.get())
        and not is_sparse(X)
        and X.device.type == "cpu"
        and _plain(X, X.dtype)
        and X.ndim == 2
        and (X.is_contiguous() or X.stride(1) == 1)  # rows with gaps are copied, strip by strip
        and installed()
        and os.environ.get("TORCHLOGREG_KERNELS") != "off"
    )


def evaluate(
    loss: Loss,
    X: Tensor,
    y: Tensor,
    *,
    sample_weight: Tensor,
    weight: Tensor,
    intercepts: Tensor,
    offset: Tensor | None = None,
    out: tuple[Tensor, Tensor] | None = None,
    squared: bool = False,
    even: bool = False,
) -> Sums:
    """Value, gradients, ``eta`` and losses in one read of ``X``, where :func:`available` says so.

    The result is the same, to the last bit, for any number of threads.

    Parameters
    ----------
    loss : Loss
        ``squared_error``, ``binary_nll``, ``categorical_nll`` or ``cumulative_nll``.
    X : Tensor, shape (n, p)
    y : Tensor, shape (n,)
        Of the dtype of ``X`` for the first two, integers for the others.
    sample_weight : Tensor, shape (n,)
    weight : Tensor, shape (r, p)
    intercepts : Tensor, shape (k,)
        ``model.intercepts()``; k = r + 1 is a multinomial model with a reference class.
    offset : Tensor, shape (n,) or (n, r), optional
    out : (Tensor, Tensor), shapes (n, k) and (n,), optional
        Where ``eta`` and the losses go, on the CPU.
    squared : bool
        Whether the squares of the columns are wanted, where :func:`squares_available` says so: they
        then cost a tenth of a pass of their own.
    even : bool
        Whether all sample weights are known to be one: on the CPU they are then not read.

    Returns
    -------
    Sums
    """
    kind = KINDS[loss]
    if triton_sums.available(X):
        return Sums(*triton_sums.evaluate(kind, X, y, sample_weight, weight, intercepts, offset))
    n, k = len(X), len(intercepts)
    eta, per_row = (X.new_empty(n, k), X.new_empty(n)) if out is None else out
    shift = X.new_empty(n, 0) if offset is None else offset.reshape(n, -1)
    table = _gaps(intercepts) if kind == "ordinal" else X.new_empty(2, 0)
    by_row = [as_array(t) for t in (y, sample_weight, shift, eta, per_row)]
    shared = [as_array(t) for t in (weight, intercepts, table)]
    sums = over_strips(
        X, lambda part, rows: swept(kind, part, rows, by_row, shared, squared=squared, even=even)
    )
    total, start = sums.to(X.dtype), 1 + weight.numel()
    by_weight, end = total[1:start].reshape(weight.shape), start + k
    squares = sums[end:] if squared else None
    return Sums(total[0], by_weight, total[start:end], eta, per_row, squares)


@contextmanager
def for_parts_of(X: Tensor) -> Iterator[None]:
    """Kernels for small matrices too, in the body, where they are used for ``X`` anyway."""
    if not compiled(X):
        yield
        return
    token = SMALLEST.set(0)
    try:
        yield
    finally:
        SMALLEST.reset(token)


def _plain(tensor: Tensor, dtype: torch.dtype) -> bool:
    """A dense float tensor, which autograd does not follow."""
    return (
        tensor.dtype == dtype
        and dtype in DTYPES
        and tensor.layout == torch.strided
        and not tensor.requires_grad
    )


@torch.no_grad()
def _gaps(cutpoints: Tensor) -> Tensor:
    """``log(1 - exp(-gap))`` below every level and its derivative, zero at the ends, (2, K)."""
    floor = torch.finfo(cutpoints.dtype).tiny ** 0.5  # as in cumulative.py
    gap = cutpoints.detach().diff()
    open_gap = gap.clamp(min=floor)
    slope = torch.where(gap >= floor, torch.expm1(open_gap).reciprocal(), 0.0)
    inner = torch.stack((log1mexp(open_gap), slope))
    return torch.nn.functional.pad(inner, (1, 1))


@functools.cache
def installed() -> bool:
    """Whether numba is there; it is not loaded."""
    return importlib.util.find_spec("numba") is not None
