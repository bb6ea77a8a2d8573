"""What callers name: columns of frames, parameters by name or place."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from problems import MODELS, problem
from torchlogreg import InferenceResult, fit, infer

CASE = problem("logistic")
FRAME = pd.DataFrame(CASE.X.numpy(), columns=["age", "dose", "sex"])


def inferred(name: str = "logistic", frame: Any = FRAME, **settings: Any) -> InferenceResult:
    case = problem(name)
    model = case.model()
    fit(model, case.X, case.y, tol=1e-10)
    return infer(model, frame, case.y, **settings)


@pytest.mark.parametrize("columns", [["sex", "dose", "age"], ["age", "dose", "weight"]])
def test_a_frame_of_other_columns_is_refused(columns: list[str]) -> None:
    # Numbers are read by place: predict(X[["sex", "dose", "age"]]) gave wrong means, silently.
    result, other = inferred(), FRAME.set_axis(columns, axis=1)
    for question in (result.predict, lambda X: result.marginal_effects(at=X)):
        with pytest.raises(ValueError, match=r"fitted to.*give (the columns age|these, in this)"):
            question(other)


def test_a_frame_that_shares_no_name_is_read_by_place() -> None:
    result = inferred(feature_names=["Age of patient", "Dose (mg)", "Sex"])
    want = result.predict(CASE.X).mean
    assert (result.predict(FRAME).mean == want).all()
    assert (inferred().predict(FRAME).mean == want).all()


def test_a_frame_of_restrictions_is_read_by_name() -> None:
    # numpy.asarray of the rows of a frame took the names of its columns for rows of numbers.
    result = inferred()
    want = result.wald_test([[0, 1, 0, 0], [0, 0, 1, -1]])
    frame = pd.DataFrame([[1.0, 0, 0], [0, -1, 1]], columns=["age", "sex", "dose"])
    assert result.wald_test(frame) == want
    assert result.wald_test(pd.Series({"age": 1.0})) == result.wald_test({"age": 1})
    with pytest.raises(ValueError, match="restrictions name 0, but the parameters are const, age"):
        result.wald_test(pd.DataFrame(np.eye(4)))


@pytest.mark.parametrize(
    ("name", "column"), [("logistic", "const"), ("ordinal_logit", "0/1"), ("softmax", "1: const")]
)
def test_a_name_of_two_parameters_is_refused_where_it_would_choose_one(
    name: str, column: str
) -> None:
    # {"const": 1} tested a column of that name, and nobody learned it was not the intercept.
    column = column.removeprefix("1: ")
    result = inferred(name, FRAME.set_axis([column, "dose", "sex"], axis=1))
    twice = next(name for name in result.names if result.names.count(name) > 1)
    assert len(result.summary()) > 0
    with pytest.raises(ValueError, match="more than one parameter is called so"):
        result.wald_test({twice: 1})
    with pytest.raises(ValueError, match="more than one parameter is called"):
        result.profile_intervals([twice])


@pytest.mark.parametrize(
    ("method", "arguments", "words"),
    [
        ("marginal_effects", {"columns": "age"}, r"the columns are 'age'; give a list"),
        ("marginal_effects", {"columns": 1}, r"the columns are 1; give a list"),
        ("marginal_effects", {"columns": [1.5]}, "1.5 is neither the name nor the place"),
        ("marginal_effects", {"discrete": [None]}, "None is neither the name nor the place"),
        ("marginal_effects", {"method": ["dydx"]}, r"method is \['dydx'\], but the methods"),
        ("profile_intervals", {"parameters": "age"}, r"the parameters are 'age'; give a list"),
        ("profile_intervals", {"parameters": [1.5]}, "1.5 is neither the name nor the place"),
        ("wald_test", {"restrictions": "age = 0"}, "got 'age = 0', but a matrix, or mappings"),
        ("wald_test", {"restrictions": ["age"]}, "got 'age', but a matrix, or mappings"),
        ("wald_test", {"restrictions": 3}, "one coefficient for each of the 4"),
        ("wald_test", {"restrictions": None}, "one coefficient for each of the 4"),
        ("wald_test", {"restrictions": [[1, 2], [1]]}, r"got \[\[1, 2\], \[1\]\], which is no"),
        ("wald_test", {"restrictions": {"age": "a"}}, "the coefficient of 'age' got 'a'"),
        ("wald_test", {"restrictions": [{"age": 1}, [0, 0, 0, 1]]}, r"got \[0, 0, 0, 1\]"),
        ("wald_test", {"restrictions": {"age": 1}, "values": "a"}, "values got 'a'"),
        ("conf_int", {"level": "0.95"}, "level is '0.95', but a coverage"),
        ("conf_int", {"level": np.array([0.9, 0.95])}, "but a coverage"),
    ],
)
def test_misunderstandings_are_answered_in_one_line(
    method: str, arguments: dict[str, Any], words: str
) -> None:
    with pytest.raises(ValueError, match=words) as caught:
        getattr(inferred(), method)(**arguments)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", MODELS)
def test_training_on_does_not_move_a_result(name: str) -> None:
    # A float64 model's parameters were shared: params moved, their errors did not.
    case = problem(name)
    model = case.model()
    fit(model, case.X, case.y, tol=1e-10)
    result = infer(model, case.X, case.y)
    before, mean = copy.deepcopy(result.params), result.predict(case.X).mean
    with torch.no_grad():
        for p in model.parameters():
            p.mul_(2.0).add_(0.1)
    assert (result.params == before).all()
    assert (result.predict(case.X).mean == mean).all()
