"""Coordinate descent over sparse rows and columns: the optimum, against other solvers' optima."""

from __future__ import annotations

import importlib.util
from typing import Any

import numpy as np
import pytest
import torch
from scipy import sparse

from problems import params_of
from torchlogreg import (
    L1,
    L2,
    ElasticNet,
    Jeffreys,
    LinearRegression,
    LogisticRegression,
    Model,
    Penalty,
    SoftmaxRegression,
    fit,
)
from torchlogreg.inputs import make_data
from torchlogreg.objective import Closure, Objective
from torchlogreg.optim import CoordinateNewton, DualCoordinate, alpha_max

F64 = torch.float64
compiled = pytest.mark.skipif(
    importlib.util.find_spec("numba") is None, reason="the kernels need numba"
)


def rows(n: int, p: int, seed: int = 0, share: float = 0.2) -> Any:
    """Entries at random places, in columns of unlike sizes; an empty row and an empty column."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, p)) * (rng.random((n, p)) < share) * np.linspace(0.5, 3, p)
    X[n // 3], X[:, p // 2] = 0, 0
    return sparse.csr_array(X)


def target(kind: str, X: Any) -> np.ndarray:
    """Numbers, labels, or probabilities."""
    rng = np.random.default_rng(1)
    score = X @ rng.standard_normal(X.shape[1]) + rng.logistic(size=X.shape[0])
    if kind == "linear":
        return score
    return (score > 0).astype(float) if kind == "logistic" else 1 / (1 + np.exp(-score))


def made(kind: str, p: int, *, bias: bool) -> Model:
    """An untrained model."""
    return (LinearRegression if kind == "linear" else LogisticRegression)(p, bias=bias, dtype=F64)


KINDS = ["linear", "logistic", "probabilities"]


@compiled
@pytest.mark.parametrize("shape", [(60, 90), (200, 30)])
@pytest.mark.parametrize("alpha", [1e-2, 1.0])
@pytest.mark.parametrize("kind", KINDS)
def test_the_dual_optimum_is_newtons(kind: str, alpha: float, shape: tuple[int, int]) -> None:
    X = rows(*shape)
    y, rng = target(kind, X), np.random.default_rng(2)
    facts = {
        "sample_weight": rng.random(len(y)) * (rng.random(len(y)) < 0.9),
        "offset": rng.standard_normal(len(y)),
        "penalty": L2(alpha),
    }
    dual, newton = made(kind, shape[1], bias=False), made(kind, shape[1], bias=False)
    result = fit(dual, X, y, optimizer="dual_coordinate", max_epochs=3000, tol=1e-11, **facts)
    fit(newton, X.toarray(), y, optimizer="newton", tol=1e-12, **facts)
    assert result.converged
    torch.testing.assert_close(params_of(dual), params_of(newton), rtol=1e-8, atol=1e-9)


@compiled
@pytest.mark.parametrize("shape", [(60, 90), (200, 30)])
@pytest.mark.parametrize("share", [0.5, 0.05])
@pytest.mark.parametrize("penalty", [L1, ElasticNet, L2])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_coordinate_newtons_optimum_is_that_of_proximal_newton(
    kind: str, bias: bool, penalty: Any, share: float, shape: tuple[int, int]
) -> None:
    X = rows(*shape)
    y, rng = target(kind, X), np.random.default_rng(2)
    facts = {"sample_weight": rng.random(len(y)), "offset": rng.standard_normal(len(y))}
    model, other = made(kind, shape[1], bias=bias), made(kind, shape[1], bias=bias)
    facts["penalty"] = penalty(share * alpha_max(model, X, y, **facts))
    result = fit(model, X, y, optimizer="coordinate_newton", tol=1e-11, max_epochs=500, **facts)
    fit(other, X.toarray(), y, optimizer="proximal_newton", tol=1e-12, max_epochs=500, **facts)
    assert result.converged
    torch.testing.assert_close(params_of(model), params_of(other), rtol=1e-7, atol=1e-9)
    if penalty is not L2:
        assert torch.equal(model.weight == 0, other.weight == 0)
        assert bool((model.weight == 0).any())


@compiled
def test_the_strongest_penalty_leaves_zero_at_once() -> None:
    X = rows(60, 90)
    y, model = target("logistic", X), made("logistic", 90, bias=True)
    strongest = alpha_max(model, X, y)
    result = fit(model, X, y, penalty=L1(1.001 * strongest), optimizer="coordinate_newton")
    assert result.converged and not bool(model.weight.any())


@compiled
@pytest.mark.parametrize("name", ["dual_coordinate", "coordinate_newton"])
def test_a_warm_start_at_the_optimum_stays_there(name: str) -> None:
    X = rows(60, 90)
    y, model = target("logistic", X), made("logistic", 90, bias=False)
    fit(model, X, y, penalty=L2(0.1), optimizer="newton")
    before = params_of(model)
    result = fit(model, X, y, penalty=L2(0.1), optimizer=name, tol=1e-9)
    assert result.n_epochs <= 2
    torch.testing.assert_close(params_of(model), before, rtol=1e-9, atol=1e-10)


@compiled
@pytest.mark.parametrize("name", ["dual_coordinate", "coordinate_newton"])
def test_two_fits_are_equal_to_the_last_bit(name: str) -> None:
    X, found = rows(60, 90), []
    for _ in range(2):
        model = made("logistic", 90, bias=False)
        fit(model, X, target("logistic", X), penalty=L2(0.1), optimizer=name)
        found.append(params_of(model))
    assert torch.equal(*found)


@compiled
@pytest.mark.parametrize("name", ["dual_coordinate", "coordinate_newton"])
def test_float32_is_float32(name: str) -> None:
    X = rows(60, 90)
    y = target("logistic", X)
    narrow = LogisticRegression(90, bias=False, dtype=torch.float32)
    wide = made("logistic", 90, bias=False)
    fit(narrow, X, y, penalty=L2(0.1), optimizer=name, tol=1e-5)
    fit(wide, X, y, penalty=L2(0.1))
    torch.testing.assert_close(params_of(narrow).double(), params_of(wide), rtol=1e-3, atol=1e-4)


@compiled
def test_extreme_rows_keep_every_number_finite() -> None:
    X = rows(60, 90) * 1e6
    model = made("logistic", 90, bias=False)
    y = target("logistic", X)
    fit(model, X, y, penalty=L2(1e-6), optimizer="dual_coordinate", tol=0, max_epochs=20)
    assert bool(torch.isfinite(model.weight).all())


REFUSED: dict[str, tuple[Model, Penalty | None, str]] = {
    "intercept": (made("logistic", 90, bias=True), L2(0.1), "make the model with bias=False"),
    "no penalty": (made("logistic", 90, bias=False), None, "needs the penalty L2, not None"),
    "elastic net": (made("logistic", 90, bias=False), ElasticNet(0.1), "cannot minimise the non-"),
    "softmax": (SoftmaxRegression(90, 3, dtype=F64), L2(0.1), "use optimizer='newton_cg'"),
}


@compiled
@pytest.mark.parametrize("case", REFUSED)
def test_what_has_no_such_dual_is_refused_with_the_cure(case: str) -> None:
    model, penalty, message = REFUSED[case]
    X = rows(60, 90)
    with pytest.raises(ValueError, match=message) as caught:
        fit(model, X, target("logistic", X), penalty=penalty, optimizer="dual_coordinate")
    assert "\n" not in str(caught.value)


@compiled
@pytest.mark.parametrize("name", ["dual_coordinate", "coordinate_newton"])
def test_dense_rows_are_refused_with_the_cure(name: str) -> None:
    X = rows(60, 90)
    model = made("logistic", 90, bias=False)
    with pytest.raises(ValueError, match="walks over sparse"):
        fit(model, X.toarray(), target("logistic", X), penalty=L2(0.1), optimizer=name)


@compiled
def test_jeffreys_is_refused() -> None:
    X = rows(200, 30)
    with pytest.raises(ValueError, match="needs a penalty of kinks and squares, not Jeffreys"):
        fit(
            made("logistic", 30, bias=True),
            X,
            target("logistic", X),
            penalty=Jeffreys(),
            optimizer="coordinate_newton",
        )


@pytest.mark.parametrize("kind", [DualCoordinate, CoordinateNewton])
def test_without_a_compiler_the_cure_is_named(kind: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    X = rows(60, 90)
    for module in ("dual_coordinate", "coordinate_newton"):
        monkeypatch.setattr(f"torchlogreg.optim.{module}.installed", lambda: False)
    model = made("logistic", 90, bias=False)
    with pytest.raises(ModuleNotFoundError, match=r"pip install torchlogreg\[fast\], or use"):
        fit(model, X, target("logistic", X), penalty=L2(0.1), optimizer=kind)


@pytest.mark.parametrize("kind", [DualCoordinate, CoordinateNewton])
def test_steps_are_whole(kind: Any) -> None:
    with pytest.raises(ValueError, match="lr"):
        kind(made("logistic", 3, bias=False).parameters(), lr=2.0)


@pytest.mark.parametrize("there", [True, False])
@pytest.mark.parametrize("penalty", [L1(1e-3), L2(1e-3)])
def test_large_sparse_rows_are_walked_over_where_that_is_compiled(
    penalty: Penalty, there: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    from torchlogreg.inputs import make_data
    from torchlogreg.objective import Objective
    from torchlogreg.optim import choose

    monkeypatch.setattr("torchlogreg.optim.dual_coordinate.installed", lambda: there)
    model = LogisticRegression(3000, bias=False, dtype=F64)
    X = sparse.random_array((2000, 3000), density=0.1, rng=np.random.default_rng(0))
    data = make_data(model, X, target("logistic", X))
    chosen = choose(Objective(model, None, penalty), None, n_rows=2000, X=data.X).name
    walks = {"L1": "coordinate_newton", "L2": "dual_coordinate"}[type(penalty).__name__]
    assert (chosen == walks) == there


def levels(n: int, factors: int, each: int) -> Any:
    """Indicators of factors whose levels have Zipf frequencies: rows share their columns."""
    rng = np.random.default_rng(0)
    share = 1 / np.arange(1, each + 1)
    level = rng.choice(each, size=(n, factors), p=share / share.sum())
    places = (level + each * np.arange(factors)).ravel()
    starts = np.arange(0, n * factors + 1, factors)
    return sparse.csr_array((np.ones(n * factors), places, starts), shape=(n, factors * each))


@compiled
@pytest.mark.parametrize("kind", KINDS[1:])
def test_rows_that_share_columns_are_walked_in_new_orders(kind: str) -> None:
    X = levels(3000, 10, 300)
    y, ends = target(kind, X), []
    for name in ("dual_coordinate", "newton_cg"):
        model = made(kind, 3000, bias=False)
        result = fit(model, X, y, penalty=L2(1 / 3000), optimizer=name, tol=1e-9, max_epochs=40)
        assert result.converged
        ends.append(result.objective)
    assert ends[0] == pytest.approx(ends[1], rel=1e-12)


@compiled
@pytest.mark.parametrize("shared", [False, True])
def test_an_order_is_kept_until_it_is_stale(shared: bool) -> None:
    X = levels(3000, 10, 300) if shared else rows(3000, 3000, share=0.004)
    y, orders = target("logistic", X), []
    model = made("logistic", 3000, bias=False)
    objective = Objective(model, penalty=L2(1 / 3000 if shared else 1 / 100))
    data = make_data(model, X, y)
    optimizer = DualCoordinate(objective.params)
    for _ in range(3):
        optimizer.step(Closure(objective, data, data))
        duals = optimizer._duals
        assert duals is not None and sorted(duals.order) == list(range(len(duals.order)))
        orders.append(duals.order.tolist())
    assert duals.stale == shared
    assert (orders[1] != orders[2]) == shared and (orders[0] == orders[2]) != shared


@compiled
@pytest.mark.parametrize("label", [0.0, 1.0, 0.3])
@pytest.mark.parametrize("q", [0.0, 1e-3, 1.0, 1e3, 1e6, 1e12])
@pytest.mark.parametrize("others", [-40.0, -1.0, 0.0, 3.0, 700.0])
def test_a_row_is_solved_in_a_few_visits_from_anywhere(
    label: float, q: float, others: float
) -> None:
    from torchlogreg.kernels.dual import DUAL

    for first in (-30.0, -2.0, 0.0, 2.0, 30.0):
        score = np.array([first])
        slope = label - 1 / (1 + np.exp(-score))
        weight = np.array([others + q * slope[0]])  # one entry, 1: the score is the weight
        facts = np.zeros(1), np.array([q]), np.ones(1), slope, score, weight
        entries = np.array([0, 1]), np.zeros(1, np.uint32), np.ones(1)
        for _ in range(12):
            moved = DUAL["binary"](np.zeros(1, int), 32, *entries, np.array([label]), *facts)
        share = 1 / (1 + np.exp(-score[0])) if score[0] > -700 else 0.0
        assert slope[0] == pytest.approx(label - share, abs=1e-15)
        lost = 1e-9 + 1e-15 * q  # of the weight, which was as large as q
        assert weight[0] == pytest.approx(others + q * slope[0], rel=1e-9, abs=lost)
        assert score[0] == pytest.approx(weight[0], rel=1e-9, abs=lost)
        assert 0 <= moved <= lost


@compiled
def test_huge_rows_are_told_apart_by_almost_nothing() -> None:
    # In the tail of the logistic function Newton's steps have length one.
    X, y = sparse.csr_array(1e6 * np.eye(50)), [0.0, 1.0] * 25
    model = made("logistic", 50, bias=False)
    result = fit(model, X, y, penalty=L2(1 / 50), optimizer="dual_coordinate")
    assert result.converged and result.objective < 4e-10
