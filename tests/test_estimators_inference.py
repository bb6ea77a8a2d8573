"""Estimators after a fit: inference on the rows they remember, diagnosis by column name."""

from __future__ import annotations

import doctest
import importlib
import pickle
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.exceptions import ConvergenceWarning
from test_estimators import noisy

from reference_data import load
from reference_values import TRUTH
from torchlogreg import L1, L2, fit
from torchlogreg.estimators import LinearRegressor, LogisticClassifier, OrdinalClassifier
from torchlogreg.inference import InferenceResult, infer
from torchlogreg.jeffreys import Jeffreys
from torchlogreg.models import LogisticRegression

F64 = torch.float64


def spector() -> tuple[pd.DataFrame, Any]:
    data = load("spector")
    frame = pd.DataFrame(data.X.numpy(), columns=["GPA", "TUCE", "PSI"])
    return frame, np.array(["same", "better"])[data.y.numpy().astype(int)]


def test_inference_is_that_of_the_module_on_the_same_rows() -> None:
    X, y = spector()
    classifier = LogisticClassifier().fit(X, y == "better")
    result = classifier.infer(covariance="HC1")
    assert isinstance(result, InferenceResult)
    own = infer(classifier.model_, X, (y == "better").astype(int), covariance="HC1")
    assert np.array_equal(result.bse, own.bse)
    classical = classifier.infer().bse
    want = [4.93132421, 1.26294108, 0.14155421, 1.06456425]
    assert np.allclose(classical, want, rtol=1e-8)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (LinearRegressor(), ["GPA", "TUCE", "R-squared"]),
        (LogisticClassifier(), ["GPA", "TUCE", "PSI"]),
        (OrdinalClassifier(levels=["same", "better"]), ["GPA", "same/better"]),
    ],
)
def test_the_summary_speaks_of_columns_and_labels_by_name(make: Any, words: list[str]) -> None:
    X, y = spector()
    target = X.pop("PSI") if isinstance(make, LinearRegressor) else y
    text = make.fit(X, target).summary()
    assert all(word in text for word in words), text


def test_a_loaded_estimator_infers_from_rows_that_are_passed() -> None:
    X, y = spector()
    classifier = LogisticClassifier().fit(X, y)
    loaded = pickle.loads(pickle.dumps(classifier))
    assert loaded.summary(X, y) == classifier.summary()
    with pytest.raises(ValueError, match="both are needed"):
        classifier.infer(X)
    with pytest.raises(ValueError, match="pass them with X, y"):
        classifier.infer(sample_weight=np.ones(32), weight_kind="frequency")


def test_weights_of_the_fit_need_their_kind() -> None:
    data = load("housing")
    X, y, count = data.X.numpy(), data.y.numpy(), data.sample_weight.numpy()
    ordinal = OrdinalClassifier().fit(X, y, count)
    with pytest.raises(ValueError, match="weight_kind"):
        ordinal.infer()
    result = ordinal.infer(weight_kind="frequency")
    assert result.llf == pytest.approx(TRUTH["housing"].log_likelihood, rel=1e-13)


def test_class_weights_are_those_of_the_optimum() -> None:
    # The rows under uniform weights are not at their maximum there, which infer would refuse.
    X, y = spector()
    balanced = LogisticClassifier(class_weight="balanced").fit(X, y)
    result = balanced.infer(weight_kind="importance", covariance="HC0")
    assert np.allclose(result.params[1:], balanced.coef_[0])


def test_jeffreys_is_a_penalty_of_the_estimator() -> None:
    # Separated completely: without a penalty there is no estimate, with this one there is.
    X = np.array([[1.0, 100], [2, 80], [3, 120], [4, 90], [5, 130], [6, 70]])
    y = np.array([0, 0, 0, 1, 1, 1])
    classifier = LogisticClassifier(penalty=Jeffreys()).fit(X, y)
    model = LogisticRegression(2, dtype=F64)
    fit(model, X, y, penalty=Jeffreys())
    assert np.allclose(classifier.coef_, model.weight.detach().numpy(), rtol=1e-7)
    assert classifier.infer().bse.shape == (3,)
    named = LogisticClassifier(penalty="jeffreys").fit(X, y)
    assert np.array_equal(named.coef_, classifier.coef_)


def test_errors_of_a_penalised_fit_are_refused_until_told() -> None:
    X, y = spector()
    ridge = LogisticClassifier(penalty=L2(0.1)).fit(X, y)
    with pytest.raises(ValueError, match="penal"):
        ridge.infer()
    assert ridge.infer(allow_penalty=True).bse.shape == (4,)
    with pytest.raises(ValueError, match="L1"):
        LogisticClassifier(penalty=L1(0.01)).fit(X, y).infer(allow_penalty=True)


def test_the_diagnosis_names_the_column_that_separates() -> None:
    X, _ = spector()
    with pytest.warns(ConvergenceWarning, match="'GPA'"):
        classifier = LogisticClassifier().fit(X, X["GPA"] > 3)
    assert classifier.diagnosis_ is classifier.result_.diagnosis
    (found,) = classifier.diagnosis_.of("separation")
    assert "'GPA'" in found.text
    assert 0 in found.columns


@pytest.mark.parametrize("make", [LinearRegressor, LogisticClassifier, OrdinalClassifier])
def test_the_diagnosis_names_constant_and_dependent_columns(make: Any) -> None:
    X, y = spector()
    X = X.assign(one=1.0, half=X["GPA"] / 2)
    target = X.pop("TUCE") if make is LinearRegressor else y
    estimator = make().fit(X, target)
    assert "'one'" in str(estimator.diagnosis_.of("constant"))
    collinear = str(estimator.diagnosis_.of("collinear"))
    assert "'GPA'" in collinear and "'half'" in collinear


def test_an_ordinary_fit_has_nothing_to_say() -> None:
    X, y = spector()
    assert not LogisticClassifier().fit(X, y).diagnosis_


def test_the_example_of_the_readme_runs(capsys: pytest.CaptureFixture[str]) -> None:
    text = (Path(__file__).parents[1] / "README.md").read_text()
    (code,) = (c for c in re.findall(r"```python\n(.*?)```", text, re.S) if "estimators" in c)
    exec(compile(code, "README.md", "exec"), {})
    assert "alcohol" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["linear", "logistic", "ordinal"])
def test_the_examples_of_the_docstrings_are_true(name: str) -> None:
    module = importlib.import_module(f"torchlogreg.estimators.{name}")
    failed, tried = doctest.testmod(module)
    assert (failed, tried > 0) == (0, True)


def test_rows_for_inference_have_the_columns_of_the_fit() -> None:
    # Columns in another order ended as "2.3e+18 standard errors from the maximum".
    X, y = noisy(2)
    frame = pd.DataFrame(X, columns=list("abcd"))
    classifier = LogisticClassifier().fit(frame, y)
    with pytest.raises(ValueError, match="same order"):
        classifier.infer(frame[frame.columns[::-1]], y)
    with pytest.raises(ValueError, match="yet now missing"):
        classifier.summary(frame[["a"]], y)
