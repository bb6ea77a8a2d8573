"""The binary logit on few rows: a look and a whole Newton iteration, each one compiled call."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from torchlogreg.few_rows import MOST, NEAR, FewRows
from torchlogreg.kernels.interface import compiled
from torchlogreg.kernels.strips import Array, as_array

HIGH = 8
"""Columns are filled up to a multiple of it, as tiles want them."""

NOTHING = np.empty((0, 0))


class Place(NamedTuple):
    """What is known at some parameters, in one array, and views of it.

    Of the rows ``missed``, ``u``, losses and ``eta`` (n,), then parameters and gradient (P,), and
    the value (1,); as in :mod:`torchlogreg.small`.
    """

    array: Array
    missed: Tensor
    u: Tensor
    losses: Tensor
    eta: Tensor
    theta: Tensor
    gradient: Tensor
    value: Tensor


class Iterated(NamedTuple):
    """A Newton iteration: its end, how many looks it took, the matrix that it solved with, the
    factor of that, and the slope along its step at the start and the smallest pivot, scalars."""

    end: Place
    looks: int
    matrix: Tensor
    lower: Tensor
    slope: Tensor
    pivot: Tensor


class Arrays(NamedTuple):
    """Rows made ready.

    Attributes
    ----------
    design : array, shape (n, m)
        Columns of ``X``, of ones, and of zeros.
    sign, share : array, shape (n,)
        ``1 - 2 y``; sample weights over ``n``.
    known : array, shape (n,) or (0,)
        The offset.
    strength : array, shape (P,)
        Curvature of the penalty; P is p, or p + 1 with an intercept.
    """

    design: Array
    sign: Array
    share: Array
    known: Array
    strength: Array

    @classmethod
    def of(
        cls, design: Tensor, y: Tensor, sample_weight: Tensor, known: Array, strength: Array
    ) -> Arrays | None:
        """From rows (n, m), labels and weights (n,); None where a label is neither 0 nor 1."""
        from torchlogreg.kernels.few_logits import LABELLED

        sign = np.empty(len(y))
        if not LABELLED(as_array(y), sign):
            return None
        return cls(design.numpy(), sign, sign, known, strength).reweighted(sample_weight)

    def reweighted(self, sample_weight: Tensor) -> Arrays:
        """The same rows under other weights (n,)."""
        return self._replace(share=as_array(sample_weight) / self.sign.shape[0])

    def look(self, theta: Tensor) -> Place:
        """Everything at ``theta`` (P,)."""
        from torchlogreg.kernels.few_logits import LOOK

        n, size = self.sign.shape[0], self.strength.shape[0]
        array = np.empty(4 * n + 2 * size + 1)
        array[4 * n : 4 * n + size] = as_array(theta)
        LOOK(*self, array)
        return self.place(array)

    def curvature(self, u: Tensor) -> Tensor:
        """Hessian of the smooth value where rows have these ``u`` (n,), (P, P)."""
        from torchlogreg.kernels.few_logits import BENT

        size = self.strength.shape[0]
        matrix = np.empty((size, size))
        BENT(self.design, self.share, self.strength, as_array(u), matrix)
        return torch.from_numpy(matrix)

    def iterate(
        self, start: Array, rules: tuple[float, ...], gram: Tensor | None
    ) -> Iterated | None:
        """One iteration; None where it is not an ordinary one.

        Parameters
        ----------
        start : array
            Of a :class:`Place`.
        rules : six numbers
            See :func:`torchlogreg.kernels.few_logits._iterate`.
        gram : Tensor, shape (m, m), or None
            Of the columns, if all rows have the same weight.
        """
        from torchlogreg.kernels.few_logits import ITERATE

        n, size = self.sign.shape[0], self.strength.shape[0]
        ends, facts = np.empty((2, start.shape[0])), np.empty(2)
        matrix, lower = np.empty((size, size)), np.empty((size, size))
        even = gram is not None and not self.known.shape[0]
        even = even and not np.count_nonzero(start[4 * n : 4 * n + size])
        known = gram.numpy() if gram is not None and even else NOTHING
        which, looks = ITERATE(*self, known, start, rules, ends, matrix, lower, facts)
        if which < 0:
            return None
        solved = torch.from_numpy(matrix), torch.from_numpy(lower)
        return Iterated(self.place(ends[which]), looks, *solved, *torch.from_numpy(facts).unbind())

    def place(self, array: Array) -> Place:
        """The same with its views."""
        n, size = self.sign.shape[0], self.strength.shape[0]
        parts = torch.from_numpy(array).split_with_sizes((n, n, n, n, size, size, 1))
        return Place(array, *parts)


def few_rows(X: Tensor, *, most: int = MOST) -> FewRows | None:
    """As ``FewRows.of``, in one call; None where these kernels are not for ``X``.

    Parameters
    ----------
    X : Tensor, shape (n, p)
    most : int
        Entries up to which rows are few.
    """
    if not compiled(X) or not FewRows.suits(X, most):
        return None
    from torchlogreg.kernels.few_logits import READY

    n, p = X.shape
    m = -(-(p + 1) // HIGH) * HIGH
    design, gram, sizes = np.empty((n, m)), np.empty((m, m)), np.empty(p + 1)
    kind = READY(as_array(X), NEAR, design, gram, sizes)
    if not kind:
        return None
    rows, products, units = map(torch.from_numpy, (design, gram, sizes))
    return FewRows(X, X._version, rows, products, units, X.new_ones(n), kind == 2, True)
