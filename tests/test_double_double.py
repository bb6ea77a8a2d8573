"""Sums and products in doubled precision, held against exact fractions."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from torchlogreg.double_double import (
    DoubleDouble,
    dot,
    matvec,
    split,
    total,
    two_product,
    two_sum,
    vecmat,
)

F64 = torch.float64
BITS = {torch.float64: 53, torch.float32: 24}


def number(width: int) -> st.SearchStrategy[float]:
    """Finite, of a size whose products and their errors stay in range."""
    limit = 1e70 if width == 64 else 2.0**20
    sized = st.floats(-limit, limit, width=width, allow_subnormal=False)
    return sized.filter(lambda v: v == 0 or abs(v) > 1 / limit)


def exact(x: DoubleDouble, *index: int) -> Fraction:
    """The number that an entry stands for."""
    return Fraction(x.high[index].item()) + Fraction(x.low[index].item())


@pytest.mark.parametrize("dtype", BITS)
@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_sum_and_product_keep_their_rounding_errors(
    dtype: torch.dtype, data: st.DataObject
) -> None:
    a, b = (data.draw(number(64 if dtype == F64 else 32)) for _ in range(2))
    x, y = torch.tensor(a, dtype=dtype), torch.tensor(b, dtype=dtype)
    assert exact(two_sum(x, y)) == Fraction(a) + Fraction(b)
    assert exact(two_product(x, y)) == Fraction(a) * Fraction(b)
    assert two_sum(x, y).value == x + y and two_product(x, y).value == x * y


@pytest.mark.parametrize("dtype", BITS)
@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_halves_have_half_the_bits(dtype: torch.dtype, data: st.DataObject) -> None:
    a = data.draw(number(64 if dtype == F64 else 32))
    high, low = split(torch.tensor(a, dtype=dtype))
    assert Fraction(high.item()) + Fraction(low.item()) == Fraction(a)
    for half in (high.item(), low.item()):
        odd = abs(Fraction(half).numerator)
        assert (odd & -odd) == 0 or (odd // (odd & -odd)).bit_length() <= (BITS[dtype] + 1) // 2


numbers = st.lists(number(64), min_size=1, max_size=9)
pairs = st.tuples(number(64), number(64))


def doubled(values: list[tuple[float, float]]) -> DoubleDouble:
    """A vector whose low parts are rounding errors of the high ones."""
    high, low = torch.tensor(values, dtype=F64).unbind(1)
    return two_sum(high, low * 2.0**-54)


def close(got: Fraction, want: Fraction, size: Fraction) -> bool:
    """Equal to 100 of the 106 bits, relative to the sum of absolute values."""
    return abs(got - want) <= size / 2**100


@settings(max_examples=200, deadline=None)
@given(pairs, pairs)
def test_arithmetic_has_a_hundred_bits(a: tuple[float, float], b: tuple[float, float]) -> None:
    x, y = doubled([a]), doubled([b])
    p, q = exact(x, 0), exact(y, 0)
    assert close(exact(x + y, 0), p + q, abs(p) + abs(q))
    assert close(exact(x - y, 0), p - q, abs(p) + abs(q))
    factor = Fraction(y.high[0].item())
    assert close(exact(x * y.high, 0), p * factor, abs(p * factor))


@settings(max_examples=100, deadline=None)
@given(st.lists(pairs, min_size=1, max_size=9), st.lists(pairs, min_size=1, max_size=9))
def test_dot_has_a_hundred_bits(a: list[tuple[float, float]], b: list[tuple[float, float]]) -> None:
    m = min(len(a), len(b))
    x, y = doubled(a[:m]), doubled(b[:m])
    terms = [exact(x, i) * exact(y, i) for i in range(m)]
    assert close(exact(dot(x, y)), sum(terms, Fraction(0)), sum(map(abs, terms), Fraction(0)))


def row_sum(A: Tensor, x: DoubleDouble, i: int) -> tuple[Fraction, Fraction]:
    """Entry ``i`` of ``A @ x``, and the sum of absolute terms."""
    terms = [Fraction(A[i, j].item()) * exact(x, j) for j in range(A.shape[1])]
    return sum(terms, Fraction(0)), sum(map(abs, terms), Fraction(0))


@pytest.mark.parametrize("shape", [(1, 1), (3, 7), (5, 1), (2, 64)])
def test_matrix_products_have_a_hundred_bits(
    shape: tuple[int, int], generator: torch.Generator
) -> None:
    # Powers make the terms cancel: plain float64 keeps few digits of such sums.
    A = torch.randn(shape, generator=generator, dtype=F64) ** 9
    noise = torch.randn(shape[1], generator=generator, dtype=F64)
    x = two_sum(noise**5, 2.0**-55 * noise)
    product, mirrored = matvec(A, x), vecmat(x, A.T.contiguous())
    for i in range(shape[0]):
        want, size = row_sum(A, x, i)
        assert close(exact(product, i), want, size)
        assert close(exact(mirrored, i), want, size)


def test_a_sum_survives_total_cancellation() -> None:
    values = torch.tensor([1e30, 1.0, -1e30, 2.0**-80, 3.0], dtype=F64)
    assert exact(total(DoubleDouble.of(values), 0)) == 4 + Fraction(1, 2**80)
    assert float(values.sum()) != 4


@pytest.mark.parametrize("dim", [0, 1])
def test_an_empty_sum_is_zero(dim: int) -> None:
    shape = (0, 3) if dim == 0 else (3, 0)
    found = total(DoubleDouble.of(torch.zeros(shape, dtype=F64)), dim)
    assert torch.equal(found.value, torch.zeros(3, dtype=F64))


@pytest.mark.parametrize("operation", [torch.neg, lambda x: x])
def test_indexing_and_joining_keep_both_parts(operation: Callable[[Tensor], Tensor]) -> None:
    x = two_sum(
        torch.tensor([1.0, 2.0, 3.0], dtype=F64), operation(torch.full((3,), 1e-20).double())
    )
    joined = DoubleDouble.cat((x[:1], x[1:]))
    assert torch.equal(joined.high, x.high) and torch.equal(joined.low, x.low)
    assert torch.equal((-x).high, -x.high) and torch.equal((-x).low, -x.low)
