"""What fit says of itself: never "converged" without an optimum, and a warning when it has none."""

from __future__ import annotations

import warnings
from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch

from problems import problem
from torchlogreg import (
    L1,
    L2,
    OPTIMIZERS,
    ConvergenceWarning,
    FitState,
    Hook,
    Jeffreys,
    LinearRegression,
    LogisticRegression,
    OrdinalRegression,
    SoftmaxRegression,
    fit,
)
from torchlogreg.diagnostics import report, screen, separation
from torchlogreg.diagnostics.problem import Problem
from torchlogreg.diagnostics.report import is_certain
from torchlogreg.inputs import make_data
from torchlogreg.losses import squared_error
from torchlogreg.objective import Objective

F64 = torch.float64


def quasi(n: int = 150) -> tuple[pd.DataFrame, np.ndarray]:
    """Overlap, but a rare column whose rows are all of the last class of three."""
    generator = np.random.default_rng(0)
    X = pd.DataFrame(generator.normal(size=(n, 3)), columns=["a", "rare", "c"])
    y = generator.integers(0, 3, n)
    X["rare"] = (np.arange(n) < 7).astype(float)
    y[:7] = 2
    return X, y


KINDS = {
    "logistic": (lambda: LogisticRegression(3, dtype=F64), lambda y: (y == 2).astype(int)),
    "softmax": (lambda: SoftmaxRegression(3, 3, dtype=F64), lambda y: y),
    "reference": (lambda: SoftmaxRegression(3, 3, reference=True, dtype=F64), lambda y: y),
    "ordinal": (lambda: OrdinalRegression(3, 3, dtype=F64), lambda y: y),
    "probit": (lambda: OrdinalRegression(3, 3, link="probit", dtype=F64), lambda y: y),
}
FIRST_ORDER = ["sgd", "momentum", "adam", "lbfgs", "rprop", "nesterov"]


@pytest.mark.parametrize("optimizer", ["newton", *FIRST_ORDER])
@pytest.mark.parametrize("kind", KINDS)
def test_quasi_separated_classes_never_converge_and_the_column_is_named(kind, optimizer):
    model, recode = KINDS[kind]
    X, y = quasi()
    with pytest.warns(ConvergenceWarning, match="quasi-completely separated by 'rare'") as caught:
        result = fit(model(), X, recode(y), optimizer=optimizer, max_epochs=150, tol=1e-4)
    assert not result.converged
    assert result.diagnosis.of("separation")[0].columns == (1,)
    assert result.stop_reason in ("separated", "max_epochs")
    assert len(caught) == 1 and caught[0].filename == __file__
    assert "\n" not in str(caught[0].message)


@pytest.mark.parametrize("optimizer", ["lbfgs", "rprop"])
def test_a_vanishing_gradient_does_not_hide_quasi_separation(optimizer):
    # Before the exact test these ended as converged, with a coefficient that only tol had chosen.
    X, y = quasi()
    with pytest.warns(ConvergenceWarning):
        result = fit(
            LogisticRegression(3, dtype=F64), X, y == 2, optimizer=optimizer, max_epochs=999
        )
    assert result.optimality <= 1e-6 and result.stop_reason == "separated"


@pytest.mark.parametrize("penalty", [L2(0.01), L1(0.001), Jeffreys()], ids=repr)
def test_a_penalty_makes_them_converge_without_a_finding(penalty):
    X, y = quasi()
    result = fit(LogisticRegression(3, dtype=F64), X, y == 2, penalty=penalty, max_epochs=3000)
    assert result.converged and not result.diagnosis


def test_a_penalty_does_not_hold_the_intercept_of_an_absent_class():
    X, y = quasi()
    for optimizer in ("newton", "lbfgs"):
        model = SoftmaxRegression(3, 4, dtype=F64)
        with pytest.warns(ConvergenceWarning, match="class 3 has no rows"):
            result = fit(model, X, y, penalty=L2(0.1), optimizer=optimizer, max_epochs=500)
        assert not result.converged


def test_hooks_see_the_verdict():
    seen = []

    class Look(Hook):
        def on_fit_end(self, state: FitState) -> None:
            seen.append((state.stop_reason, state.converged, state.feature_names))

    X, y = quasi()
    with pytest.warns(ConvergenceWarning):
        fit(LogisticRegression(3, dtype=F64), X, y == 2, optimizer="lbfgs", hooks=[Look()])
    assert seen == [("separated", False, ("a", "rare", "c"))]


class StopAt(Hook):
    """Asks for the end after the third epoch."""

    def on_epoch_end(self, state: FitState) -> None:
        """Count."""
        if state.epoch == 3:
            state.request_stop("enough")


SILENT = {
    "all epochs": {"optimizer": "sgd", "max_epochs": 3, "tol": 0},
    "a hook": {"optimizer": "sgd", "max_epochs": 9, "hooks": [StopAt()]},
    "converged": {},
}


@pytest.mark.parametrize("case", SILENT)
def test_an_end_as_asked_for_warns_of_nothing(case):
    data = problem("logistic")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        result = fit(data.model(), data.X, data.y, **SILENT[case])
    assert not result.diagnosis


def test_too_few_epochs_warn_and_say_how_far():
    case = problem("logistic")
    with pytest.warns(ConvergenceWarning, match="standard errors from the optimum") as caught:
        result = fit(case.model(), case.X, case.y, optimizer="adam", max_epochs=5)
    assert str(caught[0].message) == result.message
    assert result.diagnosis.line in result.message


def test_the_optimizers_note_is_passed_on():
    X = np.column_stack((np.arange(9.0), 2 * np.arange(9.0)))
    result = fit(LinearRegression(2, dtype=F64), X, np.arange(9.0) ** 2, optimizer="least_squares")
    assert result.converged and result.n_epochs == 1
    assert result.diagnosis.of("collinear")[0].columns == (0, 1)
    note = result.diagnosis.of("note")[0].text
    assert "minimum-norm" in note and note in result.message


def test_half_precision_that_stalls_is_told_to_take_more_digits():
    X, y = quasi(5000)
    X = torch.tensor(X.to_numpy(), dtype=torch.float32) + 30
    torchs_own = partial(torch.optim.LBFGS, **OPTIMIZERS["lbfgs"].keywords)
    with pytest.warns(ConvergenceWarning, match=r"use torch\.float64, or a larger tol"):
        fit(LinearRegression(3), X, torch.tensor(y) + 1.0, optimizer=torchs_own, tol=1e-9)


# The cheap proof.


def problem_at_optimum(name: str, scale: float = 1.0) -> Problem:
    case = problem(name)
    model = case.model()
    fit(model, case.X * scale, case.y)
    return Problem(Objective(model), make_data(model, case.X * scale, case.y))


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
@pytest.mark.parametrize("name", ["logistic", "softmax", "softmax_reference", "ordinal_probit"])
def test_an_optimum_proves_itself_without_linear_programs(name, scale, monkeypatch):
    monkeypatch.setattr(report, "separation_of", None)  # would fail if called
    assert is_certain(problem_at_optimum(name, scale))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("epochs", [1, 3, 10, 30])
def test_no_point_of_a_separated_problem_passes_for_an_optimum(kind, epochs):
    make, recode = KINDS[kind]
    X, y = quasi()
    for optimizer in ("newton", "lbfgs", "momentum"):
        model = make()
        fit(model, X, recode(y), optimizer=optimizer, max_epochs=epochs, tol=0)
        assert not is_certain(Problem(Objective(model), make_data(model, X, recode(y))))


@pytest.mark.parametrize("seed", range(6))
def test_whatever_the_parameters_the_proof_never_contradicts_the_programs(seed):
    generator = np.random.default_rng(seed)
    X = generator.integers(-1, 2, size=(40, 2)).astype(float)
    y = generator.integers(0, 3, 40)
    y[X[:, 0] == 1] = 2 if seed % 2 else y[X[:, 0] == 1]
    for make in (
        SoftmaxRegression(2, 3, dtype=F64),
        OrdinalRegression(2, 3, dtype=F64),
        OrdinalRegression(2, 3, bias=False, dtype=F64),
    ):
        separated = separation(X, y, model=make).kind != "none"
        for size in (0.0, 0.3, 3.0):
            with torch.no_grad():
                for p in make.parameters():
                    p.copy_(torch.from_numpy(size * generator.normal(size=tuple(p.shape))))
            proven = screen.has_optimum(Problem(Objective(make), make_data(make, X, y)))
            assert not (proven and separated)


def test_a_sample_that_misses_a_rare_column_is_followed_by_all_rows():
    X, y = quasi(20000)
    y[:3] = 0
    model = LogisticRegression(3, dtype=F64)
    result = fit(model, X, y == 2, optimizer="lbfgs")
    assert result.converged and not result.diagnosis
    assert is_certain(Problem(Objective(model), make_data(model, X, y == 2)))


def test_the_question_does_not_arise_for_numbers_other_losses_and_frozen_parameters():
    X, y = quasi()
    numbers = Problem(Objective(LinearRegression(3, dtype=F64)), _data(X, y))
    frozen = LogisticRegression(3, dtype=F64)
    frozen.bias.requires_grad_(False)
    other = Objective(LogisticRegression(3, dtype=F64), squared_error)
    assert is_certain(numbers)
    assert is_certain(Problem(Objective(frozen), _data(X, y)))
    assert is_certain(Problem(other, _data(X, y)))


def _data(X: pd.DataFrame, y: np.ndarray):
    return make_data(LinearRegression(3, dtype=F64), X, y)


@pytest.mark.parametrize("limit", ["SIZE", "SECONDS"])
def test_a_skipped_exact_test_says_so_and_how_to_run_it(limit, monkeypatch):
    monkeypatch.setattr(report, "SIZE", 10 if limit == "SIZE" else 1e9)
    monkeypatch.setattr(report.find_separation, "__defaults__", (0.0 if limit == "SECONDS" else 9,))
    X, y = quasi()
    X["rare"] += X["a"]  # a combination: what a column does alone needs no such test
    with pytest.warns(ConvergenceWarning, match="separation could not be excluded"):
        result = fit(LogisticRegression(3, dtype=F64), X, y == 2, optimizer="lbfgs")
    line = result.diagnosis.of("unchecked")[0].text
    assert "the exact test was skipped for" in line
    assert "torchlogreg.diagnostics.separation(X, y, model=model)" in line


def test_findings_can_be_replaced_and_compared():
    X, y = quasi()
    with pytest.warns(ConvergenceWarning):
        one = fit(LogisticRegression(3, dtype=F64), X, y == 2).diagnosis
    with pytest.warns(ConvergenceWarning):
        other = fit(LogisticRegression(3, dtype=F64), X, y == 2).diagnosis
    assert one == other and list(one) == [one[0]]
    assert replace(one[0], text="short") != one[0] and str(one[0]) == one[0].text


def test_thousands_of_columns_skip_what_would_take_too_long():
    X = np.random.default_rng(0).normal(size=(20, screen.LIMIT + 1))
    model = LogisticRegression(screen.LIMIT + 1, dtype=F64)
    with pytest.warns(ConvergenceWarning, match="every row lies on its own side"):
        result = fit(model, X, np.arange(20) % 2, max_epochs=999)
    # Parameters that tell all rows apart prove it: this was once called "unchecked", a warning.
    (finding,) = result.diagnosis
    assert finding.kind == "separation" and finding.severity == "error"
    assert "torchlogreg.diagnostics.separation(X, y, model=model)" in finding.text


def test_an_optimum_that_nobody_checked_is_warned_of(monkeypatch):
    # Such a fit counts as converged, and nobody reads the diagnosis of a fit that converged.
    monkeypatch.setattr(screen, "LIMIT", 1)
    monkeypatch.setattr(screen, "PROVABLE", 1)
    monkeypatch.setattr(report, "LIMIT", 1)
    X, y = quasi()
    with pytest.warns(ConvergenceWarning, match="converged .* separation could not be excluded"):
        result = fit(LogisticRegression(1, dtype=F64), X[["a"]], y == 2, optimizer="lbfgs")
    assert result.converged and [f.kind for f in result.diagnosis] == ["unchecked"]
    # Newton's last iteration is a proof of its own, which needs no rows.
    assert fit(LogisticRegression(1, dtype=F64), X[["a"]], y == 2, optimizer="newton").converged


def test_names_can_be_given_for_what_has_none():
    # scripts/train.py reads names from a file and trains on tensors: it spoke of "column 1".
    X, y = quasi()
    with pytest.warns(ConvergenceWarning, match="separated by 'gene'"):
        fit(
            LogisticRegression(3, dtype=F64),
            torch.as_tensor(X.to_numpy()),
            y == 2,
            feature_names=["a", "gene", "c"],
        )


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["a"], "one name for each of the 3 columns"),
        ("abc", "feature_names is 'abc'"),
        (3, "feature_names is 3"),  # was a TypeError of tuple()
    ],
)
def test_names_that_cannot_be_are_refused_before_anything_is_changed(names, message):
    X, y = quasi()
    model = LogisticRegression(3, dtype=F64)
    with pytest.raises(ValueError, match=message):
        fit(model, X, y == 2, feature_names=names)
    assert not model.weight.any()
