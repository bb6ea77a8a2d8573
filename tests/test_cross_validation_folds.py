"""LogisticClassifierCV fold by fold: several processes, warnings, interrupts, repeated rows."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning
from test_cross_validation import ALPHAS, problem

from torchlogreg import L2
from torchlogreg.estimators import LogisticClassifier, LogisticClassifierCV
from torchlogreg.estimators import cross_validation_paths as program
from torchlogreg.estimators.training import train


def test_several_processes_give_the_same_path_and_pass_warnings_on() -> None:
    # What another process warns of is lost, unless it is sent along.
    X, y, folds = problem("multinomial")
    settings: dict[str, Any] = {"alphas": [0.1, 0.01], "l1_ratios": [1], "cv": folds[:2]}
    settings |= {"max_epochs": 2, "tol": 1e-13}
    found = []
    for n_jobs in (1, 2):
        with pytest.warns(ConvergenceWarning) as told:
            found.append(LogisticClassifierCV(n_jobs=n_jobs, **settings).fit(X, y))
        assert len(told) == 7  # two alphas on two folds and on all rows, and the last fit
    assert np.array_equal(found[0].coefs_paths_, found[1].coefs_paths_)


def test_an_interrupt_ends_the_whole_path(monkeypatch: pytest.MonkeyPatch) -> None:
    # It used to end one fit, and the next began.
    X, y, folds = problem("binary")
    calls = []

    def interrupted(*args: Any, **kwargs: Any) -> Any:
        calls.append(0)
        result, history = train(*args, **kwargs)
        return replace(result, stop_reason="interrupted"), history

    monkeypatch.setattr(program, "train", interrupted)
    with pytest.raises(KeyboardInterrupt):
        LogisticClassifierCV(alphas=ALPHAS, l1_ratios=[1], cv=folds).fit(X, y)
    assert len(calls) == 1


def test_rows_that_a_fold_repeats_count_as_often() -> None:
    X, y, folds = problem("binary")
    train_rows, test = folds[0]
    twice = np.concatenate((train_rows, train_rows[:40]))
    found = LogisticClassifierCV(alphas=[0.1], cv=[(twice, test)]).fit(X, y)
    alone = LogisticClassifier(penalty=L2(0.1)).fit(X[twice], y[twice])
    assert np.allclose(found.coefs_paths_[0, 0, 0, :, :-1], alone.coef_, rtol=1e-9)
