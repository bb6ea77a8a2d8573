"""SVRG and SAGA: mini-batches that arrive at the optimum, not near it."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from problems import params_of, problem
from torchlogreg import (
    L1,
    L2,
    SAGA,
    SVRG,
    ElasticNet,
    Focal,
    Jeffreys,
    LinearRegression,
    Penalty,
    Smoothed,
    fit,
)
from torchlogreg.data import Batch, minibatches
from torchlogreg.objective import Objective

F64 = torch.float64
BOTH = pytest.mark.parametrize("optimizer", [SVRG, SAGA])
PENALTIES = [L1(0.05), ElasticNet(0.02, 0.5), L2(0.05)]


def run(name: str, optimizer: Any, penalty: Penalty, batch_size: int | None, **more: Any) -> Any:
    case = problem(name, n=more.pop("n", 60), p=4)
    model = case.model()
    settings = {"max_epochs": 200, "tol": 1e-8, "generator": torch.Generator().manual_seed(0)}
    result = fit(
        model,
        case.X,
        case.y,
        optimizer=optimizer,
        penalty=penalty,
        batch_size=batch_size,
        **(settings | more),
    )
    return model, result


@BOTH
@pytest.mark.parametrize("name", ["linear", "logistic", "softmax_reference", "ordinal_logit"])
@pytest.mark.parametrize("penalty", PENALTIES, ids=str)
def test_minibatches_reach_the_optimum_and_its_zeros(
    optimizer: Any, name: str, penalty: Penalty
) -> None:
    model, result = run(name, optimizer, penalty, 16)
    best, exact = run(name, "proximal_newton", penalty, None, tol=1e-10)
    assert result.converged, result.message
    assert (result.objective - exact.objective) / exact.objective <= 1e-10
    assert torch.equal(model.weight == 0, best.weight == 0)


@BOTH
@pytest.mark.parametrize("batch_size", [1, 7, 60, 500, None])
def test_any_batch_size_arrives(optimizer: Any, batch_size: int | None) -> None:
    model, result = run("logistic", optimizer, L1(0.05), batch_size)
    best, _ = run("logistic", "proximal_newton", L1(0.05), None)
    assert result.converged
    torch.testing.assert_close(params_of(model), params_of(best), rtol=0, atol=1e-6)


@BOTH
@pytest.mark.parametrize("weighting", [None, Smoothed(Focal(1.0))], ids=["plain", "focal"])
def test_weights_and_offsets_are_followed(optimizer: Any, weighting: Any) -> None:
    more = {
        "sample_weight": torch.linspace(0, 3, 60, dtype=F64),
        "offset": torch.linspace(-1, 1, 60, dtype=F64),
        "weighting": weighting,
    }
    model, result = run("logistic", optimizer, L1(0.02), 16, **more)
    best, _ = run("logistic", "proximal_gradient", L1(0.02), None, **(more | {"max_epochs": 2000}))
    assert result.converged, result.message
    torch.testing.assert_close(params_of(model), params_of(best), rtol=0, atol=1e-5)


@BOTH
def test_the_estimate_is_unbiased_and_without_noise_at_the_optimum(optimizer: Any) -> None:
    best, _ = run("logistic", "proximal_newton", L2(0.05), None, tol=1e-12)
    case = problem("logistic", n=60, p=4)
    objective = Objective(best, penalty=L2(0.05))
    data = Batch(case.X, case.y.to(F64), torch.ones(60, dtype=F64))
    instance = optimizer(objective.params, lr=1e-3)
    before = params_of(best)
    for batch in minibatches(data, 10, torch.Generator().manual_seed(1)):
        instance.step(objective.closure(batch, data))
    torch.testing.assert_close(params_of(best), before, rtol=0, atol=1e-12)


@BOTH
def test_the_same_generator_gives_the_same_fit(optimizer: Any) -> None:
    first, again = (run("softmax", optimizer, L1(0.05), 16, max_epochs=3, tol=0)[0] for _ in "12")
    assert torch.equal(params_of(first), params_of(again))


@BOTH
@pytest.mark.parametrize("unit", [1e-4, 1e4])
def test_the_step_size_follows_the_units_of_the_data(optimizer: Any, unit: float) -> None:
    case = problem("linear", n=60, p=4)
    model = LinearRegression(4, bias=False, dtype=F64)
    settings = {"penalty": L1(0.1 * unit), "batch_size": 16, "tol": 1e-8, "max_epochs": 200}
    generator = torch.Generator().manual_seed(0)
    result = fit(model, unit * case.X, case.y, optimizer=optimizer, generator=generator, **settings)
    assert result.converged, result.message


@BOTH
def test_an_instance_can_go_on_to_other_rows(optimizer: Any) -> None:
    first, other = problem("logistic", n=60, p=4), problem("logistic", n=90, p=4, seed=1)
    model = first.model()
    instance = optimizer(model.parameters())
    settings = {"penalty": L1(0.05), "max_epochs": 200, "tol": 1e-8, "batch_size": 9}
    for case in (first, other):
        generator = torch.Generator().manual_seed(0)
        result = fit(model, case.X, case.y, optimizer=instance, generator=generator, **settings)
        assert result.converged


@BOTH
@pytest.mark.parametrize("lr", [0.0, -1.0, float("nan")])
def test_a_step_size_that_is_not_positive_is_refused(optimizer: Any, lr: float) -> None:
    with pytest.raises(ValueError, match="lr > 0"):
        optimizer(problem("logistic").model().parameters(), lr=lr)


@BOTH
def test_a_foreign_closure_is_refused(optimizer: Any) -> None:
    with pytest.raises(TypeError, match=r"objective\.closure"):
        optimizer(problem("logistic").model().parameters()).step(lambda: torch.zeros(()))


def test_saga_refuses_a_penalty_that_depends_on_all_rows() -> None:
    with pytest.raises(ValueError, match=r"Jeffreys depends on all rows.*'newton'"):
        run("logistic", SAGA, Jeffreys(), None)


def test_minibatches_say_which_rows_they_are() -> None:
    case = problem("linear", n=20)
    data = Batch(case.X, case.y, torch.ones(20, dtype=F64))
    batches = list(minibatches(data, 6, torch.Generator().manual_seed(0)))
    assert all(torch.equal(b.X, data.X[b.index]) for b in batches)
    assert torch.cat([b.index for b in batches]).sort().values.tolist() == list(range(20))
    assert data.index is None and next(data.blocks()).index is None
