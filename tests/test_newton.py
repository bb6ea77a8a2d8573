"""Newton and its kin on hard problems: collinear, badly scaled, separable rows."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch

from problems import MODELS, params_of, problem
from torchlogreg import (
    L2,
    OPTIMIZERS,
    LinearRegression,
    LogisticRegression,
    fit,
)

F64 = torch.float64


@pytest.mark.parametrize("name", MODELS)
def test_newtons_optimum_solves_the_score_equations_of_autograd(name: str) -> None:
    case = problem(name)
    model = case.model()
    fit(model, case.X, case.y, penalty=L2(0.05), optimizer="newton", tol=1e-12)
    value = model.nll(model(case.X), model.target(case.y)).mean()
    value = value + 0.025 * model.weight.square().sum()
    gradients = torch.autograd.grad(value, list(model.parameters()))
    assert max(float(g.abs().max()) for g in gradients) < 1e-13


@pytest.mark.parametrize("name", MODELS)
def test_newton_never_raises_the_objective(name: str) -> None:
    case = problem(name)
    model = case.model()
    values = []
    for _ in range(8):
        values.append(fit(model, case.X, case.y, penalty=L2(0.05), max_epochs=1, tol=0).objective)
    assert all(b <= a + 1e-14 for a, b in pairwise(values))


def test_newton_on_collinear_columns_gives_the_minimum_norm_solution() -> None:
    case = problem("linear")
    X = torch.cat((case.X, case.X[:, :1] + case.X[:, 1:2], 3 * case.X[:, :1]), dim=1)
    model = LinearRegression(5, bias=False, dtype=F64)
    fit(model, X, case.y, optimizer="newton")
    expected = np.linalg.pinv(X.numpy()) @ case.y.numpy()
    np.testing.assert_allclose(model.weight.detach().numpy()[0], expected, atol=1e-10)


def test_newton_on_a_repeated_column_splits_its_weight_evenly() -> None:
    case = problem("logistic")
    model, plain = LogisticRegression(4, dtype=F64), case.model()
    fit(model, torch.cat((case.X, case.X[:, :1]), dim=1), case.y)
    fit(plain, case.X, case.y)
    torch.testing.assert_close(model.weight[0, 0], model.weight[0, 3], rtol=1e-9, atol=0)
    torch.testing.assert_close(
        model.weight[0, 0] + model.weight[0, 3], plain.weight[0, 0], rtol=1e-9, atol=0
    )


def test_newton_on_a_full_softmax_gives_rows_that_sum_to_zero() -> None:
    case = problem("softmax")
    model = case.model()
    assert fit(model, case.X, case.y, tol=1e-10).converged
    zeros = torch.zeros(1 + model.n_features, dtype=F64)
    total = torch.cat((model.weight.detach().sum(0), model.bias.detach().sum()[None]))
    torch.testing.assert_close(total, zeros, rtol=0, atol=1e-10)


def test_full_and_reference_softmax_agree_on_probabilities() -> None:
    case = problem("softmax")
    full, reference = case.model(), problem("softmax_reference").model()
    for model in (full, reference):
        fit(model, case.X, case.y, tol=1e-10)
    torch.testing.assert_close(
        full.mean(full(case.X)), reference.mean(reference(case.X)), rtol=0, atol=1e-9
    )


@pytest.mark.parametrize("name", MODELS)
def test_newton_does_not_depend_on_the_units_of_columns(name: str) -> None:
    case = problem(name)
    units = torch.tensor([1e-6, 1.0, 1e6], dtype=F64)
    model, scaled = case.model(), case.model()
    fit(model, case.X, case.y, optimizer="newton", tol=1e-9)
    fit(scaled, case.X * units, case.y, optimizer="newton", tol=0, max_epochs=30)
    # Means, since the eta of a full softmax may differ by a constant in each row.
    means = [m.mean(m(X)) for m, X in ((model, case.X), (scaled, case.X * units))]
    torch.testing.assert_close(*means, rtol=0, atol=1e-9)


# Those for linear regression, for softmax, under a ridge, and for sparse rows are left out.
ONLY = {"least_squares", "block_lbfgs", "kernel_newton", "coordinate_newton", "dual_coordinate"}


@pytest.mark.parametrize("optimizer", sorted(set(OPTIMIZERS) - ONLY))
@pytest.mark.parametrize("name", ["logistic", "softmax", "ordinal_logit"])
def test_separable_rows_leave_finite_parameters(name: str, optimizer: str) -> None:
    case = problem(name)
    X = torch.arange(8, dtype=F64)[:, None].expand(8, 3) - 3.5
    y = torch.div(torch.arange(8) * model_classes(name), 8, rounding_mode="floor")
    model = case.model()
    result = fit(model, X, y, optimizer=optimizer, max_epochs=60, tol=0)
    assert bool(torch.isfinite(params_of(model)).all())
    assert np.isfinite(result.objective)


def model_classes(name: str) -> int:
    """Number of classes of the problem's model."""
    return int(problem(name).model().n_classes or 0)


def test_newton_reaches_the_optimum_when_an_ordinal_level_is_empty() -> None:
    # The gap of an empty level shrinks for ever; its unbounded Newton step once made every line
    # search fail, and the other parameters stood still with a gradient of 0.28.
    case = problem("ordinal_logit")
    y = torch.where(case.y == 1, 2, case.y)
    model = case.model()
    result = fit(model, case.X, y, optimizer="newton", tol=1e-6)
    assert result.optimality < 1e-4


@pytest.mark.parametrize("shift", [1e3, 1e6, 1e8])
@pytest.mark.parametrize("name", [name for name in MODELS if name != "softmax"])
def test_columns_far_from_zero_cost_no_digits(name: str, shift: float) -> None:
    # A shift of 1e7 once left no correct digit: the Hessian of raw columns is singular to rounding.
    case = problem(name)
    centre = torch.tensor([shift, -shift, 0.0], dtype=F64)
    far = case.X + centre
    near, model = case.model(), case.model()
    fit(near, far - centre, case.y, optimizer="newton")  # exactly the same rows
    result = fit(model, far, case.y, optimizer="newton")
    assert result.converged
    torch.testing.assert_close(model.weight, near.weight, rtol=1e-12, atol=1e-13)


def test_a_step_that_fails_leaves_the_intercept_where_it_was() -> None:
    case = problem("logistic")
    model = case.model()

    def broken(eta: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("no loss today")

    with torch.no_grad():
        model.weight.fill_(1.0)
    with pytest.raises(RuntimeError, match="no loss today"):
        fit(model, case.X + 1e3, case.y, loss=broken, optimizer="newton")
    assert abs(model.bias.item()) < 1e-11


@pytest.mark.parametrize("frozen", ["weight", "bias"])
def test_far_columns_with_a_frozen_parameter_stay_where_they_are(frozen: str) -> None:
    case = problem("logistic")
    model = case.model()
    parameter = getattr(model, frozen).requires_grad_(False)
    before = parameter.clone()
    assert fit(model, case.X + 50.0, case.y, optimizer="newton").converged
    assert torch.equal(parameter, before)


def test_a_column_and_its_square_keep_their_digits() -> None:
    # Squares of years lie 20 spans from zero; not moved, as once, they left 10.7 digits.
    year = torch.arange(1950.0, 2000.0, dtype=F64)
    y = (year * 7) % 11 < 5 + (year - 1975) / 10
    model = LogisticRegression(2, dtype=F64)
    fit(model, torch.stack((year, year**2), dim=1), y)
    got = [*model.weight[0].tolist(), model.bias.item()]
    mpmath = [0.98506077802355924195, -0.00024039099210244753155, -1007.7545872025203927]
    assert got == pytest.approx(mpmath, rel=1e-12)
