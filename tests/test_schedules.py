"""Weightings at work in a fit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from problems import CLASSIFIERS, MODELS, params_of, problem, small_ridge
from torchlogreg import (
    L2,
    BoostMisclassified,
    ClassBalanced,
    ClassMean,
    ClassWeights,
    Focal,
    Model,
    Product,
    Smoothed,
    Snapshot,
    SoftmaxRegression,
    Weighting,
    fit,
)

# Fits stop early here on purpose.
pytestmark = pytest.mark.filterwarnings("ignore::torchlogreg.ConvergenceWarning")

F64 = torch.float64


ADAPTIVE: dict[str, Callable[[], Weighting]] = {
    "boost": BoostMisclassified,
    "boost capped": lambda: BoostMisclassified(1.5, cap=4.0, sticky=False),
    "class mean": ClassMean,
    "focal": Focal,
    "smoothed focal": lambda: Smoothed(Focal()),
    "product": lambda: Product(BoostMisclassified(), Focal(1.0), ClassBalanced()),
}


@pytest.mark.parametrize("rule", ADAPTIVE)
@pytest.mark.parametrize("name", CLASSIFIERS)
def test_every_schedule_trains_every_classifier(name: str, rule: str) -> None:
    case, model = problem(name), problem(name).model()
    result = fit(
        model, case.X, case.y, weighting=ADAPTIVE[rule](), penalty=small_ridge(name), max_epochs=15
    )
    assert bool(torch.isfinite(params_of(model)).all())
    assert float(result.sample_weight.mean()) == pytest.approx(1)
    assert bool((result.sample_weight >= 0).all())


@pytest.mark.parametrize("rule", ADAPTIVE)
def test_soft_targets_at_the_corners_equal_hard_ones(rule: str) -> None:
    case = problem("softmax")
    soft = torch.nn.functional.one_hot(case.y, 3).to(F64)
    results = []
    for y in (case.y, soft):
        model = case.model()
        fit(model, case.X, y, weighting=ADAPTIVE[rule](), penalty=L2(0.1), max_epochs=5, tol=0)
        results.append(params_of(model))
    torch.testing.assert_close(*results, rtol=1e-10, atol=1e-12)


def test_the_users_weights_multiply_the_factors() -> None:
    case = problem("logistic")
    own = 0.5 + torch.arange(case.n, dtype=F64) % 3
    factors = 1 + torch.arange(case.n, dtype=F64) % 2
    result = fit(
        case.model(), case.X, case.y, sample_weight=own, weighting=lambda s: factors, max_epochs=1
    )
    product = own * factors
    torch.testing.assert_close(result.sample_weight, product / product.mean())


@pytest.mark.parametrize("name", MODELS)
def test_any_callable_is_a_weighting(name: str) -> None:
    case, seen = problem(name), []

    def by_loss(rows: Snapshot) -> Tensor:
        seen.append(rows)
        return 1 / (1 + rows.losses)

    fit(case.model(), case.X, case.y, weighting=by_loss, max_epochs=4, tol=0)
    assert len(seen) == 4 and seen[0].previous is None and seen[1].previous is not None
    assert seen[0].losses.shape == (case.n,) and not seen[0].eta.requires_grad


@pytest.mark.parametrize("wrap", [Smoothed, Product])
def test_a_callable_may_stand_inside_another_weighting(wrap: Any) -> None:
    # fit takes plain functions; a combinator that does not would surprise.
    case = problem("logistic")
    result = fit(case.model(), case.X, case.y, weighting=wrap(lambda s: 1 + s.losses), max_epochs=3)
    assert bool(torch.isfinite(result.sample_weight).all())


@pytest.mark.parametrize(
    ("bad", "text"),
    [
        (float("nan"), r"row 3 has weight nan"),
        (-1.0, r"row 3 has weight -1"),
        (float("inf"), r"row 3 has weight inf"),
    ],
)
def test_a_callables_bad_factor_is_named_with_its_row(bad: float, text: str) -> None:
    case = problem("logistic")

    def broken(rows: Snapshot) -> Tensor:
        factor = torch.ones_like(rows.losses)
        factor[3] = bad
        return factor

    with pytest.raises(ValueError, match=r"weighting broken: " + text):
        fit(case.model(), case.X, case.y, weighting=broken)


class Broken(Weighting):
    """A user's own schedule that divides zero by zero."""

    def update(self, snapshot: Snapshot) -> Tensor:
        """NaN in row 2."""
        factor = torch.ones_like(snapshot.losses)
        factor[2] = torch.nan
        return factor


def test_a_users_weighting_with_a_bad_factor_is_named_with_its_row() -> None:
    # Only callables were checked; a subclass with NaN trained to NaN and "converged".
    case = problem("logistic")
    with pytest.raises(ValueError, match=r"Broken: row 2 has weight nan"):
        fit(case.model(), case.X, case.y, weighting=Broken())


def test_class_weights_that_leave_no_row_are_refused() -> None:
    # The scaling to mean one divided zero by zero, and the fit "converged" to NaN.
    case = problem("logistic")
    with pytest.raises(ValueError, match="zero"):
        fit(case.model(), case.X, case.y, weighting=ClassWeights({0: 0.0, 1: 0.0}))


def test_factors_that_leave_no_row_of_those_with_weight_are_refused() -> None:
    # Each is fine alone: the user weighs the upper half, the schedule the lower half.
    case = problem("linear")
    upper = case.X[:, 0] > 0
    with pytest.raises(ValueError, match="zero"):
        fit(case.model(), case.X, case.y, sample_weight=upper, weighting=lambda s: ~upper)


@pytest.mark.parametrize("rule", [ClassBalanced, ClassMean, lambda: Smoothed(Focal())])
def test_zero_weight_equals_removal_under_a_schedule(rule: Callable[[], Weighting]) -> None:
    # Counts and means over rows must not count rows that weigh nothing.
    case = problem("logistic")
    kept = (torch.arange(case.n) % 4 != 0) | (case.y == 0)
    results = []
    for X, y, weight in ((case.X, case.y, kept), (case.X[kept], case.y[kept], None)):
        model = case.model()
        fit(
            model,
            X,
            y,
            sample_weight=weight,
            weighting=rule(),
            penalty=L2(0.1),
            max_epochs=4,
            tol=0,
        )
        results.append(params_of(model))
    torch.testing.assert_close(*results, rtol=1e-10, atol=1e-10)


def test_a_fixed_weighting_is_asked_once_and_an_adaptive_one_every_epoch() -> None:
    class Fixed(Weighting):
        adaptive = False
        calls = 0

        def update(self, snapshot: Snapshot) -> Tensor:
            type(self).calls += 1
            return torch.ones_like(snapshot.losses)

    class Moving(Fixed):
        adaptive = True
        calls = 0

    case = problem("logistic")
    for rule in (Fixed(), Moving()):
        fit(case.model(), case.X, case.y, weighting=rule, optimizer="sgd", max_epochs=7, tol=0)
    assert (Fixed.calls, Moving.calls) == (1, 7)


@pytest.mark.parametrize("reference", [True, False])
def test_binary_and_two_class_softmax_follow_one_schedule(reference: bool) -> None:
    case = problem("logistic")
    softmax: Model = SoftmaxRegression(3, 2, reference=reference, dtype=F64)
    logistic = case.model()
    rule = Smoothed(BoostMisclassified())
    for model, y in ((logistic, case.y), (softmax, case.y.long())):
        fit(model, case.X, y, weighting=rule, optimizer="newton", tol=1e-10)
    torch.testing.assert_close(
        logistic.mean(logistic(case.X)), softmax.mean(softmax(case.X))[:, 1], rtol=0, atol=1e-8
    )
