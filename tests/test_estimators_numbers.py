"""Estimators: digits of the reference, the answers of scikit-learn, and a place in its tools."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import sklearn
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import TransformedTargetRegressor
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris
from sklearn.ensemble import BaggingClassifier
from sklearn.feature_selection import RFE
from sklearn.linear_model import ElasticNet as SklearnElasticNet
from sklearn.linear_model import Lasso, Ridge
from sklearn.linear_model import LinearRegression as SklearnLinear
from sklearn.linear_model import LogisticRegression as SklearnLogistic
from sklearn.model_selection import (
    GridSearchCV,
    TunedThresholdClassifierCV,
    cross_val_predict,
    cross_validate,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PolynomialFeatures, StandardScaler
from test_reference import LOGITS, ORDINALS

from reference_data import load
from reference_values import NIST, TRUTH
from torchlogreg import L1, L2, ElasticNet, Penalty
from torchlogreg.estimators import LinearRegressor, LogisticClassifier, OrdinalClassifier


def digits(got: Any, want: tuple[float, ...]) -> float:
    """Correct digits of the worst coefficient."""
    wanted = np.array(want)
    worst = float(np.max(np.abs((np.asarray(got) - wanted) / wanted)))
    return 15.0 if worst < 1e-15 else -math.log10(worst)


def fitted_reference(name: str) -> tuple[Any, Any]:
    """The estimator of a reference set, and its coefficients in the order of the table."""
    data = load(name)
    weight = None if data.sample_weight is None else data.sample_weight.numpy()
    X, y = data.X.numpy(), data.y.numpy()
    if name in LOGITS:
        logit = LogisticClassifier().fit(X, y, weight)
        return logit, np.append(logit.intercept_, logit.coef_[0])
    if name in ORDINALS:
        ordinal = OrdinalClassifier().fit(X, y, weight)
        return ordinal, np.append(ordinal.coef_, ordinal.cutpoints_)
    softmax = LogisticClassifier(reference=True).fit(X, y, weight)
    return softmax, np.column_stack((softmax.coef_, softmax.intercept_)).ravel()


@pytest.mark.parametrize("name", TRUTH)
def test_reference_digits_come_through(name: str) -> None:
    _, got = fitted_reference(name)
    assert digits(got, TRUTH[name].coefficients) >= (10 if name in ORDINALS else 12)


@pytest.mark.parametrize("name", NIST)
def test_nist_digits_come_through(name: str) -> None:
    data = load(name)
    bias = not name.startswith("noint")
    regressor = LinearRegressor(fit_intercept=bias).fit(data.X.numpy(), data.y.numpy())
    got = np.append(regressor.intercept_, regressor.coef_) if bias else regressor.coef_
    assert digits(got, NIST[name].coefficients) >= 13


ALPHA = 0.01
PENALTIES: dict[str, tuple[Penalty, float]] = {
    "l2": (L2(ALPHA), 0.0),
    "l1": (L1(ALPHA), 1.0),
    "elasticnet": (ElasticNet(ALPHA, 0.3), 0.3),
}
SETS = {"binary": load_breast_cancer, "multinomial": load_iris}


@pytest.mark.parametrize("weighted", [False, True], ids=["plain", "weighted"])
@pytest.mark.parametrize("name", PENALTIES)
@pytest.mark.parametrize("kind", SETS)
def test_penalised_logit_is_that_of_scikit_learn(kind: str, name: str, weighted: bool) -> None:
    X, y = SETS[kind](return_X_y=True)
    X = StandardScaler().fit_transform(X)[:, :8]
    penalty, l1_ratio = PENALTIES[name]
    weight = 1.0 + np.arange(len(y)) % 3 if weighted else np.ones(len(y))
    ours = LogisticClassifier(penalty=penalty, tol=1e-12, max_epochs=10_000).fit(X, y, weight)
    theirs = SklearnLogistic(
        C=1 / (ALPHA * weight.sum()),
        l1_ratio=l1_ratio,
        solver="newton-cholesky" if name == "l2" else "saga",
        tol=1e-14,
        max_iter=100_000,
    ).fit(X, y, weight)
    assert np.abs(ours.coef_ - theirs.coef_).max() < 1e-8
    shift = 0 if kind == "binary" else np.mean(ours.intercept_ - theirs.intercept_)
    assert np.abs(ours.intercept_ - theirs.intercept_ - shift).max() < 1e-8
    assert np.abs(ours.predict_proba(X) - theirs.predict_proba(X)).max() < 1e-8
    assert np.array_equal(ours.predict(X), theirs.predict(X))


@pytest.mark.parametrize("name", PENALTIES)
def test_a_penalty_means_raw_columns_whatever_their_units(name: str) -> None:
    # Unscaled, the optimizer of L1 does not arrive here in 20 000 epochs.
    X, y = load_breast_cancer(return_X_y=True)
    penalty, _ = PENALTIES[name]
    classifier = LogisticClassifier(penalty=penalty, tol=1e-10, max_epochs=5000).fit(X, y)
    assert classifier.result_.converged
    residual = classifier.predict_proba(X)[:, 1] - y
    weight, gradient = classifier.coef_[0], X.T @ residual / len(y)
    l1 = PENALTIES[name][1]
    want = -ALPHA * (l1 * np.sign(weight) + (1 - l1) * weight)
    active = weight != 0
    unit = X.std(axis=0)
    assert np.abs((gradient - want)[active] / unit[active]).max() < 1e-8
    assert np.all(np.abs(gradient[~active]) <= ALPHA * l1 + 1e-8 * unit[~active])


def test_linear_penalties_are_those_of_scikit_learn() -> None:
    X, y = load_diabetes(return_X_y=True)
    n = len(y)
    pairs: list[tuple[Penalty | None, Any]] = [
        (None, SklearnLinear()),
        (L2(2 * 0.7 / n), Ridge(0.7, solver="cholesky")),
        (L1(2 * 0.7), Lasso(0.7, tol=1e-14, max_iter=100_000)),
        (ElasticNet(2 * 0.1, 0.4), SklearnElasticNet(0.1, l1_ratio=0.4, tol=1e-14)),
    ]
    for penalty, theirs in pairs:
        ours = LinearRegressor(penalty=penalty, tol=1e-12).fit(X, y)
        theirs.fit(X, y)
        assert np.allclose(ours.coef_, theirs.coef_, rtol=0, atol=1e-8 * abs(ours.coef_).max())
        assert ours.score(X, y) == pytest.approx(theirs.score(X, y), abs=1e-9)


@pytest.mark.parametrize("intercept", [True, False])
def test_unpenalised_logit_is_the_limit_of_scikit_learns(intercept: bool) -> None:
    X, y = load_breast_cancer(return_X_y=True)
    X = X[:, :3]
    ours = LogisticClassifier(fit_intercept=intercept).fit(X, y)
    theirs = SklearnLogistic(
        C=np.inf, fit_intercept=intercept, solver="newton-cholesky", tol=1e-12
    ).fit(X, y)
    assert np.allclose(ours.coef_, theirs.coef_, rtol=1e-6)
    assert ours.intercept_.shape == theirs.intercept_.shape


def test_a_pipeline_searches_penalties_by_name_and_by_object() -> None:
    X, y = load_breast_cancer(return_X_y=True)
    pipeline = make_pipeline(StandardScaler(), LogisticClassifier())
    step = "logisticclassifier__"
    grid = [
        {step + "penalty": ["l2", "l1"], step + "alpha": [0.001, 0.1]},
        {step + "penalty": [ElasticNet(0.01)]},
    ]
    search = GridSearchCV(pipeline, grid, cv=3).fit(X, y)
    assert len(search.cv_results_["params"]) == 5
    assert search.best_score_ > 0.96
    assert search.predict_proba(X).shape == (len(y), 2)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_scikit_learns_tools_take_the_estimators() -> None:
    X, y = load_iris(return_X_y=True)
    labels = load_iris().target_names[y]
    penalised = LogisticClassifier(penalty="l2")
    calibrated = CalibratedClassifierCV(penalised, cv=3).fit(X, labels)
    assert calibrated.score(X, labels) > 0.9
    tuned = TunedThresholdClassifierCV(penalised, cv=3).fit(X, y == 1)
    assert set(tuned.predict(X)) == {False, True}
    bagged = BaggingClassifier(penalised, n_estimators=3, random_state=0).fit(X, labels)
    assert bagged.score(X, labels) > 0.9
    assert RFE(penalised, n_features_to_select=2).fit(X, y).support_.sum() == 2
    scores = cross_validate(
        OrdinalClassifier(penalty="l2"), X, labels, scoring=["accuracy", "neg_log_loss"], cv=3
    )
    assert scores["test_accuracy"].mean() > 0.9
    assert cross_val_predict(penalised, X, labels, method="predict_log_proba").shape == (150, 3)
    logged = TransformedTargetRegressor(LinearRegressor(), func=np.log1p, inverse_func=np.expm1)
    assert logged.fit(X[:, :3], X[:, 3]).score(X[:, :3], X[:, 3]) > 0.8


@pytest.mark.slow  # two more processes import torch
def test_a_search_runs_in_several_processes() -> None:
    X, y = load_iris(return_X_y=True)
    grid = {"alpha": [0.001, 0.01, 0.1]}
    one, two = (
        GridSearchCV(LogisticClassifier(penalty="l2"), grid, cv=3, n_jobs=n).fit(X, y)
        for n in (1, 2)
    )
    assert np.array_equal(one.cv_results_["mean_test_score"], two.cv_results_["mean_test_score"])
    assert np.array_equal(one.best_estimator_.coef_, two.best_estimator_.coef_)


def test_columns_keep_their_names_through_a_pipeline_of_frames() -> None:
    data = load_diabetes(as_frame=True)
    columns = PolynomialFeatures(2, include_bias=False).set_output(transform="pandas")
    pipeline = make_pipeline(columns, LinearRegressor()).fit(data.data[["bmi", "bp"]], data.target)
    assert pipeline[-1].feature_names_in_.tolist() == ["bmi", "bp", "bmi^2", "bmi bp", "bp^2"]


def test_offset_and_weights_are_routed() -> None:
    X, y = load_iris(return_X_y=True)
    known, weight = np.linspace(-1, 1, 150), 1.0 + np.arange(150) % 2
    with sklearn.config_context(enable_metadata_routing=True):
        classifier = LogisticClassifier(penalty="l2")
        classifier.set_fit_request(offset=True, sample_weight=True)
        classifier.set_score_request(offset=True, sample_weight=True)
        scores = cross_validate(
            classifier,
            X,
            y == 1,
            cv=3,
            params={"offset": known, "sample_weight": weight},
            return_estimator=True,
            return_indices=True,
        )
    for estimator, rows, score in zip(
        scores["estimator"], scores["indices"]["train"], scores["test_score"], strict=True
    ):
        plain = LogisticClassifier(penalty="l2")
        plain.fit(X[rows], y[rows] == 1, weight[rows], offset=known[rows])
        assert np.array_equal(plain.coef_, estimator.coef_)
        assert 0.4 < score < 1
