"""Standard errors of many rows: squares that are taken twice are as good as a factorisation."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from torchlogreg import (
    Batch,
    LinearRegression,
    LogisticRegression,
    Model,
    OrdinalRegression,
    fit,
    infer,
)
from torchlogreg.inference.affine import AffineForm
from torchlogreg.inference.information import ROUNDING, SQUARED_IS_FINE, Information
from torchlogreg.inference.rows import Problem
from torchlogreg.inference.single import has_one_score

N, P = 3000, 4
# Standard deviation of the last column beside the others: squared pivots that are fine, that are
# squared again, and that are left to a factorisation.
SPREADS = {"sound": 1.0, "twice": 3e-3, "factored": 1e-5}
MODELS = {
    "linear": lambda: LinearRegression(P, dtype=torch.float64),
    "logistic": lambda: LogisticRegression(P, dtype=torch.float64),
    "two levels": lambda: OrdinalRegression(P, 2, dtype=torch.float64),
}


def columns(spread: float, mean: float) -> Tensor:
    """Normal columns, the last one nearly the sum of the others."""
    g = torch.Generator().manual_seed(0)
    X = torch.randn(N, P, generator=g, dtype=torch.float64)
    X[:, -1] = X[:, :-1].sum(1) + spread * X[:, -1]
    return X + mean


def fitted(name: str, X: Tensor) -> tuple[Model, Tensor]:
    """A model at its optimum, and the response."""
    g = torch.Generator().manual_seed(1)
    scores = (X[:, 0] - X[:, 0].mean()) + torch.randn(N, generator=g, dtype=torch.float64)
    model = MODELS[name]()
    y = scores if name == "linear" else (scores > 0).long()
    assert fit(model, X, y, optimizer=None if name == "linear" else "newton").converged
    return model, y


def errors_by_qr(model: Model, X: Tensor, y: Tensor) -> np.ndarray:
    """Of the weights, from a factorisation of the weighted rows about their means."""
    with torch.no_grad():
        mu = model.mean(model(X))
    if model.n_classes is None:
        w = torch.ones_like(y) * (N - P - 1) / (y - mu).square().sum()
    else:
        mu = mu if mu.ndim == 1 else mu[:, 1]
        w = mu * (1 - mu)
    Z = X - (w @ X) / w.sum()
    R = torch.linalg.qr(w.sqrt()[:, None] * Z, mode="r").R
    return torch.linalg.inv(R).norm(dim=1).numpy()


@pytest.mark.parametrize("mean", [0.0, 1e4])
@pytest.mark.parametrize("spread", SPREADS)
@pytest.mark.parametrize("name", MODELS)
def test_errors_are_those_of_a_factorisation(name: str, spread: str, mean: float) -> None:
    X = columns(SPREADS[spread], mean)
    model, y = fitted(name, X)
    found = infer(model, X, y)
    places = [found.names.index(f"x{j + 1}") for j in range(P)]
    # Columns about 1e4 have lost four digits of what tells the last one apart before they came.
    tolerance = 1e-11 if mean == 0 else 1e-6
    assert found.bse[places] == pytest.approx(errors_by_qr(model, X, y), rel=tolerance)


def test_the_three_ways_are_taken() -> None:
    for spread, low, high in (("sound", SQUARED_IS_FINE, 1), ("twice", ROUNDING, SQUARED_IS_FINE)):
        X = columns(SPREADS[spread], 0.0)
        model, _ = fitted("logistic", X)
        matrix = X.T @ X
        scale = matrix.diagonal().rsqrt()
        pivots = torch.linalg.cholesky(matrix * scale[:, None] * scale).diagonal().square()
        assert low < float(pivots.min()) < high
        assert model.weight.isfinite().all()


def test_a_single_score_is_summed_as_many_are() -> None:
    from torchlogreg.inputs import make_data

    X = columns(1.0, 0.0)
    model, y = fitted("logistic", X)
    problem = Problem.of(AffineForm.of(model), make_data(model, X, y))
    assert has_one_score(problem)
    found = Information._in(problem)
    eta = model(X).detach()
    prob = torch.sigmoid(eta[:, 0])
    D = torch.cat((X / problem.basis.scale, torch.ones(N, 1, dtype=torch.float64)), dim=1)
    assert torch.allclose(found.matrix, D.T @ ((prob * (1 - prob))[:, None] * D), rtol=1e-12)
    assert torch.allclose(found.gradient, D.T @ (prob - y), rtol=1e-9, atol=1e-9)
    assert float(found.loss) == pytest.approx(
        -float(model.log_likelihood(X, y).detach()), rel=1e-13
    )
    assert found.weakest == pytest.approx(float((prob * (1 - prob)).min()), rel=1e-12)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("spread", SPREADS)
def test_compiled_sums_give_the_errors_of_a_factorisation(spread: str, weighted: bool) -> None:
    pytest.importorskip("numba")
    from torchlogreg.kernels import SMALLEST

    X = columns(SPREADS[spread], 0.0)
    weight = torch.arange(N, dtype=torch.float64) % 3 + 1 if weighted else None
    rows = X if weight is None else X.repeat_interleave(weight.long(), 0)
    model, y = fitted("logistic", X)
    fit(model, X, y, optimizer="newton", sample_weight=weight)
    repeated = y if weight is None else y.repeat_interleave(weight.long())
    kind = None if weight is None else "frequency"
    token = SMALLEST.set(0)
    try:
        found = infer(model, X, y, sample_weight=weight, weight_kind=kind)
    finally:
        SMALLEST.reset(token)
    assert found.bse[1:] == pytest.approx(errors_by_qr(model, rows, repeated), rel=1e-11)
    blocks = infer(model, X, y, sample_weight=weight, weight_kind=kind)
    assert found.bse == pytest.approx(blocks.bse, rel=1e-11)
    assert found.llf == pytest.approx(blocks.llf, rel=1e-13)


def test_means_that_sizes_prove_near_zero_need_no_pass() -> None:
    X, y = columns(1.0, 0.0), torch.arange(N, dtype=torch.float64) % 2
    weight = torch.ones(N, dtype=torch.float64)
    model = LogisticRegression(P, dtype=torch.float64)
    for shift, moved in ((0.0, False), (50.0, True)):
        rows = Batch(X + shift, y, weight, squares=(X + shift).square().sum(0))
        basis = Problem.of(AffineForm.of(model), rows).basis
        unknown = Batch(X + shift, y, weight)
        assert torch.equal(basis.mean, Problem.of(AffineForm.of(model), unknown).basis.mean)
        assert bool(basis.mean.any()) is moved
