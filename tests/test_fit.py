"""fit(): against other programs, and what it promises about stopping, messages and state."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from problems import CLASSIFIERS, MODELS, params_of, problem, small_ridge
from torch import Tensor

from torchlogreg import (
    L2,
    OPTIMIZERS,
    FitState,
    Focal,
    Hook,
    LinearRegression,
    LogisticRegression,
    OrdinalRegression,
    SoftmaxRegression,
    fit,
)

F64 = torch.float64


def numbers(tensor: Tensor) -> np.ndarray:
    """A tensor as a numpy array."""
    return tensor.detach().numpy()


# --- the numbers other programs give -------------------------------------------------------------


@pytest.mark.parametrize("alpha", [0.001, 0.1, 10.0])
def test_ridge_logistic_equals_sklearn(alpha: float) -> None:
    from sklearn.linear_model import LogisticRegression as Reference

    case = problem("logistic")
    reference = Reference(C=1 / (alpha * case.n), solver="newton-cholesky", tol=1e-12)
    reference.fit(case.X.numpy(), case.y.numpy())
    model = case.model()
    fit(model, case.X, case.y, penalty=L2(alpha), tol=1e-10)
    np.testing.assert_allclose(numbers(model.weight), reference.coef_, rtol=1e-8)
    np.testing.assert_allclose(numbers(model.bias), reference.intercept_, rtol=1e-8)


@pytest.mark.parametrize("alpha", [0.01, 1.0])
def test_ridge_softmax_equals_sklearn(alpha: float) -> None:
    from sklearn.linear_model import LogisticRegression as Reference

    case = problem("softmax")
    reference = Reference(C=1 / (alpha * case.n), tol=1e-12, max_iter=10_000)
    reference.fit(case.X.numpy(), case.y.numpy())
    model = case.model()
    fit(model, case.X, case.y, penalty=L2(alpha), tol=1e-10)
    np.testing.assert_allclose(numbers(model.weight), reference.coef_, atol=1e-6)
    bias = numbers(model.bias - model.bias.mean())
    np.testing.assert_allclose(bias, reference.intercept_ - reference.intercept_.mean(), atol=1e-6)


@pytest.mark.parametrize("bias", [True, False])
def test_linear_equals_numpys_least_squares(bias: bool) -> None:
    case = problem("linear")
    model = LinearRegression(3, bias=bias, dtype=F64)
    fit(model, case.X, case.y)
    design = np.column_stack([case.X.numpy()] + [np.ones(case.n)] * bias)
    expected = np.linalg.lstsq(design, case.y.numpy(), rcond=None)[0]
    np.testing.assert_allclose(numbers(params_of(model)), expected, rtol=1e-11)


def test_offset_equals_statsmodels() -> None:
    import statsmodels.api as sm

    case = problem("logistic")
    offset = torch.linspace(-1, 1, case.n, dtype=F64)
    reference = sm.GLM(
        case.y.numpy(),
        sm.add_constant(case.X.numpy()),
        family=sm.families.Binomial(),
        offset=offset.numpy(),
    ).fit(tol=1e-14)
    model = case.model()
    fit(model, case.X, case.y, offset=offset, tol=1e-12)
    np.testing.assert_allclose(numbers(model.weight)[0], reference.params[1:], rtol=1e-9)
    np.testing.assert_allclose(model.bias.item(), reference.params[0], rtol=1e-9)


def test_frequency_weights_equal_statsmodels() -> None:
    import statsmodels.api as sm

    case = problem("logistic")
    counts = 1 + np.arange(case.n) % 4
    reference = sm.GLM(
        case.y.numpy(),
        sm.add_constant(case.X.numpy()),
        family=sm.families.Binomial(),
        freq_weights=counts,
    ).fit(tol=1e-14)
    model = case.model()
    fit(model, case.X, case.y, sample_weight=counts, tol=1e-12)
    np.testing.assert_allclose(numbers(model.weight)[0], reference.params[1:], rtol=1e-9)
    likelihood = model.log_likelihood(case.X, case.y, sample_weight=torch.from_numpy(counts))
    np.testing.assert_allclose(likelihood.item(), reference.llf, rtol=1e-12)


def test_reference_softmax_equals_statsmodels() -> None:
    import statsmodels.api as sm

    case = problem("softmax_reference")
    exog = sm.add_constant(case.X.numpy())
    reference = sm.MNLogit(case.y.numpy(), exog).fit(method="newton", disp=0, tol=1e-14)
    model = case.model()
    fit(model, case.X, case.y, tol=1e-12)
    np.testing.assert_allclose(numbers(model.weight), reference.params[1:].T, rtol=1e-8)
    np.testing.assert_allclose(numbers(model.bias), reference.params[0], rtol=1e-8)


@pytest.mark.parametrize("link", ["logit", "probit"])
def test_ordinal_equals_statsmodels(link: str) -> None:
    from statsmodels.miscmodels.ordinal_model import OrderedModel

    case = problem(f"ordinal_{link}")
    ordered = OrderedModel(case.y.numpy(), case.X.numpy(), distr=link)
    reference = ordered.fit(method="bfgs", disp=0, gtol=1e-9, maxiter=1000)
    model = case.model()
    fit(model, case.X, case.y, tol=1e-12)
    np.testing.assert_allclose(numbers(model.weight)[0], reference.params[:3], atol=1e-6)
    cutpoints = ordered.transform_threshold_params(reference.params)[1:-1]
    np.testing.assert_allclose(numbers(model.cutpoints), cutpoints, atol=1e-6)


# --- equal problems have equal answers -----------------------------------------------------------


def test_soft_targets_equal_rows_repeated_with_weights() -> None:
    case = problem("logistic")
    soft = torch.sigmoid(case.X[:, 0] + torch.linspace(-1, 1, case.n, dtype=F64))
    model, doubled = case.model(), case.model()
    fit(model, case.X, soft, tol=1e-12)
    fit(
        doubled,
        torch.cat((case.X, case.X)),
        torch.cat((torch.ones(case.n), torch.zeros(case.n))),
        sample_weight=torch.cat((soft, 1 - soft)),
        tol=1e-12,
    )
    torch.testing.assert_close(params_of(model), params_of(doubled), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", CLASSIFIERS[1:])
def test_soft_class_targets_equal_rows_repeated_with_weights(name: str) -> None:
    case = problem(name)
    K = int(case.model().n_classes or 0)
    spread = torch.softmax(case.X[:, :1] * torch.linspace(-1, 1, K, dtype=F64), dim=1)
    soft = 0.5 * spread + 0.5 * torch.nn.functional.one_hot(case.y, K)
    model, repeated = case.model(), case.model()
    fit(model, case.X, soft, penalty=small_ridge(name), tol=1e-12)
    fit(
        repeated,
        case.X.repeat(K, 1),
        torch.arange(K).repeat_interleave(case.n),
        sample_weight=soft.T.flatten(),
        penalty=small_ridge(name),
        tol=1e-12,
    )
    torch.testing.assert_close(params_of(model), params_of(repeated), rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("name", MODELS)
def test_an_offset_of_column_times_weight_takes_its_place(name: str) -> None:
    case = problem(name)
    known = torch.tensor([0.7, 0.0, 0.0], dtype=F64)
    model, offset = case.model(), case.X @ known
    if model.weight.shape[0] > 1:  # one score a class: give each its own
        offset = torch.stack([offset * (j + 1) for j in range(model.weight.shape[0])], dim=1)
    plain = case.model()
    fit(plain, case.X, case.y, tol=1e-12)
    fit(model, case.X, case.y, offset=offset, tol=1e-12)
    eta, shifted = plain(case.X), model(case.X, offset)
    torch.testing.assert_close(plain.mean(eta), model.mean(shifted), rtol=0, atol=1e-8)


def test_two_class_models_agree() -> None:
    case = problem("logistic")
    models = [
        case.model(),
        SoftmaxRegression(3, 2, reference=True, dtype=F64),
        OrdinalRegression(3, 2, dtype=F64),
    ]
    for model in models:
        fit(model, case.X, case.y, tol=1e-12)
    for model in models[1:]:
        torch.testing.assert_close(model.weight, models[0].weight, rtol=1e-9, atol=1e-11)


def smooth_huber(eta: Tensor, y: Tensor) -> Tensor:
    """Pseudo-Huber loss with its knee at one."""
    return (1 + (eta.squeeze(1) - y).square()).sqrt() - 1


def squared_hinge(eta: Tensor, y: Tensor) -> Tensor:
    """Squared hinge for labels -1 and 1."""
    return (1 - y * eta.squeeze(1)).clamp(min=0).square()


def test_a_loss_of_ones_own_is_robust_to_an_outlier() -> None:
    case = problem("linear")
    y = case.y.clone()
    y[0] += 1000
    clean, squares, robust = case.model(), case.model(), case.model()
    fit(clean, case.X, case.y)
    fit(squares, case.X, y)
    result = fit(robust, case.X, y, loss=smooth_huber, tol=1e-10, max_epochs=200)
    assert result.converged
    error = [float((params_of(m) - params_of(clean)).abs().max()) for m in (squares, robust)]
    assert error[1] < 0.1 < error[0]


@pytest.mark.parametrize("optimizer", ["newton", "lbfgs"])
def test_squared_hinge_equals_sklearns_linear_svc(optimizer: str) -> None:
    from sklearn.svm import LinearSVC

    case = problem("logistic")
    y = 2 * case.y - 1
    model = LogisticRegression(3, bias=False, dtype=F64)
    alpha = 0.5
    fit(
        model,
        case.X,
        y,
        loss=squared_hinge,
        penalty=L2(alpha),
        optimizer=optimizer,
        tol=1e-10,
        max_epochs=300,
    )
    reference = LinearSVC(
        C=1 / (alpha * case.n), fit_intercept=False, dual=False, tol=1e-12, max_iter=100_000
    ).fit(case.X.numpy(), y.numpy())
    np.testing.assert_allclose(numbers(model.weight), reference.coef_, atol=1e-6)


@pytest.mark.parametrize("optimizer", ["newton", "lbfgs", "proximal_gradient"])
@pytest.mark.parametrize("name", ["linear", "logistic", "softmax_reference"])
def test_a_frozen_bias_stays_and_the_rest_converges(name: str, optimizer: str) -> None:
    case = problem(name)
    model = case.model()
    with torch.no_grad():
        model.bias.fill_(0.25)
    model.bias.requires_grad_(False)
    result = fit(model, case.X, case.y, optimizer=optimizer, tol=1e-7, max_epochs=300)
    assert result.converged
    assert torch.equal(model.bias, torch.full_like(model.bias, 0.25))


@pytest.mark.parametrize("name", MODELS)
def test_a_frozen_weight_leaves_the_intercepts_to_be_fitted(name: str) -> None:
    case = problem(name)
    model = case.model()
    model.weight.requires_grad_(False)
    result = fit(model, case.X, case.y, optimizer="newton", tol=1e-9)
    assert result.converged
    if name == "linear":
        assert model.bias.item() == pytest.approx(float(case.y.mean()))
    else:
        share = torch.bincount(case.y.long()) / case.n
        mean = model.mean(model(case.X))[0]
        torch.testing.assert_close(
            mean if mean.ndim else torch.stack((1 - mean, mean)), share.to(F64)
        )


# --- batches, order, determinism -----------------------------------------------------------------


@pytest.mark.parametrize("name", MODELS)
def test_mini_batches_come_near_the_optimum(name: str, generator: torch.Generator) -> None:
    case = problem(name)
    full, batches = case.model(), case.model()
    a = fit(full, case.X, case.y, penalty=L2(0.1))
    b = fit(
        batches,
        case.X,
        case.y,
        penalty=L2(0.1),
        optimizer=partial(torch.optim.Adam, lr=0.02),
        batch_size=20,
        max_epochs=150,
        generator=generator,
    )
    assert b.n_steps == 3 * b.n_epochs
    assert b.objective - a.objective < 2e-3


def test_the_generator_decides_the_order() -> None:
    case = problem("logistic")
    results = []
    for seed in (1, 1, 2):
        model = case.model()
        fit(
            model,
            case.X,
            case.y,
            optimizer="sgd",
            batch_size=7,
            max_epochs=3,
            generator=torch.Generator().manual_seed(seed),
        )
        results.append(params_of(model))
    assert torch.equal(results[0], results[1])
    assert not torch.equal(results[0], results[2])


def test_the_global_generator_is_left_alone_when_one_is_given(generator: torch.Generator) -> None:
    case = problem("logistic")
    before = torch.random.get_rng_state()
    fit(case.model(), case.X, case.y, batch_size=8, max_epochs=2, generator=generator)
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize("size", [60, 61, 10_000])
def test_a_batch_of_all_rows_is_one_step(size: int, generator: torch.Generator) -> None:
    case = problem("logistic")
    full, batch = case.model(), case.model()
    fit(full, case.X, case.y, optimizer="sgd", max_epochs=5, tol=0)
    result = fit(
        batch,
        case.X,
        case.y,
        optimizer="sgd",
        batch_size=size,
        max_epochs=5,
        tol=0,
        generator=generator,
    )
    assert result.n_steps == 5
    torch.testing.assert_close(params_of(full), params_of(batch), rtol=1e-12, atol=1e-14)


# --- in place, dtypes ----------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float32, F64])
@pytest.mark.parametrize("name", MODELS)
def test_the_model_is_trained_in_place_and_keeps_its_dtype(name: str, dtype: torch.dtype) -> None:
    case = problem(name, dtype=dtype)
    model = case.model()
    identity = [id(p) for p in model.parameters()]
    X = case.X.double().numpy()
    result = fit(model, X, case.y.numpy(), penalty=small_ridge(name), tol=1e-4)
    assert result.model is model and result.converged
    assert [id(p) for p in model.parameters()] == identity
    assert {p.dtype for p in model.parameters()} == {dtype}
    assert result.sample_weight.dtype == dtype


def test_the_users_arrays_are_not_changed() -> None:
    case = problem("logistic")
    X, y, weight = case.X.clone(), case.y.clone(), torch.arange(case.n, dtype=F64)
    kept = X.clone(), y.clone(), weight.clone()
    fit(case.model(), X, y, sample_weight=weight, weighting=Focal(), max_epochs=3)
    assert all(torch.equal(a, b) for a, b in zip((X, y, weight), kept, strict=True))


def test_a_second_fit_starts_where_the_first_ended() -> None:
    case = problem("logistic")
    once, twice = case.model(), case.model()
    fit(once, case.X, case.y, optimizer="sgd", max_epochs=10, tol=0)
    for _ in range(2):
        fit(twice, case.X, case.y, optimizer="sgd", max_epochs=5, tol=0)
    assert torch.equal(params_of(once), params_of(twice))


# --- how a fit ends --------------------------------------------------------------------------------


class At(Hook):
    """Does something at one epoch."""

    def __init__(self, epoch: int, act: Callable[[FitState], None]) -> None:
        self.epoch, self.act, self.ended = epoch, act, ""

    def on_epoch_end(self, state: FitState) -> None:
        """Act once."""
        if state.epoch == self.epoch:
            self.act(state)

    def on_fit_end(self, state: FitState) -> None:
        """Remember why."""
        self.ended = state.stop_reason


def interrupt(state: FitState) -> None:
    """What Ctrl-C does."""
    raise KeyboardInterrupt


def fail(state: FitState) -> None:
    """A hook that breaks."""
    raise RuntimeError("disk full")


ENDS: dict[str, tuple[dict[str, Any], Hook, str, bool, int | None]] = {
    "converged": ({}, Hook(), "converged", True, None),
    "max_epochs": ({"optimizer": "sgd", "max_epochs": 4}, Hook(), "max_epochs", False, 4),
    "tol=0": ({"tol": 0, "max_epochs": 12}, Hook(), "max_epochs", False, 12),
    "interrupted": ({"tol": 0}, At(3, interrupt), "interrupted", False, 3),
    "request": ({"tol": 0}, At(3, lambda s: s.request_stop("patience")), "patience", False, 3),
}


@pytest.mark.parametrize("end", ENDS)
def test_a_fit_says_how_it_ended(end: str) -> None:
    arguments, hook, reason, converged, epochs = ENDS[end]
    case = problem("logistic")
    result = fit(case.model(), case.X, case.y, hooks=[hook], **arguments)
    assert (result.stop_reason, result.converged) == (reason, converged)
    assert result.message.startswith(f"{reason} after {result.n_epochs} epochs of ")
    assert epochs in (None, result.n_epochs)
    assert "\n" not in result.message


def test_a_hooks_error_reaches_the_caller_and_every_hook_has_its_last_look() -> None:
    case, hook = problem("logistic"), At(2, fail)
    with pytest.raises(RuntimeError, match="disk full"):
        fit(case.model(), case.X, case.y, hooks=[hook], tol=0)
    assert hook.ended == "error: disk full"


def test_the_first_of_two_reasons_is_kept() -> None:
    case = problem("logistic")
    hooks = [At(2, lambda s: s.request_stop("first")), At(2, lambda s: s.request_stop("second"))]
    assert fit(case.model(), case.X, case.y, hooks=hooks, tol=0).stop_reason == "first"


@pytest.mark.parametrize("name", MODELS)
def test_converged_means_that_the_optimality_is_below_tol(name: str) -> None:
    case = problem(name)
    for optimizer in ("newton", "lbfgs", "proximal_gradient"):
        result = fit(
            case.model(),
            case.X,
            case.y,
            penalty=small_ridge(name),
            optimizer=optimizer,
            tol=1e-5,
            max_epochs=300,
        )
        assert result.converged and result.optimality <= 1e-5


def test_an_optimum_reached_in_the_last_epoch_has_converged() -> None:
    # Newton goes on past tol while it gains digits; max_epochs must not turn that into a failure.
    case = problem("linear")
    result = fit(case.model(), case.X, case.y, optimizer="newton", max_epochs=1)
    assert result.optimality < 1e-12
    assert result.converged and result.stop_reason == "converged"


@pytest.mark.parametrize("name", ["linear", "logistic"])
def test_a_fit_that_diverged_has_not_converged(name: str) -> None:
    # NaN <= tol and NaN > tol are both false: "not above tol" once meant converged.
    case = problem(name)
    optimizer = partial(torch.optim.SGD, lr=1e308)
    result = fit(case.model(), case.X, case.y, optimizer=optimizer, penalty=L2(1.0), max_epochs=20)
    assert not np.isfinite(result.optimality)
    assert not result.converged and result.stop_reason != "converged"


def test_newton_goes_on_past_tol_to_rounding() -> None:
    case = problem("logistic")
    assert fit(case.model(), case.X, case.y, optimizer="newton", tol=1e-3).optimality < 1e-12


def test_adaptive_convergence_waits_for_the_weights() -> None:
    case = problem("logistic")

    def restless(rows: Any) -> Tensor:
        state = torch.ones_like(rows.losses) if rows.previous is None else 3 - rows.previous
        state = torch.where(torch.arange(case.n) < 5, state, torch.ones_like(state))
        return state

    result = fit(
        case.model(), case.X, case.y, weighting=restless, optimizer="newton", tol=0.5, max_epochs=9
    )
    assert result.optimality <= 0.5
    assert not result.converged and "sample weights still change by" in result.message


def test_adaptive_weights_that_settle_converge() -> None:
    case = problem("logistic")
    result = fit(case.model(), case.X, case.y, weighting=lambda s: 1 + (s.y > 0.5), tol=1e-8)
    assert result.converged and result.n_epochs > 1


# --- the result ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", MODELS)
def test_the_result_states_the_final_objective(name: str) -> None:
    case = problem(name)
    model, weight = case.model(), torch.arange(case.n, dtype=F64)
    result = fit(
        model, case.X, case.y, sample_weight=weight, penalty=L2(0.3), optimizer="sgd", max_epochs=3
    )
    with torch.no_grad():
        losses = model.nll(model(case.X), model.target(case.y))
        value = (weight * losses).sum() / weight.sum() + 0.15 * model.weight.square().sum()
    assert result.objective == pytest.approx(float(value), rel=1e-13)
    assert (result.n_epochs, result.n_steps, result.optimizer) == (3, 3, "SGD")
    assert result.seconds >= 0
    torch.testing.assert_close(result.sample_weight, weight / weight.mean())


CHOICES: dict[str, tuple[dict[str, Any], str, str]] = {
    "newton": ({}, "Newton", "full batch, smooth objective, 4 parameters"),
    "adam": ({"batch_size": 20}, "Adam", "mini-batches"),
}


@pytest.mark.parametrize("choice", CHOICES)
def test_a_chosen_optimizer_is_explained(choice: str) -> None:
    arguments, name, why = CHOICES[choice]
    case = problem("logistic")
    result = fit(case.model(), case.X, case.y, max_epochs=2, **arguments)
    assert result.optimizer == name
    assert f"optimizer {choice!r} was chosen: {why}" in result.message


def test_many_parameters_choose_lbfgs(generator: torch.Generator) -> None:
    X = torch.randn(20, 2100, generator=generator)
    result = fit(LogisticRegression(2100), X, torch.arange(20) % 2, max_epochs=2)
    assert result.optimizer == "LBFGS" and "2101 parameters are too many" in result.message


def test_a_named_optimizer_is_not_explained() -> None:
    case = problem("logistic")
    assert "was chosen" not in fit(case.model(), case.X, case.y, optimizer="newton").message


def test_the_advice_names_the_limit_that_was_hit() -> None:
    case = problem("logistic")
    message = fit(case.model(), case.X, case.y, optimizer="sgd", max_epochs=3).message
    assert "raise max_epochs above 3, or change lr or optimizer" in message


def test_every_optimizer_counts_one_step_an_epoch_on_a_full_batch() -> None:
    case = problem("logistic")
    for name in OPTIMIZERS:
        result = fit(case.model(), case.X, case.y, optimizer=name, max_epochs=3, tol=0)
        assert result.n_steps == result.n_epochs == 3
