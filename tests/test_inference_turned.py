"""The information in the basis of a sample: the same errors, to the digits of squaring twice."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from torchlogreg import LogisticRegression, fit, infer
from torchlogreg.data import Batch
from torchlogreg.inference.affine import AffineForm
from torchlogreg.inference.rows import Problem
from torchlogreg.inference.turned import ROWS, Turned, turned

pytest.importorskip("numba")

from torchlogreg.kernels.interface import SMALLEST
from torchlogreg.kernels.turning import turned_sums

F64 = torch.float64


@pytest.fixture(autouse=True)
def kernels_for_all() -> object:
    token = SMALLEST.set(0)
    yield
    SMALLEST.reset(token)


@pytest.mark.parametrize("n", [1, 7, 300, 70_001])
@pytest.mark.parametrize("p", [1, 8, 20, 63])
def test_one_read_gives_what_torch_gives(n: int, p: int) -> None:
    source = torch.Generator().manual_seed(n + p)
    X, offset = (torch.randn(n, k, generator=source, dtype=F64) for k in (p, 1))
    weight = torch.rand(n, generator=source, dtype=F64) * (torch.arange(n) % 5 > 0)
    y = (torch.rand(n, generator=source) < 0.5).to(F64)
    T, shift = torch.randn(p, p + 1, generator=source, dtype=F64), torch.ones(p + 1, dtype=F64)
    w, b = 0.3 * torch.randn(1, p, generator=source, dtype=F64), torch.tensor([0.2], dtype=F64)
    known = {"sample_weight": weight, "weight": w, "intercepts": b, "offset": offset}
    found = turned_sums(X, y, T, shift, **known)
    eta = X @ w[0] + offset[:, 0] + b
    bend = weight * torch.sigmoid(eta) * torch.sigmoid(-eta)
    Y, slopes = X @ T + shift, weight * (torch.sigmoid(eta) - y)
    losses = torch.nn.functional.binary_cross_entropy_with_logits(eta, y, reduction="none")
    near = {"rtol": 1e-10, "atol": 1e-10 * n}
    torch.testing.assert_close(found.curvature, Y.T @ (Y * bend[:, None]), **near)
    torch.testing.assert_close(found.value, losses @ weight, rtol=1e-12, atol=0)
    torch.testing.assert_close(found.by_weight, slopes @ X, **near)
    torch.testing.assert_close(found.by_intercept, slopes.sum(), **near)
    counted = bend[weight > 0]
    assert found.least == pytest.approx(float(counted.min()) if len(counted) else np.inf, rel=1e-12)
    assert found.longest == pytest.approx(float(Y.norm(dim=1).max()), rel=1e-12)


def rows(kind: str, n: int = 6_000, p: int = 5) -> tuple[Tensor, Tensor]:
    """Columns that squares lose digits of, and labels."""
    source = torch.Generator().manual_seed(len(kind))
    X = torch.randn(n, p, generator=source, dtype=F64)
    X[:, 1] = X[:, 0] + {"collinear": 1e-2, "nearly collinear": 1e-4}.get(kind, 2e-2) * X[:, 1]
    if kind == "sorted":
        X = X[X[:, 2].argsort()]
    if kind == "a rare indicator":
        X[:, 3] = (torch.arange(n) % 600 == 7).to(F64)
    if kind == "a sample that misleads":  # rows that it leaves out tie two columns together
        step = n // (ROWS * (p + 1))
        far = 1e3 * torch.randn(len(X[1::step]), generator=source, dtype=F64)
        X[1::step, 3], X[1::step, 4] = far, far + X[1::step, 4]
    y = (torch.rand(n, generator=source, dtype=F64) < torch.sigmoid(X[:, 2] - 0.5)).to(F64)
    return X, y


KINDS = {
    "collinear": True,
    "nearly collinear": True,
    "sorted": True,
    "a rare indicator": None,
    "a sample that misleads": None,
}


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_errors_are_those_of_the_rows_squared_twice(
    kind: str, bias: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    X, y = rows(kind)
    model = LogisticRegression(5, bias=bias, dtype=F64)
    fit(model, X, y)
    here = infer(model, X, y)
    problem = Problem.of(AffineForm.of(model), Batch(X, y, torch.ones_like(y)))
    found = turned(problem)
    if KINDS[kind]:
        assert isinstance(found, Turned) and found.root() is not None
    monkeypatch.setenv("TORCHLOGREG_KERNELS", "off")
    there = infer(model, X, y)
    np.testing.assert_allclose(here.bse, there.bse, rtol=1e-11)
    np.testing.assert_allclose(here.llf, there.llf, rtol=1e-12)
    np.testing.assert_allclose(here.distance, there.distance, atol=1e-6)


def test_a_sample_that_misleads_is_found_out() -> None:
    X, y = rows("a sample that misleads")
    model = LogisticRegression(5, dtype=F64)
    fit(model, X, y)
    problem = Problem.of(AffineForm.of(model), Batch(X, y, torch.ones_like(y)))
    found = turned(problem)
    assert found is not None and found.root() is None  # the rows are squared twice
    weight, b = (p.detach() for p in (model.weight, model.bias))
    Z = torch.cat((X, torch.ones(len(X), 1, dtype=F64)), 1)
    eta = X @ weight[0] + b
    exact = Z.T @ (Z * (torch.sigmoid(eta) * torch.sigmoid(-eta))[:, None])
    back = torch.linalg.inv(problem.basis.back)
    torch.testing.assert_close(back.T @ found.matrix @ back, exact, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("kind", ["few rows", "columns far from zero", "nothing in common"])
def test_other_rows_go_the_other_way(kind: str) -> None:
    X, y = rows("collinear", 500 if kind == "few rows" else 6_000)
    X = X + 1e3 if kind == "columns far from zero" else X
    X = X[:, 2:].contiguous() if kind == "nothing in common" else X
    model = LogisticRegression(X.shape[1], dtype=F64)
    problem = Problem.of(AffineForm.of(model), Batch(X, y, torch.ones_like(y)))
    assert problem.R.shape == (1, 1)
    if kind != "columns far from zero":
        assert turned(problem) is None
    fit(model, X, y)
    Z = torch.cat((torch.ones(len(X), 1, dtype=F64), X - X.mean(0)), 1)
    eta = (X @ model.weight[0] + model.bias).detach()
    bend = torch.sigmoid(eta) * torch.sigmoid(-eta)
    errors = torch.linalg.inv(Z.T @ (Z * bend[:, None])).diagonal().sqrt()
    np.testing.assert_allclose(infer(model, X, y).bse[1:], errors[1:], rtol=1e-9)


def test_no_row_moves_further_than_the_longest_row_allows() -> None:
    X, y = rows("collinear")
    model = LogisticRegression(X.shape[1], dtype=F64)
    fit(model, X, y)
    form = AffineForm.of(model)
    problem = Problem.of(form, Batch(X, y, torch.ones_like(y)))
    known = turned(problem)
    assert known is not None
    for seed in range(20):
        step = torch.randn(len(known.T), generator=torch.Generator().manual_seed(seed), dtype=F64)
        moved = float(form.at(problem.basis.back @ step).eta(X).abs().max())
        assert moved <= known.furthest(step)


@pytest.mark.parametrize("m", range(1, 18))
def test_single_precision_fills_its_wider_registers(m: int) -> None:
    """Sixteen numbers where double precision has eight: what lies behind a matrix stays."""
    source = torch.Generator().manual_seed(m)
    X, T = (torch.randn(k, 5 if k > 5 else m, generator=source) for k in (1000, 5))
    y, ones, shift = torch.ones(1000), torch.ones(1000), torch.randn(m, generator=source)
    at = {"sample_weight": ones, "weight": torch.zeros(1, 5), "intercepts": torch.zeros(1)}
    found = turned_sums(X, y, T, shift, **at)
    Y = (X @ T + shift).double()
    torch.testing.assert_close(found.curvature, Y.T @ Y / 4, rtol=1e-4, atol=1e-2)
    assert found.longest == pytest.approx(float(Y.norm(dim=1).max()), rel=1e-5)
