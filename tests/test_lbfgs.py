"""L-BFGS to the last digits: what torch's line search loses to rounding, and what stays torch's."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from fresh import KINDS, PENALTIES, draw, optimum

from torchlogreg import L2, OPTIMIZERS, SoftmaxRegression, fit
from torchlogreg.optim import LBFGS
from torchlogreg.optim.lbfgs import _Start

F64 = torch.float64
SMOOTH = [p for p in PENALTIES if p in ("none", "l2")]


@pytest.mark.parametrize("penalty", SMOOTH)
@pytest.mark.parametrize("kind", KINDS)
def test_gradients_far_below_the_square_root_of_rounding(kind: str, penalty: str) -> None:
    problem = draw(np.random.default_rng([5, KINDS.index(kind)]), kind, penalty)
    model = problem.model()
    weights, terms = problem.sample_weight, {"penalty": problem.penalty()}
    result = fit(
        model,
        problem.X,
        problem.y,
        sample_weight=weights,
        optimizer="lbfgs",
        tol=1e-10,
        max_epochs=1000,
        **terms,
    )
    assert result.converged
    best = optimum(problem)
    assert problem.value(problem.theta(model)) == pytest.approx(problem.value(best), rel=1e-14)


def test_a_draw_on_which_torchs_own_stood_still() -> None:
    rng = np.random.default_rng([2899006232, KINDS.index("ordinal")])
    draw(rng, "ordinal", "l2")
    problem = draw(rng, "ordinal", "l2")
    model, weights = problem.model(), problem.sample_weight
    result = fit(
        model,
        problem.X,
        problem.y,
        sample_weight=weights,
        penalty=problem.penalty(),
        optimizer="lbfgs",
        tol=1e-8,
        max_epochs=100,
    )
    assert result.converged


@pytest.mark.parametrize(("spread", "middle"), [(10.0, 50.0), (1.0, 5.0)])
def test_columns_far_from_zero_are_learnt_from_to_the_end(spread: float, middle: float) -> None:
    """torch keeps no pair whose product is below 1e-10: it was at 1e-6 after 3,000 epochs."""
    rng = torch.Generator().manual_seed(0)
    X = torch.randn(2500, 10, generator=rng, dtype=F64) * spread + middle
    y = torch.randint(4, (2500,), generator=rng)
    model = SoftmaxRegression(10, 4, dtype=F64)
    settings = {"penalty": L2(0.1), "max_epochs": 150, "tol": 1e-9}
    assert fit(model, X, y, optimizer="lbfgs", **settings).converged
    best = SoftmaxRegression(10, 4, dtype=F64)
    assert fit(best, X, y, optimizer="newton", **settings).converged
    torch.testing.assert_close(model.weight, best.weight, rtol=0, atol=1e-7)


def test_no_more_pairs_are_kept_than_asked_for_and_all_have_curvature() -> None:
    x = torch.zeros(3, dtype=F64, requires_grad=True)
    settings = OPTIMIZERS["lbfgs"].keywords | {"history_size": 3}  # type: ignore[attr-defined]
    optimizer = LBFGS([x], **settings)

    def closure() -> float:
        optimizer.zero_grad()
        value = quartic(x)
        value.backward()
        return value.item()  # a plain number is one, too

    for _ in range(30):
        assert isinstance(optimizer.step(closure), float)
        state = optimizer.state[x]
        lengths = [len(state[name]) for name in ("old_dirs", "old_stps", "ro")]
        assert lengths[0] == lengths[1] == lengths[2] <= 3
        assert all(float(ro) > 0 for ro in state["ro"])
    assert (x - torch.tensor([1.0, 2.0, 3.0], dtype=F64)).abs().max() <= 1e-12


def quartic(x: torch.Tensor) -> torch.Tensor:
    """Convex, its minimum 3 at 1, 2, 3."""
    away = x - torch.tensor([1.0, 2.0, 3.0], dtype=x.dtype)
    return 3 + (away**4).sum() + (torch.tensor([1.0, 10.0, 100.0]) * away**2).sum()


def path(kind: type[torch.optim.LBFGS], n_steps: int) -> list[torch.Tensor]:
    x = torch.zeros(3, dtype=F64, requires_grad=True)
    settings = OPTIMIZERS["lbfgs"].keywords  # type: ignore[attr-defined]
    optimizer, seen = kind([x], **settings), []

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        value = quartic(x)
        value.backward()
        return value

    for _ in range(n_steps):
        seen.append(optimizer.step(closure).detach())
        seen.append(x.detach().clone())
    return seen


def test_steps_are_torchs_where_values_differ_by_more_than_rounding() -> None:
    ours, theirs = path(LBFGS, 8), path(torch.optim.LBFGS, 8)
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=0)


def test_a_step_returns_the_value_before_it_and_goes_on_to_the_minimum() -> None:
    seen = path(LBFGS, 60)
    assert seen[0] == quartic(torch.zeros(3, dtype=F64))
    assert (seen[-1] - torch.tensor([1.0, 2.0, 3.0], dtype=F64)).abs().max() <= 1e-14


def test_there_and_back_again_is_no_descent() -> None:
    """Equal values far apart: the slopes' integral would be wrong by far, so it is not taken."""
    x = torch.tensor([0.0], dtype=F64)
    x.grad = torch.tensor([-1.0], dtype=F64)
    start = _Start(torch.tensor(2.0, dtype=F64), [x])
    x += 7
    x.grad = torch.tensor([-0.5], dtype=F64)
    assert start.difference(torch.tensor(2.0, dtype=F64), [x]) == 0.0
