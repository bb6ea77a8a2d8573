"""What a design is to explain, and how much of it a solution leaves.

Nothing of the number of rows is made: residuals are computed block by block, again in every pass,
so that the rows may be more than memory holds.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from torchlogreg import kernels
from torchlogreg.design import LARGE, Design
from torchlogreg.double_double import DoubleDouble, dot, matvec, vecmat

STRIP, ROWS = 2**21, 2**17
"""Entries that a compiled kernel is given at a time, 16 MiB where they are copied; and rows, where
they are not."""

TAME = 2.0**300
"""Largest power of two, and one over the smallest, by which a column may be divided for kernels,
which take it as it is: no product of theirs, nor what it loses, leaves the range of float64."""


@dataclass(frozen=True, slots=True)
class Response:
    """``(y - offset) / unit`` less what some columns explain, exact; 0 in rows without weight.

    Attributes
    ----------
    design : Design
        Of the same rows.
    unit : Tensor, shape ()
        A power of two.
    parts : tuple of Tensor
        ``y``, and ``offset`` if there is one; n numbers each, of any dtype.
    explained : tuple of (Design, DoubleDouble)
        Designs of the same rows, and coefficients (P,) for each.
    """

    design: Design
    unit: Tensor
    parts: tuple[Tensor, ...] = ()
    explained: tuple[tuple[Design, DoubleDouble], ...] = ()

    @classmethod
    def of(cls, design: Design, y: Tensor, offset: Tensor | None = None) -> Response:
        """In a unit that makes the largest number moderate."""
        parts = tuple(t.detach().flatten() for t in (y, offset) if t is not None)
        raw = cls(design, design.unit.new_ones(()), parts)
        largest = torch.zeros_like(raw.unit)
        for start in range(0, len(parts[0]), LARGE):
            for part in raw._scaled(slice(start, start + LARGE)):
                largest = torch.maximum(largest, part.abs().max())
        exponent = torch.frexp(torch.where(largest > 0, largest, 1.0)).exponent
        unit = torch.ldexp(torch.ones_like(largest), exponent.clamp(-1000, 1000))
        return replace(raw, unit=unit)

    @classmethod
    def column(cls, design: Design, j: int) -> Response:
        """Column ``j`` of the design, in its unit."""
        one = design.select(torch.tensor([j], device=design.unit.device))
        minus = DoubleDouble.of(-torch.ones_like(one.unit))
        return cls(design, one.unit.new_ones(()), explained=((one, minus),))

    def less(self, design: Design, z: DoubleDouble) -> Response:
        """What ``design @ z`` leaves of it."""
        return replace(self, explained=(*self.explained, (design, z)))

    def rows(self, rows: slice) -> DoubleDouble:
        """Of these rows, (m,)."""
        parts = [DoubleDouble.of(part) for part in self._scaled(rows)]
        if not parts:
            n = len(range(*rows.indices(self.design.shape[0])))
            parts = [DoubleDouble.of(self.unit.new_zeros(n))]
        found = parts[0] if len(parts) == 1 else parts[0] - parts[1]
        for design, z in self.explained:
            found = found - vecmat(z, design.block(rows))
        return found

    def gradient(self, design: Design, z: DoubleDouble) -> DoubleDouble:
        """``A' S r`` of the residual ``r = y - A z``, in doubled precision; shape (P,)."""
        if self.quick:
            return self._by_kernel(design, z)
        result = DoubleDouble.of(torch.zeros_like(design.unit))
        for rows, block in design.doubled_blocks():
            part, weights = self.rows(rows) - vecmat(z, block), design.weights(rows)
            result = result + matvec(block, part if weights is None else part * weights)
        return result

    @property
    def quick(self) -> bool:
        """Whether compiled kernels compute ``gradient``, at about the price of a plain one."""
        if not kernels.residual_available(self.design.X):
            return False
        every = torch.cat((self.design.whole.unit, self.unit.view(1)))
        return bool((every <= TAME).all() & (every >= 1 / TAME).all())

    def _by_kernel(self, design: Design, z: DoubleDouble) -> DoubleDouble:
        """All that is explained in one product: the columns as they are, coefficients in units."""
        whole = design.whole
        p = whole.X.shape[1]
        size = max(ROWS if whole.X.is_contiguous() else 1, STRIP // max(p, 1))
        every = DoubleDouble.of(torch.zeros_like(whole.unit))
        for part, coefficients in (*self.explained, (design, z)):
            every = every + part.spread(coefficients)
        every = every * whole.unit.reciprocal()
        bias = every[p] if whole.bias else DoubleDouble.of(self.unit.new_zeros(()))
        result = DoubleDouble.of(torch.zeros_like(whole.unit))
        bare = replace(self, explained=())
        for start in range(0, len(whole.X), size):
            rows = slice(start, min(start + size, len(whole.X)))
            by_weight, by_bias = kernels.residual_sums(
                whole.X[rows].contiguous(), bare.rows(rows), whole.weights(rows), every[:p], bias
            )
            both = (
                (by_weight, DoubleDouble(by_bias.high.view(1), by_bias.low.view(1)))
                if whole.bias
                else (by_weight,)
            )
            result = result + DoubleDouble.cat(both)
        return (result * whole.unit.reciprocal())[design.columns]

    def plain_gradient(self, design: Design, z: Tensor | None = None) -> Tensor:
        """The same with a residual and sums of float64; for ``z = 0`` if None."""
        result = torch.zeros_like(design.unit)
        for rows, block in design.blocks(LARGE):
            part, weights = self.rows(rows).high, design.weights(rows)
            if z is not None:
                part = part - z @ block
            result += block @ (part if weights is None else part * weights)
        return result

    def sum_of_squares(self, design: Design, z: DoubleDouble) -> Tensor:
        """``r' S r`` of that residual, summed in doubled precision, rounded; a scalar."""
        result = DoubleDouble.of(torch.zeros_like(self.unit))
        for rows, block in design.doubled_blocks():
            r, weights = self.rows(rows) - vecmat(z, block), design.weights(rows)
            result = result + dot(r, r if weights is None else r * weights)
        return result.value

    def _scaled(self, rows: slice) -> list[Tensor]:
        """The parts, in the unit."""
        found = [part[rows].to(self.unit) / self.unit for part in self.parts]
        return [self.design.without_empty(part, rows) for part in found]
