"""Every solver, on problems that nobody has seen: drawn anew in each run, from a seed that is told.

TORCHLOGREG_SEED=... draws the same ones again.
"""

from __future__ import annotations

import os
import secrets
from dataclasses import replace

import numpy as np
import pytest
from fresh import KINDS, PENALTIES, Fresh, draw, optimum

from torchlogreg import OPTIMIZERS, fit

# What claims to end at the optimum by itself; torch's own rules of steps have no such end.
SOLVERS = {
    "auto",
    "block_lbfgs",
    "coordinate_newton",
    "dual_coordinate",
    "kernel_newton",
    "lbfgs",
    "least_squares",
    "newton",
    "newton_cg",
    "proximal_gradient",
    "proximal_newton",
    "saga",
    "subsampled_newton",
    "svrg",
}
STOCHASTIC = {"saga", "svrg"}

# Those that take a problem, of each kind and penalty; a solver that refuses says which would not.
TAKES = {
    ("linear", "none"): {"least_squares"},
    ("linear", "l2"): {"least_squares", "kernel_newton"},
    ("binary", "l2"): {"kernel_newton"},
    ("softmax", "l2"): {"kernel_newton", "block_lbfgs"},
    ("softmax", "none"): {"block_lbfgs"},
}
SMOOTH = {"newton", "newton_cg", "lbfgs", "subsampled_newton"}
ANY = {"auto", "proximal_gradient", "proximal_newton", "saga", "svrg"}


def takers(kind: str, penalty: str) -> set[str]:
    """Solvers of such a problem."""
    found = ANY | TAKES.get((kind, penalty), set())
    return found | SMOOTH if penalty in ("none", "l2") else found


def off(problem: Fresh, solver: str, best: float) -> float:
    """Relative suboptimality of what the solver finds."""
    model = problem.model()
    fit(
        model,
        problem.X,
        problem.y,
        sample_weight=problem.sample_weight,
        penalty=problem.penalty(),
        optimizer=solver,
        batch_size=max(1, len(problem.y) // 10) if solver in STOCHASTIC else None,
        max_epochs=20_000,
        tol=1e-7 if solver in STOCHASTIC else 1e-8,
    )
    return (problem.value(problem.theta(model)) - best) / abs(best)


def test_solvers_are_in_the_registry() -> None:
    assert SOLVERS - {"auto"} <= set(OPTIMIZERS)


def rng_of(kind: str) -> np.random.Generator:
    """From a seed that nobody chose."""
    seed = int(os.environ.get("TORCHLOGREG_SEED", secrets.randbits(32)))
    print(f"TORCHLOGREG_SEED={seed}")  # pytest shows it where the test fails
    return np.random.default_rng([seed, KINDS.index(kind)])


def check(problem: Fresh, solvers: set[str]) -> None:
    """None is further off than 1e-10, nor below the reference."""
    best = problem.value(optimum(problem))
    found = {solver: off(problem, solver, best) for solver in sorted(solvers)}
    wrong = {s: f"{d:.1e}" for s, d in found.items() if not -1e-13 <= d <= 1e-10}
    assert not wrong, f"{problem.X.shape}, l2={problem.l2:.3g}, l1={problem.l1:.3g}: {wrong}"


@pytest.mark.parametrize("penalty", PENALTIES)
@pytest.mark.parametrize("kind", KINDS)
def test_every_solver_is_within_1e_10_of_an_optimum_found_by_other_means(
    kind: str, penalty: str
) -> None:
    rng = rng_of(kind)
    for _ in range(3):
        check(draw(rng, kind, penalty), takers(kind, penalty) - STOCHASTIC)


@pytest.mark.parametrize("kind", KINDS)
def test_solvers_that_draw_rows_get_there_too(kind: str) -> None:
    rng = rng_of(kind)
    drawn = draw(rng, kind, str(rng.choice(["l2", "l1", "elastic_net"])), most_rows=200)
    X = (drawn.X - drawn.X.mean(0)) / drawn.X.std(0)  # steps of one size ask for one scale
    check(replace(drawn, X=X, l2=max(drawn.l2, 1e-2)), STOCHASTIC)
