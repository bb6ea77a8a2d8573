"""Products, quotients and exponentials of twice the digits: what probabilities are made of.

As in :mod:`torchlogreg.double_double`, whole tensors and no fused operations; float64 only.
Relative errors are below 1e-30 wherever the result is a normal number above 1e-270.

References
----------
Hida, Li and Bailey, Algorithms for quad-double precision floating point arithmetic (2001): the
reduction of ``exp`` by ln 2, then by a power of two.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from torchlogreg.double_double import DoubleDouble, total, two_product, two_sum

LN2 = tuple(
    float.fromhex(part)
    for part in ("0x1.62e42fee00000p-1", "0x1.a39ef35793c76p-33", "0x1.cc01f97b57a08p-87")
)
"""ln 2 in three parts; the first has 32 bits, so that its product with an exponent is exact."""

HALVINGS = 5
"""The reduced argument is below ln 2 / 64, where 12 terms of the series are enough."""

DOUBLED_TERMS = 6
"""Terms of the series that need the low part; the rest is below eps of the sum."""

INVERSE_FACTORIALS = (
    (1.0, 0.0),
    (0.5, 0.0),
    (float.fromhex("0x1.5555555555555p-3"), float.fromhex("0x1.5555555555555p-57")),
    (float.fromhex("0x1.5555555555555p-5"), float.fromhex("0x1.5555555555555p-59")),
    (float.fromhex("0x1.1111111111111p-7"), float.fromhex("0x1.1111111111111p-63")),
    (float.fromhex("0x1.6c16c16c16c17p-10"), float.fromhex("-0x1.f49f49f49f49fp-65")),
)
"""1/1!, ..., 1/6! as high and low parts."""

FARTHEST = 600.0
"""Arguments of ``exp`` are clamped to +-600: the result is still a normal number."""


def multiply(x: DoubleDouble, y: DoubleDouble) -> DoubleDouble:
    """``x * y``, entry by entry with broadcasting."""
    product = two_product(x.high, y.high)
    product.low.addcmul_(x.high, y.low).addcmul_(x.low, y.high)
    return _renormalised(product.high, product.low)


def reciprocal(x: DoubleDouble) -> DoubleDouble:
    """``1 / x`` for ``x`` other than zero: one step of Newton's iteration from float64."""
    start = x.high.reciprocal()
    product = two_product(x.high, start)
    rest = ((1 - product.high) - product.low).sub_(x.low * start)
    return _renormalised(start, start * rest)


def expm1(x: DoubleDouble) -> DoubleDouble:
    """``e^x - 1``, to the relative precision of ``x`` near zero; ``x`` is clamped to +-600."""
    e, m = _reduced_expm1(x)
    scaled = DoubleDouble(torch.ldexp(e.high, m), torch.ldexp(e.low, m))
    return scaled + two_sum(torch.ldexp(torch.ones_like(m), m), torch.full_like(m, -1.0))


def exp(x: DoubleDouble) -> DoubleDouble:
    """``e^x``; ``x`` is clamped to +-600."""
    e, m = _reduced_expm1(x)
    e = e + DoubleDouble.of(torch.ones_like(m))
    return DoubleDouble(torch.ldexp(e.high, m), torch.ldexp(e.low, m))


def sigmoid(x: DoubleDouble) -> DoubleDouble:
    """``1 / (1 + e^-x)``."""
    return reciprocal(exp(-x) + DoubleDouble.of(torch.ones_like(x.high)))


def softmax(x: DoubleDouble) -> DoubleDouble:
    """``e^x_j / sum_l e^x_l`` along the second dimension of ``x`` (n, K)."""
    top = x.high.amax(dim=1, keepdim=True)
    shares = exp(x - DoubleDouble.of(top))
    whole = reciprocal(total(shares, 1))
    return multiply(shares, DoubleDouble(whole.high[:, None], whole.low[:, None]))


def _reduced_expm1(x: DoubleDouble) -> tuple[DoubleDouble, Tensor]:
    """``e^r - 1`` and ``m``, where ``x = m ln 2 + r`` with ``|r| <= ln 2 / 2``.

    1. ``r``: the product ``m ln 2`` is subtracted in three parts.
    2. The Taylor series of ``e^t - 1`` at ``t = r / 2^5``.
    3. Five times ``e^2t - 1 = 2 (e^t - 1) + (e^t - 1)^2``, which does not cancel.
    """
    low = torch.where(x.high.abs() < FARTHEST, x.low, 0.0)
    high = x.high.clamp(-FARTHEST, FARTHEST)
    m = (high / math.log(2)).round()  # 1
    r = two_sum(high - m * LN2[0], low) - two_product(m, torch.full_like(m, LN2[1]))
    r = _renormalised(r.high, r.low - m * LN2[2])
    e = _series(DoubleDouble(r.high * 2.0**-HALVINGS, r.low * 2.0**-HALVINGS))  # 2
    for _ in range(HALVINGS):  # 3
        e = DoubleDouble(2 * e.high, 2 * e.low) + multiply(e, e)
    return e, m


def _series(t: DoubleDouble) -> DoubleDouble:
    """``e^t - 1`` for ``|t| < 0.011``."""
    tail = torch.zeros_like(t.high)
    for j in range(12, DOUBLED_TERMS, -1):
        tail = tail.add_(1 / math.factorial(j)).mul_(t.high)
    sum_ = DoubleDouble.of(tail)
    for high, low in reversed(INVERSE_FACTORIALS):
        factor = DoubleDouble(torch.full_like(tail, high), torch.full_like(tail, low))
        sum_ = multiply(sum_ + factor, t)
    return sum_


def _renormalised(high: Tensor, low: Tensor) -> DoubleDouble:
    """``high + low`` as a double-double, where ``|low|`` is the smaller (Dekker)."""
    total_ = high + low
    return DoubleDouble(total_, low - (total_ - high))
