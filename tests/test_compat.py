"""compat.LogisticRegression: scikit-learn's answers, attributes, warnings; sparse rows."""

from __future__ import annotations

import inspect
import itertools
import pickle
import warnings
from typing import Any

import numpy as np
import pytest
import sklearn.linear_model
from scipy import sparse
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.estimator_checks import parametrize_with_checks

from torchlogreg.compat import LogisticRegression

TIGHT = {"tol": 1e-13, "max_iter": 20_000}

PENALTIES: dict[str, dict[str, Any]] = {
    "ridge": {"solver": "newton-cholesky", "C": 0.7},
    "none": {"solver": "newton-cholesky", "C": np.inf},
    "lasso": {"solver": "saga", "C": 0.7, "l1_ratio": 1},
    "elastic net": {"solver": "saga", "C": 0.7, "l1_ratio": 0.3},
    "liblinear ridge": {"solver": "liblinear", "C": 0.7, "intercept_scaling": 3.0},
    "liblinear lasso": {"solver": "liblinear", "C": 0.7, "l1_ratio": 1},
}


def data(n_classes: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows with zeros, labels that are no numbers, and weights, some of them zero."""
    rng = np.random.default_rng(5)
    X = rng.normal(size=(90, 4)) * (rng.random((90, 4)) < 0.6) + [0.5, 0, 0, 0]
    scores = X @ rng.normal(size=(4, n_classes)) + rng.gumbel(size=(90, n_classes))
    y = np.array(["ash", "elm", "oak"])[scores.argmax(axis=1)]
    weights: np.ndarray = rng.integers(0, 4, size=90) / 2
    return X, y, weights


TABLE = [
    case
    for case in itertools.product(PENALTIES, (False, True), (2, 3), (False, True), (False, True))
    if not (case[0].startswith("liblinear") and case[2] == 3)
]


def reference(
    X: np.ndarray, y: np.ndarray, sample_weight: np.ndarray | None, settings: dict[str, Any]
) -> Any:
    """scikit-learn's fit, by a solver of its own that gets all digits.

    Its SAGA does not arrive where rows have weights (objective 0.56 above ours after 20,000 passes
    over three classes): rows are repeated for it. Its liblinear stops at seven digits of a ridge:
    its intercept is spelt out as the column that it stands for.
    """
    if settings["solver"] == "saga" and sample_weight is not None:
        counts = (2 * sample_weight * np.where(y == "elm", 2, 1)).astype(int)
        X, y, sample_weight = np.repeat(X, counts, axis=0), np.repeat(y, counts), None
        settings = settings | {"C": settings["C"] / 2, "class_weight": None}
    spelt = settings["solver"] == "liblinear" and not settings.get("l1_ratio")
    column = settings.get("intercept_scaling", 1.0) * settings["fit_intercept"]
    if spelt:
        X = np.column_stack([X, np.full(len(X), column)])
        settings = settings | {"solver": "newton-cholesky", "fit_intercept": False}
    model = sklearn.linear_model.LogisticRegression(**settings, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # at 1e-13 it may stop in rounding
        model.fit(X, y, sample_weight=sample_weight)
    if spelt:
        model.intercept_ = column * model.coef_[:, -1]
        model.coef_ = model.coef_[:, :-1]
        model.n_features_in_ -= 1
    return model


@pytest.mark.parametrize(("penalty", "weighted", "n_classes", "intercept", "as_sparse"), TABLE)
def test_answers_are_scikit_learns_to_eight_digits(
    penalty: str, weighted: bool, n_classes: int, intercept: bool, as_sparse: bool
) -> None:
    X, y, weights = data(n_classes)
    settings = {**PENALTIES[penalty], **TIGHT, "fit_intercept": intercept}
    settings["class_weight"] = {"elm": 2.0} if weighted else None
    sample_weight = weights if weighted else None
    theirs = reference(X, y, sample_weight, settings)
    rows = sparse.csr_array(X) if as_sparse else X
    ours = LogisticRegression(**settings).fit(rows, y, sample_weight=sample_weight)
    np.testing.assert_allclose(ours.coef_, theirs.coef_, rtol=1e-8, atol=1e-8)
    np.testing.assert_allclose(ours.intercept_, theirs.intercept_, rtol=1e-8, atol=1e-8)
    np.testing.assert_array_equal(ours.classes_, theirs.classes_)
    np.testing.assert_allclose(ours.predict_proba(rows), theirs.predict_proba(X), atol=1e-8)
    np.testing.assert_array_equal(ours.predict(rows), theirs.predict(X))


def test_the_constructor_is_scikit_learns() -> None:
    ours = inspect.signature(LogisticRegression).parameters.values()
    theirs = inspect.signature(sklearn.linear_model.LogisticRegression).parameters.values()
    assert [(p.name, p.kind, p.default) for p in ours] == [
        (p.name, p.kind, p.default) for p in theirs
    ]


@parametrize_with_checks(
    [LogisticRegression(), LogisticRegression(solver="liblinear"), LogisticRegression(C=np.inf)]
)
def test_scikit_learns_checks_pass(estimator: Any, check: Any) -> None:
    with warnings.catch_warnings():
        # Some checks fit separated classes, or skip what is not installed.
        warnings.simplefilter("ignore", ConvergenceWarning)
        check(estimator)


@pytest.mark.parametrize(
    "settings",
    [
        {"solver": "lbfgs", "l1_ratio": 1},
        {"solver": "newton-cg", "dual": True},
        {"solver": "liblinear", "l1_ratio": 0.5},
        {"solver": "liblinear", "C": np.inf},
        {"C": 0.0},
        {"max_iter": -1},
        {"class_weight": "even"},
        {"tol": np.nan},
    ],
)
def test_what_scikit_learn_refuses_is_refused_in_its_words(settings: dict[str, Any]) -> None:
    X, y, _ = data(2)
    with pytest.raises(ValueError) as theirs:
        sklearn.linear_model.LogisticRegression(**settings).fit(X, y)
    with pytest.raises(ValueError) as ours:
        LogisticRegression(**settings).fit(X, y)
    assert str(ours.value) == str(theirs.value)
    assert type(ours.value).__name__ == type(theirs.value).__name__


def test_an_unfinished_fit_warns_at_the_callers_line_and_names_the_cure() -> None:
    X, y, _ = data(2)
    with pytest.warns(ConvergenceWarning, match="lbfgs failed to converge after 1 iter") as caught:
        LogisticRegression(max_iter=1).fit(X, y)
    assert len(caught) == 1 and caught[0].filename == __file__
    assert "raise max_iter above 1" in str(caught[0].message)


def test_separated_classes_without_a_penalty_are_never_converged() -> None:
    X, y = [[0.0], [1.0], [2.0], [3.0]], [0, 0, 1, 1]
    with pytest.warns(ConvergenceWarning, match="separated"):
        LogisticRegression(C=np.inf).fit(X, y)


def test_a_loose_tolerance_that_is_met_does_not_warn() -> None:
    X, y, _ = data(3)
    model = LogisticRegression(tol=0.05, max_iter=2).fit(X, y)  # warnings are errors
    assert model.n_iter_.tolist() == [2]


def test_a_tolerance_of_zero_ends_at_the_optimum_without_a_warning() -> None:
    X, y, _ = data(3)
    model = LogisticRegression(tol=0).fit(X, y)
    tight = sklearn.linear_model.LogisticRegression(solver="newton-cholesky", tol=1e-12).fit(X, y)
    assert model.n_iter_[0] < 20
    np.testing.assert_allclose(model.coef_, tight.coef_, rtol=1e-9)


def test_a_warm_start_continues_from_coefficients_their_owner_set() -> None:
    X, y, _ = data(3)
    model = LogisticRegression(warm_start=True, tol=1e-10).fit(X, y)
    optimum = model.coef_
    again = model.fit(X, y)
    assert again.n_iter_[0] <= 2
    np.testing.assert_allclose(again.coef_, optimum, rtol=1e-12)
    model.coef_ = np.zeros((2, 4))
    with pytest.raises(ValueError, match=r"Initialization coef is of shape \(2, 4\)"):
        model.fit(X, y)


def test_log_probabilities_are_finite_where_a_probability_is_zero() -> None:
    model = LogisticRegression().fit([[0.0], [1.0]], [0, 1])
    model.coef_[:] = 1e4
    assert model.predict_log_proba([[1.0]])[0, 0] == pytest.approx(-1e4, rel=1e-3)


@pytest.mark.parametrize("solver", ["lbfgs", "saga"])
@pytest.mark.parametrize("n_classes", [2, 3])
def test_sparse_rows_are_never_filled_in(
    solver: str, n_classes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(0)
    n, p = 400, 20_000
    X = sparse.random_array((n, p), density=1e-3, rng=rng, format="csr")
    y = (X[:, [0]].toarray()[:, 0] + np.arange(n) % 7) % n_classes >= 1
    y = y.astype(int) + (n_classes - 2) * (np.arange(n) % 5 == 0)

    def refuse(matrix: Any, *_: Any, **__: Any) -> Any:
        if np.prod(matrix.shape) > n * p / 20:
            raise AssertionError("sparse rows were filled in")
        return matrix.tocoo().toarray()

    monkeypatch.setattr(sparse.csr_array, "toarray", refuse)
    monkeypatch.setattr(sparse.csr_array, "todense", refuse)
    ours = LogisticRegression(solver=solver, l1_ratio=int(solver == "saga")).fit(X, y)
    monkeypatch.undo()
    assert ours.coef_.shape == (n_classes if n_classes > 2 else 1, p)
    stationary(ours, X, y, l1_ratio=int(solver == "saga"))


def stationary(model: LogisticRegression, X: Any, y: np.ndarray, *, l1_ratio: float) -> None:
    """The gradient of ``sum(loss) + penalty`` vanishes, or zero is among its subgradients."""
    residual = model.predict_proba(X) - (y[:, None] == model.classes_)
    residual = residual[:, 1:] if len(model.classes_) == 2 else residual
    gradient = (X.T @ residual).T + (1 - l1_ratio) * model.coef_
    if l1_ratio:
        kept = model.coef_ != 0
        gradient = np.where(kept, gradient + l1_ratio * np.sign(model.coef_), gradient)
        gradient = np.where(kept, gradient, np.maximum(np.abs(gradient) - l1_ratio, 0))
    assert np.abs(gradient).max() < 1e-4


@pytest.mark.parametrize("solver", ["lbfgs", "saga", "liblinear"])
def test_rows_of_single_precision_are_fitted_in_double(solver: str) -> None:
    X, y, _ = data(2)
    narrow = X.astype(np.float32)
    ours = LogisticRegression(solver=solver).fit(narrow, y)
    wide = LogisticRegression(solver=solver).fit(narrow.astype(np.float64), y)
    expected = wide.coef_ if solver == "liblinear" else wide.coef_.astype(np.float32)
    np.testing.assert_array_equal(ours.coef_, expected)
    assert ours.coef_.dtype == ours.intercept_.dtype == expected.dtype


def test_a_fitted_model_survives_pickling() -> None:
    X, y, _ = data(3)
    model = LogisticRegression().fit(X, y)
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again.predict_proba(X), model.predict_proba(X))


@pytest.mark.parametrize(
    "settings", [{}, {"solver": "liblinear"}, {"solver": "saga", "l1_ratio": 1}]
)
def test_callbacks_see_every_iteration_of_the_fit(settings: dict[str, Any]) -> None:
    recording = pytest.importorskip("sklearn.callback.tests._utils")
    X, y, _ = data(2)
    watch = recording.RecordingCallback()
    model = LogisticRegression(**settings).set_callbacks(watch).fit(X, y)
    assert watch.count_hooks("setup") == watch.count_hooks("teardown") == 1
    assert watch.count_hooks("on_fit_task_end") == 1 + model.n_iter_[0]
    last = [r for r in watch.record if r["name"] == "on_fit_task_end"][-1]
    seen = last["kwargs"]["fitted_estimator"]
    np.testing.assert_allclose(seen.predict_proba(X), model.predict_proba(X), rtol=1e-12)
