"""Whether X is finite may be seen in the first pass: the same errors, and nothing is changed."""

from __future__ import annotations

import pickle
import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor

from torchlogreg import L2, ConvergenceWarning, LinearRegression, LogisticRegression, fit
from torchlogreg import inputs as inputs_module
from torchlogreg.finite import NotFiniteError
from torchlogreg.kernels import column_squares, evaluate
from torchlogreg.losses import binary_nll
from torchlogreg.models import Model
from torchlogreg.units import sums_of_squares

pytest.importorskip("numba", reason="the compiled kernels are the extra 'fast'")

MODELS = [LogisticRegression, LinearRegression]
N, P = 60_000, 20


def rows(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(N, P)) * 10.0 ** rng.uniform(-2, 2, P)
    return X, (X[:, 0] / X[:, 0].std() > rng.normal(size=N)).astype(float)


def counted_looks(monkeypatch: pytest.MonkeyPatch) -> list[Tensor]:
    looks: list[Tensor] = []

    def counting(X: Tensor) -> Tensor:
        looks.append(X)
        return sums_of_squares(X)

    monkeypatch.setattr(inputs_module, "_squares", counting)
    return looks


@pytest.mark.parametrize("row", [0, N // 2, N - 1])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("kind", MODELS)
def test_an_entry_that_is_not_finite_is_named_and_the_parameters_stay(
    kind: type[Model], value: float, row: int
) -> None:
    X, y = rows()
    X[row, 3] = value
    model = kind(P, dtype=torch.float64)
    with torch.no_grad():
        model.weight += 0.5
    before = [p.clone() for p in model.parameters()]
    with pytest.raises(NotFiniteError) as caught:
        fit(model, X, y, penalty=L2(1 / N))
    assert str(caught.value) == f"X has {value} in row {row}, column 3; remove or impute such rows"
    assert all(map(torch.equal, before, model.parameters()))
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)
    frame = pd.DataFrame(X, columns=[f"c{i}" for i in range(P)])
    with pytest.raises(ValueError, match=rf"X has -?(nan|inf) in row {row}, column 'c3'; remove"):
        fit(model, frame, y, penalty=L2(1 / N))
    assert all(map(torch.equal, before, model.parameters()))


@pytest.mark.parametrize("kind", MODELS)
def test_a_square_that_overflows_is_no_error(kind: type[Model]) -> None:
    X, y = rows()
    X[7, 3] = 1e200
    model = kind(P, dtype=torch.float64)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # three epochs are not enough
        result = fit(model, X, y, penalty=L2(1 / N), max_epochs=3)
    assert "column 3" in result.message
    assert all(bool(p.isfinite().all()) for p in model.parameters())


@pytest.mark.parametrize("kind", MODELS)
def test_the_fit_is_that_of_rows_looked_at_before(
    kind: type[Model], monkeypatch: pytest.MonkeyPatch
) -> None:
    X, y = rows()
    found = []
    for seen in (False, True):
        looks, model = counted_looks(monkeypatch), kind(P, dtype=torch.float64)
        choice = {} if not seen else {"optimizer": fit(model, X, y, penalty=L2(1 / N)).choice.name}  # type: ignore[union-attr]
        looks.clear()
        model = kind(P, dtype=torch.float64)
        result = fit(model, X, y, penalty=L2(1 / N), **choice)  # type: ignore[arg-type]
        assert len(looks) == int(seen)
        assert result.converged
        found.append(torch.cat([p.detach().flatten() for p in model.parameters()]))
    torch.testing.assert_close(*found, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("shape", [(1, 1), (9, 3), (1000, 20), (5000, 700)], ids=str)
def test_squares_come_with_a_pass(shape: tuple[int, int]) -> None:
    X = torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    y, weight = torch.ones(len(X), dtype=X.dtype), X.new_zeros(1, shape[1])
    squares = evaluate(
        binary_nll, X, y, sample_weight=y, weight=weight, intercepts=y[:1], squared=True
    ).squares
    assert squares is not None
    torch.testing.assert_close(squares, X.square().sum(0), rtol=1e-14, atol=0.0)
    torch.testing.assert_close(squares, column_squares(X), rtol=1e-14, atol=0.0)
