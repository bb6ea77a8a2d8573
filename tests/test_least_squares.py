"""Exact least squares: against rational arithmetic, and where columns depend, against pinv."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from problems import params_of, problem
from rational import exact_solution
from reference_data import load
from torchlogreg import (
    L2,
    LeastSquares,
    LinearRegression,
    LogisticRegression,
    Model,
    Objective,
    fit,
)
from torchlogreg.inputs import make_data
from torchlogreg.optim import choose, refinement

F64 = torch.float64


def solved(X: Tensor, y: Tensor, *, bias: bool = True, **options: Any) -> tuple[list[float], Any]:
    """Parameters after ``fit``, and its result."""
    model = LinearRegression(X.shape[1], bias=bias, dtype=F64)
    result = fit(model, X, y, **options)
    return params_of(model).tolist(), result


def agree(got: Sequence[float], want: Sequence[float], rel: float = 1e-15) -> bool:
    """Every entry has these digits."""
    return list(got) == pytest.approx(list(want), rel=rel, abs=0)


def noise(*shape: int, seed: int = 0) -> Tensor:
    """Standard normal numbers."""
    return torch.from_numpy(np.random.default_rng(seed).normal(size=shape))


def powers(start: float, stop: float, n: int, degree: int) -> Tensor:
    """Columns ``x, x^2, ...``."""
    return torch.linspace(start, stop, n, dtype=F64)[:, None] ** torch.arange(1, degree + 1)


HARD: dict[str, Callable[[], tuple[Tensor, Tensor]]] = {
    "degree 10, as Filip's": lambda: (powers(-8.8, -3.1, 25, 10), noise(25)),
    "years to the fourth": lambda: (powers(1950, 2020, 20, 4), noise(20)),
    "columns far from zero": lambda: (noise(12, 2) + 1e10, noise(12, seed=1)),
    "units 1e-150, 1, 1e150": lambda: (
        noise(9, 3) * torch.tensor([1e-150, 1, 1e150], dtype=F64),
        noise(9, seed=1),
    ),
    "response of 1e150": lambda: (noise(9, 2), 1e150 * noise(9, seed=1)),
    "response of 1e-300": lambda: (noise(9, 2), 1e-300 * noise(9, seed=1)),
    "Hilbert's matrix": lambda: (
        1 / (torch.arange(12.0, dtype=F64)[:, None] + torch.arange(1.0, 8.0)),
        noise(12),
    ),
    "two rows": lambda: (torch.tensor([[1.0], [4.0]], dtype=F64), noise(2)),
}


@pytest.mark.parametrize("name", HARD)
def test_every_coefficient_is_correct_to_the_last_digit(name: str) -> None:
    X, y = HARD[name]()
    got, result = solved(X, y)
    assert agree(got, exact_solution(X, y), rel=3e-16)
    assert result.converged and result.optimizer == "LeastSquares"


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_weights_offset_ridge_and_bias_like_rational_arithmetic(data: st.DataObject) -> None:
    n, p = data.draw(st.integers(6, 9)), data.draw(st.integers(1, 3))
    bias, seed = data.draw(st.booleans()), data.draw(st.integers(0, 10**6))
    X = noise(n, p, seed=seed) * 10.0 ** data.draw(st.integers(-6, 6)) + data.draw(
        st.sampled_from([0.0, 1e3])
    )
    y, offset = noise(n, seed=seed + 1), noise(n, seed=seed + 2)
    alpha = data.draw(st.sampled_from([0.0, 0.25]))
    weight = torch.from_numpy(np.random.default_rng(seed).permutation(n) % 4).double()
    weight *= n / weight.sum()
    options = {"penalty": L2(alpha)} if alpha else {}
    got, _ = solved(X, y, bias=bias, sample_weight=weight, offset=offset, **options)
    want = exact_solution(X, y, bias=bias, weight=weight, offset=offset, ridge=alpha * n / 2)
    # fit scales the weights to mean one, which rounds them: that is felt at 1e-16 of an error.
    assert got == pytest.approx(want, rel=1e-12, abs=1e-13 * max(map(abs, want)))


def test_a_second_step_changes_nothing() -> None:
    data = load("longley")
    model = LinearRegression(6, dtype=F64)
    objective, rows = Objective(model), make_data(model, data.X, data.y)
    optimizer = LeastSquares(model.parameters())
    optimizer.step(objective.closure(rows, rows))
    first = params_of(model)
    optimizer.step(objective.closure(rows, rows))
    assert torch.equal(params_of(model), first) and optimizer.exact and optimizer.rank == 7


def test_the_start_does_not_matter() -> None:
    data = load("wampler5")
    found = []
    for start in (0.0, 1e9):
        model = LinearRegression(5, dtype=F64)
        with torch.no_grad():
            model.weight.fill_(start)
        fit(model, data.X, data.y)
        found.append(params_of(model))
    assert torch.equal(*found)


def test_half_a_step_goes_half_the_way() -> None:
    case = problem("linear")
    whole, half = case.model(), case.model()
    fit(whole, case.X, case.y)
    fit(half, case.X, case.y, optimizer=lambda p: LeastSquares(p, lr=0.5), max_epochs=1, tol=0)
    torch.testing.assert_close(params_of(half), 0.5 * params_of(whole), rtol=1e-15, atol=0)


def dependent() -> dict[str, tuple[Tensor, int, bool]]:
    """Designs, their ranks with the intercept, and whether there is one."""
    X, integers = noise(20, 3), noise(20, 3).mul(10).round()
    dummies = torch.eye(3, dtype=F64)[torch.arange(20) % 3]
    return {
        "repeated column": (torch.cat((X, X[:, :1]), 1), 4, True),
        "the same in other units": (torch.cat((X, 2.0**20 * X[:, :1]), 1), 4, True),
        "constant beside the intercept": (torch.cat((X, torch.full((20, 1), 0.1)), 1), 4, True),
        "dummies of all levels": (dummies, 3, True),
        "sum of others": (torch.cat((integers, integers.sum(1, keepdim=True)), 1), 4, True),
        "sum of others, rounded": (torch.cat((X, X.sum(1, keepdim=True) / 3), 1), 4, True),
        "column of zeros": (torch.cat((X, torch.zeros(20, 1)), 1), 4, True),
        "nothing but zeros": (torch.zeros(20, 2, dtype=F64), 1, True),
        "zeros without intercept": (torch.zeros(20, 2, dtype=F64), 0, False),
        "wide": (noise(6, 15), 6, True),
        "wide without intercept": (noise(6, 15), 6, False),
        "one row": (noise(1, 4), 1, True),
    }


@pytest.mark.parametrize("name", dependent())
def test_dependent_columns_give_the_shortest_solution_and_say_so(name: str) -> None:
    X, rank, bias = dependent()[name]
    y = noise(len(X), seed=5)
    model = LinearRegression(X.shape[1], bias=bias, dtype=F64)
    optimizer = LeastSquares(model.parameters())
    result = fit(model, X, y, optimizer=optimizer)
    A = np.column_stack((X.numpy(), np.ones(len(X)))) if bias else X.numpy()
    want = np.linalg.pinv(A) @ y.numpy()
    np.testing.assert_allclose(params_of(model).numpy(), want, rtol=1e-11, atol=1e-13)
    assert optimizer.rank == rank
    assert optimizer.note == f"rank {rank} of {A.shape[1]} columns: minimum-norm solution"
    assert result.converged


def test_a_wide_fit_goes_through_every_point() -> None:
    X, y = noise(30, 200), noise(30, seed=1)
    model = LinearRegression(200, dtype=F64)
    fit(model, X, y)
    np.testing.assert_allclose(model(X).detach().numpy()[:, 0], y.numpy(), atol=1e-14)


def test_full_rank_is_not_remarked_upon() -> None:
    model = LinearRegression(6, dtype=F64)
    optimizer = LeastSquares(model.parameters())
    data = load("longley")
    fit(model, data.X, data.y, optimizer=optimizer)
    assert optimizer.note == "" and optimizer.rank == 7


@pytest.mark.parametrize("frozen", ["weight", "bias"])
def test_frozen_parameters_stay_and_count_as_offset(frozen: str) -> None:
    X, y = noise(10, 2) * 1e4, noise(10, seed=1)
    model = LinearRegression(2, dtype=F64)
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[0.1, -0.3]]))
        model.bias.fill_(0.7)
    before = params_of(model)
    getattr(model, frozen).requires_grad_(False)
    fit(model, X, y)
    if frozen == "bias":
        want = exact_solution(X, y, bias=False, offset=before[2].expand(10))
        assert agree(model.weight[0].tolist(), want) and model.bias.item() == before[2]
    else:
        explained = X @ before[:2]
        want = float((y - explained).mean())
        assert model.bias.item() == pytest.approx(want, rel=1e-12)
        assert torch.equal(model.weight[0], before[:2])


def test_rows_without_weight_may_hold_anything() -> None:
    X, y = noise(12, 2), noise(12, seed=1)
    weight = torch.ones(12, dtype=F64)
    weight[:3] = 0
    X[:3], y[:3] = 1e300, -1e100
    got, _ = solved(X, y, sample_weight=weight)
    assert agree(got, exact_solution(X[3:], y[3:]))


def test_a_weight_of_three_is_a_row_thrice() -> None:
    X, y = noise(9, 2), noise(9, seed=1)
    counts = torch.tensor([3, 1, 0, 2, 1, 1, 3, 0, 1])
    weighted, _ = solved(X, y, sample_weight=counts)
    repeated, _ = solved(X.repeat_interleave(counts, 0), y.repeat_interleave(counts))
    assert agree(weighted, repeated, rel=1e-14)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_narrow_models_get_the_rounded_solution_of_their_rows(dtype: torch.dtype) -> None:
    X, y = noise(15, 2).to(dtype), noise(15, seed=1).to(dtype)
    model = LinearRegression(2, dtype=dtype)
    objective, rows = Objective(model), make_data(model, X, y)
    LeastSquares(model.parameters()).step(objective.closure(rows, rows))
    want = torch.tensor(exact_solution(X, y), dtype=F64).to(dtype)
    assert torch.equal(params_of(model), want)


def test_many_rows_are_taken_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    X, y = noise(70_000, 4) + 1e3, noise(70_000, seed=1)
    doubled, _ = solved(X, y)
    monkeypatch.setattr(refinement, "DOUBLED", 0)
    plain, result = solved(X, y)
    assert agree(plain, doubled, rel=1e-10) and result.converged
    q = np.linalg.lstsq(np.column_stack((X.numpy(), np.ones(len(X)))), y.numpy(), rcond=None)[0]
    assert agree(doubled, q, rel=1e-8)


def absolute(eta: Tensor, y: Tensor) -> Tensor:
    """Smoothed absolute error."""
    return ((eta.squeeze(-1) - y).square() + 1).sqrt()


REFUSED: dict[str, tuple[Callable[[], Model], dict[str, Any], str]] = {
    "another model": (lambda: LogisticRegression(2), {}, "LinearRegression only, not Logistic"),
    "another loss": (
        lambda: LinearRegression(2),
        {"loss": absolute},
        "squared_error only, not the loss absolute",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_it_cannot_solve_is_refused_with_the_cure(case: str) -> None:
    make, options, text = REFUSED[case]
    y = torch.arange(6) % 2
    with pytest.raises(ValueError, match=f"{text}.*; use optimizer='newton'"):
        fit(make(), noise(6, 2), y, optimizer="least_squares", **options)


class Exponential(LinearRegression):
    """Linear by name only."""

    def forward(self, X: Tensor, offset: Tensor | None = None) -> Tensor:
        """Not affine."""
        return super().forward(X, offset).exp()


def test_a_subclass_with_a_forward_of_its_own_is_refused_and_not_chosen() -> None:
    objective = Objective(Exponential(2))
    assert choose(objective, None)[0] == "newton"
    with pytest.raises(ValueError, match="LinearRegression only, not Exponential"):
        fit(Exponential(2), noise(6, 2), noise(6), optimizer="least_squares")


@pytest.mark.parametrize("lr", [0.0, -1.0, 1.5, float("nan")])
def test_a_share_of_the_way_outside_zero_to_one_is_refused(lr: float) -> None:
    with pytest.raises(ValueError, match="0 < lr <= 1"):
        LeastSquares(LinearRegression(2).parameters(), lr=lr)
