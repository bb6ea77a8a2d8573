"""Inner products of rows: all that a ridge problem with more columns than rows needs of ``X``."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from torchlogreg.kernels.packed import Packed, pack, packed_available

BLOCK = 2**22
"""Entries of a block of columns that is moved, 32 MB; four times as many are rounded only."""

STRIP = 256
"""Rows of a strip of the lower triangle."""

EXACT, HALVED = 2**27, 2**30
"""Products ``n^2 p`` up to which the kernel is made in float64 at once, and from which bfloat16
pays: a rough kernel asks for some more exact gradients."""

MANY_ROWS = 1000
"""Rows from which on products with packed columns are cheaper than a matrix to multiply with."""


class Kernel(NamedTuple):
    """``matrix = (X - centre)(X - centre)' / unit``, (n, n), its diagonal at most about one.

    Attributes
    ----------
    X : Tensor, shape (n, p)
        The rows themselves.
    matrix : Tensor, shape (n, n), or Packed
        float32 or float64; or the columns that it is made of, multiplied one after the other.
    centre : Tensor, shape (p,), or None
    unit : float
        A power of two.
    rough : bool
        Whether its entries have fewer digits than ``X``.
    """

    X: Tensor
    matrix: Tensor | Packed
    centre: Tensor | None
    unit: float
    rough: bool

    @classmethod
    def of(cls, X: Tensor, *, centred: bool, exact: bool = False) -> Kernel:
        """Of many rows the columns, packed; else the lower triangle of the matrix.

        1. Columns about their mean, rounded to what is multiplied: bfloat16, float32 or float64.
        2. Strips of the triangle, summed in float32 or float64; the diagonal without bfloat16.

        Parameters
        ----------
        X : Tensor, shape (n, p)
        centred : bool
            Whether an intercept takes up what the mean of a column does.
        exact : bool
            Float64, whatever the size.
        """
        n, p = X.shape
        many = n >= MANY_ROWS and n**2 * p >= HALVED
        if many and not exact and packed_available(X):
            packed = pack(X, centred=centred)
            return cls(X, packed, packed.centre, packed.unit, True)
        factors, sums = (_wide(X), _wide(X)) if exact else _dtypes(X)
        centre = X.mean(0) if centred else None
        matrix = X.new_zeros(n, n, dtype=sums)
        diagonal = X.new_zeros(n, dtype=X.dtype)
        width = max(1, (BLOCK if centred else 4 * BLOCK) // n)
        room = X.new_empty(n, min(width, p), dtype=factors)
        for j in range(0, p, width):
            columns = X[:, j : j + width]  # 1
            if centre is not None:
                columns = columns - centre[j : j + width]
            diagonal += torch.linalg.vector_norm(columns, dim=1).square_()
            rounded = room[:, : columns.shape[1]].copy_(columns)
            for i in range(0, n, STRIP):  # 2
                matrix[i : i + STRIP, : i + STRIP] += (
                    rounded[i : i + STRIP] @ rounded[: i + STRIP].T
                )
        matrix = matrix.tril_(-1) + matrix.mT
        matrix.diagonal().copy_(diagonal)
        exponent = torch.frexp(diagonal.mean()).exponent
        unit = 2.0 ** int(exponent)
        return cls(X, matrix.div_(unit), centre, unit, sums != _wide(X))

    @property
    def dtype(self) -> torch.dtype:
        """Of the products."""
        return torch.float32 if isinstance(self.matrix, Packed) else self.matrix.dtype

    @property
    def error(self) -> float:
        """Share of an exact gradient that a step which solves for it leaves, or little less."""
        if isinstance(self.matrix, Packed):
            return 1e-4
        return 1e-8 if self.matrix.dtype == torch.float64 else 1e-2

    @property
    def lengths(self) -> Tensor:
        """The diagonal, (n,)."""
        if isinstance(self.matrix, Packed):
            return self.matrix.lengths()
        return self.matrix.diagonal()

    def times(self, A: Tensor) -> Tensor:
        """``matrix @ A``, (n, r), for ``A`` (n, r)."""
        if isinstance(self.matrix, Packed):
            return self.matrix.about(A)
        if A.shape[1] == 1:  # two thirds of the time of a product of matrices
            return torch.mv(self.matrix, A[:, 0]).unsqueeze(1)
        return self.matrix @ A

    def pulled(self, A: Tensor) -> Tensor:
        """``A' (X - centre) / unit``, (r, p), for ``A`` (n, r): one pass over the rows."""
        rows = A.to(self.X).T @ self.X
        if self.centre is not None:
            rows -= A.to(self.X).sum(0)[:, None] * self.centre
        return rows / self.unit


def _wide(X: Tensor) -> torch.dtype:
    return torch.float32 if X.device.type == "mps" else torch.float64


def _dtypes(X: Tensor) -> tuple[torch.dtype, torch.dtype]:
    """Of the factors and of their sums."""
    products = X.shape[0] ** 2 * X.shape[1]
    if products <= EXACT:
        return _wide(X), _wide(X)
    if products >= HALVED and _multiplies_bfloat16(X):
        return torch.bfloat16, torch.float32
    return torch.float32, torch.float32


def _multiplies_bfloat16(X: Tensor) -> bool:
    """Whether the processor does; others would take longer than for float32."""
    if X.device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    known = getattr(torch.cpu, "_is_avx512_bf16_supported", None)
    return X.device.type == "cpu" and known is not None and bool(known())
