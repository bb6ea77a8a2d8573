"""Starts so far off that no row has any curvature left: second-order methods find their way."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch

from problems import params_of, problem
from torchlogreg import L2, SoftmaxRegression, fit

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
