"""Slopes of the binary loss in doubled precision by the compiled kernel: thirty digits."""

from __future__ import annotations

import pytest
import torch
from mpmath import mp, mpf

from torchlogreg import L2, Batch, LogisticRegression, kernels
from torchlogreg.double_double import DoubleDouble
from torchlogreg.optim.doubled_sums import Columns, Precise

pytest.importorskip("numba")

F64 = torch.float64

pytestmark = [
    pytest.mark.usefixtures("small_kernels"),
    pytest.mark.skipif(
        not kernels.residual_available(torch.ones(2**20, 1, dtype=F64)),
        reason="the processor has no fused products",
    ),
]


def exact(x: DoubleDouble) -> list[mpf]:
    """As numbers of many digits."""
    parts = zip(x.high.flatten().tolist(), x.low.flatten().tolist(), strict=True)
    return [mpf(a) + mpf(b) for a, b in parts]


def doubled(*shape: int, source: torch.Generator, size: float = 1.0) -> DoubleDouble:
    """Random numbers of 32 digits."""
    high = size * torch.randn(*shape, generator=source, dtype=F64)
    return DoubleDouble(high, 1e-17 * high.roll(1, 0))


@pytest.mark.parametrize("n", [1, 40, 256, 300])
@pytest.mark.parametrize("p", [1, 4, 7, 8, 17])
@pytest.mark.parametrize("size", [0.0, 1.0, 30.0])
def test_sums_have_thirty_digits_of_what_is_summed(n: int, p: int, size: float) -> None:
    # Scores of up to 200 at the last size: probabilities of 1e-90 beside those of one.
    source = torch.Generator().manual_seed(100 * n + p)
    X = torch.randn(n, p, generator=source, dtype=F64)
    y = (torch.rand(n, generator=source, dtype=F64) < 0.4).to(F64)
    s, offset = torch.rand(2, n, generator=source, dtype=F64)
    s[::5] = 0.0
    weight, bias = doubled(p, source=source, size=size), doubled(1, source=source)
    pulled, total, eta = kernels.logit_sums(X, y, s, offset, weight, bias[0])
    with mp.workdps(60):
        w, (b,) = exact(weight), exact(bias)
        rows = [[mpf(x) for x in row] for row in X.tolist()]
        at = [
            sum(x * c for x, c in zip(row, w, strict=True)) + b + mpf(o)
            for row, o in zip(rows, offset.tolist(), strict=True)
        ]
        q = [
            mpf(k) * (1 / (1 + mp.exp(-t)) - mpf(goal))
            for k, t, goal in zip(s.tolist(), at, y.tolist(), strict=True)
        ]
        for j in range(p):
            terms = [own * row[j] for own, row in zip(q, rows, strict=True)]
            scale = sum(map(abs, terms)) + mpf(10) ** -300
            assert abs(exact(pulled)[j] - sum(terms)) / scale < 1e-28
        assert abs(exact(total)[0] - sum(q)) / (sum(map(abs, q)) + mpf(10) ** -300) < 1e-28
        for found, t, k in zip(eta.tolist(), at, s.tolist(), strict=True):
            assert found == pytest.approx(float(t) if k else 0.0, rel=1e-14, abs=1e-14)


@pytest.mark.parametrize("value", [torch.inf, torch.nan, 1e308])
def test_rows_without_weight_may_hold_anything(value: float) -> None:
    source = torch.Generator().manual_seed(1)
    X = torch.randn(50, 5, generator=source, dtype=F64)
    y, s = (X[:, 0] > 0).to(F64), torch.ones(50, dtype=F64)
    s[::3] = 0.0
    weight, bias = doubled(5, source=source), doubled(1, source=source)
    kept = s > 0
    want = kernels.logit_sums(X[kept], y[kept], s[kept], None, weight, bias[0])
    X[::3] = value
    found = kernels.logit_sums(X, y, s, None, weight, bias[0])
    for a, b in zip(found[:2], want[:2], strict=True):
        assert torch.allclose(a.high, b.high, rtol=1e-15, atol=0)


@pytest.mark.parametrize("far", [599.0, 601.0, 1e4, 1e308])
def test_scores_without_end_give_certain_slopes(far: float) -> None:
    X, y = torch.tensor([[far], [-far]], dtype=F64), torch.tensor([0.0, 0.0], dtype=F64)
    one = DoubleDouble.of(torch.ones(1, dtype=F64))
    _, total, _ = kernels.logit_sums(X, y, torch.ones(2, dtype=F64), None, one, None)
    assert float(total.high) == 1.0


def test_nan_is_no_number() -> None:
    X = torch.tensor([[1.0], [torch.nan]], dtype=F64)
    one = DoubleDouble.of(torch.ones(1, dtype=F64))
    ones = X[:1, 0].expand(2)
    pulled, total, _ = kernels.logit_sums(X, ones, ones, None, one, None)
    assert torch.isnan(pulled.high).all() and torch.isnan(total.high).all()


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("offset", [False, True])
def test_sums_of_a_model_are_those_of_torch(bias: bool, offset: bool) -> None:
    source = torch.Generator().manual_seed(3)
    X = torch.randn(90, 6, generator=source, dtype=F64)
    y = (torch.rand(90, generator=source, dtype=F64) < 0.4).to(F64)
    weight = 0.5 + torch.rand(90, generator=source, dtype=F64)
    known = torch.randn(90, 1, generator=source, dtype=F64) if offset else None
    model = LogisticRegression(6, bias=bias, dtype=F64)
    with torch.no_grad():
        model.weight.normal_(generator=source)
    batch, found = Batch(X, y, weight, known), []
    for least in (0, 2**40):
        kernels.SMALLEST.set(least)
        at = Precise.of(model, L2(0.3))
        columns = Columns.of(X, centre=at.has_intercept)
        gradient, triangle = at.sums(batch, columns, roots=True)
        assert triangle is not None and at.sums(batch, columns, roots=False)[1] is None
        found.append((gradient, triangle.T @ triangle))
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-13, atol=1e-13)
