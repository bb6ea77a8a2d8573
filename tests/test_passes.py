"""The three ways to a value and its gradient agree: closed forms here, against autograd."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from problems import MODELS, params_of, problem
from torchlogreg import L2, Batch, Objective, losses, passes
from torchlogreg.closed_form import curvatures, has_slopes, losses_and_slopes
from torchlogreg.sample_weights import mean_one

F64 = torch.float64
EXTREME = [-1e4, -800.0, -40.0, -1.0, -1e-9, 0.0, 1e-9, 1.0, 40.0, 800.0, 1e4]


def rows(kind: str) -> tuple[Tensor, Tensor]:
    """eta and targets, hard and soft, from certain to wrong."""
    steep = torch.tensor(EXTREME, dtype=F64)
    if kind in ("squared", "binary"):
        y = torch.tensor([0.0, 1.0, 0.3] if kind == "binary" else [0.0, 2.0], dtype=F64)
        pairs = torch.cartesian_prod(steep, y)
        return pairs[:, :1], pairs[:, 1]
    eta = torch.cartesian_prod(steep, steep, steep)
    if kind == "soft":
        source = torch.Generator().manual_seed(0)
        return eta, torch.softmax(torch.randn(eta.shape, dtype=F64, generator=source), 1)
    return eta, torch.arange(len(eta)) % 3


KINDS = {
    "squared": losses.squared_error,
    "binary": losses.binary_nll,
    "hard": losses.categorical_nll,
    "soft": losses.categorical_nll,
}


@pytest.mark.parametrize("kind", KINDS)
def test_formulas_equal_autograd_even_where_a_row_is_certain(kind: str) -> None:
    loss, (eta, y) = KINDS[kind], rows(kind)
    found = losses_and_slopes(loss, eta, y)
    torch.testing.assert_close(found.losses, loss(eta, y), rtol=1e-14, atol=0)
    smooth = (eta != 0).all(1)  # where ties are broken autograd takes one side of |t|
    slopes = losses.slopes(loss, eta, y)
    tied = eta.sort(1).values.diff(dim=1).eq(0).any(1) if eta.shape[1] > 1 else ~smooth
    torch.testing.assert_close(found.slopes[~tied], slopes[~tied], rtol=1e-13, atol=1e-16)
    bend = losses.curvatures(loss, eta, y)
    torch.testing.assert_close(curvatures(loss, eta, y)[~tied], bend[~tied], rtol=1e-13, atol=1e-16)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("name", MODELS)
def test_a_pass_equals_autograd(name: str, dtype: torch.dtype) -> None:
    case = problem(name, dtype=dtype)
    model = case.model()
    source = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.5 * torch.randn(p.shape, generator=source, dtype=F64).to(dtype))
    weight = mean_one(torch.rand(case.n, generator=source, dtype=F64)).to(dtype)
    offset = torch.randn(case.n, generator=source, dtype=F64).to(dtype)
    y = model.target(case.y)
    data = Batch(case.X, y.to(dtype) if y.is_floating_point() else y, weight, offset)
    objective, loss = Objective(model, None, L2(0.3)), model.nll
    plain = Objective(model, lambda eta, y: loss(eta, y), L2(0.3))
    eps = 50 * torch.finfo(dtype).eps
    here, there = (o.closure(data, data) for o in (objective, plain))
    torch.testing.assert_close(here(), there(), rtol=eps, atol=eps)
    torch.testing.assert_close(here.gradient(), there.gradient(), rtol=eps, atol=eps)
    torch.testing.assert_close(here.hessian(), there.hessian(), rtol=10 * eps, atol=eps)


def test_blocks_of_rows_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    case = problem("softmax_reference")
    data = Batch(case.X, case.y, torch.ones(case.n, dtype=F64))
    whole = passes.evaluate(model := case.model(), model.nll, None, [*model.parameters()], data)
    monkeypatch.setattr(passes, "BLOCK", 21)
    parts = passes.evaluate(model, model.nll, None, [*model.parameters()], data)
    for one, other in zip(whole[:4], parts[:4], strict=True):
        torch.testing.assert_close(one, other, rtol=1e-14, atol=1e-16)


def test_a_frozen_weight_has_no_gradient() -> None:
    case = problem("logistic")
    model = case.model()
    model.weight.requires_grad_(False)
    data = Batch(case.X, model.target(case.y), torch.ones(case.n, dtype=F64))
    closure = Objective(model, None, L2(1.0)).closure(data, data)
    assert closure.gradient().shape == (1,) and closure.optimality() > 0
    assert len(params_of(model)) == 4


def test_what_has_a_formula_is_known() -> None:
    assert has_slopes(losses.binary_nll) and not has_slopes(losses.cumulative_probit_nll)


def test_long_sums_of_float32_keep_their_digits() -> None:
    # One run of 2e7 terms was 5e-6 off; gradients go through the same sum.
    terms = torch.rand(6_000_000, generator=torch.Generator().manual_seed(0), dtype=torch.float32)
    terms += 0.5
    terms.requires_grad_()
    weight = torch.ones(6_000_000, dtype=torch.float32)
    found = passes.weighted_sum(terms, weight)
    exact = float(terms.detach().sum(dtype=torch.float64))
    assert abs(float(found.detach()) / exact - 1) < 3e-7
    (slopes,) = torch.autograd.grad(found, terms)
    assert torch.equal(slopes, weight)
