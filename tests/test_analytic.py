"""Autograd, the textbook formulas, central differences and the closure give one derivative."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor

from problems import CLASSIFIERS, FACTORIES, MODELS, problem
from torchlogreg import Batch, Model, Objective, analytic, fit, losses
from torchlogreg.audit import audit
from torchlogreg.sample_weights import mean_one

F64 = torch.float64
SCRIPT = Path(__file__).parent.parent / "scripts" / "gradient_audit.py"
LOSSES = {
    "squared_error": (losses.squared_error, 1, 0),
    "binary_nll": (losses.binary_nll, 1, 2),
    "categorical_nll": (losses.categorical_nll, 3, 3),
    "cumulative_nll": (losses.cumulative_nll, 2, 3),
    "cumulative_probit_nll": (losses.cumulative_probit_nll, 2, 3),
    "cumulative_cloglog_nll": (losses.cumulative_cloglog_nll, 2, 3),
}
CASES = [(name, bias, "hard") for name in MODELS for bias in (True, False)] + [
    (name, True, "soft") for name in CLASSIFIERS
]
each_case = pytest.mark.parametrize(("name", "bias", "kind"), CASES)
each_model = pytest.mark.parametrize("name", MODELS)


def soft_target(name: str, n: int, generator: torch.Generator) -> Tensor:
    """Probabilities (n,) or distributions (n, K)."""
    if name == "logistic":
        return torch.rand(n, generator=generator, dtype=F64)
    n_classes = FACTORIES[name](n_features=1).n_classes
    raw = torch.rand(n, n_classes, generator=generator, dtype=F64) + 0.1
    return raw / raw.sum(1, keepdim=True)


def random_case(
    name: str, bias: bool, kind: str, generator: torch.Generator
) -> tuple[Model, Tensor, Tensor, Tensor, Tensor]:
    """A model at random parameters, X, y, sample_weight, offset."""
    drawn = problem(name, n=40)
    model = FACTORIES[name](n_features=3, bias=bias, dtype=F64)
    with torch.no_grad():
        for p in model.parameters():
            p.copy_(0.7 * torch.randn(p.shape, generator=generator, dtype=F64))
    y = drawn.y if kind == "hard" else soft_target(name, 40, generator)
    sample_weight = torch.rand(40, generator=generator, dtype=F64)
    offset = 0.5 * torch.randn(40, generator=generator, dtype=F64)
    return model, drawn.X, y, sample_weight, offset


def batch_of(model: Model, X: Tensor, y: Tensor, sample_weight: Tensor, offset: Tensor) -> Batch:
    return Batch(X, model.target(y), mean_one(sample_weight), offset)


def autograd(model: Model, batch: Batch) -> tuple[Tensor, Tensor]:
    """Gradient (P,) and exact Hessian (P, P) of the mean weighted loss."""
    params = list(model.named_parameters())

    def value(flat: Tensor) -> Tensor:
        parts = flat.split([p.numel() for _, p in params])
        named = {name: part.view_as(p) for (name, p), part in zip(params, parts, strict=True)}
        eta = torch.func.functional_call(model, named, (batch.X, batch.offset))
        return (batch.sample_weight * model.nll(eta, batch.y)).mean()

    at = torch.cat([p.detach().flatten() for _, p in params])
    return (
        torch.autograd.functional.jacobian(value, at),
        torch.autograd.functional.hessian(value, at),
    )


def assert_relative(got: Tensor, want: Tensor, tolerance: float = 1e-12) -> None:
    """Equal to ``tolerance`` of the largest entry."""
    torch.testing.assert_close(got, want, rtol=0, atol=tolerance * float(want.abs().max()))


@each_case
def test_formula_equals_autograd(
    name: str, bias: bool, kind: str, generator: torch.Generator
) -> None:
    model, X, y, sample_weight, offset = random_case(name, bias, kind, generator)
    gradient, hessian = autograd(model, batch_of(model, X, y, sample_weight, offset))
    by_name = analytic.gradient(model, X, y, sample_weight=sample_weight, offset=offset)
    assert list(by_name) == [key for key, _ in model.named_parameters()]
    for part, p in zip(by_name.values(), model.parameters(), strict=True):
        assert part.shape == p.shape
    assert_relative(torch.cat([g.flatten() for g in by_name.values()]), gradient)
    got = analytic.hessian(model, X, y, sample_weight=sample_weight, offset=offset)
    assert_relative(got, hessian)


@each_case
def test_audit_finds_nothing(name: str, bias: bool, kind: str, generator: torch.Generator) -> None:
    model, X, y, sample_weight, offset = random_case(name, bias, kind, generator)
    before = {key: p.detach().clone() for key, p in model.named_parameters()}
    rows = audit(model, X, y, sample_weight=sample_weight, offset=offset)
    assert len(rows) == 2 * len(before)
    for row in rows:
        assert row.analytic_error <= 1e-12, row
        assert row.difference_error <= 1e-7, row
    assert all(torch.equal(p, before[key]) for key, p in model.named_parameters())


def test_audit_sees_a_wrong_gradient(
    monkeypatch: pytest.MonkeyPatch, generator: torch.Generator
) -> None:
    model, X, y, _, _ = random_case("logistic", True, "hard", generator)

    class Slipped(torch.autograd.Function):
        """The binary loss, whose backward forgets one percent."""

        @staticmethod
        def forward(ctx: torch.autograd.function.FunctionCtx, eta: Tensor) -> Tensor:
            return eta.clone()

        @staticmethod
        def backward(ctx: torch.autograd.function.FunctionCtx, slope: Tensor) -> Tensor:
            return 0.99 * slope

    def slipped(eta: Tensor, target: Tensor) -> Tensor:
        return losses.binary_nll(Slipped.apply(eta), target)

    formulas = {**analytic_formulas(), slipped: analytic_formulas()[losses.binary_nll]}
    monkeypatch.setattr("torchlogreg.formulas.FORMULAS", formulas)
    monkeypatch.setattr(type(model), "nll", staticmethod(slipped))
    for row in audit(model, X, y):
        assert row.analytic_error == pytest.approx(0.01, abs=0.011)
        assert row.analytic_error > 1e-3
        if row.derivative == "gradient":  # a Hessian's differences are of the wrong gradient too
            assert row.difference_error > 1e-3


def analytic_formulas() -> dict[losses.Loss, object]:
    from torchlogreg.formulas import FORMULAS

    return dict(FORMULAS)


def test_audit_takes_float32_models_and_distributions(generator: torch.Generator) -> None:
    model, X, y, _, _ = random_case("ordinal_logit", True, "soft", generator)
    for row in audit(model.float(), X.float(), y.float()):
        assert row.analytic_error <= 1e-4, row


def test_formula_of_an_unknown_loss_is_refused() -> None:
    def hinge(eta: Tensor, y: Tensor) -> Tensor:
        return (1 - y * eta.squeeze(1)).clamp(min=0)

    with pytest.raises(ValueError, match="no formula is known for the loss hinge"):
        analytic.slopes(hinge, torch.zeros(2, 1), torch.zeros(2))
    with pytest.raises(ValueError, match="use autograd"):
        analytic.curvatures(hinge, torch.zeros(2, 1), torch.zeros(2))


def test_bad_sample_weight_names_the_row(generator: torch.Generator) -> None:
    model, X, y, sample_weight, _ = random_case("logistic", True, "hard", generator)
    sample_weight[7] = -1
    with pytest.raises(ValueError, match="row 7"):
        analytic.gradient(model, X, y, sample_weight=sample_weight)
    with pytest.raises(ValueError, match="row 7"):
        audit(model, X, y, sample_weight=sample_weight)


def test_logistic_gradient_is_what_the_textbook_writes(generator: torch.Generator) -> None:
    model, X, y, _, _ = random_case("logistic", True, "hard", generator)
    p = model.mean(model(X)).detach()
    got = analytic.gradient(model, X, y)
    torch.testing.assert_close(got["weight"][0], X.T @ (p - y) / len(X), rtol=1e-13, atol=1e-15)
    design = torch.cat((X, torch.ones(len(X), 1, dtype=F64)), dim=1)
    torch.testing.assert_close(
        analytic.hessian(model, X, y),
        design.T @ torch.diag(p * (1 - p)) @ design / len(X),
        rtol=1e-13,
        atol=1e-15,
    )


@each_model
def test_slopes_and_curvatures_equal_autograd(name: str, generator: torch.Generator) -> None:
    model, X, y, _, _ = random_case(name, True, "hard", generator)
    eta, target = model(X).detach(), model.target(y)
    assert_relative(
        analytic.slopes(model.nll, eta, target), losses.slopes(model.nll, eta, target), 1e-13
    )
    assert_relative(
        analytic.curvatures(model.nll, eta, target),
        losses.curvatures(model.nll, eta, target),
        1e-12,
    )


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("soft", [False, True])
def test_losses_pass_gradcheck_and_gradgradcheck(
    name: str, soft: bool, generator: torch.Generator
) -> None:
    loss, k, n_classes = LOSSES[name]
    n = 6
    eta = torch.randn(n, k, generator=generator, dtype=F64).sort(1).values
    eta = (eta + 0.5 * torch.arange(k)).requires_grad_()  # levels of some width
    y: Tensor
    if n_classes <= 2:
        y = torch.rand(n, generator=generator, dtype=F64)
        y = y if soft or n_classes == 0 else y.round()
    elif soft:
        y = torch.softmax(torch.randn(n, n_classes, generator=generator, dtype=F64), 1)
    else:
        y = torch.arange(n) % n_classes
    assert torch.autograd.gradcheck(lambda e: loss(e, y), (eta,))
    assert torch.autograd.gradgradcheck(lambda e: loss(e, y), (eta,))


@each_case
def test_closure_derivatives_agree_with_one_another(
    name: str, bias: bool, kind: str, generator: torch.Generator
) -> None:
    model, X, y, sample_weight, offset = random_case(name, bias, kind, generator)
    batch = batch_of(model, X, y, sample_weight, offset)
    closure = Objective(model).closure(batch, batch)
    gradient, _ = autograd(model, batch)
    assert_relative(closure.gradient(), gradient)
    assert_relative(closure.sample_gradients().mean(0), gradient)
    matrix = closure.hessian()
    v = torch.randn(len(gradient), generator=generator, dtype=F64)
    assert_relative(closure.hessian_product(v), matrix @ v)
    assert_relative(matrix, matrix.T)
    assert float(torch.linalg.eigvalsh(matrix)[0]) >= -1e-12 * float(matrix.abs().max())


@each_case
def test_closure_hessian_is_exact_where_intercepts_are_linear(
    name: str, bias: bool, kind: str, generator: torch.Generator
) -> None:
    model, X, y, sample_weight, offset = random_case(name, bias, kind, generator)
    batch = batch_of(model, X, y, sample_weight, offset)
    got = Objective(model).closure(batch, batch).hessian()
    exact = analytic.hessian(model, X, y, sample_weight=sample_weight, offset=offset)
    if name.startswith("ordinal"):  # all but the diagonal of the gaps, which bend
        n_gaps = len(model.gaps)
        got.diagonal()[-n_gaps:] = exact.diagonal()[-n_gaps:]
    assert_relative(got, exact)


@pytest.mark.parametrize("name", ["ordinal_logit", "ordinal_probit", "ordinal_cloglog"])
def test_closure_hessian_of_an_ordinal_model_is_exact_at_the_optimum(name: str) -> None:
    drawn = problem(name, n=80)
    model = drawn.model()
    result = fit(model, drawn.X, drawn.y)
    assert result.optimality < 1e-12
    batch = Batch(drawn.X, model.target(drawn.y), torch.ones(drawn.n, dtype=F64))
    got = Objective(model).closure(batch, batch).hessian()
    assert_relative(got, analytic.hessian(model, drawn.X, drawn.y))


def test_script_audits_from_any_folder(tmp_path: Path) -> None:
    command = [sys.executable, str(SCRIPT), "--rows", "30", "--features", "2", "--classes", "3"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "64 of 64 derivatives agree" in done.stdout
    assert "WRONG" not in done.stdout


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@each_model
def test_cuda_passes_the_audit(name: str, generator: torch.Generator) -> None:
    model, X, y, sample_weight, offset = random_case(name, True, "hard", generator)
    rows = audit(
        model.cuda(), X.cuda(), y.cuda(), sample_weight=sample_weight.cuda(), offset=offset.cuda()
    )
    assert all(row.analytic_error <= 1e-12 and row.difference_error <= 1e-7 for row in rows)
