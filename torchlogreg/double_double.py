"""Twice the digits of a dtype: sums and products whose rounding errors are kept beside them.

A number is held as ``high + low``, two floats of the same dtype with ``|low| <= eps |high|`` once
renormalised: about 32 decimal digits for float64. Only additions, subtractions and multiplications
of whole tensors are used, each a kernel of its own that no compiler can fuse, so every device gives
the same answer, with or without fused multiply-add.

Entries must be of moderate size: the splitting of a number overflows above 1e299 (float64), and
errors of products below 1e-291 vanish. Scale by powers of two first, which is exact.

References
----------
Knuth, The Art of Computer Programming 2, section 4.2.2 (two_sum); Dekker, A floating-point
technique for extending the available precision, Numer. Math. 18 (1971), with Veltkamp's splitting
(two_product); Ogita, Rump and Oishi, Accurate sum and dot product, SIAM J. Sci. Comput. 26 (2005):
a sum with these errors kept is as good as one in doubled precision, rounded once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

Index = Tensor | slice | int | tuple[slice, int]
SPLITTER = {torch.float64: 2.0**27 + 1, torch.float32: 2.0**12 + 1}


@dataclass(frozen=True, slots=True, eq=False)
class DoubleDouble:
    """``high + low``, tensors of one shape and dtype."""

    high: Tensor
    low: Tensor

    @classmethod
    def of(cls, value: Tensor) -> DoubleDouble:
        """A plain tensor, whose low part is zero."""
        return cls(value, torch.zeros_like(value))

    @classmethod
    def cat(cls, parts: Sequence[DoubleDouble], dim: int = 0) -> DoubleDouble:
        """Joined along ``dim``."""
        high = torch.cat([part.high for part in parts], dim)
        return cls(high, torch.cat([part.low for part in parts], dim))

    @property
    def value(self) -> Tensor:
        """Rounded to the dtype."""
        return self.high + self.low

    def __getitem__(self, index: Index) -> DoubleDouble:
        return DoubleDouble(self.high[index], self.low[index])

    def __neg__(self) -> DoubleDouble:
        return DoubleDouble(-self.high, -self.low)

    def __add__(self, other: DoubleDouble) -> DoubleDouble:
        """Relative to ``|self| + |other|``, the error is of the order of eps squared."""
        high = two_sum(self.high, other.high)
        return two_sum(high.high, high.low + (self.low + other.low))

    def __sub__(self, other: DoubleDouble) -> DoubleDouble:
        return self + (-other)

    def __mul__(self, factor: Tensor) -> DoubleDouble:
        """By a plain tensor; shapes broadcast."""
        product = two_product(self.high, factor)
        return two_sum(product.high, product.low + self.low * factor)


def two_sum(a: Tensor, b: Tensor) -> DoubleDouble:
    """``a + b`` exactly, for finite numbers whose sum does not overflow (Knuth)."""
    high = a + b
    part = high - a
    low = a - (high - part)
    low += b - part
    return DoubleDouble(high, low)


def split(a: Tensor) -> tuple[Tensor, Tensor]:
    """``a`` as a sum of two numbers of half as many bits, whose products are exact (Veltkamp)."""
    large = a * SPLITTER[a.dtype]
    high = large - (large - a)
    return high, a - high


def two_product(a: Tensor, b: Tensor) -> DoubleDouble:
    """``a * b`` exactly, within the range that the module's text names (Dekker)."""
    (a1, a2), (b1, b2) = split(a), split(b)
    product = a * b
    error = a1 * b1
    error -= product
    error += a1 * b2  # the four products are exact, and so is every sum of them in this order
    error += a2 * b1
    error += a2 * b2
    return DoubleDouble(product, error)


def total(x: DoubleDouble, dim: int) -> DoubleDouble:
    """Sum along ``dim``, which is removed; pairwise, so that errors grow with log n."""
    high, low = x.high, x.low
    while (n := high.shape[dim]) > 1:
        half = n // 2
        pair = two_sum(high.narrow(dim, 0, half), high.narrow(dim, half, half))
        errors = low.narrow(dim, 0, half) + low.narrow(dim, half, half)
        errors += pair.low
        if n % 2:  # the last one waits for the next round
            pair = DoubleDouble(torch.cat((pair.high, high.narrow(dim, n - 1, 1)), dim), errors)
            errors = torch.cat((errors, low.narrow(dim, n - 1, 1)), dim)
        high, low = pair.high, errors
    return two_sum(high.sum(dim), low.sum(dim))  # of one entry, or of none


def vecmat(x: DoubleDouble, A: Tensor) -> DoubleDouble:
    """``x @ A`` for a vector (p,) and a plain matrix (p, m); shape (m,)."""
    column = DoubleDouble(x.high[:, None], x.low[:, None])
    return total(_product(A, column), 0)


def matvec(A: Tensor, x: DoubleDouble) -> DoubleDouble:
    """``A @ x`` for a plain matrix (p, m) and a vector (m,); shape (p,)."""
    return total(_product(A, x), 1)


def dot(x: DoubleDouble, y: DoubleDouble) -> DoubleDouble:
    """``sum_i x_i y_i`` for vectors (n,); a scalar."""
    product = two_product(x.high, y.high)
    cross = x.high * y.low + x.low * y.high
    return total(DoubleDouble(product.high, product.low + cross), 0)


def _product(A: Tensor, x: DoubleDouble) -> DoubleDouble:
    """``A * x``, entry by entry with broadcasting, not renormalised: for sums."""
    product = two_product(A, x.high)
    product.low.addcmul_(A, x.low)
    return product
