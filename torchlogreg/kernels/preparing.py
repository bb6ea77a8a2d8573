"""All kernels loaded or compiled at a time of the caller's choice, not at their first use."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from torchlogreg.double_double import DoubleDouble
from torchlogreg.kernels.doubled import logit_sums
from torchlogreg.kernels.grams import (
    column_squares,
    curvature,
    gradient_products,
    gram,
    squares_available,
)
from torchlogreg.kernels.interface import DTYPES, KINDS, SMALLEST, evaluate, installed
from torchlogreg.kernels.logits import Arrays, Rules, drawn_rows, few_rows, labels_of
from torchlogreg.kernels.pulling import pulled
from torchlogreg.kernels.residual import residual_available, residual_sums
from torchlogreg.kernels.turning import turned_sums


def prepare(*, smallest: int = 0) -> None:
    """Load or compile all kernels now, and use them from ``smallest`` entries of ``X`` on.

    A second or so where numba has compiled them before, a minute where not. Fits of few rows are
    then compiled, too: see :mod:`torchlogreg.small_compiled`.

    Parameters
    ----------
    smallest : int
        ``kernels.SMALLEST`` from now on, in the calling thread: it is a context variable.

    Raises
    ------
    ModuleNotFoundError
        Without numba.
    """
    if not installed():
        raise ModuleNotFoundError(
            "the compiled kernels need numba, which is not there; pip install torchlogreg[fast]"
        )
    before = SMALLEST.set(0)
    try:
        _prepare_all()
    finally:
        SMALLEST.reset(before)
    SMALLEST.set(smallest)


def _prepare_all() -> None:
    """Each of them called once, for each dtype."""
    for dtype in DTYPES:
        X, ones = torch.ones(2, 1, dtype=dtype), torch.ones(2, dtype=dtype)
        gram(X, ones)
        pulled(X, ones, squared=True)
        curvature(X, sample_weight=ones, weight=X[:1], intercepts=ones[:1])
        gradient_products(X, ones, sample_weight=ones, weight=X[:1], intercepts=ones[:1])
        turned_sums(X, ones, X[:1], ones[:1], sample_weight=ones, weight=X[:1], intercepts=ones[:1])
        if squares_available(X):
            column_squares(X)
            _prepare_logits(X)
        if residual_available(X):
            at = DoubleDouble.of(ones)
            residual_sums(X, at, ones, at[:1], at[0])
            logit_sums(X, ones, ones, None, at[:1], at[0])
        for loss, kind in KINDS.items():
            labels = kind in ("categorical", "ordinal")
            y = torch.zeros(2, dtype=torch.int64 if labels else dtype)
            weight = X.new_zeros(2 if kind == "categorical" else 1, 1)
            evaluate(loss, X, y, sample_weight=ones, weight=weight, intercepts=weight[:, 0])


def _prepare_logits(X: Tensor) -> None:
    """Those of the binary logit on few rows."""
    few = few_rows(X)
    if few is None:
        return
    drawn_rows(X, torch.arange(len(X)), most=X.numel())
    labels = labels_of(few.ones, signs=True)
    if labels is not None:
        arrays = Arrays.of(few.design, labels, few.ones, np.empty(0), np.ones(1))
        at = arrays.look(X.new_zeros(1))
        arrays.curvature(at.u)
        arrays.iterate(at.theta, Rules(1e-15, 1.0, 0.0, 0.0, 0.0, 1.0))
