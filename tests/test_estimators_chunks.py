"""partial_fit: near the answer of all rows, whatever the chunks hold."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
import torch
from test_estimators import ESTIMATORS, noisy

from torchlogreg.estimators import LinearRegressor, LogisticClassifier, OrdinalClassifier


def streamed(make: Any, X: Any, y: Any, *, size: int = 1000, passes: int = 1) -> Any:
    """An estimator that has seen all rows, some at a time."""
    estimator = make(random_state=0)
    known = () if make is LinearRegressor else (np.unique(y),)
    for _ in range(passes):
        for start in range(0, len(X), size):
            estimator.partial_fit(X[start : start + size], y[start : start + size], *known)
    return estimator


@pytest.mark.parametrize("make", ESTIMATORS)
def test_chunks_end_near_the_answer_of_all_rows(make: Any) -> None:
    # Single steps of Adam end five standard errors away, and their mean half of one.
    X, y = noisy(3, n=8000)
    chunked, whole = streamed(make, X, y), make().fit(X, y)
    assert chunked.n_iter_ == 8
    assert chunked.score(X, y) == pytest.approx(whole.score(X, y), abs=0.01)
    if make is not LinearRegressor:
        assert np.abs(chunked.predict_proba(X) - whole.predict_proba(X)).mean() < 0.03


@pytest.mark.parametrize("make", ESTIMATORS)
def test_a_pickle_between_chunks_goes_on_as_if_nothing_had_happened(make: Any) -> None:
    X, y = noisy(3, n=600)
    estimator = streamed(make, X[:400], y[:400], size=200)
    loaded = pickle.loads(pickle.dumps(estimator))
    assert len(pickle.dumps(estimator)) < 200_000
    for one in (estimator, loaded):
        one.partial_fit(X[400:], y[400:])
    assert np.array_equal(loaded.coef_, estimator.coef_)


def test_a_chunk_of_one_class_is_no_error_but_all_classes_are_named_at_once() -> None:
    X, y = noisy(2)
    labels = np.array(["no", "yes"])[y]
    order = np.argsort(y, kind="stable")
    estimator = LogisticClassifier()
    with pytest.raises(ValueError, match="classes must be passed on the first call"):
        estimator.partial_fit(X, labels)
    with pytest.raises(ValueError, match="at least two"):
        estimator.partial_fit(X, labels, classes=["no"])
    estimator.partial_fit(X[order[:20]], labels[order[:20]], classes=["yes", "no"])
    assert estimator.classes_.tolist() == ["no", "yes"]
    assert set(estimator.predict(X)) == {"no"}
    with pytest.raises(ValueError, match="classes of the chunks before"):
        estimator.partial_fit(X, labels, classes=["no", "maybe"])
    with pytest.raises(ValueError, match="'maybe'"):
        estimator.partial_fit(X[:1], ["maybe"])
    with pytest.raises(ValueError, match="depends on all rows"):
        LogisticClassifier(class_weight="balanced").partial_fit(X, y, classes=[0, 1])


def test_ordered_classes_keep_the_order_they_are_named_in() -> None:
    X, codes = noisy(3)
    levels = ["low", "middle", "high"]
    y = np.array(levels)[codes]
    estimator = OrdinalClassifier().partial_fit(X, y, classes=levels)
    assert estimator.classes_.tolist() == levels
    assert np.all(np.diff(estimator.cutpoints_) > 0)
    assert (
        OrdinalClassifier(levels=levels).partial_fit(X, y, classes=levels[::-1]).classes_[0]
        == "low"
    )


def test_chunks_go_on_where_a_fit_ended_and_a_fit_forgets_them() -> None:
    # One step of Adam on 120 rows: it moves a weight by a tenth, whatever the order of the rows.
    X, y = noisy(2)
    estimator = LogisticClassifier(random_state=0).fit(X, y)
    coef = estimator.coef_.copy()
    estimator.partial_fit(X, y)
    assert 0.0 < np.abs(estimator.coef_ - coef).max() < 0.5 * np.abs(coef).max()
    with pytest.raises(ValueError, match="pass X and y"):
        estimator.infer()
    assert np.array_equal(estimator.fit(X, y).coef_, coef)
    assert not hasattr(estimator, "_online")


def test_chunks_of_tensors_and_of_sparse_rows() -> None:
    from scipy.sparse import csr_array

    X, y = noisy(2)
    plain = LogisticClassifier(random_state=0).partial_fit(X, y, classes=[0, 1])
    tensors = LogisticClassifier(random_state=0)
    tensors.partial_fit(torch.from_numpy(X), torch.from_numpy(y), classes=torch.tensor([0, 1]))
    assert torch.equal(tensors.coef_, torch.from_numpy(plain.coef_))
    thin = LogisticClassifier(random_state=0).partial_fit(csr_array(X), y, classes=[0, 1])
    assert thin.score(csr_array(X), y) > 0.6


def test_an_optimizer_that_needs_all_rows_is_refused() -> None:
    X, y = noisy(2)
    with pytest.raises(ValueError, match="needs all rows"):
        LogisticClassifier(optimizer="newton").partial_fit(X, y, classes=[0, 1])
