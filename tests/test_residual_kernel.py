"""Residuals in doubled precision by the compiled kernel: exact sums, rounded beyond float64."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import torch
from torch import Tensor

from torchlogreg import LinearRegression, fit, kernels, response
from torchlogreg.design import Design
from torchlogreg.double_double import DoubleDouble
from torchlogreg.optim import refinement
from torchlogreg.optim.normal_equations import DIGITS
from torchlogreg.response import Response

pytest.importorskip("numba")

pytestmark = [
    pytest.mark.usefixtures("small_kernels"),
    pytest.mark.skipif(
        not kernels.residual_available(torch.ones(2**20, 1, dtype=torch.float64)),
        reason="the processor has no fused products",
    ),
]


def doubled(*shape: int, source: torch.Generator) -> DoubleDouble:
    """Random numbers of 32 digits."""
    high = torch.randn(*shape, generator=source, dtype=torch.float64)
    return DoubleDouble(high, 1e-17 * torch.randn(*shape, generator=source, dtype=torch.float64))


def exact(x: DoubleDouble) -> list[Fraction]:
    """Without rounding."""
    parts = zip(x.high.flatten().tolist(), x.low.flatten().tolist(), strict=True)
    return [Fraction(a) + Fraction(b) for a, b in parts]


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("p", [1, 3, 4, 7, 8, 9, 16, 33])
def test_sums_have_thirty_digits_of_what_is_summed(p: int, weighted: bool) -> None:
    source = torch.Generator().manual_seed(p)
    n = 40
    X = torch.randn(n, p, generator=source, dtype=torch.float64)
    y, weight, bias = (doubled(m, source=source) for m in (n, p, 1))
    s = torch.rand(n, generator=source, dtype=torch.float64) if weighted else None
    pulled, total = kernels.residual_sums(X, y, s, weight, bias[0])
    rows = [[Fraction(x) for x in row] for row in X.tolist()]
    w, b = exact(weight), exact(bias)[0]
    by = [Fraction(1)] * n if s is None else [Fraction(x) for x in s.tolist()]
    r = [
        share * (goal - sum(x * c for x, c in zip(row, w, strict=True)) - b)
        for share, goal, row in zip(by, exact(y), rows, strict=True)
    ]
    for j in range(p):
        terms = [own * row[j] for own, row in zip(r, rows, strict=True)]
        off = abs(exact(pulled)[j] - sum(terms)) / sum(map(abs, terms))
        assert off < 1e-30
    assert abs(exact(total)[0] - sum(r)) / sum(map(abs, r)) < 1e-30


def test_rows_without_weight_may_hold_anything() -> None:
    source = torch.Generator().manual_seed(1)
    X, y = torch.randn(50, 5, generator=source, dtype=torch.float64), doubled(50, source=source)
    s = torch.ones(50, dtype=torch.float64)
    s[::3] = 0
    weight = doubled(5, source=source)
    want = kernels.residual_sums(X[s > 0], y[s > 0], None, weight, y[0])
    X[::3] = torch.tensor([1e300, torch.inf, torch.nan, -1e300, 0.0])
    found = kernels.residual_sums(X, y, s, weight, y[0])
    for a, b in zip(found, want, strict=True):
        torch.testing.assert_close(a.high, b.high, rtol=1e-15, atol=0)


def test_threads_change_no_bit() -> None:
    source = torch.Generator().manual_seed(2)
    X, y = torch.randn(3000, 7, generator=source, dtype=torch.float64), doubled(3000, source=source)
    weight, before = doubled(7, source=source), torch.get_num_threads()
    try:
        found = []
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            pulled, _ = kernels.residual_sums(X, y, None, weight, y[0])
            found.append(pulled)
    finally:
        torch.set_num_threads(before)
    for other in found[1:]:
        assert torch.equal(found[0].high, other.high) and torch.equal(found[0].low, other.low)


def designs(case: str) -> tuple[Design, Response, DoubleDouble, Design]:
    """A design, what is to be explained, coefficients, and the columns that they are for."""
    source = torch.Generator().manual_seed(3)
    wide = torch.randn(900, 9, generator=source, dtype=torch.float64)
    X = wide[:, 1:8] if case == "strided" else wide.contiguous()
    X = X * torch.logspace(-30, 30, X.shape[1], dtype=torch.float64) if case == "units" else X
    y = torch.randn(900, generator=source, dtype=torch.float64) * 1e9
    s = torch.rand(900, generator=source, dtype=torch.float64)
    s[::4] = 0
    offset = torch.randn(900, generator=source, dtype=torch.float64) if case == "offset" else None
    whole = Design(X, None if case == "plain" else s, bias=case != "no bias", ridge=0.5)
    response = Response.of(whole, y, offset)
    part = whole
    if case in ("some", "column"):
        kept = torch.tensor([0, 2, 5, 9])
        part = whole.select(kept)
        others = whole.select(torch.tensor([1, 3, 4, 6, 7, 8]))
        response = response.less(others, doubled(6, source=source))
    if case == "column":
        response = Response.column(whole, 3)
    return whole, response, doubled(part.shape[1], source=source), part


CASES = ("plain", "weighted", "no bias", "strided", "units", "offset", "some", "column")


@pytest.mark.parametrize("case", CASES)
def test_it_is_what_torch_computes_block_by_block(
    case: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, y, z, part = designs(case)
    assert y.quick
    monkeypatch.setattr(response, "STRIP", 1000)
    monkeypatch.setattr(response, "ROWS", 100)
    found = y.gradient(part, z)
    monkeypatch.setenv("TORCHLOGREG_KERNELS", "off")
    assert not y.quick
    want = y.gradient(part, z)
    difference = (found - want).value.abs()
    assert float((difference / want.high.abs().max()).max()) < 1e-28


def test_columns_in_units_that_no_product_survives_are_left_to_torch() -> None:
    X = torch.randn(50, 3, dtype=torch.float64) * torch.tensor(
        [1.0, 1e-150, 1.0], dtype=torch.float64
    )
    y = Response.of(Design(X), X[:, 0])
    assert not y.quick
    assert not Response.of(Design(X.float()), X[:, 0]).quick


def near(n: int, p: int, gap: float) -> tuple[Tensor, Tensor, Tensor]:
    """Columns of whole numbers, of which one nearly follows from others; whole coefficients."""
    source = np.random.default_rng(0)
    X = source.integers(-500, 500, (n, p)).astype(float)
    X[:, 3] = X[:, 0] - X[:, 1] + gap * source.integers(-500, 500, n)
    beta = source.integers(-9, 9, p).astype(float)
    return torch.from_numpy(X), torch.from_numpy(beta), torch.from_numpy(X @ beta + 7)


@pytest.mark.parametrize("gap", [1.0, 2.0**-12, 2.0**-20, 2.0**-28])
def test_nearly_dependent_columns_keep_their_digits(gap: float) -> None:
    X, beta, y = near(60_000, 6, gap)  # y is exact, so that beta is the solution
    model = LinearRegression(6, dtype=torch.float64)
    result = fit(model, X, y)
    assert result.converged and result.optimizer == "LeastSquares"
    torch.testing.assert_close(model.weight[0], beta, rtol=1e-14, atol=1e-14)
    torch.testing.assert_close(model.bias, torch.full_like(model.bias, 7.0), rtol=1e-13, atol=0)


def test_the_triangle_of_sums_is_that_of_the_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    X, beta, y = near(60_000, 6, 2.0**-18)
    asked: list[int] = []
    own = Design.triangle

    def counted(design: Design) -> Tensor:
        asked.append(1)
        return own(design)

    monkeypatch.setattr(Design, "triangle", counted)
    for shift in (0.0, 4000.0):  # far columns are moved
        model = LinearRegression(6, dtype=torch.float64)
        fit(model, X + shift, y + shift * beta.sum())
        torch.testing.assert_close(model.weight[0], beta, rtol=1e-14, atol=1e-14)
    assert not asked
    X, beta, y = near(60_000, 6, 2.0**-30)  # below DIGITS: a QR it is
    model = LinearRegression(6, dtype=torch.float64)
    fit(model, X, y)
    assert asked and 2.0**-60 < DIGITS
    torch.testing.assert_close(model.weight[0], beta, rtol=1e-14, atol=1e-14)


def test_more_entries_than_torch_is_given_are_refined(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refinement, "DOUBLED", 0)
    X, beta, y = near(60_000, 6, 2.0**-20)
    model = LinearRegression(6, dtype=torch.float64)
    assert fit(model, X, y).converged
    torch.testing.assert_close(model.weight[0], beta, rtol=1e-14, atol=1e-14)
