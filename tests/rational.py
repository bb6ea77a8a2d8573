"""Linear least squares in rational arithmetic: exact, for small problems."""

from __future__ import annotations

from fractions import Fraction

from torch import Tensor

Matrix = list[list[Fraction]]


def solve(A: Matrix, right: Matrix) -> Matrix:
    """``A^-1 right`` in rational arithmetic (Gauss-Jordan)."""
    n = len(A)
    M = [a[:] + b[:] for a, b in zip(A, right, strict=True)]
    for j in range(n):
        pivot = next(i for i in range(j, n) if M[i][j] != 0)
        M[j], M[pivot] = M[pivot], M[j]
        M[j] = [v / M[j][j] for v in M[j]]
        for i in range(n):
            if i != j and M[i][j] != 0:
                M[i] = [a - M[i][j] * b for a, b in zip(M[i], M[j], strict=True)]
    return [row[n:] for row in M]


def fractions(values: Tensor) -> list[Fraction]:
    """Exactly these numbers."""
    return [Fraction(v) for v in values.double().tolist()]


def exact_gram(X: Tensor, weight: Tensor | None, bias: bool) -> tuple[Matrix, Matrix]:
    """Rows of ``[X, 1]``, and ``[X, 1]' S [X, 1]``."""
    rows = [fractions(row) + [Fraction(1)] * bias for row in X]
    s = [Fraction(1)] * len(rows) if weight is None else fractions(weight)
    P = range(len(rows[0]))
    gram = [[sum(w * r[i] * r[j] for w, r in zip(s, rows, strict=True)) for j in P] for i in P]
    return rows, gram


def exact_solution(
    X: Tensor,
    y: Tensor,
    *,
    bias: bool = True,
    weight: Tensor | None = None,
    offset: Tensor | None = None,
    ridge: float = 0.0,
) -> list[float]:
    """Least squares in rational arithmetic, rounded once; weight first, then the intercept."""
    rows, gram = exact_gram(X, weight, bias)
    for j in range(X.shape[1]):
        gram[j][j] += Fraction(ridge)
    rest = fractions(y)
    if offset is not None:
        rest = [a - b for a, b in zip(rest, fractions(offset), strict=True)]
    s = [Fraction(1)] * len(rows) if weight is None else fractions(weight)
    right = [
        [sum(w * r[j] * t for w, r, t in zip(s, rows, rest, strict=True))] for j in range(len(gram))
    ]
    return [float(v[0]) for v in solve(gram, right)]
