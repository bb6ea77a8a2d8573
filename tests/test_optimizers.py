"""Every optimizer reaches the optimum of every model; what cannot work says so."""

from __future__ import annotations

import re
import warnings
from typing import Any

import numpy as np
import pytest
import torch
from torch.optim.lr_scheduler import CosineAnnealingLR, ReduceLROnPlateau

from problems import MODELS, params_of, problem
from torchlogreg import (
    L1,
    L2,
    OPTIMIZERS,
    ConvergenceWarning,
    ElasticNet,
    Focal,
    Model,
    Newton,
    ProximalGradient,
    SoftmaxRegression,
    fit,
)

F64 = torch.float64


TIGHT = 1e-6


# Optimizers whose error after 500 epochs is larger than TIGHT, and why.
LOOSE = {
    "adafactor": 1e-2,  # steps shrink as 1/sqrt(t) relative to the weights, which no lr removes
    "sgd": 3e-2,  # lr=0.1 is slow where the curvature is small (cutpoints); no momentum
    "asgd": 3e-2,  # as sgd, which it averages
    "radam": 1e-6,
}


ONLY = {
    "coordinate_newton": ("none", r"(knows linear and logistic|walks over sparse)"),
    "dual_coordinate": ("none", r"(knows linear and logistic|trains weights alone)"),
    "kernel_newton": (("linear", "logistic", "softmax"), r"not this OrdinalRegression"),
    "least_squares": ("linear", r"LinearRegression only, not .*; use optimizer="),
    "block_lbfgs": ("softmax", r"BlockLBFGS solves SoftmaxRegression with its own loss only"),
}


def gauge_free(model: Model) -> torch.Tensor:
    """Parameters (P,); the common shift of the full softmax's biases, which means nothing, out."""
    if isinstance(model, SoftmaxRegression) and not model.reference:
        with torch.no_grad():
            model.bias.sub_(model.bias.mean())
    return params_of(model)


@pytest.fixture(scope="module")
def optima() -> dict[str, torch.Tensor]:
    """Newton's optimum of each problem."""
    found = {}
    for name in MODELS:
        case = problem(name)
        model = case.model()
        result = fit(model, case.X, case.y, penalty=L2(0.05), optimizer="newton", tol=1e-12)
        assert result.converged
        found[name] = gauge_free(model)
    return found


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("optimizer", sorted(OPTIMIZERS))
def test_every_optimizer_reaches_newtons_optimum(
    optimizer: str, name: str, optima: dict[str, torch.Tensor]
) -> None:
    case = problem(name)
    model = case.model()

    def run() -> None:
        with warnings.catch_warnings():  # the slow ones of the table run out of epochs, and say so
            warnings.simplefilter("ignore", ConvergenceWarning)
            fit(
                model,
                case.X,
                case.y,
                penalty=L2(0.05),
                optimizer=optimizer,
                max_epochs=500,
                tol=1e-8,
            )

    family, refusal = ONLY.get(optimizer, ("", ""))
    if not name.startswith(family):
        with pytest.raises(ValueError, match=refusal):
            run()
        return
    run()
    error = (gauge_free(model) - optima[name]).abs().max()
    assert error <= LOOSE.get(optimizer, TIGHT)


@pytest.mark.parametrize("alpha", [0.01, 0.1, 0.5])
@pytest.mark.parametrize("l1_ratio", [1.0, 0.5])
def test_proximal_linear_equals_sklearn(alpha: float, l1_ratio: float) -> None:
    # scikit-learn halves the squared error, so its alpha is half of ours.
    from sklearn.linear_model import ElasticNet as Reference

    case = problem("linear", n=80, p=6)
    reference = Reference(alpha=alpha / 2, l1_ratio=l1_ratio, tol=1e-14, max_iter=100_000)
    reference.fit(case.X.numpy(), case.y.numpy())
    penalty = L1(alpha) if l1_ratio == 1 else ElasticNet(alpha, l1_ratio)
    model = case.model()
    result = fit(model, case.X, case.y, penalty=penalty, tol=1e-11, max_epochs=2000)
    assert result.converged and result.optimizer == "ProximalNewton"
    np.testing.assert_allclose(model.weight.detach().numpy()[0], reference.coef_, atol=1e-8)
    np.testing.assert_allclose(model.bias.item(), reference.intercept_, atol=1e-8)


@pytest.mark.parametrize("alpha", [0.01, 0.1])
@pytest.mark.parametrize("l1_ratio", [1.0, 0.5])
@pytest.mark.filterwarnings("ignore::FutureWarning")  # scikit-learn renames its penalty settings
def test_proximal_logistic_equals_sklearn(alpha: float, l1_ratio: float) -> None:
    from sklearn.linear_model import LogisticRegression as Reference

    case = problem("logistic", n=80, p=6)
    reference = Reference(
        l1_ratio=l1_ratio, C=1 / (alpha * case.n), solver="saga", tol=1e-12, max_iter=100_000
    )
    reference.fit(case.X.numpy(), case.y.numpy())
    penalty = L1(alpha) if l1_ratio == 1 else ElasticNet(alpha, l1_ratio)
    model = case.model()
    fit(model, case.X, case.y, penalty=penalty, tol=1e-11, max_epochs=2000)
    np.testing.assert_allclose(model.weight.detach().numpy(), reference.coef_, atol=1e-7)
    np.testing.assert_allclose(model.bias.detach().numpy(), reference.intercept_, atol=1e-7)


@pytest.mark.parametrize("name", MODELS)
def test_a_strong_l1_leaves_exact_zeros(name: str) -> None:
    case = problem(name)
    model = case.model()
    result = fit(model, case.X, case.y, penalty=L1(50.0), tol=1e-7, max_epochs=500)
    assert result.converged
    assert torch.equal(model.weight, torch.zeros_like(model.weight))


def test_lbfgs_makes_one_iteration_a_step_and_converges() -> None:
    case = problem("logistic")
    model = case.model()
    optimizer = OPTIMIZERS["lbfgs"](model.parameters())
    result = fit(model, case.X, case.y, optimizer=optimizer, tol=1e-8)
    iterations = optimizer.state[optimizer.param_groups[0]["params"][0]]["n_iter"]
    assert result.converged and result.n_steps == result.n_epochs == iterations < 20


@pytest.mark.parametrize("kind", ["instance", "class", "factory"])
def test_the_users_own_optimizer_is_used(kind: str) -> None:
    case = problem("logistic")
    model = case.model()
    optimizer: Any = {
        "instance": torch.optim.SGD(model.parameters(), lr=1.0),
        "class": Newton,
        "factory": lambda params: torch.optim.SGD(params, lr=1.0),
    }[kind]
    result = fit(model, case.X, case.y, optimizer=optimizer, max_epochs=300, tol=1e-7)
    assert result.converged
    assert result.optimizer == ("Newton" if kind == "class" else "SGD")


class Plain(torch.optim.Optimizer):
    """Gradient descent as a newcomer writes it; it returns nothing."""

    def __init__(self, params: Any) -> None:
        super().__init__(params, {"lr": 0.5})

    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """One step downhill."""
        closure()
        with torch.no_grad():
            for p in self.param_groups[0]["params"]:
                p -= self.param_groups[0]["lr"] * p.grad


def test_an_optimizer_written_by_the_user_trains() -> None:
    case = problem("logistic")
    assert fit(case.model(), case.X, case.y, optimizer=Plain, max_epochs=500).converged


def test_plateau_scheduler_with_an_optimizer_that_returns_nothing() -> None:
    # float(None) once ended such a fit after its first epoch.
    case = problem("logistic")
    result = fit(
        case.model(),
        case.X,
        case.y,
        optimizer=Plain,
        scheduler=lambda o: ReduceLROnPlateau(o, threshold=0),
        max_epochs=500,
    )
    assert result.converged


ERRORS: dict[str, tuple[dict[str, Any], type[Exception], str]] = {
    "unknown name": ({"optimizer": "newtn"}, ValueError, r"unknown optimizer 'newtn'.*adam.*sgd"),
    "no optimizer": ({"optimizer": 3}, TypeError, r"optimizer= got int"),
    "factory of nothing": ({"optimizer": lambda p: 3}, TypeError, r"optimizer= got int"),
    "non-smooth": (
        {"optimizer": "adam", "penalty": L1(0.1)},
        ValueError,
        r"Adam cannot minimise the non-smooth penalty L1\(.*\); use ProximalNewton, or SVRG",
    ),
    "non-smooth Newton": (
        {"optimizer": "newton", "penalty": ElasticNet(0.1)},
        ValueError,
        r"Newton cannot minimise the non-smooth penalty ElasticNet",
    ),
}


ERRORS |= {
    f"batches for {name}": (
        {"optimizer": name, "batch_size": 8},
        ValueError,
        r"needs all rows in every step; drop batch_size=8",
    )
    for name in (
        "newton",
        "lbfgs",
        "rprop",
        "proximal_gradient",
        "proximal_newton",
        "least_squares",
    )
}


@pytest.mark.parametrize("case", ERRORS)
def test_what_cannot_work_is_refused_in_one_line(case: str) -> None:
    arguments, kind, text = ERRORS[case]
    data = problem("logistic")
    with pytest.raises(kind, match=text) as caught:
        fit(data.model(), data.X, data.y, **arguments)
    assert "\n" not in str(caught.value)


def test_an_instance_over_other_parameters_is_refused() -> None:
    case = problem("logistic")
    stranger = torch.optim.SGD(case.model().parameters(), lr=0.1)
    with pytest.raises(ValueError, match=r"SGD does not hold all parameters"):
        fit(case.model(), case.X, case.y, optimizer=stranger)


@pytest.mark.parametrize("optimizer", [Newton, ProximalGradient])
@pytest.mark.parametrize("lr", [0.0, -1.0, float("nan")])
def test_a_step_size_that_is_not_positive_is_refused(optimizer: Any, lr: float) -> None:
    with pytest.raises(ValueError, match="lr > 0"):
        optimizer(problem("logistic").model().parameters(), lr=lr)


@pytest.mark.parametrize("optimizer", [Newton, ProximalGradient])
def test_a_foreign_closure_is_refused(optimizer: Any) -> None:
    with pytest.raises(TypeError, match=r"objective\.closure"):
        optimizer(problem("logistic").model().parameters()).step(lambda: torch.zeros(()))


def test_cosine_schedule_ends_at_its_smallest_rate() -> None:
    case = problem("logistic")
    model = case.model()
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    fit(
        model,
        case.X,
        case.y,
        optimizer=optimizer,
        scheduler=lambda o: CosineAnnealingLR(o, T_max=20, eta_min=0.01),
        max_epochs=20,
        tol=0,
    )
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.01)


def test_plateau_schedule_lowers_a_rate_that_does_not_help() -> None:
    case = problem("linear")
    model = case.model()
    optimizer = torch.optim.SGD(model.parameters(), lr=2.0)  # diverges: curvature is 2 and more
    fit(
        model,
        case.X,
        case.y,
        optimizer=optimizer,
        scheduler=lambda o: ReduceLROnPlateau(o, patience=1, factor=0.5),
        max_epochs=60,
        tol=0,
    )
    assert optimizer.param_groups[0]["lr"] < 1.0


CHOICES: dict[str, tuple[dict[str, Any], str, str]] = {
    "L1": ({"penalty": L1(0.1)}, "ProximalNewton", "L1.* is not smooth; most weights stay zero"),
    "L1 in batches": ({"penalty": L1(0.1), "batch_size": 20}, "SVRG", "not smooth, mini-batches"),
    "L1, adaptive": (
        {"penalty": L1(0.1), "weighting": Focal()},
        "ProximalGradient",
        "sample weights follow the model",
    ),
}


@pytest.mark.parametrize("kind", CHOICES)
def test_a_kink_chooses_its_optimizer_and_says_why(kind: str) -> None:
    arguments, name, why = CHOICES[kind]
    case = problem("logistic")
    result = fit(case.model(), case.X, case.y, max_epochs=2, tol=0, **arguments)
    assert result.optimizer == name
    assert re.search(why, result.message)
