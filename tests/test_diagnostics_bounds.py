"""The certificate: bounds on the distance to the optimum, held against the distance itself."""

from __future__ import annotations

import math

import pytest
import torch

from problems import MODELS, Problem, params_of, problem
from torchlogreg import L1, L2, Model, fit
from torchlogreg.diagnostics import certificate
from torchlogreg.inputs import make_data
from torchlogreg.objective import Closure, Objective

F64 = torch.float64


def closure(model: Model, case: Problem, penalty: L2 | None = None) -> Closure:
    data = make_data(model, case.X, case.y)
    return Objective(model, penalty=penalty).closure(data, data)


def moved(case: Problem, size: float, penalty: L2 | None) -> tuple[Model, Model]:
    """The optimum, and a model some way off it."""
    best, model = case.model(), case.model()
    fit(best, case.X, case.y, penalty=penalty)
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for p, q in zip(model.parameters(), best.parameters(), strict=True):
            p.copy_(q + size * torch.randn(q.shape, generator=generator, dtype=F64))
    return best, model


@pytest.mark.parametrize("penalty", [None, L2(0.05)], ids=["plain", "ridge"])
@pytest.mark.parametrize("size", [1e-6, 1e-3, 0.05, 0.3])
@pytest.mark.parametrize("name", ["linear", "logistic", "softmax_reference"])
def test_the_optimum_is_within_the_bounds(name, size, penalty):
    case = problem(name)
    best, model = moved(case, size, penalty)
    found = certificate(model, case.X, case.y, penalty=penalty)
    here, there = closure(model, case, penalty), closure(best, case, penalty)
    delta, H = params_of(best) - params_of(model), here.hessian()
    distance = math.sqrt(float(delta @ H @ delta))
    gap = float(here.value() - there.value())
    assert found.kind == ("exact" if name == "linear" else "bound") or size == 0.3
    if found.kind == "estimate":
        return
    assert (
        distance <= found.distance * (1 + 1e-6) and gap <= found.objective_gap * (1 + 1e-4) + 1e-15
    )
    assert found.decrement <= found.distance
    assert size == 0.3 or found.distance <= 1.5 * distance
    if found.kind == "exact":
        assert math.isclose(distance, found.distance, rel_tol=1e-6)
        assert math.isclose(gap, found.objective_gap, rel_tol=1e-3, abs_tol=1e-15)


@pytest.mark.parametrize("name", MODELS)
def test_no_coefficient_is_further_off_than_so_many_standard_errors(name):
    case = problem(name)
    penalty = L2(0.05) if name == "softmax" else None
    best, model = moved(case, 1e-3, penalty)
    found = certificate(model, case.X, case.y, penalty=penalty)
    information = closure(model, case, penalty).hessian() * len(case.X)
    if name == "linear":
        residual = best(case.X).detach().squeeze(1) - case.y
        variance = float(residual.square().sum()) / (len(case.X) - 4)
        information = information / (2 * variance)
    covariance = torch.linalg.pinv(information)
    shift = (params_of(best) - params_of(model)).abs() / covariance.diagonal().sqrt()
    slack = 1.0 if found.kind != "estimate" else 1.05
    assert float(shift.max()) <= slack * found.standard_errors


@pytest.mark.parametrize("size", [1e-3, 0.1, 1.0])
def test_the_older_bound_by_the_gradient_holds_too_and_is_wider(size):
    # |g|^2 / (2 alpha) for an objective that is strongly convex in all its parameters.
    case, alpha = problem("logistic"), 0.05
    penalty = L2(alpha)
    best, model = case.model(), case.model()
    for m in (best, model):
        m.register_parameter("bias", None)
    fit(best, case.X, case.y, penalty=penalty)
    with torch.no_grad():
        model.weight.copy_(best.weight + size)
    here, there = closure(model, case, penalty), closure(best, case, penalty)
    gap = float(here.value() - there.value())
    by_gradient = float(here.gradient().square().sum()) / (2 * alpha)
    found = certificate(model, case.X, case.y, penalty=penalty)
    assert gap <= by_gradient
    if found.kind == "bound":
        assert gap <= found.objective_gap <= by_gradient


def test_bounds_do_not_depend_on_the_units_of_columns():
    case = problem("logistic")
    _, model = moved(case, 0.05, None)
    plain = certificate(model, case.X, case.y)
    with torch.no_grad():
        model.weight.div_(1e5)
    scaled = certificate(model, case.X * 1e5, case.y)
    assert math.isclose(plain.distance, scaled.distance, rel_tol=1e-8)
    assert math.isclose(plain.standard_errors, scaled.standard_errors, rel_tol=1e-8)


def test_far_from_the_optimum_nothing_is_promised():
    case = problem("logistic")
    _, model = moved(case, 20.0, None)
    assert certificate(model, case.X, case.y).kind == "estimate"


def test_at_the_optimum_the_distance_is_rounding():
    for name in MODELS:
        case = problem(name)
        penalty = L2(0.05) if name == "softmax" else None
        best, _ = moved(case, 0.0, penalty)
        assert certificate(best, case.X, case.y, penalty=penalty).standard_errors < 1e-6


def test_an_exact_fit_of_numbers_has_no_standard_errors():
    case = problem("linear")
    model = case.model()
    found = certificate(model, case.X, torch.zeros(60, dtype=F64))
    assert (found.decrement, found.standard_errors) == (0.0, 0.0)


def test_kinks_have_no_decrement():
    case = problem("logistic")
    with pytest.raises(ValueError, match="is not smooth"):
        certificate(case.model(), case.X, case.y, penalty=L1(0.1))
