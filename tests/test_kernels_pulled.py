"""``X' v`` in one read, and the squares by the way, against numpy."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from torchlogreg import L1, LogisticRegression, fit, kernels
from torchlogreg.finite import NotFiniteError
from torchlogreg.kernels import pulled, pulled_available

pytest.importorskip("numba")


@pytest.fixture(autouse=True)
def small_ones_too():
    token = kernels.SMALLEST.set(0)
    yield
    kernels.SMALLEST.reset(token)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize(("n", "p"), [(1, 1), (3, 7), (203, 20), (64, 3000), (5, 0 + 1)])
@pytest.mark.parametrize("gaps", [False, True])
def test_pulled_is_the_product_and_the_squares(n, p, dtype, gaps):
    rng = np.random.default_rng(n + p)
    table = torch.tensor(rng.standard_normal((n, p + 3)), dtype=dtype)
    X = table[:, 1 : p + 1] if gaps else table[:, 1 : p + 1].contiguous()
    slopes = torch.tensor(rng.standard_normal(n), dtype=dtype)
    assert pulled_available(X)
    product, squares = pulled(X, slopes, squared=True)
    alone, none = pulled(X, slopes)
    exact = slopes.double().numpy() @ X.double().numpy()
    tol = 50 * torch.finfo(dtype).eps * n**0.5
    np.testing.assert_allclose(product.double().numpy(), exact, rtol=0, atol=10 * tol)
    assert none is None and alone.dtype == dtype
    np.testing.assert_allclose(alone.double().numpy(), product.double().numpy(), atol=10 * tol)
    if dtype == torch.float64:
        np.testing.assert_allclose(squares.numpy(), np.square(X.numpy()).sum(0), rtol=1e-13)
    else:
        assert squares is None


def test_pulled_is_the_same_for_any_number_of_threads():
    rng = np.random.default_rng(0)
    X = torch.tensor(rng.standard_normal((4000, 60)), dtype=torch.float64)
    slopes = torch.tensor(rng.standard_normal(4000), dtype=torch.float64)
    before = torch.get_num_threads()
    try:
        found = []
        for threads in (1, 2):
            torch.set_num_threads(threads)
            found.append(pulled(X, slopes, squared=True))
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_rows_unseen_before_the_first_pass_of_l1_are_refused_and_nothing_has_changed(bad):
    rng = np.random.default_rng(1)
    X = rng.standard_normal((50, 80))
    X[17, 33] = bad
    model = LogisticRegression(80, dtype=torch.float64)
    with pytest.raises(NotFiniteError, match="row 17, column 33"):
        fit(model, X, (rng.random(50) < 0.5).astype(float), penalty=L1(0.01))
    assert not model.weight.any() and not model.bias.any()


def test_l1_finds_the_same_with_and_without_compiled_passes(monkeypatch):
    rng = np.random.default_rng(2)
    X = rng.standard_normal((80, 120))
    y = (X[:, 0] + rng.standard_normal(80) > 0).astype(float)
    weights = []
    for setting in ("on", "off"):
        monkeypatch.setenv("TORCHLOGREG_KERNELS", setting)
        model = LogisticRegression(120, dtype=torch.float64)
        assert fit(model, X, y, penalty=L1(0.02)).converged
        weights.append(model.weight.detach().numpy())
    np.testing.assert_allclose(*weights, rtol=0, atol=1e-12)
