"""infer() against statsmodels, and against formulas written out, on random problems."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import statsmodels.api as sm
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import linalg
from statsmodels.miscmodels.ordinal_model import OrderedModel

from problems import problem
from torchlogreg import (
    InferenceResult,
    LinearRegression,
    LogisticRegression,
    Model,
    OrdinalRegression,
    SoftmaxRegression,
    fit,
    infer,
)
from torchlogreg.losses import curvatures, slopes

F64 = torch.float64
SEEDS = st.integers(0, 10_000)
TIGHT = {"method": "newton", "disp": 0, "tol": 1e-10, "maxiter": 100}


def draw(seed: int) -> tuple[np.random.Generator, np.ndarray, np.ndarray]:
    """Columns of different scales and means, and a score."""
    rng = np.random.default_rng(seed)
    n, p = int(rng.integers(80, 200)), int(rng.integers(1, 5))
    Z = rng.normal(size=(n, p))
    return rng, Z * 10.0 ** rng.integers(-2, 3, p) + rng.normal(size=p), Z @ rng.normal(size=p) / 2


def binary(rng: np.random.Generator, score: np.ndarray) -> np.ndarray:
    return (score + rng.logistic(size=len(score)) > 0).astype(float)


def ours(model: Model, X: np.ndarray, y: np.ndarray, **settings: Any) -> InferenceResult:
    fitting = {k: v for k, v in settings.items() if k in ("sample_weight", "offset", "penalty")}
    fit(model, X, y, tol=1e-10, **fitting)
    return infer(model, X, y, **settings)


def logistic(X: np.ndarray, y: np.ndarray, **settings: Any) -> InferenceResult:
    return ours(LogisticRegression(X.shape[1], dtype=F64), X, y, **settings)


def linear(X: np.ndarray, y: np.ndarray, **settings: Any) -> InferenceResult:
    return ours(LinearRegression(X.shape[1], dtype=F64), X, y, **settings)


@given(SEEDS)
def test_logit(seed: int) -> None:
    rng, X, score = draw(seed)
    y = binary(rng, score)
    got, want = logistic(X, y), sm.Logit(y, sm.add_constant(X)).fit(**TIGHT)
    assert got.bse == pytest.approx(want.bse, rel=1e-8)
    assert got.tvalues == pytest.approx(want.tvalues, rel=1e-7, abs=1e-9)
    assert got.pvalues == pytest.approx(want.pvalues, rel=1e-6)
    assert got.conf_int() == pytest.approx(want.conf_int(), rel=1e-7, abs=1e-9)
    assert got.cov_params() == pytest.approx(want.cov_params(), rel=1e-7, abs=1e-12)
    for name in ("llf", "aic", "bic"):
        assert getattr(got, name) == pytest.approx(getattr(want, name), rel=1e-10), name
    for name in ("llnull", "llr", "llr_pvalue", "prsquared"):  # its null fit stops early
        assert getattr(got, name) == pytest.approx(getattr(want, name), rel=1e-6), name
    assert (got.df_model, got.df_resid) == (want.df_model, want.df_resid)


@given(SEEDS)
def test_logit_robust(seed: int) -> None:
    rng, X, score = draw(seed)
    y = binary(rng, score)
    groups = rng.integers(0, 12, len(y))
    A = sm.add_constant(X)
    white = sm.Logit(y, A).fit(cov_type="HC0", **TIGHT)
    assert logistic(X, y, covariance="HC0").bse == pytest.approx(white.bse, rel=1e-8)
    clustered = sm.Logit(y, A).fit(cov_type="cluster", cov_kwds={"groups": groups}, **TIGHT)
    n, n_params = A.shape  # statsmodels' factor is that of linear regression, ours Stata's
    factor = np.sqrt((n - n_params) / (n - 1))
    got = logistic(X, y, covariance="cluster", clusters=[f"group {g}" for g in groups])
    assert got.bse == pytest.approx(clustered.bse * factor, rel=1e-8)


@given(SEEDS)
def test_frequencies_offsets_and_soft_targets_as_in_glm(seed: int) -> None:
    rng, X, score = draw(seed)
    n = len(X)
    counts, known = rng.integers(1, 5, n).astype(float), rng.normal(size=n)
    y = rng.beta(2, 2, n) if seed % 2 else binary(rng, score + known)
    got = logistic(X, y, sample_weight=counts, weight_kind="frequency", offset=known)
    family = sm.families.Binomial()
    glm = sm.GLM(y, sm.add_constant(X), family=family, freq_weights=counts, offset=known)
    want = glm.fit(tol=1e-14, maxiter=100, tol_criterion="params")
    assert got.bse == pytest.approx(want.bse, rel=1e-7)
    assert got.nobs == counts.sum() and got.df_resid == want.df_resid
    if seed % 2 == 0:  # statsmodels' likelihood of fractions has other constants
        assert got.llf == pytest.approx(want.llf, rel=1e-8)
        assert got.llnull == pytest.approx(want.llnull, rel=1e-7)


@given(SEEDS)
def test_mnlogit(seed: int) -> None:
    rng, X, score = draw(seed)
    K = int(rng.integers(2, 5))
    eta = np.outer(score, np.linspace(-1, 1, K))
    y = (eta + rng.gumbel(size=eta.shape)).argmax(1)
    y[:K] = np.arange(K)
    for cov in ("classical", "HC0"):
        kind = {} if cov == "classical" else {"cov_type": cov}
        want = sm.MNLogit(y, sm.add_constant(X)).fit(**TIGHT, **kind)
        got = ours(SoftmaxRegression(X.shape[1], K, dtype=F64), X, y, covariance=cov)
        assert got.bse == pytest.approx(want.bse.T.ravel(), rel=1e-7)
    assert got.llnull == pytest.approx(want.llnull, rel=1e-7)
    assert got.llr_pvalue == pytest.approx(want.llr_pvalue, rel=1e-6)


@given(SEEDS, st.sampled_from(["logit", "probit", "cloglog"]))
def test_ordered_model(seed: int, link: str) -> None:
    rng, X, score = draw(seed)
    X = (X - X.mean(0)) / X.std(0)  # its optimizer needs it; its Hessian is by differences
    y = np.searchsorted([-0.8, 0.7], score + rng.logistic(size=len(score)))
    model = OrdinalRegression(X.shape[1], 3, link=link, dtype=F64)
    got = ours(model, X, y)
    if link == "cloglog":
        return check_against_differences(got, X, y)
    peer = OrderedModel(y, X, distr=link)
    raw = np.append(got.params[:-1], np.log(got.params[-1] - got.params[-2]))
    H = peer.hessian(raw)
    J = np.eye(len(raw))  # cutpoints from the first and the logarithm of the gap
    J[-1, -2:] = 1, got.params[-1] - got.params[-2]
    want = J @ np.linalg.inv(-H) @ J.T
    assert got.bse == pytest.approx(np.sqrt(np.diag(want)), rel=1e-4)
    assert got.llf == pytest.approx(peer.loglike(raw), rel=1e-10)
    return None


def check_against_differences(got: InferenceResult, X: np.ndarray, y: np.ndarray) -> None:
    """The Hessian by autograd of the whole, which knows nothing of blocks and bases."""
    rows, target = torch.from_numpy(X), torch.from_numpy(y)

    def loss(theta: torch.Tensor) -> torch.Tensor:
        form = got.form.at(theta)
        return form.nll(form.eta(rows), target).sum()

    H = torch.autograd.functional.hessian(loss, got.form.theta)
    assert got.cov_params() == pytest.approx(torch.linalg.inv(H).numpy(), rel=1e-8)


@given(SEEDS)
def test_ols(seed: int) -> None:
    rng, X, score = draw(seed)
    y = 3 + score + rng.normal(size=len(X)) * (1 + X[:, 0] ** 2 / np.square(X[:, 0]).mean())
    want = sm.OLS(y, sm.add_constant(X)).fit()
    got = linear(X, y)
    for name in (
        "params", "bse", "tvalues", "pvalues", "llf", "aic", "bic", "rsquared", "rsquared_adj",
        "fvalue", "f_pvalue", "scale", "df_resid",
    ):  # fmt: skip
        assert getattr(got, name) == pytest.approx(getattr(want, name), rel=1e-7), name
    assert got.conf_int(0.9) == pytest.approx(want.conf_int(0.1), rel=1e-8)


@given(SEEDS, st.sampled_from(["HC0", "HC1", "HC2", "HC3"]))
def test_ols_robust(seed: int, kind: str) -> None:
    rng, X, score = draw(seed)
    y = 3 + score + rng.normal(size=len(X))
    want = sm.OLS(y, sm.add_constant(X)).fit(cov_type=kind, use_t=True)
    got = linear(X, y, covariance=kind)
    assert got.bse == pytest.approx(want.bse, rel=1e-8)
    assert got.fvalue == pytest.approx(want.fvalue, rel=1e-7)
    assert got.pvalues == pytest.approx(want.pvalues, rel=1e-6, abs=1e-300)


@given(SEEDS)
def test_ols_cluster(seed: int) -> None:
    rng, X, score = draw(seed)
    groups = rng.integers(0, 9, len(X))
    y = 3 + score + rng.normal(size=len(X)) + rng.normal(size=9)[groups]
    settings = {"cov_type": "cluster", "cov_kwds": {"groups": groups}, "use_t": True}
    want = sm.OLS(y, sm.add_constant(X)).fit(**settings)
    got = linear(X, y, covariance="cluster", clusters=groups)
    assert got.bse == pytest.approx(want.bse, rel=1e-8)
    assert got.pvalues == pytest.approx(want.pvalues, rel=1e-6, abs=1e-300)  # t with G - 1
    assert got.n_clusters == 9 and got.df_inference == 8


@given(SEEDS, st.sampled_from(["classical", "HC0", "HC1", "HC2", "HC3"]))
def test_importance_weights_are_those_of_weighted_least_squares(seed: int, kind: str) -> None:
    rng, X, score = draw(seed)
    y, weights = 3 + score + rng.normal(size=len(X)), rng.exponential(size=len(X))
    settings = {} if kind == "classical" else {"cov_type": kind, "use_t": True}
    want = sm.WLS(y, sm.add_constant(X), weights=weights).fit(**settings)
    null = sm.WLS(y, np.ones_like(y), weights=weights).fit()
    got = linear(X, y, covariance=kind, sample_weight=weights, weight_kind="importance")
    assert got.bse == pytest.approx(want.bse, rel=1e-8)
    assert got.rsquared == pytest.approx(want.rsquared, rel=1e-8)
    # Half the sum of log weights was missing: AIC differed from that of WLS and of R's lm.
    assert [got.llf, got.llr] == pytest.approx([want.llf, 2 * (want.llf - null.llf)], rel=1e-8)


def test_norm_and_chi_squared_can_be_asked_of_linear_regression() -> None:
    rng, X, score = draw(1)
    y = score + rng.normal(size=len(X))
    want = sm.OLS(y, sm.add_constant(X)).fit(use_t=False)
    got = linear(X, y, use_t=False)
    assert got.pvalues == pytest.approx(want.pvalues, rel=1e-7)
    assert got.wald_test({"x1": 1}).df_denom is None


@given(SEEDS)
def test_wald_tests(seed: int) -> None:
    rng, X, score = draw(seed)
    X = np.column_stack((X, rng.normal(size=(len(X), 2))))
    y = score + rng.normal(size=len(X))
    want = sm.OLS(y, sm.add_constant(X)).fit()
    got = linear(X, y)
    R = np.zeros((2, X.shape[1] + 1))
    R[0, 1], R[1, 2], R[1, 3] = 1, 1, -2
    peer = want.f_test((R, np.array([0.5, 0.1])))
    by_name = [{"x1": 1.0}, {"x2": 1.0, "x3": -2.0}]
    for restrictions in (R, torch.from_numpy(R), by_name):
        test = got.wald_test(restrictions, [0.5, 0.1])
        assert test.statistic == pytest.approx(peer.fvalue, rel=1e-8)
        assert test.pvalue == pytest.approx(peer.pvalue, rel=1e-6)
    assert got.wald_test(R[0]).statistic == pytest.approx(got.tvalues[1] ** 2, rel=1e-10)
    labels = (y > np.median(y)).astype(float)
    chi = logistic(X, labels).wald_test(R)
    other = sm.Logit(labels, sm.add_constant(X)).fit(**TIGHT).wald_test(R, scalar=True)
    assert chi.statistic == pytest.approx(other.statistic, rel=1e-7)
    assert chi.pvalue == pytest.approx(other.pvalue, rel=1e-6)


def root(M: np.ndarray, power: float) -> np.ndarray:
    """``(I - M)^power`` for a matrix with eigenvalues in [0, 1)."""
    result = linalg.fractional_matrix_power(np.eye(len(M)) - M, power)
    return np.real(result)


@pytest.mark.parametrize("kind", ["HC2", "HC3"])
@pytest.mark.parametrize(
    "name", ["logistic", "softmax_reference", "softmax", "ordinal_logit", "ordinal_probit"]
)
def test_leverages_written_out(name: str, kind: str) -> None:
    case = problem(name, n=50)
    model = case.model()
    fit(model, case.X, case.y, tol=1e-10)
    got = infer(model, case.X, case.y, covariance=kind)
    form = got.form
    jacobian = torch.autograd.functional.jacobian(lambda t: form.at(t).eta(case.X), form.theta)
    eta = form.eta(case.X)
    D, s = jacobian.numpy(), slopes(form.nll, eta, case.y).numpy()
    C = curvatures(form.nll, eta, case.y).numpy()
    B = np.linalg.inv(np.einsum("nkp,nkl,nlq->pq", D, C, D))
    power = -1.0 if kind == "HC3" else -0.5
    scores = [D[i].T @ root(C[i] @ D[i] @ B @ D[i].T, power) @ s[i] for i in range(len(s))]
    want = B @ sum(np.outer(g, g) for g in scores) @ B
    assert got.covariance.numpy() == pytest.approx(want, rel=1e-7, abs=1e-12)


def test_linear_hc3_is_the_jackknife() -> None:
    rng, X, score = draw(3)
    y = score + rng.normal(size=len(X))
    full = linear(X, y, covariance="HC3")
    A = sm.add_constant(X)
    without = [
        np.linalg.lstsq(np.delete(A, i, 0), np.delete(y, i), rcond=None)[0] for i in range(len(y))
    ]
    change = np.array(without) - full.params
    assert full.cov_params() == pytest.approx(change.T @ change, rel=1e-8, abs=1e-12)


Peer = Callable[[np.ndarray, np.ndarray], Any]


@pytest.mark.parametrize(("model", "peer"), [(linear, sm.OLS), (logistic, sm.Logit)])
def test_without_intercept(model: Peer, peer: Peer) -> None:
    rng, X, score = draw(5)
    y = binary(rng, score)
    kind = LinearRegression if model is linear else LogisticRegression
    bare = kind(X.shape[1], bias=False, dtype=F64)
    fit(bare, X, y, tol=1e-10)
    got = infer(bare, X, y)
    want = peer(y, X).fit(**(TIGHT if model is logistic else {}))
    assert got.bse == pytest.approx(want.bse, rel=1e-8)
    assert got.names == tuple(f"x{j + 1}" for j in range(X.shape[1]))
    if model is linear:
        assert got.rsquared == pytest.approx(want.rsquared, rel=1e-8)
        assert got.rsquared_adj == pytest.approx(want.rsquared_adj, rel=1e-8)
        assert got.fvalue == pytest.approx(want.fvalue, rel=1e-8)
