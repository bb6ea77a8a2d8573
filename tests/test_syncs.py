"""How often a step would wait for a CUDA device, counted on the CPU, where the same operations run.

A plain first-order step never waits. A line search decides on the host, and waits for each number
that it decides by; the table holds how often that may be, so that nobody adds a wait unseen.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from torchlogreg import L1, L2, LinearRegression, LogisticRegression, SoftmaxRegression, fit
from torchlogreg.base import Model
from torchlogreg.data import Batch, minibatches
from torchlogreg.objective import Objective
from torchlogreg.optim import OPTIMIZERS, resolve
from waits import Waits

N, P = 3000, 8

# Waits of a step once the first two are done: measured on 2026-11-22, with room for one more try
# of a line search.
ALLOWED = {
    "sgd": 0,
    "momentum": 0,
    "nesterov": 0,
    "adam": 0,
    "adamw": 0,
    "rmsprop": 0,
    "adagrad": 0,
    "lbfgs": 24,  # torch's own: two for each pair that it remembers, and its search
    "newton": 14,
    "newton_cg": 60,  # six a product with the Hessian
    "proximal_gradient": 18,
    "subsampled_newton": 28,
    "block_lbfgs": 24,
}


def rows() -> tuple[Tensor, Tensor]:
    """Columns, and scores that they predict."""
    g = torch.Generator().manual_seed(0)
    X = torch.randn(N, P, generator=g, dtype=torch.float64)
    return X, X @ torch.randn(P, generator=g, dtype=torch.float64)


def problem(name: str) -> tuple[Objective, Batch]:
    """What the optimizer called ``name`` is for."""
    X, scores = rows()
    g = torch.Generator().manual_seed(1)
    uniform = torch.rand(N, generator=g, dtype=torch.float64)
    y = (uniform < torch.sigmoid(scores)).double()
    model: Model = LogisticRegression(P, dtype=torch.float64)
    if name == "block_lbfgs":
        model, y = SoftmaxRegression(P, 3, dtype=torch.float64), (3 * uniform).long()
    penalty = L1(0.02) if name == "proximal_gradient" else L2(0.1)
    return Objective(model, penalty=penalty), Batch(X, y, torch.ones_like(uniform))


def waits_of_steps(
    name: str, batches: Iterator[Batch], objective: Objective, data: Batch
) -> list[Waits]:
    """One for each step."""
    size = None if name not in ("sgd", "adam") else 100
    optimizer = resolve(name, objective, size, OPTIMIZERS)
    found = []
    for batch in batches:
        with Waits() as waits:
            optimizer.step(objective.closure(batch, data))  # type: ignore[arg-type]
        found.append(waits)
    return found


@pytest.mark.parametrize("name", ALLOWED)
def test_a_step_waits_no_more_often_than_the_table_says(name: str) -> None:
    objective, data = problem(name)
    for waits in waits_of_steps(name, iter([data] * 7), objective, data)[2:]:
        assert waits.count <= ALLOWED[name], dict(waits.places)


@pytest.mark.parametrize("name", ["sgd", "adam"])
def test_a_step_on_a_mini_batch_never_waits(name: str) -> None:
    objective, data = problem(name)
    batches = minibatches(data, 500, torch.Generator().manual_seed(2))
    for waits in waits_of_steps(name, batches, objective, data)[1:]:
        assert waits.count == 0, dict(waits.places)


def test_an_epoch_without_a_stop_test_never_waits() -> None:
    X, scores = rows()
    counts = []
    for epochs in (3, 9):
        with Waits() as waits:
            fit(
                LinearRegression(P, dtype=torch.float64),
                X,
                scores,
                optimizer="sgd",
                max_epochs=epochs,
                tol=0,
            )
        counts.append(waits.count)
    assert counts[0] == counts[1]


def test_the_stop_test_waits_once_and_for_what_it_remembers() -> None:
    # Optimality is one number. That the parameters are still those it was computed at is asked of
    # both of them, three times an epoch: the version counters alone would not see p.data change.
    X, scores = rows()
    counts, places = [], {}
    for epochs in (3, 13):
        model = LinearRegression(P, dtype=torch.float64)
        with Waits() as waits, pytest.warns(UserWarning, match="max_epochs"):
            fit(model, X, scores, optimizer="sgd", max_epochs=epochs, tol=1e-300)
        counts.append(waits.count)
        places = dict(waits.places)
    assert (counts[1] - counts[0]) / 10 <= 1 + 3 * 2, places


def test_every_way_to_wait_is_counted() -> None:
    x = torch.ones(3)
    ways = {
        "item": lambda: x.sum().item(),
        "float": lambda: float(x[0]),
        "bool": lambda: bool(x[0] > 0),
        "tolist": lambda: x.tolist(),
        "numpy": lambda: x.numpy(),
        "cpu": lambda: x.cpu(),
        "equal": lambda: torch.equal(x, x + 0),
        "nonzero": lambda: x.nonzero(),
        "mask": lambda: x[x > 0],
        "cholesky": lambda: torch.linalg.cholesky(torch.eye(2)),
    }
    for name, way in ways.items():
        with Waits() as waits:
            way()
        assert waits.count >= 1, name
    with Waits() as waits:
        torch.linalg.cholesky_ex(torch.eye(2))
        torch.dot(x, x)
        torch.where(x > 0, x, 0)
    assert waits.count == 0
