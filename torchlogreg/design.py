"""A design matrix ``[X, 1]`` that is seen block by block, scaled so that arithmetic on it is exact.

Columns are divided by powers of two (exact) that bring their largest entry to between 1/2 and 1;
rows carry sample weights. No copy of ``X`` is made: only blocks of a bounded size.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator

import torch
from torch import Tensor

from torchlogreg.double_double import DoubleDouble, matvec

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
    size : Tensor, shape (P,), optional
        Bounds of the largest weighted entries of the columns, which are then not looked for.

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
        size: Tensor | None = None,
    ) -> None:
        self.X = X.cpu() if X.device.type == "mps" else X  # which has no float64
        self._weights = None if sample_weight is None else sample_weight.to(self.X.device)
        self.bias = bias
        self._some_empty = self._weights is not None and not bool(self._weights.min() > 0)
        self._kept: Tensor | None = None
        n_columns = X.shape[1] + int(bias)
        self.unit = torch.ones(n_columns, dtype=torch.float64, device=self.X.device)
        self._every_unit = self.unit  # of the columns that were not selected too
        root = torch.full_like(self.unit, ridge**0.5)
        if bias:
            root[-1] = 0
        largest = self._largest(root) if size is None else size
        exponent = torch.frexp(torch.where(largest > 0, largest, 1.0)).exponent
        # Clamped, since 1 / 2^-1074 is no float64; columns of such numbers keep a smaller scale.
        self.unit = torch.ldexp(self.unit, exponent.clamp(-1000, 1000))
        self._every_unit = self.unit
        self._root_ridge = root / self.unit
        self.ridge = self._root_ridge.square()

    def _largest(self, least: Tensor) -> Tensor:
        """Largest weighted entry of every column, (P,)."""
        found = least.clone()
        for rows, block in self.blocks(LARGE):
            torch.maximum(found, self._weighted(block, rows).abs().amax(1), out=found)
        return found

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

    @property
    def columns(self) -> Tensor:
        """Which columns of ``whole`` these are, (P,)."""
        every = torch.arange(len(self._every_unit), device=self.unit.device)
        return every if self._kept is None else self._kept

    @property
    def whole(self) -> Design:
        """The same rows with every column."""
        if self._kept is None:
            return self
        whole = copy.copy(self)
        whole._kept, whole.unit = None, self._every_unit
        return whole

    def spread(self, z: DoubleDouble) -> DoubleDouble:
        """Coefficients (P,) among those of ``whole``: zero for the other columns."""
        zeros = torch.zeros_like(self._every_unit)
        high = zeros.index_copy(0, self.columns, z.high)
        return DoubleDouble(high, zeros.index_copy(0, self.columns, z.low))

    def without_ridge(self) -> Design:
        """The same design, unpenalised."""
        chosen = copy.copy(self)
        chosen.ridge = chosen._root_ridge = torch.zeros_like(self.ridge)
        return chosen

    def blocks(self, n_entries: int) -> Iterator[tuple[slice, Tensor]]:
        """Consecutive rows, as many as have ``n_entries``, and ``block`` of them."""
        size = max(1, n_entries // self.shape[1])
        for start in range(0, len(self.X), size):
            rows = slice(start, start + size)
            yield rows, self.block(rows)

    def doubled_blocks(self) -> Iterator[tuple[slice, Tensor]]:
        """``blocks`` of a size for doubled precision."""
        return self.blocks(CACHED if self.X.device.type == "cpu" else LARGE)

    def block(self, rows: slice) -> Tensor:
        """These rows of ``A`` without their weights, transposed: (P, m), contiguous."""
        p, inverse = self.X.shape[1], self._every_unit.reciprocal()
        part = self.X[rows]
        block = inverse.new_empty(len(inverse), len(part))
        torch.mul(part.T, inverse[:p, None], out=block[:p])
        block[p:] = inverse[p:, None]
        if self._kept is not None:
            block = block[self._kept]
        return self.without_empty(block, rows)

    def without_empty(self, values: Tensor, rows: slice) -> Tensor:
        """``values`` (..., m) of these rows, in place; 0 where a row weighs nothing.

        Such rows may hold numbers as large as they like.
        """
        if not self._some_empty or self._weights is None:
            return values
        return values.masked_fill_(self._weights[rows] == 0, 0.0)

    def weights(self, rows: slice) -> Tensor | None:
        """Of these rows in float64, (m,); None if all are one."""
        return None if self._weights is None else self._weights[rows].double()

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
        for rows, block in self.doubled_blocks():
            columns, weights = [], self.weights(rows)
            for j in range(P):
                row = DoubleDouble.of(block[j])
                part = row if weights is None else row * weights
                columns.append(matvec(block, part))
            result = result + DoubleDouble(
                torch.stack([c.high for c in columns]), torch.stack([c.low for c in columns])
            )
        return result

    def _weighted(self, block: Tensor, rows: slice) -> Tensor:
        weights = self.weights(rows)
        return block if weights is None else block * weights.sqrt()
