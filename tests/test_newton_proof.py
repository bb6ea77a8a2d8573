"""What Newton's last iteration proves: never of separated classes, always of ordinary rows."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from torchlogreg import L2, LogisticRegression, Model, Objective, SoftmaxRegression, fit
from torchlogreg.diagnostics import separation
from torchlogreg.diagnostics.newton_proof import newton_proves
from torchlogreg.diagnostics.problem import Problem
from torchlogreg.inputs import make_data
from torchlogreg.optim import Newton

F64 = torch.float64


def proven(model: Model, X: torch.Tensor, y: torch.Tensor, epochs: int = 30) -> bool:
    """Whether Newton's iterations, however many, left a proof behind."""
    optimizer = Newton(model.parameters())
    objective, data = Objective(model), make_data(model, X, y)
    for _ in range(epochs):
        optimizer.step(objective.closure(data, data))
        if newton_proves(optimizer, Problem(objective, data)):
            return True
    return False


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 10**6), st.integers(4, 24), st.integers(1, 3), st.integers(2, 3))
def test_separated_classes_are_never_proven_to_have_an_optimum(
    seed: int, n: int, p: int, n_classes: int
) -> None:
    # Small whole numbers: most of these sets are separated, often only quasi-completely.
    generator = torch.Generator().manual_seed(seed)
    X = torch.randint(-2, 3, (n, p), generator=generator).to(F64)
    y = torch.randint(0, n_classes, (n,), generator=generator)
    y[:n_classes] = torch.arange(n_classes)
    model: Model = LogisticRegression(p, dtype=F64)
    if n_classes > 2:
        model = SoftmaxRegression(p, n_classes, reference=True, dtype=F64)
    separated = separation(X, y, model=model).kind != "none"
    assert not (proven(model, X, y) and separated)


@pytest.mark.parametrize("n", [40, 1000, 20_000])
@pytest.mark.parametrize("unit", [1.0, 1e-6, 1e6])
@pytest.mark.parametrize("shift", [0.0, 1000.0])
def test_ordinary_rows_are_proven_without_a_look_at_them(n: int, unit: float, shift: float) -> None:
    generator = torch.Generator().manual_seed(n)
    X = (torch.randn(n, 3, dtype=F64, generator=generator) + shift) * unit
    y = (torch.rand(n, generator=generator) < 0.4).to(F64)
    assert proven(LogisticRegression(3, dtype=F64), X, y)
    labels = torch.randint(0, 4, (n,), generator=generator)
    assert proven(SoftmaxRegression(3, 4, reference=True, dtype=F64), X, labels)


def test_the_proof_is_for_the_plain_likelihood_only() -> None:
    generator = torch.Generator().manual_seed(0)
    X = torch.randn(200, 2, dtype=F64, generator=generator)
    y = (torch.rand(200, generator=generator) < 0.5).to(F64)
    model = LogisticRegression(2, dtype=F64)
    optimizer = Newton(model.parameters())
    fit(model, X, y, optimizer=optimizer)
    data = make_data(model, X, y)
    assert newton_proves(optimizer, Problem(Objective(model), data))
    assert not newton_proves(optimizer, Problem(Objective(model, penalty=L2(0.1)), data))
    assert not newton_proves(torch.optim.SGD(model.parameters()), Problem(Objective(model), data))
    damped = Newton(model.parameters(), damping=0.1)
    fit(model, X, y, optimizer=damped)
    assert not newton_proves(damped, Problem(Objective(model), data))
