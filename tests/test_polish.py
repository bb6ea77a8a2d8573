"""Nearly collinear columns: all digits of the exact solution of the float64 rows.

The reference is Newton's method in 60 decimal digits, written here for the three models from their
textbook formulas, without anything of the package.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from decimal import Decimal, localcontext

import numpy as np
import pytest
import torch
from torch import Tensor

from torchlogreg import (
    L2,
    LogisticRegression,
    Model,
    OrdinalRegression,
    SoftmaxRegression,
    fit,
)
from torchlogreg.data import Batch
from torchlogreg.estimators import LogisticClassifier, OrdinalClassifier
from torchlogreg.inference import infer
from torchlogreg.inputs import make_data
from torchlogreg.objective import Objective
from torchlogreg.optim import newton
from torchlogreg.optim.polish import DependentError, can_polish, polish_

F64 = torch.float64
Array = np.ndarray


pytestmark = pytest.mark.usefixtures("either_way")


def exactly(values: Tensor | list[float]) -> Array:
    """Floats as decimals, without rounding."""
    flat = values if isinstance(values, list) else values.tolist()
    return np.vectorize(Decimal, otypes=[object])(np.array(flat, dtype=float))


def solve(A: Array, b: Array) -> Array:
    """Gauss-Jordan elimination; the matrices here are positive definite, and digits plenty."""
    A, b = A.copy(), b.copy()
    for j in range(len(A)):
        pivot = A[j].copy() / A[j, j]
        right = b[j] / A[j, j]
        for i in range(len(A)):
            if i != j:
                b[i] = b[i] - A[i, j] * right
                A[i] = A[i] - A[i, j] * pivot
        A[j], b[j] = pivot, right
    return b


def classes(eta: Array, y: int) -> tuple[Array, Array]:
    """Slopes and curvature of the multinomial loss by the scores of classes 1, 2, ..."""
    powers = [t.exp() for t in eta]
    p = np.array([q / (1 + sum(powers)) for q in powers])
    own = np.array([Decimal(int(j + 1 == y)) for j in range(len(p))])
    return p - own, np.diag(p) - np.outer(p, p)


def levels(eta: Array, y: int) -> tuple[Array, Array]:
    """Those of the proportional-odds loss by its cutpoints less the score."""
    cdf = [Decimal(0), *(1 / (1 + (-t).exp()) for t in eta), Decimal(1)]
    density = [F * (1 - F) for F in cdf]
    bend = [d * (1 - 2 * F) for d, F in zip(density, cdf, strict=True)]
    p = cdf[y + 1] - cdf[y]
    s, C = np.full(len(eta), Decimal(0)), np.full((len(eta), len(eta)), Decimal(0))
    for j, sign in ((y, 1), (y - 1, -1)):
        if 0 <= j < len(eta):
            s[j] = -sign * density[j + 1] / p
            C[j, j] = -sign * bend[j + 1] / p
    return s, C + np.outer(s, s)


def reference(
    model: Model, X: Tensor, y: Tensor, weight: Tensor, alpha: float, offset: Tensor | None
) -> tuple[Array, Array]:
    """Optimum and standard errors from the model's parameters: by rows, constants last."""
    ordinal, k = isinstance(model, OrdinalRegression), int(model.n_classes or 2) - 1
    rows, w, p = exactly(X), exactly(weight), X.shape[1]
    known = exactly(torch.zeros_like(weight) if offset is None else offset)
    theta = exactly(parameters(model))
    unit, one, r = abs(rows).max(axis=0), Decimal(1), 1 if ordinal else k
    units = np.concatenate((np.tile(unit, r), np.full(k, one)))
    theta, penalised = theta * units, np.concatenate((np.full(r * p, one), np.full(k, 0 * one)))
    ridge = Decimal(alpha) * sum(w) * penalised / units**2
    D = np.full((k, r * p + k), 0 * one)
    for _ in range(30):
        H, g = np.diag(ridge), ridge * theta
        for x, label, wi, oi in zip(rows / unit, y.tolist(), w, known, strict=True):
            for j in range(k):
                D[j, slice(0, p) if ordinal else slice(j * p, (j + 1) * p)] = -x if ordinal else x
                D[j, r * p + j] = one
            s, C = (levels if ordinal else classes)(D @ theta + (-oi if ordinal else oi), label)
            H, g = H + wi * (D.T @ C @ D), g + wi * (D.T @ s)
        step = solve(H, g)
        theta = theta - step
        if all(abs(d) < Decimal("1e-30") * abs(t) for d, t in zip(step, theta, strict=True)):
            break
    variance = [solve(H, np.eye(len(H), dtype=int)[j] * one)[j] for j in range(len(H))]
    return theta / units, np.array([v.sqrt() for v in variance]) / units


def parameters(model: Model) -> Tensor:
    """Weights by rows (contrasts with class 0 where every class has one), then constants."""
    weight = model.weight.detach()
    if isinstance(model, OrdinalRegression):
        return torch.cat((weight[0], model.cutpoints.detach()))
    assert model.bias is not None
    bias = model.bias.detach()
    if isinstance(model, SoftmaxRegression) and not model.reference:
        weight, bias = weight[1:] - weight[:1], bias[1:] - bias[:1]
    return torch.cat((weight.flatten(), bias))


def digits(got: Tensor, want: Array) -> float:
    with localcontext() as context:
        context.prec = 60
        worst = float(max(abs((g - t) / t) for g, t in zip(exactly(got), want, strict=True)))
    return 17.0 if worst == 0 else -math.log10(worst)


def powers(x: Tensor, degree: int) -> Tensor:
    return torch.stack([x**d for d in range(1, degree + 1)], dim=1)


def years(n: int = 60) -> tuple[Tensor, Tensor, torch.Generator]:
    """Years from 1950 to 2020, the same about 1985 in units of 20, and a source of chance."""
    generator = torch.Generator().manual_seed(5)
    year = torch.randint(1950, 2021, (n,), generator=generator).to(F64)
    return year, (year - 1985) / 20, generator


def labels(kind: str, t: Tensor, generator: torch.Generator) -> Tensor:
    chance = torch.rand(len(t), 3, generator=generator, dtype=F64)
    if kind == "binary":
        return (chance[:, 0] < torch.sigmoid(0.3 + t - 0.5 * t**2)).to(F64)
    if kind == "ordinal":
        return torch.bucketize(t + torch.logit(chance[:, 0]), torch.tensor([-1.0, 1.0], dtype=F64))
    scores = torch.stack((0 * t, t - 0.5 * t**2, 0.3 - t), dim=1)
    return (scores - torch.log(-torch.log(chance))).argmax(dim=1)


MODELS: dict[str, Callable[[int], Model]] = {
    "binary": lambda p: LogisticRegression(p, dtype=F64),
    "softmax": lambda p: SoftmaxRegression(p, 3, dtype=F64),
    "reference": lambda p: SoftmaxRegression(p, 3, reference=True, dtype=F64),
    "ordinal": lambda p: OrdinalRegression(p, 3, dtype=F64),
}


@pytest.mark.parametrize("degree", [2, 3])
@pytest.mark.parametrize("kind", MODELS)
def test_polynomials_in_raw_years_keep_fifteen_digits(kind: str, degree: int) -> None:
    year, t, generator = years()
    X, y, model = powers(year, degree), labels(kind, t, generator), MODELS[kind](degree)
    result = fit(model, X, y)
    assert result.converged, result.message
    with localcontext() as context:
        context.prec = 60
        want, errors = reference(model, X, y, torch.ones_like(t), 0.0, None)
    assert digits(parameters(model), want) >= 14.5
    got = infer(model, X, y)
    order = torch.tensor(order_of(kind, degree))
    assert digits(torch.as_tensor(got.bse)[order], errors) >= 14


def order_of(kind: str, p: int) -> list[int]:
    """Places of ``parameters()`` in the table of inference: constants come first there."""
    if kind == "ordinal":
        return list(range(p + 2))
    r = 1 if kind == "binary" else 2
    return [a * (p + 1) + 1 + j for a in range(r) for j in range(p)] + [
        a * (p + 1) for a in range(r)
    ]


@pytest.mark.parametrize("kind", ["binary", "reference", "ordinal"])
def test_weights_offsets_and_a_ridge_take_part(kind: str) -> None:
    year, t, generator = years()
    X, y, model = powers(year, 2), labels(kind, t, generator), MODELS[kind](2)
    weight = torch.rand(len(t), generator=generator, dtype=F64)
    weight[:3] = 0
    offset = torch.randn(len(t), generator=generator, dtype=F64)
    result = fit(model, X, y, sample_weight=weight, offset=offset, penalty=L2(1e-3))
    assert result.converged, result.message
    with localcontext() as context:
        context.prec = 60
        want, _ = reference(model, X, y, result.sample_weight, 1e-3, offset)
    assert digits(parameters(model), want) >= 14.5


@pytest.mark.parametrize("kind", ["binary", "softmax", "ordinal"])
def test_soft_targets_equal_weighted_hard_ones(kind: str) -> None:
    year, _, generator = years(40)
    X, n = powers(year, 2), 40
    K = 2 if kind == "binary" else 3
    eighths = torch.randint(1, 4, (n, K), generator=generator).to(F64)
    eighths[:, 0] += 8 - eighths.sum(1)  # dyadic shares: exact
    shares = eighths / 8
    soft, hard = MODELS[kind](2), MODELS[kind](2)
    fit(soft, X, shares[:, 1] if kind == "binary" else shares)
    y = torch.arange(K).repeat(n)
    fit(
        hard,
        X.repeat_interleave(K, 0),
        y.to(F64) if kind == "binary" else y,
        sample_weight=shares.flatten() * K,
    )
    torch.testing.assert_close(parameters(soft), parameters(hard), rtol=4e-15, atol=0)


@pytest.mark.parametrize("estimator", [LogisticClassifier, OrdinalClassifier])
def test_estimators_lose_nothing_by_standardising(
    estimator: type[LogisticClassifier | OrdinalClassifier],
) -> None:
    year, t, generator = years()
    kind = "binary" if estimator is LogisticClassifier else "ordinal"
    X, y, model = powers(year, 3), labels(kind, t, generator), MODELS[kind](3)
    fit(model, X, y)
    found = estimator().fit(X.numpy(), y.numpy()).model_
    torch.testing.assert_close(parameters(found), parameters(model), rtol=2e-15, atol=0)


def test_a_polynomial_of_degree_five_keeps_fourteen_digits() -> None:
    generator = torch.Generator().manual_seed(3)
    x = 20 * torch.rand(80, generator=generator, dtype=F64)
    y = (torch.rand(80, generator=generator, dtype=F64) < torch.sigmoid((x - 10) / 5)).to(F64)
    X, model = powers(x, 5), LogisticRegression(5, dtype=F64)
    assert fit(model, X, y).converged
    with localcontext() as context:
        context.prec = 60
        want, _ = reference(model, X, y, torch.ones_like(y), 0.0, None)
    assert digits(parameters(model), want) >= 14.5


def test_a_step_after_the_last_changes_nothing() -> None:
    year, t, generator = years()
    X, y, model = powers(year, 3), labels("binary", t, generator), MODELS["binary"](3)
    fit(model, X, y)
    before = parameters(model)
    again = fit(model, X, y, max_epochs=5, tol=0)
    assert torch.equal(parameters(model), before) and again.n_steps == 5


def test_dependent_columns_keep_the_minimum_norm() -> None:
    _, t, generator = years()
    y = labels("binary", t, generator)
    X, model = torch.stack((t, t, t**2), dim=1), LogisticRegression(3, dtype=F64)
    assert fit(model, X, y).converged
    weight = model.weight.detach()[0]
    assert float((weight[0] - weight[1]).abs()) < 1e-14
    objective = Objective(model)
    data = make_data(model, X, y, sample_weight=None, offset=None, own_target=True)
    before = parameters(model)
    assert can_polish(objective, data)
    with pytest.raises(DependentError):
        polish_(objective, data)
    assert torch.equal(parameters(model), before)


def test_on_dependent_columns_the_last_digits_are_asked_for_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _, t, generator = years()
    y, asked = labels("binary", t, generator), []
    X = torch.stack((t, t, t**2), dim=1)

    def counted(objective: Objective, batch: Batch) -> bool:
        asked.append(batch)
        return polish_(objective, batch)

    monkeypatch.setattr(newton, "polish_", counted)
    result = fit(LogisticRegression(3, dtype=F64), X, y, optimizer="newton")
    assert result.converged and len(asked) == 1 < result.n_epochs


def test_ordinary_columns_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Objective] = []
    monkeypatch.setattr(newton, "can_polish", lambda objective, _: asked.append(objective))
    _, t, generator = years()
    X = torch.randn(60, 3, generator=generator, dtype=F64)
    assert fit(LogisticRegression(3, dtype=F64), X, labels("binary", t, generator)).converged
    assert asked == []


def test_what_has_no_way_is_refused() -> None:
    X, y = torch.randn(30, 2, dtype=F64), torch.arange(30) % 3
    probit = OrdinalRegression(2, 3, link="probit", dtype=F64)
    data = make_data(probit, X, y, sample_weight=None, offset=None, own_target=True)
    assert not can_polish(Objective(probit), data)
    single = SoftmaxRegression(2, 3)
    data = make_data(single, X, y, sample_weight=None, offset=None, own_target=True)
    assert not can_polish(Objective(single), data)
