"""converged=True is never a lie: separated classes, classes without rows, units of the columns."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
import torch

from problems import MODELS, problem
from torchlogreg import (
    L1,
    L2,
    ConvergenceWarning,
    LinearRegression,
    LogisticRegression,
    Newton,
    OrdinalRegression,
    SoftmaxRegression,
    fit,
)
from torchlogreg.diagnostics.margins import class_margins
from torchlogreg.inputs import make_data
from torchlogreg.objective import Objective
from torchlogreg.optim.duality import duality_gap
from torchlogreg.state import FitState
from torchlogreg.weighting import ClassWeights, Focal

F64 = torch.float64
X = torch.arange(1.0, 7.0, dtype=F64)[:, None]

SEPARATED: dict[str, tuple[Any, list[int]]] = {
    "logistic": (LogisticRegression(1, dtype=F64), [0, 0, 0, 1, 1, 1]),
    "softmax": (SoftmaxRegression(1, 3, dtype=F64), [0, 0, 1, 1, 2, 2]),
    "reference": (SoftmaxRegression(1, 3, reference=True, dtype=F64), [0, 0, 1, 1, 2, 2]),
    "ordinal": (OrdinalRegression(1, 3, dtype=F64), [0, 0, 1, 1, 2, 2]),
    "probit": (OrdinalRegression(1, 3, link="probit", dtype=F64), [0, 0, 1, 1, 2, 2]),
}


@pytest.mark.parametrize("optimizer", ["newton", "lbfgs", "rprop", "adam"])
@pytest.mark.parametrize("name", SEPARATED)
def test_separated_classes_never_converge(name: str, optimizer: str) -> None:
    model, y = SEPARATED[name]
    torch.nn.utils.vector_to_parameters(
        0 * torch.nn.utils.parameters_to_vector(model.parameters()), model.parameters()
    )
    with pytest.warns(ConvergenceWarning, match="separated by column 0"):
        result = fit(model, X, y, optimizer=optimizer, max_epochs=3000, tol=1e-3)
    assert not result.converged and result.stop_reason == "separated"
    assert "no finite maximum" in result.message and "penalty" in result.message


def test_a_penalty_makes_separated_classes_converge() -> None:
    result = fit(LogisticRegression(1, dtype=F64), X, [0, 0, 0, 1, 1, 1], penalty=L2(0.01))
    assert result.converged


@pytest.mark.parametrize("y", [[0, 0, 0, 1, 0, 1, 1, 1], [0, 0, 0, 1, 1, 1, 1, 1]])
def test_quasi_separated_classes_do_not_converge(y: list[int]) -> None:
    # One value of x holds both classes; all others are certain. Newton's gradient falls by 1/e.
    column = torch.tensor([[1.0], [1], [2], [3], [3], [4], [5], [5]], dtype=F64)
    y[3], y[4] = 0, 1
    with pytest.warns(ConvergenceWarning, match="quasi-completely separated by column 0"):
        result = fit(LogisticRegression(1, dtype=F64), column, y)
    assert not result.converged and result.stop_reason == "separated"


def test_a_softmax_class_without_rows_does_not_converge() -> None:
    case = problem("logistic")
    model = SoftmaxRegression(3, 3, dtype=F64)
    with pytest.warns(ConvergenceWarning, match="class 2 has no rows"):
        result = fit(model, case.X, case.y.long())
    assert not result.converged


@pytest.mark.parametrize("name", MODELS)
def test_overlapping_classes_converge(name: str) -> None:
    case = problem(name)
    assert fit(case.model(), case.X, case.y).converged


def test_factors_that_remove_a_class_are_refused() -> None:
    with pytest.raises(ValueError, match="of class 0"):
        fit(LogisticRegression(1, dtype=F64), X, [0, 1, 0, 1, 0, 1], weighting=ClassWeights({1: 0}))


@pytest.mark.parametrize("unit", [1e-9, 1e-3, 1e6])
@pytest.mark.parametrize("name", ["linear", "logistic"])
def test_the_stop_does_not_depend_on_the_units_of_columns(name: str, unit: float) -> None:
    # With an absolute tolerance, columns of size 1e-9 "converged" at the starting point.
    case = problem(name)
    plain, scaled = case.model(), case.model()
    fit(plain, case.X, case.y)
    result = fit(scaled, case.X * unit, case.y)
    assert result.converged
    torch.testing.assert_close(scaled.weight * unit, plain.weight, rtol=1e-9, atol=0)


def test_the_stop_does_not_depend_on_the_unit_of_a_numeric_response() -> None:
    case = problem("linear")
    plain, scaled = case.model(), case.model()
    fit(plain, case.X, case.y, optimizer="momentum", tol=1e-9, max_epochs=999)
    result = fit(scaled, case.X, case.y * 1e-9, optimizer="momentum", tol=1e-9, max_epochs=999)
    assert result.converged
    torch.testing.assert_close(scaled.weight * 1e9, plain.weight, rtol=1e-6, atol=0)


@pytest.mark.parametrize("seed", range(4))
def test_focal_converges_with_the_optimizer_chosen_for_it(seed: int) -> None:
    # Newton ran away to |weight| = 121 with a penalty and 1.4e6 without.
    g = torch.Generator().manual_seed(seed)
    features = torch.randn(60, 3, generator=g, dtype=F64)
    y = (torch.rand(60, generator=g) < 0.5).double()
    model = LogisticRegression(3, dtype=F64)
    result = fit(model, features, y, weighting=Focal(), penalty=L2(0.01), max_epochs=500)
    assert result.converged and result.optimizer == "LBFGS"
    assert "sample weights follow the model" in result.message


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_fits_to_its_own_precision(dtype: torch.dtype) -> None:
    case = problem("logistic")
    half, full = LogisticRegression(3, dtype=dtype), case.model()
    fit(half, case.X, case.y)
    fit(full, case.X, case.y)
    torch.testing.assert_close(half.weight.double(), full.weight, rtol=0.05, atol=0.05)


def test_margins_are_positive_exactly_where_the_prediction_is_right() -> None:
    g = torch.Generator().manual_seed(0)
    for name in ("logistic", "softmax", "softmax_reference", "ordinal_logit"):
        case = problem(name)
        model = case.model()
        eta = torch.randn(60, model(case.X).shape[1], generator=g, dtype=F64)
        if name == "ordinal_logit":
            eta = eta.sort(dim=1).values
            continue  # the most probable level may differ from the level whose interval holds 0
        y = model.target(case.y)
        margins = class_margins(eta, y, model.n_classes)
        assert torch.equal(margins > 0, model.predict(eta) == y.long())


def test_linear_regression_always_has_an_optimum() -> None:
    y = X.squeeze(1) * 3 + 1
    assert fit(LinearRegression(1, dtype=F64), X, y).converged


def test_rounding_of_a_regression_is_excluded_without_a_look_at_its_rows(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    source = torch.Generator().manual_seed(0)
    X = torch.randn(4000, 3, generator=source, dtype=F64) + 5
    y = X.sum(1) + torch.randn(4000, generator=source, dtype=F64)
    monkeypatch.setattr(FitState, "rows", property(lambda state: pytest.fail("a pass more")))
    for tol in (1e-3, 1e-7):
        model = LinearRegression(3, dtype=F64)
        assert fit(model, X, y, optimizer="lbfgs", tol=tol, max_epochs=500).converged


@pytest.mark.parametrize("size", [1.0, 1e9])
def test_what_rounding_leaves_of_a_regression_is_an_optimum(size: float) -> None:
    """No tolerance can be met below it, and a response far from zero leaves more."""
    source = torch.Generator().manual_seed(0)
    X = torch.randn(200, 3, generator=source, dtype=F64)
    y = size + X.sum(1) + torch.randn(200, generator=source, dtype=F64)
    result = fit(LinearRegression(3, dtype=F64), X, y, optimizer="newton", tol=1e-300)
    assert result.converged


def test_slow_newton_near_an_optimum_is_not_called_diverging() -> None:
    # Heavy damping makes Newton linear, at the rate that separated classes have.
    case = problem("logistic")
    model = case.model()
    slow = Newton(model.parameters(), damping=0.5)
    result = fit(model, case.X, case.y, optimizer=slow)
    assert result.converged


@pytest.mark.parametrize("optimizer", ["newton", "subsampled_newton"])
@pytest.mark.parametrize("shape", [(500, 3), (2000, 5), (20000, 4)])
def test_one_huge_row_neither_diverges_nor_hides_the_optimum(
    optimizer: str, shape: tuple[int, int]
) -> None:
    """Its size is the unit of the gradient, which is small long before Newton arrives: a sixtieth
    of the objective above the optimum, where the row has a say, of which the others know nothing.
    """
    rng = np.random.default_rng(0)
    X = rng.normal(size=shape)
    y = (rng.random(len(X)) < 1 / (1 + np.exp(-X[:, 0]))).astype(float)
    X[7], y[7] = 1e8, 1.0
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        result = fit(LogisticRegression(shape[1], dtype=F64), X, y, optimizer=optimizer)
    others = np.arange(len(X)) != 7
    alone = fit(LogisticRegression(shape[1], dtype=F64), X[others], y[others], tol=1e-10)
    assert result.converged
    # The row is on its side at the optimum of the others, and costs nothing there.
    assert float(result.model(torch.from_numpy(X[7:8])).detach()) > 1e6
    assert result.objective * len(X) == pytest.approx(alone.objective * (len(X) - 1), rel=1e-9)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("alpha", [1e-5, 1e-7])
def test_a_weak_ridge_has_an_optimum_however_slowly_it_is_reached(seed: int, alpha: float) -> None:
    """Heavy tails, more columns than rows: three slow steps were taken for divergence."""
    rng = np.random.default_rng(seed)
    X, weights = rng.standard_t(2, (40, 90)), np.arange(40) % 4
    y = (rng.random(40) < 1 / (1 + np.exp(-X @ rng.normal(size=90) / 10))).astype(float)
    model = LogisticRegression(90, dtype=torch.float64)
    result = fit(model, X, y, optimizer="newton", penalty=L2(alpha), sample_weight=weights)
    assert result.converged


def test_no_small_gradient_hides_a_large_duality_gap() -> None:
    """With a penalty as weak as the tolerance the optimality holds where half the objective is
    still to be gained; the dual knows."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(40, 25))
    X = np.hstack((X, X * 1.5))
    y = X[:, :4] @ np.array([1.0, -2.0, 0.5, 3.0])
    model = LinearRegression(50, dtype=torch.float64)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        result = fit(model, X, y, penalty=L1(1e-6), optimizer="proximal_newton")
    objective = Objective(model, penalty=L1(1e-6))
    data = make_data(model, X, y)
    gap = duality_gap(objective.closure(data, data))
    assert not result.converged or gap <= 1e-3 * result.objective
