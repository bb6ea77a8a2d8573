"""Penalties: a prox is a minimum, a value is its formula, a strength is checked."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from torchlogreg import L1, L2, ElasticNet, Penalty

F64 = torch.float64
MAKERS: dict[str, Callable[[float], Penalty]] = {
    "L2": L2,
    "L1": L1,
    "ElasticNet": lambda alpha: ElasticNet(alpha, 0.3),
}
entries = st.lists(st.floats(-50, 50), min_size=1, max_size=6)
strengths = st.floats(0, 10)
steps = st.floats(1e-3, 10)


def column(values: list[float]) -> torch.Tensor:
    """A weight (1, p)."""
    return torch.tensor(values, dtype=F64)[None, :]


@pytest.mark.parametrize("name", MAKERS)
@given(values=entries, alpha=strengths, step=steps)
def test_prox_is_the_minimum_of_its_definition(
    name: str, values: list[float], alpha: float, step: float
) -> None:
    penalty, weight = MAKERS[name](alpha), column(values)
    best = penalty.prox(weight, step)

    def cost(u: torch.Tensor) -> float:
        return float((u - weight).square().sum() / (2 * step) + penalty.value(u))

    for nudge in (1e-3, -1e-3, 0.3, -0.3):
        for j in range(weight.shape[1]):
            moved = best.clone()
            moved[0, j] += nudge
            assert cost(best) <= cost(moved) * (1 + 1e-12) + 1e-12
    assert cost(best) <= cost(torch.zeros_like(best)) * (1 + 1e-12) + 1e-12


@pytest.mark.parametrize("name", MAKERS)
@given(a=entries, alpha=strengths, step=steps, shift=st.floats(-5, 5))
def test_prox_never_moves_two_points_apart(
    name: str, a: list[float], alpha: float, step: float, shift: float
) -> None:
    penalty, weight = MAKERS[name](alpha), column(a)
    apart = penalty.prox(weight, step) - penalty.prox(weight + shift, step)
    assert float(apart.abs().max()) <= abs(shift) * (1 + 1e-9) + 1e-12


@pytest.mark.parametrize("name", MAKERS)
@given(values=entries, step=steps)
def test_strength_zero_is_no_penalty(name: str, values: list[float], step: float) -> None:
    penalty, weight = MAKERS[name](0.0), column(values)
    assert float(penalty.value(weight)) == 0
    assert torch.equal(penalty.prox(weight, step), weight)
    assert torch.equal(penalty.curvature(weight), torch.zeros_like(weight))


@given(values=entries, alpha=strengths, step=steps)
def test_elastic_net_ends_in_ridge_and_lasso(
    values: list[float], alpha: float, step: float
) -> None:
    weight = column(values)
    for ratio, end in ((0.0, L2(alpha)), (1.0, L1(alpha))):
        mixed = ElasticNet(alpha, ratio)
        torch.testing.assert_close(mixed.value(weight), end.value(weight))
        torch.testing.assert_close(mixed.prox(weight, step), end.prox(weight, step))
        torch.testing.assert_close(mixed.curvature(weight), end.curvature(weight))


@given(values=entries, alpha=strengths)
def test_values_are_their_formulas(values: list[float], alpha: float) -> None:
    weight = column(values)
    squares, sizes = sum(v * v for v in values), sum(abs(v) for v in values)
    assert float(L2(alpha).value(weight)) == pytest.approx(alpha / 2 * squares)
    assert float(L1(alpha).value(weight)) == pytest.approx(alpha * sizes)
    mixed = alpha * (0.3 * sizes + 0.35 * squares)
    assert float(ElasticNet(alpha, 0.3).value(weight)) == pytest.approx(mixed)


@pytest.mark.parametrize("name", MAKERS)
def test_curvature_is_the_second_derivative_away_from_kinks(name: str) -> None:
    penalty = MAKERS[name](0.7)
    weight = column([-2.0, 0.5, 3.0]).requires_grad_()
    (first,) = torch.autograd.grad(penalty.value(weight), weight, create_graph=True)
    slope = torch.stack([first[0, j] + 0 * weight.sum() for j in range(3)])
    second = torch.stack(
        [torch.autograd.grad(slope[j], weight, retain_graph=True)[0][0, j] for j in range(3)]
    )
    torch.testing.assert_close(penalty.curvature(weight.detach())[0], second)


@pytest.mark.parametrize("penalty", [L1(0.5), ElasticNet(1.0, 0.5)])
def test_the_soft_threshold_gives_exact_zeros(penalty: Penalty) -> None:
    weight = column([-0.5, -0.1, 0.0, 0.3, 0.5])
    assert torch.equal(penalty.prox(weight, 1.0), torch.zeros_like(weight))


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
@pytest.mark.parametrize("alpha", [-1e-9, float("nan"), float("inf"), -float("inf")])
def test_a_strength_that_is_none_is_refused(make: Callable[[float], Penalty], alpha: float) -> None:
    with pytest.raises(ValueError, match=r"alpha is .*finite and not negative"):
        make(alpha)


@pytest.mark.parametrize("ratio", [-0.1, 1.1, float("nan")])
def test_a_share_outside_its_range_is_refused(ratio: float) -> None:
    with pytest.raises(ValueError, match="l1_ratio is"):
        ElasticNet(1.0, ratio)


def test_smoothness_and_repr() -> None:
    assert L2(1).smooth and not L1(1).smooth and not ElasticNet(1).smooth
    assert [repr(p) for p in (L2(1), L1(0.5), ElasticNet(2, 0.25))] == [
        "L2(alpha=1)",
        "L1(alpha=0.5)",
        "ElasticNet(alpha=2, l1_ratio=0.25)",
    ]
