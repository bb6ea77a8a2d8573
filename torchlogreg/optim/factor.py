"""Factors of a positive semi-definite matrix, singular ones included."""

from __future__ import annotations

import torch
from torch import Tensor


class Factor:
    """Solves ``matrix @ x = vector`` for a positive semi-definite matrix, shape (P, P).

    1. The matrix is scaled to unit diagonal, which makes the test for singularity blind to the
       units of the columns; half precision becomes float32.
    2. Cholesky, if no pivot is rounding.
    3. Else the range, from eigenvectors: the component of ``x`` in the null space is removed, so
       that ``x`` has minimum norm in the original units.

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
    scale : Tensor, shape (P,)
        Gives the matrix a unit diagonal from both sides.
    """

    def __init__(self, matrix: Tensor, damping: float = 0.0) -> None:
        self._dtype = matrix.dtype
        if matrix.dtype in (torch.float16, torch.bfloat16):  # torch factorises no half precision
            matrix = matrix.float()
        self._matrix = matrix
        diagonal = matrix.diagonal()
        self.scale = scale = torch.where(diagonal > 0, diagonal, 1.0).rsqrt()  # 1
        scaled = matrix * scale[:, None] * scale
        if damping:
            scaled.diagonal().add_(damping)
        self._cutoff = cutoff = 10 * len(matrix) * torch.finfo(matrix.dtype).eps
        self._lower, info = torch.linalg.cholesky_ex(scaled)  # 2
        pivots = self._lower.diagonal()
        self.smallest_pivot = pivots.min().square()
        sound = (info == 0) & (self.smallest_pivot > cutoff)
        self.singular = not bool(sound)  # waits for the device
        self._inverse: Tensor | None = None
        if self.singular and bool(torch.isfinite(scaled).all()):
            eigenvalues, self._vectors = torch.linalg.eigh(scaled)  # 3
            null = eigenvalues <= cutoff * eigenvalues[-1].clamp(min=1)
            self._inverse = torch.where(null, 0.0, 1 / torch.where(null, 1.0, eigenvalues))
            self._basis = torch.linalg.qr(scale[:, None] * self._vectors[:, null]).Q

    def solve(self, vector: Tensor) -> Tensor:
        """``x`` (P,); NaN for a matrix that is not finite, so that a line search refuses it."""
        v = self.scale * vector
        if not self.singular:
            x = torch.cholesky_solve(v[:, None], self._lower).squeeze(1) * self.scale
        elif self._inverse is None:
            x = torch.full_like(v, torch.nan)
        else:
            x = self._within_range(vector, v)
        return x.to(self._dtype)

    @property
    def pivot(self) -> float:
        """Smallest squared pivot of the scaled matrix: 1 for columns that have nothing in common,
        0 where singular."""
        return 0.0 if self.singular else float(self._lower.diagonal().square().min())

    def inverse_trace(self) -> Tensor:
        """Trace of the inverse of the matrix with unit diagonal, a scalar; infinite if singular."""
        if self.singular:
            return self.scale.new_tensor(torch.inf)
        eye = torch.eye(len(self._lower), dtype=self._lower.dtype, device=self._lower.device)
        inverse: Tensor = torch.linalg.solve_triangular(self._lower, eye, upper=False)
        return inverse.square().sum()

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
