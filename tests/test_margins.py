"""Marginal effects: what autograd, statsmodels and the textbook say they are."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import statsmodels.api as sm
import torch
from hypothesis import given
from hypothesis import strategies as st
from inference_cases import F64, TABLE, Case, case
from torch import Tensor

from problems import CLASSIFIERS, MODELS
from reference_data import load
from torchlogreg import Batch, LogisticRegression, Model, SoftmaxRegression, fit
from torchlogreg.inference import average
from torchlogreg.inference.affine import AffineForm
from torchlogreg.inference.margins import MarginalEffects, marginal_effects
from torchlogreg.inference.points import weighted_median
from torchlogreg.scaling import Standardizer

METHODS = ("dydx", "eyex", "dyex", "eydx")
SEVERAL = tuple(name for name in CLASSIFIERS if name != "logistic")
PUBLISHED = {  # Spector: effects and errors at a point, GPA, TUCE, PSI
    "overall": (
        (0.36258084688424, 0.01220841099085, 0.30517768382304),
        (0.1094412, 0.0177942, 0.0923796),
    ),
    "mean": (
        (0.53385885781692, 0.01797548988961, 0.44933926079386),
        (0.237038, 0.0262369, 0.1967626),
    ),
}


def autograd_effects(c: Case, method: str) -> tuple[Tensor, Tensor]:
    """Effects (p, C) averaged over the rows, and their errors, all by autograd."""
    share = c.data.sample_weight / c.data.sample_weight.sum()
    X = c.data.X[share > 0]
    offset = None if c.data.offset is None else c.data.offset[share > 0]
    inner = Case(c.form, c.covariance, Batch(X, X[:, 0], share[share > 0], offset))

    def effects(theta: Tensor) -> Tensor:
        rows = X.clone().requires_grad_()
        means = inner.means(theta, rows)
        means = means.abs().log() if method.startswith("ey") else means
        parts = []
        for j in range(means.shape[1]):
            (slope,) = torch.autograd.grad(means[:, j].sum(), rows, create_graph=True)
            slope = slope * X if method.endswith("ex") else slope
            parts.append(share[share > 0] @ slope)
        return torch.stack(parts, dim=1)

    theta = c.form.theta.requires_grad_()
    J = torch.autograd.functional.jacobian(effects, theta)
    variance = torch.einsum("jcp,pq,jcq->jc", J, c.covariance, J)
    return effects(theta).detach(), variance.sqrt()


def columns_of(values: np.ndarray) -> np.ndarray:
    """(q,) as (q, 1)."""
    return values[:, None] if values.ndim == 1 else values


def spector() -> tuple[AffineForm, Tensor, Batch, object]:
    """The fitted model, its covariance and rows, and statsmodels' result."""
    data = load("spector")
    form = fitted(LogisticRegression(3, dtype=F64), data.X, data.y)
    design = sm.add_constant(data.X.numpy())
    peer = sm.Logit(data.y.numpy(), design).fit(method="newton", disp=0, tol=1e-14)
    order = [1, 2, 3, 0]
    covariance = torch.from_numpy(peer.cov_params()[np.ix_(order, order)].copy())
    return form, covariance, Batch(data.X, data.y, torch.ones_like(data.y)), peer


def fitted(model: Model, X: Tensor, y: Tensor) -> AffineForm:
    columns = Standardizer.of(X)
    assert fit(model, columns.transform(X), y).converged
    return AffineForm.of(columns.fold_(model))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("name", "bias", "known"), TABLE)
def test_effects_and_errors_are_those_of_autograd(
    name: str, bias: bool, known: bool, method: str
) -> None:
    c = case(name, bias, known)
    got = marginal_effects(c.form, c.covariance, c.data, method=method)
    effects, errors = autograd_effects(c, method)
    np.testing.assert_allclose(columns_of(got.effects), effects, rtol=1e-10, atol=1e-13)
    np.testing.assert_allclose(columns_of(got.errors), errors, rtol=1e-9, atol=1e-13)


@pytest.mark.parametrize(("name", "bias", "known"), TABLE)
def test_discrete_effects_are_differences_of_means(name: str, bias: bool, known: bool) -> None:
    c = case(name, bias, known)
    X = c.data.X.clone()
    X[:, 1] = (X[:, 1] > 0).to(F64)
    data = replace(c.data, X=X)
    share = data.sample_weight / data.sample_weight.sum()

    def difference(theta: Tensor) -> Tensor:
        high, low = X.clone(), X.clone()
        high[:, 1], low[:, 1] = 1.0, 0.0
        return share @ (c.means(theta, high) - c.means(theta, low))

    J = torch.autograd.functional.jacobian(difference, c.form.theta)
    errors = torch.einsum("cp,pq,cq->c", J, c.covariance, J).sqrt()
    got = marginal_effects(c.form, c.covariance, data, discrete="auto")
    smooth = marginal_effects(c.form, c.covariance, data)
    assert got.discrete == ("x2",)
    np.testing.assert_allclose(got.effects[1], difference(c.form.theta).squeeze(), rtol=1e-11)
    np.testing.assert_allclose(got.errors[1], errors.squeeze(), rtol=1e-10, atol=1e-13)
    np.testing.assert_array_equal(got.effects[[0, 2]], smooth.effects[[0, 2]])
    np.testing.assert_array_equal(got.errors[[0, 2]], smooth.errors[[0, 2]])


@pytest.mark.parametrize("at", ["overall", "mean", "median", "zero", [0.3, -1.0, 2.0]])
@pytest.mark.parametrize("name", SEVERAL)
def test_effects_of_all_classes_sum_to_zero(name: str, at: object) -> None:
    c = case(name, known=True)
    got = marginal_effects(c.form, c.covariance, c.data, at=at, discrete=[2])
    assert got.effects.shape == (3, len(got.classes))
    np.testing.assert_allclose(got.effects.sum(axis=1), 0.0, atol=1e-15)


@pytest.mark.parametrize("at", PUBLISHED)
def test_published_effects_of_spector(at: str) -> None:
    form, covariance, data, _ = spector()
    got = marginal_effects(form, covariance, data, at=at)
    effects, errors = PUBLISHED[at]
    # The published fit stopped early (see test_reference): its digits hold to 2e-6.
    np.testing.assert_allclose(got.effects, effects, rtol=2e-6)
    np.testing.assert_allclose(got.errors, errors, rtol=5e-6)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("at", ["overall", "mean", "median", "zero"])
def test_effects_are_those_of_statsmodels_logit(at: str, method: str) -> None:
    form, covariance, data, peer = spector()
    want = peer.get_margeff(at=at, method=method)
    got = marginal_effects(form, covariance, data, at=at, method=method)
    np.testing.assert_allclose(got.effects, want.margeff, rtol=1e-11, atol=1e-16)
    np.testing.assert_allclose(got.errors, want.margeff_se, rtol=1e-11, atol=1e-16)
    if at == "overall":
        np.testing.assert_allclose(got.statistics, want.tvalues, rtol=1e-10)
        np.testing.assert_allclose(got.pvalues, want.pvalues, rtol=1e-9)
        np.testing.assert_allclose(got.conf_int(), want.conf_int(), rtol=1e-9)
        np.testing.assert_allclose(got.conf_int(0.8)[:, 0], want.conf_int(0.2)[:, 0], rtol=1e-9)
        np.testing.assert_array_equal(got.conf_int(), np.stack((got.lower, got.upper), axis=1))


def test_dummy_effects_are_those_of_statsmodels_logit() -> None:
    form, covariance, data, peer = spector()
    want = peer.get_margeff(dummy=True)
    got = marginal_effects(form, covariance, data, discrete="auto")
    np.testing.assert_allclose(got.effects, want.margeff, rtol=1e-11)
    np.testing.assert_allclose(got.errors, want.margeff_se, rtol=1e-11)


@pytest.mark.parametrize("reference", [False, True])
def test_effects_are_those_of_statsmodels_mnlogit(reference: bool) -> None:
    data = load("anes96")
    form = fitted(SoftmaxRegression(5, 7, reference, dtype=F64), data.X, data.y)
    design = sm.add_constant(data.X.numpy())
    peer = sm.MNLogit(data.y.numpy(), design).fit(method="newton", disp=0, tol=1e-14)
    order = [6 * a + j for a in range(6) for j in range(1, 6)] + [6 * a for a in range(6)]
    covariance = torch.from_numpy(np.asarray(peer.cov_params())[np.ix_(order, order)].copy())
    batch = Batch(data.X, data.y, torch.ones_like(data.y))
    for at in ("overall", "mean"):
        want = peer.get_margeff(at=at)
        got = marginal_effects(form, covariance, batch, at=at)
        np.testing.assert_allclose(got.effects, want.margeff, rtol=1e-10, atol=1e-15)
        np.testing.assert_allclose(got.errors, want.margeff_se, rtol=1e-10)


@pytest.mark.parametrize("at", ["overall", "mean", "median"])
@pytest.mark.parametrize("name", MODELS)
def test_a_weight_of_two_is_a_repeated_row_and_zero_is_removal(name: str, at: str) -> None:
    c = case(name, known=True)
    counts = torch.tensor([1, 2, 0, 1, 3, 1, 1, 0, 2])
    weighted = c.data.reweighted(0.3 * counts.to(F64))  # the scale is irrelevant
    repeated = c.data.rows(torch.repeat_interleave(torch.arange(9), counts))
    repeated = repeated.reweighted(torch.ones(len(repeated), dtype=F64))
    got = marginal_effects(c.form, c.covariance, weighted, at=at, discrete=[0])
    want = marginal_effects(c.form, c.covariance, repeated, at=at, discrete=[0])
    np.testing.assert_allclose(got.effects, want.effects, rtol=1e-11, atol=1e-15)
    np.testing.assert_allclose(got.errors, want.errors, rtol=1e-11)


def test_a_row_without_weight_may_be_undefined() -> None:
    c = case("linear")
    X, weight = c.data.X.clone(), c.data.sample_weight.clone()
    X[0] = -float(c.form.intercepts) / float(c.form.weight.square().sum()) * c.form.weight[0]
    weight[0] = 0.0  # where the mean is zero and has no logarithm
    data = Batch(X, c.data.y, weight)
    got = marginal_effects(c.form, c.covariance, data, method="eydx")
    want = marginal_effects(c.form, c.covariance, data.rows(slice(1, None)), method="eydx")
    np.testing.assert_array_equal(got.effects, want.effects)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", MODELS)
def test_blocks_do_not_matter(name: str, method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    c = case(name, known=True)
    jumps = [1] if method.endswith("dx") else []
    whole = marginal_effects(c.form, c.covariance, c.data, method=method, discrete=jumps)
    monkeypatch.setattr(average, "width", lambda model: 2**20)  # two rows a block
    parts = marginal_effects(c.form, c.covariance, c.data, method=method, discrete=jumps)
    np.testing.assert_allclose(parts.effects, whole.effects, rtol=1e-11, atol=1e-14)
    np.testing.assert_allclose(parts.errors, whole.errors, rtol=1e-11)


@pytest.mark.parametrize("name", MODELS)
def test_blocks_are_small_however_many_rows(name: str) -> None:
    form = case(name).form
    X = torch.zeros(1, 3, dtype=F64).expand(3_000_000, 3)
    data = Batch(X, X[:, 0], torch.ones(1, dtype=F64).expand(3_000_000))
    rows, _, share = next(average.shares(form, data))
    numbers = len(rows) * (3 + average.width(form.model))
    assert 2**20 < numbers <= 2**21  # of 8 bytes; a handful of temporaries are as large
    assert float(share[0]) == pytest.approx(1 / 3e6)


@pytest.mark.parametrize("name", MODELS)
def test_columns_select_and_keep_their_order(name: str) -> None:
    c = case(name)
    names = ["a", "b", "c"]
    every = marginal_effects(c.form, c.covariance, c.data, feature_names=names)
    some = marginal_effects(
        c.form, c.covariance, c.data, feature_names=names, columns=["c", 0], discrete=["c"]
    )
    assert every.columns == ("a", "b", "c") and some.columns == ("c", "a")
    np.testing.assert_allclose(some.effects[1], every.effects[0], rtol=1e-13)
    np.testing.assert_allclose(some.errors[1], every.errors[0], rtol=1e-13)


@pytest.mark.parametrize("name", MODELS)
def test_given_rows_get_effects_of_their_own(name: str) -> None:
    c = case(name)
    rows = c.data.X[:2].numpy()
    both = marginal_effects(c.form, c.covariance, c.data, at=rows)
    for i in range(2):
        one = marginal_effects(c.form, c.covariance, c.data, at=rows[i])
        alone = marginal_effects(c.form, c.covariance, c.data.rows(slice(i, i + 1)))
        assert one.at == "row" and both.at == "rows"
        np.testing.assert_array_equal(both.effects[i], one.effects)
        np.testing.assert_array_equal(one.errors, alone.errors)
    frame = both.to_frame()
    assert len(frame) == both.effects.size
    assert frame.index.names[0] == "row" and "row 1" in str(both)


@pytest.mark.parametrize("at", [1e2, -1e2])  # eta of some hundreds
@pytest.mark.parametrize("method", ["dydx", "eydx"])
@pytest.mark.parametrize("name", MODELS)
def test_extreme_rows_give_numbers(name: str, method: str, at: float) -> None:
    c = case(name)
    got = marginal_effects(c.form, c.covariance, c.data, at=[at, at, at], method=method)
    assert np.isfinite(got.effects).all() and np.isfinite(got.errors).all()


@given(st.lists(st.integers(0, 3), min_size=1, max_size=12).filter(any), st.integers(0, 99))
def test_weighted_median_is_the_median_of_repeated_rows(counts: list[int], seed: int) -> None:
    values = torch.randn(len(counts), 2, generator=torch.Generator().manual_seed(seed), dtype=F64)
    weight = 0.1 * torch.tensor(counts, dtype=F64)
    want = np.median(np.repeat(values.numpy(), counts, axis=0), axis=0)
    np.testing.assert_allclose(weighted_median(values, weight), want, rtol=1e-15)


def test_float32_models_and_student_t() -> None:
    form, covariance, data, _ = spector()
    model = LogisticRegression(3, dtype=torch.float32)
    with torch.no_grad():
        model.weight.copy_(form.weight)
        model.bias.copy_(form.intercepts)
    narrow = Batch(data.X.float(), data.y.float(), data.sample_weight.float())
    got = marginal_effects(AffineForm.of(model), covariance, narrow, df=28, level=0.9)
    np.testing.assert_allclose(got.effects, PUBLISHED["overall"][0], rtol=1e-5)
    assert got.effects.dtype == np.float64
    assert got.upper[0] - got.effects[0] == pytest.approx(1.701130934 * got.errors[0], rel=1e-9)
    assert "P>|t|" in str(got)


def test_table_frame_and_html_agree() -> None:
    c = case("ordinal_logit")
    got = marginal_effects(
        c.form, c.covariance, c.data, class_names=["low", "<mid>", "high", "top"], discrete=[1]
    )
    frame = got.to_frame()
    assert list(frame.columns) == ["dy/dx", "std err", "z", "P>|z|", "[0.025", "0.975]"]
    assert frame.loc[("<mid>", "x3"), "dy/dx"] == got.effects[2, 1]
    assert frame.loc[("top", "x1"), "0.975]"] == got.upper[0, 3]
    text, page = str(got), got._repr_html_()
    assert "class low" in text and "from 0 to 1: x2" in text
    assert "&lt;mid&gt;" in page and "<mid>" not in page
    assert f"{got.effects[0, 0]:.4f}" in text and f"{got.effects[0, 0]:.4f}" in page
    assert isinstance(got, MarginalEffects)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"at": "typical"}, "at is 'typical', but the points are"),
        ({"at": [1.0, 2.0]}, r"at has shape \(2,\), but one row \(3,\)"),
        ({"at": [1.0, float("nan"), 0.0]}, "at holds NaN"),
        ({"method": "dy/dx"}, "method is 'dy/dx', but the methods are"),
        ({"columns": ["GPA"]}, "no column is called 'GPA'"),
        ({"columns": [3]}, "column 3 does not exist"),
        ({"discrete": "x1"}, r"discrete is 'x1'; give the columns as a list"),
        ({"discrete": [0], "method": "eyex"}, "takes the logarithm of x, but column 'x1' jumps"),
        ({"level": 95}, "level is 95, but a coverage lies between 0 and 1"),
    ],
)
def test_errors_say_what_to_do(settings: dict[str, object], words: str) -> None:
    c = case("logistic")
    with pytest.raises(ValueError, match=words) as caught:
        marginal_effects(c.form, c.covariance, c.data, **settings)
    assert "\n" not in str(caught.value)
