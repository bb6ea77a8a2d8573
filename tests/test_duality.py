"""The duality gap: never below what is left to gain, and gone at the optimum."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from problems import FACTORIES, problem
from torchlogreg import L1, L2, ElasticNet, Penalty, fit
from torchlogreg.inputs import make_data
from torchlogreg.objective import Objective
from torchlogreg.optim import ProximalGradient, ProximalNewton, alpha_max
from torchlogreg.optim.duality import duality_gap

F64 = torch.float64
PENALTIES = [L1(0.05), L1(1e-3), ElasticNet(0.05, 0.5), ElasticNet(0.05, 0.0)]
BOTH = pytest.mark.parametrize("optimizer", [ProximalNewton, ProximalGradient])


def case_of(name: str, *, bias: bool, hostile: bool = True) -> tuple[Any, Any, Any, dict[str, Any]]:
    """A fresh model, rows, a soft target, and uneven weights and offsets."""
    case = problem(name, n=60, p=5)
    y = case.y if name == "linear" else 0.8 * case.y + 0.1
    more = {
        "sample_weight": torch.linspace(0, 3, 60, dtype=F64),
        "offset": torch.linspace(-1, 1, 60, dtype=F64),
    }
    model = FACTORIES[name](n_features=5, bias=bias, dtype=F64)
    return model, case.X + 0.5 * hostile, y, more if hostile else {}


@BOTH
@pytest.mark.parametrize("name", ["linear", "logistic"])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("penalty", PENALTIES, ids=str)
def test_it_bounds_what_is_left_and_vanishes(
    optimizer: Any, name: str, bias: bool, penalty: Penalty
) -> None:
    model, X, y, more = case_of(name, bias=bias)
    best = case_of(name, bias=bias)[0]
    least = fit(best, X, y, penalty=penalty, tol=1e-10, max_epochs=300, **more).objective
    objective = Objective(model, penalty=penalty)
    weights = {"sample_weight": None, "offset": None} | more
    data = make_data(model, X, y, own_target=True, **weights)
    instance = optimizer(objective.params)
    for _ in range(12):
        closure = objective.closure(data, data)
        assert duality_gap(closure) >= float(objective.value(data)) - least - 1e-14
        instance.step(closure)
        passes = objective.rows_read
        assert instance.gap == duality_gap(closure) and objective.rows_read == passes
    if optimizer is ProximalNewton:
        assert instance.gap <= 1e-13


@pytest.mark.parametrize("name", ["linear", "logistic"])
@pytest.mark.parametrize("frozen", [0.0, 0.7])
def test_a_frozen_intercept_is_an_offset(name: str, frozen: float) -> None:
    model, X, y, more = case_of(name, bias=True)
    model.bias.requires_grad_(False).fill_(frozen)
    result = fit(model, X, y, penalty=L1(0.02), optimizer=ProximalNewton, tol=1e-10, **more)
    assert result.converged
    data = make_data(model, X, y, own_target=True, **more)
    assert duality_gap(Objective(model, penalty=L1(0.02)).closure(data, data)) <= 1e-13


@pytest.mark.parametrize(
    "name, penalty, loss",
    [
        ("softmax", L1(0.1), None),
        ("ordinal_logit", L1(0.1), None),
        ("logistic", L2(0.1), None),
        ("logistic", None, None),
        ("linear", L1(0.1), lambda eta, y: (eta[:, 0] - y).abs()),
    ],
)
def test_without_a_known_dual_it_bounds_nothing(name: str, penalty: Any, loss: Any) -> None:
    case = problem(name)
    model = case.model()
    objective = Objective(model, loss, penalty)
    data = make_data(model, case.X, case.y, own_target=loss is None)
    assert duality_gap(objective.closure(data, data)) == float("inf")


@BOTH
@pytest.mark.parametrize("name", ["linear", "logistic"])
def test_a_loose_tolerance_is_met_by_the_gap(optimizer: Any, name: str) -> None:
    model, X, y, more = case_of(name, bias=True)
    best = case_of(name, bias=True)[0]
    settings = {"penalty": L1(0.05), "optimizer": optimizer, **more}
    least = fit(best, X, y, **(settings | {"tol": 1e-10, "max_epochs": 2000})).objective
    result = fit(model, X, y, tol=1e-3, **settings)
    assert result.converged and "duality gap" in result.message
    assert result.objective - least <= 1e-3 * least


@pytest.mark.parametrize("name", ["linear", "logistic"])
def test_from_alpha_max_on_zero_is_proved_at_once(name: str) -> None:
    model, X, y, more = case_of(name, bias=False)
    top = alpha_max(model, X, y, **more)
    result = fit(model, X, y, penalty=L1(1.0001 * top), optimizer=ProximalNewton, **more)
    assert result.converged and result.n_epochs == 1
    assert not model.weight.any()
