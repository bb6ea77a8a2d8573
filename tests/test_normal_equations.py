"""The normal equations of many rows: as exact as the QR they stand in for, or refused."""

from __future__ import annotations

import sys

import pytest
import torch
from torch import Tensor

from torchlogreg import FitState, Hook, LinearRegression, fit, kernels
from torchlogreg.data import Batch
from torchlogreg.design import Design
from torchlogreg.objective import Objective
from torchlogreg.optim import LeastSquares, SubsampledNewton, choose
from torchlogreg.optim.normal_equations import SMALL, look_at_zero, normal_equations
from torchlogreg.optim.refinement import minimum_norm
from torchlogreg.penalties import L2
from torchlogreg.response import Response

N, P = 2**18 // 8 * 5, 8  # kernels take such rows, where numba is there


def rows(case: str) -> Batch:
    """Rows of a kind, with a response that they explain in part."""
    source = torch.Generator().manual_seed(3)
    X = torch.randn(N, P, generator=source, dtype=torch.float64)
    weight = torch.ones(N, dtype=torch.float64)
    offset = None
    if case == "far":
        X += 1000.0
    elif case == "units":
        X *= torch.logspace(-6, 6, P, dtype=torch.float64)
    elif case == "correlated":
        X[:, 1:] = X[:, :1] + 1e-2 * X[:, 1:]
    elif case == "weighted":
        weight = torch.rand(N, generator=source, dtype=torch.float64)
        weight[::3] = 0.0
        weight /= weight.mean()
        offset = torch.randn(N, 1, generator=source, dtype=torch.float64)
    elif case == "shifted":
        X += 1.5
    noise = torch.randn(N, generator=source, dtype=torch.float64)
    return Batch(X, (X / X.std(0)).sum(1) + noise - 3.0, weight, offset)


def refined(batch: Batch, *, bias: bool, ridge: float) -> Tensor:
    """QR and refinement in doubled precision."""
    design = Design(batch.X, batch.sample_weight, bias=bias, ridge=ridge)
    y = Response.of(design, batch.y, batch.offset)
    return minimum_norm(design, design.triangle(), y, 2.0**-46).z.value * y.unit / design.unit


def solved(batch: Batch, *, bias: bool, ridge: float) -> Tensor | None:
    """What is tested here, of a model that knows nothing yet."""
    objective = Objective(LinearRegression(P, bias=bias, dtype=torch.float64))
    return normal_equations(objective, batch, ridge=ridge)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("ridge", [0.0, 1e4])
@pytest.mark.parametrize("case", ["plain", "far", "shifted", "units", "correlated", "weighted"])
def test_they_agree_with_qr_in_doubled_precision(case: str, ridge: float, bias: bool) -> None:
    batch = rows(case)
    assert batch.X.numel() > 2**20 > SMALL
    found = solved(batch, bias=bias, ridge=ridge)
    if found is None:  # may leave it to the QR, but only where columns are nearly dependent
        assert case == "far"
        return
    want = refined(batch, bias=bias, ridge=ridge)
    lost = 1e-11 if case == "correlated" else 1e-12  # eps times the condition number
    torch.testing.assert_close(found, want, rtol=lost, atol=0.0)


@pytest.mark.parametrize("case", ["plain", "shifted", "weighted"])
def test_kernels_change_nothing_but_rounding(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    batch = rows(case)
    found = solved(batch, bias=True, ridge=2.0)
    monkeypatch.setenv("TORCHLOGREG_KERNELS", "off")
    plain = solved(batch, bias=True, ridge=2.0)
    assert found is not None and plain is not None
    torch.testing.assert_close(found, plain, rtol=1e-13, atol=0.0)


@pytest.mark.parametrize("bias", [True, False])
def test_dependent_columns_are_left_to_the_qr(bias: bool) -> None:
    batch = rows("plain")
    batch.X[:, 3] = batch.X[:, 0] - batch.X[:, 5]
    assert solved(batch, bias=bias, ridge=0.0) is None


@pytest.mark.parametrize("unit", [1e-150, 1e-156, 1e-160, 1e-200])
def test_columns_whose_products_have_no_digits_keep_their_solution(unit: float) -> None:
    batch = rows("correlated")
    model, scaled = (LinearRegression(P, dtype=torch.float64) for _ in range(2))
    fit(model, batch.X, batch.y, optimizer="least_squares")
    size = torch.ones(P, dtype=torch.float64)
    size[:2] = unit
    fit(scaled, batch.X * size, batch.y, optimizer="least_squares")
    torch.testing.assert_close(scaled.weight * size, model.weight, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    ("p", "tol", "penalty", "n_rows", "want"),
    [
        (100, 1e-3, L2(0.1), 10**7, "subsampled_newton"),
        (20, 1e-3, L2(0.1), 10**7, "least_squares"),  # a Gram matrix costs less than passes
        (100, 1e-5, L2(0.1), 10**7, "least_squares"),  # than as many as these digits take
        (200, 1e-4, L2(0.1), 10**7, "subsampled_newton"),
        (400, 1e-5, L2(0.1), 10**7, "subsampled_newton"),
        (400, 1e-6, L2(0.1), 10**7, "least_squares"),  # the default keeps all digits
        (100, 0.0, L2(0.1), 10**7, "least_squares"),
        (100, 1e-3, None, 10**7, "least_squares"),  # which alone says that columns depend
        (100, 1e-3, L2(0.0), 10**7, "least_squares"),
        (100, 1e-3, L2(0.1), 10**5, "least_squares"),
    ],
)
def test_passes_replace_them_only_for_large_ridges_of_few_digits(
    p: int, tol: float, penalty: L2 | None, n_rows: int, want: str
) -> None:
    objective = Objective(LinearRegression(p, dtype=torch.float64), None, penalty)
    assert choose(objective, None, n_rows=n_rows, tol=tol).name == want


@pytest.mark.parametrize(
    ("case", "want"),
    [
        ("normal", "subsampled_newton"),
        ("heavy", "least_squares"),
        ("dummies", "subsampled_newton"),
        ("missing", "subsampled_newton"),  # and then refused
    ],
)
def test_no_sample_speaks_for_heavy_tails(case: str, want: str) -> None:
    n_columns = 10 * P
    source = torch.Generator().manual_seed(5)
    X = torch.randn(3000, n_columns, generator=source, dtype=torch.float64)
    if case == "heavy":
        X /= torch.rand(3000, n_columns, generator=source, dtype=torch.float64).pow(0.5)
    elif case == "dummies":
        X[:, 50:] = (torch.rand(3000, n_columns - 50, generator=source) < 0.01).double()
    elif case == "missing":
        X[7] = torch.nan
    objective = Objective(LinearRegression(n_columns, dtype=torch.float64), None, L2(0.1))
    assert choose(objective, None, n_rows=10**7, X=X, tol=1e-3).name == want


@pytest.mark.parametrize("tol", [1e-2, 1e-4])
@pytest.mark.parametrize("case", ["plain", "far", "units", "correlated", "weighted"])
def test_a_loose_tolerance_is_kept(case: str, tol: float, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, limit in (("HUGE", 2**20), ("COLUMNS", 0)):
        monkeypatch.setattr(sys.modules["torchlogreg.optim.choose"], name, limit)
    batch, penalty = rows(case), L2(1e-3)
    model = LinearRegression(P, dtype=torch.float64)
    result = fit(
        model,
        batch.X,
        batch.y,
        sample_weight=batch.sample_weight,
        offset=batch.offset,
        penalty=penalty,
        tol=tol,
    )
    assert result.optimizer == "SubsampledNewton" and result.converged
    exact = refined(batch, bias=True, ridge=1e-3 * N / 2)
    wrong = (batch.X - batch.X.mean(0)) @ (model.weight[0].detach() - exact[:P])
    assert 0 < float(wrong.std()) <= 10 * tol * float(batch.y.std())


@pytest.mark.parametrize("case", ["plain", "far", "units", "correlated", "weighted", "near"])
@pytest.mark.parametrize("ridge", [0.0, 1e-3])
def test_a_rough_first_step_has_a_few_digits_and_the_next_one_all(case: str, ridge: float) -> None:
    batch = rows(case)
    if case == "near":  # too near for normal equations that are to be refined
        batch.X[:, 1] = batch.X[:, 0] + 1e-5 * batch.X[:, 1]
    given = {"sample_weight": batch.sample_weight, "offset": batch.offset}
    given["penalty"] = L2(ridge) if ridge else None
    found, exact = (LinearRegression(P, dtype=torch.float64) for _ in range(2))
    best = fit(exact, batch.X, batch.y, optimizer="least_squares", **given)
    optimizer = LeastSquares(found.parameters(), rough=0.01)
    first = fit(found, batch.X, batch.y, optimizer=optimizer, max_epochs=1, tol=0, **given)
    assert optimizer.unrefined and not optimizer.exact
    assert first.objective == pytest.approx(best.objective, rel=1e-10)
    fit(found, batch.X, batch.y, optimizer=optimizer, max_epochs=2, tol=0, **given)
    assert optimizer.exact and not optimizer.unrefined
    torch.testing.assert_close(found.weight, exact.weight, rtol=1e-12, atol=0)


@pytest.mark.parametrize("tol, rough", [(1e-6, 0.0), (1e-4, 1e-4)])
def test_a_tolerance_of_few_digits_asks_for_a_rough_solution(
    tol: float, rough: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def noted(*args: object, **more: object) -> Tensor | None:
        asked.append(more["rough"])
        return normal_equations(*args, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(sys.modules["torchlogreg.optim.least_squares"], "normal_equations", noted)
    batch = rows("plain")
    result = fit(LinearRegression(P, dtype=torch.float64), batch.X, batch.y, tol=tol)
    assert result.choice is not None and result.choice.name == "least_squares"
    assert asked == [rough]
    assert result.converged and result.n_epochs == 1 and result.optimality <= tol


def test_a_rough_solution_that_is_too_rough_is_followed_by_the_exact_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    here = sys.modules["torchlogreg.optim.least_squares"]

    def poor(*args: object, rough: float, **more: object) -> Tensor | None:
        found = normal_equations(*args, rough=rough, **more)  # type: ignore[arg-type]
        return None if found is None else found * (1.01 if rough else 1.0)

    monkeypatch.setattr(here, "normal_equations", poor)
    batch, model = rows("plain"), LinearRegression(P, dtype=torch.float64)
    result = fit(model, batch.X, batch.y, tol=1e-4)
    assert result.converged and result.n_epochs == 2
    want = refined(batch, bias=True, ridge=0.0)
    torch.testing.assert_close(model.weight[0].detach(), want[:P], rtol=1e-12, atol=0)


@pytest.mark.parametrize("shift", [0.0, 1e6, 1e12, 1e15])
@pytest.mark.parametrize("apart", [1.0, 1e-3, 1e-5, 1e-6, 5e-7, 1e-8])
@pytest.mark.parametrize("tol", [1e-2, 1e-5, 2e-6])
def test_predictions_are_as_near_as_the_tolerance_says(
    shift: float, apart: float, tol: float
) -> None:
    """The gradient does not see what nearly dependent columns share, nor what a mean hides."""
    batch = rows("plain")
    X, noise = batch.X, batch.X[:, 1].clone()
    X[:, 1] = X[:, 0] + apart * noise
    y = batch.y + noise + shift
    loose, exact = (LinearRegression(P, dtype=torch.float64) for _ in range(2))
    result = fit(loose, X, y, tol=tol)
    fit(exact, X, y)
    far = (loose.predict(X) - exact.predict(X)).abs().max() / y.std()
    assert result.converged and float(far) <= tol + 4e-16 * shift


@pytest.mark.parametrize("rough", [-1.0, float("nan"), float("inf"), True, None, "1e-3"])
def test_a_rough_error_that_is_none_is_refused(rough: object) -> None:
    for optimizer in (LeastSquares, SubsampledNewton):
        with pytest.raises(ValueError, match="relative error that is small enough"):
            optimizer(LinearRegression(2).parameters(), rough=rough)  # type: ignore[arg-type]


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("penalty", [None, L2(0.3)])
def test_the_first_pass_makes_the_gram_matrix_too(
    bias: bool, penalty: L2 | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("numba")
    source = torch.Generator().manual_seed(3)
    X = torch.randn(60_000, 20, generator=source, dtype=torch.float64)
    y = X.sum(1) + torch.randn(60_000, generator=source, dtype=torch.float64)
    asked: list[int] = []
    evaluate = kernels.evaluate
    monkeypatch.setattr(kernels, "evaluate", lambda *a, **b: asked.append(1) or evaluate(*a, **b))
    found, kept = [], look_at_zero
    for look in (kept, lambda closure: None):
        monkeypatch.setattr("torchlogreg.optim.least_squares.look_at_zero", look)
        model = LinearRegression(20, bias=bias, dtype=torch.float64)
        losses: list[float] = []
        result = fit(
            model, X, y, penalty=penalty, optimizer="least_squares", hooks=[Losses(losses)]
        )
        found.append((result, model, losses, len(asked)))
        asked.clear()
    (ours, a, first, passes), (theirs, b, second, more) = found
    assert passes == more - 1
    assert first == pytest.approx(second, rel=1e-13)
    assert ours.objective == pytest.approx(theirs.objective, rel=1e-13)
    torch.testing.assert_close(a.weight, b.weight, rtol=1e-14, atol=1e-15)


class Losses(Hook):
    """What the steps said of where they began."""

    def __init__(self, to: list[float]) -> None:
        self.to = to

    def on_step_end(self, state: FitState) -> None:
        """Keep it."""
        self.to.append(float(state.loss))


@pytest.mark.parametrize("value", [torch.inf, torch.nan])
def test_what_is_not_finite_is_found_in_the_gram_matrix(value: float) -> None:
    X = torch.randn(60_000, 20, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    X[41_234, 7] = value
    model = LinearRegression(20, dtype=torch.float64)
    with pytest.raises(ValueError, match="row 41234, column 7"):
        fit(model, X, X[:, 0].nan_to_num())
    assert not model.weight.any()


@pytest.mark.parametrize("kind", ["weights", "offset", "start", "frozen", "float32", "far"])
def test_other_rows_are_looked_at_as_ever(kind: str) -> None:
    source = torch.Generator().manual_seed(2)
    dtype = torch.float32 if kind == "float32" else torch.float64
    X = torch.randn(60_000, 20, generator=source, dtype=torch.float64).to(dtype)
    X = X + 100.0 if kind == "far" else X
    y = X.sum(1) + 1.0
    model = LinearRegression(20, dtype=dtype)
    if kind == "start":
        torch.nn.init.ones_(model.weight)
    model.bias.requires_grad_(kind != "frozen")
    weight = torch.linspace(0.5, 1.5, 60_000) if kind == "weights" else None
    offset = torch.ones(60_000) if kind == "offset" else None
    result = fit(model, X, y, sample_weight=weight, offset=offset)
    assert result.converged
    near = 1e-4 if kind == "float32" else 1e-9
    if kind != "frozen":
        torch.testing.assert_close(model.weight, torch.ones_like(model.weight), rtol=near, atol=0)
