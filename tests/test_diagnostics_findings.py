"""Every finding on a made data set: it comes, names the right column, and says what to do."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
import torch

from problems import MODELS, problem
from reference_data import LOADERS, load
from torchlogreg import (
    L1,
    L2,
    ConvergenceWarning,
    LinearRegression,
    LogisticRegression,
    Model,
    OrdinalRegression,
    SoftmaxRegression,
    fit,
)
from torchlogreg.diagnostics import Diagnosis, Finding, diagnose
from torchlogreg.objective import Objective

F64 = torch.float64


def frame(n: int = 200, seed: int = 0) -> tuple[pd.DataFrame, np.ndarray]:
    """Four named columns and overlapping binary labels."""
    generator = np.random.default_rng(seed)
    X = pd.DataFrame(generator.normal(size=(n, 4)), columns=["age", "income", "height", "score"])
    y = (X["age"] + generator.logistic(size=n) > 0).to_numpy().astype(int)
    return X, y


def logistic(p: int = 4, **settings: bool) -> LogisticRegression:
    return LogisticRegression(p, dtype=F64, **settings)


def only(found: Diagnosis, kind: str) -> Finding:
    """The one finding, which is of this kind."""
    assert [f.kind for f in found] == [kind], str(found)
    assert "\n" not in found[0].text
    return found[0]


def test_ordinary_data_give_an_empty_diagnosis():
    X, y = frame()
    found = diagnose(logistic(), X, y, learning_rate=0.5)
    assert not found and len(found) == 0 and str(found) == "nothing found" and found.line == ""


REFERENCES = {
    "spector": logistic(3),
    "shuttle": logistic(1),
    "mroz": logistic(7),
    "menarche": logistic(1),
    "default": logistic(3),
    "anes96": SoftmaxRegression(5, 7, reference=True, dtype=F64),
    "housing": OrdinalRegression(6, 3, dtype=F64),
    "ucla": OrdinalRegression(3, 3, dtype=F64),
    "norris": LinearRegression(1, dtype=F64),
    "noint1": LinearRegression(1, bias=False, dtype=F64),
    "noint2": LinearRegression(1, bias=False, dtype=F64),
}


@pytest.mark.parametrize("name", REFERENCES)
def test_textbook_sets_give_an_empty_diagnosis(name):
    assert name in LOADERS
    data, model = load(name), REFERENCES[name]
    assert str(diagnose(model, data.X, data.y, sample_weight=data.sample_weight)) == "nothing found"
    with torch.no_grad():
        for p in model.parameters():
            p.zero_()
    result = fit(model, data.X, data.y, sample_weight=data.sample_weight)
    assert result.converged and not result.diagnosis, str(result.diagnosis)


def test_raw_powers_converge_and_are_called_nearly_dependent():
    data = load("wampler1")
    result = fit(LinearRegression(data.X.shape[1], dtype=F64), data.X, data.y)
    assert result.converged
    found = only(result.diagnosis, "near_collinear")
    assert "condition number" in found.text and set(found.columns) <= set(range(5))


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("optimizer", ["newton", "lbfgs", "adam"])
def test_small_problems_of_every_model_give_an_empty_diagnosis(name, optimizer):
    case = problem(name)
    penalty = L2(0.05) if name == "softmax" else None
    model = case.model()
    result = fit(model, case.X, case.y, optimizer=optimizer, penalty=penalty, max_epochs=5000)
    assert result.converged and not result.diagnosis, str(result.diagnosis)


def test_a_constant_column_is_named():
    X, y = frame()
    X["income"] = 7.0
    found = only(diagnose(logistic(), X, y), "constant")
    assert found.columns == (1,) and "'income' is constant (7)" in found.text
    assert "column 1 is constant" in str(diagnose(logistic(), X.to_numpy(), y))
    assert not diagnose(logistic(bias=False), X, y)  # there it is an intercept


def test_a_column_of_zeros_is_named_without_an_intercept():
    X, y = frame()
    X["score"] = 0.0
    found = only(diagnose(logistic(bias=False), X, y), "constant")
    assert found.columns == (3,) and "'score' is zero in every row" in found.text


def test_a_column_that_varies_only_without_weight_is_constant():
    X, y = frame()
    X["score"] = 0.0
    X.loc[3, "score"] = 5.0
    weights = np.ones(200)
    weights[3] = 0
    found = only(diagnose(logistic(), X, y, sample_weight=weights), "constant")
    assert found.columns == (3,)


DEPENDENT = {
    "twice": (lambda X: 2 * X["income"], (1, 3), False),
    "sum": (lambda X: X["age"] - 3 * X["height"], (0, 2, 3), False),
    "shifted": (lambda X: 1000 - X["age"], (0, 3), True),
    "percent": (lambda X: 1e-6 * (X["age"] + X["income"] + X["height"]) + 1, (0, 1, 2, 3), True),
}


@pytest.mark.parametrize("case", DEPENDENT)
@pytest.mark.parametrize("bias", [True, False])
def test_dependent_columns_are_named_and_no_others(case, bias):
    make, columns, with_intercept = DEPENDENT[case]
    X, y = frame()
    X["score"] = make(X)
    found = diagnose(logistic(bias=bias), X, y)
    if with_intercept and not bias:
        assert not found
        return
    line = only(found, "collinear")
    assert line.columns == columns
    assert ("and the intercept" in line.text) == with_intercept
    assert all(repr(X.columns[j]) in line.text for j in columns)


def test_a_full_set_of_dummies_is_found_with_the_intercept():
    X, y = frame()
    group = np.arange(200) % 3
    X["a"], X["b"], X["c"] = (group == 0).astype(float), group == 1, group == 2
    X = X.astype(float)
    found = only(diagnose(logistic(7), X, y), "collinear")
    assert found.columns == (4, 5, 6)
    assert "'a', 'b', 'c' and the intercept are linearly dependent" in found.text
    assert not diagnose(logistic(7, bias=False), X, y)
    assert not diagnose(logistic(7), X, y, penalty=L2(0.1))  # the penalty chooses
    assert diagnose(logistic(7), X, y, penalty=L1(0.1)).of("collinear")  # and L1 need not


@pytest.mark.parametrize("unit", [1e-4, 1.0, 1e4])
def test_dependence_does_not_depend_on_units_rows_or_shifts(unit):
    X, y = frame()
    X["score"] = X["age"] + X["income"]
    X["score"] *= unit
    X["age"] += 100
    order = np.random.default_rng(0).permutation(200)
    found = diagnose(logistic(), X.iloc[order], y[order])
    assert only(found, "collinear").columns == (0, 1, 3)


def test_several_dependences_are_told_apart():
    X, y = frame()
    X["copy"], X["sum"] = X["score"], X["age"] + X["height"]
    found = diagnose(logistic(6), X, y)
    assert [f.columns for f in found] == [(3, 4), (0, 2, 5)]


def test_fewer_rows_than_columns_say_so():
    generator = np.random.default_rng(0)
    X, y = generator.normal(size=(8, 20)), np.arange(8.0)
    found = only(diagnose(LinearRegression(20, dtype=F64), X, y), "collinear")
    assert "8 rows cannot determine 20 columns: 13 of them" in found.text
    assert found.columns == tuple(range(7, 20))


def test_nearly_dependent_columns_are_named_with_figures():
    X, y = frame()
    noise = np.random.default_rng(1).normal(size=200)
    X["height"] = X["age"] + 2 * X["income"] + 1e-4 * noise
    found = only(diagnose(logistic(), X, y), "near_collinear")
    assert found.columns == (0, 1, 2)
    assert "variance inflation" in found.text and "condition number" in found.text
    X["height"] = X["age"] + 2 * X["income"] + 0.3 * noise
    assert not diagnose(logistic(), X, y)


def test_a_rare_dummy_is_no_fault_among_many_rows():
    # The sample of rows that proves columns sound need not contain it.
    X, y = frame(20000)
    X["score"] = 0.0
    X.loc[[5, 999, 17000, 19999], "score"] = 1.0
    y[[5, 999]], y[[17000, 19999]] = 0, 1
    result = fit(logistic(), X, y)
    assert result.converged and not result.diagnosis


@pytest.mark.parametrize("dtype", [torch.float32, F64])
def test_scales_a_million_apart_name_both_columns(dtype):
    X, y = frame()
    X["income"] *= 3e7
    found = only(diagnose(LogisticRegression(4, dtype=dtype), X, y), "scale")
    assert set(found.columns) <= {0, 1, 2, 3} and found.columns[0] == 1
    assert "'income' (size" in found.text and "standardise" in found.text
    X["income"] /= 300
    assert not diagnose(LogisticRegression(4, dtype=dtype), X, y)


def test_a_column_of_zeros_has_no_scale():
    X, y = frame()
    X *= 1e-8
    X["income"] = 0.0
    assert only(diagnose(logistic(), X, y), "constant").columns == (1,)


def test_an_absent_class_is_named():
    X, _ = frame()
    y = np.arange(200) % 2
    found = only(diagnose(SoftmaxRegression(4, 3, dtype=F64), X, y), "absent_class")
    assert "class 2 has no rows" in found.text and found.severity == "error"
    found = only(diagnose(SoftmaxRegression(4, 3, dtype=F64), X, y, penalty=L2(1)), "absent_class")
    assert found.severity == "error"  # nothing penalises the intercept
    no_bias = SoftmaxRegression(4, 3, bias=False, dtype=F64)
    assert only(diagnose(no_bias, X, y), "absent_class").severity == "warning"


def test_a_class_whose_rows_have_no_weight_is_absent():
    X, _ = frame()
    y = np.arange(200) % 3
    found = diagnose(SoftmaxRegression(4, 3, dtype=F64), X, y, sample_weight=(y != 1) * 1.0)
    assert "class 1 has no rows with weight" in only(found, "absent_class").text


def test_an_inner_ordinal_level_may_be_absent():
    X, y = frame()
    model = OrdinalRegression(4, 3, dtype=F64)
    assert only(diagnose(model, X, 2 * y), "absent_class").severity == "warning"
    assert only(diagnose(model, X, y), "absent_class").severity == "error"


def test_a_row_with_most_of_the_weight_is_named():
    X, y = frame()
    weights = np.ones(200)
    weights[17] = 1800
    found = only(diagnose(logistic(), X, y, sample_weight=weights), "dominant_row")
    assert "row 17 has 90.0% of the sample weight" in found.text
    weights[17] = 100
    assert not diagnose(logistic(), X, y, sample_weight=weights)


def test_separation_is_named_unless_a_penalty_rules_it_out():
    X, y = frame()
    X["height"] = (np.arange(200) < 7).astype(float)
    y[:7] = 1
    found = only(diagnose(logistic(), X, y), "separation")
    assert found.columns == (2,) and found.severity == "error"
    assert "quasi-completely separated by 'height': 7 of 200 rows" in found.text
    assert not diagnose(logistic(), X, y, penalty=L2(0.1))
    renamed = diagnose(logistic(), X, y, feature_names=["a", "b", "rare", "d"])
    assert "separated by 'rare'" in str(renamed)


def test_a_wrong_number_of_names_is_refused():
    X, y = frame()
    with pytest.raises(ValueError, match="one name for each of the 4 columns"):
        diagnose(logistic(), X, y, feature_names=["a", "b", "c"])


def curvature(model: Model, X: pd.DataFrame, y: np.ndarray) -> float:
    """Largest eigenvalue of the Hessian where the model is."""
    from torchlogreg.inputs import make_data

    data = make_data(model, X, y)
    hessian = Objective(model).closure(data, data).hessian()
    return float(torch.linalg.eigvalsh(hessian)[-1])


@pytest.mark.parametrize("factor", [0.5, 0.99, 1.05, 50.0])
def test_a_learning_rate_is_held_against_two_by_the_largest_curvature(factor):
    X, y = frame()
    X["income"] *= 40
    limit = 2 / curvature(logistic(), X, y)
    found = diagnose(logistic(), X, y, learning_rate=factor * limit)
    if factor < 1:
        assert not found
        return
    line = only(found, "learning_rate")
    assert line.columns == (1,) and f"steps above {limit:.3g}" in line.text
    assert "'income'" in line.text


def test_gradient_descent_is_stable_below_that_rate_and_not_above():
    X, y = frame()
    target = X["age"].to_numpy() + y
    limit = 2 / curvature(LinearRegression(4, dtype=F64), X, target)
    ends = {}
    for factor in (0.97, 1.03):
        model = LinearRegression(4, dtype=F64)
        sgd = torch.optim.SGD(model.parameters(), lr=factor * limit)
        ends[factor] = fit(model, X, target, optimizer=sgd, max_epochs=600, tol=0).objective
    assert ends[0.97] < 1 and ends[1.03] > 1e6


@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("nesterov", [False, True])
def test_the_factor_of_momentum_is_where_a_quadratic_turns_unstable(momentum, nesterov):
    from torchlogreg.diagnostics.ending import momentum_factor

    factor = momentum_factor(momentum, nesterov=nesterov)
    for share, stable in ((0.98, True), (1.02, False)):
        w = torch.ones(1, dtype=F64, requires_grad=True)
        sgd = torch.optim.SGD(
            [w], lr=share * factor, momentum=momentum, nesterov=nesterov and momentum > 0
        )
        if nesterov and momentum == 0:
            continue  # torch refuses it
        for _ in range(2000):
            w.grad = w.detach().clone()  # curvature one
            sgd.step()
        assert (abs(w.item()) < 1) is stable


def test_power_iteration_and_eigenvalues_agree(monkeypatch):
    from torchlogreg.diagnostics import ending
    from torchlogreg.inputs import make_data

    X, y = frame()
    X["income"] *= 3
    model = logistic()
    data = make_data(model, X, y)
    closure = Objective(model).closure(data, data)
    exact, vector = ending.largest_curvature(closure)
    monkeypatch.setattr(ending, "_SMALL", 0)
    iterated, along = ending.largest_curvature(closure)
    assert math.isclose(exact, iterated, rel_tol=2e-3)
    assert abs(float(vector @ along)) > 0.999


def test_a_run_that_flew_off_names_its_learning_rate():
    X, _ = frame()
    target = X["age"].to_numpy() * 3
    X["income"] *= 100
    model = LinearRegression(4, dtype=F64)
    sgd = torch.optim.SGD(model.parameters(), lr=0.1)
    with pytest.warns(ConvergenceWarning, match="learning rate 0.1 of SGD is too large"):
        result = fit(model, X, target, optimizer=sgd, max_epochs=2000)
    line = result.diagnosis.of("learning_rate")[0]
    assert line.columns == (1,) and "'income'" in line.text
    assert not torch.isfinite(model.weight).all()


def test_a_run_that_oscillates_names_its_learning_rate():
    X, y = frame()
    model = logistic()
    sgd = torch.optim.SGD(model.parameters(), lr=30.0)
    with pytest.warns(ConvergenceWarning, match="learning rate 30 of SGD is too large"):
        result = fit(model, X, y, optimizer=sgd, max_epochs=300)
    assert result.diagnosis.of("not_converged")


def test_a_slow_run_does_not_blame_its_learning_rate():
    X, y = frame()
    with pytest.warns(ConvergenceWarning, match="standard errors from the optimum"):
        result = fit(logistic(), X, y, optimizer="sgd", max_epochs=20)
    line = only(result.diagnosis, "not_converged")
    assert "raise max_epochs above 20, or use optimizer='newton'" in line.text


def test_a_run_of_adam_that_flew_off_is_not_finite():
    X, _ = frame()
    target = X["age"].to_numpy()
    model = LinearRegression(4, dtype=F64)
    with torch.no_grad():
        model.weight.fill_(math.nan)
    with pytest.warns(ConvergenceWarning, match="a parameter is not finite"):
        result = fit(model, X, target, optimizer="adam", max_epochs=3)
    assert only(result.diagnosis, "not_finite").severity == "error"
