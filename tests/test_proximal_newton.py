"""Proximal Newton with working sets: the optimum and its zeros, whatever the columns are like."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from problems import FACTORIES, MODELS, params_of, problem
from torchlogreg import (
    L1,
    L2,
    ElasticNet,
    Jeffreys,
    LinearRegression,
    LogisticRegression,
    Model,
    Penalty,
    fit,
)
from torchlogreg.inputs import make_data
from torchlogreg.objective import Objective
from torchlogreg.optim import ProximalNewton, alpha_max, proximal_newton, working_set
from torchlogreg.optim.proximal_quadratic import Quadratic, _lowest, minimise

F64 = torch.float64

PENALTIES: dict[str, Callable[[], Penalty | None]] = {
    "L1": lambda: L1(0.05),
    "weak L1": lambda: L1(1e-3),
    "elastic net": lambda: ElasticNet(0.05, 0.5),
    "ridge": lambda: ElasticNet(0.05, 0.0),
    "L2": lambda: L2(0.05),
}


def solve(model: Model, X: Tensor, y: Tensor, penalty: Penalty | None, **more: Any) -> Any:
    return fit(model, X, y, penalty=penalty, optimizer=ProximalNewton, tol=1e-9, **more)


def suboptimality(model: Model, X: Tensor, y: Tensor, penalty: Penalty, **more: Any) -> float:
    """Relative to the lowest objective that a long run of FISTA from here finds."""
    other = copy.deepcopy(model)
    mine = Objective(model, penalty=penalty)
    data = make_data(
        model,
        X,
        y,
        sample_weight=more.get("sample_weight"),
        offset=more.get("offset"),
        own_target=True,
    )
    with torch.no_grad():
        other.weight.mul_(0.5).add_(0.01)  # not at the answer it is to check
    best = fit(
        other,
        X,
        y,
        penalty=penalty,
        optimizer="proximal_gradient",
        tol=1e-12,
        max_epochs=5000,
        **more,
    ).objective
    return (float(mine.value(data)) - best) / abs(best)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("kind", PENALTIES)
@pytest.mark.filterwarnings("ignore::torchlogreg.ConvergenceWarning")  # of the long reference run
def test_the_optimum_is_that_of_a_long_proximal_gradient(name: str, kind: str) -> None:
    case = problem(name, n=80, p=6)
    penalty = PENALTIES[kind]()
    assert penalty is not None
    model = case.model()
    result = solve(model, case.X, case.y, penalty)
    assert result.converged and result.n_epochs <= 15
    assert suboptimality(model, case.X, case.y, penalty) <= 1e-10


@pytest.mark.parametrize("name", [m for m in MODELS if m != "softmax"])  # whose shift is free
@pytest.mark.parametrize("penalty", [None, L1(0.0), ElasticNet(0.0)])
def test_without_a_penalty_it_is_newtons_method(name: str, penalty: Penalty | None) -> None:
    case = problem(name)
    model, newton = case.model(), case.model()
    assert solve(model, case.X, case.y, penalty).converged
    fit(newton, case.X, case.y, optimizer="newton", tol=1e-9)
    torch.testing.assert_close(params_of(model), params_of(newton), rtol=0, atol=1e-9)


def duplicated(X: Tensor) -> Tensor:
    return torch.cat((X, X[:, :2], -X[:, :1], 3 * X[:, :1]), dim=1)


HOSTILE: dict[str, Callable[[Tensor], Tensor]] = {
    "duplicated, reflected, stretched": duplicated,
    "constant": lambda X: torch.cat((X, torch.full_like(X[:, :1], 7.0)), dim=1),
    "zeros": lambda X: torch.cat((torch.zeros_like(X[:, :2]), X), dim=1),
    "units 1e-6 to 1e6": lambda X: X * torch.logspace(-6, 6, X.shape[1], dtype=X.dtype),
    "collinear": lambda X: torch.cat((X, X + 1e-7 * X.flip(0)), dim=1),
    "far from zero": lambda X: X + 100.0,
    "more columns than rows": lambda X: torch.cat(
        [X.roll(i, 0) * (1 + i / 7) for i in range(20)], 1
    ),
    "one column": lambda X: X[:, :1],
}


@pytest.mark.parametrize("name", ["linear", "logistic", "softmax", "ordinal_logit"])
@pytest.mark.parametrize("columns", HOSTILE)
@pytest.mark.parametrize("penalty", [L1(0.03), ElasticNet(0.03, 0.7)], ids=["L1", "elastic net"])
def test_hostile_columns_converge(name: str, columns: str, penalty: Penalty) -> None:
    case = problem(name, n=60, p=4)
    X = HOSTILE[columns](case.X)
    model = FACTORIES[name](n_features=X.shape[1], dtype=F64)
    result = solve(model, X, case.y, penalty, max_epochs=60)
    assert result.converged, result.message
    assert not model.weight[:, (X == 0).all(0)].any()


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("l1_ratio", [1.0, 0.3])
def test_alpha_max_is_where_the_first_weight_appears(name: str, l1_ratio: float) -> None:
    case = problem(name, n=50, p=5)
    weights = torch.linspace(0.5, 2.0, case.n, dtype=F64)
    top = alpha_max(case.model(), case.X, case.y, l1_ratio=l1_ratio, sample_weight=weights)
    for factor, empty in ((1.001, True), (0.98, False)):
        model = case.model()
        result = solve(
            model, case.X, case.y, ElasticNet(factor * top, l1_ratio), sample_weight=weights
        )
        assert result.converged
        assert bool((model.weight == 0).all()) == empty


def test_alpha_max_wants_a_share_of_l1() -> None:
    case = problem("linear")
    with pytest.raises(ValueError, match=r"l1_ratio is 0"):
        alpha_max(case.model(), case.X, case.y, l1_ratio=0)


@pytest.mark.parametrize("alpha", [0.5, 0.1, 0.02])
def test_zeros_are_exact_and_those_of_sklearn(alpha: float) -> None:
    from sklearn.linear_model import Lasso

    rng = np.random.default_rng(3)
    X = rng.normal(size=(50, 300))
    y = X[:, :5] @ np.array([3.0, -2, 2, 1, -1]) + rng.normal(size=50)
    reference = Lasso(alpha=alpha, tol=1e-14, max_iter=100_000).fit(X, y)
    model = LinearRegression(300, dtype=F64)
    result = solve(model, torch.from_numpy(X), torch.from_numpy(y), L1(2 * alpha))
    assert result.converged
    found = model.weight.detach().numpy()[0]
    np.testing.assert_array_equal(found != 0, reference.coef_ != 0)
    np.testing.assert_allclose(found, reference.coef_, atol=1e-9)


@pytest.mark.parametrize("name", ["linear", "logistic", "softmax", "ordinal_probit"])
def test_weights_offsets_and_soft_targets_are_followed(name: str) -> None:
    case = problem(name, n=60, p=5)
    y: Tensor = case.y
    if name == "logistic":
        y = 0.8 * y + 0.1
    if name in ("softmax", "ordinal_probit"):
        y = 0.7 * torch.nn.functional.one_hot(y).to(F64)
        y = y + (1 - y.sum(1, keepdim=True)) / y.shape[1]
    more = {
        "sample_weight": torch.linspace(0, 3, case.n, dtype=F64),
        "offset": torch.linspace(-1, 1, case.n, dtype=F64),
    }
    model = case.model()
    assert solve(model, case.X, y, L1(0.02), **more).converged
    assert suboptimality(model, case.X, y, L1(0.02), **more) <= 1e-10


@pytest.mark.parametrize("name", ["linear", "logistic", "softmax"])
def test_more_than_a_working_set_and_more_than_is_kept(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = problem(name, n=70, p=30)
    whole = case.model()
    assert solve(whole, case.X, case.y, ElasticNet(0.01, 0.5)).converged
    monkeypatch.setattr(proximal_newton, "FEWEST", 3)
    monkeypatch.setattr(proximal_newton, "MOST", 12)
    monkeypatch.setattr(working_set, "KEPT", 300)
    pieces = case.model()
    assert solve(pieces, case.X, case.y, ElasticNet(0.01, 0.5), max_epochs=2000).converged
    torch.testing.assert_close(pieces.weight, whole.weight, rtol=0, atol=1e-6)


def test_float32_converges_to_its_own_rounding() -> None:
    case = problem("logistic", n=200, p=20)
    exact, single = case.model(), FACTORIES["logistic"](n_features=20, dtype=torch.float32)
    solve(exact, case.X, case.y, L1(0.02))
    assert fit(
        single, case.X.float(), case.y, penalty=L1(0.02), optimizer=ProximalNewton, tol=1e-5
    ).converged
    torch.testing.assert_close(single.weight.double(), exact.weight, rtol=0, atol=1e-4)
    assert torch.equal(single.weight != 0, exact.weight != 0)


def test_one_pass_for_the_gradient_a_step() -> None:
    case = problem("logistic", n=60, p=300)
    model = case.model()
    objective = Objective(model, penalty=L1(0.05))
    data = make_data(model, case.X, case.y, sample_weight=None, offset=None, own_target=True)
    optimizer = ProximalNewton(objective.params)
    for _ in range(5):
        optimizer.step(objective.closure(data, data))
        objective.closure(data, data).optimality()
        objective.value(data)
    assert objective.rows_read == 6 * case.n


def test_a_frozen_weight_leaves_the_intercepts_to_newton() -> None:
    case = problem("logistic")
    model = case.model()
    model.weight.requires_grad_(False)
    assert solve(model, case.X, case.y, L1(0.1)).converged
    torch.testing.assert_close(model.mean(model(case.X)).mean(), case.y.mean())


def test_what_it_cannot_do_is_said() -> None:
    case = problem("logistic")
    with pytest.raises(ValueError, match=r"Jeffreys depends on all rows.*use optimizer='newton'"):
        fit(case.model(), case.X, case.y, penalty=Jeffreys(), optimizer=ProximalNewton)

    class Strange(L1):
        def kink(self, weight: Tensor) -> None:
            return None

    with pytest.raises(ValueError, match=r"Strange has no kink\(\).*'proximal_gradient'"):
        fit(case.model(), case.X, case.y, penalty=Strange(0.1), optimizer=ProximalNewton)


@pytest.mark.parametrize("seed", range(20))
def test_the_inner_problem_is_solved_whatever_the_matrix(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    m = 5 + 10 * seed
    A = torch.randn(m // 2 + 3, m, generator=generator, dtype=F64).cumsum(1)  # correlated, singular
    H, g = A.T @ A / len(A), torch.randn(m, generator=generator, dtype=F64)
    g = H @ g
    kink = torch.rand(m, generator=generator, dtype=F64) * g.abs().max() * 0.1
    kink[: seed % 3] = 0
    start = torch.zeros(m, dtype=F64)
    w = minimise(H, g, kink, start, accuracy=1e-9)
    slope = g + H @ w
    held = torch.where(w == 0, (slope.abs() - kink).clamp(min=0), (slope + kink * w.sign()).abs())
    assert float(held.max()) <= 1e-6 * float(g.abs().max())


def test_all_entries_may_cross_zero_on_the_way_to_the_lowest_point() -> None:
    # If all do and the jumps of their kinks do not outweigh the slope, it falls on behind the last:
    # there was an IndexError in a third of the fits of five rows with columns far from zero.
    def numbers(*values: float) -> Tensor:
        return torch.tensor(values, dtype=torch.float64)

    quadratic = Quadratic(torch.eye(1, dtype=torch.float64), numbers(3.0), numbers(0.1))
    way = numbers(4.1)
    found = _lowest(quadratic, numbers(-1.0), torch.tensor([0]), way, -4.1 * way[0])
    grid = torch.linspace(-2, 4, 600_001, dtype=torch.float64)
    least = grid[(0.5 * grid**2 - 3 * grid + 0.1 * grid.abs()).argmin()]
    torch.testing.assert_close(found[0], least, rtol=1e-5, atol=0)
    for seed in range(12):
        source = torch.Generator().manual_seed(seed)
        X = torch.randn(5, 40, generator=source, dtype=torch.float64) + 2000
        y = torch.tensor([0.0, 1, 0, 1, 1], dtype=torch.float64)
        model = LogisticRegression(40, bias=False, dtype=torch.float64)
        assert fit(model, X, y, penalty=ElasticNet(1e-4, 0.5)).converged
