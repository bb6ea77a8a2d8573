"""Estimators in scikit-learn's protocol: its own checks, its tools, labels, rows, warnings."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.utils.estimator_checks import parametrize_with_checks

import torchlogreg
from torchlogreg import L2, History
from torchlogreg.estimators import LinearRegressor, LogisticClassifier, OrdinalClassifier
from torchlogreg.names import PENALTIES, WEIGHTINGS
from torchlogreg.state import FitState, Hook

ESTIMATORS = (LinearRegressor, LogisticClassifier, OrdinalClassifier)
F64 = torch.float64


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.SkipTestWarning")
@parametrize_with_checks([make() for make in ESTIMATORS])
def test_scikit_learns_own_checks(estimator: Any, check: Any) -> None:
    # Its blobs are often separable, of which the estimators warn. No failure is expected.
    check(estimator)
    assert estimator.get_params() == type(estimator)().get_params()


def noisy(n_classes: int = 3, n: int = 120, p: int = 4, seed: int = 0) -> tuple[Any, Any]:
    """Overlapping ordered classes 0, 1, ... of about equal size."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, p)) * 10.0 ** np.arange(p) + 3
    latent = (X - 3) / 10.0 ** np.arange(p) @ np.linspace(1, -0.5, p) + rng.logistic(size=n)
    return X, np.searchsorted(np.quantile(latent, np.arange(1, n_classes) / n_classes), latent)


def target_for(estimator: Any, seed: int = 0) -> tuple[Any, Any]:
    X, y = noisy(seed=seed)
    return X, y + 0.1 * X[:, 0] if isinstance(estimator, LinearRegressor) else y


@pytest.mark.parametrize("make", ESTIMATORS)
def test_a_pickle_predicts_the_same_and_carries_no_rows(make: Any) -> None:
    X, y = target_for(make())
    estimator = make().fit(X, y)
    size = len(pickle.dumps(make().fit(X[:40], y[:40])))
    loaded = pickle.loads(pickle.dumps(estimator))
    assert np.array_equal(loaded.predict(X), estimator.predict(X))
    assert len(pickle.dumps(estimator)) - size < 80 * X.shape[1] * 8  # weights of rows, not rows
    for other in (loaded, copy.deepcopy(estimator)):
        with pytest.raises(ValueError, match="pass X and y"):
            other.infer()


@pytest.mark.parametrize("make", ESTIMATORS)
def test_before_fit_everything_says_so(make: Any) -> None:
    for method in ("predict", "infer", "summary"):
        with pytest.raises(NotFittedError):
            getattr(make(), method)(np.ones((2, 2)), np.ones(2)) if method != "predict" else (
                make().predict(np.ones((2, 2)))
            )


@pytest.mark.parametrize("make", ESTIMATORS)
def test_a_frame_gives_feature_names_and_the_same_numbers(make: Any) -> None:
    X, y = target_for(make())
    frame = pd.DataFrame(X, columns=list("abcd"))
    named, plain = make().fit(frame, pd.Series(y)), make().fit(X, y)
    assert named.feature_names_in_.tolist() == list("abcd")
    assert np.array_equal(named.coef_, plain.coef_)
    assert named.history_.meta["feature_names"] == list("abcd")
    with pytest.raises(ValueError, match="feature names"):
        named.predict(frame[list("badc")])


@pytest.mark.parametrize("make", ESTIMATORS)
def test_tensors_in_tensors_out(make: Any) -> None:
    X, y = target_for(make())
    rows, target = torch.from_numpy(X), torch.from_numpy(y)
    given, plain = make().fit(rows, target), make().fit(X, y)
    for name in ("coef_", "cutpoints_"):
        if hasattr(plain, name):
            assert torch.equal(getattr(given, name), torch.from_numpy(getattr(plain, name)))
    for method in ("predict", "predict_proba", "decision_function"):
        if hasattr(plain, method):
            answer = getattr(given, method)(rows)
            assert torch.equal(answer, torch.from_numpy(getattr(plain, method)(X)))
    assert given.score(rows, target) == plain.score(X, y)
    with pytest.raises(ValueError, match="features"):
        given.predict(rows[:, :2])


@pytest.mark.parametrize("make", ESTIMATORS)
def test_the_module_of_raw_columns_is_what_predicts(make: Any) -> None:
    X, y = target_for(make())
    estimator = make().fit(X, y)
    eta = estimator.model_(torch.from_numpy(X))
    mean = estimator.model_.mean(eta).detach().numpy()
    own = getattr(estimator, "predict_proba", estimator.predict)(X)
    assert np.allclose(own, mean, rtol=0, atol=1e-13)
    assert estimator.result_.model is estimator.model_


@pytest.mark.parametrize("make", ESTIMATORS)
def test_an_offset_is_a_column_of_known_coefficient(make: Any) -> None:
    X, y = target_for(make())
    free = make().fit(X, y)
    known = X[:, 0] * np.atleast_2d(free.coef_)[0, 0]
    if make is LogisticClassifier:  # one offset a class
        known = X[:, :1] * free.coef_[:, 0]
    rest = make().fit(X[:, 1:], y, offset=known)
    assert np.allclose(rest.coef_, np.atleast_2d(free.coef_)[..., 1:], rtol=1e-7, atol=1e-12)
    assert np.array_equal(rest.predict(X[:, 1:], offset=known), free.predict(X)) or (
        make is LinearRegressor
    )
    assert rest.score(X[:, 1:], y, offset=known) == pytest.approx(free.score(X, y), abs=1e-12)
    with pytest.raises(ValueError, match="offset has 3 rows"):
        rest.predict(X[:, 1:], offset=known[:3])


@pytest.mark.parametrize("make", ESTIMATORS)
def test_zero_weight_equals_removal_and_two_a_repeated_row(make: Any) -> None:
    X, y = target_for(make())
    weight = np.arange(len(y)) % 3
    repeated = make().fit(np.repeat(X, weight, axis=0), np.repeat(y, weight))
    weighted = make().fit(X, y, weight)
    assert np.allclose(weighted.coef_, repeated.coef_, rtol=1e-10)
    assert weighted.score(X, y, weight) == pytest.approx(
        weighted.score(np.repeat(X, weight, axis=0), np.repeat(y, weight)), abs=1e-12
    )


@pytest.mark.parametrize("make", ESTIMATORS)
def test_warm_start_begins_at_the_optimum_it_left(make: Any) -> None:
    X, y = target_for(make())
    estimator = make(warm_start=True, penalty=L2(0.1), optimizer="newton").fit(X, y)
    cold, coef = estimator.n_iter_, estimator.coef_
    estimator.fit(X, y)
    assert estimator.n_iter_ < cold or make is LinearRegressor  # one step is enough there
    assert estimator.history_["optimality"][0] < 1e-12
    assert np.allclose(estimator.coef_, coef, rtol=1e-9)
    with pytest.raises(ValueError, match="warm_start"):
        estimator.fit(X[:, :2], y)


@pytest.mark.parametrize("make", ESTIMATORS)
def test_float32_is_asked_for_and_stays_close(make: Any) -> None:
    X, y = target_for(make())
    rounded = X.astype(np.float32)
    wide = make().fit(rounded, y)
    assert np.array_equal(wide.coef_, make().fit(rounded.astype(np.float64), y).coef_)
    narrow = make(dtype="float32").fit(X, y)
    assert wide.coef_.dtype == np.float64
    assert narrow.coef_.dtype == np.float32
    assert np.allclose(narrow.coef_, wide.coef_, rtol=1e-3, atol=1e-6)
    with pytest.raises(ValueError, match="dtype is 'int64'"):
        make(dtype="int64").fit(X, y)


def test_history_holds_every_epoch_and_the_scaling() -> None:
    X, y = noisy(2)
    classifier = LogisticClassifier().fit(X, y)
    history = classifier.history_
    assert isinstance(history, History)
    assert len(history) == classifier.n_iter_ + 1
    assert history["objective"][-1] == classifier.result_.objective
    assert np.all(np.diff(history["objective"]) <= 1e-15)
    scales = np.array(history.meta["column_scales"])
    assert np.allclose(history.params()["weight"][0] / scales, classifier.coef_[0], rtol=1e-12)


class Shapes(Hook):
    """Remembers what it saw."""

    def on_fit_start(self, state: FitState) -> None:
        self.means = state.data.X.mean(0)
        self.scales = state.data.X.std(0, correction=0)


def test_hooks_see_standardised_columns() -> None:
    X, y = noisy(2)
    hook = Shapes()
    LogisticClassifier(hooks=[hook]).fit(X, y)
    assert hook.means.abs().max() < 1e-12
    assert torch.allclose(hook.scales, torch.ones(4, dtype=F64))


def test_separated_classes_warn_in_both_libraries_kinds_once() -> None:
    X = np.arange(10.0)[:, None]
    with pytest.warns(ConvergenceWarning, match="separated") as caught:
        LogisticClassifier().fit(X, X[:, 0] > 4.5)
    assert len(caught) == 1
    assert isinstance(caught[0].message, torchlogreg.ConvergenceWarning)
    assert caught[0].filename == __file__


def test_too_few_epochs_warn() -> None:
    X, y = noisy(2)
    with pytest.warns(ConvergenceWarning, match="max_epochs"):
        LogisticClassifier(max_epochs=2, optimizer="sgd").fit(X, y)


class Interrupt(Hook):
    """Ctrl-C in the second epoch."""

    def on_epoch_end(self, state: FitState) -> None:
        if state.epoch == 2:
            raise KeyboardInterrupt


def test_ctrl_c_leaves_a_fitted_estimator_and_goes_on_up() -> None:
    # fit ends cleanly on Ctrl-C; a grid search that swallowed it would start the next fit.
    X, y = noisy(2)
    classifier = LogisticClassifier(hooks=[Interrupt()])
    with pytest.raises(KeyboardInterrupt):
        classifier.fit(X, y)
    assert classifier.n_iter_ == 2
    assert classifier.predict(X).shape == y.shape


@pytest.mark.parametrize("make", ESTIMATORS)
def test_penalties_and_optimizers_by_name_are_the_objects(make: Any) -> None:
    X, y = target_for(make())
    named = make(penalty="l2", alpha=0.2, optimizer="newton").fit(X, y)
    assert np.array_equal(named.coef_, make(penalty=L2(0.2), optimizer="newton").fit(X, y).coef_)
    for setting in ({"penalty": "L2"}, {"optimizer": "newtn"}, {"weighting": "boosted"}):
        with pytest.raises(ValueError, match="the names are"):
            make(**setting).fit(X, y)
    with pytest.raises(TypeError, match="takes a name"):
        make(penalty=0.1).fit(X, y)


def test_names_are_those_of_the_scripts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "scripts"))
    import train_settings

    options = [a for a in train_settings.options()._actions if a.choices]
    choices = {a.option_strings[0]: set(a.choices) for a in options}
    assert choices["--weighting"] == set(WEIGHTINGS)
    assert choices["--penalty"] == set(PENALTIES)


def test_mini_batches_repeat_with_a_random_state() -> None:
    X, y = noisy(2)
    settings = {"batch_size": 16, "max_epochs": 3, "tol": 0, "optimizer": "sgd"}
    first, again, other = (
        LogisticClassifier(random_state=seed, **settings).fit(X, y).coef_ for seed in (0, 0, 1)
    )
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_a_device_that_is_not_there_is_refused() -> None:
    X, y = noisy(2)
    with pytest.raises(ValueError, match="sees no CUDA device"):
        LogisticClassifier(device="cuda").fit(X, y)


def test_a_device_of_no_kind_is_refused_in_a_few_words() -> None:
    X, y = noisy(2)
    with pytest.raises(ValueError, match="device is 'gpu', which torch does not know"):
        LogisticClassifier(device="gpu").fit(X, y)


def test_settings_that_cannot_be_meant_are_named() -> None:
    # One hook without a list ended in "Value after * must be an iterable".
    X, y = noisy(2)
    with pytest.raises(TypeError, match="hooks= got a Shapes, but it takes a list"):
        LogisticClassifier(hooks=Shapes()).fit(X, y)
    with pytest.raises(ValueError, match=r"non-smooth penalty L1\(alpha=0.2\)"):  # not a wrapper's
        LogisticClassifier(penalty="l1", alpha=0.2, optimizer="newton").fit(X, y)


def test_an_offset_of_new_rows_is_finite() -> None:
    # With NaN every row was predicted to be of the first class.
    X, y = noisy(2)
    fitted = LogisticClassifier().fit(X, y)
    with pytest.raises(ValueError, match="offset is not finite"):
        fitted.predict(X[:2], offset=np.array([0.0, np.nan]))
