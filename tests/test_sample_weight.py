"""Sample weights mean repetition; schedules switched off change nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from problems import MODELS, params_of, problem
from torchlogreg import (
    L2,
    Batch,
    BoostMisclassified,
    ClassMean,
    ClassWeights,
    Focal,
    LogisticRegression,
    Objective,
    Product,
    Smoothed,
    Uniform,
    Weighting,
    fit,
)
from torchlogreg.sample_weights import mean_one

F64 = torch.float64


def optimum(name: str, X: Tensor, y: Tensor, weight: Tensor | None = None) -> Tensor:
    """Parameters of the ridge fit to convergence."""
    model = problem(name).model()
    fit(model, X, y, sample_weight=weight, penalty=L2(0.1), optimizer="newton", tol=1e-12)
    return params_of(model)


@pytest.mark.parametrize("name", MODELS)
def test_integer_weight_equals_repeated_row(name: str) -> None:
    case = problem(name)
    times = 1 + torch.arange(case.n) % 3
    repeated = optimum(name, case.X.repeat_interleave(times, 0), case.y.repeat_interleave(times))
    torch.testing.assert_close(
        optimum(name, case.X, case.y, times), repeated, rtol=1e-10, atol=1e-10
    )


@pytest.mark.parametrize("name", MODELS)
def test_zero_weight_equals_removal(name: str) -> None:
    case = problem(name)
    kept = torch.arange(case.n) % 4 != 0
    removed = optimum(name, case.X[kept], case.y[kept])
    torch.testing.assert_close(optimum(name, case.X, case.y, kept), removed, rtol=1e-10, atol=1e-10)


@given(name=st.sampled_from(MODELS), times=st.lists(st.integers(0, 4), min_size=60, max_size=60))
def test_weighted_objective_equals_that_of_repeated_rows(name: str, times: list[int]) -> None:
    # The value and gradient, not only the optimum; zeros are removals.
    case = problem(name)
    count = torch.tensor([max(times[0], 1), *times[1:]])
    model, y = case.model(), case.model().target(case.y)
    weighted = Batch(case.X, y, mean_one(count.double()))
    repeated = Batch(
        case.X.repeat_interleave(count, 0),
        y.repeat_interleave(count),
        torch.ones(int(count.sum()), dtype=F64),
    )
    a, b = (Objective(model).closure(data, data) for data in (weighted, repeated))
    torch.testing.assert_close(a.value(), b.value(), rtol=1e-13, atol=1e-14)
    torch.testing.assert_close(a.gradient(), b.gradient(), rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(a.hessian(), b.hessian(), rtol=1e-12, atol=1e-14)


@given(scale=st.floats(1e-300, 1e300), name=st.sampled_from(MODELS))
def test_the_scale_of_sample_weights_does_not_matter(scale: float, name: str) -> None:
    case = problem(name)
    weight = 0.5 + torch.arange(case.n, dtype=F64) % 5
    results = []
    for factor in (1.0, scale):
        model = case.model()
        fit(
            model,
            case.X,
            case.y,
            sample_weight=weight * factor,
            optimizer="sgd",
            max_epochs=3,
            tol=0,
        )
        results.append(params_of(model))
    torch.testing.assert_close(*results, rtol=1e-12, atol=1e-14)


@given(
    name=st.sampled_from(MODELS),
    cuts=st.sets(st.integers(1, 59), max_size=6),
    seed=st.integers(0, 100),
)
def test_a_partition_of_the_rows_changes_nothing(name: str, cuts: set[int], seed: int) -> None:
    case = problem(name)
    model = case.model()
    source = torch.Generator().manual_seed(seed)
    weight = mean_one(torch.rand(case.n, generator=source, dtype=F64) + 0.1)
    data = Batch(case.X, model.target(case.y), weight)
    objective = Objective(model, None, L2(0.3))
    with torch.no_grad():
        for p in model.parameters():
            p.add_(torch.randn(p.shape, generator=source, dtype=F64))
    order = torch.randperm(case.n, generator=source)
    value, gradient = torch.zeros((), dtype=F64), torch.zeros_like(params_of(model))
    for index in torch.tensor_split(order, sorted(cuts)):
        part = objective.closure(data.rows(index), data)
        value += part.value() * len(index) / case.n
        gradient += part.gradient() * len(index) / case.n
    whole = objective.closure(data, data)
    torch.testing.assert_close(value, whole.value(), rtol=1e-13, atol=0)
    torch.testing.assert_close(gradient, whole.gradient(), rtol=1e-12, atol=1e-14)


@given(st.lists(st.floats(0, 1e308), min_size=1, max_size=50).filter(lambda w: max(w) > 0))
def test_mean_one_has_mean_one(weights: list[float]) -> None:
    scaled = mean_one(torch.tensor(weights, dtype=F64))
    assert float(scaled.mean()) == pytest.approx(1, rel=1e-12)


@pytest.mark.parametrize("n", [1, 2, 3, 7, 60, 1001])
def test_mean_one_leaves_ones_bit_for_bit(n: int) -> None:
    for dtype in (torch.float32, F64):
        ones = torch.ones(n, dtype=dtype)
        assert torch.equal(mean_one(ones), ones)


@pytest.mark.parametrize(
    ("weights", "text"),
    [
        ([1.0, -1.0, 1.0], r"sample_weight: row 1 has weight -1.*not negative"),
        ([1.0, 1.0, float("nan")], r"sample_weight: row 2 has weight nan"),
        ([float("inf"), 1.0, 1.0], r"sample_weight: row 0 has weight inf"),
        ([0.0, 0.0, 0.0], r"sample_weight: all weights are zero"),
        ([1.0, 1.0], r"sample_weight has shape \(2,\).*3 rows"),
        ([[1.0], [1.0], [1.0]], r"sample_weight has shape \(3, 1\)"),
    ],
)
def test_bad_sample_weights_are_named(weights: Any, text: str) -> None:
    model = LogisticRegression(1, dtype=F64)
    with pytest.raises(ValueError, match=text) as caught:
        fit(model, [[0.0], [1.0], [2.0]], [0, 1, 0], sample_weight=weights)
    assert "\n" not in str(caught.value)


OFF: dict[str, Callable[[], Weighting]] = {
    "uniform": Uniform,
    "boost by one": lambda: BoostMisclassified(1.0),
    "class mean of ones": lambda: ClassMean(BoostMisclassified(1.0)),
    "class weights of ones": lambda: ClassWeights({0: 1.0, 1: 1.0}),
    "no class weights": lambda: ClassWeights({}),
    "focal with gamma zero": lambda: Focal(0.0),
    "smoothed uniform": lambda: Smoothed(Uniform()),
    "product of uniforms": lambda: Product(Uniform(), Uniform()),
}


@pytest.mark.parametrize("own", [False, True])
@pytest.mark.parametrize("batch_size", [None, 16])
@pytest.mark.parametrize("off", OFF)
def test_a_schedule_switched_off_is_the_plain_fit_bit_for_bit(
    off: str, batch_size: int | None, own: bool
) -> None:
    case = problem("logistic")
    weight = 0.3 + torch.arange(case.n, dtype=F64) % 7 if own else None
    results = []
    for weighting in (None, OFF[off]()):
        model = case.model()
        fit(
            model,
            case.X,
            case.y,
            weighting=weighting,
            sample_weight=weight,
            optimizer="sgd",
            batch_size=batch_size,
            max_epochs=5,
            tol=0,
            generator=torch.Generator().manual_seed(1),
        )
        results.append(params_of(model))
    assert torch.equal(*results)


@pytest.mark.parametrize("optimizer", ["auto", "newton_cg", "lbfgs", "adam"])
@pytest.mark.parametrize("sentinel", [1e6, 999999.0, -1e9])
def test_what_rows_without_weight_hold_is_no_unit_of_anything(
    optimizer: str, sentinel: float
) -> None:
    source = torch.Generator().manual_seed(0)
    X = torch.randn(300, 3, generator=source, dtype=torch.float64)
    y = (X[:, 0] + torch.randn(300, generator=source, dtype=torch.float64) > 0).double()
    weight = torch.ones(300, dtype=torch.float64)
    weight[::4] = 0
    kept = weight > 0
    want = LogisticRegression(3, dtype=torch.float64)
    fit(want, X[kept], y[kept], optimizer="newton")
    X[::4] = sentinel
    model = LogisticRegression(3, dtype=torch.float64)
    result = fit(model, X, y, sample_weight=weight, optimizer=optimizer, max_epochs=2000)
    assert result.converged
    torch.testing.assert_close(model.weight, want.weight, rtol=1e-3, atol=1e-3)
