"""compat.LinearRegression: exact where columns are independent, else as scikit-learn answers."""

from __future__ import annotations

import inspect
import itertools
from typing import Any

import numpy as np
import pytest
import sklearn.linear_model
from scipy import sparse
from sklearn.utils.estimator_checks import parametrize_with_checks

from torchlogreg.compat import LinearRegression


def data(shape: str, outputs: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows with zeros far from the mean, targets, and weights, some of them zero."""
    rng = np.random.default_rng(11)
    n, p = {"tall": (60, 4), "wide": (6, 10), "dependent": (60, 5)}[shape]
    X = rng.normal(size=(n, p)) * (rng.random((n, p)) < 0.7) + np.arange(p) % 2
    if shape == "dependent":
        X[:, 4] = X[:, 0] - 2 * X[:, 1]
    Y = rng.normal(size=(n, outputs)) + X[:, :1]
    weights: np.ndarray = rng.integers(0, 3, size=n) / 2
    weights[:4] = 1
    return X, Y if outputs > 1 else Y[:, 0], weights


TABLE = list(
    itertools.product(
        ("tall", "wide", "dependent"), (1, 2), (False, True), (False, True), (False, True)
    )
)


@pytest.mark.parametrize(("shape", "outputs", "weighted", "intercept", "as_sparse"), TABLE)
def test_answers_are_scikit_learns_on_dense_rows(
    shape: str, outputs: int, weighted: bool, intercept: bool, as_sparse: bool
) -> None:
    X, y, weights = data(shape, outputs)
    sample_weight = weights if weighted else None
    theirs = sklearn.linear_model.LinearRegression(fit_intercept=intercept)
    theirs.fit(X, y, sample_weight)
    rows = sparse.csc_array(X) if as_sparse else X
    before = X.copy()
    ours = LinearRegression(fit_intercept=intercept).fit(rows, y, sample_weight)
    np.testing.assert_allclose(ours.coef_, theirs.coef_, rtol=1e-8, atol=1e-9)
    np.testing.assert_allclose(ours.intercept_, theirs.intercept_, rtol=1e-8, atol=1e-9)
    np.testing.assert_allclose(ours.predict(rows), theirs.predict(X), rtol=1e-8, atol=1e-9)
    assert ours.coef_.shape == theirs.coef_.shape
    assert np.shape(ours.intercept_) == np.shape(theirs.intercept_)
    assert hasattr(ours, "rank_") is not as_sparse
    if not as_sparse:
        assert ours.rank_ == theirs.rank_
        np.testing.assert_allclose(ours.singular_, theirs.singular_, rtol=1e-10, atol=1e-12)
    np.testing.assert_array_equal(X, before)


def test_independent_columns_are_solved_to_the_last_digit() -> None:
    # Integers that satisfy the equations exactly: the solution is known, and far from orthogonal.
    year = np.arange(1950.0, 1990.0)
    X = np.column_stack([year, (year - 1950) ** 2])
    y = X @ [3.0, -2.0] + 7
    ours = LinearRegression(tol=0).fit(X, y)
    np.testing.assert_allclose([*ours.coef_, ours.intercept_], [3, -2, 7], rtol=1e-15)
    theirs = sklearn.linear_model.LinearRegression(tol=0).fit(X, y)
    assert abs(theirs.intercept_ - 7) > 1e3 * abs(ours.intercept_ - 7)


def test_coefficients_that_must_not_be_negative_are_the_constrained_optimum() -> None:
    X, y, weights = data("tall", 1)
    y = y - 2 * X[:, 1]
    model = LinearRegression(positive=True).fit(X, y, weights)
    theirs = sklearn.linear_model.LinearRegression(positive=True).fit(X, y, weights)
    np.testing.assert_allclose(model.coef_, theirs.coef_, rtol=1e-10, atol=1e-12)
    gradient = X.T @ (weights * (model.predict(X) - y))
    assert model.coef_.min() == 0 and model.coef_.max() > 0
    assert np.abs(gradient[model.coef_ > 0]).max() < 1e-10
    assert gradient[model.coef_ == 0].min() >= 0


def test_sparse_rows_are_never_filled_in(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    X = sparse.random_array((2000, 300), density=0.02, rng=rng, format="csr")
    y = X @ rng.normal(size=300) + 3

    def refuse(matrix: Any, *_: Any, **__: Any) -> Any:
        if np.prod(matrix.shape) > 300**2:
            raise AssertionError("sparse rows were filled in")
        return matrix.tocoo().toarray()

    monkeypatch.setattr(sparse.csr_array, "toarray", refuse)
    model = LinearRegression().fit(X, y)
    assert model.intercept_ == pytest.approx(3, abs=1e-10)


def test_the_constructor_is_scikit_learns() -> None:
    ours = inspect.signature(LinearRegression).parameters.values()
    theirs = inspect.signature(sklearn.linear_model.LinearRegression).parameters.values()
    assert [(p.name, p.kind, p.default) for p in ours] == [
        (p.name, p.kind, p.default) for p in theirs
    ]


@parametrize_with_checks([LinearRegression(), LinearRegression(positive=True)])
def test_scikit_learns_checks_pass(estimator: Any, check: Any) -> None:
    check(estimator)
