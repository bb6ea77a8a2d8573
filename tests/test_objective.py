"""Objective and Closure: answers are never stale, never accumulate, and agree with one another."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from problems import MODELS, params_of, problem, small_ridge
from torchlogreg import L1, L2, Batch, Closure, ElasticNet, Model, Objective, Penalty, fit
from torchlogreg.sample_weights import mean_one

F64 = torch.float64
PENALTIES: dict[str, Penalty | None] = {
    "none": None,
    "L2": L2(0.3),
    "L1": L1(0.2),
    "ElasticNet": ElasticNet(0.2, 0.4),
}


def start(name: str, penalty: Penalty | None = None, seed: int = 0) -> tuple[Objective, Batch]:
    """An objective away from zero, on weighted rows with an offset."""
    case = problem(name)
    model = case.model()
    source = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.5 * torch.randn(p.shape, generator=source, dtype=F64))
    weight = mean_one(0.2 + torch.rand(case.n, generator=source, dtype=F64))
    offset = 0.3 * torch.randn(case.n, generator=source, dtype=F64)
    return Objective(model, None, penalty), Batch(case.X, model.target(case.y), weight, offset)


def fresh(closure: Closure) -> Closure:
    """The same question asked of an objective that remembers nothing."""
    old = closure.objective
    return Objective(old.model, old.loss, old.penalty).closure(closure.batch, closure.data)


def in_place(model: Model) -> None:
    """What an optimizer does."""
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.1)


def through_data(model: Model) -> None:
    """What old code does; it leaves the version counters alone."""
    for p in model.parameters():
        p.data += 0.1


def data_replaced(model: Model) -> None:
    """Another tensor under the parameter."""
    for p in model.parameters():
        p.data = p.data.clone() + 0.1


def loaded(model: Model) -> None:
    """A checkpoint."""
    model.load_state_dict({k: v + 0.1 for k, v in model.state_dict().items()})


def vector_loaded(model: Model) -> None:
    """torch's own way from a flat vector."""
    nn.utils.vector_to_parameters(params_of(model) + 0.1, model.parameters())


MOVES = (in_place, through_data, data_replaced, loaded, vector_loaded)


@pytest.mark.parametrize("move", MOVES)
@pytest.mark.parametrize("name", MODELS)
def test_answers_after_a_move_are_not_stale(name: str, move: Callable[[Model], None]) -> None:
    objective, data = start(name, L2(0.1))
    closure = objective.closure(data, data)
    before = closure()
    move(objective.model)
    other = fresh(closure)
    assert float(closure()) == float(other()) != float(before)
    assert torch.equal(closure.gradient(), other.gradient())
    assert torch.equal(closure.optimality(), other.optimality())
    assert torch.equal(objective.rows(data)[1], other.objective.rows(data)[1])


def test_answers_after_reweighting_are_not_stale() -> None:
    objective, data = start("logistic")
    before = objective.closure(data, data)()
    changed = data.reweighted(data.sample_weight.flip(0))
    closure = objective.closure(changed, changed)
    assert float(closure()) == float(fresh(closure)()) != float(before)
    assert float(objective.closure(data, data)()) == float(before)


def test_rows_of_other_targets_are_not_stale() -> None:
    # The memory was keyed on X alone: the same X with other targets gave the old losses.
    objective, data = start("linear")
    objective.closure(data, data)()
    other = Batch(data.X, data.y + 1, data.sample_weight, data.offset)
    expected = Objective(objective.model).rows(other)[1]
    assert torch.equal(objective.rows(other)[1], expected)


def test_rows_of_another_offset_are_not_stale() -> None:
    objective, data = start("linear")
    objective.closure(data, data)()
    other = Batch(data.X, data.y, data.sample_weight, None)
    assert torch.equal(objective.rows(other)[0], objective.model(data.X))


def test_a_repeated_question_is_answered_from_memory() -> None:
    objective, data = start("logistic")
    calls = []
    inner = objective.loss

    def counted(eta: Tensor, y: Tensor) -> Tensor:
        calls.append(1)
        return inner(eta, y)

    objective.loss = counted
    closure = objective.closure(data, data)
    closure(), closure.gradient(), closure.optimality(), objective.rows(data), closure.full()
    assert len(calls) == 1


def test_a_caller_that_changes_grad_does_not_spoil_the_memory() -> None:
    objective, data = start("logistic")
    closure = objective.closure(data, data)
    closure()
    expected = closure.gradient().clone()
    for p in objective.params:
        p.grad.mul_(100)
    assert torch.equal(closure.gradient(), expected)


@pytest.mark.parametrize("name", MODELS)
def test_grad_is_set_and_never_accumulates(name: str) -> None:
    objective, data = start(name, L2(0.1))
    closure = objective.closure(data, data)
    for _ in range(3):
        closure()
        flat = torch.cat([p.grad.flatten() for p in objective.params])
        assert torch.equal(flat, closure.gradient())


def test_only_a_call_touches_grad() -> None:
    objective, data = start("logistic", L1(0.1))
    closure = objective.closure(data, data)
    closure.value(), closure.gradient(), closure.hessian(), closure.optimality()
    closure.hessian_product(torch.ones(4, dtype=F64)), closure.sample_gradients()
    assert all(p.grad is None for p in objective.params)


@pytest.mark.parametrize("penalty", PENALTIES)
@pytest.mark.parametrize("name", MODELS)
def test_value_is_loss_plus_penalty(name: str, penalty: str) -> None:
    objective, data = start(name, PENALTIES[penalty])
    closure, model, rule = objective.closure(data, data), objective.model, PENALTIES[penalty]
    with torch.no_grad():
        losses = model.nll(model(data.X, data.offset), data.y)
        loss = (data.sample_weight * losses).mean()
        full = loss if rule is None else loss + rule.value(model.weight)
    smooth = full if rule is not None and rule.smooth else loss
    torch.testing.assert_close(closure.value(), full, rtol=1e-14, atol=0)
    torch.testing.assert_close(closure.value(smooth_only=True), smooth, rtol=1e-14, atol=0)
    torch.testing.assert_close(closure(), smooth, rtol=1e-14, atol=0)


@pytest.mark.parametrize("name", MODELS)
def test_the_gradient_is_the_slope_of_the_value(name: str) -> None:
    objective, data = start(name, L2(0.3))
    closure = objective.closure(data, data)
    gradient, origin = closure.gradient(), params_of(objective.model)
    for direction in torch.eye(len(origin), dtype=F64):
        values = []
        for step in (1e-5, -1e-5):
            nn.utils.vector_to_parameters(origin + step * direction, objective.model.parameters())
            values.append(float(closure.value()))
        slope = (values[0] - values[1]) / 2e-5
        assert slope == pytest.approx(float(gradient @ direction), rel=1e-6, abs=1e-8)


@pytest.mark.parametrize("name", MODELS)
def test_the_hessian_is_semi_definite_and_its_product_agrees(name: str) -> None:
    objective, data = start(name, L2(0.3))
    closure = objective.closure(data, data)
    matrix = closure.hessian()
    assert torch.equal(matrix, matrix.T) or torch.allclose(matrix, matrix.T, rtol=1e-13)
    assert float(torch.linalg.eigvalsh(matrix).min()) >= -1e-14
    v = torch.linspace(-1, 1, len(matrix), dtype=F64)
    torch.testing.assert_close(closure.hessian_product(v), matrix @ v, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("name", MODELS)
def test_the_hessian_is_the_derivative_of_the_gradient_at_an_optimum(name: str) -> None:
    # Away from the optimum it is Gauss-Newton's; the gaps of ordinal cutpoints make them differ.
    case, penalty = problem(name), small_ridge(name)
    model = case.model()
    fit(model, case.X, case.y, penalty=penalty, optimizer="newton", tol=1e-12)
    data = Batch(case.X, model.target(case.y), torch.ones(case.n, dtype=F64))
    closure = Objective(model, None, penalty).closure(data, data)
    matrix, origin, columns = closure.hessian(), params_of(model), []
    for direction in torch.eye(len(origin), dtype=F64):
        ends = []
        for step in (1e-5, -1e-5):
            nn.utils.vector_to_parameters(origin + step * direction, model.parameters())
            ends.append(closure.gradient())
        columns.append((ends[0] - ends[1]) / 2e-5)
    torch.testing.assert_close(matrix, torch.stack(columns), rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("name", MODELS)
def test_sample_gradients_average_to_the_gradient(name: str) -> None:
    objective, data = start(name)
    closure = objective.closure(data, data)
    rows = closure.sample_gradients()
    assert rows.shape == (len(data), sum(p.numel() for p in objective.params))
    torch.testing.assert_close(rows.mean(0), closure.gradient(), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("penalty", PENALTIES)
@pytest.mark.parametrize("name", ["linear", "logistic", "softmax_reference", "ordinal_logit"])
def test_optimality_is_zero_at_the_optimum_and_only_there(name: str, penalty: str) -> None:
    case, rule = problem(name), PENALTIES[penalty]
    model = case.model()
    data = Batch(case.X, model.target(case.y), torch.ones(case.n, dtype=F64))
    closure = Objective(model, None, rule).closure(data, data)
    assert closure.optimality() > 1e-3
    fit(model, case.X, case.y, penalty=rule, tol=1e-10, max_epochs=2000)
    assert closure.optimality() < 1e-9


def test_full_asks_about_all_rows() -> None:
    objective, data = start("logistic", L2(0.1))
    part = objective.closure(data.rows(slice(0, 7)), data)
    assert part.full.batch is data
    assert float(part.full.value()) == float(objective.closure(data, data).value())
    assert float(part.value()) != float(part.full.value())


@pytest.mark.parametrize("penalty", PENALTIES)
def test_prox_moves_the_weight_by_a_non_smooth_penalty_and_nothing_else(penalty: str) -> None:
    rule = PENALTIES[penalty]
    objective, data = start("logistic", rule)
    weight, bias = objective.model.weight.detach().clone(), objective.model.bias.detach().clone()
    objective.closure(data, data).prox_(0.7)
    moves = rule is not None and not rule.smooth
    expected = rule.prox(weight, 0.7) if moves and rule is not None else weight
    assert torch.equal(objective.model.weight, expected)
    assert torch.equal(objective.model.bias, bias)


@given(n=st.integers(1, 40), p=st.integers(1, 5), n_values=st.integers(1, 300))
def test_blocks_are_a_partition_in_order(n: int, p: int, n_values: int) -> None:
    X = torch.arange(n * p, dtype=F64).reshape(n, p)
    data = Batch(X, X[:, 0], X[:, 0] + 1, X[:, :1])
    blocks = list(data.blocks(n_values))
    assert all(block.X.numel() <= max(n_values, p) and len(block) for block in blocks)
    for field in ("X", "y", "sample_weight", "offset"):
        joined = torch.cat([getattr(block, field) for block in blocks])
        assert torch.equal(joined, getattr(data, field))


def test_the_hessian_does_not_depend_on_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    objective, data = start("softmax")
    closure = objective.closure(data, data)
    whole, blocks = closure.hessian(), Batch.blocks
    product = closure.hessian_product(torch.ones(len(whole), dtype=F64))
    monkeypatch.setattr(Batch, "blocks", lambda self, _: blocks(self, 21))
    torch.testing.assert_close(closure.hessian(), whole, rtol=1e-13, atol=1e-16)
    torch.testing.assert_close(
        closure.hessian_product(torch.ones(len(whole), dtype=F64)), product, rtol=1e-13, atol=1e-15
    )


def test_answers_under_another_penalty_are_not_stale() -> None:
    # A path over alpha with one objective: the memory was keyed on rows and parameters alone.
    objective, data = start("logistic", L2(0.1))
    closure = objective.closure(data, data)
    closure()
    objective.penalty = L2(10.0)
    assert torch.equal(closure.gradient(), fresh(closure).gradient())
