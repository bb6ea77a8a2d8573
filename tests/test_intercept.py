"""Where Newton's method begins when a class is rare, and that it ends where it must."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from torchlogreg import L2, ClassBalanced, LogisticRegression, fit
from torchlogreg.inputs import make_data
from torchlogreg.objective import Objective
from torchlogreg.optim.intercept import at_the_share_

F64 = torch.float64


def rare_rows(n: int = 2000, p: int = 4, seed: int = 0):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, p))
    eta = X @ rng.standard_normal(p) - 6
    return X, (rng.random(n) < 1 / (1 + np.exp(-eta))).astype(float)


@pytest.mark.parametrize("flipped", [False, True])
@pytest.mark.parametrize("weighted", [False, True])
def test_the_intercept_alone_is_at_its_optimum(flipped, weighted):
    X, y = rare_rows()
    y = 1 - y if flipped else y
    weight = np.random.default_rng(1).uniform(0.5, 2, len(y)) if weighted else None
    model = LogisticRegression(4, dtype=F64)
    closure = Objective(model, penalty=L2(0.1))
    data = make_data(model, X, y, sample_weight=weight)
    closure = closure.closure(data, data)
    assert at_the_share_(closure, closure.found())
    share = np.average(y, weights=weight)
    assert model.bias.item() == pytest.approx(np.log(share / (1 - share)), abs=1e-9)
    assert abs(float(closure.found().gradient[-1])) < 1e-13
    assert not at_the_share_(closure, closure.found())


@pytest.mark.parametrize("case", ["common", "offset", "warm", "one class"])
def test_other_starts_are_left_alone(case):
    X, y = rare_rows()
    model = LogisticRegression(4, dtype=F64)
    if case == "common":
        y = np.arange(len(y)) % 4 == 0
    if case == "one class":
        y = np.zeros(len(y))
    if case == "warm":
        with torch.no_grad():
            model.weight[0, 2] = 0.01
    offset = np.full(len(y), 0.1) if case == "offset" else None
    data = make_data(model, X, rare_rows()[1], offset=offset)
    data = replace(data, y=torch.as_tensor(np.asarray(y, float)))  # one class is refused before
    closure = Objective(model).closure(data, data)
    assert not at_the_share_(closure, closure.found())
    assert not model.bias.any()


@pytest.mark.parametrize("weighting", [None, ClassBalanced()])
def test_a_fit_to_a_rare_class_ends_where_the_gradient_vanishes(weighting):
    X, y = rare_rows()
    model = LogisticRegression(4, dtype=F64)
    result = fit(model, X, y, optimizer="newton", penalty=L2(1e-3), weighting=weighting)
    assert result.converged
    weight, bias = model.weight.detach().numpy()[0], model.bias.item()
    c = result.sample_weight.numpy() / len(y)
    slope = c * (1 / (1 + np.exp(-(X @ weight + bias))) - y)
    np.testing.assert_allclose(X.T @ slope + 1e-3 * weight, 0, atol=1e-13)
    assert abs(slope.sum()) < 1e-14


def test_a_rare_class_costs_no_more_iterations_than_a_common_one():
    X, rare = rare_rows(20_000)
    common = (np.random.default_rng(2).random(len(X)) < 1 / (1 + np.exp(-X[:, 0]))).astype(float)
    epochs = [
        fit(LogisticRegression(4, dtype=F64), X, y, optimizer="newton", tol=1e-4).n_epochs
        for y in (rare, common)
    ]
    assert epochs[0] <= epochs[1] + 1
