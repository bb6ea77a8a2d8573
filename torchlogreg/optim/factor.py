"""Factors of a positive semi-definite matrix, singular ones included."""

from __future__ import annotations

from functools import cached_property

import torch
from torch import Tensor

SMALL = 64
"""Rows of a matrix whose inverse costs no more than a few solutions."""


class Factor:
    """Solves ``matrix @ x = vector`` for a positive semi-definite matrix, shape (P, P).

    1. Cholesky, if no pivot is rounding: pivots are compared with the diagonal, so that the units
       of the columns do not matter (nor do they to Cholesky). Half precision becomes float32.
    2. Else the matrix is scaled to unit diagonal, and its range taken from eigenvectors: the
       component of ``x`` in the null space is removed, so that ``x`` has minimum norm in the
       original units.

    Parameters
    ----------
    matrix : Tensor, shape (P, P)
        Not changed.
    damping : float
        Added to the unit diagonal.

    Attributes
    ----------
    singular : bool
        Whether the matrix has a null space, or is not finite.
    smallest_pivot : Tensor, scalar
        Of the matrix with unit diagonal: about one over its condition number.
    """

    def __init__(self, matrix: Tensor, damping: float = 0.0) -> None:
        self._dtype = matrix.dtype
        if matrix.dtype in (torch.float16, torch.bfloat16):  # torch factorises no half precision
            matrix = matrix.float()
        self._matrix = matrix
        diagonal = matrix.diagonal()
        if damping:
            matrix = matrix + torch.diag(damping * torch.where(diagonal > 0, diagonal, 1.0))
        self._cutoff = cutoff = 10 * matrix.shape[0] * torch.finfo(matrix.dtype).eps
        self._lower, info = torch.linalg.cholesky_ex(matrix)  # 1
        pivots = self._lower.diagonal().square().div_(diagonal)
        self.smallest_pivot = pivots.min()
        if int(info):  # waits for the device
            self.smallest_pivot = torch.zeros_like(self.smallest_pivot)
        self.singular = not float(self.smallest_pivot) > cutoff
        self._inverse: Tensor | None = None
        if self.singular:
            self._decompose(matrix)  # 2

    @classmethod
    def of_cholesky(cls, matrix: Tensor, lower: Tensor, smallest_pivot: Tensor) -> Factor:
        """Of a matrix that is known not to be singular, and its lower triangular factor.

        Parameters
        ----------
        matrix, lower : Tensor, shape (P, P)
        smallest_pivot : Tensor, scalar
        """
        made = cls.__new__(cls)
        made._dtype, made._matrix, made._lower = matrix.dtype, matrix, lower
        made._cutoff = 10 * matrix.shape[0] * torch.finfo(matrix.dtype).eps
        made.smallest_pivot = smallest_pivot
        made.singular, made._inverse = False, None
        return made

    def _decompose(self, matrix: Tensor) -> None:
        """Eigenvectors, unless there are numbers that are not finite."""
        scale = self.scale
        scaled = matrix * scale[:, None] * scale
        if not bool(torch.isfinite(scaled).all()):
            return
        eigenvalues, self._vectors = torch.linalg.eigh(scaled)
        null = eigenvalues <= self._cutoff * eigenvalues[-1].clamp(min=1)
        self._inverse = torch.where(null, 0.0, 1 / torch.where(null, 1.0, eigenvalues))
        self._basis = torch.linalg.qr(scale[:, None] * self._vectors[:, null]).Q

    @cached_property
    def scale(self) -> Tensor:
        """What gives the matrix a unit diagonal from both sides, (P,)."""
        diagonal = self._matrix.diagonal()
        return torch.where(diagonal > 0, diagonal, 1.0).rsqrt()

    def solve(self, vector: Tensor) -> Tensor:
        """``x`` (P,); NaN for a matrix that is not finite, so that a line search refuses it."""
        if not self.singular:
            right = vector.to(self._lower.dtype).unsqueeze(1)
            x = torch.cholesky_solve(right, self._lower).squeeze(1)
        elif self._inverse is None:
            x = torch.full_like(vector, torch.nan)
        else:
            x = self._within_range(vector, self.scale * vector)
        return x if x.dtype == self._dtype else x.to(self._dtype)

    def base(self, vector: Tensor) -> Tensor:
        """The same by the inverse, where that is small: a fifth of the time, for a descent that
        asks twice in every step, and whose gradient corrects what rounding does to its base."""
        inverse = self._explicit
        return self.solve(vector) if inverse is None else torch.mv(inverse, vector)

    @cached_property
    def _explicit(self) -> Tensor | None:
        """The inverse, where it is small and exists."""
        if self.singular or len(self._matrix) > SMALL or self._lower.dtype != self._dtype:
            return None
        return torch.cholesky_inverse(self._lower)

    @property
    def pivot(self) -> float:
        """Smallest squared pivot of the scaled matrix: 1 for columns that have nothing in common,
        0 where singular."""
        return 0.0 if self.singular else float(self.smallest_pivot)

    def inverse_trace(self) -> Tensor:
        """Trace of the inverse of the matrix with unit diagonal, a scalar; infinite if singular."""
        if self.singular:
            return self.scale.new_tensor(torch.inf)
        eye = torch.eye(len(self._lower), dtype=self._lower.dtype, device=self._lower.device)
        inverse: Tensor = torch.linalg.solve_triangular(self._lower, eye, upper=False)
        return (inverse / self.scale).square().sum()

    def misses(self, vector: Tensor) -> float:
        """Share of ``vector`` outside the range of the matrix, in its own units."""
        if not self.singular:
            return 0.0
        missed = self.scale * (vector - self._matrix @ self.solve(vector))
        return float(missed.norm() / (self.scale * vector).norm())

    def _within_range(self, vector: Tensor, v: Tensor) -> Tensor:
        scale, vectors = self.scale, self._vectors
        solution = scale * (vectors @ (self._inverse * (vectors.T @ v)))
        inside = solution - self._basis @ (self._basis.T @ solution)
        before, after = ((scale * (self._matrix @ x - vector)).norm() for x in (solution, inside))
        # With units 1e6 apart the basis has no digits left for the smallest; then keep the norm.
        exact = bool(after <= 10 * before + self._cutoff * v.norm())
        best: Tensor = inside if exact else solution
        return best
