"""Columns that separate alone: found without linear programs, whatever the size."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from torchlogreg import LogisticRegression, Model, OrdinalRegression, SoftmaxRegression
from torchlogreg.diagnostics import Separation, cone, report, separation
from torchlogreg.diagnostics.problem import Problem
from torchlogreg.diagnostics.separated import separation_of
from torchlogreg.inputs import make_data
from torchlogreg.objective import Objective

F64 = torch.float64
KINDS = {
    "binary": lambda p: LogisticRegression(p, dtype=F64),
    "binary_through_zero": lambda p: LogisticRegression(p, bias=False, dtype=F64),
    "softmax": lambda p: SoftmaxRegression(p, 3, dtype=F64),
    "reference": lambda p: SoftmaxRegression(p, 3, reference=True, dtype=F64),
    "softmax_through_zero": lambda p: SoftmaxRegression(p, 3, bias=False, dtype=F64),
    "ordinal": lambda p: OrdinalRegression(p, 3, dtype=F64),
    "ordinal_through_zero": lambda p: OrdinalRegression(p, 3, bias=False, dtype=F64),
}


def alone(model: Model, X: np.ndarray, y: np.ndarray) -> Separation | None:
    """By single columns only: no program may run."""
    target = model.target(torch.as_tensor(y))
    try:
        return separation_of(model, torch.as_tensor(X), target, seconds=0.0, at_once=0)
    except cone.OutOfTimeError:
        return None


def falls(kind: str, found: Separation, X: np.ndarray, y: np.ndarray) -> np.ndarray:
    """By how much each row's contrasts fall along the direction, and rise, from its docstring."""
    scores = X @ np.atleast_2d(found.direction).T
    if kind.startswith("binary"):
        rises = (scores[:, 0] + found.intercept) * np.where(y == 1, 1, -1)
        return rises[:, None]
    if kind.startswith("ordinal"):
        edges = np.concatenate(([-np.inf], found.intercept, [np.inf]))
        return np.stack((scores[:, 0] - edges[y], edges[y + 1] - scores[:, 0]), axis=1)
    eta = scores + found.intercept
    return eta[np.arange(len(y)), y][:, None] - eta


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_what_is_found_lifts_rows_and_lowers_none(kind, data):
    K = 2 if kind.startswith("binary") else 3
    n, p = data.draw(st.integers(3, 9)), data.draw(st.integers(1, 3))
    entries = st.lists(st.integers(-2, 2), min_size=n * p, max_size=n * p)
    X = np.array(data.draw(entries), dtype=float).reshape(n, p)
    y = np.array([*range(K), *data.draw(st.lists(st.integers(0, K - 1), min_size=9, max_size=9))])
    y = y[:n]
    model = KINDS[kind](p)
    found = alone(model, X, y)
    exact = separation(X, y, model=model)
    if found is None or found.kind == "none":
        each = [separation(X[:, [j]], y, model=KINDS[kind](1)).kind for j in range(p)]
        assert kind.startswith(("softmax", "reference")) or set(each) == {"none"}
        return
    rises = falls(kind, found, X, y)
    assert rises.min() >= -1e-9 and rises[np.isfinite(rises)].max() > 1e-9
    assert exact.kind != "none" and found.n_improved <= exact.n_improved
    assert found.at_least == (found.kind == "quasi")


def dummies(n: int, p: int, guilty: int) -> tuple[np.ndarray, np.ndarray]:
    """Coins, and a column that is 1 on nine rows of class 1."""
    generator = np.random.default_rng(0)
    X, y = generator.normal(size=(n, p)), generator.integers(0, 2, n)
    X[:, guilty] = 0
    X[np.flatnonzero(y)[:9], guilty] = 1
    return X, y


@pytest.mark.parametrize(("n", "p"), [(600, 1990), (100, 2500)])
def test_one_guilty_dummy_among_thousands_is_named_without_programs(n, p, monkeypatch):
    # 5000 x 1990 said "unchecked" after ten seconds of linear programs.
    def refused(*args: object) -> None:
        raise AssertionError("a linear program ran")

    monkeypatch.setattr(cone, "solve", lambda *args: refused())
    X, y = dummies(n, p, guilty=7)
    X[: n // 2, 8:] *= 0  # fewer free columns than rows: only the dummy separates
    monkeypatch.setattr(report, "told_apart", lambda problem: False)
    monkeypatch.setattr(report, "AT_ONCE", 0)
    model = LogisticRegression(p, dtype=F64)
    found = report.find_separation(Problem(Objective(model), make_data(model, X, y)))
    assert isinstance(found, Separation) and found.columns == (7,) and found.kind == "quasi"
    assert "at least 9 of" in found.describe()


def test_columns_that_part_different_rows_are_all_named():
    X, y = dummies(300, 6, guilty=2)
    X[:, 4] = 0
    X[np.flatnonzero(y == 0)[:4], 4] = -1
    found = alone(LogisticRegression(6, dtype=F64), X, y)
    assert found is not None and found.columns == (2, 4) and found.n_certain == 13
    assert separation(X, y).n_certain == 13


def test_a_small_fit_still_counts_every_row():
    # Where the programs are quick they say more than single columns can.
    X, y = dummies(300, 3, guilty=2)
    X[:, 0] = (X[:, 1] + np.where(y == 1, 1.0, -1.0)) * 2
    model = LogisticRegression(3, dtype=F64)
    found = report.find_separation(Problem(Objective(model), make_data(model, X, y)))
    assert isinstance(found, Separation) and found.kind == "complete" and not found.at_least


@pytest.mark.parametrize("most", [0, 10**6])
def test_complete_separation_is_never_called_that_of_a_few_rows(most):
    # The digits, all told apart, were "quasi-completely separated: at least 14 of 1797 rows" when
    # the programs took too long: one column's rows stood for all.
    X, y = dummies(300, 3, guilty=2)
    X[:, 0] = (X[:, 1] + np.where(y == 1, 1.0, -1.0)) * 2
    settings_of = dict(seconds=0.0, apart=True, at_once=most)
    model = LogisticRegression(3, dtype=F64)
    target = model.target(torch.as_tensor(y))
    with pytest.raises(cone.OutOfTimeError):
        separation_of(model, torch.as_tensor(X), target, **settings_of)
    X[:, 1] = np.where(y == 1, 2.0, 1.0)  # one column does it all: nothing to search for
    found = separation_of(model, torch.as_tensor(X), target, **settings_of)
    assert found.kind == "complete" and found.columns == (1,) and found.n_certain == 300
