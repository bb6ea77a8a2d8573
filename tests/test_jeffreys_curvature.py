"""When Newton gets the curvature of Jeffreys' penalty, and how far it goes without."""

from __future__ import annotations

import pytest
import torch

from torchlogreg import Jeffreys, LogisticRegression, Model, SoftmaxRegression, fit, jeffreys
from torchlogreg.data import Batch
from torchlogreg.log_determinant import largest_leverage
from torchlogreg.objective import Objective

F64 = torch.float64
MODELS = {
    "binary": lambda p: LogisticRegression(p, dtype=F64),
    "through_zero": lambda p: LogisticRegression(p, bias=False, dtype=F64),
    "softmax": lambda p: SoftmaxRegression(p, 3, dtype=F64),
    "reference": lambda p: SoftmaxRegression(p, 3, reference=True, dtype=F64),
}


def made(n: int, p: int, classes: int = 2) -> tuple[torch.Tensor, torch.Tensor]:
    """Normal rows, labels of which the first column knows a little."""
    generator = torch.Generator().manual_seed(0)
    X = torch.randn(n, p, generator=generator, dtype=F64)
    noise = torch.randn(n, generator=generator, dtype=F64)
    y = ((X[:, 0] + 2 * noise).argsort().argsort() * classes) // n
    return X, y


@pytest.mark.parametrize("name", MODELS)
def test_leverages_that_prove_idleness_bound_what_the_curvature_changes(name, monkeypatch):
    # On ordinary rows the curvature cost three times what it gained: 4.0 s for 1.3 s.
    X, y = made(12000, 4, 2 if name in ("binary", "through_zero") else 3)
    model: Model = MODELS[name](4)
    with torch.no_grad():
        model.weight.normal_(std=0.2, generator=torch.Generator().manual_seed(1))
    target = model.target(y)
    data = Batch(X, target, torch.ones(12000, dtype=F64))
    plain = Objective(model).closure(data, data).hessian()
    penalised = Objective(model, penalty=Jeffreys()).closure(data, data)
    assert torch.equal(penalised.hessian(), plain)
    seen = []
    monkeypatch.setattr(jeffreys, "IDLE", 0.0)
    monkeypatch.setattr(
        jeffreys, "largest_leverage", lambda *a: seen.append(largest_leverage(*a)) or seen[-1]
    )
    full = penalised.hessian()
    assert not torch.equal(full, plain)
    free = jeffreys._identified(model)
    change, base = (full - plain)[free][:, free], plain[free][:, free]
    rates = torch.linalg.eigvals(torch.linalg.solve(base, change)).abs()
    r = 2 if name in ("softmax", "reference") else 1
    assert float(rates.max()) <= 2 * r * 0.5 * seen[0] < 0.1


def test_the_leverage_is_that_of_a_loop():
    X, y = made(50, 3)
    model = LogisticRegression(3, dtype=F64)
    data = Batch(X, model.target(y), torch.ones(50, dtype=F64))
    Z = torch.cat((X, torch.ones(50, 1, dtype=F64)), dim=1)
    inverse = torch.linalg.inv(Z.T @ Z / 4)
    rows = jeffreys._rows(model, data, torch.tensor(50.0, dtype=F64))
    expected = max(float(z @ inverse @ z) for z in Z)
    assert largest_leverage(rows, inverse) == pytest.approx(expected, rel=1e-12)
    weights = torch.ones(50, dtype=F64)
    weights[max(range(50), key=lambda i: float(Z[i] @ inverse @ Z[i]))] = 0
    rows = jeffreys._rows(model, data.reweighted(weights), torch.tensor(50.0, dtype=F64))
    assert largest_leverage(rows, inverse) < expected


def test_scoring_that_crawls_goes_on_to_the_digits(monkeypatch):
    # On separated classes its gradient met the tolerance with two correct digits.
    generator = torch.Generator().manual_seed(0)
    X = torch.randn(5000, 20, generator=generator, dtype=F64)
    exact, model = (LogisticRegression(20, dtype=F64) for _ in range(2))
    fit(exact, X, X[:, 0] > 0, penalty=Jeffreys())
    monkeypatch.setattr(jeffreys, "MOST_WORK", 0.0)
    result = fit(model, X, X[:, 0] > 0, penalty=Jeffreys(), max_epochs=200)
    assert result.converged
    torch.testing.assert_close(model.weight, exact.weight, rtol=1e-5, atol=1e-3)
