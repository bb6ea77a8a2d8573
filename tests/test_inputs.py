"""Bad input is refused in one line that says where, and changes nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from problems import params_of
from torchlogreg import (
    BoostMisclassified,
    ClassBalanced,
    ClassMean,
    ClassWeights,
    Focal,
    LinearRegression,
    LogisticRegression,
    Model,
    OrdinalRegression,
    Product,
    Smoothed,
    SoftmaxRegression,
    fit,
)

F64 = torch.float64


NAN, INF = float("nan"), float("inf")


ROWS = np.array([[0.1, 1.0], [0.5, -1.0], [0.3, 0.2], [-1.0, 0.7], [0.9, 0.4], [-0.2, 0.1]])


LABELS = np.array([0, 1, 0, 1, 1, 0])


def with_entry(value: float, row: int = 3, column: int = 1) -> np.ndarray:
    """The rows with one entry replaced."""
    changed = ROWS.copy()
    changed[row, column] = value
    return changed


def logistic() -> Model:
    """A model for the rows above, away from zero so that a change would show."""
    return moved(LogisticRegression(2, dtype=F64))


def moved(model: Model) -> Model:
    """The model with its parameters off their starting point."""
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.125)
    return model


FRAME = pd.DataFrame(ROWS, columns=["age", "dose"])


TEXT = FRAME.assign(dose=["low", "high", "low", "low", "high", "low"])


# name: (arguments that replace the good ones, text of the error)
BAD: dict[str, tuple[dict[str, Any], str]] = {
    "NaN": ({"X": with_entry(NAN)}, r"X has nan in row 3, column 1; remove or impute"),
    "inf": ({"X": with_entry(-INF)}, r"X has -inf in row 3, column 1"),
    "NaN in a frame": (
        {"X": pd.DataFrame(with_entry(NAN), columns=["age", "dose"])},
        r"X has nan in row 3, column 'dose'",
    ),
    "1-D X": ({"X": ROWS[:, 0]}, r"X has shape \(6,\).*X.reshape\(-1, 1\)"),
    "3-D X": ({"X": ROWS[None]}, r"X has shape \(1, 6, 2\), but rows by columns"),
    "scalar X": ({"X": 3.0}, r"X has shape"),
    "no X": ({"X": None}, r"X has "),
    "wrong width": ({"X": ROWS[:, :1]}, r"X has 1 columns.*made for 2.*n_features=1"),
    "no rows": ({"X": ROWS[:0], "y": LABELS[:0]}, r"X has shape \(0, 2\): there is nothing to fit"),
    "no columns": ({"X": ROWS[:, :0]}, r"X has shape \(6, 0\): there is nothing to fit"),
    "empty list": ({"X": [], "y": []}, r"X has shape \(0,\)"),
    "lengths differ": ({"y": LABELS[:5]}, r"X has 6 rows, but the target has 5"),
    "scalar y": ({"y": 1.0}, r"the target has"),
    "no y": ({"y": None}, r"the target has"),
    "text in a frame": ({"X": TEXT}, r"X has 'low' in row 0, column 'dose'.*get_dummies"),
    "text array": ({"X": ROWS.astype(str)}, r"X has .*'0.1'.* in row 0, .*numbers are needed"),
    "text": ({"X": "data.csv"}, r"X has .*numbers are needed"),
    "dict": ({"X": {"age": [1, 2]}}, r"X has .*numbers are needed"),
    "ragged": ({"X": [[1, 2], [3]] * 3}, r"X is ragged"),
    "complex X": ({"X": ROWS * 1j}, r"X is complex"),
    "complex tensor": ({"X": torch.tensor(ROWS) * 1j}, r"X is complex"),
    "dates": ({"X": np.full((6, 2), np.datetime64("2020-01-01"))}, r"X has .* in row 0"),
    "string target": ({"y": list("abaabb")}, r"the target has .*'a'.* in row 0"),
    "missing target": ({"y": [0, 1, NAN, 1, 1, 0]}, r"row 2: target nan is neither a label"),
    "unknown label": ({"y": [0, 1, 2, 1, 1, 0]}, r"row 2: target 2 is neither a label 0 or 1"),
    "negative label": ({"y": [-1, 1, 1, -1, 1, 1]}, r"row 0: target -1 .*encode the classes"),
    "complex target": ({"y": torch.tensor(LABELS) * 1j}, r"the target is complex"),
    "wide target": ({"y": np.ones((6, 2))}, r"the target has shape \(6, 2\)"),
    "one class": ({"y": np.ones(6)}, r"all 6 rows with weight are of class 1"),
    "one class by weight": (
        {"sample_weight": 1 - LABELS},
        r"all 3 rows with weight are of class 0; at least two",
    ),
    "negative weight": ({"sample_weight": [1, 1, -2, 1, 1, 1]}, r"row 2 has weight -2"),
    "scalar weight": ({"sample_weight": 2.0}, r"sample_weight has shape"),
    "text weight": ({"sample_weight": list("aabbcc")}, r"sample_weight has .*'a'.* in row 0"),
    "complex weight": ({"sample_weight": torch.ones(6) * 1j}, r"sample_weight"),
    "short offset": ({"offset": np.ones(5)}, r"offset has shape \(5,\), but \(6,\) is needed"),
    "wide offset": ({"offset": np.ones((6, 3))}, r"offset has shape \(6, 3\)"),
    "NaN offset": ({"offset": [0, 0, 0, 0, NAN, 0]}, r"offset is not finite in row 4"),
    "batch of none": ({"batch_size": 0}, r"batch_size is 0"),
    "negative batch": ({"batch_size": -3}, r"batch_size is -3"),
    "no epochs": ({"max_epochs": 0}, r"max_epochs is 0"),
    "negative tol": ({"tol": -1e-3}, r"tol is -0.001"),
    "NaN tol": ({"tol": NAN}, r"tol is nan"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_refused_in_one_line_and_changes_nothing(case: str) -> None:
    changes, text = BAD[case]
    model = logistic()
    before = params_of(model).clone()
    arguments = {"X": ROWS, "y": LABELS, **changes}
    with pytest.raises((ValueError, TypeError), match=text) as caught:
        fit(model, arguments.pop("X"), arguments.pop("y"), **arguments)
    assert "\n" not in str(caught.value)
    assert torch.equal(params_of(model), before)


BAD_CLASSES: dict[str, tuple[Any, str]] = {
    "above": ([0, 1, 2, 3, 1, 0], r"row 3: target 3 is no class index from 0 to 2"),
    "below": ([0, -1, 2, 1, 1, 0], r"row 1: target -1 is no class index"),
    "between": ([0, 1, 1.5, 2, 1, 0], r"row 2: target 1.5 is no class index"),
    "NaN": ([0, NAN, 2, 1, 1, 0], r"row 1: target nan is no class index"),
    "not a distribution": (np.full((6, 3), 0.4), r"row 0: target .* is not a distribution over 3"),
    "negative share": ([[1.5, -0.5, 0]] * 6, r"row 0: target .* is not a distribution"),
    "NaN share": ([[1, 0, 0]] * 5 + [[NAN, 0, 1]], r"row 5: target .* is not a distribution"),
    "wrong width": (np.full((6, 2), 0.5), r"the target has shape \(6, 2\)"),
    "one class": ([2] * 6, r"all 6 rows with weight are of class 2"),
}


@pytest.mark.parametrize("case", BAD_CLASSES)
@pytest.mark.parametrize("make", [SoftmaxRegression, OrdinalRegression])
def test_bad_class_targets_name_their_row(make: Callable[..., Model], case: str) -> None:
    y, text = BAD_CLASSES[case]
    model = moved(make(2, 3, dtype=F64))
    before = params_of(model).clone()
    with pytest.raises(ValueError, match=text) as caught:
        fit(model, ROWS, y)
    assert "\n" not in str(caught.value)
    assert torch.equal(params_of(model), before)


@pytest.mark.parametrize("bad", [NAN, INF])
def test_a_numeric_target_that_is_not_finite_is_refused(bad: float) -> None:
    y = [0.0, 1, 2, 3, bad, 5]
    with pytest.raises(ValueError, match=r"row 4: target (nan|inf) is not a finite number"):
        fit(LinearRegression(2), ROWS, y)


def test_a_target_that_is_not_finite_is_refused_under_a_loss_of_ones_own() -> None:
    # A custom loss may read y in its own way, but no loss can read NaN; it trained to NaN.
    with pytest.raises(ValueError, match=r"row 4.*nan"):
        fit(
            LinearRegression(2, dtype=F64),
            ROWS,
            [0.0, 1, 2, 3, NAN, 5],
            loss=lambda eta, y: (eta.squeeze(1) - y).square(),
        )


def test_a_value_too_large_for_the_models_dtype_is_refused() -> None:
    with pytest.raises(ValueError, match=r"X has 1e\+39 in row 3, column 1, which torch.float32"):
        fit(LogisticRegression(2, dtype=torch.float32), with_entry(1e39), LABELS)


@pytest.mark.parametrize("model", [torch.nn.Linear(2, 1), None, LogisticRegression])
def test_what_is_no_model_is_refused(model: Any) -> None:
    with pytest.raises(TypeError, match="but fit trains a torchlogreg Model"):
        fit(model, ROWS, LABELS)


def test_inference_mode_is_refused_and_no_grad_is_not() -> None:
    X = torch.tensor([[0.0], [1], [2], [3], [4], [5]], dtype=torch.float64)
    y = torch.tensor([0.0, 1, 0, 1, 0, 1], dtype=torch.float64)
    with torch.no_grad():
        assert fit(LogisticRegression(1, dtype=torch.float64), X, y).converged
    with torch.inference_mode(), pytest.raises(RuntimeError, match=r"use torch\.no_grad"):
        fit(LogisticRegression(1, dtype=torch.float64), X, y)


@pytest.mark.parametrize(
    "rule",
    [
        BoostMisclassified(),
        ClassBalanced(),
        ClassMean(),
        ClassWeights({1: 2.0}),
        Focal(),
        Smoothed(Focal()),
        Product(Focal(), ClassBalanced()),
    ],
    ids=lambda rule: type(rule).__name__,
)
def test_weighting_by_class_needs_classes(rule: Any) -> None:
    with pytest.raises(ValueError, match=r"weighs by class, but LinearRegression predicts a"):
        fit(LinearRegression(2), ROWS, LABELS, weighting=rule)


@pytest.mark.parametrize("weighting", [2.0, "focal", [1, 2, 3, 4, 5, 6]])
def test_what_is_no_weighting_is_refused(weighting: Any) -> None:
    with pytest.raises(TypeError, match=r"weighting= got .*sample_weight="):
        fit(logistic(), ROWS, LABELS, weighting=weighting)


MODELS_THAT_CANNOT_BE: dict[str, tuple[Callable[[], Model], str]] = {
    "no columns": (lambda: LinearRegression(0), "n_features is 0"),
    "one class": (lambda: SoftmaxRegression(2, 1), "n_classes is 1"),
    "one level": (lambda: OrdinalRegression(2, 1), "n_classes is 1"),
    "link": (lambda: OrdinalRegression(2, 3, link="cauchit"), "link is 'cauchit'.*logit, probit"),
}


@pytest.mark.parametrize("case", MODELS_THAT_CANNOT_BE)
def test_a_model_that_cannot_be_is_refused(case: str) -> None:
    make, text = MODELS_THAT_CANNOT_BE[case]
    with pytest.raises(ValueError, match=text):
        make()
