"""Newton's step among the rows against the dense system that it solves."""

from __future__ import annotations

import pytest
import torch

from torchlogreg.optim.wide_kernel import Kernel
from torchlogreg.optim.wide_step import System, scaled_step


@pytest.mark.parametrize("c", [0.0, 0.1])
@pytest.mark.parametrize("alpha", [1e-4, 1e-1])
@pytest.mark.parametrize("power", [0, 6])  # curvatures of one size; of a millionth, and none at all
@pytest.mark.parametrize("twice", [False, True])  # equal rows, whose gradients cancel
def test_a_step_solves_the_dense_system(c: float, alpha: float, power: int, twice: bool) -> None:
    source = torch.Generator().manual_seed(power)
    n, p = 60, 90
    X = torch.randn(n, p, generator=source, dtype=torch.float64)
    X *= torch.logspace(0, -1, p, dtype=torch.float64)
    if twice:
        X = X[: n // 2].repeat(2, 1)
    kernel = Kernel.of(X, centred=c > 0, exact=True)
    K = kernel.matrix
    assert isinstance(K, torch.Tensor)
    bend = torch.rand(n, generator=source, dtype=torch.float64) ** power
    bend[: 5 * (power > 0)] = 0.0
    G = torch.randn(n, generator=source, dtype=torch.float64)
    if twice:
        G[n // 2 :] = -G[: n // 2] * (1 + 1e-2 * G[n // 2 :])
    at_b = torch.randn(1, generator=source, dtype=torch.float64)
    found = scaled_step(System(kernel, alpha, bend, c), G, at_b, share=1e-11, most=1000)
    a, Ka, b = (part.flatten() for part in found)
    dense = alpha * torch.eye(n, dtype=torch.float64) + bend[:, None] * K
    if c:
        edge = c * (bend @ K)
        dense = torch.cat((dense, edge[None]))
        dense = torch.cat((dense, torch.cat((c * bend, c * c * bend.sum()[None]))[:, None]), dim=1)
    wanted = torch.linalg.solve(dense, -torch.cat((G, at_b)) if c else -G)
    torch.testing.assert_close(Ka, K @ wanted[:n], rtol=1e-7, atol=1e-7 * float(Ka.abs().max()))
    torch.testing.assert_close(a, wanted[:n], rtol=1e-7, atol=1e-7 * float(a.abs().max()))
    if c:
        torch.testing.assert_close(b, wanted[n:], rtol=1e-7, atol=0.0)
    else:
        assert not b.any()
