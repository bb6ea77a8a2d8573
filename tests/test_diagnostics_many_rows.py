"""Of many rows columns are judged by their Gram matrix: as by the QR that small problems get."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from torchlogreg import LinearRegression
from torchlogreg.data import Batch
from torchlogreg.diagnostics import problem as module
from torchlogreg.diagnostics.columns import column_findings
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
