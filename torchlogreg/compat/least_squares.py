"""Least squares of several targets: our exact solution, or scikit-learn's shortest one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from scipy import linalg, sparse
from scipy.sparse.linalg import LinearOperator, lsqr

from torchlogreg.fit import fit
from torchlogreg.models import LinearRegression
from torchlogreg.sparse_inputs import sparse_rows
from torchlogreg.tensors import as_tensor

Array = np.ndarray[Any, Any]

NARROW = 2000
"""Columns up to which a Gram matrix of sparse ones is cheap."""

SOUND = 1e-10
"""Eigenvalue of the Gram matrix of columns of unit length below which they may be dependent."""


@dataclass(frozen=True, eq=False)
class Centred:
    """Rows times the root of their weights, their weighted mean taken off first.

    Attributes
    ----------
    X : ndarray (n, p) or LinearOperator
    y : ndarray, shape (n, m)
    x_mean, y_mean : ndarray, shapes (p,) and (m,)
        Zero without an intercept.
    """

    X: Any
    y: Array
    x_mean: Array
    y_mean: Array

    @classmethod
    def of(cls, X: Any, y: Array, weight: Array | None, *, intercept: bool, copy: bool) -> Self:
        """Centre dense or sparse rows; ``copy=False`` allows it to be done in dense ``X``."""
        share = np.ones(len(y)) if weight is None else weight
        root = np.sqrt(share)
        if intercept:
            x_mean, y_mean = np.asarray(X.T @ share) / share.sum(), share @ y / share.sum()
        else:
            x_mean, y_mean = np.zeros(X.shape[1]), np.zeros(y.shape[1])
        response = (y - y_mean) * root[:, None]
        if sparse.issparse(X):
            return cls(_operator(X, x_mean, root), response, x_mean, y_mean)
        rows = X.astype(np.float64, copy=copy)
        rows -= x_mean
        rows *= root[:, None]
        return cls(rows, response, x_mean, y_mean)

    def intercepts(self, coef: Array) -> Array:
        """What goes with the coefficients (m, p)."""
        shift: Array = self.y_mean - coef @ self.x_mean
        return shift

    def rank(self, tol: float) -> tuple[int, Array]:
        """How many singular values are above that share of the largest, and all of them."""
        triangle = np.linalg.qr(self.X, mode="r")
        singular = linalg.svdvals(triangle)
        return int((singular > tol * singular[0]).sum()), singular

    def shortest(self, tol: float) -> Array:
        """Of all solutions the one of least norm, (m, p); to rounding for sparse rows."""
        if not isinstance(self.X, LinearOperator):
            found: Array = linalg.lstsq(self.X, self.y, cond=tol)[0].T
            return found
        limits = {"atol": 1e-15, "btol": 1e-15, "conlim": 0, "iter_lim": 20 * max(self.X.shape)}
        return np.stack([lsqr(self.X, y, **limits)[0] for y in self.y.T])


def exact(X: Any, y: Array, weight: Array | None, *, intercept: bool) -> tuple[Array, Array]:
    """Coefficients (m, p) and intercepts (m,) of independent columns, dense or sparse."""
    filled = not sparse.issparse(X)
    rows = as_tensor(X, "X", torch.device("cpu")) if filled else sparse_rows(X)
    optimizer = "least_squares" if filled else "newton"
    coef, intercepts = np.empty((y.shape[1], X.shape[1])), np.zeros(y.shape[1])
    for k, target in enumerate(y.T):
        model = LinearRegression(X.shape[1], bias=intercept, dtype=torch.float64)
        fit(model, rows, target.copy(), optimizer=optimizer, sample_weight=weight)
        coef[k] = model.weight.detach().numpy()[0]
        if model.bias is not None:
            intercepts[k] = model.bias.item()
    return coef, intercepts


def independent(X: Any, weight: Array | None, centred: Centred) -> bool:
    """Whether sparse columns are clearly independent, by their Gram matrix."""
    n, p = X.shape
    if p > min(n - 1, NARROW):
        return False
    share = np.ones(n) if weight is None else weight
    gram = (X.T @ sparse.diags_array(share) @ X).toarray()
    gram -= share.sum() * np.outer(centred.x_mean, centred.x_mean)
    length = np.sqrt(np.maximum(gram.diagonal(), 0))
    if not length.all():
        return False
    return bool(linalg.eigvalsh(gram / np.outer(length, length))[0] > SOUND)


def _operator(X: Any, mean: Array, root: Array) -> LinearOperator:
    """Sparse rows less a mean that is not filled in, times ``root``."""
    return LinearOperator(
        X.shape,
        matvec=lambda b: root * (X @ np.ravel(b) - mean @ np.ravel(b)),
        rmatvec=lambda r: X.T @ (root * np.ravel(r)) - mean * (root @ np.ravel(r)),
        dtype=np.float64,
    )
