"""The multinomial logit on few rows and its curvature by pairs of classes, against autograd."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor

from torchlogreg import L2, Objective, SoftmaxRegression, class_curvature, fit
from torchlogreg.closed_form import curvatures
from torchlogreg.curvature import gauss_newton
from torchlogreg.data import Batch
from torchlogreg.losses import categorical_nll
from torchlogreg.optim.factor import Factor
from torchlogreg.optim.shifts import Shifts
from torchlogreg.penalties import Penalty
from torchlogreg.small_classes import SmallClasses

SHAPES = [(40, 1, 2), (60, 3, 3), (300, 9, 6), (200, 30, 3)]


def random_rows(n: int, p: int, K: int, *, seed: int = 0, size: float = 1.0) -> Batch:
    """Normal columns, labels that follow them, weights with a zero among them."""
    g = torch.Generator().manual_seed(seed)
    X = torch.randn(n, p, generator=g, dtype=torch.float64) * size
    chances = torch.softmax(X @ torch.randn(p, K, generator=g, dtype=torch.float64), 1)
    y = torch.multinomial(chances, 1, generator=g).squeeze(1)
    y[:K] = torch.arange(K)
    weight = torch.rand(n, generator=g, dtype=torch.float64)
    weight[1] = 0.0
    return Batch(X, y, weight * (n / weight.sum()))


def random_model(p: int, K: int, *, reference: bool, bias: bool, size: float = 1.0):
    """A model with parameters that mean nothing."""
    g = torch.Generator().manual_seed(1)
    model = SoftmaxRegression(p, K, reference=reference, bias=bias, dtype=torch.float64)
    for q in model.parameters():
        q.data.copy_(size * torch.randn(q.shape, generator=g, dtype=torch.float64))
    return model


def by_autograd(model: SoftmaxRegression, penalty: Penalty | None, batch: Batch) -> list[Tensor]:
    """Value, gradient (P,) and Hessian (P, P) of the objective, by nothing but autograd."""
    shapes = [q.shape for q in model.parameters()]
    flat = torch.cat([q.detach().flatten() for q in model.parameters()])

    def value(theta: Tensor) -> Tensor:
        sizes = [s.numel() for s in shapes]
        parts = [t.view(s) for t, s in zip(theta.split(sizes), shapes, strict=True)]
        scores = batch.X @ parts[0].T + (parts[1] if len(parts) == 2 else 0.0)
        scores = scores if batch.offset is None else scores + batch.offset
        eta = torch.nn.functional.pad(scores, (1, 0)) if model.reference else scores
        mean = (categorical_nll(eta, batch.y) * batch.sample_weight).mean()
        return mean if penalty is None else mean + penalty.value(parts[0])

    flat.requires_grad_()
    (gradient,) = torch.autograd.grad(value(flat), flat)
    return [value(flat).detach(), gradient, torch.autograd.functional.hessian(value, flat)]


CASES = list(itertools.product(SHAPES, (False, True), (False, True), (None, L2(0.3))))


@pytest.mark.parametrize(("shape", "reference", "bias", "penalty"), CASES)
@pytest.mark.parametrize("shifted", [False, True])
def test_value_gradient_and_hessian_are_those_of_autograd(
    shape: tuple[int, int, int], reference: bool, bias: bool, penalty: Penalty | None, shifted: bool
) -> None:
    batch, model = random_rows(*shape), random_model(*shape[1:], reference=reference, bias=bias)
    if shifted:
        offset = torch.randn(len(batch), len(model.weight), dtype=torch.float64)
        batch = Batch(batch.X, batch.y, batch.sample_weight, offset)
    objective = Objective(model, penalty=penalty)
    small = objective.few(batch)
    assert isinstance(small, SmallClasses)
    found, matrix = objective.closure(batch, batch).expansion()
    for ours, theirs in zip(
        (found.value, found.gradient, matrix), by_autograd(model, penalty, batch), strict=True
    ):
        torch.testing.assert_close(ours, theirs.detach(), rtol=1e-12, atol=1e-13)
    eta = model(batch.X, batch.offset).detach()
    torch.testing.assert_close(found.eta, eta, rtol=1e-13, atol=1e-13)
    torch.testing.assert_close(found.losses, categorical_nll(eta, batch.y), rtol=1e-13, atol=1e-15)


@pytest.mark.parametrize("shape", SHAPES)
def test_products_that_are_kept_give_the_same_hessian(
    shape: tuple[int, int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    batch, model = random_rows(*shape), random_model(*shape[1:], reference=False, bias=True)
    matrices = []
    for small in (0, 2**30):
        monkeypatch.setattr(class_curvature, "SMALL", small)
        matrices.append(Objective(model).closure(batch, batch).expansion()[1])
    torch.testing.assert_close(*matrices, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("shape", SHAPES)
def test_at_zero_all_that_is_known_beforehand_is_right(shape: tuple[int, int, int]) -> None:
    batch = random_rows(*shape)
    model = SoftmaxRegression(*shape[1:], dtype=torch.float64)
    found, matrix = Objective(model).closure(batch, batch).expansion()
    for ours, theirs in zip(
        (found.value, found.gradient, matrix), by_autograd(model, None, batch), strict=True
    ):
        torch.testing.assert_close(ours, theirs.detach(), rtol=1e-13, atol=1e-14)


def test_other_weights_of_the_same_rows_need_no_new_scores_and_give_the_same_numbers() -> None:
    batch, model = random_rows(60, 3, 4), random_model(3, 4, reference=False, bias=True)
    objective = Objective(model)
    objective.closure(batch, batch).found()
    other = batch.reweighted(batch.sample_weight.flip(0))
    found, matrix = objective.closure(other, other).expansion()
    assert objective.rows_read == 2 * len(batch)  # counted, though nothing was multiplied
    value, gradient, hessian = by_autograd(model, None, other)
    torch.testing.assert_close(found.value, value.detach(), rtol=1e-13, atol=0)
    torch.testing.assert_close(found.gradient, gradient.detach(), rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(matrix, hessian.detach(), rtol=1e-12, atol=1e-14)


def test_rows_that_are_nearly_sure_keep_relative_precision() -> None:
    # 1 - p is 1e-30: as a difference it would be zero.
    X = torch.tensor([[70.0], [-70.0], [35.0], [0.0]], dtype=torch.float64)
    batch = Batch(X, torch.tensor([1, 0, 1, 0]), torch.ones(4, dtype=torch.float64))
    model = SoftmaxRegression(1, 3, bias=False, dtype=torch.float64)
    model.weight.data.copy_(torch.tensor([[0.0], [1.0], [-0.2]]))
    small = SmallClasses.of(model, model.nll, None, batch)
    assert small is not None
    look = small.look(model.weight.detach().flatten())
    wide = model(X).detach()
    others = (wide - wide[:, 1:2]).exp()
    row = float(others[0, 0] + others[0, 2])  # sure of class 1 by e^-70
    assert float(look.losses[0]) == pytest.approx(row, rel=1e-13)
    assert float(look.logits.missed[1, 0]) == pytest.approx(-row, rel=1e-13)


@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize(
    ("n", "p", "K", "reference", "bias"),
    [
        (500, 9, 6, False, True),
        (500, 9, 6, True, False),
        (900, 40, 3, False, True),
        (7, 2, 2, 1, 1),
    ],
)
def test_curvature_by_pairs_is_the_sum_of_the_rows_own_in_blocks_of_any_size(
    n: int, p: int, K: int, reference: bool, bias: bool, soft: bool, monkeypatch
) -> None:
    batch = random_rows(n, p, K)
    model = random_model(p, K, reference=bool(reference), bias=bool(bias))
    if soft:
        y = torch.rand(n, K, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
        batch = Batch(batch.X, y, batch.sample_weight)
    eta = model(batch.X).detach()
    C = curvatures(categorical_nll, eta, batch.y) * (batch.sample_weight / n)[:, None, None]
    r = len(model.weight)
    Z = torch.cat((batch.X, torch.ones(n, int(bias), dtype=torch.float64)), 1)
    whole = torch.einsum("nab,ni,nj->aibj", C[:, K - r :, K - r :], Z, Z)
    order = torch.arange(r * Z.shape[1]).view(r, -1)
    order = torch.cat((order[:, :p].flatten(), order[:, p:].flatten()))
    wanted = whole.reshape(r * Z.shape[1], -1)[order][:, order]
    for entries in (1, 2**10, 2**18):
        monkeypatch.setattr(class_curvature, "ENTRIES", entries)
        found = gauss_newton(model, model.nll, batch)
        torch.testing.assert_close(found, wanted, rtol=1e-11, atol=1e-15)


@pytest.mark.parametrize(("penalty", "scale"), [(None, 1.0), (None, 1e6), (L2(0.1), 1.0)])
def test_the_anchored_hessian_gives_the_minimum_norm_step(
    penalty: Penalty | None, scale: float
) -> None:
    batch, model = random_rows(80, 4, 5), random_model(4, 5, reference=False, bias=True)
    batch.X[:, 2] *= scale
    model.weight.data[:, 2] /= scale
    model.weight.data -= model.weight.data.mean(0)
    objective = Objective(model, penalty=penalty)
    found, matrix = objective.closure(batch, batch).expansion()
    shifts = Shifts.of(objective)
    assert shifts is not None
    factor = Factor(shifts.anchored(matrix.clone()))
    assert not factor.singular
    step = shifts.centred(factor.solve(found.gradient))
    unit = torch.ones(25, dtype=torch.float64)
    unit[:20].view(5, 4)[:, 2] = scale
    wanted = torch.linalg.pinv(matrix / unit[:, None] / unit, hermitian=True, rtol=1e-12)
    wanted = wanted @ (found.gradient / unit) / unit
    torch.testing.assert_close(step * unit, wanted * unit, rtol=1e-8, atol=1e-9)
    torch.testing.assert_close(matrix @ step, found.gradient, rtol=1e-8, atol=1e-12)


def test_a_rare_class_costs_the_anchored_hessian_no_pivot() -> None:
    # One row in ten thousand: with equal anchors its pivot would be of rounding's size.
    batch = random_rows(10_000, 2, 3)
    batch.y[batch.y == 2] = 0
    batch.y[:3] = torch.tensor([0, 1, 2])
    model = SoftmaxRegression(2, 3, dtype=torch.float64)
    result = fit(model, batch.X, batch.y, penalty=L2(1e-4))
    assert result.converged and result.optimality < 1e-14
    shifts = Shifts.of(objective := Objective(model, penalty=L2(1e-4)))
    assert shifts is not None
    assert Factor(shifts.anchored(objective.curvature(batch, None))).pivot > 1e-3


def test_no_shift_is_seen_where_a_class_is_the_reference_or_nothing_is_known() -> None:
    free, bound = (random_model(2, 3, reference=r, bias=True) for r in (False, True))
    assert Shifts.of(Objective(free)) is not None
    assert Shifts.of(Objective(bound)) is None
    assert Shifts.of(Objective(free, loss=lambda eta, y: categorical_nll(eta, y))) is None
    unbiased = random_model(2, 3, reference=False, bias=False)
    assert Shifts.of(Objective(unbiased, penalty=L2(0.1))) is None
