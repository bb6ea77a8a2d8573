"""Estimators on sparse rows, frames of polars, and tensors elsewhere."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import sparse
from sklearn.datasets import load_breast_cancer
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression as SklearnLogistic
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from test_estimators import noisy

import afar
from torchlogreg import convergence
from torchlogreg.compressed import Compressed
from torchlogreg.estimators import LinearRegressor, LogisticClassifier, OrdinalClassifier

ESTIMATORS = (LinearRegressor, LogisticClassifier, OrdinalClassifier)
KINDS: dict[str, Callable[[Any], Any]] = {
    "csr_matrix": sparse.csr_matrix,
    "csc_array": sparse.csc_array,
    "torch": lambda X: torch.from_numpy(X).to_sparse_csr(),
    "pandas": lambda X: pd.DataFrame.sparse.from_spmatrix(sparse.csr_matrix(X)),
}


def gaps(seed: int = 0, n: int = 200, p: int = 5) -> tuple[Any, Any]:
    """Rows that are mostly zeros, and three classes."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, p)) * 10.0 ** np.arange(-1, p - 1) * (rng.random((n, p)) < 0.3)
    latent = X / 10.0 ** np.arange(-1, p - 1) @ np.linspace(1, -1, p) + rng.logistic(size=n)
    return X, np.digitize(latent, [-0.5, 0.5])


@pytest.mark.filterwarnings("ignore:.*sparse CSR.*:UserWarning")
@pytest.mark.parametrize("penalty", [None, "l2", "l1", "elasticnet"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("make", ESTIMATORS)
def test_sparse_rows_have_the_answers_of_dense_ones(make: Any, kind: str, penalty: Any) -> None:
    X, y = gaps()
    rows = KINDS[kind](X)
    dense, thin = (make(penalty=penalty, tol=1e-10).fit(R, y) for R in (X, rows))
    scale = np.abs(dense.coef_).max(axis=0)
    assert np.abs(np.asarray(thin.coef_) - dense.coef_).max() < 1e-7 * scale.max()
    for method in ("predict", "predict_proba", "decision_function"):
        if hasattr(dense, method):
            got, want = np.asarray(getattr(thin, method)(rows)), getattr(dense, method)(X)
            if method == "decision_function":  # the same number may be added to all classes
                got, want = (a - a.mean(axis=1, keepdims=True) for a in (got, want))
            assert np.allclose(got, want, rtol=1e-6, atol=1e-8)
    assert thin.score(rows, y) == pytest.approx(dense.score(X, y), abs=1e-9)


@pytest.mark.parametrize("make", ESTIMATORS)
def test_sparse_rows_are_never_filled_in(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    # 8 million zeros would fit, and be filled in here and there; with the limit at one they do not.
    monkeypatch.setattr("torchlogreg.compressed.DENSE", 1)
    monkeypatch.setattr("torchlogreg.sparse.DENSE", 1)
    X, y = gaps()
    dense = Compressed.dense

    def few(entries: Compressed, operation: str) -> Any:
        if operation == "a row":  # one row, or one column, is looked at
            return torch.from_numpy(entries.matrix.toarray())
        return dense(entries, operation)

    monkeypatch.setattr(Compressed, "dense", few)
    rows = sparse.csr_array(X)
    estimator = make(penalty="l2").fit(rows, y)
    monkeypatch.undo()
    assert np.allclose(estimator.coef_, make(penalty="l2").fit(X, y).coef_, rtol=1e-5, atol=1e-9)


def test_words_in_a_pipeline_are_those_of_scikit_learn() -> None:
    texts = [f"{'good' if i % 3 else 'bad'} word{i % 7} word{i % 11} thing" for i in range(60)]
    y = [i % 2 for i in range(60)]
    theirs = make_pipeline(TfidfVectorizer(), SklearnLogistic(C=2.0, tol=1e-12, max_iter=5000))
    ours = make_pipeline(TfidfVectorizer(), LogisticClassifier(penalty="l2", alpha=1 / 120))
    want = theirs.fit(texts, y).predict_proba(texts)
    assert np.abs(ours.fit(texts, y).predict_proba(texts) - want).max() < 1e-8
    grid = {"logisticclassifier__alpha": [0.001, 0.1]}
    assert GridSearchCV(ours, grid, cv=3).fit(texts, y).best_score_ > 0


@pytest.mark.parametrize("make", ESTIMATORS)
def test_a_frame_of_polars_gives_names_and_the_same_numbers(make: Any) -> None:
    polars = pytest.importorskip("polars")
    X, y = noisy(3)
    frame = polars.DataFrame(X, schema=list("abcd"))
    named, plain = make().fit(frame, polars.Series(y)), make().fit(X, y)
    assert named.feature_names_in_.tolist() == list("abcd")
    assert np.array_equal(named.coef_, plain.coef_)
    assert np.array_equal(named.predict(frame), plain.predict(X))
    assert named.score(frame, polars.Series(y)) == plain.score(X, y)
    assert "\nb " in named.summary()
    with pytest.raises(ValueError, match="feature names"):
        named.predict(frame.select(list("badc")))


def test_labels_of_polars_are_text() -> None:
    polars = pytest.importorskip("polars")
    X, codes = noisy(2)
    y = polars.Series(["no" if c == 0 else "yes" for c in codes])
    fitted = LogisticClassifier().fit(X, y)
    assert fitted.classes_.tolist() == ["no", "yes"]
    assert fitted.score(X, y) == LogisticClassifier().fit(X, codes).score(X, codes)


@pytest.mark.skipif(not afar.there_can_be_one(), reason="this torch lets Python define no device")
@pytest.mark.parametrize("make", ESTIMATORS[:2])
def test_tensors_elsewhere_stay_there(make: Any) -> None:
    # Score fetched all labels; the diagnosis, read at once, fetched all rows. Ordinal models need
    # autograd, whose engine knows of no device that came after its start.
    X, y = noisy(3, n=4000)
    plain = make().fit(X, y)
    with afar.device() as device:
        rows, target = torch.from_numpy(X).to("afar:0"), torch.from_numpy(y).to("afar:0")
        device.fetched.clear()
        given = make().fit(rows, target)
        answers = [given.coef_, given.predict(rows)]
        answers += [given.predict_proba(rows)] if hasattr(given, "predict_proba") else []
        score = given.score(rows, target)
        weighted = given.score(rows, target, torch.ones_like(rows[:, 0]))
        assert max(device.fetched) < len(X)
        assert all(answer.device.type == "afar" for answer in answers)
        coef = given.coef_.cpu().numpy()
    assert np.allclose(coef, plain.coef_, rtol=1e-9)
    assert score == pytest.approx(plain.score(X, y), abs=1e-12)
    assert weighted == pytest.approx(score, abs=1e-12)


def test_wide_ridge_takes_the_short_way_on_raw_columns() -> None:
    # Behind a rescaled penalty the space of the rows was closed to it.
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 300)) + 2
    y = X[:, 0] + rng.normal(size=60) > 2
    fitted = LogisticClassifier(penalty="l2", alpha=0.1).fit(X, y)
    assert fitted.result_.optimizer == "KernelNewton"
    named = LogisticClassifier(penalty="l2", alpha=0.1, optimizer="newton").fit(X, y)
    assert np.abs(fitted.coef_ - named.coef_).max() < 1e-9


def test_the_diagnosis_is_looked_for_when_it_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    # Reading it at the end of every fit cost 0.4 ms; a pickle carries the words.
    X, y = load_breast_cancer(return_X_y=True)
    looked = []
    find = convergence.data_findings
    monkeypatch.setattr(
        convergence, "data_findings", lambda *a, **k: looked.append(1) or find(*a, **k)
    )
    fitted = LogisticClassifier().fit(X[:, :2], y)
    assert looked == []
    loaded = pickle.loads(pickle.dumps(fitted))
    assert looked == [1]
    assert str(loaded.diagnosis_) == str(fitted.diagnosis_)
