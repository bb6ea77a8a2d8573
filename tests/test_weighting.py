"""The rules of the weightings, by hand and against their formulas."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from problems import CLASSIFIERS, problem
from spy import Spy
from torchlogreg import (
    BoostMisclassified,
    ClassBalanced,
    ClassMean,
    ClassWeights,
    Focal,
    Product,
    Smoothed,
    Snapshot,
    Uniform,
    Weighting,
    fit,
)

# Fits stop early here on purpose.
pytestmark = pytest.mark.filterwarnings("ignore::torchlogreg.ConvergenceWarning")

F64 = torch.float64


def snapshot(losses: list[float], y: list[int], predicted: list[int], previous: Any = None) -> Any:
    """A snapshot of a binary problem."""
    return Snapshot(
        torch.tensor(y, dtype=F64),
        torch.zeros(len(y), 1, dtype=F64),
        torch.tensor(losses, dtype=F64),
        torch.tensor(predicted),
        previous,
    )


def states(rule: Weighting, y: list[int], predictions: list[list[int]]) -> list[list[float]]:
    """The rule's states over epochs, each handed on to the next."""
    memory, seen = None, []
    for predicted in predictions:
        memory = rule.update(snapshot([1.0] * len(y), y, predicted, memory))
        seen.append(memory.tolist())
    return seen


def test_boost_leaves_the_first_epoch_plain() -> None:
    # An untrained model calls every row class 1; its mistakes would stick to class 0.
    assert states(BoostMisclassified(), [0, 1, 0], [[1, 1, 1]]) == [[1, 1, 1]]


def test_boost_doubles_once_and_keeps_it() -> None:
    seen = states(BoostMisclassified(), [0, 1, 0], [[1, 1, 1], [1, 1, 0], [1, 0, 0], [0, 0, 0]])
    assert seen == [[1, 1, 1], [2, 1, 1], [2, 2, 1], [2, 2, 1]]


def test_boost_grows_to_its_cap() -> None:
    seen = states(BoostMisclassified(3.0, cap=10.0), [0, 1], [[1, 1]] * 5)
    assert seen == [[1, 1], [3, 1], [9, 1], [10, 1], [10, 1]]


def test_boost_that_does_not_stick_falls_back_to_one() -> None:
    rule = BoostMisclassified(2.0, cap=8.0, sticky=False)
    seen = states(rule, [0, 1], [[1, 1], [1, 0], [0, 0], [1, 1]])
    assert seen == [[1, 1], [2, 2], [1, 4], [2, 1]]


@pytest.mark.parametrize("sticky", [True, False])
@pytest.mark.parametrize("batch_size", [None, 10])
def test_boost_follows_the_errors_before_each_epoch(sticky: bool, batch_size: int | None) -> None:
    case, spy = problem("logistic"), Spy()
    rule = BoostMisclassified(2.0, cap=16.0, sticky=sticky)
    fit(
        case.model(),
        case.X,
        case.y,
        weighting=rule,
        optimizer="sgd",
        batch_size=batch_size,
        max_epochs=8,
        tol=0,
        hooks=[spy],
        generator=torch.Generator().manual_seed(0),
    )
    factor = [1.0] * case.n
    for epoch, (weights, wrong) in enumerate(zip(spy.weights, spy.wrong, strict=False)):
        for i, miss in enumerate(wrong.tolist() if epoch else []):
            kept = factor[i] if sticky else 1.0
            factor[i] = min(2 * factor[i], 16.0) if miss else kept
        expected = torch.tensor(factor, dtype=F64)
        torch.testing.assert_close(weights, expected / expected.mean(), rtol=1e-14, atol=0)


def test_class_mean_is_the_original_cost_loggers_rule() -> None:
    # class_weight = {0: 1, 1: mean(row weights)}, the row weights being 1 or, once wrong, 2.
    rule, memory, seen = ClassMean(), None, []
    y = [0, 1, 0, 1, 1]
    for predicted in ([1, 1, 1, 1, 1], [1, 1, 0, 0, 1], [0, 0, 0, 0, 1]):
        snap = snapshot([1] * 5, y, predicted, memory)
        memory = rule.update(snap)
        seen.append(rule.factor(memory, snap).tolist())
    ones = pytest.approx([1, 1, 1, 1, 1])
    assert seen == [
        ones,
        pytest.approx([1, 1.4, 1, 1.4, 1.4]),
        pytest.approx([1, 1.6, 1, 1.6, 1.6]),
    ]


@given(st.lists(st.floats(0, 700), min_size=1, max_size=20), st.floats(0, 5))
def test_focal_is_its_formula(losses: list[float], gamma: float) -> None:
    n = len(losses)
    factor = Focal(gamma)(snapshot(losses, [1] * n, [1] * n)).numpy()
    expected = (-np.expm1(-np.array(losses))) ** gamma
    expected = expected if expected.sum() > 0 else np.ones(n)
    np.testing.assert_allclose(factor, expected, rtol=1e-12)


def test_smoothed_focal_converges_where_bare_focal_does_not() -> None:
    case = problem("logistic", n=200)
    bare = fit(case.model(), case.X, case.y, weighting=Focal(), optimizer="newton", tol=1e-8)
    smooth = fit(
        case.model(), case.X, case.y, weighting=Smoothed(Focal()), optimizer="newton", tol=1e-8
    )
    assert smooth.converged and smooth.n_epochs < 60
    assert not bare.converged


def test_the_message_says_that_sample_weights_still_change() -> None:
    case = problem("logistic")
    result = fit(case.model(), case.X, case.y, weighting=Focal(), optimizer="sgd", max_epochs=3)
    assert "sample weights still change by" in result.message


@pytest.mark.parametrize("rate", [0.0, -0.5, 1.5, float("nan")])
def test_smoothed_refuses_a_rate_outside_its_range(rate: float) -> None:
    with pytest.raises(ValueError, match="rate is"):
        Smoothed(Focal(), rate=rate)


def test_smoothed_at_rate_one_is_the_inner_rule() -> None:
    case = problem("logistic")
    results = [
        fit(case.model(), case.X, case.y, weighting=w, optimizer="sgd", max_epochs=6, tol=0)
        for w in (Focal(), Smoothed(Focal(), rate=1.0))
    ]
    torch.testing.assert_close(
        results[0].sample_weight, results[1].sample_weight, rtol=1e-13, atol=0
    )


def test_product_keeps_the_memories_of_its_parts_apart() -> None:
    parts = (BoostMisclassified(2.0, cap=8.0), BoostMisclassified(3.0, cap=27.0, sticky=False))
    product, memory, memories = Product(*parts), None, [None, None]
    for predicted in ([0, 0, 0], [1, 1, 1], [1, 0, 1], [0, 0, 1]):
        snap = snapshot([1, 1, 1], [0, 1, 0], predicted)
        memory = product.update(snap._replace(previous=memory))
        memories = [
            part.update(snap._replace(previous=m)) for part, m in zip(parts, memories, strict=True)
        ]
        assert torch.equal(product.factor(memory, snap), memories[0] * memories[1])
    assert product.factor(memory, snap).tolist() == [4, 36, 8 * 27]


def test_smoothed_inside_a_product_remembers() -> None:
    case = problem("logistic")
    inner = [Smoothed(Focal()), Product(Smoothed(Focal()), Uniform())]
    results = [
        fit(case.model(), case.X, case.y, weighting=w, optimizer="sgd", max_epochs=6, tol=0)
        for w in inner
    ]
    torch.testing.assert_close(
        results[0].sample_weight, results[1].sample_weight, rtol=1e-13, atol=0
    )


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_class_balanced_equals_sklearn(name: str) -> None:
    from sklearn.utils.class_weight import compute_class_weight

    case = problem(name)
    y = case.y.numpy()
    per_class = compute_class_weight("balanced", classes=np.unique(y), y=y)
    expected = per_class[y.astype(int)]
    result = fit(case.model(), case.X, case.y, weighting=ClassBalanced(), max_epochs=1, tol=0)
    np.testing.assert_allclose(result.sample_weight.numpy(), expected / expected.mean())


def test_class_weights_multiply_by_class() -> None:
    case = problem("softmax")
    result = fit(case.model(), case.X, case.y, weighting=ClassWeights({1: 3.0, 2: 0.5}), tol=1e-3)
    expected = torch.tensor([1.0, 3.0, 0.5], dtype=F64)[case.y]
    torch.testing.assert_close(result.sample_weight, expected / expected.mean())


@pytest.mark.parametrize("value", [-1.0, float("nan"), float("inf")])
def test_class_weights_refuse_what_is_no_weight(value: float) -> None:
    with pytest.raises(ValueError, match="class 1 has weight"):
        ClassWeights({1: value})


@pytest.mark.parametrize(
    "make",
    [
        lambda: BoostMisclassified(0.5),
        lambda: BoostMisclassified(2.0, cap=0.5),
        lambda: BoostMisclassified(float("nan")),
        lambda: BoostMisclassified(float("inf")),
        lambda: Focal(-1.0),
        lambda: Focal(float("nan")),
    ],
)
def test_settings_out_of_range_are_refused(make: Callable[[], Weighting]) -> None:
    with pytest.raises(ValueError, match=r"factor=|gamma is"):
        make()
