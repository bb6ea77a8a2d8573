"""What a design is to explain, and how much of it a solution leaves.

Nothing of the number of rows is made: residuals are computed block by block, again in every pass,
so that the rows may be more than memory holds.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from torchlogreg.design import LARGE, Design
from torchlogreg.double_double import DoubleDouble, dot, matvec, vecmat


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
        result = DoubleDouble.of(torch.zeros_like(design.unit))
        for rows, block in design.doubled_blocks():
            part, weights = self.rows(rows) - vecmat(z, block), design.weights(rows)
            result = result + matvec(block, part if weights is None else part * weights)
        return result

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
