"""What standard errors must not depend on, and how they follow what they must."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from problems import CLASSIFIERS, MODELS, Problem, problem
from torchlogreg import (
    InferenceResult,
    LinearRegression,
    LogisticRegression,
    SoftmaxRegression,
    fit,
    infer,
)
from torchlogreg.inference.affine import AffineForm
from torchlogreg.inference.information import covariance_of

F64 = torch.float64
KINDS = ("classical", "HC0", "HC1", "HC2", "HC3", "cluster")
EVERY_MODEL = pytest.mark.parametrize("name", MODELS)
EVERY_KIND = pytest.mark.parametrize("kind", KINDS)


def inferred(case: Problem, X: Tensor, y: Tensor, **arguments: Any) -> InferenceResult:
    """Fit and infer; ``clusters`` are asked for with the kind only."""
    model = case.model()
    kept = {k: v for k, v in arguments.items() if k in ("sample_weight", "offset", "penalty")}
    fit(model, X, y, tol=1e-10, **kept)
    if arguments.get("covariance") != "cluster":
        arguments.pop("clusters", None)
    return infer(model, X, y, **arguments)


def groups(n: int) -> Tensor:
    return torch.arange(n) % 7


@EVERY_KIND
@EVERY_MODEL
def test_scaling_and_shifting_columns_changes_their_units_only(name: str, kind: str) -> None:
    case = problem(name)
    scale, shift = torch.tensor([1e3, 1e-4, 2.0]).double(), torch.tensor([5.0, -3e-2, 1e3]).double()
    plain = inferred(case, case.X, case.y, covariance=kind, clusters=groups(case.n))
    other = inferred(case, case.X * scale + shift, case.y, covariance=kind, clusters=groups(case.n))
    n_weights = plain.form.weight.numel()
    by_weight = plain.covariance.diagonal()[:n_weights].sqrt().view(-1, 3) / scale
    got = other.covariance.diagonal()[:n_weights].sqrt().view(-1, 3)
    torch.testing.assert_close(got, by_weight, rtol=1e-7, atol=0)
    assert other.llf == pytest.approx(plain.llf, rel=1e-10)
    assert other.llnull == pytest.approx(plain.llnull, rel=1e-12)


@EVERY_KIND
@EVERY_MODEL
def test_the_order_of_rows_is_irrelevant(name: str, kind: str) -> None:
    case = problem(name)
    order = torch.from_numpy(np.random.default_rng(1).permutation(case.n))
    plain = inferred(case, case.X, case.y, covariance=kind, clusters=groups(case.n))
    other = inferred(
        case, case.X[order], case.y[order], covariance=kind, clusters=groups(case.n)[order]
    )
    assert other.bse == pytest.approx(plain.bse, rel=1e-8)


@EVERY_KIND
@EVERY_MODEL
def test_a_frequency_is_a_repetition(name: str, kind: str) -> None:
    case = problem(name)
    counts = torch.from_numpy(np.random.default_rng(2).integers(0, 4, case.n))
    weighted = inferred(
        case, case.X, case.y, covariance=kind, clusters=groups(case.n),
        sample_weight=counts, weight_kind="frequency",
    )  # fmt: skip
    index = torch.repeat_interleave(torch.arange(case.n), counts)
    repeated = inferred(
        case, case.X[index], case.y[index], covariance=kind, clusters=groups(case.n)[index]
    )
    assert weighted.bse == pytest.approx(repeated.bse, rel=1e-8)
    assert weighted.nobs == repeated.nobs == float(counts.sum())
    for fact in ("llf", "llnull", "aic", "bic", "llr_pvalue", "df_resid"):
        assert getattr(weighted, fact) == pytest.approx(getattr(repeated, fact), rel=1e-9), fact


@EVERY_KIND
@EVERY_MODEL
def test_the_scale_of_importance_is_irrelevant_and_zero_removes(name: str, kind: str) -> None:
    case = problem(name)
    weights = torch.from_numpy(np.random.default_rng(3).exponential(size=case.n)) + 0.1
    weights[::5] = 0.0
    arguments = {"covariance": kind, "weight_kind": "importance"}
    plain = inferred(
        case, case.X, case.y, sample_weight=weights, clusters=groups(case.n), **arguments
    )
    keep = weights > 0
    other = inferred(
        case, case.X[keep], case.y[keep], sample_weight=weights[keep] * 1e6,
        clusters=groups(case.n)[keep], **arguments,
    )  # fmt: skip
    assert other.bse == pytest.approx(plain.bse, rel=1e-8)
    assert plain.nobs == pytest.approx(float(keep.sum()))


@EVERY_MODEL
def test_splitting_a_frequency_changes_nothing(name: str) -> None:
    case = problem(name)
    whole = torch.full((case.n,), 3.0).double()
    parts = torch.cat((whole - 1, torch.ones(case.n).double()))
    X, y = torch.cat((case.X, case.X)), torch.cat((case.y, case.y))
    for kind in ("classical", "HC0", "HC1", "HC2", "HC3"):
        arguments = {"covariance": kind, "weight_kind": "frequency"}
        once = inferred(case, case.X, case.y, sample_weight=whole, **arguments)
        split = inferred(case, X, y, sample_weight=parts, **arguments)
        assert split.bse == pytest.approx(once.bse, rel=1e-8)


@EVERY_MODEL
def test_rows_in_blocks_are_rows_at_once(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    case = problem(name)
    at_once = {
        kind: inferred(case, case.X, case.y, covariance=kind, clusters=groups(case.n))
        for kind in KINDS
    }
    for module in ("rows", "covariance", "optimum", "null"):
        monkeypatch.setattr(f"torchlogreg.inference.{module}.BLOCK", 40)
    for module in ("rows", "single"):
        monkeypatch.setattr(f"torchlogreg.inference.{module}.CACHED", 40)
    monkeypatch.setattr("torchlogreg.inference.covariance.MOST_SUMS", 10)
    for kind, whole in at_once.items():
        parts = infer(
            whole.form.model, case.X, case.y, covariance=kind,
            clusters=groups(case.n) if kind == "cluster" else None,
        )  # fmt: skip
        assert parts.bse == pytest.approx(whole.bse, rel=1e-11)
        assert parts.llf == pytest.approx(whole.llf, rel=1e-13)


def test_swapping_two_classes_turns_signs() -> None:
    case = problem("logistic")
    for kind in KINDS:
        arguments = {"covariance": kind, "clusters": groups(case.n)}
        plain = inferred(case, case.X, case.y, **arguments)
        swapped = inferred(case, case.X, 1 - case.y, **arguments)
        assert swapped.params == pytest.approx(-plain.params, rel=1e-9)
        assert swapped.cov_params() == pytest.approx(plain.cov_params(), rel=1e-8, abs=1e-14)


def test_reversing_levels_reverses_cutpoints() -> None:
    case = problem("ordinal_logit")
    for kind in KINDS:
        arguments = {"covariance": kind, "clusters": groups(case.n)}
        plain = inferred(case, case.X, case.y, **arguments)
        turned = inferred(case, case.X, 3 - case.y, **arguments)
        assert turned.bse[:3] == pytest.approx(plain.bse[:3], rel=1e-8)
        assert turned.bse[3:] == pytest.approx(plain.bse[:2:-1], rel=1e-8)


@EVERY_KIND
def test_the_reference_class_changes_contrasts_only(kind: str) -> None:
    case = problem("softmax_reference")
    renamed = torch.tensor([2, 1, 0])[case.y]  # the reference becomes the last class
    arguments = {"covariance": kind, "clusters": groups(case.n)}
    plain = inferred(case, case.X, case.y, **arguments)
    other = inferred(case, case.X, renamed, **arguments)
    size = len(plain.params) // 2
    contrast = np.zeros((2 * size, 2 * size))  # 1 - 2 and 0 - 2, from 1 - 0 and 2 - 0
    contrast[:size, :size], contrast[:size, size:] = np.eye(size), -np.eye(size)
    contrast[size:, size:] = -np.eye(size)
    assert other.params == pytest.approx(contrast @ plain.params, rel=1e-8, abs=1e-10)
    want = contrast @ plain.cov_params() @ contrast.T
    assert other.cov_params() == pytest.approx(want, rel=1e-7, abs=1e-12)


@EVERY_KIND
def test_logistic_softmax_and_ordinal_models_of_two_classes_agree(kind: str) -> None:
    case = problem("logistic")
    clusters = groups(case.n) if kind == "cluster" else None
    plain = inferred(case, case.X, case.y, covariance=kind, clusters=groups(case.n))
    for reference in (True, False):
        model = SoftmaxRegression(3, 2, reference=reference, dtype=F64)
        fit(model, case.X, case.y, tol=1e-10)
        other = infer(model, case.X, case.y, covariance=kind, clusters=clusters)
        assert other.bse == pytest.approx(plain.bse, rel=1e-8)


@pytest.mark.parametrize("name", CLASSIFIERS[1:])
def test_a_soft_target_of_certainty_is_a_label(name: str) -> None:
    case = problem(name)
    soft = torch.eye(case.model().n_classes or 0).double()[case.y]
    for kind in ("classical", "HC0", "HC3"):
        hard = inferred(case, case.X, case.y, covariance=kind)
        assert inferred(case, case.X, soft, covariance=kind).bse == pytest.approx(
            hard.bse, rel=1e-9
        )


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_soft_targets_are_weighted_copies(name: str) -> None:
    case = problem(name)
    K = case.model().n_classes or 0
    shares = torch.from_numpy(np.random.default_rng(4).dirichlet(np.ones(K), case.n))
    soft = shares[:, 1] if name == "logistic" else shares
    got = inferred(case, case.X, soft)
    X, y = case.X.repeat_interleave(K, 0), torch.arange(K).repeat(case.n)
    want = inferred(case, X, y, sample_weight=shares.flatten(), weight_kind="frequency")
    assert got.bse == pytest.approx(want.bse, rel=1e-8)
    assert got.llnull == pytest.approx(want.llnull, rel=1e-9)


@settings(max_examples=10)
@given(st.integers(0, 100), st.sampled_from(["logistic", "linear", "ordinal_logit"]))
def test_digits_survive_a_large_mean(seed: int, name: str) -> None:
    case = problem(name, seed=seed)
    moved = case.X + 1e6  # one ulp of the shifted column is 1e-10: that many digits are in it
    model = case.model()
    fit(model, moved - 1e6, case.y, tol=1e-10)
    want = infer(model, moved - 1e6, case.y).bse
    model.shift_(-1e6 * model.weight.detach().sum(1))
    got = infer(model, moved, case.y).bse
    part = slice(0, 3) if name == "ordinal_logit" else slice(1, 4)
    assert got[part] == pytest.approx(want[part], rel=1e-8)


@EVERY_MODEL
def test_qr_of_rows_and_squares_agree(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    case = problem(name)
    whole = inferred(case, case.X, case.y)
    monkeypatch.setattr("torchlogreg.inference.information.SQUARED_IS_FINE", 2.0)
    found = covariance_of(whole.form, whole.data)
    torch.testing.assert_close(found, whole.covariance, rtol=1e-11, atol=1e-13)


def test_collinear_columns_keep_their_digits() -> None:
    # y and columns as of a polynomial: condition number 1e6 after centring, 1e12 when squared.
    x = torch.linspace(1, 2, 200, dtype=F64)
    X = torch.stack([x**power for power in range(1, 5)], dim=1)
    y = (torch.sin(40 * x) > -0.3).double()
    model = LogisticRegression(4, dtype=F64)
    fit(model, X, y, tol=1e-9)
    V = covariance_of(AffineForm.of(model), infer(model, X, y).data)
    L = torch.stack([x - 1.5, (x - 1.5) ** 2, (x - 1.5) ** 3, (x - 1.5) ** 4], dim=1)
    eta = model(X).detach()
    D = torch.cat((L, torch.ones(200, 1).double()), dim=1)
    p = torch.sigmoid(eta)
    I = D.T @ (p * (1 - p) * D)  # noqa: E741  # the information about x = 1.5, well conditioned
    want = torch.linalg.inv(I)[3, 3]  # the highest power is the same in both
    torch.testing.assert_close(V[3, 3], want, rtol=1e-6, atol=0)


@pytest.mark.parametrize("scale", [1e-140, 1e140])
def test_extreme_units_neither_overflow_nor_vanish(scale: float) -> None:
    case = problem("logistic")
    model = case.model()
    fit(model, case.X, case.y, tol=1e-10)
    want = infer(model, case.X, case.y).bse
    with torch.no_grad():
        model.weight[0, 0] /= scale
    units = torch.tensor([scale, 1, 1], dtype=F64)
    got = infer(model, case.X * units, case.y).bse
    assert got * np.array([1, scale, 1, 1]) == pytest.approx(want, rel=1e-9)


def test_float32_models_are_inferred_in_float64() -> None:
    case = problem("logistic")
    model = LogisticRegression(3)
    fit(model, case.X, case.y)
    got = infer(model, case.X, case.y)
    assert got.covariance.dtype == F64
    assert got.bse == pytest.approx(inferred(case, case.X, case.y).bse, rel=1e-4)


def test_infer_changes_neither_model_nor_global_state() -> None:
    case = problem("linear")
    model = LinearRegression(3, dtype=F64)
    fit(model, case.X, case.y)
    before = model.weight.detach().clone()
    infer(model, case.X, case.y, covariance="HC3")
    assert torch.equal(model.weight, before) and torch.is_grad_enabled()
