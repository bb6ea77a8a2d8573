"""Of penalised softmax regressions those that may be loose take L-BFGS about blocks by class."""

from __future__ import annotations

import pytest
import torch

from torchlogreg import SoftmaxRegression, fit
from torchlogreg.objective import Objective
from torchlogreg.optim import choose
from torchlogreg.penalties import L2, Penalty


@pytest.mark.parametrize(
    ("tol", "penalty", "n_rows", "want"),
    [
        (1e-3, L2(0.1), 20_000, "block_lbfgs"),
        (1e-3, L2(0.1), 10**5, "subsampled_newton"),  # enough rows for a Hessian of some of them
        (1e-6, L2(0.1), 20_000, "newton"),  # the default keeps all digits
        (1e-6, L2(0.1), 10**5, "subsampled_newton"),
        (1e-3, None, 20_000, "newton"),  # which may be separated
        (1e-3, L2(0.0), 20_000, "newton"),
        (1e-3, L2(0.1), 500, "newton"),  # too few for blocks
    ],
)
def test_only_a_loose_tolerance_does_without_a_hessian(
    tol: float, penalty: Penalty | None, n_rows: int, want: str
) -> None:
    objective = Objective(SoftmaxRegression(30, 6, dtype=torch.float64), None, penalty)
    assert choose(objective, None, n_rows=n_rows, tol=tol).name == want


@pytest.mark.parametrize("reference", [True, False])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("case", ["plain", "rare", "collinear", "separated", "soft", "weighted"])
def test_what_it_finds_is_newtons_optimum(case: str, dtype: torch.dtype, reference: bool) -> None:
    source = torch.Generator().manual_seed(1)
    n, p, K = 4000, 8, 3
    X = torch.randn(n, p, generator=source, dtype=torch.float64)
    scores = X[:, :K] * (50.0 if case == "separated" else 1.0)
    if case == "rare":
        scores[:, 0] -= 7.0
    if case == "collinear":
        X[:, 7] = X[:, 0] - X[:, 1]
    noise = (-torch.rand(n, K, generator=source, dtype=torch.float64).log()).log()
    y = (scores - (0.0 if case == "separated" else 1.0) * noise).argmax(1)
    y[:K] = torch.arange(K)
    target = torch.softmax(scores, 1).to(dtype) if case == "soft" else y
    weight = torch.rand(n, generator=source, dtype=torch.float64) if case == "weighted" else None
    found = []
    for name, tol in (("block_lbfgs", 1e-5), ("newton", 1e-6)):
        model = SoftmaxRegression(p, K, reference=reference, dtype=dtype)
        result = fit(
            model,
            X.to(dtype),
            target,
            optimizer=name,
            penalty=L2(1e-3),
            sample_weight=weight,
            tol=tol,
        )
        assert result.converged, result.message
        found.append(result.objective)
    # By strong convexity, in columns of about unit size; and what float32 can see.
    bound = model.weight.numel() * (2 * 1e-5) ** 2 / (2 * 1e-3)
    assert found[0] - found[1] <= bound + 4 * torch.finfo(dtype).eps * found[1]
