"""What infer() refuses, in one line that names what is wrong; and what it lets pass."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from problems import MODELS, problem
from torchlogreg import (
    L1,
    L2,
    ElasticNet,
    InferenceResult,
    LinearRegression,
    LogisticRegression,
    Model,
    OrdinalRegression,
    SoftmaxRegression,
    fit,
    infer,
)

F64 = torch.float64
CASE = problem("logistic")


def trained(name: str = "logistic") -> Model:
    case = problem(name)
    model = case.model()
    fit(model, case.X, case.y, tol=1e-10)
    return model


def refused(error: type[Exception], *words: str, **arguments: Any) -> None:
    """infer() on the logistic problem raises one line that has all the words."""
    inputs = {"model": trained(), "X": CASE.X, "y": CASE.y} | arguments
    with pytest.raises(error) as raised:
        infer(**inputs)
    text = str(raised.value)
    assert "\n" not in text
    for word in words:
        assert word in text


ONES = torch.ones(CASE.n)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"covariance": "HC4"}, ["HC4", "classical, HC0, HC1, HC2, HC3, cluster"]),
        ({"covariance": "cluster"}, ["clusters="]),
        ({"clusters": range(60)}, ["covariance='cluster'"]),
        ({"sample_weight": ONES}, ["weight_kind", "'frequency'", "'importance'"]),
        ({"sample_weight": ONES, "weight_kind": "analytic"}, ["analytic"]),
        ({"sample_weight": -ONES, "weight_kind": "frequency"}, ["row 0"]),
        ({"sample_weight": ONES[:5], "weight_kind": "frequency"}, ["(5,)", "60"]),
        ({"sample_weight": 0 * ONES, "weight_kind": "importance"}, ["zero"]),
        ({"X": CASE.X[:, :2]}, ["2 columns", "3"]),
        ({"y": CASE.y[:9]}, ["60", "9"]),
        ({"feature_names": ["a", "b"]}, ["one name for each of the 3 columns"]),
        ({"feature_names": ["a", "b", "b"]}, ["'b'", "more than once"]),
        ({"class_names": ["no"]}, ["2 classes"]),
        ({"offset": ONES[:4]}, ["offset"]),
        ({"penalty": L2(0.1)}, ["L2(alpha=0.1)", "allow_penalty=True"]),
        ({"penalty": L1(0.1), "allow_penalty": True}, ["L1(alpha=0.1)", "kink"]),
        ({"penalty": ElasticNet(0.1), "allow_penalty": True}, ["kink"]),
        ({"covariance": "cluster", "clusters": [1] * 60}, ["at least two"]),
        ({"covariance": "cluster", "clusters": [1, 2]}, ["60 rows"]),
        ({"covariance": "cluster", "clusters": ["a", None] * 30}, ["row 1"]),
        ({"covariance": "cluster", "clusters": 3}, ["clusters is a int", "one label"]),
        (
            {"covariance": "cluster", "clusters": dict.fromkeys(range(60), 1)},
            ["clusters is a dict"],
        ),
        ({"feature_names": 3}, ["feature_names is 3"]),
        # Frequencies of 0.2 observations had Df residuals of -3.8, and a BIC below the AIC.
        (
            {"sample_weight": 1e-3 * ONES, "weight_kind": "frequency"},
            ["0.06 observations, fewer than the 4 parameters", "'importance'"],
        ),
        ({"covariance": "cluster", "clusters": [1.0] * 59 + [float("nan")]}, ["row 59"]),
    ],
)
def test_arguments_that_cannot_be(arguments: dict[str, Any], words: list[str]) -> None:
    refused(ValueError, *words, **arguments)


def test_what_is_no_model_or_penalty() -> None:
    refused(TypeError, "Linear", model=torch.nn.Linear(3, 1))
    refused(TypeError, "Penalty", penalty="l2")


@pytest.mark.parametrize("name", MODELS)
def test_parameters_away_from_the_maximum(name: str) -> None:
    case, model = problem(name), trained(name)
    promise = infer(model, case.X, case.y)
    error = float(promise.covariance[0, 0].sqrt())
    with torch.no_grad():
        model.weight[-1, 0] += 2.0 * error
    with pytest.raises(ValueError, match=r"standard errors from the maximum.*fit to convergence"):
        infer(model, case.X, case.y)


@pytest.mark.parametrize(("value", "words"), [(float("nan"), "NaN"), (1e5, "so far from")])
def test_parameters_that_are_no_numbers_or_absurd(value: float, words: str) -> None:
    model = trained()
    with torch.no_grad():
        model.weight.fill_(value)
    refused(ValueError, words, "fit", model=model)


def test_the_distance_does_not_depend_on_units() -> None:
    X = CASE.X * torch.tensor([1e-8, 1e8, 1.0]).double()
    model = LogisticRegression(3, dtype=F64)
    fit(model, CASE.X, CASE.y, tol=1e-10)
    with torch.no_grad():
        model.weight[0] += torch.tensor([0.001, 0, 0]).double()
    near = infer(model, CASE.X, CASE.y).distance
    with torch.no_grad():
        model.weight[0] /= torch.tensor([1e-8, 1e8, 1.0]).double()
    assert infer(model, X, CASE.y).distance == pytest.approx(near, rel=1e-6)
    assert 1e-4 < near < 0.01


def test_other_weights_than_those_of_the_fit_are_noticed() -> None:
    weights = torch.from_numpy(np.random.default_rng(0).exponential(size=CASE.n))
    refused(
        ValueError, "standard errors from the maximum", "sample_weight",
        sample_weight=weights, weight_kind="importance",
    )  # fmt: skip


def separated(kind: str) -> tuple[Model, torch.Tensor, torch.Tensor, str]:
    """A model fitted to separated rows, the rows, and the column that separates them."""
    rng = np.random.default_rng(5)
    X = torch.from_numpy(rng.normal(size=(80, 3)))
    if kind == "quasi":
        X[:, 1] = (X[:, 1] > 0.8).double()
        y = torch.where(X[:, 1] == 1, 1.0, torch.from_numpy(rng.integers(0, 2, 80)).double())
        return LogisticRegression(3, dtype=F64), X, y, "'x2'"
    if kind == "complete":
        return LogisticRegression(3, dtype=F64), X, (X[:, 2] > 0).double(), "'x3'"
    if kind == "softmax":
        y = torch.from_numpy(rng.integers(0, 2, 80))
        y[X[:, 0] > 0.9] = 2
        return SoftmaxRegression(3, 3, reference=True, dtype=F64), X, y, "'x1'"
    levels = (X[:, 1] > -0.3).long() + (X[:, 1] > 0.6).long()
    return OrdinalRegression(3, 3, dtype=F64), X, levels, "'x2'"


@pytest.mark.parametrize("epochs", [10, 25, 60])
@pytest.mark.parametrize("kind", ["quasi", "complete", "softmax", "ordinal"])
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_separation_names_its_column_however_long_the_fit(kind: str, epochs: int) -> None:
    model, X, y, column = separated(kind)
    fit(model, X, y, optimizer="newton", max_epochs=epochs, tol=0)
    with pytest.raises(ValueError, match="separated") as raised:
        infer(model, X, y)
    assert column in str(raised.value)


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("name", MODELS)
def test_dependent_columns_are_named_and_no_others(name: str) -> None:
    case = problem(name)
    X = torch.cat((case.X, 2 * case.X[:, :1] - case.X[:, 1:2] + 1e3), dim=1)
    kinds = case.model()
    arguments: dict[str, Any] = {"dtype": F64}
    if kinds.n_classes is not None and name != "logistic":
        arguments["n_classes"] = kinds.n_classes
    if isinstance(kinds, SoftmaxRegression):
        arguments["reference"] = kinds.reference
    if isinstance(kinds, OrdinalRegression):
        arguments["link"] = kinds.link
    model = type(kinds)(4, **arguments)
    fit(model, X, case.y, tol=1e-9)
    with pytest.raises(ValueError, match="not estimable") as raised:
        infer(model, X, case.y, feature_names=["red", "green", "blue", "sum"])
    text = str(raised.value)
    assert "red" in text and "green" in text and "sum" in text and "blue" not in text


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_constant_column_depends_on_the_intercept() -> None:
    X = torch.cat((CASE.X, torch.full((CASE.n, 1), 0.1).double()), dim=1)
    model = LogisticRegression(4, dtype=F64)
    fit(model, X, CASE.y)
    with pytest.raises(ValueError, match=r"^x4, const are not estimable"):
        infer(model, X, CASE.y)


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_class_without_rows_is_named() -> None:
    X, y = CASE.X, 2 * CASE.y.long()
    model = SoftmaxRegression(3, 3, reference=True, dtype=F64)
    fit(model, X, y)
    with pytest.raises(ValueError, match="class 1 has no rows"):
        infer(model, X, y)


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_more_parameters_than_rows_are_refused_in_words() -> None:
    model = LogisticRegression(3, dtype=F64)
    y = torch.tensor([0, 1, 1]).double()
    fit(model, CASE.X[:3], y)
    with pytest.raises(ValueError, match="separated"):
        infer(model, CASE.X[:3], y)


def test_a_constant_response_has_no_r_squared() -> None:
    model = LinearRegression(3, dtype=F64)
    fit(model, CASE.X, torch.ones(CASE.n))
    result = infer(model, CASE.X, torch.ones(CASE.n))
    assert np.isnan(result.rsquared) and "nan" in result.summary()


def test_as_many_parameters_as_rows_leave_no_variance() -> None:
    X, y = CASE.X[:4], CASE.X[:4, 0] ** 2
    model = LinearRegression(3, dtype=F64)
    fit(model, X, y)
    with pytest.raises(ValueError, match="degrees of freedom"):
        infer(model, X, y)


def test_a_row_with_leverage_one_is_named() -> None:
    X = torch.cat((CASE.X, torch.zeros(CASE.n, 1).double()), dim=1)
    X[7, 3] = 1.0
    model = LinearRegression(4, dtype=F64)
    fit(model, X, CASE.X[:, 0] ** 2)
    for kind in ("HC2", "HC3"):
        with pytest.raises(ValueError, match="row 7 has leverage 1"):
            infer(model, X, CASE.X[:, 0] ** 2, covariance=kind)
    assert np.isfinite(infer(model, X, CASE.X[:, 0] ** 2, covariance="HC1").bse).all()


def test_a_frozen_parameter_has_no_error() -> None:
    refused(ValueError, "frozen", model=trained().requires_grad_(False))


QUESTIONS: list[tuple[str, Callable[[InferenceResult], Any], type[Exception], str]] = [
    ("linear", lambda r: r.odds_ratios(), ValueError, "units of the response"),
    ("ordinal_probit", lambda r: r.odds_ratios(), ValueError, "probit"),
    ("ordinal_cloglog", lambda r: r.odds_ratios(), ValueError, "hazard ratio"),
    ("logistic", lambda r: r.thresholds(), ValueError, "ordinal"),
    ("logistic", lambda r: r.rsquared, AttributeError, "prsquared"),
    ("logistic", lambda r: r.fvalue, AttributeError, "llr"),
    ("linear", lambda r: r.prsquared, AttributeError, "rsquared"),
    ("logistic", lambda r: r.conf_int(95), ValueError, "95"),
    ("logistic", lambda r: r.wald_test({"x9": 1}), ValueError, "x9"),
    ("logistic", lambda r: r.wald_test("x1 = 0"), ValueError, "mapping"),
    ("logistic", lambda r: r.wald_test([[1, 2]]), ValueError, "(1, 2)"),
    ("logistic", lambda r: r.wald_test([]), ValueError, "restrictions"),
    ("logistic", lambda r: r.wald_test([{"x1": 1}, {"x1": 2}]), ValueError, "dependent"),
    ("logistic", lambda r: r.wald_test({"x1": 0}), ValueError, "zero"),
    ("logistic", lambda r: r.wald_test({"x1": float("nan")}), ValueError, "finite"),
    ("logistic", lambda r: r.wald_test({"x1": 1}, [1, 2]), ValueError, "values"),
]


@pytest.mark.parametrize(("name", "question", "error", "word"), QUESTIONS)
def test_questions_without_meaning(
    name: str, question: Callable[[InferenceResult], Any], error: type[Exception], word: str
) -> None:
    case = problem(name)
    result = infer(trained(name), case.X, case.y)
    with pytest.raises(error) as raised:
        question(result)
    assert word in str(raised.value) and "\n" not in str(raised.value)
