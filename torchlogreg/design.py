"""A design matrix ``[X, 1]`` that is seen block by block, scaled so that arithmetic on it is exact.

Columns are divided by powers of two (exact) that bring their largest entry to between 1/2 and 1;
rows carry sample weights. No copy of ``X`` is made: only blocks of a bounded size.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator

import torch
from torch import Tensor

from torchlogreg.double_double import DoubleDouble, matvec, vecmat

CACHED = 2**15
"""Entries of a block in doubled precision on a CPU: a dozen temporaries stay in the cache."""

LARGE = 2**18
"""Entries of a block for QR and plain products (2 MiB), and for everything on a GPU."""


class Design:
    """``A = [X, 1] / unit``, shape (n, P), and the weights of its rows.

    Parameters
    ----------
    X : Tensor, shape (n, p)
        Finite. Worked on in float64, whatever its dtype.
    sample_weight : Tensor, shape (n,), optional
        Finite and ``>= 0``, not all zero, of a moderate scale.
    bias : bool
        Whether a column of ones follows the columns of ``X``.
    ridge : float
        ``>= 0``: ``ridge * |weight|^2`` is added to the weighted sum of squares; not for the ones.

    Attributes
    ----------
    unit : Tensor, shape (P,), float64
        Powers of two. A solution ``z`` for ``A`` is ``z / unit`` for ``[X, 1]``.
    ridge : Tensor, shape (P,), float64
        What the penalty adds to the diagonal of ``A' S A``.
    """

    def __init__(
        self,
        X: Tensor,
        sample_weight: Tensor | None = None,
        *,
        bias: bool = True,
        ridge: float = 0.0,
    ) -> None:
        self.X = X.cpu() if X.device.type == "mps" else X  # which has no float64
        weights = None if sample_weight is None else sample_weight.to(self.X.device).double()
        self.weights = weights
        self.bias = bias
        self._empty = None if weights is None or bool((weights > 0).all()) else weights == 0
        self._kept: Tensor | None = None
        n_columns = X.shape[1] + int(bias)
        self.unit = torch.ones(n_columns, dtype=torch.float64, device=self.X.device)
        self._every_unit = self.unit  # of the columns that were not selected too
        root = torch.full_like(self.unit, ridge**0.5)
        if bias:
            root[-1] = 0
        largest = root.clone()
        for rows, block in self.blocks(LARGE):
            torch.maximum(largest, self._weighted(block, rows).abs().amax(1), out=largest)
        exponent = torch.frexp(torch.where(largest > 0, largest, 1.0)).exponent
        # Clamped, since 1 / 2^-1074 is no float64; columns of such numbers keep a smaller scale.
        self.unit = torch.ldexp(self.unit, exponent.clamp(-1000, 1000))
        self._every_unit = self.unit
        self._root_ridge = root / self.unit
        self.ridge = self._root_ridge.square()

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return len(self.X), len(self.unit)

    def select(self, columns: Tensor) -> Design:
        """The same rows, only some columns (indices into the present ones)."""
        chosen = copy.copy(self)
        chosen._kept = columns if self._kept is None else self._kept[columns]
        chosen.unit, chosen.ridge = self.unit[columns], self.ridge[columns]
        chosen._root_ridge = self._root_ridge[columns]
        return chosen

    def without_ridge(self) -> Design:
        """The same design, unpenalised."""
        chosen = copy.copy(self)
        chosen.ridge = chosen._root_ridge = torch.zeros_like(self.ridge)
        return chosen

    def column(self, j: int) -> Tensor:
        """Column ``j`` of ``A``, (n,)."""
        one = self.select(torch.tensor([j], device=self.unit.device))
        return torch.cat([block[0] for _, block in one.blocks(LARGE)])

    def response(self, y: Tensor, offset: Tensor | None = None) -> tuple[Tensor, DoubleDouble]:
        """A power of two, and ``(y - offset) / power``, exact, (n,); 0 in rows without weight."""
        parts = [t.detach().flatten().to(self.unit) for t in (y, offset) if t is not None]
        if self._empty is not None:
            parts = [part.masked_fill(self._empty, 0.0) for part in parts]
        largest = torch.stack([part.abs().max() for part in parts]).max()
        exponent = torch.frexp(torch.where(largest > 0, largest, 1.0)).exponent
        unit = torch.ldexp(torch.ones_like(largest), exponent.clamp(-1000, 1000))
        scaled = [DoubleDouble.of(part / unit) for part in parts]
        return unit, scaled[0] if len(scaled) == 1 else scaled[0] - scaled[1]

    def blocks(self, n_entries: int) -> Iterator[tuple[slice, Tensor]]:
        """Consecutive rows of ``A`` without their weights, transposed: (P, m), contiguous."""
        size = max(1, n_entries // self.shape[1])
        p = self.X.shape[1]
        inverse = self._every_unit.reciprocal()
        for start in range(0, len(self.X), size):
            rows = slice(start, start + size)
            part = self.X[rows]
            block = inverse.new_empty(len(inverse), len(part))
            torch.mul(part.T, inverse[:p, None], out=block[:p])
            block[p:] = inverse[p:, None]
            if self._kept is not None:
                block = block[self._kept]
            if self._empty is not None:  # these may be as large as they like
                block.masked_fill_(self._empty[rows], 0.0)
            yield rows, block

    def times(self, z: DoubleDouble) -> DoubleDouble:
        """``A @ z`` for ``z`` (P,), in doubled precision; shape (n,)."""
        return DoubleDouble.cat([vecmat(z, block) for _, block in self.blocks(self._size())])

    def transposed_times(self, r: DoubleDouble) -> DoubleDouble:
        """``A' S r`` for ``r`` (n,), with ``S`` the weights, in doubled precision; shape (P,)."""
        result = DoubleDouble.of(torch.zeros_like(self.unit))
        for rows, block in self.blocks(self._size()):
            part = r[rows] if self.weights is None else r[rows] * self.weights[rows]
            result = result + matvec(block, part)
        return result

    def plain_times(self, z: Tensor) -> Tensor:
        """``A @ z`` in float64, shape (n,)."""
        return torch.cat([z @ block for _, block in self.blocks(LARGE)])

    def plain_transposed_times(self, r: Tensor) -> Tensor:
        """``A' S r`` in float64, shape (P,)."""
        result = torch.zeros_like(self.unit)
        weighted = r if self.weights is None else r * self.weights
        for rows, block in self.blocks(LARGE):
            result += block @ weighted[rows]
        return result

    def triangle(self) -> Tensor:
        """``R`` (P, P), upper triangular, with ``R'R = A' S A + diag(ridge)``.

        By Householder's QR of block after block below the triangle so far (TSQR: Demmel, Grigori,
        Hoemmen and Langou, 2012): as stable as one QR, in bounded memory.
        """
        P = self.shape[1]
        R = torch.diag(self._root_ridge)
        for rows, block in self.blocks(max(LARGE, 4 * P * P)):
            tall = torch.cat((R, self._weighted(block, rows).T))
            R = torch.linalg.qr(tall, mode="r").R
        return R

    def gram(self) -> DoubleDouble:
        """``A' S A + diag(ridge)`` in doubled precision, (P, P)."""
        P = self.shape[1]
        result = DoubleDouble.of(torch.diag(self.ridge))
        for rows, block in self.blocks(self._size()):
            columns = []
            for j in range(P):
                row = DoubleDouble.of(block[j])
                part = row if self.weights is None else row * self.weights[rows]
                columns.append(matvec(block, part))
            result = result + DoubleDouble(
                torch.stack([c.high for c in columns]), torch.stack([c.low for c in columns])
            )
        return result

    def _weighted(self, block: Tensor, rows: slice) -> Tensor:
        return block if self.weights is None else block * self.weights[rows].sqrt()

    def _size(self) -> int:
        return CACHED if self.X.device.type == "cpu" else LARGE
