"""Settings of fit() of the wrong kind: one line that names the argument and what it takes."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from problems import params_of, problem
from torchlogreg import L2, ClassMean, ClassWeights, Hook, fit

WRONG: dict[str, tuple[dict[str, Any], type[Exception], str]] = {
    "one hook": ({"hooks": Hook()}, TypeError, "hooks= got a Hook, but it takes a list"),
    "a class of hook": ({"hooks": [Hook]}, TypeError, "instances of Hook"),
    "a number for hooks": ({"hooks": 3}, TypeError, "hooks= got a int"),
    "loss by name": ({"loss": "mse"}, TypeError, "loss= got 'mse'"),
    "scheduler by name": ({"scheduler": "cosine"}, TypeError, "scheduler= got 'cosine'"),
    "seed for a generator": ({"generator": 3}, TypeError, "generator= got 3"),
    "number for a penalty": ({"penalty": 0.1}, TypeError, "penalty= got 0.1"),
    "class of weighting": ({"weighting": ClassMean}, TypeError, "weighting= got ClassMean"),
    "rule that returns nothing": ({"weighting": lambda s: None}, TypeError, "returned None"),
    "no epochs": ({"max_epochs": None}, ValueError, "max_epochs is None"),
    "half an epoch": ({"max_epochs": 2.5}, ValueError, "max_epochs is 2.5"),
    "true batch": ({"batch_size": True}, ValueError, "batch_size is True"),
    "no tolerance": ({"tol": None}, ValueError, "tol is None"),
    "tolerance that is none": ({"tol": float("nan")}, ValueError, "tol is nan"),
}


@pytest.mark.parametrize(("arguments", "kind", "text"), WRONG.values(), ids=WRONG.keys())
def test_a_setting_of_the_wrong_kind_is_refused_in_one_line(
    arguments: dict[str, Any], kind: type[Exception], text: str
) -> None:
    case = problem("logistic")
    model = case.model()
    before = params_of(model).clone()
    with pytest.raises(kind, match=text) as caught:
        fit(model, case.X, case.y, **arguments)
    assert "\n" not in str(caught.value)
    assert torch.equal(params_of(model), before)


def test_no_hooks_may_be_said_as_none() -> None:
    case = problem("logistic")
    assert fit(case.model(), case.X, case.y, hooks=None).converged


def test_class_mean_takes_a_plain_function() -> None:
    case = problem("logistic")
    rule = ClassMean(lambda s: 1 + s.losses)
    result = fit(case.model(), case.X, case.y, weighting=rule, penalty=L2(0.1), max_epochs=300)
    ones = result.sample_weight[case.y == 1]
    assert result.converged and ones.unique().numel() == 1 and ones[0] > 1


@pytest.mark.parametrize("label", [-1, 0.5, "a"])
def test_class_weights_name_what_is_no_class(label: Any) -> None:
    with pytest.raises(ValueError, match="is no index"):
        ClassWeights({label: 2.0})


def test_a_compiled_model_is_trained() -> None:
    case = problem("logistic")
    plain, compiled = case.model(), case.model()
    fit(plain, case.X, case.y)
    result = fit(torch.compile(compiled, backend="eager"), case.X, case.y)
    assert result.model is compiled and torch.equal(params_of(compiled), params_of(plain))
