"""Of many rows columns are judged by their Gram matrix: as by the QR that small problems get."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from torchlogreg import LinearRegression, LogisticRegression
from torchlogreg.data import Batch
from torchlogreg.diagnostics import problem as module
from torchlogreg.diagnostics import screen
from torchlogreg.diagnostics.columns import column_findings
from torchlogreg.diagnostics.margins import SOME, told_apart
from torchlogreg.diagnostics.problem import Problem
from torchlogreg.objective import Objective

N, P = 2**17 + 1, 8


def columns(case: str) -> Tensor:
    """Columns of a kind."""
    X = torch.randn(N, P, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    if case == "near":
        X[:, 5] = X[:, 0] - X[:, 2] + 1e-3 * X[:, 5]
    elif case == "dependent":
        X[:, 5] = X[:, 0] - X[:, 2]
    elif case == "constant":
        X[:, 3] = 4.0
    elif case == "far":
        X[:, 5] = X[:, 0] - X[:, 2] + 1e-3 * X[:, 5]
        X += 1e5
    elif case == "huge":
        X *= 1e200
    return X


def judged(X: Tensor, bias: bool) -> Problem:
    model = LinearRegression(P, bias=bias, dtype=torch.float64)
    ones = torch.ones(len(X), dtype=torch.float64)
    return Problem(Objective(model), Batch(X, X[:, 0].clone(), ones))


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("case", ["plain", "near", "dependent", "constant", "far", "huge"])
def test_findings_are_those_of_the_qr(
    case: str, bias: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    X = columns(case)
    found = column_findings(judged(X, bias))
    monkeypatch.setattr(module, "MANY", float("inf"))
    assert judged(X, bias).factor is None
    want = column_findings(judged(X, bias))
    assert [str(f) for f in found] == [str(f) for f in want]
    assert ("near_collinear" in [f.kind for f in found]) == (case in ("near", "far"))


@pytest.mark.parametrize(("bias", "shift"), [(True, 0.5), (True, 1e5), (False, 0.0)])
def test_the_factor_is_that_of_columns_of_unit_length(bias: bool, shift: float) -> None:
    X = columns("near") + shift
    factor = judged(X, bias).factor
    assert factor is not None
    centred = X - shift  # exact, so that no digit of the mean is lost
    centred = centred - centred.mean(0) if bias else X
    unit = centred / centred.norm(dim=0)
    got = torch.from_numpy(factor)
    torch.testing.assert_close(got.T @ got, unit.T @ unit, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("case", ["dependent", "constant", "huge"])
def test_a_gram_matrix_without_enough_digits_is_not_used(case: str) -> None:
    assert judged(columns(case), True).factor is None


@pytest.mark.parametrize("bias", [True, False])
def test_gradients_of_all_rows_multiplied_in_one_read_are_those_of_blocks(
    bias: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("numba")
    X = columns("near")
    source = torch.Generator().manual_seed(1)
    y = (torch.rand(N, generator=source, dtype=torch.float64) < 0.3).double()
    weight = torch.rand(N, generator=source, dtype=torch.float64)
    model = LogisticRegression(P, bias=bias, dtype=torch.float64)
    model.weight.data.normal_(generator=source)
    problem = Problem(Objective(model), Batch(X, y, weight))
    at_once = screen._gram(problem)
    assert screen._gram_at_once(problem) is not None
    monkeypatch.setattr(screen, "curvature_available", lambda *args: False)
    size = at_once.diagonal().max()
    assert abs(at_once - screen._gram(problem)).max() < 1e-12 * size


def test_rows_all_on_their_side_are_found_whatever_some_of_them_say() -> None:
    X = columns("plain")
    y = (X[:, 0] > 0).double()
    model = LogisticRegression(P, dtype=torch.float64)
    model.weight.data[0, 0] = 50.0
    ones = torch.ones(N, dtype=torch.float64)
    assert told_apart(Problem(Objective(model), Batch(X, y, ones)))
    y[777] = 1 - y[777]  # one row, which is not among those asked first
    assert N // SOME > 1 and 777 % (N // SOME)
    assert not told_apart(Problem(Objective(model), Batch(X, y, ones)))
