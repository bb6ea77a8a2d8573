"""Intervals of predicted means: delta method, coverage, and the bounds of probabilities."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
import statsmodels.api as sm
import torch
from hypothesis import given
from hypothesis import strategies as st
from inference_cases import F64, TABLE, case
from torch.autograd.functional import jacobian

from problems import CLASSIFIERS, FACTORIES, MODELS
from reference_data import load
from torchlogreg import LinearRegression, LogisticRegression, OrdinalRegression, fit
from torchlogreg.inference import prediction
from torchlogreg.inference.affine import AffineForm
from torchlogreg.inference.log_odds import log_odds
from torchlogreg.inference.prediction import Intervals, intervals
from torchlogreg.scaling import Standardizer

LINKS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "logit": torch.sigmoid,
    "probit": torch.special.ndtr,
    "cloglog": lambda t: -torch.expm1(-torch.exp(t)),
}


def logit(p: np.ndarray) -> np.ndarray:
    return np.log(p) - np.log1p(-p)


@pytest.mark.parametrize(("name", "bias", "known"), TABLE)
def test_errors_are_those_of_the_delta_method(name: str, bias: bool, known: bool) -> None:
    c = case(name, bias, known)

    def means(theta: torch.Tensor) -> torch.Tensor:
        return c.means(theta, c.data.X)

    J = torch.autograd.functional.jacobian(means, c.form.theta)
    errors = torch.einsum("ncp,pq,ncq->nc", J, c.covariance, J).sqrt()
    got = intervals(c.form, c.covariance, c.data.X, offset=c.data.offset)
    shape = got.mean.shape
    np.testing.assert_allclose(got.mean, means(c.form.theta).reshape(shape), rtol=1e-13)
    np.testing.assert_allclose(got.error, errors.reshape(shape), rtol=1e-9)


@pytest.mark.parametrize(("name", "bias", "known"), TABLE)
def test_ends_are_symmetric_about_the_log_odds(name: str, bias: bool, known: bool) -> None:
    c = case(name, bias, known)
    got = intervals(c.form, 0.01 * c.covariance, c.data.X, offset=c.data.offset, level=0.9)

    if name == "linear":
        np.testing.assert_allclose(got.upper - got.mean, 1.6448536269514722 * got.error, rtol=1e-9)
        np.testing.assert_allclose(got.mean - got.lower, got.upper - got.mean, rtol=1e-9)
        return
    assert ((got.lower >= 0) & (got.upper <= 1)).all()
    clear = (got.lower > 1e-6) & (got.upper < 1 - 1e-6)  # elsewhere 1 - p has lost its digits
    low, middle, high = (logit(part[clear]) for part in (got.lower, got.mean, got.upper))
    p, error = got.mean[clear], got.error[clear]
    half = 1.6448536269514722 * error / (p * (1 - p))
    np.testing.assert_allclose(middle - low, half, rtol=1e-8, atol=1e-9)
    np.testing.assert_allclose(high - middle, half, rtol=1e-8, atol=1e-9)


def test_binary_intervals_are_those_of_statsmodels_glm() -> None:
    data = load("spector")
    columns, model = Standardizer.of(data.X), LogisticRegression(3, dtype=F64)
    fit(model, columns.transform(data.X), data.y)
    design = sm.add_constant(data.X.numpy())
    peer = sm.GLM(data.y.numpy(), design, family=sm.families.Binomial()).fit(tol=1e-14)
    order = [1, 2, 3, 0]
    covariance = torch.from_numpy(peer.cov_params()[np.ix_(order, order)].copy())
    got = intervals(AffineForm.of(columns.fold_(model)), covariance, data.X)
    want = peer.get_prediction().summary_frame()
    np.testing.assert_allclose(got.to_frame().to_numpy(), want.to_numpy(), rtol=1e-9)


def test_linear_intervals_are_those_of_statsmodels_ols() -> None:
    data = load("norris")
    model = LinearRegression(1, dtype=F64)
    fit(model, data.X, data.y)
    peer = sm.OLS(data.y.numpy(), sm.add_constant(data.X.numpy())).fit()
    covariance = torch.from_numpy(peer.cov_params()[np.ix_([1, 0], [1, 0])].copy())
    form = AffineForm.of(model)
    df, scale = peer.df_resid, peer.scale
    got = intervals(form, covariance, data.X, df=df, scale=scale, level=0.99)
    want = peer.get_prediction().summary_frame(alpha=0.01)
    np.testing.assert_allclose(got.to_frame().to_numpy(), want.to_numpy(), rtol=1e-7)
    assert list(got.to_frame().columns)[-1] == "obs 0.995]"


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_log_odds_are_exact_where_probabilities_vanish(name: str) -> None:
    c = case(name)
    eta = c.form.eta(c.data.X)
    values, slopes = log_odds(c.form.model, eta)
    p = c.form.mean(eta).reshape(len(eta), -1)
    np.testing.assert_allclose(torch.sigmoid(values), p, rtol=1e-12)
    far = c.form.eta(300 * c.data.X)
    values, slopes = log_odds(c.form.model, far)
    # The last level of cloglog has log p = -exp(eta), which is as large as it says.
    assert torch.isfinite(values).all() and torch.isfinite(slopes).all()
    assert name == "ordinal_cloglog" or bool((values.abs() > 100).any())


@pytest.mark.parametrize("n_classes", [2, 3, 4, 7])
@pytest.mark.parametrize("link", ["logit", "probit", "cloglog"])
def test_slopes_of_log_odds_are_their_jacobian(link: str, n_classes: int) -> None:
    # One gradient for each of 40 classes took 3.7 s for 3000 rows; two gradients hold them all.
    model = OrdinalRegression(2, n_classes=n_classes, link=link, dtype=F64)
    eta = torch.randn(5, n_classes - 1, generator=torch.Generator().manual_seed(0), dtype=F64)
    eta = eta.sort(dim=1).values
    slopes = log_odds(model, eta)[1]
    for row, slope in zip(eta, slopes, strict=True):
        want = jacobian(partial(log_odds_written_out, model), row)
        torch.testing.assert_close(slope, want, rtol=1e-9, atol=1e-12)


def log_odds_written_out(model: OrdinalRegression, eta: torch.Tensor) -> torch.Tensor:
    p = model.mean(eta.unsqueeze(0)).squeeze(0)
    return torch.log(p / (1 - p))


@pytest.mark.parametrize("name", MODELS)
def test_blocks_do_not_matter(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    c = case(name, known=True)
    whole = intervals(c.form, c.covariance, c.data.X, offset=c.data.offset)
    monkeypatch.setattr(prediction, "_BLOCK", 40)
    parts = intervals(c.form, c.covariance, c.data.X, offset=c.data.offset)
    np.testing.assert_allclose(parts.lower, whole.lower, rtol=1e-9)
    np.testing.assert_allclose(parts.error, whole.error, rtol=1e-12)


@given(st.sampled_from(CLASSIFIERS), st.integers(0, 999), st.floats(0.01, 30))
def test_ends_hold_the_mean_between_zero_and_one(name: str, seed: int, size: float) -> None:
    c = case(name, seed=seed)
    got = intervals(c.form, size * c.covariance, c.data.X)
    inside = (got.lower <= got.mean) & (got.mean <= got.upper)
    # A level between close cutpoints has mass to rounding only: logit and mean differ by that.
    close = np.isclose(got.lower, got.mean, atol=1e-14) | np.isclose(got.upper, got.mean)
    assert (inside | close).all()
    assert ((got.lower >= 0) & (got.upper <= 1) & (got.error >= 0)).all()


def draw(name: str, theta: torch.Tensor, X: torch.Tensor, source: torch.Generator) -> torch.Tensor:
    """Responses of the model at ``theta``."""
    form = AffineForm.of(FACTORIES[name](n_features=X.shape[1], dtype=F64)).at(theta)
    mean = form.mean(form.eta(X))
    if name == "linear":
        return mean + torch.randn(len(X), generator=source, dtype=F64)
    if name == "logistic":
        return (torch.rand(len(X), generator=source, dtype=F64) < mean).to(F64)
    return torch.multinomial(mean, 1, generator=source).squeeze(1)


TRUE = {
    "linear": (0.5, -0.3, 0.2),
    "logistic": (0.8, -0.5, 0.3),
    "softmax_reference": (0.6, -0.4, -0.3, 0.5, 0.2, -0.1),
    "ordinal_logit": (0.7, -0.5, -1.0, 0.2, 1.3),
    "ordinal_probit": (0.5, -0.3, -0.8, 0.1, 0.9),
    "ordinal_cloglog": (0.5, -0.3, -1.2, -0.2, 0.6),
}


@pytest.mark.parametrize("name", TRUE)
def test_intervals_cover_as_often_as_they_say(name: str) -> None:
    source = torch.Generator().manual_seed(1)
    X = torch.randn(300, 2, generator=source, dtype=F64)
    theta = torch.tensor(TRUE[name], dtype=F64)
    truth = AffineForm.of(FACTORIES[name](n_features=2, dtype=F64)).at(theta)
    points = X[:8]
    mean = truth.mean(truth.eta(points)).numpy()
    covered = []
    for _ in range(60):
        model = FACTORIES[name](n_features=2, dtype=F64)
        y = draw(name, theta, X, source)
        fit(model, X, y)
        form = AffineForm.of(model)

        def loss(at: torch.Tensor, form: AffineForm = form, y: torch.Tensor = y) -> torch.Tensor:
            return form.nll(form.at(at).eta(X), y).sum()

        information = torch.autograd.functional.hessian(loss, form.theta)
        if name == "linear":
            information = information / 2 / (loss(form.theta) / (300 - 3))
        got = intervals(form, torch.linalg.inv(information), points, level=0.8)
        covered.append((got.lower <= mean) & (mean <= got.upper))
    # 60 fits of 8 or more correlated intervals: three standard errors are about 0.13.
    assert np.mean(covered) == pytest.approx(0.8, abs=0.13)


def test_tables_show_the_first_rows() -> None:
    c = case("ordinal_logit", n=30)
    names = ["low", "<mid>", "high", "top"]
    got = intervals(c.form, c.covariance, c.data.X, class_names=names)
    frame = got.to_frame()
    assert len(got) == 30 and len(frame) == 120
    assert frame.loc[(29, "top"), "mean"] == got.mean[29, 3]
    text, page = str(got), got._repr_html_()
    assert "30 rows, first 10" in text and "row 9" in text and "row 10" not in text
    assert "&lt;mid&gt;" in page and "<mid>" not in page
    assert isinstance(got, Intervals)


def test_ordinal_means_come_from_the_link() -> None:
    for link, F in LINKS.items():
        model = OrdinalRegression(3, 4, link, dtype=F64)
        form = AffineForm.of(model)
        X = case("linear").data.X
        got = intervals(form, torch.eye(6, dtype=F64), X)
        np.testing.assert_allclose(got.mean[:, 0], F(form.eta(X)[:, 0]), rtol=1e-13)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"X": np.zeros((2, 4))}, "X has 4 columns, but the model was fitted to 3"),
        ({"offset": np.zeros(5)}, r"offset has shape \(5,\), but a finite one for each of 9"),
        ({"offset": np.full(9, np.nan)}, "a finite one"),
        ({"scale": 2.0}, "scale=2.0 is a residual variance, which LogisticRegression does not"),
        ({"level": 1.0}, "level is 1.0, but a coverage"),
        ({"df": 0}, "df is 0, but Student's t needs df > 0"),
    ],
)
def test_errors_say_what_to_do(settings: dict[str, object], words: str) -> None:
    c = case("logistic")
    X = settings.pop("X", c.data.X)
    with pytest.raises(ValueError, match=words) as caught:
        intervals(c.form, c.covariance, X, **settings)
    assert "\n" not in str(caught.value)
