"""The binary logit on few rows: a look and a whole Newton iteration, each one compiled call."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from torchlogreg.few_rows import MOST, NEAR, FewRows
from torchlogreg.hard_labels import Labels
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


class Rules(NamedTuple):
    """What an iteration is told; see :func:`torchlogreg.kernels.few_newton._iterate`.

    Attributes
    ----------
    cutoff : float
        Smallest pivot, as a share of its diagonal entry, that is more than rounding.
    lr : float
        Length of the first step tried.
    rounding : float
        Of the value, as a share of it.
    early : float
        Share of the value that a step must promise to be stretched.
    off, longest : float
        Share of the slope that must be left for it, and how far it may go.
    corrections, enough : float
        How many at most, and the share of the value that one must promise.
    rare : float
        Share of a class below which the intercept begins at its log-odds; 0 for never.
    """

    cutoff: float
    lr: float
    rounding: float
    early: float
    off: float
    longest: float
    corrections: float = 0.0
    enough: float = 0.0
    rare: float = 0.0


class Iterated(NamedTuple):
    """A Newton iteration: its end, whether the first look was at its start, how many looks it took,
    the matrix that it solved with, and the factor of that; where it began the value, the slope
    along the step, and the smallest pivot, scalars; and as numbers the slopes along the last
    correction where that began, and along the next."""

    end: Place
    fresh: bool
    looks: int
    matrix: Tensor
    lower: Tensor
    value: Tensor
    slope: Tensor
    pivot: Tensor
    last: float
    ahead: float


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
        cls, design: Tensor, labels: Labels, sample_weight: Tensor, known: Array, strength: Array
    ) -> Arrays:
        """From rows (n, m), their labels, and weights (n,)."""
        share = as_array(sample_weight) / labels.sign.shape[0]
        return cls(design.numpy(), labels.sign, share, known, strength)

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
        self, start: Array | Tensor, rules: Rules, gram: Tensor | None = None
    ) -> Iterated | None:
        """One iteration; None where it is not an ordinary one.

        Parameters
        ----------
        start : array, or Tensor of shape (P,)
            Of a :class:`Place`, or parameters that nobody has looked at.
        rules : Rules
        gram : Tensor, shape (m, m), or None
            Of the columns, if all rows have the same weight.
        """
        from torchlogreg.kernels.few_newton import ITERATE

        n, size = self.sign.shape[0], self.strength.shape[0]
        length, fresh = 4 * n + 2 * size + 1, isinstance(start, Tensor)
        if isinstance(start, Tensor):
            at, start = as_array(start), np.empty(length)
            start[4 * n : 4 * n + size] = at
        ends, facts, solved = np.empty((3, length)), np.empty(5), np.empty((2, size, size))
        known = NOTHING if gram is None or self.known.shape[0] else gram.numpy()
        which, looks = ITERATE(*self, known, fresh, start, tuple(rules), ends, *solved, facts)
        if which < 0:
            return None
        (matrix, lower), scalars = torch.from_numpy(solved).unbind(), torch.from_numpy(facts)
        value, slope, pivot, *_ = scalars.unbind()
        end, slopes = self.place(ends[which]), facts[3:].tolist()
        return Iterated(end, fresh, looks, matrix, lower, value, slope, pivot, *slopes)

    def place(self, array: Array) -> Place:
        """The same with its views."""
        n, size = self.sign.shape[0], self.strength.shape[0]
        parts = torch.from_numpy(array).split_with_sizes((n, n, n, n, size, size, 1))
        return Place(array, *parts)


def labels_of(y: Tensor, *, signs: bool) -> Labels | None:
    """What there is to know of labels (n,), in one read.

    Parameters
    ----------
    y : Tensor, shape (n,)
    signs : bool
        Whether ``sign`` is wanted.

    Returns
    -------
    Labels or None
        None where one is neither 0 nor 1, or they are not in double precision, on the CPU.
    """
    if y.dtype != torch.float64 or y.ndim != 1 or y.device.type != "cpu" or y.requires_grad:
        return None
    from torchlogreg.kernels.few_logits import LABELLED

    n = y.shape[0]
    sign = np.empty(n if signs else 0)
    ones = LABELLED(as_array(y), sign)
    return None if ones < 0 else Labels(y, y._version, 0 < ones < n, sign)


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
    design, sizes = _room(n, p), np.empty(p + 1)
    gram = np.empty((design.shape[1], design.shape[1]))
    kind = READY(as_array(X), NEAR, design, gram, sizes)
    if not kind:
        return None
    rows, products, units = map(torch.from_numpy, (design, gram, sizes))
    return FewRows(X, X._version, rows, products, units, X.new_ones(n), kind == 2, True)


def drawn_rows(
    X: Tensor, index: Tensor, *, most: int, among: FewRows | None = None
) -> FewRows | None:
    """The same of ``X[index]``, which are read once, and lie in ``design``; without ``gram``.

    Parameters
    ----------
    X : Tensor, shape (n, p)
    index : Tensor, shape (m,)
    most : int
        Entries up to which rows are few.
    among : FewRows, optional
        What was made of ``X``.

    Returns
    -------
    FewRows or None
        None where these kernels are not for them.
    """
    n, p = len(index), X.shape[1]
    if not n * p <= most or n <= p or not compiled(X) or not FewRows.suits(X, X.numel()):
        return None
    from torchlogreg.kernels.few_logits import DRAWN

    design, sizes = _room(n, p), np.empty(p + 1)
    DRAWN(as_array(X if among is None else among.design), as_array(index), design, sizes)
    rows, units = torch.from_numpy(design), torch.from_numpy(sizes)
    own = rows[:, :p]
    return FewRows(own, own._version, rows, None, units, X.new_ones(n), near=False, compiled=True)


def _room(n: int, p: int) -> Array:
    """For the columns and others."""
    return np.empty((n, -(-(p + 1) // HIGH) * HIGH))
