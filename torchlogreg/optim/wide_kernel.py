"""Inner products of rows: all that a ridge problem with more columns than rows needs of ``X``."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

BLOCK = 2**22
"""Entries of a block of columns that is moved, 32 MB; four times as many are rounded only."""

STRIP = 256
"""Rows of a strip of the lower triangle."""

EXACT, HALVED = 2**27, 2**30
"""Products ``n^2 p`` up to which the kernel is made in float64 at once, and from which bfloat16
pays: a rough kernel asks for some more exact gradients."""


class Kernel(NamedTuple):
    """``matrix = (X - centre)(X - centre)' / unit``, (n, n), its diagonal about one.

    Attributes
    ----------
    X : Tensor, shape (n, p)
        The rows themselves.
    matrix : Tensor, shape (n, n)
        float32 or float64.
    centre : Tensor, shape (p,), or None
    unit : float
        A power of two.
    rough : bool
        Whether its entries have fewer digits than ``X``.
    """

    X: Tensor
    matrix: Tensor
    centre: Tensor | None
    unit: float
    rough: bool

    @classmethod
    def of(cls, X: Tensor, *, centred: bool, exact: bool = False) -> Kernel:
        """Made from blocks of columns, the lower triangle by strips of rows.

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
