"""Few rows looked at once: what one product says of them is what is true of them."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext

import pytest
import torch
from torch import Tensor
from torch.optim.optimizer import register_optimizer_step_pre_hook

from torchlogreg import L2, LogisticRegression, Objective, fit
from torchlogreg.curvature import gauss_newton
from torchlogreg.few_rows import MOST, WIDEST, FewRows
from torchlogreg.inputs import make_data
from torchlogreg.optim import Newton
from torchlogreg.optim.centring import Centred
from torchlogreg.units import Units

F64 = torch.float64


def rows(p: int = 4, n: int = 90) -> tuple[Tensor, Tensor]:
    """Columns, a constant one among them, and labels."""
    source = torch.Generator().manual_seed(p)
    X = torch.randn(n, p, generator=source, dtype=F64) * torch.logspace(-2, 2, p, dtype=F64)
    X[:, 0] = 3.0
    return X, (torch.rand(n, generator=source, dtype=F64) < 0.4).to(F64)


@pytest.mark.parametrize("p", [1, 4, 10, 11, 12, 20, WIDEST - 1])
def test_one_product_says_what_the_columns_are(p: int) -> None:
    X, _ = rows(p)
    few = FewRows.of(X)
    assert few is not None and few.holds(X)
    design = torch.cat((X, torch.ones(90, 1, dtype=F64)), 1)
    torch.testing.assert_close(few.gram[: p + 1, : p + 1], design.T @ design, rtol=1e-13, atol=1e-9)
    torch.testing.assert_close(few.squares, X.square().sum(0), rtol=1e-13, atol=0)
    sizes = design.square().mean(0).sqrt()
    torch.testing.assert_close(few.sizes, sizes, rtol=1e-13, atol=0)
    assert torch.equal(few.rows, X) and not bool(few.design[:, p + 1 :].any())


def test_a_column_of_zeros_has_size_one() -> None:
    X, _ = rows()
    X[:, 2] = 0.0
    few = FewRows.of(X)
    assert few is not None and float(few.sizes[2]) == 1.0 and float(few.squares[2]) == 0.0


@pytest.mark.parametrize("far", [0.0, 0.5, 1.5, 2.1, 10.0, 1e6])
@pytest.mark.parametrize("column", ["even", "one apart", "zeros"])
def test_near_is_said_only_of_columns_that_are(far: float, column: str) -> None:
    kinds = {"even": torch.linspace(0, 1, 50), "one apart": torch.eye(50)[0], "zeros": 0 * far}
    x = torch.zeros(50, dtype=F64) + kinds[column] + (far if column != "zeros" else 0.0)
    few = FewRows.of(x.unsqueeze(1))
    assert few is not None
    assert not few.near or Centred.of(x.unsqueeze(1)).centre is None
    assert few.near or far > 0


OTHERS: dict[str, Callable[[], Tensor]] = {
    "NaN": lambda: torch.tensor([[1.0], [torch.nan], [2.0]], dtype=F64),
    "infinity": lambda: torch.tensor([[1.0], [torch.inf], [2.0]], dtype=F64),
    "squares that overflow": lambda: torch.full((3, 1), 1e200, dtype=F64),
    "single precision": lambda: torch.ones(9, 2),
    "many columns": lambda: torch.ones(200, WIDEST, dtype=F64),
    "fewer rows than columns": lambda: torch.ones(3, 3, dtype=F64),
    "many rows": lambda: torch.ones(MOST // 2 + 1, 2, dtype=F64),
}


@pytest.mark.parametrize("kind", OTHERS)
def test_other_rows_are_looked_at_by_others(kind: str) -> None:
    assert FewRows.of(OTHERS[kind]()) is None


def test_rows_that_change_are_held_no_more() -> None:
    X, y = rows()
    data = make_data(LogisticRegression(4, dtype=F64), X, y)
    assert data.few is not None and data.few.holds(data.X)
    assert not data.few.holds(data.X.clone())
    X[0, 1] = 5.0
    assert not data.few.holds(data.X)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("weights", ["the same", "others", "an offset", "changed rows"])
@pytest.mark.parametrize("p", [4, 11, 12])
def test_the_first_curvature_is_that_of_the_rows(p: int, bias: bool, weights: str) -> None:
    X, y = rows(p)
    model, penalty = LogisticRegression(p, bias=bias, dtype=F64), L2(0.3)
    objective = Objective(model, None, penalty)
    own = 0.5 + y if weights == "others" else None
    data = make_data(
        model, X, y, sample_weight=own, offset=y - 0.3 if weights == "an offset" else None
    )
    if weights == "changed rows":
        data.X.mul_(2.0)
    found, matrix = objective.closure(data, data).expansion()
    bend = gauss_newton(model, model.nll, data)
    bend.diagonal()[:p] += 0.3
    torch.testing.assert_close(matrix, bend, rtol=1e-12, atol=1e-9)
    eta = torch.zeros_like(y) if data.offset is None else data.offset
    losses = torch.nn.functional.binary_cross_entropy_with_logits(eta, y, reduction="none")
    torch.testing.assert_close(found.losses, losses, rtol=1e-14, atol=0)
    slopes = (torch.sigmoid(eta) - y) * data.sample_weight / len(y)
    torch.testing.assert_close(found.gradient[:p], slopes @ data.X, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("bias", [True, False])
def test_units_are_those_of_the_columns(bias: bool) -> None:
    X, y = rows()
    model = LogisticRegression(4, bias=bias, dtype=F64)
    objective, data = Objective(model), make_data(model, X, y)
    units, scale = objective.measured(data)
    expected = Units.of(data, numeric=False)
    torch.testing.assert_close(units.columns, expected.columns, rtol=1e-14, atol=0)
    partials = expected.of_partials(objective.params, model.weight)
    torch.testing.assert_close(scale, partials, rtol=1e-14, atol=0)


def test_what_a_fit_says_of_its_rows_is_of_those_it_had() -> None:
    # The diagnosis is worked out when it is read; X may have changed by then.
    X, y = rows()
    result = fit(LogisticRegression(4, dtype=F64), X, y, penalty=L2(0.01), tol=1e-2)
    X.copy_(torch.randn(90, 4, generator=torch.Generator().manual_seed(0), dtype=F64))
    assert "constant" in result.message


def test_newtons_steps_are_seen_by_whoever_asks_torch_to() -> None:
    X, y = rows()
    model, seen = LogisticRegression(4, dtype=F64), []
    optimizer = Newton(model.parameters())
    optimizer.register_step_pre_hook(lambda *_: seen.append("before"))
    optimizer.register_step_post_hook(lambda *_: seen.append("after"))
    fit(model, X, y, optimizer=optimizer, penalty=L2(0.1), max_epochs=2, tol=0)
    assert seen == ["before", "after"] * 2
    handle = register_optimizer_step_pre_hook(lambda *_: seen.append("any"))
    try:
        fit(model, X, y, optimizer="newton", penalty=L2(0.1), max_epochs=1, tol=0)
    finally:
        handle.remove()
    assert seen[4:] == ["any"]
    with torch.profiler.profile() as profile:
        fit(model, X, y, optimizer="newton", penalty=L2(0.1), max_epochs=1, tol=0)
    assert any("Optimizer.step#Newton" in event.key for event in profile.key_averages())


def test_what_one_rank_saw_is_not_taken_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    # A rank's own sizes and means would be other units, and another way, than its neighbours'.
    monkeypatch.setattr("torchlogreg.distributed.world_size", lambda: 2)
    monkeypatch.setattr("torchlogreg.distributed.count", lambda n, device: 2 * n)
    monkeypatch.setattr("torchlogreg.distributed.together", lambda what: nullcontext())
    monkeypatch.setattr("torchlogreg.distributed.all_min", lambda values: values)
    monkeypatch.setattr("torchlogreg.distributed.all_max", lambda values: values)
    X, y = rows()
    data = make_data(LogisticRegression(4, dtype=F64), X, y)
    assert data.total == 180 and data.few is None
