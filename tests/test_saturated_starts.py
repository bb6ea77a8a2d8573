"""Starts so far off that no row has any curvature left: second-order methods find their way."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch
from torch import Tensor

from problems import params_of, problem
from torchlogreg import (
    L2,
    ConvergenceWarning,
    Jeffreys,
    OrdinalRegression,
    SoftmaxRegression,
    fit,
)

START = (40.0, -100.0, 800.0)
METHODS = ("auto", "newton", "subsampled_newton", "newton_cg")


@pytest.mark.parametrize("penalty", (None, L2(0.01)), ids=("plain", "l2"))
@pytest.mark.parametrize("start", START)
@pytest.mark.parametrize("optimizer", METHODS)
def test_an_intercept_of_a_hundred_is_left(optimizer: str, start: float, penalty: Any) -> None:
    case = problem("logistic", n=400, p=4)
    near, far = case.model(), case.model()
    with torch.no_grad():
        near.bias.zero_()
        near.weight.zero_()
        far.weight.zero_()
        far.bias.fill_(start)
    fit(near, case.X, case.y, penalty=penalty, optimizer="newton")
    result = fit(far, case.X, case.y, penalty=penalty, optimizer=optimizer)
    assert result.converged
    torch.testing.assert_close(params_of(far), params_of(near), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("optimizer", ("newton", "newton_cg"))
@pytest.mark.parametrize("scale", (1.0, 1e6))
def test_weights_of_a_thousand_in_any_unit_are_left(optimizer: str, scale: float) -> None:
    case = problem("logistic", n=400, p=4)
    near, far = case.model(), case.model()
    with torch.no_grad():
        for model, size in ((near, 0.0), (far, 1000.0)):
            model.weight.fill_(size / scale)
            model.bias.zero_()
    X = case.X * scale
    fit(near, X, case.y, optimizer="newton")
    assert fit(far, X, case.y, optimizer=optimizer).converged
    found, want = far.weight * scale, near.weight * scale
    torch.testing.assert_close(found, want, rtol=1e-3, atol=1e-3)


def test_classes_that_were_certain_are_left() -> None:
    case = problem("softmax", n=400, p=4)
    near, far = case.model(), case.model()
    assert isinstance(far, SoftmaxRegression)
    with torch.no_grad():
        for model in (near, far):
            for p in model.parameters():
                p.zero_()
        far.bias[0] = 200.0
    fit(near, case.X, case.y, penalty=L2(0.01), optimizer="newton")
    assert fit(far, case.X, case.y, penalty=L2(0.01), optimizer="newton").converged
    found, want = (model(case.X).softmax(1) for model in (far, near))
    torch.testing.assert_close(found, want, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("start", (100.0, 800.0))
def test_no_gap_of_an_ordinal_model_is_thrown_out_of_sight(start: float) -> None:
    case = problem("ordinal_logit", n=400, p=4)
    near, far = case.model(), case.model()
    with torch.no_grad():
        for p in far.parameters():
            p.zero_()
        far.first.fill_(start)
    want = fit(near, case.X, case.y, optimizer="newton").objective
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it may say that it did not arrive
        result = fit(far, case.X, case.y, optimizer="newton")
    assert not result.converged or abs(result.objective - want) < 1e-6


def three_levels() -> tuple[Tensor, Tensor]:
    """400 rows, three levels."""
    case = problem("logistic", n=400, p=4)
    score = case.X[:, 0] + case.y.double()
    return case.X, (score > 0).long() + (score > 1).long()


@pytest.mark.parametrize("optimizer", ("auto", "newton_cg", "lbfgs"))
@pytest.mark.parametrize("gap", (-36.0, -40.0, -800.0))
def test_a_gap_below_rounding_is_left_or_named(optimizer: str, gap: float) -> None:
    X, y = three_levels()
    near, model = (OrdinalRegression(4, 3, dtype=X.dtype) for _ in range(2))
    best = fit(near, X, y).objective
    with torch.no_grad():
        model.gaps.fill_(gap)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        result = fit(model, X, y, optimizer=optimizer)
    if result.converged:
        assert result.objective == pytest.approx(best, rel=1e-6)
    elif not bool((model.cutpoints.diff() > 0).all()):
        assert "level 1 has rows, but no place between its cutpoints: gaps[0]" in result.message


def test_cutpoints_may_meet_where_a_level_has_no_rows_or_the_loss_is_another() -> None:
    X, y = three_levels()
    for target, weights in ((torch.where(y == 1, 0, y), None), (y, (y != 1).double())):
        model = OrdinalRegression(4, 3, dtype=X.dtype)
        with torch.no_grad():
            model.gaps.fill_(-800.0)
        given = {"penalty": L2(0.01), "max_epochs": 300}
        assert fit(model, X, target, sample_weight=weights, **given).converged
    with torch.no_grad():
        model.gaps.fill_(-800.0)
    fit(model, X, 10.0 * y, loss=lambda eta, t: (eta.mean(1) - t).square(), optimizer="newton")


@pytest.mark.parametrize("optimizer", ("auto", "newton_cg", "lbfgs"))
@pytest.mark.parametrize("first", (800.0, -800.0))
def test_no_optimum_is_seen_where_a_level_has_lost_its_place(optimizer: str, first: float) -> None:
    X, y = three_levels()
    near, far = (OrdinalRegression(4, 3, dtype=X.dtype) for _ in range(2))
    with torch.no_grad():
        far.first.fill_(first)  # type: ignore[union-attr]
    best = fit(near, X, y).objective
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        result = fit(far, X, y, optimizer=optimizer)
    assert not result.converged or result.objective == pytest.approx(best, rel=1e-6)


def test_a_start_of_no_information_ends_in_a_warning() -> None:
    case = problem("logistic", n=400, p=4)
    model = case.model()
    with torch.no_grad():
        model.bias.fill_(800.0)
    with pytest.warns(ConvergenceWarning, match="not converged"):
        result = fit(model, case.X, case.y, penalty=Jeffreys())
    assert not result.converged and float(model.bias.detach()) == 800.0
