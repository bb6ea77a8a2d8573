"""infer() against published figures: standard errors to the last digits, and what textbooks print.

LRE, the log relative error, counts correct digits: the smallest over the numbers, at most 15.
"""

from __future__ import annotations

import math
from functools import cache

import numpy as np
import pytest
import torch
from reference_errors import ERRORS, NIST_ERRORS, NIST_RESIDUAL_SD
from test_reference import ORDINALS, fitted
from torch import Tensor

from problems import CLASSIFIERS, problem
from reference_data import F64, Reference, load
from reference_values import TRUTH
from torchlogreg import InferenceResult, LinearRegression, Model, SoftmaxRegression, fit, infer

COLUMNS = {"spector": ["GPA", "TUCE", "PSI"]}
WAMPLER_NOISE = [759, -2048, 2048, -2048, 2523, -2048, 2048, -2048, 1838, -2048, 2048]


def lre(got: np.ndarray, want: tuple[float, ...]) -> float:
    """Correct digits of the worst number."""
    worst = float(np.abs(got / np.array(want) - 1).max())
    return 15.0 if worst < 1e-15 else -math.log10(worst)


@cache
def inferred(name: str, covariance: str = "classical") -> InferenceResult:
    data = load(name)
    clusters = range(len(data.y)) if covariance == "cluster" else None
    return infer(
        fitted(name),
        data.X,
        data.y,
        sample_weight=data.sample_weight,
        weight_kind=None if data.sample_weight is None else "frequency",
        covariance=covariance,
        clusters=clusters,
        feature_names=COLUMNS.get(name),
    )


def nist(name: str) -> tuple[Reference, bool]:
    """A NIST set and whether it has an intercept; Wampler's are made as NIST made them."""
    if not name.startswith(("wampler", "longley")):
        return load(name), name == "norris"
    if name == "longley":
        from statsmodels.datasets import longley

        data = longley.load_pandas().data.to_numpy()
        return Reference(torch.from_numpy(data[:, 1:].copy()), torch.from_numpy(data[:, 0])), True
    x = torch.arange(21, dtype=F64)
    X = torch.stack([x**power for power in range(1, 6)], dim=1)
    noise = torch.tensor(WAMPLER_NOISE + WAMPLER_NOISE[-2::-1], dtype=F64)
    size = {"wampler1": 0, "wampler3": 1, "wampler4": 100, "wampler5": 10000}[name]
    return Reference(X, 1 + X.sum(1) + size * noise), True


def certified(name: str) -> InferenceResult:
    data, bias = nist(name)
    model = LinearRegression(data.X.shape[1], bias=bias, dtype=F64)
    fit(model, data.X, data.y)
    return infer(model, data.X, data.y)


@pytest.mark.parametrize("name", ERRORS)
def test_standard_errors_have_the_digits_of_the_reference(name: str) -> None:
    bse = inferred(name).bse
    if name == "anes96":  # the reference has the constant last within each class
        bse = np.roll(bse.reshape(6, 6), -1, axis=1).ravel()
    assert lre(bse, ERRORS[name]) >= (10 if name in ORDINALS else 12)


@pytest.mark.parametrize("name", NIST_ERRORS)
def test_nist_errors_and_residual_deviation_have_13_digits(name: str) -> None:
    result = certified(name)
    assert lre(result.bse, NIST_ERRORS[name]) >= 13
    assert lre(np.array([math.sqrt(result.scale)]), (NIST_RESIDUAL_SD[name],)) >= 13


def test_a_perfect_fit_has_errors_of_zero_to_rounding() -> None:
    result = certified("wampler1")  # certified: all errors 0
    assert result.bse.max() < 1e-8
    assert result.rsquared == pytest.approx(1, abs=1e-14)


@pytest.mark.parametrize("name", TRUTH)
def test_log_likelihood_is_that_of_the_reference(name: str) -> None:
    assert inferred(name).llf == pytest.approx(TRUTH[name].log_likelihood, rel=1e-13)


def test_spector_textbook() -> None:
    result = inferred("spector")
    assert result.names == ("const", "GPA", "TUCE", "PSI")
    assert result.llnull == pytest.approx(-20.5917296966, abs=1e-9)
    # Published from a fit that stopped early: these hold to 2e-6 and no further.
    assert result.llr == pytest.approx(15.4041924626, abs=2e-6)
    assert result.prsquared == pytest.approx(0.374038332, abs=5e-8)
    assert result.aic == pytest.approx(33.779266931, abs=2e-6)
    assert result.bic == pytest.approx(39.642210542, abs=2e-6)
    assert (result.df_model, result.df_resid, result.nobs) == (3, 28, 32)


def test_spector_robust_errors_of_stata_and_of_white() -> None:
    # Stata's factor n / (n - 1) is that of clusters of one row.
    assert inferred("spector", "cluster").bse == pytest.approx(
        [5.28075138, 1.28782788, 0.11980914, 0.97985082], abs=1e-6
    )
    assert inferred("spector", "HC0").bse == pytest.approx(
        [5.19758541, 1.26754598, 0.11792227, 0.96441921], abs=1e-7
    )
    ratio = inferred("spector", "HC1").bse / inferred("spector", "HC0").bse
    assert ratio == pytest.approx([math.sqrt(32 / 28)] * 4, rel=1e-13)


def test_spector_marginal_effects() -> None:
    overall = inferred("spector").marginal_effects()
    assert overall.effects == pytest.approx(
        [0.36258084688424, 0.01220841099085, 0.30517768382304], abs=2e-7
    )
    assert overall.errors == pytest.approx([0.1094412, 0.0177942, 0.0923796], abs=2e-7)
    at_mean = inferred("spector").marginal_effects(at="mean")
    assert at_mean.effects == pytest.approx(
        [0.53385885781692, 0.01797548988961, 0.44933926079386], abs=2e-7
    )


def test_anes96_textbook() -> None:
    result = inferred("anes96")
    assert result.prsquared == pytest.approx(0.1647810465387, abs=1e-10)
    assert result.aic == pytest.approx(2995.84549462, abs=5e-7)
    assert result.bic == pytest.approx(3170.45003661, abs=5e-7)
    assert result.names[:2] == ("1: const", "1: x1")


def test_full_softmax_is_reported_as_contrasts_with_class_0() -> None:
    data = load("anes96")
    model = SoftmaxRegression(5, 7, dtype=F64)
    fit(model, data.X, data.y)
    result = infer(model, data.X, data.y)
    assert result.params == pytest.approx(inferred("anes96").params, rel=1e-9)
    assert result.bse == pytest.approx(inferred("anes96").bse, rel=1e-10)


def test_longley_f_and_r_squared_are_those_of_nist() -> None:
    result = certified("longley")
    assert result.rsquared == pytest.approx(0.995479004577296, rel=1e-13)
    assert result.fvalue == pytest.approx(330.285339234588, rel=1e-12)
    assert result.df_inference == 9


def test_norris_r_squared_is_that_of_nist() -> None:
    assert certified("norris").rsquared == pytest.approx(0.999993745883712, rel=1e-13)


def test_no_intercept_r_squared_is_about_zero() -> None:
    assert certified("noint1").rsquared == pytest.approx(0.999365492298663, rel=1e-13)
    assert certified("noint2").rsquared == pytest.approx(0.993348115299335, rel=1e-13)


def test_thresholds_are_the_last_parameters() -> None:
    result = inferred("ucla")
    table = result.thresholds()
    assert table.names == ("0/1", "1/2")
    assert table.values == pytest.approx([2.203323, 4.298767], abs=1e-6)
    assert lre(table.errors, ERRORS["ucla"][3:]) >= 10
    assert table.to_frame().shape == (2, 4)


def test_odds_ratios_are_exponentials() -> None:
    result = inferred("spector")
    table = result.odds_ratios(0.9)
    assert table.names == ("GPA", "TUCE", "PSI")
    assert table.values == pytest.approx(np.exp(result.params[1:]))
    assert table.lower == pytest.approx(np.exp(result.conf_int(0.9)[1:, 0]))
    assert table.errors == pytest.approx(table.values * result.bse[1:])


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_null_log_likelihood_is_that_of_a_fit_on_nothing(name: str) -> None:
    case = problem(name)
    model = case.model()
    fit(model, case.X, case.y)
    result = infer(model, case.X, case.y)
    nothing: Tensor = torch.zeros_like(case.X)
    bare = case.model()
    fit(bare, nothing, case.y)
    assert result.llnull == pytest.approx(bare.log_likelihood(nothing, case.y).item(), rel=1e-12)
    with_offset = infer_with_offset(case.model(), case.X, case.y, torch.zeros(len(case.y)))
    assert with_offset.llnull == pytest.approx(result.llnull, rel=1e-10)


def infer_with_offset(model: Model, X: Tensor, y: Tensor, known: Tensor) -> InferenceResult:
    fit(model, X, y, offset=known)
    return infer(model, X, y, offset=known)


def test_summary_has_the_layout_of_the_field_in_80_columns() -> None:
    for name in ("spector", "anes96", "ucla", "menarche"):
        text = inferred(name).summary()
        assert max(map(len, text.splitlines())) <= 80
    assert "thresholds" in inferred("ucla").summary()
    assert "class 6 against 0" in inferred("anes96").summary()
    assert "frequency" in inferred("menarche").summary()
    lines = inferred("spector").summary().splitlines()
    row = next(line for line in lines if line.startswith("GPA")).split()
    assert row == ["GPA", "2.8261", "1.2629", "2.238", "0.025", "0.3508", "5.3014"]


def test_names_in_html_are_escaped() -> None:
    data = load("spector")
    result = infer(fitted("spector"), data.X, data.y, feature_names=["<b>", "a&b", "c"])
    html = result._repr_html_()
    assert "<b>" not in html and "&lt;b&gt;" in html and "a&amp;b" in html


def test_frame_has_the_numbers_of_the_table() -> None:
    result = inferred("spector")
    frame = result.to_frame()
    assert list(frame.index) == list(result.names)
    assert list(frame.columns) == ["coef", "std err", "z", "P>|z|", "[0.025", "0.975]"]
    assert frame["std err"].to_numpy() == pytest.approx(result.bse)
    assert str(result) == result.summary() and "nobs=32" in repr(result)
