"""The compiled kernels against the torch path, to rounding, on every loss and at the edges."""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Callable, Iterator

import mpmath
import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from torchlogreg import losses
from torchlogreg.base import Model
from torchlogreg.data import Batch
from torchlogreg.kernels import (
    SMALLEST,
    Sums,
    available,
    column_squares,
    curvature,
    curvature_available,
    evaluate,
    gradient_products,
    gram,
    gram_and_right,
    gram_and_totals,
    gram_available,
    prepare,
)
from torchlogreg.models import (
    LinearRegression,
    LogisticRegression,
    OrdinalRegression,
    SoftmaxRegression,
)

pytest.importorskip("numba", reason="the compiled kernels are the extra 'fast'")

KINDS = ["binary", "soft", "squared", "no bias", "softmax", "reference", "two", "ordinal"]
SHAPES = [(1, 1), (2, 3), (7, 8), (129, 17), (1003, 20), (4001, 33)]
ROUNDING = {torch.float64: 1e-13, torch.float32: 2e-5}


@pytest.fixture(autouse=True)
def _small_problems_too() -> Iterator[None]:
    token = SMALLEST.set(0)
    yield
    SMALLEST.reset(token)


def problem(
    kind: str, n: int, p: int, dtype: torch.dtype, *, offset: str = "none", seed: int = 0
) -> tuple[Model, Batch]:
    """A model at random parameters and rows for it, with uneven weights (some are zero)."""
    g = torch.Generator().manual_seed(seed)
    X = torch.randn(n, p, generator=g, dtype=torch.float64).to(dtype)
    uniform = torch.rand(n, generator=g, dtype=torch.float64).to(dtype)
    models: dict[str, Callable[[], Model]] = {
        "binary": lambda: LogisticRegression(p, dtype=dtype),
        "soft": lambda: LogisticRegression(p, dtype=dtype),
        "squared": lambda: LinearRegression(p, dtype=dtype),
        "no bias": lambda: LinearRegression(p, bias=False, dtype=dtype),
        "softmax": lambda: SoftmaxRegression(p, 7, dtype=dtype),
        "reference": lambda: SoftmaxRegression(p, 6, reference=True, dtype=dtype),
        "two": lambda: SoftmaxRegression(p, 2, reference=True, dtype=dtype),
        "ordinal": lambda: OrdinalRegression(p, 5, dtype=dtype),
    }
    model = models[kind]()
    with torch.no_grad():
        for q in model.parameters():
            q.copy_(torch.randn(q.shape, generator=g, dtype=torch.float64) / math.sqrt(p))
    y = {"binary": (uniform < 0.4).to(dtype), "soft": uniform}.get(kind, 3 * uniform - 1)
    if model.n_classes is not None and not isinstance(model, LogisticRegression):
        y = torch.randint(model.n_classes, (n,), generator=g)
    weight = (torch.rand(n, generator=g, dtype=torch.float64) - 0.1).clamp(min=0).to(dtype)
    r = model.weight.shape[0]
    shifts = {"none": None, "row": (n,), "score": (n, r)}[offset]
    shift = None if shifts is None else torch.randn(shifts, generator=g, dtype=dtype)
    return model, Batch(X, y, weight, shift)


def in_torch(model: Model, batch: Batch) -> Sums:
    """The same sums by autograd."""
    weight = model.weight.detach().clone().requires_grad_()
    intercepts = model.intercepts().detach().clone().requires_grad_()
    scores = F.linear(batch.X, weight)
    if batch.offset is not None:
        scores = scores + batch.offset.reshape(len(batch), -1)
    eta = model.mix(scores) + intercepts
    per_row = model.nll(eta, batch.y)
    value = torch.dot(batch.sample_weight, per_row)
    by_weight, by_intercepts = torch.autograd.grad(value, (weight, intercepts))
    return Sums(value.detach(), by_weight, by_intercepts, eta.detach(), per_row.detach())


def compiled(model: Model, batch: Batch) -> Sums:
    return evaluate(
        model.nll,
        batch.X,
        batch.y,
        sample_weight=batch.sample_weight,
        weight=model.weight,
        intercepts=model.intercepts(),
        offset=batch.offset,
    )


def assert_same(found: Sums, expected: Sums, rounding: float) -> None:
    for name, a, b in zip(Sums._fields[:5], found[:5], expected[:5], strict=True):
        assert a.shape == b.shape and a.dtype == b.dtype, name
        size = float(b[b.isfinite()].abs().max()) if b.isfinite().any() else 1.0
        torch.testing.assert_close(
            a, b, rtol=rounding, atol=rounding * size, equal_nan=True, msg=lambda m, n=name: n + m
        )


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["f64", "f32"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_sums_equal_those_of_autograd(
    kind: str, shape: tuple[int, int], dtype: torch.dtype
) -> None:
    for seed, offset in enumerate(("none", "row", "score")):
        model, batch = problem(kind, *shape, dtype, offset=offset, seed=seed)
        assert available(model, model.nll, batch)
        assert_same(compiled(model, batch), in_torch(model, batch), ROUNDING[dtype])


@pytest.mark.parametrize("kind", KINDS)
def test_rows_so_many_that_they_are_cut_into_parts(kind: str) -> None:
    model, batch = problem(kind, 20_011, 13, torch.float64, offset="row")
    assert_same(compiled(model, batch), in_torch(model, batch), 1e-13)


@pytest.mark.parametrize("kind", KINDS)
def test_the_number_of_threads_changes_no_bit_and_is_left_alone(kind: str) -> None:
    model, batch = problem(kind, 30_001, 11, torch.float64)
    before, results = torch.get_num_threads(), []
    try:
        for n_threads in (1, 2, 3, 2):
            torch.set_num_threads(n_threads)
            results.append((*compiled(model, batch), gram(batch.X, batch.sample_weight)))
            assert torch.get_num_threads() == n_threads
    finally:
        torch.set_num_threads(before)
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0][:5], other[:5], strict=True))


@pytest.mark.parametrize("size", [1e-300, 1e-8, 40.0, 720.0, 1e4, 1e300])
@pytest.mark.parametrize("kind", ["binary", "soft", "softmax", "reference", "ordinal"])
def test_small_and_huge_etas_keep_their_digits(kind: str, size: float) -> None:
    model, batch = problem(kind, 64, 1, torch.float64)
    with torch.no_grad():
        model.weight.mul_(size)
    found, expected = compiled(model, batch), in_torch(model, batch)
    assert bool(found.losses.isfinite().all())
    torch.testing.assert_close(found.losses, expected.losses, rtol=1e-13, atol=1e-322)
    if kind != "ordinal" or size < 1e4:  # there torch's gap between two etas has lost its digits,
        assert_same(found, expected, 1e-12)  # the kernel's, between two cutpoints, has not


@pytest.mark.parametrize("bad", [math.inf, -math.inf, math.nan])
@pytest.mark.parametrize("kind", ["binary", "soft", "squared", "softmax", "reference", "ordinal"])
def test_infinite_and_missing_etas_give_what_torch_gives(kind: str, bad: float) -> None:
    model, batch = problem(kind, 40, 3, torch.float64, offset="row")
    assert batch.offset is not None
    batch.offset[5] = bad
    found, expected = compiled(model, batch), in_torch(model, batch)
    for a, b in ((found.eta, expected.eta), (found.losses, expected.losses)):
        torch.testing.assert_close(a, b, rtol=1e-13, atol=1e-13, equal_nan=True)
    torch.testing.assert_close(found.value, expected.value, equal_nan=True)
    if bool(expected.by_weight.isfinite().all()):
        torch.testing.assert_close(found.by_weight, expected.by_weight)


def test_a_missing_number_stays_in_its_row() -> None:
    # The last columns of a row are read with those of the next one masked out.
    for kind in ("binary", "softmax"):
        model, batch = problem(kind, 50, 5, torch.float64)
        batch.X[20] = math.nan
        found = compiled(model, batch)
        assert found.losses.isnan().nonzero().flatten().tolist() == [20]


def test_crowded_cutpoints_are_those_of_torch() -> None:
    model, batch = problem("ordinal", 300, 2, torch.float64)
    assert isinstance(model, OrdinalRegression)
    with torch.no_grad():
        model.gaps.copy_(torch.tensor([-3.0, -12.0, 6.0], dtype=torch.float64))
    # eta itself carries the rounding of its size into a gap of 6e-6
    assert_same(compiled(model, batch), in_torch(model, batch), 1e-9)


def test_gram_is_the_weighted_product_exactly_symmetric() -> None:
    for dtype, rounding in ROUNDING.items():
        for n, p in ((1, 1), (5, 2), (300, 9), (2000, 40), (20_000, 16)):
            g = torch.Generator().manual_seed(p)
            X = torch.randn(n, p, generator=g, dtype=dtype)
            d = torch.randn(n, generator=g, dtype=dtype)  # any sign
            found, wide = gram(X, d), X.double()
            expected = (wide.T @ (d.double()[:, None] * wide)).to(dtype)
            size = float((X.abs().T @ (d.abs()[:, None] * X.abs())).max())
            assert torch.equal(found, found.T)
            torch.testing.assert_close(found, expected, rtol=rounding, atol=rounding * size)
            again, totals = gram_and_totals(X, d)
            assert torch.equal(again, found)
            size = float((d.double().abs() @ wide.abs()).max())
            want = (d.double() @ wide).to(dtype)
            torch.testing.assert_close(totals, want, rtol=rounding, atol=rounding * size)
            y = torch.randn(n, generator=g, dtype=dtype)
            same, sums, by_y = gram_and_right(X, d, y)
            assert torch.equal(same, found) and torch.equal(sums, totals)
            right = (d * y).double()
            size = float((right.abs() @ wide.abs()).max())
            want = (right @ wide).to(dtype)
            torch.testing.assert_close(by_y, want, rtol=rounding, atol=rounding * size)
            gaps = torch.cat((X, X), 1)[:, :p]
            for a, b in zip(gram_and_right(gaps, d, y), (found, totals, by_y), strict=True):
                torch.testing.assert_close(a, b, rtol=rounding, atol=rounding * size)


def ulps(found: np.ndarray, exact: list[mpmath.mpf]) -> float:
    """Largest distance in units in the last place."""
    kind = found.dtype.type
    return max(
        abs(mpmath.mpf(float(a)) - b) / mpmath.mpf(float(np.spacing(kind(b))))
        for a, b in zip(found, exact, strict=True)
    )


@pytest.mark.parametrize(("n", "p"), [(1, 1), (7, 3), (8, 20), (1003, 33), (70_001, 5)])
def test_column_squares_are_those_of_torch_and_show_what_is_not_finite(n: int, p: int) -> None:
    X = torch.randn(n, p, dtype=torch.float64, generator=torch.Generator().manual_seed(n))
    torch.testing.assert_close(column_squares(X), X.square().sum(0), rtol=1e-13, atol=0)
    for bad in (math.nan, math.inf, -math.inf):
        X[n // 2, p - 1] = bad
        assert torch.isfinite(column_squares(X)).tolist() == [True] * (p - 1) + [False]


@pytest.mark.parametrize("kind", [np.float64, np.float32])
def test_exp_and_log1p_are_within_two_units_in_the_last_place(kind: type) -> None:
    from numba import njit

    from torchlogreg.kernels.elementary import exp_negative, log1p_positive

    @njit
    def both(x: np.ndarray, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        e, l1 = np.empty_like(x), np.empty_like(z)
        for i in range(len(x)):
            e[i] = exp_negative(x[i])
        for i in range(len(z)):
            l1[i] = log1p_positive(z[i])
        return e, l1

    rng = np.random.default_rng(1)
    deep = 745.0 if kind is np.float64 else 103.0  # into the subnormal numbers
    x = -np.concatenate(
        [rng.uniform(0, 1, 500), rng.uniform(0, deep, 1500), 10 ** rng.uniform(-20, 1, 500)]
    )
    z = np.concatenate([rng.uniform(0, 1, 1000), 10 ** rng.uniform(-30, 6, 1500)])
    x, z = x.astype(kind), z.astype(kind)
    e, l1 = both(x, z)
    with mpmath.workdps(50):
        assert ulps(e, [mpmath.exp(mpmath.mpf(float(v))) for v in x]) <= 2
        assert ulps(l1, [mpmath.log1p(mpmath.mpf(float(v))) for v in z]) <= 2
    edges = np.array([0.0, -1e4, -np.inf, np.nan], kind)
    np.testing.assert_array_equal(both(edges, edges[:1])[0], np.array([1, 0, 0, np.nan], kind))


class Shifted(LogisticRegression):
    """A subclass may do anything in forward."""


def refused(case: str) -> tuple[Model, losses.Loss, Batch]:
    """A problem that is the torch path's, by its reason."""
    model, batch = problem("binary", 30, 4, torch.float64)
    nll, X, y, w = model.nll, batch.X, batch.y, batch.sample_weight
    softmax, labels = problem("softmax", 30, 4, torch.float64)
    shares = torch.full((30, 7), 1 / 7, dtype=torch.float64)
    probit = OrdinalRegression(4, 3, link="probit", dtype=torch.float64)
    cases: dict[str, tuple[Model, losses.Loss, Batch]] = {
        "a view that is not contiguous": (model, nll, Batch(torch.cat((X, X), 1)[:, ::2], y, w)),
        "a transposed matrix": (model, nll, Batch(X.T.contiguous().T, y, w)),
        "rows of another dtype": (model, nll, Batch(X.float(), y, w)),
        "half precision": (model.half(), nll, Batch(X.half(), y.half(), w.half())),
        "rows under autograd": (model, nll, Batch(X.clone().requires_grad_(), y, w)),
        "sparse rows": (model, nll, Batch(X.to_sparse(), y, w)),
        "a loss of one's own": (model, lambda eta, y: nll(eta, y), Batch(X, y, w)),
        "a model of one's own": (Shifted(4, dtype=torch.float64), nll, Batch(X, y, w)),
        "another link": (probit, probit.nll, Batch(X, (y > 0).long(), w)),
        "distributions": (softmax, softmax.nll, Batch(labels.X, shares, w)),
        "a loss of another model": (softmax, losses.squared_error, Batch(X, y, w)),
        "no rows": (model, nll, Batch(X[:0], y[:0], w[:0])),
    }
    return cases[case]


@pytest.mark.parametrize(
    "case",
    [
        "a view that is not contiguous",
        "a transposed matrix",
        "rows of another dtype",
        "half precision",
        "rows under autograd",
        "sparse rows",
        "a loss of one's own",
        "a model of one's own",
        "another link",
        "distributions",
        "a loss of another model",
        "no rows",
    ],
)
def test_what_the_kernels_cannot_take_is_left_to_torch(case: str) -> None:
    assert not available(*refused(case))


def test_size_and_environment_decide(monkeypatch: pytest.MonkeyPatch) -> None:
    model, batch = problem("binary", 30, 4, torch.float64)
    assert available(model, model.nll, batch) and gram_available(batch.X)
    SMALLEST.set(121)
    assert not available(model, model.nll, batch) and not gram_available(batch.X)
    SMALLEST.set(120)
    monkeypatch.setenv("TORCHLOGREG_KERNELS", "off")
    assert not available(model, model.nll, batch)


def test_strided_weights_offsets_and_targets_are_taken() -> None:
    model, batch = problem("binary", 100, 4, torch.float64, offset="row")
    assert batch.offset is not None
    twice = [t.repeat_interleave(2)[::2] for t in (batch.y, batch.sample_weight, batch.offset)]
    strided = Batch(batch.X, *twice)
    assert not strided.y.is_contiguous() and available(model, model.nll, strided)
    for a, b in zip(compiled(model, strided)[:5], compiled(model, batch)[:5], strict=True):
        assert torch.equal(a, b)


def run(code: str) -> str:
    """Output of a fresh interpreter."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_numba_is_loaded_at_the_first_use_and_not_before() -> None:
    code = "import sys, torchlogreg, torchlogreg.kernels; print('numba' in sys.modules)"
    assert run(code) == "False"


def test_a_folder_that_cannot_be_written_to_costs_only_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # numba raises where neither the package's folder nor the user's cache can hold a file.
    from torchlogreg.kernels import compiling

    def nowhere(function: object, name: str) -> None:
        raise RuntimeError("cannot cache function: no locator available")

    monkeypatch.setattr(compiling, "_StampedCache", nowhere)
    assert compiling.entry(lambda x: x + 1, "successor")(2) == 3


def test_a_change_of_any_source_changes_the_key_on_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    # numba looks at the file of the entry alone: an edit of rowwise.py would have gone unnoticed.
    from torchlogreg.kernels import compiling
    from torchlogreg.kernels.sweeps import GRAM

    class Codegen:
        def magic_tuple(self) -> tuple[str]:
            return ("cpu",)

    before = GRAM._cache._index_key("types", Codegen())
    monkeypatch.setattr(compiling, "_source_stamp", lambda: "edited")
    assert GRAM._cache._index_key("types", Codegen()) != before


def test_a_fork_makes_its_own_threads() -> None:
    code = (
        "import os, torch, warnings; from torchlogreg import kernels\n"
        "warnings.simplefilter('ignore')\n"
        "torch.set_num_threads(2); X = torch.ones(50000, 4, dtype=torch.float64)\n"
        "ones = torch.ones(50000, dtype=torch.float64)\n"
        "kernels.gram(X, ones); child = os.fork()\n"
        "if child == 0: os._exit(int(kernels.gram(X, ones)[0, 1] != 50000))\n"
        "print(os.waitpid(child, 0)[1])"
    )
    assert run(code) == "0"


@pytest.mark.parametrize("shape", [(5, 1), (300, 8), (1001, 17), (400, 25), (130, 49), (70, 300)])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["f64", "f32"])
def test_curvatures_and_products_of_gradients_are_those_of_closed_forms(
    shape: tuple[int, int], dtype: torch.dtype
) -> None:
    for seed, offset in enumerate(("none", "row", "score")):
        model, batch = problem("binary", *shape, dtype, offset=offset, seed=seed)
        assert curvature_available(model, model.nll, batch)
        found = curvature(
            batch.X,
            sample_weight=batch.sample_weight,
            weight=model.weight,
            intercepts=model.intercepts(),
            offset=batch.offset,
        )
        with torch.no_grad():
            eta = model(batch.X, batch.offset).double()
        weights = batch.sample_weight.double()[:, None]
        bend = torch.sigmoid(eta) * torch.sigmoid(-eta) * weights
        ones = torch.cat((batch.X, torch.ones_like(batch.X[:, :1])), dim=1).double()
        squared = gradient_products(
            batch.X,
            batch.y,
            sample_weight=batch.sample_weight,
            weight=model.weight,
            intercepts=model.intercepts(),
            offset=batch.offset,
        )
        slope = (torch.sigmoid(eta) - batch.y.double()[:, None]) * weights
        rounding = {torch.float64: 1e-13, torch.float32: 2e-5}[dtype]
        for got, factor in ((found, bend), (squared, slope.square())):
            expected = ones.T @ (factor * ones)
            close = {"rtol": rounding, "atol": rounding * float(expected.abs().max())}
            torch.testing.assert_close(got.double(), expected, **close)
            assert torch.equal(got, got.T)


def test_curvature_far_from_zero_keeps_its_digits() -> None:
    eta = torch.tensor([-700.0, -40.0, -1.0, 0.0, 1.0, 40.0, 700.0], dtype=torch.float64)
    for one in eta:
        row = one.reshape(1, 1)
        found = curvature(
            row, sample_weight=torch.ones_like(row[0]), weight=torch.ones_like(row),
            intercepts=torch.zeros_like(row[0]),
        )  # fmt: skip
        small = torch.exp(-one.abs())
        torch.testing.assert_close(found[1, 1], small / (1 + small) ** 2, rtol=1e-15, atol=0.0)


def test_prepare_without_numba_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    from torchlogreg.kernels import interface, preparing

    for module in (interface, preparing):
        monkeypatch.setattr(module, "installed", lambda: False)
    with pytest.raises(ModuleNotFoundError, match=r"pip install torchlogreg\[fast\]"):
        prepare()
    model, batch = problem("binary", 30, 4, torch.float64)
    assert not available(model, model.nll, batch)


def test_prepare_lowers_the_smallest_size() -> None:
    SMALLEST.set(2**40)
    prepare(smallest=5)
    assert SMALLEST.get() == 5


def weighted_rows(batch: Batch) -> Tensor:
    return batch.sample_weight > 0


def test_rows_of_weight_zero_add_nothing() -> None:
    for kind in KINDS:
        model, batch = problem(kind, 400, 5, torch.float64)
        kept = batch.rows(weighted_rows(batch).nonzero().flatten())
        assert len(kept) < len(batch)
        for a, b in zip(compiled(model, batch)[:3], compiled(model, kept)[:3], strict=True):
            torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("kind", ["binary", "squared", "softmax", "ordinal"])
@pytest.mark.parametrize("n", [1, 30, 1003, 9001])
def test_weights_of_one_need_not_be_read(kind: str, n: int) -> None:
    model, batch = problem(kind, n, 5, torch.float64)
    ones = torch.ones(n, dtype=torch.float64)
    weight, intercepts = model.weight.detach(), model.intercepts().detach()
    known = {"weight": weight, "intercepts": intercepts}
    read = evaluate(model.nll, batch.X, batch.y, sample_weight=ones, **known)
    unread = evaluate(model.nll, batch.X, batch.y, sample_weight=2 * ones, even=True, **known)
    for a, b in zip(read[:5], unread[:5], strict=True):
        assert torch.equal(a, b)
