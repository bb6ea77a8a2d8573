"""LogisticClassifierCV: scikit-learn's paths and scores, folds one by one, choices, pictures."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import sparse
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_iris
from sklearn.linear_model import LogisticRegressionCV
from sklearn.model_selection import GroupKFold, StratifiedKFold
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from torchlogreg import L1, L2
from torchlogreg.estimators import LogisticClassifier, LogisticClassifierCV
from torchlogreg.estimators import cross_validation_paths as program
from torchlogreg.viz import RegularisationPath, save_picture

ALPHAS = np.geomspace(1, 1e-3, 4)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.SkipTestWarning")
@parametrize_with_checks([LogisticClassifierCV(alphas=[1.0, 0.01], cv=2)])
def test_scikit_learns_own_checks(estimator: Any, check: Any) -> None:
    # No failure is expected.
    check(estimator)


def problem(kind: str) -> tuple[Any, Any, list[Any]]:
    """Rows, labels, and five folds whose training rows are equally many."""
    X, y = (load_breast_cancer if kind == "binary" else load_iris)(return_X_y=True)
    X, y = (X[:560, :8], y[:560]) if kind == "binary" else (X, y)
    X = StandardScaler().fit_transform(X)
    folds = list(StratifiedKFold(5).split(X, y))
    assert len({len(train) for train, _ in folds}) == 1
    return X, y, folds


def centred(coefficients: Any) -> Any:
    """Softmax intercepts, and ridge's weights, up to a shift of all classes."""
    if coefficients.shape[-2] == 1:
        return coefficients
    shift = coefficients[..., -1:].mean(axis=-2, keepdims=True)
    return np.concatenate((coefficients[..., :-1], coefficients[..., -1:] - shift), axis=-1)


@pytest.mark.parametrize("weighted", [False, True], ids=["plain", "weighted"])
@pytest.mark.parametrize("scoring", ["neg_log_loss", "accuracy", "roc_auc_ovr"])
@pytest.mark.parametrize("kind", ["binary", "multinomial"])
def test_ridge_paths_and_scores_are_those_of_scikit_learn(
    kind: str, scoring: str, weighted: bool
) -> None:
    # A fold of n rows has alpha = 1 / (C n) there, and alpha here, whatever n is.
    X, y, folds = problem(kind)
    weight = np.ones(len(y))
    n = len(folds[0][0])
    if weighted:  # the same sum in every fold
        for k, (_, test) in enumerate(folds):
            weight[test] = np.random.default_rng(k).permutation(np.linspace(0.5, 2, len(test)))
        n = weight[folds[0][0]].sum()
    kinds = {"scoring": scoring, "cv": folds}
    ours = LogisticClassifierCV(alphas=ALPHAS, **kinds).fit(X, y, weight if weighted else None)
    theirs = LogisticRegressionCV(
        Cs=1 / (ALPHAS * n),
        l1_ratios=(0,),
        solver="newton-cholesky",
        tol=1e-13,
        use_legacy_attributes=False,
        **kinds,
    ).fit(X, y, weight)
    want = theirs.coefs_paths_.reshape(ours.coefs_paths_.shape)
    assert np.abs(centred(ours.coefs_paths_) - centred(want)).max() < 1e-9
    if not weighted:  # they leave weights out of scores
        assert np.abs(ours.scores_[:, 0] - theirs.scores_.reshape(5, -1)).max() < 1e-9
        assert ours.alpha_ == pytest.approx(1 / (theirs.C_ * n), rel=1e-12)


@pytest.mark.slow  # SAGA takes its time to ten digits
@pytest.mark.parametrize("l1_ratio", [1.0, 0.4])
def test_paths_with_kinks_are_those_of_scikit_learn(l1_ratio: float) -> None:
    X, y, folds = problem("multinomial")
    n, alphas = len(folds[0][0]), [0.1, 0.02]
    ours = LogisticClassifierCV(alphas=alphas, l1_ratios=[l1_ratio], cv=folds, tol=1e-10).fit(X, y)
    theirs = LogisticRegressionCV(
        Cs=1 / (np.array(alphas) * n),
        l1_ratios=(l1_ratio,),
        cv=folds,
        solver="saga",
        scoring="neg_log_loss",
        tol=1e-11,
        max_iter=100_000,
        use_legacy_attributes=False,
    ).fit(X, y)
    want = theirs.coefs_paths_.reshape(ours.coefs_paths_.shape)
    assert np.abs(centred(ours.coefs_paths_) - centred(want)).max() < 1e-7
    assert np.abs(ours.scores_[:, 0] - theirs.scores_.reshape(5, -1)).max() < 1e-7


@pytest.mark.parametrize("intercept", [True, False])
@pytest.mark.parametrize("kind", ["binary", "multinomial"])
def test_one_program_for_all_folds_is_every_fold_by_itself(
    kind: str, intercept: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    X, y, folds = problem(kind)
    X = X * 10.0 ** np.arange(X.shape[1] // 2 * -1, X.shape[1] - X.shape[1] // 2) + 5
    known = np.random.default_rng(0).normal(size=len(y))
    labels = np.array(["a", "b", "c"])[y]
    setting: dict[str, Any] = {
        "alphas": ALPHAS,
        "cv": folds,
        "class_weight": "balanced",
        "fit_intercept": intercept,
        "tol": 1e-10,
    }
    batched = LogisticClassifierCV(**setting).fit(X, labels, offset=known)
    monkeypatch.setattr(program, "suits", lambda rows: False)
    single = LogisticClassifierCV(**setting).fit(X, labels, offset=known)
    scale = np.abs(single.coefs_paths_).max(axis=(0, 1, 2, 3))
    difference = centred(batched.coefs_paths_) - centred(single.coefs_paths_)
    assert np.abs(difference / np.where(scale > 0, scale, 1)).max() < 1e-8
    assert np.allclose(batched.scores_, single.scores_, rtol=1e-8)
    train = folds[0][0]
    alone = LogisticClassifier(
        penalty=L2(ALPHAS[1]), class_weight="balanced", fit_intercept=intercept
    ).fit(X[train], labels[train], offset=known[train])
    assert np.allclose(batched.coefs_paths_[0, 0, 1, :, :-1], alone.coef_, rtol=1e-7)


def test_the_chosen_penalty_is_refitted_to_all_rows() -> None:
    X, y, folds = problem("binary")
    fitted = LogisticClassifierCV(alphas=ALPHAS, l1_ratios=[0, 1], cv=folds).fit(X, y)
    assert fitted.scores_.shape == (5, 2, 4)
    assert fitted.coefs_paths_.shape == (5, 2, 4, 1, 9)
    mean = fitted.scores_.mean(0)
    ratio, place = np.unravel_index(mean.argmax(), mean.shape)
    assert (fitted.l1_ratio_, fitted.alpha_) == (float(ratio), ALPHAS[place])
    penalty = (L1 if ratio else L2)(fitted.alpha_)
    own = LogisticClassifier(penalty=penalty).fit(X, y)
    assert np.array_equal(fitted.coef_, own.coef_)
    assert np.allclose(fitted.path_[ratio, place, :, :-1], own.coef_, rtol=1e-6, atol=1e-9)
    for method in ("predict", "predict_proba", "decision_function", "predict_log_proba"):
        assert np.array_equal(getattr(fitted, method)(X), getattr(own, method)(X))
    assert fitted.n_iter_ == own.n_iter_ and not fitted.diagnosis_
    assert repr(clone(fitted)) == repr(fitted)
    assert np.array_equal(pickle.loads(pickle.dumps(fitted)).predict(X), own.predict(X))


def test_inference_is_that_of_the_fit_to_all_rows() -> None:
    X, y, folds = problem("binary")
    fitted = LogisticClassifierCV(alphas=ALPHAS, cv=folds).fit(X, y)
    with pytest.raises(ValueError, match="allow_penalty"):
        fitted.infer()
    own = LogisticClassifier(penalty=L2(fitted.alpha_)).fit(X, y).infer(allow_penalty=True)
    assert np.array_equal(fitted.infer(allow_penalty=True).bse, own.bse)
    assert fitted.summary(allow_penalty=True) == str(own.summary())


@pytest.mark.parametrize(("n", "n_classes"), [(1500, 2), (900, 3), (60, 3)])
def test_shared_and_own_hessians_end_at_vanishing_gradients(n: int, n_classes: int) -> None:
    # 60 rows are too few for all folds to share one; the others do. Rows without weight, offsets.
    rng = np.random.default_rng(n)
    X = rng.normal(size=(n, 5)) * [1, 1e3, 1e-3, 1, 1] + [0, 1e4, 0, 5, 0]
    scores = ((X - X.mean(0)) / X.std(0))[:, :n_classes]
    y = (scores + rng.gumbel(size=(n, n_classes))).argmax(1)
    weight, known = rng.integers(0, 3, n).astype(float), rng.normal(size=n)
    setting: dict[str, Any] = {"alphas": [1.0, 1e-2, 1e-5], "cv": 3}
    fitted = LogisticClassifierCV(**setting).fit(X, y, weight, offset=known)
    folds = [train for train, _ in StratifiedKFold(3).split(X, y)] + [np.arange(n)]
    found = np.concatenate((fitted.coefs_paths_, fitted.path_[None]))[:, 0]
    for train, path in zip(folds, found, strict=True):
        share = weight[train] / weight[train].sum()
        for alpha, c in zip(fitted.alphas_, path, strict=True):
            eta = X[train] @ c[:, :-1].T + c[:, -1] + known[train, None]
            scores = np.hstack((0 * eta, eta)) if n_classes == 2 else eta
            p = np.exp(scores - np.logaddexp.reduce(scores, axis=1, keepdims=True))
            residual = ((p - np.eye(n_classes)[y[train]]) * share[:, None])[:, -len(c) :]
            gradient = residual.T @ (X[train] - X.mean(0)) + alpha * c[:, :-1]
            assert np.abs(gradient / X.std(0)).max() < 1e-9
            assert np.abs(residual.sum(0)).max() < 1e-9


def test_without_a_refit_the_folds_are_averaged() -> None:
    X, y, folds = problem("multinomial")
    fitted = LogisticClassifierCV(alphas=ALPHAS, cv=folds, refit=False).fit(X, y)
    own = fitted.scores_[:, 0].argmax(axis=1)
    want = np.mean([fitted.coefs_paths_[f, 0, a] for f, a in enumerate(own)], axis=0)
    assert np.allclose(fitted.coef_, want[:, :-1], rtol=1e-12)
    assert fitted.alpha_ == pytest.approx(ALPHAS[own].mean())
    assert fitted.score(X, y) > 0.9


def test_one_standard_error_is_a_stronger_penalty_and_no_worse_than_that() -> None:
    X, y, folds = problem("binary")
    best, simple = (
        LogisticClassifierCV(alphas=15, l1_ratios=[1], cv=folds, rule=rule).fit(X, y)
        for rule in ("best", "one_se")
    )
    assert simple.alpha_ > best.alpha_
    mean = best.scores_[:, 0].mean(0)
    error = best.scores_[:, 0, mean.argmax()].std(ddof=1) / 5**0.5
    place = best.alphas_.tolist().index(simple.alpha_)
    assert mean[place] >= mean.max() - error > mean[place - 1]


def test_a_grid_of_lasso_begins_where_nothing_is_left() -> None:
    X, y, folds = problem("multinomial")
    fitted = LogisticClassifierCV(alphas=5, l1_ratios=[1], cv=folds).fit(X, y)
    assert len(fitted.alphas_) == 5 and np.all(np.diff(fitted.alphas_) < 0)
    assert np.abs(fitted.path_[0, 0, :, :-1]).max() < 1e-9
    assert np.abs(fitted.path_[0, 1, :, :-1]).max() > 0


def test_frames_sparse_rows_tensors_and_groups_are_taken() -> None:
    X, y, folds = problem("binary")
    X = np.where(np.abs(X) > 0.7, X, 0.0)
    setting: dict[str, Any] = {"alphas": [0.1, 0.01], "cv": folds}
    plain = LogisticClassifierCV(**setting).fit(X, y)
    frame = pd.DataFrame(X, columns=[f"c{j}" for j in range(8)])
    named = LogisticClassifierCV(**setting).fit(frame, pd.Series(y))
    assert named.feature_names_in_.tolist() == list(frame)
    thin = LogisticClassifierCV(**setting).fit(sparse.csr_array(X), y)
    given = LogisticClassifierCV(**setting).fit(torch.from_numpy(X), torch.from_numpy(y))
    for other in (named, thin, given):
        assert np.allclose(other.coefs_paths_, plain.coefs_paths_, rtol=1e-7, atol=1e-9)
        assert np.allclose(np.asarray(other.coef_), plain.coef_, rtol=1e-7, atol=1e-9)
    assert isinstance(given.predict(torch.from_numpy(X)), torch.Tensor)
    groups = list(GroupKFold(2).split(X, y, np.arange(len(y)) // 7))
    assert LogisticClassifierCV(alphas=[0.1], cv=groups).fit(X, y).scores_.shape == (2, 1, 1)


WRONG = {
    "rule": ({"rule": "least"}, "rule is 'least'"),
    "no alpha": ({"alphas": []}, "finite numbers"),
    "negative": ({"alphas": [-1.0]}, "finite numbers >= 0"),
    "none asked for": ({"alphas": 0}, "at least one"),
    "ratio": ({"l1_ratios": [2]}, "from 0 to 1"),
}


@pytest.mark.parametrize("name", WRONG)
def test_settings_that_cannot_be_meant_are_named(name: str) -> None:
    X, y, _ = problem("multinomial")
    setting, message = WRONG[name]
    with pytest.raises(ValueError, match=message):
        LogisticClassifierCV(**setting).fit(X, y)


def test_a_fold_without_a_class_is_named() -> None:
    X, y, _ = problem("multinomial")
    folds = [(np.arange(100), np.arange(100, 150)), (np.arange(150), np.arange(50))]
    with pytest.raises(ValueError, match="training rows of fold 0 have none of class 2"):
        LogisticClassifierCV(alphas=[1.0], cv=folds).fit(X, y)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_picture_shows_path_and_curve(theme: str, tmp_path: Path) -> None:
    X, y, folds = problem("binary")
    fitted = LogisticClassifierCV(alphas=8, l1_ratios=[1], cv=folds).fit(X, y)
    scene = RegularisationPath(
        fitted.alphas_[::-1],
        fitted.path_[0, ::-1, 0, :-1],
        fitted.scores_[:, 0, ::-1],
        fitted.alpha_,
        names=[f"c{j}" for j in range(8)],
        theme=theme,
    )
    path, curve = scene.figure.axes
    drawn = {tuple(line.get_ydata()) for line in path.lines if len(line.get_ydata()) == 8}
    assert drawn == {tuple(column) for column in fitted.path_[0, :, 0, :-1].T}
    means = [
        line
        for line in curve.lines
        if np.array_equal(line.get_ydata(), fitted.scores_[:, 0].mean(0))
    ]
    assert len(means) == 1
    assert curve.lines[-2].get_xdata()[0] == fitted.alpha_ or (
        curve.lines[-1].get_xdata()[0] == fitted.alpha_
    )
    assert save_picture(scene, tmp_path / "path.png").stat().st_size > 20_000
    with pytest.raises(ValueError, match="go with 8 alphas"):
        RegularisationPath(fitted.alphas_, fitted.path_[0, :3, 0], fitted.scores_[:, 0], 1.0)
