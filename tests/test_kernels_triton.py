"""The CUDA kernels: compiled on a CUDA device; without one, run by Triton's interpreter on the CPU.

The interpreter proves the arithmetic, not the compiler: the last tests build machine code as well,
which needs no device. Triton is no dependency, and without it all of this is skipped:
``pip install triton==3.7.1`` beside torch's CPU build is enough.
"""

from __future__ import annotations

import importlib.util
import math
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import mpmath
import pytest
import torch
from torch import Tensor

from torchlogreg import L2, fit, kernels, losses
from torchlogreg.data import Batch
from torchlogreg.kernels import triton_sums
from torchlogreg.losses import Loss
from torchlogreg.models import LinearRegression, LogisticRegression, SoftmaxRegression

if importlib.util.find_spec("triton") is None:
    pytest.skip("Triton, which the CUDA kernels need, is not installed", allow_module_level=True)

ON_GPU = torch.cuda.is_available()
DEVICE = "cuda" if ON_GPU else "cpu"
with pytest.MonkeyPatch.context() as patch:
    if not ON_GPU:
        patch.setenv("TRITON_INTERPRET", "1")  # read when Triton is first imported
    import torchlogreg.kernels.triton_rows  # noqa: F401
    from triton_probes import each_row, elementary

LOSSES: dict[str, Loss] = {"binary": losses.binary_nll, "squared": losses.squared_error}
SHAPES = [(1, 1), (1, 40), (300, 1), (31, 31), (32, 32), (33, 33), (130, 257), (140, 1100)]
DTYPES = [torch.float64, torch.float32]
ROUNDING = {torch.float64: 1e-14, torch.float32: 1e-6}
FORMAT = {torch.float64: (53, -1074), torch.float32: (24, -149)}


@pytest.fixture(autouse=True)
def _small_rows_too(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(triton_sums, "DEVICES", (DEVICE,))
    monkeypatch.setattr(triton_sums, "SMALLEST", 0)
    if not ON_GPU:
        monkeypatch.setenv("TRITON_INTERPRET", "1")
    triton_sums._works.cache_clear()
    yield
    triton_sums._works.cache_clear()


def rows_of(
    n: int, p: int, dtype: torch.dtype, *, shifted: bool = False, soft: bool = True
) -> tuple[Batch, Tensor, Tensor]:
    """Rows with uneven weights, some zero; a weight (1, p) and an intercept (1,)."""
    g = torch.Generator().manual_seed(n + p)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=g, dtype=torch.float64).to(DEVICE, dtype)

    y, sample_weight = (
        torch.rand(n, generator=g, dtype=torch.float64).to(DEVICE, dtype) for _ in range(2)
    )
    if not soft:
        y = y.round()
    X, offset = normal(n, p), normal(n) if shifted else None
    return Batch(X, y, (sample_weight - 0.1).relu(), offset), normal(1, p), normal(1)


def found_by_kernel(kind: str, batch: Batch, weight: Tensor, intercept: Tensor) -> kernels.Sums:
    """In the order of the fields."""
    assert triton_sums.available(batch.X)
    sums = triton_sums.evaluate(
        kind, batch.X, batch.y, batch.sample_weight, weight, intercept, batch.offset
    )
    return kernels.Sums(*sums)


def found_by_autograd(kind: str, batch: Batch, weight: Tensor, intercept: Tensor) -> kernels.Sums:
    """The same in float64."""
    w, b = weight.double().requires_grad_(), intercept.double().requires_grad_()
    eta = batch.X.double() @ w.T + b
    if batch.offset is not None:
        eta = eta + batch.offset.double().reshape(-1, 1)
    per_row = LOSSES[kind](eta, batch.y.double())
    value = torch.dot(batch.sample_weight.double(), per_row)
    by_weight, by_intercept = torch.autograd.grad(value, (w, b))
    return kernels.Sums(value.detach(), by_weight, by_intercept, eta.detach(), per_row.detach())


def sizes(kind: str, batch: Batch, weight: Tensor, intercept: Tensor) -> kernels.Sums:
    """Sums of the absolute values that each result is made of: what its rounding is measured by."""
    X, w = batch.X.double().abs(), weight.double().abs()
    eta = X @ w.T + intercept.double().abs()
    if batch.offset is not None:
        eta = eta + batch.offset.double().reshape(-1, 1).abs()
    slope = (
        torch.ones_like(eta) if kind == "binary" else 2 * (eta + batch.y.double()[:, None].abs())
    )
    loss = 1 + eta[:, 0] if kind == "binary" else slope[:, 0].square()
    weighted = batch.sample_weight.double()[:, None] * slope * (1 + eta)
    value = torch.dot(batch.sample_weight.double(), loss)
    return kernels.Sums(value, weighted.T @ X, weighted.sum(0), eta, loss)


@pytest.mark.parametrize("dtype", DTYPES, ids=["f64", "f32"])
@pytest.mark.parametrize("kind", LOSSES)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_sums_equal_those_of_autograd_in_float64(
    shape: tuple[int, int], kind: str, dtype: torch.dtype
) -> None:
    for shifted in (False, True):
        case = rows_of(*shape, dtype, shifted=shifted, soft=shifted)
        found, expected = found_by_kernel(kind, *case), found_by_autograd(kind, *case)
        for name, a, b, size in zip(
            found._fields, found, expected, sizes(kind, *case), strict=True
        ):
            assert a.dtype == dtype and a.shape == b.shape, name
            assert bool(((a.double() - b).abs() <= ROUNDING[dtype] * size).all()), name


def test_a_thousand_rows_of_257_columns() -> None:
    case = rows_of(1000, 257, torch.float32, shifted=True)
    found, expected = found_by_kernel("binary", *case), found_by_autograd("binary", *case)
    for a, b, size in zip(found, expected, sizes("binary", *case), strict=True):
        assert bool(((a.double() - b).abs() <= 1e-6 * size).all())


@pytest.mark.parametrize("shape", [(500, 33), (140, 1100)], ids=str)
def test_two_calls_agree_to_the_last_bit_and_leave_nothing_unwritten(
    shape: tuple[int, int],
) -> None:
    # Memory that nobody writes to is NaN under use_deterministic_algorithms.
    case = rows_of(*shape, torch.float32, shifted=True)
    first = found_by_kernel("binary", *case)
    torch.use_deterministic_algorithms(True)
    try:
        again = found_by_kernel("binary", *case)
    finally:
        torch.use_deterministic_algorithms(False)
    for a, b in zip(first, again, strict=True):
        assert torch.equal(a, b)


def test_long_sums_of_float32_rows_keep_their_digits() -> None:
    # A running sum in float32 would be wrong in its fifth digit.
    n = 2**14 + 3
    X = torch.full((n, 1), 1.1, device=DEVICE)
    y, ones = torch.zeros(n, device=DEVICE), torch.ones(n, device=DEVICE)
    zero = torch.zeros(1, 1, device=DEVICE)
    found = found_by_kernel("binary", Batch(X, y, ones), zero, zero[0])
    assert float(found.value) == pytest.approx(n * math.log(2), rel=2e-7, abs=0)
    assert float(found.by_weight) == pytest.approx(n * 0.5 * float(X[0]), rel=2e-7, abs=0)
    assert float(found.by_intercepts) == n / 2


def ulps(found: Tensor, exact: list[mpmath.mpf]) -> float:
    """Largest distance in units in the last place; a smallest subnormal number is one at least."""
    digits, lowest = FORMAT[found.dtype]
    worst = 0.0
    for a, b in zip(found.tolist(), exact, strict=True):
        exponent = (
            lowest if b == 0 else max(int(mpmath.floor(mpmath.log(abs(b), 2))) + 1 - digits, lowest)
        )
        worst = max(worst, float(abs(mpmath.mpf(a) - b) / mpmath.mpf(2) ** exponent))
    return worst


@pytest.mark.parametrize("dtype", DTYPES, ids=["f64", "f32"])
def test_exp_and_log1p_are_within_two_units_in_the_last_place(dtype: torch.dtype) -> None:
    g = torch.Generator().manual_seed(1)
    deep = 745.0 if dtype == torch.float64 else 103.0  # into the subnormal numbers

    def uniform(low: float, high: float, count: int) -> Tensor:
        return low + (high - low) * torch.rand(count, generator=g, dtype=torch.float64)

    x = -torch.cat((uniform(0, 1, 300), uniform(0, deep, 900), 10 ** uniform(-20, 1, 300)))
    z = torch.cat((uniform(0, 1, 700), 10 ** uniform(-30, 6, 800)))
    x, z = x.to(DEVICE, dtype), z.to(DEVICE, dtype)
    e, l1 = torch.empty_like(x), torch.empty_like(z)
    elementary[(1,)](x, z, e, l1, len(x), SIZE=2048)
    with mpmath.workdps(60):
        assert ulps(e, [mpmath.exp(mpmath.mpf(v)) for v in x.tolist()]) <= 2
        assert ulps(l1, [mpmath.log1p(mpmath.mpf(v)) for v in z.tolist()]) <= 2
    edges = torch.tensor([0.0, -1e4, -math.inf, math.nan], dtype=dtype, device=DEVICE)
    found = torch.empty_like(edges)
    elementary[(1,)](edges, edges.relu(), found, torch.empty_like(edges), 4, SIZE=4)
    assert found.tolist()[:3] == [1, 0, 0] and math.isnan(float(found[3]))


@pytest.mark.parametrize("dtype", DTYPES, ids=["f64", "f32"])
def test_losses_and_slopes_are_those_of_sixty_digits(dtype: torch.dtype) -> None:
    points = [0.0, 1e-30, 1e-8, 0.3, 1.0, 7.0, 40.0, 85.0, 700.0, 1e4]
    eta = torch.tensor([s * v for v in points for s in (1, -1)], dtype=dtype, device=DEVICE)
    loss, slope = torch.empty_like(eta), torch.empty_like(eta)
    for label in (0.0, 1.0, 0.25):
        y = torch.full_like(eta, label)
        each_row[(1,)](eta, y, loss, slope, len(eta), BINARY=True, SIZE=32)
        with mpmath.workdps(60):
            etas = [mpmath.mpf(v) for v in eta.tolist()]
            assert ulps(loss, [_nll(v, label) for v in etas]) <= 4
            assert ulps(slope, [_slope(v, label) for v in etas]) <= (8 if label == 0.25 else 4)


def _nll(eta: mpmath.mpf, y: float) -> mpmath.mpf:
    return y * mpmath.log1p(mpmath.exp(-eta)) + (1 - y) * mpmath.log1p(mpmath.exp(eta))


def _slope(eta: mpmath.mpf, y: float) -> mpmath.mpf:
    """Here a sum of two terms of different signs, each of full precision, may cancel for soft y."""
    share = 1 / (1 + mpmath.exp(-abs(eta)))
    rest = mpmath.exp(-abs(eta)) * share
    p, q = (share, rest) if eta >= 0 else (rest, share)
    return (1 - y) * p - y * q


def test_infinite_and_missing_numbers_stay_in_their_row() -> None:
    batch, weight, intercept = rows_of(70, 5, torch.float64, shifted=True)
    assert batch.offset is not None
    batch.X[20] = math.nan
    batch.offset[30], batch.offset[31] = math.inf, -math.inf
    found = found_by_kernel("binary", batch, weight, intercept)
    expected = found_by_autograd("binary", batch, weight, intercept)
    torch.testing.assert_close(found.losses, expected.losses, equal_nan=True)
    torch.testing.assert_close(found.eta, expected.eta, equal_nan=True)
    assert found.losses.isnan().nonzero().flatten().tolist() == [20]


def test_rows_of_weight_zero_add_nothing() -> None:
    batch, weight, intercept = rows_of(300, 5, torch.float64)
    kept = batch.rows((batch.sample_weight > 0).nonzero().flatten())
    assert len(kept) < len(batch)
    whole, part = (found_by_kernel("binary", b, weight, intercept) for b in (batch, kept))
    for a, b in zip(whole[:3], part[:3], strict=True):
        torch.testing.assert_close(a, b, rtol=1e-13, atol=1e-13)


def test_strided_columns_of_rows_are_taken() -> None:
    batch, weight, intercept = rows_of(100, 4, torch.float64, shifted=True)
    assert batch.offset is not None
    twice = [t.repeat_interleave(2)[::2] for t in (batch.y, batch.sample_weight, batch.offset)]
    strided = Batch(batch.X, *twice)
    assert not strided.y.is_contiguous()
    scored = Batch(batch.X, batch.y, batch.sample_weight, batch.offset[:, None])
    expected = found_by_kernel("squared", batch, weight, intercept)
    for other in (strided, scored):
        for a, b in zip(
            found_by_kernel("squared", other, weight, intercept), expected, strict=True
        ):
            assert torch.equal(a, b)


def test_the_cut_covers_all_rows_and_depends_on_the_shape_alone() -> None:
    for n in (1, 2, 127, 128, 129, 4095, 10**6, 20_000_000, 3 * 10**9):
        for p in (1, 2, 3, 31, 32, 33, 100, 1024, 1025, 50_000):
            for itemsize in (4, 8):
                cut = triton_sums.plan(n, p, itemsize)
                rows = cut.rows * cut.tiles
                assert rows * (cut.programs - 1) < n <= rows * cut.programs
                assert cut.programs <= triton_sums.PROGRAMS and rows >= triton_sums.FEWEST_ROWS
                assert cut.rows * cut.columns * itemsize <= triton_sums.TILE_BYTES
                assert cut.columns >= p or p * itemsize > triton_sums.WIDEST
                assert cut.rows & (cut.rows - 1) == 0 and cut.columns & (cut.columns - 1) == 0


@pytest.mark.parametrize("n_features", [3, 40])
def test_a_fit_through_the_kernels_is_that_of_torch(n_features: int) -> None:
    batch, _, _ = rows_of(100, n_features, torch.float64, soft=False)
    fits = {}
    for device in ((DEVICE,), ()):
        with pytest.MonkeyPatch.context() as chosen:
            chosen.setattr(triton_sums, "DEVICES", device)
            chosen.setenv("TORCHLOGREG_KERNELS", "on" if device else "off")
            token = kernels.SMALLEST.set(0)
            model = LogisticRegression(n_features, dtype=torch.float64, device=DEVICE)
            assert kernels.available(model, model.nll, batch) == bool(device)
            result = fit(model, batch.X, batch.y, penalty=L2(0.1), optimizer="newton", tol=1e-9)
            kernels.SMALLEST.reset(token)
        assert result.converged
        fits[device] = torch.cat([p.detach().flatten() for p in model.parameters()])
    torch.testing.assert_close(*fits.values(), rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize(
    "case",
    [
        "strided",
        "transposed",
        "float16",
        "softmax",
        "no rows",
        "switched off",
        "other device",
        "few",
    ],
)
def test_what_the_kernels_cannot_take_is_left_to_others(
    case: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kernels.interface, "installed", lambda: False)  # nor does numba take it
    X = torch.ones(8, 4, device=DEVICE)
    y, weights = torch.zeros(8, device=DEVICE), torch.ones(8, device=DEVICE)
    model: LinearRegression | SoftmaxRegression = LinearRegression(4, device=DEVICE)
    assert kernels.available(model, model.nll, Batch(X, y, weights))
    match case:
        case "strided":
            X = torch.ones(8, 8, device=DEVICE)[:, ::2]
        case "transposed":
            X = torch.ones(4, 8, device=DEVICE).T
        case "float16":
            model, X, y, weights = model.half(), X.half(), y.half(), weights.half()
        case "softmax":
            model, y = SoftmaxRegression(4, 3, device=DEVICE), y.long()
        case "no rows":
            X, y, weights = X[:0], y[:0], weights[:0]
        case "switched off":
            monkeypatch.setenv("TORCHLOGREG_KERNELS", "off")
        case "other device":
            monkeypatch.setattr(triton_sums, "DEVICES", ("xpu",))
        case "few":
            monkeypatch.setattr(triton_sums, "SMALLEST", 33)
    assert not kernels.available(model, model.nll, Batch(X, y, weights))


def test_a_triton_that_fails_is_named_once_and_torch_goes_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken(*arguments: object) -> None:
        raise RuntimeError("Failed to find C compiler\nand more")

    monkeypatch.setattr(triton_sums, "evaluate", broken)
    X = torch.ones(3, 2, device=DEVICE)
    with pytest.warns(RuntimeWarning, match="Triton fails here: Failed to find C compiler; fits"):
        assert not triton_sums.available(X)
    assert not triton_sums.available(X)  # a second warning would be an error


def outside(code: str, **environment: str) -> str:
    """Output of a fresh interpreter, in which Triton compiles."""
    clean = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"} | environment
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=clean, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_triton_is_loaded_at_the_first_use_and_not_before() -> None:
    assert outside("import sys, torchlogreg.kernels; print('triton' in sys.modules)") == "False"


BUILD = """
import math, re, subprocess, sys, triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from torchlogreg.kernels import triton_rows
from torchlogreg.kernels.triton_sums import WARPS, plan

def build(p, kind, size, target):
    cut = plan(10**7, p, size)
    kernel = triton_rows.one_read if cut.columns >= p else triton_rows.two_reads
    pointers = kernel.arg_names[:8]
    signature = {name: f"*{kind}" for name in pointers} | {"sums": "*fp64"}
    signature |= dict.fromkeys(["n", "p", "tiles"], "i32")
    constants = {"BINARY": True, "SHIFTED": False, "ALIGNED": math.gcd(p, 4)}
    constants |= {"ROWS": cut.rows, "COLUMNS": cut.columns}
    signature |= dict.fromkeys(constants, "constexpr")
    aligned = {(i,): [["tt.divisibility", 16]] for i in range(9)}
    source = ASTSource(kernel, signature, constants, aligned)
    device, options = GPUTarget("cuda", target, 32), {"num_warps": WARPS}
    built = triton.compile(source, target=device, options=options)
    with open("kernel.cubin", "wb") as file:
        file.write(built.asm["cubin"])
    folder = triton.__path__[0] + "/backends/nvidia/bin/"
    def read(tool, *options):
        command = [folder + tool, *options, "kernel.cubin"]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout
    used = read("cuobjdump", "-res-usage")
    registers, stack = re.search(r"REG:(\\d+) STACK:(\\d+)", used).groups()
    wide = len(re.findall(r"LDG\\.E[.A-Z]*\\.128", read("nvdisasm", "-c")))
    print(kernel.__name__, p, kind, target, registers, stack, wide)

for p, kind, size, target in [(1, "fp32", 4, 90), (20, "fp32", 4, 80), (100, "fp32", 4, 90),
                              (101, "fp32", 4, 80), (100, "fp64", 8, 90), (512, "fp64", 8, 80),
                              (5000, "fp32", 4, 90)]:
    build(p, kind, size, target)
"""


@pytest.mark.slow
def test_machine_code_spills_no_register_and_loads_sixteen_bytes_at_a_time(tmp_path: Path) -> None:
    # Annotations that the interpreter overlooks have failed here; so has row arithmetic that every
    # thread of a warp repeated: 255 registers, and more on the stack.
    work = f"import os; os.chdir({str(tmp_path)!r})\n"
    lines = outside(work + BUILD, TRITON_CACHE_DIR=str(tmp_path)).splitlines()
    assert len(lines) == 7
    for line in lines:
        _, p, _, _, registers, stack, wide = line.split()
        assert int(registers) <= 168 and int(stack) == 0, line
        assert int(wide) >= 4 or int(p) % 2, line
