"""Columns that others nearly determine, by their variance inflation factors."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from torchlogreg.diagnostics import algebra
from torchlogreg.diagnostics.cone import Floats
from torchlogreg.diagnostics.diagnosis import Finding
from torchlogreg.diagnostics.problem import Problem
from torchlogreg.diagnostics.screen import LIMIT, VIF

ALIKE = 0.99
"""Share of the largest inflation from which on a column is as bad: the first such one is named, for
rounding must not decide."""

FEW = 64
"""Columns tried first as those that explain one; four times as many where they do not."""

SMALL = 200
"""Columns up to which all singular values are had in no time."""

_MOST = 10


def near_findings(problem: Problem, factor: Floats, names: list[int]) -> Iterator[Finding]:
    """Sets of columns that nearly determine one of their own, the worst column first.

    Each is named once, and is then left out of what is looked at. ``factor`` (m, q) has the inner
    products of the columns, of unit length, and no more columns than rows; ``names`` their numbers.
    """
    if factor.shape[1] > min(LIMIT, len(factor)):
        return
    left = Left(factor, names)
    for _ in range(_MOST):
        if len(left.alive) < 2 or not left.known:
            return
        worst, inflation = left.worst()
        if inflation < VIF:
            return
        chosen = left.explaining(worst, inflation)
        columns = sorted([names[left.alive[worst]], *(names[i] for i in chosen)])
        yield Finding(
            "near_collinear",
            f"{problem.listed(columns)} are nearly linearly dependent (variance inflation "
            f"{inflation:.0e}, condition number {left.condition():.0e}): standard "
            f"errors are {inflation**0.5:.0e} times those of unrelated columns; drop or "
            "combine some, or add a penalty such as L2",
            tuple(columns),
        )
        left.drop(worst)


class Left:
    """The columns that are left, and the rows of their inverse.

    Row ``i`` of the inverse is orthogonal to all columns but the ``i``-th, and its squared length
    is that one's variance inflation. Without column ``j`` each other row is what it was less its
    part along row ``j``: nothing has to be inverted again, and the digits that nearly dependent
    columns cost the inverse are lost along row ``j``, hence go with it.

    Parameters
    ----------
    factor : array, shape (m, q)
    names : list of int
    """

    def __init__(self, factor: Floats, names: list[int]) -> None:
        square = factor.shape[0] == factor.shape[1] and not np.tril(factor, -1).any()
        self.factor = factor if square else algebra.triangle(factor)
        self.alive = list(range(len(names)))
        half = algebra.inverse_of_triangle(self.factor)
        self.known, self.half = half is not None, self.factor if half is None else half

    def worst(self) -> tuple[int, float]:
        """Which of those alive is the worst, or the first that is as bad, and its inflation."""
        inflation = np.einsum("ij,ij->i", self.half, self.half)
        worst = int((inflation >= ALIKE * inflation.max()).argmax())
        return worst, float(inflation[worst])

    def explaining(self, worst: int, inflation: float) -> list[int]:
        """The fewest of the rest, largest shares of its regression on them first, that leave
        little more of a column than all do."""
        rest = [self.alive[i] for i in range(len(self.alive)) if i != worst]
        shares = np.abs(np.delete(self.half @ self.half[worst], worst))
        size = np.round(shares / shares.max(), 2)
        order = [rest[i] for i in np.argsort(-size, kind="stable")]
        column, count = self.factor[:, self.alive[worst]], FEW
        while True:
            basis = algebra.basis(self.factor[:, order[:count]])
            parts = basis.T @ column
            beyond = np.linalg.norm(column - basis @ parts)
            left = np.hypot(np.sqrt(np.cumsum(np.square(parts[::-1]))[::-1]), beyond)
            enough = np.flatnonzero(np.append(left[1:], beyond) <= 3 * inflation**-0.5)
            if len(enough) or count >= len(order):
                return order[: enough[0] + 1] if len(enough) else order
            count *= 4

    def condition(self) -> float:
        """Condition number of those alive; of many to two digits."""
        if len(self.alive) <= SMALL:
            values = algebra.singular_values(self.factor[:, self.alive])
            return float(values[0] / values[-1])
        return _length(self.factor[:, self.alive]) * _length(self.half)

    def drop(self, worst: int) -> None:
        """Leave a column out."""
        row = self.half[worst] / np.linalg.norm(self.half[worst])
        self.half = np.delete(self.half, worst, axis=0)
        for _ in range(2):  # twice is enough (Kahan)
            self.half -= np.outer(self.half @ row, row)
        self.alive.pop(worst)


def _length(matrix: Floats) -> float:
    """The largest singular value, to two digits (Lanczos)."""
    from scipy.sparse.linalg import LinearOperator, eigsh

    q = matrix.shape[1]
    square = LinearOperator((q, q), matvec=lambda v: matrix.T @ (matrix @ v), dtype=np.float64)
    begin = np.random.default_rng(0).normal(size=q)
    values = eigsh(square, k=1, which="LA", tol=1e-2, v0=begin, return_eigenvectors=False)
    return math.sqrt(float(values[0]))
