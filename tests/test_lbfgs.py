"""L-BFGS to the last digits: what torch's line search loses to rounding, and what stays torch's."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from fresh import KINDS, PENALTIES, draw, optimum

from torchlogreg import OPTIMIZERS, fit
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
