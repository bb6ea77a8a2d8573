"""Findings where numbers end: tiny and huge columns, float32's rounding, copies of a result."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
import torch

from torchlogreg import (
    ConvergenceWarning,
    LinearRegression,
    LogisticRegression,
    fit,
)
from torchlogreg.diagnostics import diagnose, report, screen, separation

F64 = torch.float64


def overlapping(n: int = 60, p: int = 2) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(0)
    X = generator.normal(size=(n, p))
    return X, (X[:, 0] + 2 * generator.logistic(size=n) > 0).astype(int)


@pytest.mark.parametrize("scale", [1e-310, 1e-200, 1e200, 1e300])
def test_columns_of_any_size_are_told_apart_from_dependent_ones(scale):
    # X * 1e-310 ended in LAPACK's "SVD did not converge": the norm of such a column is 0.
    X, y = overlapping()
    for model in (LinearRegression(2, dtype=F64), LogisticRegression(2, dtype=F64)):
        assert not diagnose(model, X * scale, y)
    dependent = np.column_stack((X * scale, X[:, 0] * (scale / 2)))
    (found,) = diagnose(LinearRegression(3, dtype=F64), dependent, y)
    assert found.kind == "collinear" and found.columns == (0, 2)


def test_columns_of_the_largest_numbers_do_not_overflow():
    # Their mean, hence every linear program of the exact test, was infinite: a traceback.
    X, y = overlapping()
    assert not diagnose(LogisticRegression(2, dtype=F64), np.sign(X) * 1.7e308, y)
    found = separation(np.sign(X) * 1.7e308, X[:, 0] > 0)
    assert found.kind == "complete" and found.columns == (0,)


@pytest.mark.parametrize(("scale", "dtype"), [(1e155, F64), (1e200, F64), (1e20, torch.float32)])
def test_a_fit_to_columns_without_squares_says_so(scale, dtype):
    # The Hessian is infinite: LAPACK's "eigh failed to converge" hid what became of the fit.
    X, y = overlapping()
    X, y = torch.tensor(X * scale, dtype=dtype), torch.tensor(y, dtype=dtype)
    with pytest.warns(ConvergenceWarning, match=r"have no squares in torch.float\d\d: scale them"):
        result = fit(LogisticRegression(2, dtype=dtype), X, y, max_epochs=5)
    assert not result.converged


def test_a_fit_to_vanishing_columns_ends():
    X, y = overlapping()
    result = fit(LinearRegression(1, dtype=F64), X[:, :1] * 1e-200, y)
    assert result.converged and not result.diagnosis


def test_columns_whose_squares_vanish_have_a_size():
    X, y = overlapping()
    (found,) = diagnose(LogisticRegression(2, dtype=F64), X * [1.0, 1e-200], y)
    assert found.kind == "scale" and found.columns == (0, 1)


def test_a_column_whose_squares_vanish_is_found_though_it_sums_to_zero():
    X, y = overlapping()
    signs = np.where(np.arange(len(y)) % 2, -1.0, 1.0)
    cases = (1e-200, True), (1e-310, True), (0.0, False), (1.0, False)
    for size, said in cases:  # signs themselves have the unit 1, and so do columns of zeros
        beside = np.column_stack((X, size * signs))
        found = diagnose(LogisticRegression(3, dtype=F64), beside, y)
        assert any(one.kind == "scale" and 2 in one.columns for one in found.findings) == said, size


def test_rows_without_weight_have_no_part_in_a_columns_size():
    # One entry of 1e305 in a row of weight 0 was called "size inf".
    X, y = overlapping()
    weights = np.ones(len(y))
    weights[3] = 0
    X[3, 0] = 1e305
    assert not diagnose(LogisticRegression(2, dtype=F64), X, y, sample_weight=weights)


def rounded(n: int = 400) -> tuple[torch.Tensor, torch.Tensor]:
    """``3 w + u - 2 v`` is > 0 on 20 rows of class 1 and 0 on others, up to float32's rounding."""
    generator = torch.Generator().manual_seed(0)
    u, v = torch.randn(2, n, generator=generator)
    y = torch.rand(n, generator=generator) < 0.5
    s = torch.zeros(n)
    s[y.nonzero().flatten()[:20]] = torch.rand(20, generator=generator) + 0.1
    return torch.stack((u, v, (s - u + 2 * v) / 3), dim=1), y


def test_separation_by_a_combination_is_seen_through_the_rounding_of_float32():
    # The exact test took the rounding for overlap, and told the user to use more digits.
    X, y = rounded()
    found = separation(X, y)
    assert found.kind == "quasi" and found.n_certain == 20 and found.columns == (0, 1, 2)
    assert separation(X.double(), y).kind == "none"  # as double precision it does overlap
    with pytest.warns(ConvergenceWarning, match="quasi-completely separated"):
        result = fit(LogisticRegression(3), X, y)
    assert [f.kind for f in result.diagnosis] == ["separation"]


@pytest.mark.parametrize("share", [1e-1, 1e-2, 1e-3, 1e-4])
def test_narrow_overlaps_are_not_taken_for_rounding(share):
    generator = torch.Generator().manual_seed(3)
    X = torch.randn(400, 2, generator=generator)
    y = X[:, 0] > 0
    widest = X[:, 0].abs().max()
    X[0, 0], y[0] = share * widest, False
    X[1, 0], y[1] = -share * widest, True
    assert separation(X, y).kind == "none"


def test_a_healthy_fit_of_thousands_of_columns_is_proven(monkeypatch):
    # Above 2000 parameters nothing was: every unpenalised fit of that size warned "unchecked".
    monkeypatch.setattr(screen, "LIMIT", 20)
    monkeypatch.setattr(report, "LIMIT", 20)
    generator = np.random.default_rng(0)
    X, y = generator.normal(size=(400, 40)), generator.integers(0, 2, 400)
    result = fit(LogisticRegression(40, dtype=F64), X, y, optimizer="lbfgs")
    assert result.converged and not result.diagnosis
    monkeypatch.setattr(screen, "WORK", 1e4)  # a proof that costs too much is not tried
    with pytest.warns(ConvergenceWarning, match="separation could not be excluded"):
        fit(LogisticRegression(40, dtype=F64), X, y, optimizer="lbfgs")


def test_a_result_is_copied_and_pickled_before_and_after_its_diagnosis_was_read():
    # The diagnosis of a small fit is worked out when it is first read, from a copy of the rows.
    X, y = overlapping()
    X = np.column_stack((X, 1e9 * X[:, 1] ** 2))
    result = fit(LogisticRegression(3, dtype=F64), X, y)
    X[:] = 0.0
    early = pickle.loads(pickle.dumps(result)), copy.deepcopy(result)
    assert [f.kind for f in result.diagnosis] == ["scale"]
    for other in (*early, pickle.loads(pickle.dumps(result)), copy.copy(result)):
        assert other.diagnosis == result.diagnosis and other.message == result.message
    assert "apart in scale" in result.message
    assert result.message in repr(result).replace("\\'", "'")
