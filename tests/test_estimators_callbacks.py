"""scikit-learn's callbacks on the estimators: every epoch is a task."""

from __future__ import annotations

import io
import pickle
from contextlib import redirect_stdout
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.metrics import log_loss
from test_estimators import ESTIMATORS, noisy, target_for

from torchlogreg.estimators import LogisticClassifier, LogisticClassifierCV

callback = pytest.importorskip("sklearn.callback")


class Watch:
    """Remembers every call; stops after ``stop`` epochs."""

    def __init__(self, stop: int | None = None, fail: int | None = None) -> None:
        self.stop, self.fail = stop, fail
        self.calls: list[tuple[str, str]] = []
        self.shown: list[Any] = []

    def setup(self, estimator: Any, context: Any) -> None:
        self.calls.append(("setup", ""))

    def teardown(self, estimator: Any, context: Any) -> None:
        self.calls.append(("teardown", ""))

    def on_fit_task_begin(self, estimator: Any, context: Any) -> None:
        self.calls.append(("begin", context.task_name))

    def on_fit_task_end(
        self,
        estimator: Any,
        context: Any,
        *,
        X: Any = None,
        metadata: Any = None,
        fitted_estimator: Any = None,
    ) -> bool:
        self.calls.append(("end", context.task_name))
        self.shown.append((fitted_estimator, metadata))
        n = self.calls.count(("end", "epoch"))
        if self.fail == n:
            raise RuntimeError("no more")
        return self.stop == n


@pytest.mark.parametrize("make", ESTIMATORS)
def test_every_epoch_is_a_task_between_setup_and_teardown(make: Any) -> None:
    X, y = target_for(make())
    watch = Watch()
    estimator = make().set_callbacks(watch).fit(X, y)
    epochs = [("begin", "epoch"), ("end", "epoch")] * estimator.n_iter_
    assert watch.calls == [
        ("setup", ""),
        ("begin", "fit"),
        *epochs,
        ("end", "fit"),
        ("teardown", ""),
    ]
    assert np.array_equal(estimator.coef_, make().fit(X, y).coef_)


@pytest.mark.parametrize("make", ESTIMATORS)
def test_what_a_callback_sees_predicts_on_raw_columns(make: Any) -> None:
    X, y = target_for(make())
    watch = Watch()
    weight = 1.0 + np.arange(len(y)) % 2
    estimator = make().set_callbacks(watch).fit(X, y, weight)
    seen, metadata = watch.shown[-1]
    assert np.array_equal(metadata["sample_weight"], weight)
    assert np.allclose(seen.predict(X), estimator.predict(X), rtol=1e-9)
    assert seen is not estimator
    first = watch.shown[0][0]
    assert first.score(X, y, weight) == pytest.approx(
        make(max_epochs=1, tol=0).fit(X, y, weight).score(X, y, weight), abs=1e-9
    )


def test_a_callback_that_returns_true_ends_the_fit() -> None:
    X, y = noisy(2)
    estimator = LogisticClassifier().set_callbacks(Watch(stop=2)).fit(X, y)
    assert estimator.n_iter_ == 2
    assert estimator.result_.stop_reason == "a callback asked for it"


def test_a_callback_that_fails_is_torn_down() -> None:
    X, y = noisy(2)
    watch = Watch(fail=2)
    with pytest.raises(RuntimeError, match="no more"):
        LogisticClassifier().set_callbacks(watch).fit(X, y)
    assert watch.calls[-1] == ("teardown", "")
    assert ("end", "fit") not in watch.calls


def test_scikit_learns_monitor_scores_every_epoch() -> None:
    X, y = noisy(2)
    monitor = callback.ScoringMonitor(scoring="neg_log_loss")
    estimator = LogisticClassifier().set_callbacks(monitor).fit(X, y)
    log = [row["neg_log_loss"] for row in monitor.get_logs().data]
    assert len(log) == estimator.n_iter_ + 1  # and the whole fit
    assert min(log) == -max(np.negative(log))
    assert max(log) == pytest.approx(-log_loss(y, estimator.predict_proba(X)), rel=1e-12)


def test_scikit_learns_progress_bar_ends_full() -> None:
    pytest.importorskip("rich")
    X, y = noisy(2)
    printed = io.StringIO()
    with redirect_stdout(printed):
        LogisticClassifier().set_callbacks(callback.ProgressBar()).fit(X, y)
    assert "LogisticClassifier" in printed.getvalue()
    assert "100%" in printed.getvalue()


def test_clones_and_pickles_keep_callbacks_and_tensors_are_shown_as_tensors() -> None:
    X, y = noisy(2)
    watch = Watch()
    estimator = clone(LogisticClassifier().set_callbacks(watch))
    estimator.fit(torch.from_numpy(X), torch.from_numpy(y))
    assert isinstance(watch.shown[-1][0].coef_, torch.Tensor)
    assert not hasattr(estimator, "_callback_fit_ctx")
    watch.shown.clear()
    assert pickle.loads(pickle.dumps(estimator)).n_iter_ == estimator.n_iter_


def test_a_path_shows_its_parts_and_the_epochs_of_the_last_fit() -> None:
    X, y = noisy(2)
    watch = Watch()
    settings: dict[str, Any] = {"alphas": [0.1, 0.01], "l1_ratios": [0, 1], "cv": 2}
    found = LogisticClassifierCV(**settings).set_callbacks(watch).fit(X, y, 1.0 + y)
    parts = [(when, name) for name in ("path", "path", "refit") for when in ("begin", "end")]
    assert watch.calls == [
        ("setup", ""),
        ("begin", "fit"),
        *parts,
        ("end", "fit"),
        ("teardown", ""),
    ]
    assert np.array_equal(watch.shown[0][1]["sample_weight"], 1.0 + y)
    assert np.array_equal(found.coef_, LogisticClassifierCV(**settings).fit(X, y, 1.0 + y).coef_)
    assert [c for c in clone(found).set_callbacks().fit(X, y).__dict__ if "callback" in c] == []


def test_the_progress_bar_of_a_path_goes_down_to_the_last_fit() -> None:
    pytest.importorskip("rich")
    X, y = noisy(2)
    printed = io.StringIO()
    with redirect_stdout(printed):
        path = LogisticClassifierCV(alphas=[0.1, 0.01], cv=2, refit=True)
        path.set_callbacks(callback.ProgressBar()).fit(X, y)
    text = printed.getvalue()
    assert "LogisticClassifierCV" in text and "refit" in text and "100%" in text
