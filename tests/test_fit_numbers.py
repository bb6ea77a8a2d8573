"""fit() gives the numbers of other programs, and equal answers to equal problems."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from problems import CLASSIFIERS, MODELS, params_of, problem, small_ridge
from torchlogreg import (
    L2,
    LinearRegression,
    LogisticRegression,
    OrdinalRegression,
    SoftmaxRegression,
    fit,
)

# Fits stop early here on purpose.
pytestmark = pytest.mark.filterwarnings("ignore::torchlogreg.ConvergenceWarning")

F64 = torch.float64


def numbers(tensor: Tensor) -> np.ndarray:
    """A tensor as a numpy array."""
    return tensor.detach().numpy()


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
