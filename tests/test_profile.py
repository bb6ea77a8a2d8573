"""Profile-likelihood intervals against direct inversion by scipy's optimiser; published ends."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from inference_cases import F64
from scipy.optimize import minimize
from test_jeffreys import table, wheel  # noqa: F401  # the fixture that holds the data
from torch import Tensor

from problems import CLASSIFIERS, FACTORIES, MODELS, problem
from reference_data import load
from torchlogreg import (
    L1,
    L2,
    Batch,
    LinearRegression,
    LogisticRegression,
    Model,
    OrdinalRegression,
    Penalty,
    SoftmaxRegression,
    fit,
)
from torchlogreg.convergence import ConvergenceWarning
from torchlogreg.inference.affine import AffineForm
from torchlogreg.inference.profile import ProfileIntervals, profile_intervals
from torchlogreg.jeffreys import Jeffreys
from torchlogreg.scaling import Standardizer

QUANTILE = 3.841458820694124  # of chi-square with one degree of freedom, at 0.95
HALF = 1.959963984540054
Loss = Callable[[Tensor], Tensor]


def fitted(name: str, *, bias: bool, known: bool, n: int = 40) -> tuple[AffineForm, Batch]:
    """A model at its maximum; ``known`` adds counts as weights and an offset."""
    rows = problem(name, n=n, p=2, seed=3)
    model = FACTORIES[name](n_features=2, bias=bias, dtype=F64)
    source = torch.Generator().manual_seed(5)
    weight = torch.ones(n, dtype=F64)
    offset = None
    if known:
        weight = torch.randint(0, 4, (n,), generator=source).to(F64)
        offset = 0.3 * torch.randn(n, len(model.weight), generator=source, dtype=F64)
    result = fit(model, rows.X, rows.y, sample_weight=weight, offset=offset, max_epochs=200)
    assert result.converged, result.message
    return AffineForm.of(model), Batch(rows.X, model.target(rows.y), weight, offset)


def minus_log_likelihood(form: AffineForm, data: Batch) -> Loss:
    """As a function of theta; linear models: at the variance that suits best."""

    def loss(theta: Tensor) -> Tensor:
        at = form.at(theta)
        losses = data.sample_weight @ form.nll(at.eta(data.X, data.offset), data.y)
        if form.model.n_classes is None:
            return 0.5 * data.sample_weight.sum() * losses.log()
        return losses

    return loss


def brute_force(loss: Loss, start: Tensor, place: int | None = None, value: float = 0.0) -> float:
    """Smallest loss with ``theta[place]`` held at ``value``, by scipy's BFGS."""
    free = [i for i in range(len(start)) if i != place]
    fixed = start.detach().clone()
    if place is not None:
        fixed[place] = value

    def both(t: np.ndarray) -> tuple[float, np.ndarray]:
        theta = fixed.clone()
        theta[free] = torch.from_numpy(t)
        theta.requires_grad_()
        out = loss(theta)
        (slope,) = torch.autograd.grad(out, theta)
        return float(out.detach()), slope[free].numpy()

    found = minimize(both, fixed[free].numpy(), jac=True, method="BFGS", options={"gtol": 1e-7})
    again = minimize(both, found.x, jac=True, method="BFGS", options={"gtol": 1e-7})
    return float(min(found.fun, again.fun))


def check_ends(got: ProfileIntervals, form: AffineForm, loss: Loss, places: list[int]) -> None:
    """Twice the loss at every end is the quantile, by brute force."""
    best = brute_force(loss, form.theta)
    for i in places:
        place = form.order[i]
        for end in (got.lower[i], got.upper[i]):
            start = form.theta.clone()
            if place >= form.weight.numel() and form.model.n_classes is not None:
                start[form.weight.numel() :] += end - start[place]  # cutpoints keep their order
                if form.M.shape[1] < form.M.shape[0] and isinstance(form.model, OrdinalRegression):
                    start = form.theta.clone()
                    start[form.weight.numel() :] *= end / start[place]
            lost = brute_force(loss, start, place, float(end)) - best
            assert 2 * lost == pytest.approx(QUANTILE, rel=2e-6)


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("name", MODELS)
def test_ends_are_where_brute_force_loses_the_quantile(name: str, bias: bool, known: bool) -> None:
    form, data = fitted(name, bias=bias, known=known)
    got = profile_intervals(form, data)
    np.testing.assert_allclose(got.estimates, form.theta[list(form.order)], rtol=1e-6, atol=1e-9)
    check_ends(got, form, minus_log_likelihood(form, data), list(range(len(got.names))))


def test_published_ends_of_ucla() -> None:
    """R's confint(polr), as UCLA's page on ordinal regression prints it."""
    data = load("ucla")
    columns, model = Standardizer.of(data.X), OrdinalRegression(3, 3, dtype=F64)
    fit(model, columns.transform(data.X), data.y)
    batch = Batch(data.X, model.target(data.y), torch.ones_like(data.y))
    names = ["pared", "public", "gpa"]
    got = profile_intervals(
        AffineForm.of(columns.fold_(model)), batch, parameters=names, feature_names=names
    )
    # polr and its profile stop early: three to four digits.
    np.testing.assert_allclose(got.lower, [0.5281768, -0.6522060, 0.1076202], rtol=2e-4)
    np.testing.assert_allclose(got.upper, [1.5721750, 0.5191384, 1.1309148], rtol=2e-4)


@pytest.mark.parametrize("name", ["spector", "menarche", "shuttle"])
def test_textbook_sets_by_brute_force(name: str) -> None:
    data = load(name)
    p = data.X.shape[1]
    columns, model = Standardizer.of(data.X), LogisticRegression(p, dtype=F64)
    fit(model, columns.transform(data.X), data.y, sample_weight=data.sample_weight)
    weight = torch.ones_like(data.y) if data.sample_weight is None else data.sample_weight
    raw = profile_intervals(AffineForm.of(columns.fold_(model)), Batch(data.X, data.y, weight))
    near = LogisticRegression(p, dtype=F64)  # scipy needs columns of one size
    fit(near, columns.transform(data.X), data.y, sample_weight=data.sample_weight)
    form, rows = AffineForm.of(near), Batch(columns.transform(data.X), data.y, weight)
    got = profile_intervals(form, rows)
    check_ends(got, form, minus_log_likelihood(form, rows), list(range(p + 1)))
    np.testing.assert_allclose(raw.lower[1:] * columns.scale.numpy(), got.lower[1:], rtol=1e-8)
    np.testing.assert_allclose(raw.upper[1:] * columns.scale.numpy(), got.upper[1:], rtol=1e-8)


def test_published_ends_of_endometrial_by_logistf(wheel: Path) -> None:  # noqa: F811
    X, y = table(wheel, "endometrial", "HG", ["NV", "PI", "EH"])
    model = LogisticRegression(3, dtype=F64)
    fit(model, X, y, penalty=Jeffreys())
    form, data = AffineForm.of(model), Batch(X, y.to(F64), torch.ones(len(y), dtype=F64))
    got = profile_intervals(form, data, penalty=Jeffreys())
    np.testing.assert_allclose(got.lower[1:], [0.6097, -0.1245, -4.3652], atol=5.1e-5)
    np.testing.assert_allclose(got.upper[1:], [7.8546, 0.0404, -1.2327], atol=1e-4)
    columns = Standardizer.of(X)  # scipy needs columns of one size
    near = LogisticRegression(3, dtype=F64)
    fit(near, columns.transform(X), y, penalty=Jeffreys())
    form, data = AffineForm.of(near), Batch(columns.transform(X), data.y, data.sample_weight)
    scaled = profile_intervals(form, data, penalty=Jeffreys())
    np.testing.assert_allclose(scaled.upper[1:], got.upper[1:] * columns.scale.numpy(), rtol=1e-7)
    check_ends(scaled, form, firth_loss(form, data), [0, 1, 2, 3])


def firth_loss(form: AffineForm, data: Batch) -> Loss:
    """Minus the log-likelihood, less half log det of the information, all rows at once."""
    plain = minus_log_likelihood(form, data)

    def loss(theta: Tensor) -> Tensor:
        eta = form.at(theta).eta(data.X, data.offset)
        eta = torch.cat((torch.zeros_like(eta), eta), dim=1) if eta.shape[1] == 1 else eta
        p = torch.softmax(eta, dim=1)[:, 1:]
        C = torch.diag_embed(p) - p[:, :, None] * p[:, None, :]
        Z = data.X
        if len(form.intercepts):
            Z = torch.cat((Z, torch.ones_like(Z[:, :1])), dim=1)
        C = C * data.sample_weight[:, None, None]
        information = torch.einsum("nab,np,nq->apbq", C, Z, Z).flatten(2).flatten(0, 1)
        return plain(theta) - 0.5 * torch.logdet(information)

    return loss


SEPARATED_X = torch.tensor(
    [[0.0, 1], [0, 2], [0, 1.5], [0, 3], [1, 2], [1, 1], [1, 2.5], [0, 0.5], [0, 2.2]], dtype=F64
)
SEPARATED_Y = {  # the first column is 1 only in rows of the last class
    "logistic": (0.0, 1, 0, 1, 1, 1, 1, 1, 0),
    "softmax": (0, 1, 0, 1, 2, 2, 2, 1, 0),
    "ordinal_logit": (0, 1, 0, 1, 2, 2, 2, 1, 0),
}


def on_separated(model: Model, name: str, penalty: Penalty | None) -> tuple[AffineForm, Batch]:
    y = model.target(torch.tensor(SEPARATED_Y[name], dtype=F64))
    with nullcontext() if penalty else pytest.warns(ConvergenceWarning, match="separated"):
        fit(model, SEPARATED_X, y, penalty=penalty)
    return AffineForm.of(model), Batch(SEPARATED_X, y, torch.ones(9, dtype=F64))


def separable(name: str, bias: bool = True) -> Model:
    if name == "logistic":
        return LogisticRegression(2, bias, dtype=F64)
    if name == "softmax":
        return SoftmaxRegression(2, 3, bias=bias, dtype=F64)
    return OrdinalRegression(2, 3, bias=bias, dtype=F64)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("name", ["logistic", "softmax"])
def test_jeffreys_profiles_are_those_of_brute_force(name: str, bias: bool) -> None:
    if name == "logistic":
        form, data = on_separated(separable(name, bias), name, Jeffreys())
    else:
        rows, model = problem(name, n=25, p=2, seed=3), separable(name, bias)
        fit(model, rows.X, rows.y, penalty=Jeffreys())
        form, data = AffineForm.of(model), Batch(rows.X, rows.y, torch.ones(25, dtype=F64))
    places = [0, len(form.theta) - 1]
    chosen = profile_intervals(form, data, penalty=Jeffreys(), parameters=places)
    lower, upper = np.full(len(form.theta), np.nan), np.full(len(form.theta), np.nan)
    lower[places], upper[places] = chosen.lower, chosen.upper
    whole = ProfileIntervals((), lower, lower, upper)
    assert np.isfinite(chosen.lower).all() and np.isfinite(chosen.upper).all()
    assert chosen.penalty == "Jeffreys(alpha=0.5)" and "under Jeffreys" in str(chosen)
    check_ends(whole, form, firth_loss(form, data), places)


def test_jeffreys_with_counts_as_weights() -> None:
    rows = problem("logistic", n=40, p=2, seed=3)
    weight = (torch.arange(40) % 4).to(F64)
    penalty, model = Jeffreys(n_observations=60), LogisticRegression(2, dtype=F64)
    fit(model, rows.X, rows.y, sample_weight=weight, penalty=penalty)
    form, data = AffineForm.of(model), Batch(rows.X, rows.y.to(F64), weight)
    check_ends(profile_intervals(form, data, penalty=penalty), form, firth_loss(form, data), [0, 2])
    with pytest.raises(ValueError, match=r"was worth 30 observations, .* add up to 60; fit again"):
        profile_intervals(form, data, penalty=Jeffreys())


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_ridge_profiles_are_those_of_brute_force(name: str) -> None:
    rows = problem(name, n=40, p=2, seed=3)
    model, alpha = FACTORIES[name](n_features=2, dtype=F64), 0.05
    fit(model, rows.X, rows.y, penalty=L2(alpha))
    form, data = (
        AffineForm.of(model),
        Batch(rows.X, model.target(rows.y), torch.ones(40, dtype=F64)),
    )
    plain = minus_log_likelihood(form, data)

    def loss(theta: Tensor) -> Tensor:
        weight = form.at(theta).weight
        if name == "softmax":  # the shift that costs least centres the rows of all classes
            weight = torch.cat((torch.zeros_like(weight[:1]), weight))
            weight = weight - weight.mean(0)
        return plain(theta) + 40 * alpha / 2 * weight.square().sum()

    got = profile_intervals(form, data, penalty=L2(alpha))
    check_ends(got, form, loss, [0, 1, len(form.theta) - 1])


INFINITE = {  # ends below and above, in the order of tables
    "logistic": ((False, False, False), (False, True, False)),
    "softmax": ((False, True, False, True, False, True), (False, True, False, True, True, True)),
    "ordinal_logit": ((False, False, False, False), (True, False, False, True)),
}


@pytest.mark.parametrize("name", INFINITE)
def test_separation_leaves_infinite_ends_and_exact_finite_ones(name: str) -> None:
    form, data = on_separated(separable(name), name, None)
    got = profile_intervals(form, data)
    below, above = INFINITE[name]
    np.testing.assert_array_equal(np.isneginf(got.lower), below)
    np.testing.assert_array_equal(np.isposinf(got.upper), above)
    assert "inf" in str(got)
    loss = minus_log_likelihood(form, data)
    best = brute_force(loss, form.theta)
    for i, place in enumerate(form.order):
        if place < form.weight.numel():
            for end in (got.lower[i], got.upper[i]):
                if math.isfinite(end):
                    lost = brute_force(loss, 0.05 * form.theta, place, float(end)) - best
                    # BFGS stops on the way to infinity: a little above the least loss.
                    assert 2 * lost == pytest.approx(QUANTILE, rel=1e-4)


def test_complete_separation_has_one_finite_end() -> None:
    X = torch.arange(1.0, 7.0, dtype=F64)[:, None]
    y = (X[:, 0] > 3).to(F64)
    model = LogisticRegression(1, dtype=F64)
    with pytest.warns(ConvergenceWarning, match="completely separated"):
        fit(model, X, y)
    got = profile_intervals(AffineForm.of(model), Batch(X, y, torch.ones_like(y)))
    assert got.lower[0] == -math.inf and got.upper[1] == math.inf
    assert math.isfinite(got.upper[0]) and got.lower[1] > 0


def test_an_empty_level_is_named_between_others_and_infinite_at_the_end() -> None:
    rows = problem("ordinal_logit", n=60, p=2)
    form = AffineForm.of(OrdinalRegression(2, 4, dtype=F64))
    for y in (
        torch.tensor((0, 1, 3))[rows.y.clamp(max=2)],
        torch.eye(4, dtype=F64)[[0, 1, 3] * 20],
    ):
        batch = Batch(rows.X, y, torch.ones(60, dtype=F64))
        with pytest.raises(ValueError, match="level 2 has no rows with weight"):
            profile_intervals(form, batch)
    model = OrdinalRegression(2, 4, dtype=F64)
    y = rows.y.clamp(max=2)
    with pytest.warns(ConvergenceWarning, match="class 3 has no rows"):
        fit(model, rows.X, y)
    got = profile_intervals(AffineForm.of(model), Batch(rows.X, y, torch.ones(60, dtype=F64)))
    np.testing.assert_array_equal(np.isposinf(got.upper), [False, False, False, False, True])
    assert np.isfinite(got.lower).all()


def test_dependent_columns_say_nothing() -> None:
    rows = problem("logistic", n=40, p=2)
    X = torch.cat((rows.X, rows.X.sum(1, keepdim=True)), dim=1)
    model = LogisticRegression(3, dtype=F64)
    fit(model, X, rows.y)
    got = profile_intervals(AffineForm.of(model), Batch(X, rows.y, torch.ones(40, dtype=F64)))
    assert np.isneginf(got.lower[1:]).all() and np.isposinf(got.upper[1:]).all()
    assert math.isfinite(got.lower[0]) and math.isfinite(got.upper[0])


@pytest.mark.parametrize("name", MODELS)
def test_units_of_columns_only_rescale(name: str) -> None:
    form, data = fitted(name, bias=True, known=False)
    scale, shift = torch.tensor([1e-3, 50.0], dtype=F64), torch.tensor([3.0, 4000.0], dtype=F64)
    weight = form.weight / scale
    absorbed = torch.linalg.pinv(form.M) @ form.R @ (weight @ shift)
    theta = torch.cat((weight.flatten(), form.intercepts - absorbed))
    other = form.at(theta)
    moved = Batch(data.X * scale + shift, data.y, data.sample_weight)
    r = form.weight.shape[0]
    weights = [i for i, place in enumerate(form.order) if place < 2 * r]
    got = profile_intervals(other, moved, parameters=weights)
    want = profile_intervals(form, data, parameters=weights)
    factor = scale.repeat(r).numpy()
    np.testing.assert_allclose(got.lower * factor, want.lower, rtol=1e-7)
    np.testing.assert_allclose(got.upper * factor, want.upper, rtol=1e-7)


@pytest.mark.parametrize("name", MODELS)
def test_counts_are_repeated_rows(name: str) -> None:
    form, data = fitted(name, bias=True, known=True)
    index = torch.repeat_interleave(torch.arange(40), data.sample_weight.long())
    repeated = data.rows(index)
    repeated = repeated.reweighted(torch.ones(len(index), dtype=F64))
    got, want = profile_intervals(form, repeated), profile_intervals(form, data)
    np.testing.assert_allclose(got.lower, want.lower, rtol=1e-8)
    np.testing.assert_allclose(got.upper, want.upper, rtol=1e-8)


@given(st.floats(0.05, 0.99), st.floats(0.05, 0.99))
def test_levels_nest(one: float, two: float) -> None:
    form, data = fitted("logistic", bias=True, known=True)
    small, large = (profile_intervals(form, data, level=lv) for lv in sorted((one, two)))
    assert (large.lower <= small.lower + 1e-9).all() and (large.upper >= small.upper - 1e-9).all()
    assert (small.lower < small.estimates).all() and (small.estimates < small.upper).all()


def test_many_rows_make_the_interval_that_of_wald() -> None:
    form, data = fitted("ordinal_logit", bias=True, known=False, n=20000)
    information = torch.autograd.functional.hessian(minus_log_likelihood(form, data), form.theta)
    error = torch.linalg.inv(information).diagonal().sqrt()[list(form.order)].numpy()
    got = profile_intervals(form, data)
    np.testing.assert_allclose((got.upper - got.lower) / (2 * HALF * error), 1, rtol=1e-3)


def test_names_and_places_choose() -> None:
    form, data = fitted("softmax_reference", bias=True, known=False)
    names = ["age", "in<come>"]
    every = profile_intervals(form, data, feature_names=names, class_names=["a", "b", "c"])
    assert every.names[:3] == ("b: const", "b: age", "b: in<come>")
    some = profile_intervals(form, data, parameters=[-1, "1: x1"])
    np.testing.assert_array_equal(some.lower, every.lower[[-1, 1]])
    frame = every.to_frame()
    assert list(frame.columns) == ["coef", "[0.025", "0.975]"]
    assert frame.loc["c: age", "0.975]"] == every.upper[4]
    assert "in&lt;come&gt;" in every._repr_html_() and "<come>" not in every._repr_html_()


def test_a_model_short_of_its_maximum_is_refused() -> None:
    for name in MODELS:
        form, data = fitted(name, bias=True, known=False)
        away = form.at(form.theta + 0.1)
        with pytest.raises(ValueError, match="is not at its maximum: one Newton step") as caught:
            profile_intervals(away, data)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "settings", "words"),
    [
        ("logistic", {"penalty": L1(0.1)}, r"the profile under L1\(alpha=0.1\) is no likelihood"),
        ("linear", {"penalty": L2(0.1)}, "which is no log-likelihood"),
        ("ordinal_logit", {"penalty": Jeffreys()}, "Jeffreys is derived for logistic"),
        ("logistic", {"parameters": ["age"]}, "no parameter is called 'age'; they are const, x1"),
        ("logistic", {"parameters": [3]}, "parameter 3 does not exist; there are 3"),
        ("logistic", {"level": 95}, "level is 95, but a coverage"),
    ],
)
def test_errors_say_what_to_do(name: str, settings: dict[str, object], words: str) -> None:
    form, data = fitted(name, bias=True, known=False)
    with pytest.raises(ValueError, match=words) as caught:
        profile_intervals(form, data, **settings)
    assert "\n" not in str(caught.value)


def test_an_exact_line_has_intervals_without_width() -> None:
    X = torch.arange(5.0, dtype=F64)[:, None]
    model = LinearRegression(1, dtype=F64)
    with torch.no_grad():
        model.weight.fill_(2.0)
    got = profile_intervals(AffineForm.of(model), Batch(X, 2 * X[:, 0], torch.ones(5, dtype=F64)))
    np.testing.assert_allclose(got.lower, got.upper, atol=1e-12)
