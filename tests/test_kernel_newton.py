"""KernelNewton: more columns than rows, solved in the space of the rows."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from torchlogreg import (
    L1,
    L2,
    LinearRegression,
    LogisticRegression,
    Model,
    OrdinalRegression,
    SoftmaxRegression,
    fit,
)
from torchlogreg.optim import wide_kernel
from torchlogreg.optim.wide import KernelNewton
from torchlogreg.optim.wide_kernel import Kernel

N, P = 40, 90


def randn(*shape: int, seed: int) -> Tensor:
    """Normal numbers, float64."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def repeated_rows() -> Tensor:
    """Each row twice: the kernel has half the rank."""
    return randn(N // 2, P, seed=1).repeat(2, 1)


def assert_close(found: Tensor, wanted: Tensor, tolerance: float) -> None:
    """To ``tolerance`` times the largest entry."""
    found, wanted = found.detach(), wanted.detach()
    assert float((found - wanted).abs().max()) <= tolerance * float(wanted.abs().max())


DESIGNS: dict[str, Callable[[], Tensor]] = {
    "gaussian": lambda: randn(N, P, seed=2),
    "years": lambda: randn(N, P, seed=3) + 2000,
    "repeated columns": lambda: randn(N, P // 2, seed=4).repeat(1, 2),
    "repeated rows": repeated_rows,
    "heavy": lambda: randn(N, P, seed=5) / randn(N, P, seed=6).abs(),
    "units apart": lambda: randn(N, P, seed=7) * torch.logspace(-3, 3, P, dtype=torch.float64),
    "one column more": lambda: randn(N, N + 1, seed=8),
}
MODELS: dict[str, Callable[[int], Model]] = {
    "logistic": lambda p: LogisticRegression(p, dtype=torch.float64),
    "logistic without bias": lambda p: LogisticRegression(p, bias=False, dtype=torch.float64),
    "softmax": lambda p: SoftmaxRegression(p, 3, dtype=torch.float64),
    "softmax with reference": lambda p: SoftmaxRegression(
        p, 3, reference=True, dtype=torch.float64
    ),
    "linear": lambda p: LinearRegression(p, dtype=torch.float64),
}
PRECISIONS = {"float64": (2**60, 2**61), "float32": (0, 2**61), "bfloat16": (0, 0)}


def target(model: Model, X: Tensor) -> Tensor:
    """What the columns explain in part."""
    scores = X @ randn(X.shape[1], 3, seed=9)
    scores = (scores - scores.mean(0)) / scores.std(0) + randn(len(X), 3, seed=10)
    if model.n_classes is None:
        return scores[:, 0]
    return scores.argmax(1) if model.n_classes == 3 else (scores[:, 0] > 0.3).double()


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("design", DESIGNS)
def test_the_optimum_is_newtons_whatever_the_design_and_the_precision_of_the_kernel(
    design: str, name: str, precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    exact, halved = PRECISIONS[precision]
    monkeypatch.setattr(wide_kernel, "EXACT", exact)
    monkeypatch.setattr(wide_kernel, "HALVED", halved)
    monkeypatch.setattr(wide_kernel, "_multiplies_bfloat16", lambda X: True)
    X = DESIGNS[design]()
    weights = torch.arange(N, dtype=torch.float64) % 4  # a quarter of them zero
    for alpha in (1e-1, 1e-5):
        found, wanted = MODELS[name](X.shape[1]), MODELS[name](X.shape[1])
        y = target(found, X)
        same = {"penalty": L2(alpha), "sample_weight": weights, "offset": randn(N, seed=11)}
        a = fit(found, X, y, optimizer=KernelNewton, max_epochs=300, **same)  # type: ignore[arg-type]
        b = fit(wanted, X, y, optimizer="newton", max_epochs=40, tol=0, **same)  # type: ignore[arg-type]
        assert a.converged, a.message
        assert a.objective <= b.objective * (1 + 1e-10)


def test_ridge_is_the_closed_form_to_the_last_digits() -> None:
    X, y, alpha = randn(N, P, seed=12), randn(N, seed=13), 0.03
    model = LinearRegression(P, bias=False, dtype=torch.float64)
    result = fit(model, X, y, optimizer=KernelNewton, penalty=L2(alpha))
    K = X @ X.T + 0.5 * N * alpha * torch.eye(N, dtype=torch.float64)
    assert result.converged
    assert_close(model.weight[0], X.T @ torch.linalg.solve(K, y), 1e-12)


def test_soft_targets_are_their_repetitions() -> None:
    X, share = randn(N, P, seed=14), torch.rand(N, generator=torch.Generator().manual_seed(15))
    share = share.double()
    soft, hard = (LogisticRegression(P, dtype=torch.float64) for _ in range(2))
    fit(soft, X, share, optimizer=KernelNewton, penalty=L2(0.01))
    twice, labels = X.repeat(2, 1), torch.cat((torch.ones(N), torch.zeros(N))).double()
    weights = torch.cat((share, 1 - share))
    fit(hard, twice, labels, optimizer=KernelNewton, penalty=L2(0.01), sample_weight=weights)
    assert_close(soft.weight, hard.weight, 1e-10)


def test_zero_weight_equals_removal() -> None:
    X, weights = randn(N, P, seed=16), (torch.arange(N) % 3 > 0).double()
    y = (X[:, 0] > 0).double()
    kept = weights > 0
    a, b = (LogisticRegression(P, dtype=torch.float64) for _ in range(2))
    fit(a, X, y, optimizer=KernelNewton, penalty=L2(0.1), sample_weight=weights)
    fit(b, X[kept], y[kept], optimizer=KernelNewton, penalty=L2(0.1))
    assert_close(a.weight, b.weight, 1e-12)


def test_a_better_start_is_not_left() -> None:
    X = randn(N, P, seed=17)
    y = (X[:, 0] > 0).double()
    model = LogisticRegression(P, dtype=torch.float64)
    fit(model, X, y, optimizer=KernelNewton, penalty=L2(0.1))
    before = model.weight.detach().clone()
    again = fit(model, X, y, optimizer=KernelNewton, penalty=L2(0.1))
    assert again.converged
    assert_close(model.weight, before, 1e-12)


@pytest.mark.parametrize("centred", [True, False])
def test_the_kernel_is_that_of_the_rows(centred: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    X = randn(N, P, seed=18) + 3
    Z = X - X.mean(0) if centred else X
    for exact, tolerance in ((2**60, 1e-14), (0, 1e-6)):
        monkeypatch.setattr(wide_kernel, "EXACT", exact)
        monkeypatch.setattr(wide_kernel, "BLOCK", 7 * N)
        monkeypatch.setattr(wide_kernel, "STRIP", 16)
        kernel = Kernel.of(X, centred=centred)
        error = (kernel.matrix.double() * kernel.unit - Z @ Z.T).abs().max()
        assert float(error) <= tolerance * float((Z @ Z.T).abs().max())
        A = randn(N, 2, seed=19)
        assert_close(kernel.pulled(A) * kernel.unit, A.T @ Z, 1e-12)


def test_float32_rows_reach_the_optimum_of_float64() -> None:
    X = randn(N, P, seed=20)
    y = (X[:, 0] > 0).double()
    narrow, wide = (LogisticRegression(P, dtype=d) for d in (torch.float32, torch.float64))
    for model in (narrow, wide):
        assert fit(model, X, y, optimizer=KernelNewton, penalty=L2(0.01)).converged
    assert_close(narrow.weight.double(), wide.weight, 1e-4)


@pytest.mark.parametrize(
    ("model", "penalty", "words"),
    [
        (LogisticRegression(P), None, "no penalty"),
        (LogisticRegression(P), L2(0.0), "alpha > 0"),
        (OrdinalRegression(P, 3), L2(0.1), "OrdinalRegression"),
    ],
)
def test_what_it_cannot_solve_is_refused_with_a_cure(
    model: Model, penalty: L2 | None, words: str
) -> None:
    X, y = randn(N, P, seed=21), torch.arange(N) % model.n_classes  # type: ignore[operator]
    with pytest.raises(ValueError, match=f"{words}.*newton_cg"):
        fit(model, X, y, optimizer=KernelNewton, penalty=penalty)


def test_kinks_are_refused() -> None:
    X = randn(N, P, seed=22)
    with pytest.raises(ValueError, match="non-smooth"):
        fit(LogisticRegression(P), X, X[:, 0] > 0, optimizer=KernelNewton, penalty=L1(0.1))


def test_the_same_rows_give_the_same_bits() -> None:
    X = randn(N, P, seed=23)
    y = (X[:, 0] > 0).double()
    found = []
    for _ in range(2):
        model = LogisticRegression(P, dtype=torch.float64)
        fit(model, X, y, optimizer=KernelNewton, penalty=L2(0.01))
        found.append(model.weight.detach().clone())
    assert all(torch.equal(a, b) for a, b in itertools.pairwise(found))


@pytest.mark.parametrize(
    ("n", "p", "penalty", "name"),
    [
        (100, 300, L2(0.1), "KernelNewton"),
        (300, 300, L2(0.1), "Newton"),
        (50, 100, L2(0.1), "Newton"),  # too small to matter
    ],
)
def test_fewer_rows_than_columns_under_a_ridge_choose_it(
    n: int, p: int, penalty: L2, name: str
) -> None:
    X = randn(n, p, seed=24)
    result = fit(LogisticRegression(p, dtype=torch.float64), X, X[:, 0] > 0, penalty=penalty)
    assert result.optimizer == name and result.converged
    assert name == "Newton" or f"{n} rows are fewer than {p} columns" in result.message
