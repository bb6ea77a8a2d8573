"""Tables hold together whatever stands in them: names, numbers, notes."""

from __future__ import annotations

import re
import warnings
from typing import Any

import numpy as np
import pytest
import torch

from problems import problem
from torchlogreg import (
    L2,
    InferenceResult,
    Jeffreys,
    LinearRegression,
    SoftmaxRegression,
    fit,
    infer,
)
from torchlogreg.inference.layout import interval_heads, padded, printable, width_of

NAMES = {
    "short": ["a", "b", "c"],
    "long": ["sum(amount) over (partition by customer order by month) / 1000", "b", "c"],
    "wide": ["年齢", "b", "cafe\N{COMBINING ACUTE ACCENT}"],
    "control": ["two\nlines", "a\ttab", "\x1b[31mred"],
    "script": ["<script>alert(1)</script>", "&amp;", "\"'"],
}


def inferred(name: str = "logistic", penalty: Any = None, **settings: Any) -> InferenceResult:
    case = problem(name)
    model = case.model()
    fit(model, case.X, case.y, tol=1e-10, penalty=penalty)
    return infer(model, case.X, case.y, penalty=penalty, **settings)


def check(text: str) -> None:
    """Rules are as long as the longest line, and the last columns end where the rules do."""
    lines = text.splitlines()
    rule = next(line for line in lines if set(line) == {"="})
    body = lines[: len(lines) - 1 - lines[::-1].index(rule)]
    assert max(map(width_of, body)) == len(rule)
    first = next(i for i, line in enumerate(body) if set(line) == {"-"})
    facts = [line for line in body[:first] if re.search("R-squared: |AIC: |BIC: |LL|Log-", line)]
    numbers = [line for line in body[first:] if line[-1:].isdigit() and "  " in line.strip()]
    assert {width_of(line) for line in facts + numbers} == {len(rule)}


@pytest.mark.parametrize("kind", NAMES)
@pytest.mark.parametrize("name", ["linear", "logistic", "softmax", "ordinal_logit"])
def test_tables_are_straight_under_any_names(name: str, kind: str) -> None:
    # Chinese letters take two columns, and a line break in a name made two lines of its row.
    result = inferred(name, feature_names=NAMES[kind])
    tables: list[Any] = [result.summary(), result.marginal_effects(), result.profile_intervals()]
    for table in tables:
        check(str(table))
        assert "\x1b" not in str(table) and "\t" not in str(table)
    for table in (result, *tables[1:], result.predict(problem(name).X[:2])):
        assert "<script" not in table._repr_html_()


@pytest.mark.parametrize("penalty", [Jeffreys(n_observations=123456789), L2(1.25e-17)])
def test_a_long_penalty_does_not_push_the_facts_beside_it(penalty: Any) -> None:
    # "Pseudo R-squared:0.1448" stood without a gap, and the other facts stuck out on the right.
    text = inferred(penalty=penalty, allow_penalty=True, covariance="HC1").summary()
    check(text)
    assert re.search(rf"Penalty: +{re.escape(repr(penalty))}   L[-\w]+: +-\d", text)


def test_a_long_class_does_not_outgrow_the_rules() -> None:
    names = [
        "a",
        "<b>",
        "a class that somebody described in a sentence of more than eighty letters",
    ]
    result = inferred("softmax", class_names=names[: problem("softmax").model().n_classes])
    check(result.summary())
    assert "<b>" not in result._repr_html_()


def test_many_classes_make_one_table() -> None:
    generator = torch.Generator().manual_seed(0)
    X = torch.randn(600, 2, generator=generator, dtype=torch.float64)
    y = torch.arange(600) % 30
    model = SoftmaxRegression(2, n_classes=30, dtype=torch.float64)
    fit(model, X, y)
    text = infer(model, X, y).summary()
    check(text)
    assert "class 29 against 0" in text


def test_huge_and_tiny_numbers_stay_in_their_columns() -> None:
    # t statistics of an almost perfect fit had eighteen digits and three decimals.
    rng = np.random.default_rng(0)
    X = rng.normal(size=(40, 3))
    y = X @ [1, 2, 3] + 1e-12 * rng.normal(size=40)
    model = LinearRegression(3, dtype=torch.float64)
    X *= [1e-150, 1e12, 1.0]
    fit(model, X, y)
    text = infer(model, X, y).summary()
    check(text)
    assert max(map(len, text.splitlines())) <= 80


def test_odds_beyond_all_numbers_are_infinite() -> None:
    # A column of size 1e-6 has a weight of a million: exp() of it was a warning, or an error.
    case = problem("logistic")
    model, X = case.model(), case.X * torch.tensor([1e-6, 1, 1])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scales a million apart
        fit(model, X, case.y, tol=1e-10)
    table = infer(model, X, case.y).odds_ratios()
    assert not np.isfinite(table.upper[0]) and np.isfinite(table.values[1:]).all()
    check(str(table))


def test_text_helpers() -> None:
    assert printable("a\nb\x1b") == "a\\nb\\x1b" and printable("年 é") == "年 é"
    assert width_of("年齢") == 4 and width_of("e\N{COMBINING ACUTE ACCENT}") == 1
    assert padded("年", 4) == "年  "
    assert interval_heads(0.95) == ("[0.025", "0.975]")
    assert interval_heads(1 - 1e-7)[1] == "0.99999995]"  # it was "1]"
