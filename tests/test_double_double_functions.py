"""Functions in doubled precision, held against 60 (and more) decimal digits."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal, localcontext

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from torchlogreg.double_double import DoubleDouble
from torchlogreg.double_double_functions import (
    exp,
    expm1,
    multiply,
    reciprocal,
    sigmoid,
    softmax,
)

F64 = torch.float64
ERROR = Decimal("1e-30")


def doubled(*pairs: tuple[float, float]) -> DoubleDouble:
    """A number and the share of its last place that its low part is."""
    high = torch.tensor([pair[0] for pair in pairs], dtype=F64)
    share = torch.tensor([pair[1] for pair in pairs], dtype=F64)
    return DoubleDouble(high, high * 2.0**-54 * share)


def exact(x: DoubleDouble, *index: int) -> Decimal:
    return Decimal(x.high[index].item()) + Decimal(x.low[index].item())


def numbers(limit: float) -> st.SearchStrategy[tuple[float, float]]:
    """Of either sign, not so small that parts of them underflow."""
    sized = st.floats(-limit, limit, allow_subnormal=False).filter(lambda v: abs(v) > 1e-100)
    return st.tuples(sized, st.floats(-1, 1).map(lambda v: round(v, 3)))


FUNCTIONS: dict[str, tuple[Callable[[DoubleDouble], DoubleDouble], Callable[[Decimal], Decimal]]]
FUNCTIONS = {
    "exp": (exp, lambda t: t.exp()),
    "expm1": (expm1, lambda t: t.exp() - 1),
    "sigmoid": (sigmoid, lambda t: 1 / (1 + (-t).exp())),
    "reciprocal": (reciprocal, lambda t: 1 / t),
}


@pytest.mark.parametrize("name", FUNCTIONS)
@settings(max_examples=150, deadline=None)
@given(number=numbers(590.0))
def test_functions_have_thirty_digits(name: str, number: tuple[float, float]) -> None:
    ours, truth = FUNCTIONS[name]
    x = doubled(number)
    with localcontext() as context:
        context.prec = 450  # 1 + e^-590 - 1 keeps what is left
        want = truth(exact(x, 0))
        assert abs(exact(ours(x), 0) - want) <= ERROR * abs(want)


@settings(max_examples=100, deadline=None)
@given(a=numbers(1e60), b=numbers(1e60))
def test_products_have_thirty_digits(a: tuple[float, float], b: tuple[float, float]) -> None:
    x, y = doubled(a), doubled(b)
    with localcontext() as context:
        context.prec = 120
        want = exact(x, 0) * exact(y, 0)
        assert abs(exact(multiply(x, y), 0) - want) <= ERROR * abs(want)


@settings(max_examples=60, deadline=None)
@given(row=st.lists(numbers(50.0), min_size=2, max_size=5))
def test_softmax_has_thirty_digits_and_sums_to_one(row: list[tuple[float, float]]) -> None:
    flat = doubled(*row)
    x = DoubleDouble(flat.high[None, :], flat.low[None, :])
    got = softmax(x)
    with localcontext() as context:
        context.prec = 80
        powers = [exact(x, 0, j).exp() for j in range(len(row))]
        for j, power in enumerate(powers):
            want = power / sum(powers)
            assert abs(exact(got, 0, j) - want) <= ERROR * want
        assert abs(sum(exact(got, 0, j) for j in range(len(row))) - 1) <= ERROR


def test_arguments_out_of_range_stay_finite_and_ordered() -> None:
    far = DoubleDouble.of(torch.tensor([-1e308, -1e4, 1e4, 1e308], dtype=F64))
    for function in (exp, expm1, sigmoid):
        value = function(far).value
        assert bool(torch.isfinite(value).all()) and bool((value.diff() >= 0).all())
    assert sigmoid(far).value[-1] == 1 and float(sigmoid(far).value[0]) < 1e-250
