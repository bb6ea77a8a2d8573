"""compat.LogisticRegressionCV: scikit-learn's paths, scores and choices, in both layouts."""

from __future__ import annotations

import inspect
import itertools
import pickle
import warnings
from typing import Any

import numpy as np
import pytest
import sklearn.linear_model
import torch
from scipy import sparse
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import get_scorer
from sklearn.model_selection import StratifiedKFold
from sklearn.utils.estimator_checks import parametrize_with_checks
from test_compat import data

from torchlogreg.compat import LinearRegression, LogisticRegression, LogisticRegressionCV

PLAIN = {"l1_ratios": (0,), "scoring": "neg_log_loss", "use_legacy_attributes": False}
CS = [1.0, 0.01, 30.0]  # in no order
FOLDS = list(StratifiedKFold(3).split(*data(3)[:2]))


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.SkipTestWarning")
@pytest.mark.filterwarnings("ignore:The least populated class:UserWarning")
@parametrize_with_checks([LogisticRegressionCV(Cs=[0.1, 1.0], cv=2, **PLAIN)])
def test_scikit_learns_own_checks(estimator: Any, check: Any) -> None:
    # No failure is expected.
    check(estimator)


def test_the_constructor_is_that_of_scikit_learn() -> None:
    ours, theirs = (
        inspect.signature(c.__init__).parameters
        for c in (LogisticRegressionCV, sklearn.linear_model.LogisticRegressionCV)
    )
    assert {n: p.default for n, p in ours.items()} == {n: p.default for n, p in theirs.items()}


def both(X: Any, y: Any, weight: Any = None, **settings: Any) -> tuple[Any, Any]:
    """Ours and scikit-learn's, the latter by its solver that gets all digits."""
    solver = {"solver": "newton-cholesky", "tol": 1e-13, "Cs": CS, "cv": FOLDS}
    settings = solver | PLAIN | settings
    theirs = sklearn.linear_model.LogisticRegressionCV(**settings)
    with warnings.catch_warnings():  # that its line search failed, at the optimum
        warnings.simplefilter("ignore", ConvergenceWarning)
        theirs.fit(X, y, sample_weight=weight)
    return LogisticRegressionCV(**settings).fit(X, y, sample_weight=weight), theirs


TABLE = list(
    itertools.product((2, 3), (False, True), (True, False), ("neg_log_loss", "roc_auc_ovr"))
)


@pytest.mark.parametrize(("n_classes", "weighted", "intercept", "scoring"), TABLE)
def test_paths_scores_and_choices_are_those_of_scikit_learn(
    n_classes: int, weighted: bool, intercept: bool, scoring: str
) -> None:
    X, y, weight = data(n_classes)
    ours, theirs = both(
        X,
        y,
        weight if weighted else None,
        fit_intercept=intercept,
        scoring=scoring,
        class_weight="balanced" if weighted else None,
    )
    for name in ("coefs_paths_", "scores_", "coef_", "intercept_", "C_", "l1_ratio_", "Cs_"):
        got, want = np.asarray(getattr(ours, name)), np.asarray(getattr(theirs, name))
        assert got.shape == want.shape, name
        assert np.abs(got - want).max() < 1e-8, name
    assert ours.n_iter_.shape == theirs.n_iter_.shape
    assert ours.score(X, y, weight) == pytest.approx(theirs.score(X, y, sample_weight=weight))


@pytest.mark.parametrize("refit", [True, False])
@pytest.mark.parametrize(("n_classes", "l1_ratios"), [(2, None), (3, (0,)), (3, None)])
def test_the_old_layout_is_that_of_scikit_learn(
    n_classes: int, l1_ratios: Any, refit: bool
) -> None:
    X, y, _ = data(n_classes)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        ours, theirs = both(X, y, use_legacy_attributes=True, refit=refit, l1_ratios=l1_ratios)
    for name in ("coefs_paths_", "scores_"):
        got, want = getattr(ours, name), getattr(theirs, name)
        assert list(got) == list(want)
        for label in want:
            assert got[label].shape == want[label].shape
            assert np.abs(got[label] - want[label]).max() < 1e-8
    for name in ("coef_", "intercept_", "C_"):
        assert np.allclose(getattr(ours, name), getattr(theirs, name), rtol=0, atol=1e-8)
    for name in ("l1_ratio_", "l1_ratios_", "n_iter_"):
        got, want = getattr(ours, name), getattr(theirs, name)
        assert got.shape == want.shape and (name == "n_iter_" or np.array_equal(got, want))


@pytest.mark.parametrize(
    ("solver", "l1_ratio", "n_classes"),
    [("liblinear", 0, 2), ("liblinear", 1, 2), ("saga", 1, 3), ("saga", 0.4, 2)],
)
def test_every_fold_is_a_fit_of_its_rows_alone(
    solver: str, l1_ratio: float, n_classes: int
) -> None:
    X, y, weight = data(n_classes)
    kept = {"solver": solver, "tol": 1e-12, "max_iter": 10_000, "class_weight": {"ash": 2.0}}
    ours = LogisticRegressionCV(Cs=CS, cv=FOLDS, **kept, **(PLAIN | {"l1_ratios": (l1_ratio,)}))
    ours.fit(X, y, sample_weight=weight)
    scorer = get_scorer("neg_log_loss")
    for (f, (train, test)), (a, C) in itertools.product(enumerate(FOLDS), enumerate(CS)):
        alone = LogisticRegression(C=C, l1_ratio=l1_ratio, **kept)
        alone.fit(X[train], y[train], weight[train])
        got = ours.coefs_paths_[f, 0, a]
        assert np.abs(got[:, :-1] - alone.coef_).max() < 1e-8
        assert np.abs(got[:, -1] - alone.intercept_).max() < 1e-8
        score = scorer(alone, X[test], y[test], sample_weight=weight[test])
        assert ours.scores_[f, 0, a] == pytest.approx(score, abs=1e-8)
    alone = LogisticRegression(C=ours.C_, l1_ratio=l1_ratio, **kept).fit(X, y, weight)
    assert np.abs(ours.coef_ - alone.coef_).max() < 1e-8


def test_sparse_rows_and_several_processes_give_the_same() -> None:
    X, y, _ = data(3)
    settings: dict[str, Any] = {"Cs": CS, "cv": FOLDS, "solver": "saga", "tol": 1e-10}
    settings |= PLAIN | {"l1_ratios": (0.5, 1)}
    one = LogisticRegressionCV(**settings).fit(X, y)
    two = LogisticRegressionCV(n_jobs=2, **settings).fit(X, y)
    assert np.array_equal(one.coefs_paths_, two.coefs_paths_)
    thin = LogisticRegressionCV(**settings).fit(sparse.csr_array(X), y)
    assert np.abs(one.coefs_paths_ - thin.coefs_paths_).max() < 1e-8
    assert (one.C_, one.l1_ratio_) == (thin.C_, thin.l1_ratio_)
    assert np.array_equal(pickle.loads(pickle.dumps(one)).predict(X), one.predict(X))
    assert repr(clone(one)) == repr(one)


def test_tensors_may_require_gradients_and_what_they_give_is_an_array() -> None:
    # numpy() of a tensor that requires a gradient is a RuntimeError.
    X, y, weight = data(2)
    t, labels = torch.tensor(X, requires_grad=True), (y == "ash").astype(float)
    given = (t, torch.tensor(labels), torch.tensor(weight, requires_grad=True))
    models: list[Any] = [LogisticRegression(), LinearRegression()]
    for model in [*models, LogisticRegressionCV(Cs=[1.0], cv=FOLDS, **PLAIN)]:
        want = clone(model).fit(X, labels, sample_weight=weight)
        model.fit(given[0], given[1], sample_weight=given[2])
        assert np.array_equal(model.coef_, want.coef_)
        assert np.array_equal(model.predict(t), want.predict(X))
        assert isinstance(model.predict(t), np.ndarray)
        assert model.score(t, given[1], given[2]) == want.score(X, labels, weight)


def test_rows_that_a_fold_repeats_count_as_often_and_masks_are_folds() -> None:
    X, y, _ = data(2)
    train, test = FOLDS[0]
    mask = np.isin(np.arange(len(y)), train)
    twice = np.concatenate((train, train[:20]))
    found = LogisticRegressionCV(Cs=[1.0], cv=[(mask, ~mask), (twice, test)], **PLAIN).fit(X, y)
    for f, rows in enumerate((train, twice)):
        alone = LogisticRegression(tol=1e-12).fit(X[rows], y[rows])
        assert np.abs(found.coefs_paths_[f, 0, 0, :, :-1] - alone.coef_).max() < 1e-8


def test_a_penalty_of_none_in_the_grid_is_a_fit_without_one() -> None:
    X, y, _ = data(3)
    found = LogisticRegressionCV(Cs=[1.0, np.inf], cv=FOLDS, tol=1e-12, **PLAIN).fit(X, y)
    train = FOLDS[0][0]
    alone = LogisticRegression(C=np.inf, tol=1e-12).fit(X[train], y[train])
    assert np.abs(found.coefs_paths_[0, 0, 1, :, :-1] - alone.coef_).max() < 1e-7


def test_a_loose_tolerance_still_gives_six_digits_of_every_fold() -> None:
    # Scikit-learn's has three there.
    X, y, _ = data(3)
    settings: dict[str, Any] = {"Cs": CS, "cv": FOLDS, **PLAIN}
    loose = LogisticRegressionCV(**settings).fit(X, y).coefs_paths_
    tight = LogisticRegressionCV(tol=1e-13, **settings).fit(X, y).coefs_paths_
    assert 0 < np.abs(loose - tight).max() < 1e-6 * np.abs(tight).max()


def test_an_even_number_of_classes_leaves_lasso_coefficients_a_choice() -> None:
    # What is added to a column's coefficients of all classes changes no probability, and, while
    # zero stays between the middle two, not the sum of their sizes: scikit-learn ends elsewhere.
    X, y, _ = data(2)
    labels = np.where(X[:, 0] > X[:, 1], y.astype("U9"), np.char.add(y.astype("U9"), "2"))
    model = LogisticRegression(C=100, l1_ratio=1, solver="saga", tol=1e-12).fit(X, labels)
    assert len(model.classes_) == 4
    low, high = np.sort(model.coef_, axis=0)[1:3]
    column = int(np.argmax((low <= 0) & (high >= 0) & (high - low > 1e-3)))
    assert low[column] <= 0 <= high[column] and high[column] - low[column] > 1e-3
    before, total = model.predict_proba(X), np.abs(model.coef_).sum()
    model.coef_[:, column] -= 0.5 * (low[column] + high[column])
    assert np.abs(model.coef_).sum() == pytest.approx(total, rel=1e-12)
    assert np.allclose(model.predict_proba(X), before, rtol=0, atol=1e-12)
