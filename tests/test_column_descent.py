"""Compiled sweeps over the columns of a working set: the same optimum, and where they give up."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.sparse import csr_array

from torchlogreg import L1, ElasticNet, LinearRegression, LogisticRegression, fit, pages
from torchlogreg.base import Model
from torchlogreg.inputs import make_data
from torchlogreg.objective import Objective
from torchlogreg.optim import ProximalNewton, column_descent, working_set
from torchlogreg.optim.working_set import Columns
from torchlogreg.penalties import Penalty

pytest.importorskip("numba")

from torchlogreg.kernels import SMALLEST, column_squares, columns

LASSO, NET = L1(0.05), ElasticNet(0.05, l1_ratio=0.5)


def rows(n: int = 60, p: int = 90, *, mixed: float = 0.0) -> tuple[torch.Tensor, torch.Tensor]:
    """Columns that share ``mixed`` of a common factor, and labels that some of them explain."""
    generator = torch.Generator().manual_seed(n + p)
    X = torch.randn(n, p, dtype=torch.float64, generator=generator)
    X = X + mixed * torch.randn(n, 1, dtype=torch.float64, generator=generator)
    noise = torch.randn(n, dtype=torch.float64, generator=generator)
    return X, (X[:, 0] - X[:, 3] + noise > 0).to(torch.float64)


def solved(family: type[Model], bias: bool, penalty: Penalty, mixed: float, least: int) -> Model:
    """Trained to rounding, compiled from ``least`` entries on."""
    X, y = rows(mixed=mixed)
    model = family(X.shape[1], bias=bias, dtype=torch.float64)
    token = SMALLEST.set(least)
    try:
        result = fit(model, X, y, penalty=penalty, optimizer=ProximalNewton, tol=1e-10)
    finally:
        SMALLEST.reset(token)
    assert result.converged
    return model


@pytest.mark.parametrize("mixed", [0.0, 20.0])
@pytest.mark.parametrize("penalty", [LASSO, NET])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("family", [LinearRegression, LogisticRegression])
def test_sweeps_and_matrices_find_the_same_weights(
    family: type[Model], bias: bool, penalty: Penalty, mixed: float
) -> None:
    swept = solved(family, bias, penalty, mixed, 0)
    plain = solved(family, bias, penalty, mixed, 2**40)
    assert torch.equal(swept.weight != 0, plain.weight != 0)
    torch.testing.assert_close(swept.weight, plain.weight, rtol=1e-7, atol=1e-9)


def test_a_set_that_takes_too_many_sweeps_is_left_to_a_matrix(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(column_descent, "SWEEPS", 1)
    hasty = solved(LogisticRegression, True, LASSO, 0.0, 0)
    plain = solved(LogisticRegression, True, LASSO, 0.0, 2**40)
    torch.testing.assert_close(hasty.weight, plain.weight, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("n", [1, 7, 8, 21])
def test_columns_are_the_columns(n: int, dtype: torch.dtype) -> None:
    X, which = rows(n, 40)[0].to(dtype), torch.tensor([0, 3, 17, 39])
    found = torch.full((4, n), torch.nan, dtype=dtype)
    columns(X, which, found)
    assert torch.equal(found, X.T[which])


@pytest.mark.parametrize("n", [4099, 20_000])
def test_columns_gathered_by_several_threads_are_the_columns(n: int) -> None:
    X, which = rows(n, 40)[0], torch.arange(0, 40, 2)
    found = torch.full((20, n), torch.nan, dtype=X.dtype)
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        columns(X, which, found)
    finally:
        torch.set_num_threads(before)
    assert torch.equal(found, X.T[which])


def test_kept_columns_stay_what_they_are_while_more_come(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "FIRST", 5 * 30 * 8)  # room for five columns, then for ten
    monkeypatch.setattr(working_set, "KEPT", 12 * 30)
    X, y = rows(30, 40)
    columns = Columns(make_data(LogisticRegression(40, dtype=torch.float64), X, y))
    for features in ([3, 1, 7], [1, 20], [30, 31, 32, 33, 34], [3, 39]):
        which = torch.tensor(features)
        assert columns.fetch(which)
        assert torch.equal(columns.rows[columns.place[which]], X.T[which])
        ordered = columns.in_order(which)
        assert torch.equal(columns.of(ordered), X.T[ordered])
    assert len(columns.rows) == 10
    assert columns.fetch(torch.arange(8, 20))  # those of before make room
    assert len(columns.rows) == 12 and torch.equal(columns.rows, X.T[8:20])
    assert not columns.fetch(torch.arange(13))


@pytest.mark.parametrize("n", [1, 4, 11])
def test_squares_of_many_columns(n: int) -> None:
    X = rows(n, 700)[0]
    torch.testing.assert_close(column_squares(X), X.square().sum(0), rtol=1e-14, atol=0.0)
    X[n - 1, 5] = torch.nan
    assert torch.isnan(column_squares(X)).nonzero().tolist() == [[5]]


def test_only_single_scores_are_swept() -> None:
    X, y = rows()
    objective = Objective(LogisticRegression(X.shape[1], dtype=torch.float64), penalty=LASSO)

    data = make_data(objective.model, X, y)
    token = SMALLEST.set(0)
    assert column_descent.can_sweep(objective.closure(data, data))
    SMALLEST.set(2**40)
    assert not column_descent.can_sweep(objective.closure(data, data))
    SMALLEST.reset(token)


@pytest.mark.parametrize("make", [LogisticRegression, LinearRegression])
@pytest.mark.parametrize("least", [0, 2**40])
@pytest.mark.parametrize("sparse_rows", [False, True])
def test_a_column_of_zeros_lets_its_weight_go(
    make: type[Model], least: int, sparse_rows: bool
) -> None:
    # Where kernels descend, a column without curvature was passed over: a weight that began away
    # from zero stayed, and the fit never ended.
    source = np.random.default_rng(0)
    X = source.standard_normal((80, 4))
    X[:, 3] = 0.0
    y = (source.random(80) < 1 / (1 + np.exp(-X[:, 0]))).astype(float)
    model = make(4, dtype=torch.float64)
    torch.nn.init.constant_(model.weight, 0.5)
    token = SMALLEST.set(least)
    try:
        result = fit(model, csr_array(X) if sparse_rows else X, y, penalty=L1(0.01))
    finally:
        SMALLEST.reset(token)
    assert result.converged and model.weight[0, 3].item() == 0.0
