"""Estimators among scikit-learn's tools: metadata routing, containers, pictures of themselves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
import sklearn
import torch
from scipy import sparse
from sklearn.base import clone
from sklearn.datasets import load_iris
from sklearn.model_selection import GridSearchCV, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from test_estimators import noisy

from torchlogreg import compat
from torchlogreg.estimators import (
    LinearRegressor,
    LogisticClassifier,
    LogisticClassifierCV,
    OrdinalClassifier,
)
from torchlogreg.hooks import Recorder

CLASSIFIERS = {
    "logistic": lambda: LogisticClassifier(penalty="l2", alpha=0.01),
    "ordinal": lambda: OrdinalClassifier(penalty="l2", alpha=0.01),
    "cv": lambda: LogisticClassifierCV(alphas=[0.1, 0.01], cv=2),
}
EVERY = CLASSIFIERS | {
    "linear": lambda: LinearRegressor(),
    "drop-in": lambda: compat.LogisticRegression(),
    "drop-in least squares": lambda: compat.LinearRegression(),
}


@pytest.fixture
def rows() -> tuple[Any, Any, Any]:
    """Rows, labels, offsets, where the offsets matter; in random order."""
    X, y = load_iris(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(y))
    return X[order], y[order], np.random.default_rng(1).normal(0, 4, len(y))


@pytest.mark.parametrize("make", CLASSIFIERS.values(), ids=CLASSIFIERS)
def test_an_offset_is_routed_to_predictions_and_to_scores(make: Any, rows: Any) -> None:
    X, y, known = rows
    y = (y > 0).astype(int)
    plain = make().fit(X, y, offset=known)
    with sklearn.config_context(enable_metadata_routing=True):
        asking = make().set_fit_request(offset=True).set_predict_request(offset=True)
        pipeline = make_pipeline(StandardScaler(with_mean=False, with_std=False), asking)
        pipeline.fit(X, y, offset=known)
        assert np.array_equal(pipeline.predict(X, offset=known), plain.predict(X, offset=known))
        assert not np.array_equal(plain.predict(X), plain.predict(X, offset=known))
        for method in ("predict_proba", "predict_log_proba", "decision_function"):
            one = getattr(make().set_fit_request(offset=True), f"set_{method}_request")(offset=True)
            routed = make_pipeline(StandardScaler(with_mean=False, with_std=False), one)
            found = getattr(routed.fit(X, y, offset=known), method)(X, offset=known)
            assert np.array_equal(found, getattr(plain, method)(X, offset=known))
        scored = make().set_fit_request(offset=True).set_score_request(offset=True)
        found = cross_validate(
            scored, X, y, cv=3, params={"offset": known}, return_estimator=True, return_indices=True
        )
    for one, test, score in zip(
        found["estimator"], found["indices"]["test"], found["test_score"], strict=True
    ):
        assert score == np.mean(one.predict(X[test], offset=known[test]) == y[test])


def test_metadata_nobody_asked_for_is_refused(rows: Any) -> None:
    X, y, known = rows
    with (
        sklearn.config_context(enable_metadata_routing=True),
        pytest.raises(sklearn.exceptions.UnsetMetadataPassedError, match="offset"),
    ):
        GridSearchCV(LogisticClassifier(penalty="l2"), {"alpha": [0.1]}).fit(X, y, offset=known)


@pytest.mark.parametrize("kind", ["pandas", "polars"])
@pytest.mark.parametrize("make", EVERY.values(), ids=EVERY)
def test_frames_of_a_transformer_keep_their_names(make: Any, kind: str, rows: Any) -> None:
    X, y, _ = rows
    names = ["a", "b", "c", "d"]
    frame = pd.DataFrame(X, columns=names) if kind == "pandas" else pl.DataFrame(X, schema=names)
    pipeline = make_pipeline(StandardScaler(), make()).set_output(transform=kind).fit(frame, y)
    assert pipeline[-1].feature_names_in_.tolist() == names
    bare = make_pipeline(StandardScaler(), make()).fit(X, y)
    assert np.allclose(pipeline.predict(frame), bare.predict(X), rtol=1e-12)


@pytest.mark.parametrize("kind", ["pandas", "polars"])
@pytest.mark.parametrize("make", EVERY.values(), ids=EVERY)
def test_columns_in_another_order_are_refused(make: Any, kind: str, rows: Any) -> None:
    X, y, _ = rows
    names = ["a", "b", "c", "d"]
    frame = pd.DataFrame(X, columns=names) if kind == "pandas" else pl.DataFrame(X, schema=names)
    model = make().fit(frame, y)
    for ask in (model.predict, lambda wrong: model.score(wrong, y)):
        with pytest.raises(ValueError, match="must be in the same order as they were in fit"):
            ask(frame[["b", "a", "c", "d"]])
    with pytest.raises(ValueError, match="yet now missing"):
        model.predict(frame[["a", "b", "c"]])


@pytest.mark.parametrize("make", EVERY.values(), ids=EVERY)
def test_a_notebook_shows_the_estimator_and_its_settings(make: Any, rows: Any) -> None:
    X, y, _ = rows
    model = make()
    before = model._repr_html_()
    after = model.fit(X, y)._repr_html_()
    assert type(model).__name__ in before and "Not fitted" in before
    assert "Fitted" in after
    assert type(clone(model)) is type(model) and clone(model).get_params() == model.get_params()


ROWS = {
    "read-only": lambda X: _read_only(X),
    "every other column of wider rows": lambda X: np.repeat(X, 2, axis=1)[:, ::2],
    "columns first": np.asfortranarray,
    "long double": lambda X: X.astype(np.longdouble),
    "other bytes first": lambda X: X.astype(">f8"),
    "objects": lambda X: X.astype(object),
    "nullable": lambda X: pd.DataFrame(X).astype("Float64"),
    "csc": sparse.csc_array,
    "coo": sparse.coo_array,
    "csr_matrix": sparse.csr_matrix,
}


def _read_only(X: Any) -> Any:
    X = X.copy()
    X.flags.writeable = False
    return X


@pytest.mark.parametrize("kind", ROWS)
@pytest.mark.parametrize("make", EVERY.values(), ids=EVERY)
def test_rows_of_any_layout_are_the_same_rows(make: Any, kind: str, rows: Any) -> None:
    X, y, _ = rows
    want = make().fit(X, y)
    got = make().fit(ROWS[kind](X), y)
    assert np.allclose(got.predict(ROWS[kind](X)), want.predict(X), rtol=1e-9, atol=1e-9)
    assert np.allclose(got.coef_, want.coef_, rtol=1e-3, atol=1e-4)  # drop-in: a loose tolerance


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")  # no penalty is left
@pytest.mark.parametrize("size", [1e300, 1e155, 1e-140, 1e-160, 1e-290])
@pytest.mark.parametrize("make", EVERY.values(), ids=EVERY)
def test_columns_of_any_size_are_no_error(make: Any, size: float, rows: Any) -> None:
    # The square of such an entry is no float64: a Hessian of raw columns was infinite.
    X, y, _ = rows
    model = make().fit(X * size, y)
    assert np.isfinite(np.asarray(model.predict(X * size))).all()
    assert np.isfinite(np.asarray(model.coef_)).all()


@pytest.mark.parametrize("make", CLASSIFIERS.values(), ids=CLASSIFIERS)
def test_labels_and_answers_stay_tensors(make: Any, rows: Any) -> None:
    X, y, known = (torch.from_numpy(part) for part in rows)
    model = make().fit(X, y, offset=known)
    assert isinstance(model.coef_, torch.Tensor) and isinstance(model.classes_, torch.Tensor)
    for method in ("predict", "predict_proba", "predict_log_proba", "decision_function"):
        assert isinstance(getattr(model, method)(X, offset=known), torch.Tensor)
    array = make().fit(*(np.asarray(part) for part in (X, y)), offset=np.asarray(known))
    assert np.allclose(model.coef_, array.coef_, rtol=1e-9)


def test_weights_below_zero_are_refused_in_scikit_learns_words(rows: Any) -> None:
    X, y, _ = rows
    with pytest.raises(ValueError, match="Negative values in data passed to `sample_weight`"):
        compat.LogisticRegression().fit(X, y, -np.ones(len(y)))


def test_hooks_have_names_and_are_new_for_every_fit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    X, y = noisy(2)
    monkeypatch.chdir(tmp_path)
    recorder = Recorder()
    classifier = LogisticClassifier(hooks=["tensorboard", "stop_on_non_finite", recorder])
    copied = clone(classifier)
    for _ in range(2):
        classifier.fit(X, y)
    assert len(recorder.history) >= classifier.n_iter_
    folders = list((tmp_path / "runs").iterdir())
    assert len(folders) == 2 and all(list(folder.iterdir()) for folder in folders)
    assert [h if isinstance(h, str) else type(h) for h in copied.hooks] == [
        "tensorboard",
        "stop_on_non_finite",
        Recorder,
    ]
    plain = LogisticClassifier().fit(X, y)
    assert np.array_equal(LogisticClassifier(hooks="progress").fit(X, y).coef_, plain.coef_)
    with pytest.raises(ValueError, match="unknown hook 'progres'; the names are progress"):
        LogisticClassifier(hooks=["progres"]).fit(X, y)
