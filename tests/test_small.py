"""Few rows: the short way to value, gradient and curvature gives what the general way does."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from torchlogreg import (
    L1,
    L2,
    Batch,
    BoostMisclassified,
    ClassMean,
    Focal,
    Hook,
    LogisticRegression,
    Objective,
    Penalty,
    Product,
    Smoothed,
    SoftmaxRegression,
    fit,
)
from torchlogreg.curvature import gauss_newton
from torchlogreg.optim.centring import Centred
from torchlogreg.optim.factor import Factor
from torchlogreg.passes import evaluate
from torchlogreg.sample_weights import mean_one
from torchlogreg.small import MOST, Small
from torchlogreg.state import FitState

F64 = torch.float64
DTYPES = {"float64": (F64, 1e-13), "float32": (torch.float32, 2e-5)}
PENALTIES: dict[str, Penalty | None] = {"none": None, "L2": L2(0.3), "L1": L1(0.2)}


def rows(p: int, dtype: torch.dtype = F64, size: float = 1.0) -> tuple[LogisticRegression, Batch]:
    """A model away from zero, on weighted rows with an offset."""
    source = torch.Generator().manual_seed(p)
    X = torch.randn(90, p, generator=source, dtype=dtype)
    y = (torch.rand(90, generator=source, dtype=dtype) < 0.4).to(dtype)
    weight = mean_one(0.2 + torch.rand(90, generator=source, dtype=dtype))
    offset = 0.3 * torch.randn(90, generator=source, dtype=dtype)
    model = LogisticRegression(p, dtype=dtype)
    with torch.no_grad():
        model.weight.copy_(size * torch.randn(1, p, generator=source, dtype=dtype))
        model.bias.fill_(0.2)
    return model, Batch(X, y, weight, offset)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("penalty", PENALTIES)
@pytest.mark.parametrize("p", [1, 2, 10, 11, 20, 35])
def test_the_short_way_equals_the_general_way(p: int, penalty: str, dtype: str) -> None:
    # 11, 20 and 35 columns are filled with zeros to 12, 24 and 36; the others are not.
    kind, near = DTYPES[dtype]
    model, batch = rows(p, kind)
    objective = Objective(model, None, PENALTIES[penalty])
    assert Small.of(model, model.nll, PENALTIES[penalty], batch) is not None
    found, matrix = objective.closure(batch, batch).expansion()
    general = evaluate(model, model.nll, PENALTIES[penalty], objective.params, batch)
    bend = gauss_newton(model, model.nll, batch)
    if penalty == "L2":
        bend.diagonal()[:p] += 0.3
    for ours, theirs in zip(found[:4], general[:4], strict=True):
        torch.testing.assert_close(ours, theirs, rtol=near, atol=near)
    torch.testing.assert_close(matrix, bend, rtol=near, atol=near)


def test_losses_and_slopes_keep_their_digits_at_any_size() -> None:
    model, batch = rows(3, size=0.0)
    scale = torch.logspace(-3, 2.5, 90, dtype=F64)
    sure = Batch(torch.stack((scale, -scale, 0 * scale), 1), batch.y, batch.sample_weight)
    with torch.no_grad():
        model.weight[0, 0] = 1.0
    small = Small.of(model, model.nll, None, sure)
    assert small is not None
    look = small.look(torch.cat((model.weight[0], model.bias)).detach())
    logits, losses, eta = look.logits, look.losses, small.found(look).eta
    wide = torch.where(sure.y == 1, -eta[:, 0], eta[:, 0]).tolist()
    exact = [math.log1p(math.exp(-abs(u))) + max(u, 0.0) for u in wide]
    torch.testing.assert_close(losses, torch.tensor(exact, dtype=F64), rtol=4e-16, atol=0)
    missed = [1 / (1 + math.exp(-u)) if u > 0 else math.exp(u) / (1 + math.exp(u)) for u in wide]
    torch.testing.assert_close(logits.missed, torch.tensor(missed, dtype=F64), rtol=4e-16, atol=0)


def test_other_weights_need_no_new_pass() -> None:
    model, batch = rows(5)
    objective = Objective(model)
    objective.closure(batch, batch)()
    other = batch.reweighted(mean_one(batch.sample_weight.flip(0)))
    read = objective.rows_read
    found = objective.closure(other, other).found()
    assert found.eta is objective.rows(batch)[0] and objective.rows_read == read + len(other)
    expected = evaluate(model, model.nll, None, objective.params, other)
    torch.testing.assert_close(found.gradient, expected.gradient, rtol=1e-13, atol=1e-15)


GENERAL: dict[str, Callable[[], tuple[object, Batch]]] = {
    "soft targets": lambda: (rows(3)[0], _soft()),
    "softmax": lambda: (SoftmaxRegression(3, 2, dtype=F64), rows(3)[1]),
    "many rows": lambda: (rows(3)[0], _many()),
}


def _soft() -> Batch:
    batch = rows(3)[1]
    return Batch(batch.X, batch.y * 0.9, batch.sample_weight)


def _many() -> Batch:
    X = torch.zeros(MOST // 3 + 1, 3, dtype=F64)
    return Batch(X, X[:, 0], X[:, 0] + 1)


@pytest.mark.parametrize("kind", GENERAL)
def test_what_is_not_a_small_binary_logit_goes_the_general_way(kind: str) -> None:
    model, batch = GENERAL[kind]()
    assert Small.of(model, model.nll, None, batch) is None


def test_a_model_with_a_hook_of_its_own_goes_the_general_way() -> None:
    model, batch = rows(3)
    model.register_forward_hook(lambda module, inputs, eta: 2 * eta)
    assert Small.of(model, model.nll, None, batch) is None


def test_rows_changed_in_place_are_made_ready_anew() -> None:
    model, batch = rows(3)
    objective = Objective(model)
    objective.closure(batch, batch)()
    batch.X.mul_(2)
    with torch.no_grad():
        model.bias.add_(0.1)
    expected = evaluate(model, model.nll, None, objective.params, batch)
    gradient = objective.closure(batch, batch).gradient()
    torch.testing.assert_close(gradient, expected.gradient, rtol=1e-13, atol=1e-15)


@pytest.mark.parametrize("far", [0.5, 1.5, 1.9, 2.1, 2.5, 10.0, 1e8])
@pytest.mark.parametrize("spread", ["even", "one apart"])
def test_means_never_hide_a_column_that_is_far_from_zero(far: float, spread: str) -> None:
    # Knowing the columns' sizes saves the search for extremes; the answer must be the same.
    x = torch.linspace(0, 1, 50, dtype=F64) if spread == "even" else torch.eye(50, dtype=F64)[0]
    X = torch.stack((x - 0.5 + far, x - 0.5 - far, x), 1)
    size = X.square().mean(0).sqrt()
    shortly, fully = Centred.of(X, size).centre, Centred.of(X).centre
    assert (shortly is None) == (fully is None)
    assert fully is None or torch.equal(shortly, fully)


@pytest.mark.parametrize("damping", [0.0, 0.1])
def test_a_factor_does_not_depend_on_units(damping: float) -> None:
    # Cholesky is of the matrix as it comes: pivots are compared with its diagonal.
    A = torch.randn(30, 6, generator=torch.Generator().manual_seed(1), dtype=F64)
    matrix, units = A.T @ A, torch.logspace(-40, 40, 6, dtype=F64)
    plain, scaled = Factor(matrix, damping), Factor(matrix * units[:, None] * units, damping)
    v = torch.arange(1.0, 7.0, dtype=F64)
    damped = matrix + damping * torch.diag(matrix.diagonal())
    expected = torch.linalg.solve(damped, v)
    torch.testing.assert_close(plain.solve(v), expected, rtol=1e-12, atol=0)
    torch.testing.assert_close(scaled.solve(v * units) * units, expected, rtol=1e-12, atol=0)
    assert plain.pivot == pytest.approx(scaled.pivot, rel=1e-12) and not scaled.singular
    root = matrix.diagonal().rsqrt()
    unit = matrix * root[:, None] * root + damping * torch.eye(6, dtype=F64)
    trace = torch.linalg.inv(unit).trace()
    torch.testing.assert_close(plain.inverse_trace(), trace, rtol=1e-12, atol=0)


def _fit_rows(n: int = 300, p: int = 5) -> tuple[Tensor, Tensor]:
    source = torch.Generator().manual_seed(n)
    X = torch.randn(n, p, generator=source, dtype=F64)
    y = (torch.rand(n, generator=source, dtype=F64) < torch.sigmoid(2 * X.sum(1))).to(F64)
    return X, y


def _one_epoch(general: bool) -> tuple[Tensor, float]:
    """Parameters and objective after one step of Newton's, by the short or the general way."""
    X, y = _fit_rows()
    model = LogisticRegression(5, dtype=F64)
    if general:
        model.register_forward_hook(lambda module, inputs, eta: eta)
    result = fit(model, X, y, optimizer="newton", penalty=L2(0.01), max_epochs=1, tol=0)
    return torch.cat((model.weight[0], model.bias)).detach(), result.objective


def test_a_stretched_step_ends_lower_than_a_whole_one_by_either_way() -> None:
    X, y = _fit_rows()
    plain = LogisticRegression(5, dtype=F64)
    objective = Objective(plain, None, L2(0.01))
    batch = Batch(X, y, torch.ones_like(y))
    found, matrix = objective.closure(batch, batch).expansion()
    step = torch.linalg.solve(matrix, -found.gradient)
    with torch.no_grad():
        plain.weight.add_(step[:5])
        plain.bias.add_(step[5:])
    whole = float(objective.value(batch))
    moved, stretched = _one_epoch(general=True)
    assert stretched < whole
    assert 1 < float(moved.norm() / step.norm()) <= 2  # along the same line
    torch.testing.assert_close(moved / moved.norm(), step / step.norm(), rtol=1e-12, atol=1e-14)
    shortly, objective_there = _one_epoch(general=False)
    torch.testing.assert_close(shortly, moved, rtol=1e-12, atol=1e-14)
    assert abs(objective_there - stretched) < 1e-13


@pytest.mark.parametrize("kind", ["apart", "apart but for one", "overlapping"])
def test_stretched_steps_never_hide_that_classes_are_separated(kind: str) -> None:
    # Longer steps than Newton's own, whose pace is the sign of separation.
    X, y = _fit_rows(60, 2)
    y = (X[:, 0] + 0.5 * X[:, 1] > 0).to(F64)
    if kind == "apart but for one":  # a tie on the boundary: quasi-complete
        X = torch.cat((X, torch.zeros(2, 2, dtype=F64)))
        y = torch.cat((y, torch.tensor([0.0, 1.0], dtype=F64)))
    if kind == "overlapping":
        y[:3] = 1 - y[:3]
    model = LogisticRegression(2, dtype=F64)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        result = fit(model, X, y)
    assert result.stop_reason == ("converged" if kind == "overlapping" else "separated")


def test_newton_at_rest_stays_where_it_is_and_moves_on_when_weights_do() -> None:
    X, y = _fit_rows()
    model = LogisticRegression(5, dtype=F64)
    seen: list[Tensor] = []

    class Watch(Hook):
        def on_epoch_end(self, state: FitState) -> None:
            seen.append(state.model.weight.detach().clone())

    arguments = {"penalty": L2(0.01), "tol": 0, "hooks": [Watch()]}
    fit(model, X, y, optimizer="newton", max_epochs=30, **arguments)
    assert torch.equal(seen[-1], seen[12])
    exact = LogisticRegression(5, dtype=F64)
    fit(exact, X, y, optimizer="lbfgs", penalty=L2(0.01), max_epochs=500, tol=1e-8)
    torch.testing.assert_close(model.weight, exact.weight, rtol=1e-6, atol=1e-8)
    weight = 0.5 + y
    fit(model, X, y, optimizer="newton", sample_weight=weight, max_epochs=20, **arguments)
    fit(exact, X, y, optimizer="lbfgs", sample_weight=weight, penalty=L2(0.01), tol=1e-8)
    torch.testing.assert_close(model.weight, exact.weight, rtol=1e-6, atol=1e-8)


WEIGHTINGS = {
    "boost": (BoostMisclassified(), "newton"),
    "class mean": (ClassMean(), "newton"),
    "smoothed boost": (Smoothed(BoostMisclassified()), "newton"),
    "boost without end": (BoostMisclassified(cap=float("inf")), "lbfgs"),
    "boost that forgets": (BoostMisclassified(sticky=False), "lbfgs"),
    "focal": (Focal(), "lbfgs"),
    "smoothed focal": (Smoothed(Focal()), "lbfgs"),
    "boost and focal": (Product(BoostMisclassified(), Focal()), "lbfgs"),
}


@pytest.mark.parametrize("kind", WEIGHTINGS)
def test_weights_that_come_to_rest_are_newtons(kind: str) -> None:
    X, y = _fit_rows()
    weighting, expected = WEIGHTINGS[kind]
    model = LogisticRegression(5, dtype=F64)
    result = fit(model, X, y, penalty=L2(0.01), weighting=weighting, max_epochs=60, tol=0)
    assert result.choice is not None and result.choice.name == expected
    if expected == "newton":  # the optimum of the weights it ended with
        exact = LogisticRegression(5, dtype=F64)
        other = {"optimizer": "lbfgs", "penalty": L2(0.01), "max_epochs": 500, "tol": 1e-8}
        fit(exact, X, y, sample_weight=result.sample_weight, **other)
        torch.testing.assert_close(model.weight, exact.weight, rtol=1e-6, atol=1e-8)


def test_a_weighting_that_may_change_its_mind_is_asked_every_epoch() -> None:
    X, y = _fit_rows()
    asked = []

    def rule(snapshot: object) -> Tensor:
        asked.append(1)
        return torch.ones_like(y)

    fit(
        LogisticRegression(5, dtype=F64),
        X,
        y,
        optimizer="newton",
        weighting=rule,
        max_epochs=25,
        tol=0,
    )
    assert len(asked) == 25


@pytest.mark.parametrize("name", ["auto", None])
def test_auto_is_the_name_of_the_default(name: str | None) -> None:
    X, y = _fit_rows()
    default = fit(LogisticRegression(5, dtype=F64), X, y)
    named = fit(LogisticRegression(5, dtype=F64), X, y, optimizer=name)
    assert named.choice == default.choice and named.optimizer == default.optimizer == "Newton"
    assert default.choice is not None and default.choice.name == "newton"
    assert default.choice.reason in default.message
    assert torch.equal(named.model.weight, default.model.weight)


def test_an_optimizer_that_the_caller_names_is_no_choice_of_ours() -> None:
    X, y = _fit_rows()
    assert fit(LogisticRegression(5, dtype=F64), X, y, optimizer="newton").choice is None
