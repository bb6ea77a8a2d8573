"""Estimators of classes: labels of any type, levels in their own order, weights by label."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import sklearn
import torch
from test_estimators import noisy

from torchlogreg import ClassBalanced, Focal, Smoothed
from torchlogreg.estimators import LogisticClassifier, OrdinalClassifier


@pytest.mark.parametrize("kind", [str, float, bool, object, "category"])
def test_labels_of_any_type_come_back(kind: Any) -> None:
    X, codes = noisy(2)
    y = pd.Series(np.array(["no", "yes"])[codes]).astype(object if kind is str else str)
    if kind not in (str, object):
        y = y.astype("category") if kind == "category" else pd.Series(codes).astype(kind)
    classifier = LogisticClassifier().fit(X, y)
    assert classifier.classes_.tolist() == sorted(set(y))
    assert set(classifier.predict(X).tolist()) == set(y)
    assert classifier.score(X, y) > 0.6
    assert np.array_equal(classifier.coef_, LogisticClassifier().fit(X, codes).coef_)


def test_a_column_vector_is_flattened_and_warned_of() -> None:
    X, y = noisy(2)
    with pytest.warns(sklearn.exceptions.DataConversionWarning):
        classifier = LogisticClassifier().fit(X, y[:, None])
    assert classifier.predict(X).shape == y.shape


LEVELS = ["low", "middle", "high"]


NO_LABELS = {
    "missing": (np.array(["a", None], dtype=object), "types NoneType, str, .* label is missing"),
    "mixed": (np.array(["a", 1], dtype=object), "types int, str, which cannot be sorted"),
    "missing text": (pd.array(["a", None], dtype="string"), "no label in row 60"),
    "missing in a tensor": (torch.tensor([0.0, torch.nan]), "nan in row"),
    "measured in a tensor": (torch.tensor([0.0, 1.5]), "1.5 in row .*LinearRegressor"),
}


@pytest.mark.parametrize("name", NO_LABELS)
def test_what_is_no_label_is_refused_in_one_line(name: str) -> None:
    # In a tensor, NaN and measurements were classes; None was a TypeError of numpy's.
    pair, message = NO_LABELS[name]
    X, codes = noisy(2)
    if isinstance(pair, torch.Tensor):
        X, y = torch.from_numpy(X), pair[torch.from_numpy(codes).sort().values]
    else:
        y = pair[np.sort(codes)]
    with pytest.raises(ValueError, match=message) as caught:
        LogisticClassifier().fit(X, y)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("way", ["levels", "categorical", "series"])
def test_ordinal_levels_keep_their_own_order(way: str) -> None:
    X, codes = noisy(3)
    y: Any = np.array(LEVELS)[codes]
    classifier = OrdinalClassifier(levels=LEVELS if way == "levels" else None)
    if way != "levels":  # a level without rows is dropped
        y = pd.Categorical(y, ["never", *LEVELS], ordered=True)
        y = pd.Series(y) if way == "series" else y
    classifier.fit(X, y)
    assert classifier.classes_.tolist() == LEVELS
    numbers = OrdinalClassifier().fit(X, codes)
    assert np.array_equal(classifier.coef_, numbers.coef_)
    assert np.array_equal(classifier.cutpoints_, numbers.cutpoints_)
    assert np.array_equal(classifier.predict(X), np.array(LEVELS)[numbers.predict(X)])
    assert classifier.score(X, y) == numbers.score(X, codes)


def test_wrong_levels_are_refused() -> None:
    X, codes = noisy(3)
    with pytest.raises(ValueError, match="label 2, but the levels are"):
        OrdinalClassifier(levels=[0, 1]).fit(X, codes)
    with pytest.raises(ValueError, match="repeat"):
        OrdinalClassifier(levels=[0, 1, 1, 2]).fit(X, codes)


@pytest.mark.parametrize("link", ["logit", "probit", "cloglog"])
def test_latent_score_and_cutpoints_give_the_probabilities(link: str) -> None:
    X, y = noisy(3)
    classifier = OrdinalClassifier(link=link).fit(X, y)
    assert np.allclose(classifier.latent_score(X), X @ classifier.coef_, rtol=0, atol=1e-9)
    below = {
        "logit": lambda t: 1 / (1 + np.exp(-t)),
        "probit": lambda t: torch.special.ndtr(torch.from_numpy(t)).numpy(),
        "cloglog": lambda t: -np.expm1(-np.exp(t)),
    }[link](classifier.cutpoints_ - classifier.latent_score(X)[:, None])
    assert np.allclose(classifier.predict_proba(X)[:, :-1].cumsum(1), below, rtol=0, atol=1e-12)
    assert np.all(np.diff(classifier.cutpoints_) > 0)


def test_weightings_and_class_weights_by_name_are_the_objects() -> None:
    X, y = noisy(2, n=90)
    y[:30] = 0
    labels = np.array(["a", "b"])[y]
    coef = LogisticClassifier(weighting=ClassBalanced()).fit(X, labels).coef_
    assert np.array_equal(LogisticClassifier(weighting="balanced").fit(X, labels).coef_, coef)
    assert np.array_equal(LogisticClassifier(class_weight="balanced").fit(X, labels).coef_, coef)
    weights = {c: 1 / np.mean(labels == c) for c in "ab"}
    by_hand = LogisticClassifier(class_weight=weights).fit(X, labels)
    assert np.allclose(by_hand.coef_, coef, rtol=1e-10)
    focal = LogisticClassifier(weighting="focal").fit(X, labels)
    assert np.array_equal(
        LogisticClassifier(weighting=Smoothed(Focal())).fit(X, labels).coef_, focal.coef_
    )
    with pytest.raises(ValueError, match="class_weight names 'c'"):
        LogisticClassifier(class_weight={"a": 1, "c": 2}).fit(X, labels)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("make", [LogisticClassifier, OrdinalClassifier])
def test_tensors_on_the_device_stay_there(make: Any) -> None:
    X, y = noisy(3)
    rows, target = torch.from_numpy(X).cuda(), torch.from_numpy(y).cuda()
    given, plain = make().fit(rows, target), make().fit(X, y)
    for answer in (given.coef_, given.predict(rows), given.predict_proba(rows)):
        assert answer.device.type == "cuda"
    assert np.allclose(given.coef_.cpu().numpy(), plain.coef_, rtol=1e-9)
    assert given.score(rows, target) == plain.score(X, y)
    assert np.array_equal(make(device="cuda").fit(X, y).predict(X), plain.predict(X))
