"""Solvers for many rows: right on hostile data, cheap in passes, deterministic."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor

from torchlogreg import (
    L2,
    OPTIMIZERS,
    ConvergenceWarning,
    FitResult,
    FitState,
    Hook,
    LogisticRegression,
    Model,
    OrdinalRegression,
    SoftmaxRegression,
    fit,
)
from torchlogreg.data import Batch
from torchlogreg.optim import sampling, subsampled
from torchlogreg.optim.sampling import sampled, stretches
from torchlogreg.optim.subsampled import SubsampledNewton

F64 = torch.float64
N = 8000


def draw(seed: int = 0) -> Callable[..., Tensor]:
    """Normal numbers of a seeded source."""
    source = torch.Generator().manual_seed(seed)
    return partial(torch.randn, dtype=F64, generator=source)


def rows(kind: str) -> tuple[Tensor, Tensor, dict[str, Any]]:
    """Rows of a hostile kind, 0/1 targets, and what else fit needs."""
    normal, p = draw(), 6
    X, slope = normal(N, p), torch.linspace(-1, 1, p, dtype=F64)
    score, noise, more = X @ slope, torch.logit(torch.special.ndtr(normal(N))), {}
    if kind == "rare":
        score = score - 7.5
    if kind == "heavy_tails":
        X = X / torch.special.ndtr(normal(N, p)).clamp(min=1e-4)
        score = (X @ slope).clamp(-5, 5)
    y = (score + noise > 0).to(F64)
    if kind == "sorted":
        order = torch.argsort(y)
        X, y = X[order], y[order]
    elif kind == "dummies":  # a level of four rows, that a sample does not see
        level = (torch.special.ndtr(normal(N)) ** 6 * 10).long()
        level[100:104] = 10
        y[100:104] = torch.tensor([0.0, 1.0, 1.0, 0.0], dtype=F64)
        X = torch.cat((X, torch.nn.functional.one_hot(level).to(F64)[:, 1:]), 1)
    elif kind == "collinear":
        X = torch.cat((X, X[:, :1] + 1e-5 * normal(N, 1)), 1)
    elif kind == "duplicated":
        X = torch.cat((X, X[:, :1]), 1)
    elif kind == "units":
        X = X * torch.logspace(-6, 6, p, dtype=F64)
    elif kind == "shifted":
        X = X + 1000 * torch.arange(p, dtype=F64)
    elif kind == "weights":
        more = {"sample_weight": torch.exp(1.5 * normal(N)), "offset": normal(N)}
    elif kind == "soft":
        y = torch.sigmoid(score + noise)
    elif kind == "steep":
        y = (20 * score + noise > 0).to(F64)
    return X, y, more


KINDS = (
    "plain sorted rare heavy_tails dummies collinear duplicated units shifted weights soft steep"
).split()


class Counted(Hook):
    """Passes over all rows until the optimality was 1e-9; the fit goes on to rounding."""

    passes = float("inf")

    def on_epoch_end(self, state: FitState) -> None:
        """Keep the first count."""
        if self.passes == float("inf") and float(state.optimality) <= 1e-9:
            self.passes = state.objective.rows_read / len(state.data)


def pair(
    model: Callable[[], Model], optimizer: Any, X: Tensor, y: Tensor, **more: Any
) -> tuple[FitResult, FitResult, float]:
    """Newton's fit, that of ``optimizer``, and its passes."""
    counted = Counted()
    reference = fit(model(), X, y, optimizer="newton", tol=1e-10, **more)
    found = fit(model(), X, y, optimizer=optimizer, tol=1e-9, hooks=[counted], **more)
    return reference, found, counted.passes


@pytest.mark.parametrize("optimizer", ["subsampled_newton", "newton_cg"])
@pytest.mark.parametrize("penalty", [None, L2(1 / N)])
@pytest.mark.parametrize("kind", KINDS)
def test_hostile_rows_end_at_the_optimum(kind: str, penalty: L2 | None, optimizer: str) -> None:
    X, y, more = rows(kind)
    model = partial(LogisticRegression, X.shape[1], dtype=F64)
    reference, found, passes = pair(model, optimizer, X, y, penalty=penalty, **more)
    assert found.converged and reference.converged
    assert abs(found.objective / reference.objective - 1) <= 1e-12
    if optimizer == "subsampled_newton":
        assert passes <= {"shifted": 30, "heavy_tails": 20}.get(kind, 14)


MODELS: dict[str, tuple[Callable[..., Model], int]] = {
    "softmax": (partial(SoftmaxRegression, n_classes=3), 3),
    "softmax_reference": (partial(SoftmaxRegression, n_classes=3, reference=True), 3),
    "ordinal": (partial(OrdinalRegression, n_classes=4), 4),
}


@pytest.mark.parametrize("optimizer", ["subsampled_newton", "newton_cg", "block_lbfgs"])
@pytest.mark.parametrize("name", MODELS)
def test_classes_end_at_the_optimum(name: str, optimizer: str) -> None:
    make, K = MODELS[name]
    if optimizer == "block_lbfgs" and name == "ordinal":
        pytest.skip("refused, see test_optimizers.py")
    normal = draw(1)
    X = normal(6000, 4) @ torch.diag(torch.logspace(0, -2, 4, dtype=F64))
    score = X @ torch.ones(4, dtype=F64)
    y = (score[:, None] + normal(6000, K - 1) > torch.linspace(-1, 1, K - 1, dtype=F64)).sum(1)
    model = partial(make, 4, dtype=F64)
    reference, found, _ = pair(model, optimizer, X, y, penalty=L2(1e-4))
    assert found.converged
    assert abs(found.objective / reference.objective - 1) <= 1e-12


def test_well_behaved_rows_take_a_handful_of_passes() -> None:
    normal = draw(2)
    X = normal(60_000, 10) @ torch.diag(torch.logspace(0, -3, 10, dtype=F64)) @ normal(10, 10)
    y = (X @ normal(10) + normal(60_000) > 0).to(F64)
    model = partial(LogisticRegression, 10, dtype=F64)
    best = fit(model(), X, y, optimizer="newton", tol=1e-10).objective

    class Reached(Hook):
        """Passes until the objective was within 1e-5 and 1e-10 of the optimum."""

        def __init__(self) -> None:
            self.passes: dict[float, float] = {}

        def on_epoch_end(self, state: FitState) -> None:
            """Note the first time."""
            for level in (1e-5, 1e-10):
                if float(state.value) <= best * (1 + level):
                    self.passes.setdefault(level, state.objective.rows_read / len(y))

    hook = Reached()
    fit(model(), X, y, optimizer="subsampled_newton", tol=1e-9, hooks=[hook])
    assert hook.passes[1e-5] < 4 and hook.passes[1e-10] < 6


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("optimizer", ["subsampled_newton", "newton_cg", "block_lbfgs"])
def test_the_same_fit_twice_is_the_same_to_the_bit(optimizer: str, dtype: torch.dtype) -> None:
    X, y, _ = rows("rare")
    found = []
    for _ in range(2):
        model = SoftmaxRegression(X.shape[1], 2, dtype=dtype)
        fit(model, X, y.long(), optimizer=optimizer, penalty=L2(1e-3), tol=1e-5)
        found.append(torch.cat([p.detach().flatten() for p in model.parameters()]))
    assert torch.equal(*found) and bool(torch.isfinite(found[0]).all())


def test_a_generator_decides_the_sample() -> None:
    X, y, _ = rows("plain")
    found = []
    for seed in (1, 1, 2):
        model = LogisticRegression(X.shape[1], dtype=F64)
        source = torch.Generator().manual_seed(seed)
        optimizer = SubsampledNewton(model.parameters(), generator=source)
        fit(model, X, y, optimizer=optimizer, max_epochs=1, tol=0)
        found.append(model.weight.detach())
    assert torch.equal(found[0], found[1]) and not torch.equal(found[0], found[2])


def test_separated_classes_are_not_called_converged() -> None:
    X, _, _ = rows("plain")
    model = LogisticRegression(X.shape[1], dtype=F64)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        result = fit(model, X, (X[:, 0] > 0).to(F64), optimizer="subsampled_newton", tol=1e-5)
    assert result.stop_reason == "separated" and bool(torch.isfinite(model.weight).all())


def test_a_large_fit_chooses_it_and_says_why() -> None:
    normal = draw(3)
    X = normal(70_000, 4)
    result = fit(LogisticRegression(4, dtype=F64), X, (X[:, 0] + normal(70_000) > 0).to(F64))
    assert result.optimizer == "SubsampledNewton" and "rows are many" in result.message


@pytest.mark.parametrize("name", ["subsampled_newton", "block_lbfgs", "newton_cg"])
def test_step_sizes_that_mean_nothing_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="lr"):
        OPTIMIZERS[name](LogisticRegression(2).parameters(), lr=-1.0)


@pytest.mark.parametrize("n", [10, 1000])
def test_stretches_are_distinct_and_even(n: int) -> None:
    index = stretches(n, 10, torch.Generator().manual_seed(0))
    assert torch.equal(index * 10 // n, torch.arange(10))


@pytest.mark.parametrize("share", [0.001, 0.1, 0.5])
@pytest.mark.parametrize("whole", [True, False])
def test_a_sample_stands_for_all_rows(share: float, whole: bool) -> None:
    n = 10_000
    y = (torch.arange(n) < share * n).long()
    y = y if whole else y.to(F64)
    X = torch.ones(n, 1, dtype=F64)
    batch = Batch(X, y, torch.ones(n, dtype=F64))
    part = sampled(batch, 500, torch.Generator().manual_seed(0), 2)
    count = min(10, int(share * n))
    assert int((part.y == 1).sum()) >= count
    for c in (0, 1):  # the weights of a class add up to its share
        total = float(part.sample_weight[part.y == c].sum() / len(part))
        assert total == pytest.approx(float((y == c).sum() / n), abs=1 / 400)


def test_the_default_of_tall_data_goes_on_to_the_last_digits() -> None:
    # It used to stop at tol with three to five digits, where Newton's answer has fifteen; and
    # Newton itself lost half of them where rounding of a long sum made the line search halve its
    # last step.
    generator = torch.Generator().manual_seed(1)
    scale = torch.logspace(0, 2, 20, dtype=torch.float64)
    X = torch.randn(20_000, 20, dtype=torch.float64, generator=generator) * scale + 3
    eta = X @ (torch.randn(20, dtype=torch.float64, generator=generator) / scale)
    y = (torch.rand(20_000, dtype=torch.float64, generator=generator) < eta.sigmoid()).double()
    found, exact = (LogisticRegression(20, dtype=torch.float64) for _ in range(2))
    result = fit(found, X, y)
    fit(exact, X, y, optimizer="newton")
    assert result.optimizer == "SubsampledNewton"
    torch.testing.assert_close(found.weight, exact.weight, rtol=1e-12, atol=0)


def test_a_loose_tolerance_is_taken_at_its_word() -> None:
    generator = torch.Generator().manual_seed(2)
    X = torch.randn(20_000, 20, dtype=torch.float64, generator=generator)
    y = (X[:, 0] + torch.randn(20_000, dtype=torch.float64, generator=generator) > 0).double()
    loose, strict = (
        fit(LogisticRegression(20, dtype=torch.float64), X, y, tol=tol) for tol in (1e-3, 1e-6)
    )
    assert loose.converged and strict.converged
    assert loose.n_epochs < strict.n_epochs


@pytest.mark.parametrize(
    "tol, n, level, want",
    [
        (1e-3, 100_000, 0.0, 2250),
        (1e-5, 100_000, 0.0, 4500),
        (1e-3, 200_000, 0.0, 4500),
        (1e-3, 100_000, 2.0, 4500),  # a rare class
    ],
)
def test_few_digits_are_begun_on_half_of_a_sample_that_costs_as_much_as_a_pass(
    tol: float, n: int, level: float, want: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = []

    def nested(batch: Batch, sizes: list[int], *more: Any) -> list[Batch]:
        drawn.append(sizes[-1])
        return sampling.nested(batch, sizes, *more)

    monkeypatch.setattr(subsampled, "nested", nested)
    normal = draw(4)
    X = normal(n, 8)
    y = (X[:, 0] + normal(n) > level).to(F64)
    result = fit(LogisticRegression(8, dtype=F64), X, y, tol=tol)
    assert result.converged and result.optimizer == "SubsampledNewton"
    assert drawn == [want]
