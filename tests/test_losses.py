"""Losses: exact and finite at any eta, convex, and the same for a label and its one-hot row."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

import exact
from torchlogreg import losses
from torchlogreg.losses import Loss, curvatures, slopes

F64 = torch.float64
SIZES = (0.0, 1e-8, 1e-3, 0.5, 1.0, 5.0, 20.0, 37.0, 40.0, 100.0, 690.0, 1e4)
ETAS = sorted({sign * size for size in SIZES for sign in (-1.0, 1.0)})
CUMULATIVE: dict[str, Loss] = {
    "logit": losses.cumulative_nll,
    "probit": losses.cumulative_probit_nll,
    "cloglog": losses.cumulative_cloglog_nll,
}
# Conditioning, not sloppiness: Phi's tail turns a rounding of x into x^2 of them, exp(-e^t) into
# e^t of them, so the losses of 1e-300 have fewer digits than those of 1e-3.
TOLERANCE = {"logit": 1e-15, "probit": 2e-13, "cloglog": 1e-14}
CASES: dict[str, tuple[Loss, int, int]] = {  # loss, columns of eta, classes
    "binary": (losses.binary_nll, 1, 2),
    "categorical": (losses.categorical_nll, 3, 3),
    **{link: (loss, 3, 4) for link, loss in CUMULATIVE.items()},
}
each_case = pytest.mark.parametrize("case", CASES)


def assert_digits(got: float, want: float, tolerance: float) -> None:
    """Relative agreement, down to where float64 ends."""
    assert got == pytest.approx(want, rel=tolerance, abs=1e-300)


def ordered_rows(k: int, etas: list[float] = ETAS, dtype: torch.dtype = F64) -> Tensor:
    """Increasing rows of eta (n, k) over all combinations of the table."""
    return torch.tensor(list(itertools.combinations(etas, k)), dtype=dtype)


def targets(case: str, n: int, dtype: torch.dtype = F64) -> Iterator[Tensor]:
    """Every label for all rows, then a soft target."""
    _, _, n_classes = CASES[case]
    for label in range(n_classes):
        hard = torch.full((n,), label)
        yield hard.to(dtype) if case == "binary" else hard
    if case == "binary":
        yield torch.full((n,), 0.25, dtype=dtype)
    else:
        weights = torch.arange(1.0, n_classes + 1, dtype=dtype)
        yield (weights / weights.sum()).expand(n, -1)


@pytest.mark.parametrize("y", [0.0, 1.0, 0.3])
def test_binary_nll_is_exact_at_any_eta(y: float) -> None:
    got = losses.binary_nll(torch.tensor(ETAS, dtype=F64)[:, None], torch.full((len(ETAS),), y))
    for eta, value in zip(ETAS, got.tolist(), strict=True):
        y_seen = torch.tensor(y).item()  # 0.3 as float32 holds it
        assert_digits(value, float(exact.binary(eta, y_seen)), 1e-15)


@pytest.mark.parametrize("y", [0, 1, 2])
def test_categorical_nll_is_exact_at_any_eta(y: int) -> None:
    rows = [(a, b, 0.0) for a in ETAS for b in ETAS]
    got = losses.categorical_nll(torch.tensor(rows, dtype=F64), torch.full((len(rows),), y))
    for row, value in zip(rows, got.tolist(), strict=True):
        assert_digits(value, float(exact.categorical(row, y)), 1e-14)


@pytest.mark.parametrize("link", CUMULATIVE)
def test_outer_levels_are_exact_at_any_eta(link: str) -> None:
    # exp(1e4) is no float64: past the range cloglog goes on along a tangent, tested below
    etas = [eta for eta in ETAS if link != "cloglog" or eta <= 690]
    eta = torch.tensor(etas, dtype=F64)[:, None]
    first = CUMULATIVE[link](eta, torch.zeros(len(etas), dtype=torch.long)).tolist()
    last = CUMULATIVE[link](eta, torch.ones(len(etas), dtype=torch.long)).tolist()
    for t, low, high in zip(etas, first, last, strict=True):
        assert_digits(low, float(exact.cumulative(link, -exact.INF, t)), TOLERANCE[link])
        assert_digits(high, float(exact.cumulative(link, t, exact.INF)), TOLERANCE[link])


@pytest.mark.parametrize("link", CUMULATIVE)
def test_inner_levels_are_exact_at_any_eta(link: str) -> None:
    pairs = [
        (lower, upper)
        for lower, upper in itertools.combinations(ETAS, 2)
        if (link != "cloglog" or upper <= 690) and (link != "probit" or upper - lower > 1e-4)
    ]
    got = CUMULATIVE[link](
        torch.tensor(pairs, dtype=F64), torch.ones(len(pairs), dtype=torch.long)
    ).tolist()
    for (lower, upper), value in zip(pairs, got, strict=True):
        assert_digits(value, float(exact.cumulative(link, lower, upper)), TOLERANCE[link])


@pytest.mark.parametrize("link", CUMULATIVE)
@pytest.mark.parametrize("middle", [-30.0, -3.0, 0.0, 3.0])
def test_narrow_levels_keep_eight_digits(link: str, middle: float) -> None:
    upper = middle + 1e-8
    got = CUMULATIVE[link](torch.tensor([[middle, upper]], dtype=F64), torch.tensor([1])).item()
    assert_digits(got, float(exact.cumulative(link, middle, upper)), 1e-8)


def test_cloglog_loss_past_the_range_of_exp_is_finite_and_increasing() -> None:
    eta = torch.tensor([[690.0], [705.0], [800.0], [1e4]], dtype=F64)
    loss = losses.cumulative_cloglog_nll(eta, torch.ones(4, dtype=torch.long))
    assert bool(torch.isfinite(loss).all())
    assert bool((loss.diff() > 0).all())


@each_case
def test_derivatives_are_finite_at_any_eta(case: str) -> None:
    loss, k, _ = CASES[case]
    eta = ordered_rows(k)
    for y in targets(case, len(eta)):
        assert bool(torch.isfinite(loss(eta, y)).all())
        assert bool(torch.isfinite(slopes(loss, eta, y)).all())
        assert bool(torch.isfinite(curvatures(loss, eta, y)).all())


@each_case
@pytest.mark.parametrize("gap", [0.0, 1e-300, 1e-20, 1e-12, 1e-4])
def test_derivatives_are_finite_where_cutpoints_almost_meet(case: str, gap: float) -> None:
    loss, k, _ = CASES[case]
    eta = torch.tensor([[t + j * gap for j in range(k)] for t in ETAS if abs(t) <= 690], dtype=F64)
    for y in targets(case, len(eta)):
        assert bool(torch.isfinite(loss(eta, y)).all())
        assert bool(torch.isfinite(slopes(loss, eta, y)).all())
        assert bool(torch.isfinite(curvatures(loss, eta, y)).all())


@each_case
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_narrow_dtypes_stay_finite(case: str, dtype: torch.dtype) -> None:
    loss, k, _ = CASES[case]
    # the true losses, eta^2 / 2 and exp(eta), must fit into float16 (65504) for it to hold them
    limit = {"probit": 300.0, "cloglog": 9.0}.get(case, 1e4) if dtype == torch.float16 else 1e4
    eta = ordered_rows(k, [t for t in ETAS if abs(t) <= limit and abs(t) != 1e-8], dtype)
    for y in targets(case, len(eta), dtype):
        got = loss(eta, y)
        assert got.dtype == dtype
        assert bool(torch.isfinite(got).all())
        assert bool(torch.isfinite(slopes(loss, eta, y)).all())


@each_case
def test_hard_label_equals_its_one_hot_row(case: str) -> None:
    loss, k, n_classes = CASES[case]
    eta = ordered_rows(k, [t for t in ETAS if abs(t) <= 100])
    for label in range(n_classes):
        hard = torch.full((len(eta),), label)
        soft = torch.nn.functional.one_hot(hard, n_classes).to(F64)
        if case == "binary":  # the soft form of a coin is its probability; compare with softmax
            pair = torch.cat((torch.zeros_like(eta), eta), dim=1)
            torch.testing.assert_close(
                loss(eta, hard.to(F64)), losses.categorical_nll(pair, soft), rtol=1e-14, atol=0
            )
        else:
            assert torch.equal(loss(eta, hard), loss(eta, soft))


@each_case
def test_soft_loss_is_the_mean_of_the_hard_ones(case: str) -> None:
    loss, k, n_classes = CASES[case]
    eta = ordered_rows(k, [t for t in ETAS if abs(t) <= 100])
    *hard, soft = targets(case, len(eta))
    share = torch.stack((1 - soft, soft), dim=1) if case == "binary" else soft
    expected = sum(share[:, j] * loss(eta, hard[j]) for j in range(n_classes))
    torch.testing.assert_close(loss(eta, soft), expected, rtol=1e-13, atol=0)


@each_case
@given(data=st.data())
def test_curvatures_are_positive_semidefinite(case: str, data: st.DataObject) -> None:
    loss, k, _ = CASES[case]
    numbers = st.lists(st.floats(-200, 200, width=32), min_size=k, max_size=k)
    eta = torch.tensor([sorted(data.draw(numbers))], dtype=F64)
    for y in targets(case, 1):
        matrix = curvatures(loss, eta, y)[0]
        assert torch.equal(matrix, matrix.T) or torch.allclose(matrix, matrix.T, rtol=1e-9)
        smallest = torch.linalg.eigvalsh(matrix)[0]
        assert smallest >= -1e-9 * matrix.abs().max()


@each_case
@given(data=st.data())
def test_losses_are_not_negative(case: str, data: st.DataObject) -> None:
    loss, k, _ = CASES[case]
    numbers = st.lists(st.floats(-1e4, 1e4), min_size=k, max_size=k, unique=True)
    eta = torch.tensor([sorted(data.draw(numbers))], dtype=F64)
    for y in targets(case, 1):
        assert loss(eta, y).item() >= 0


@given(shift=st.floats(-1e3, 1e3), row=st.lists(st.floats(-20, 20), min_size=3, max_size=3))
def test_categorical_nll_ignores_a_common_shift(shift: float, row: list[float]) -> None:
    eta = torch.tensor([row], dtype=F64)
    for y in targets("categorical", 1):
        torch.testing.assert_close(
            losses.categorical_nll(eta + shift, y),
            losses.categorical_nll(eta, y),
            rtol=1e-11,
            atol=1e-11,
        )


def test_squared_error_has_slope_2_residual_and_curvature_2() -> None:
    eta, y = torch.tensor([[3.0], [-1.0]], dtype=F64), torch.tensor([1.0, 1.0], dtype=F64)
    assert losses.squared_error(eta, y).tolist() == [4.0, 4.0]
    assert slopes(losses.squared_error, eta, y).tolist() == [[4.0], [-4.0]]
    assert curvatures(losses.squared_error, eta, y).tolist() == [[[2.0]], [[2.0]]]


def test_mean_squared_error_is_torchs(generator: torch.Generator) -> None:
    eta = torch.randn(20, 1, generator=generator, dtype=F64)
    y = torch.randn(20, generator=generator, dtype=F64)
    got = losses.squared_error(eta, y).mean()
    torch.testing.assert_close(got, torch.nn.functional.mse_loss(eta.squeeze(1), y))


def test_curvature_of_a_loss_linear_in_eta_is_zero() -> None:
    eta, y = torch.ones(2, 1, dtype=F64), torch.ones(2, dtype=F64)
    assert not curvatures(lambda e, t: e.squeeze(1) * t, eta, y).any()


def test_grid_over_the_first_discount_row_ends_in_35_40_45() -> None:
    # The naive formula gives 34.945, inf, inf here: sigmoid(40) is 1 in float64.
    w = torch.arange(-10, 10, dtype=F64)[:, None] / 10
    got = losses.binary_nll(50 * w, torch.zeros(20, dtype=F64))
    assert got[-3:].tolist() == pytest.approx([35, 40, 45], rel=1e-14)
    table = [0.0067153, 0.6931472, 5.0067153, 10.0000454, 15, 20, 25, 30]
    assert got[9:17].tolist() == pytest.approx(table, abs=5e-7)
    assert got[0].item() == pytest.approx(math.exp(-50), rel=1e-14)


@pytest.mark.parametrize("case", [c for c in CASES if c != "binary"])
def test_class_probabilities_sum_to_one(case: str) -> None:
    loss, k, n_classes = CASES[case]
    eta = ordered_rows(k)
    p = losses.class_log_probabilities(loss, eta, n_classes).exp()
    assert p.shape == (len(eta), n_classes)
    torch.testing.assert_close(p.sum(1), torch.ones(len(eta), dtype=F64), rtol=0, atol=1e-14)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@each_case
def test_cuda_gives_the_losses_of_the_cpu(case: str) -> None:
    loss, k, _ = CASES[case]
    eta = ordered_rows(k, [t for t in ETAS if abs(t) <= 100])
    for y in targets(case, len(eta)):
        got = loss(eta.cuda(), y.cuda())
        assert got.is_cuda
        torch.testing.assert_close(got.cpu(), loss(eta, y), rtol=1e-12, atol=1e-290)
        torch.testing.assert_close(
            slopes(loss, eta.cuda(), y.cuda()).cpu(), slopes(loss, eta, y), rtol=1e-10, atol=1e-30
        )
