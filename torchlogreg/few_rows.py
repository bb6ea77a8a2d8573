"""Few rows, looked at once: one product says all that a short fit asks of its columns.

With a column of ones beside those of ``X``, the Gram matrix holds their sums of squares (units, and
whether all entries are finite), their means (whether any is far from zero), and, where all
probabilities are one half, four times the curvature of the binary logit.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from torchlogreg.threads import threads_for

MOST, WIDEST = 2**17, 64
"""Entries of ``X``, and columns, up to which a second copy and that product are cheap."""

TILE, WASTE = 12, 3
"""MKL multiplies matrices of 24 columns in two thirds of the time of 21: up to three columns of
zeros fill the last tile of twelve."""

NEAR = 0.9
"""A span is at least two standard deviations, and the middle within half a span of the mean: a mean
of less than three standard deviations, or 0.94 of the size, is a middle of less than two spans."""


class FewRows(NamedTuple):
    """Columns and what one product said of them.

    Attributes
    ----------
    X : Tensor, shape (n, p)
    version : int
        Of ``X`` then: it may be changed in place.
    design : Tensor, shape (n, m)
        Columns of ``X`` and of ones, zeros up to ``m``; a copy.
    gram : Tensor, shape (m, m), or None
        Products of the columns; None of a sample, of which nobody asks for them.
    sizes : Tensor, shape (p + 1,)
        Root mean squares of the columns, 1 for one of zeros, and of the ones.
    ones : Tensor, shape (n,)
        Weights, where all are the same.
    near : bool
        Whether means prove that no column is far from zero; see :mod:`torchlogreg.optim.centring`.
    compiled : bool
        Whether compiled kernels made this, and go on with it: :mod:`torchlogreg.small_compiled`.
    """

    X: Tensor
    version: int
    design: Tensor
    gram: Tensor | None
    sizes: Tensor
    ones: Tensor
    near: bool
    compiled: bool = False

    @classmethod
    def of(cls, X: Tensor) -> FewRows | None:
        """None for many rows or columns, other kinds, and where an entry or a sum is not finite.

        Parameters
        ----------
        X : Tensor, shape (n, p)
        """
        if not cls.suits(X):
            return None
        with threads_for(X):  # a product on several threads never ends in a forked process
            return cls._of(X)

    @staticmethod
    def suits(X: Tensor, most: int = MOST) -> bool:
        """Whether rows are few, and of the right kind."""
        n, p = X.shape
        if n * p > most or p >= WIDEST or n <= p or type(X) is not Tensor:
            return False
        return X.dtype == torch.float64 and X.device.type == "cpu" and not X.requires_grad

    @classmethod
    def _of(cls, X: Tensor) -> FewRows | None:
        """The same for few rows of the right kind."""
        n, p = X.shape
        design = X.new_empty(n, tiled(p + 1))
        design[:, :p] = X
        design[:, p:] = _ends(design.shape[1] - p)
        gram = torch.mm(design.T, design)
        squares = gram.diagonal()[: p + 1]
        known, totals = squares.tolist(), gram[p].tolist()
        if not math.isfinite(sum(known) + sum(totals)):
            return None
        bound = NEAR * NEAR * n
        near = all(t * t <= bound * s for s, t in zip(known[:p], totals[:p], strict=True))
        sizes = squares.div(n).sqrt_()
        if not min(known) > 0:
            sizes = torch.where(sizes > 0, sizes, 1.0)
        return cls(X, X._version, design, gram, sizes, X.new_ones(n), near)

    def holds(self, X: Tensor) -> bool:
        """Whether these are the columns of ``X``, which nobody has changed since."""
        return self.X is X and self.version == X._version

    @property
    def squares(self) -> Tensor:
        """Sums of squares of the columns of ``X``, (p,)."""
        if self.gram is None:
            return self.rows.square().sum(0)
        return self.gram.diagonal()[: self.sizes.shape[0] - 1]

    @property
    def rows(self) -> Tensor:
        """The columns as they were, (n, p)."""
        return self.design[:, : self.sizes.shape[0] - 1]


def tiled(size: int) -> int:
    """Columns of a matrix that is filled up where few zeros do it."""
    whole = -(-size // TILE) * TILE
    return whole if whole - size <= WASTE else size


def _ends(size: int) -> Tensor:
    """1, 0, 0, ..."""
    end = torch.zeros(size, dtype=torch.float64)
    end[0] = 1.0
    return end
