"""Columns kept as short integers, and the optimum found with them."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

pytest.importorskip("numba")

from torchlogreg import L2, LogisticRegression, SoftmaxRegression, fit, kernels
from torchlogreg.kernels.packed import LARGEST, pack, packed_available
from torchlogreg.optim import wide_kernel
from torchlogreg.optim.wide import KernelNewton
from torchlogreg.optim.wide_kernel import Kernel


@pytest.fixture(autouse=True)
def small_ones_too() -> object:
    token = kernels.SMALLEST.set(0)
    yield
    kernels.SMALLEST.reset(token)


def randn(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def heavy(n: int, p: int) -> Tensor:
    return randn(n, p, seed=1) / randn(n, p, seed=2).abs() ** 1.5


def odd_columns(n: int, p: int) -> Tensor:
    X = randn(n, p, seed=3) * torch.logspace(-150, 100, p, dtype=torch.float64)
    X[:, 0], X[:, 1] = 0.0, 7.0
    X[:, 2] = 1e9 + randn(n, seed=4)
    return X


@pytest.mark.parametrize(("n", "p"), [(1, 1), (5, 3), (33, 130), (257, 131)])
@pytest.mark.parametrize("centred", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_every_entry_is_rounded_to_the_nearest_step_of_its_column(
    n: int, p: int, centred: bool, dtype: torch.dtype
) -> None:
    X = (randn(n, p, seed=5) * torch.arange(p) + 3).to(dtype)
    packed = pack(X, centred=centred)
    assert packed_available(X)
    Z = X.double() - (X.double().mean(0) if centred else 0.0)
    step = Z.abs().amax(0) / LARGEST
    error = (packed.codes[:p].T * step - Z).abs()
    assert bool((error <= 0.51 * step + 1e-6 * (dtype == torch.float32) * Z.abs()).all())
    assert not packed.codes[p:].any() and len(packed.codes) % 4 == 0


@pytest.mark.parametrize("make", [heavy, odd_columns])
@pytest.mark.parametrize("r", [1, 3])
@pytest.mark.parametrize("centred", [True, False])
def test_products_are_those_of_the_rows(make: object, r: int, centred: bool) -> None:
    X = make(70, 45)  # type: ignore[operator]
    Z = X - X.mean(0) if centred else X
    A = randn(70, r, seed=6)
    packed = pack(X, centred=centred)
    wanted = Z @ (Z.T @ A)
    error = (packed.about(A.float()).double() * packed.unit - wanted).abs().max()
    assert float(error) <= 1e-3 * float(wanted.abs().max())
    assert float(torch.linalg.matrix_norm(Z, 2) ** 2) <= packed.unit * 70


def test_threads_change_no_bit() -> None:
    X, A = randn(300, 900, seed=7), randn(300, 1, seed=8).float()
    found = []
    for n_threads in (1, 2):
        before = torch.get_num_threads()
        torch.set_num_threads(n_threads)
        packed = pack(X, centred=True)
        found.append((packed.codes, packed.about(A)))
        torch.set_num_threads(before)
    assert torch.equal(found[0][0], found[1][0]) and torch.equal(found[0][1], found[1][1])


@pytest.mark.parametrize("alpha", [1e-1, 1e-5])
@pytest.mark.parametrize("kind", ["logistic", "softmax"])
@pytest.mark.parametrize("design", ["gaussian", "heavy", "years"])
def test_the_optimum_is_newtons(
    design: str, kind: str, alpha: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wide_kernel, "EXACT", 0)
    monkeypatch.setattr(wide_kernel, "HALVED", 0)
    monkeypatch.setattr(wide_kernel, "MANY_ROWS", 1)
    X = heavy(40, 90) if design == "heavy" else randn(40, 90, seed=9) + 2000 * (design == "years")
    scores = randn(40, 3, seed=10) + (X - X.mean(0))[:, :3].clamp(-2, 2)
    soft = kind == "softmax"
    y = scores.argmax(1) if soft else (scores[:, 0] > 0.3).double()
    found, wanted = (
        SoftmaxRegression(90, 3, dtype=torch.float64)
        if soft
        else LogisticRegression(90, dtype=torch.float64)
        for _ in range(2)
    )
    assert Kernel.of(X, centred=True).dtype == torch.float32
    a = fit(found, X, y, optimizer=KernelNewton, penalty=L2(alpha), max_epochs=300)
    b = fit(wanted, X, y, optimizer="newton", penalty=L2(alpha), max_epochs=40, tol=0)
    assert a.converged, a.message
    assert a.objective <= b.objective * (1 + 1e-10)
