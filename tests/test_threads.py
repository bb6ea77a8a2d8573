"""Threads of a fit: few for few rows, the kernels' own for many, and the caller's afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from scipy import sparse
from torch.utils._python_dispatch import TorchDispatchMode

from torchlogreg import L2, LogisticRegression, OrdinalRegression, SoftmaxRegression, fit
from torchlogreg.base import Model
from torchlogreg.kernels import SMALLEST
from torchlogreg.state import FitState, Hook
from torchlogreg.threads import SMALL, sweeping_threads, threads_for

SHARED = 2**15
"""Numbers from which on torch shares an operation among its threads."""


@pytest.fixture
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("swept", [False, True])
@pytest.mark.parametrize("n", [10, SMALL])
@pytest.mark.usefixtures("two_threads")
def test_threads_of_torch_and_of_the_sweeps_and_both_restored(n: int, swept: bool) -> None:
    many = n >= SMALL
    with pytest.raises(KeyError), threads_for(torch.ones(n, 1), swept=swept):
        assert torch.get_num_threads() == (2 if many and not swept else 1)
        assert sweeping_threads() == (2 if many else 1)
        raise KeyError
    assert torch.get_num_threads() == sweeping_threads() == 2


@pytest.mark.usefixtures("two_threads")
def test_a_fit_of_few_rows_within_one_of_many_gives_the_sweeps_their_threads_back() -> None:
    with threads_for(torch.ones(SMALL, 1), swept=True):
        with threads_for(torch.ones(3, 1)):
            assert sweeping_threads() == 1
        assert (torch.get_num_threads(), sweeping_threads()) == (1, 2)


def tall(kind: str) -> tuple[Model, torch.Tensor, torch.Tensor]:
    """30,000 rows of 12 columns."""
    rng = torch.Generator().manual_seed(3)
    X = torch.randn(30_000, 12, generator=rng, dtype=torch.float64) + 0.5
    score = X[:, 0] - X[:, 1] + torch.randn(30_000, generator=rng, dtype=torch.float64)
    if kind == "binary":
        return LogisticRegression(12, dtype=X.dtype), X, (score > 0).double()
    y = (score > -1).long() + (score > 1).long()
    model = SoftmaxRegression if kind == "softmax" else OrdinalRegression
    return model(12, 3, dtype=X.dtype), X, y


class Seen(Hook):
    """Threads of the sweeps, and of torch, after the last epoch."""

    def on_epoch_end(self, state: FitState) -> None:
        self.threads = (sweeping_threads(), torch.get_num_threads())


@pytest.mark.parametrize("kind", ["binary", "softmax", "ordinal"])
def test_any_number_of_threads_gives_the_same_bits(kind: str) -> None:
    pytest.importorskip("numba", reason="the compiled kernels are the extra 'fast'")
    before, token, found, look = torch.get_num_threads(), SMALLEST.set(0), [], Seen()
    try:
        for n_threads in (1, 2, 3):
            model, X, y = tall(kind)
            torch.set_num_threads(n_threads)
            fit(model, X, y, penalty=L2(1e-3), hooks=[look])
            assert torch.get_num_threads() == n_threads and look.threads == (n_threads, 1)
            found.append(torch.cat([p.detach().flatten() for p in model.parameters()]))
    finally:
        torch.set_num_threads(before)
        SMALLEST.reset(token)
    assert torch.equal(found[0], found[1]) and torch.equal(found[0], found[2])


class Unswept(TorchDispatchMode):
    """Names of operations of torch on many numbers while it has several threads."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> object:
        if torch.get_num_threads() > 1 and any(
            isinstance(given, torch.Tensor) and given.numel() >= SHARED for given in args
        ):
            self.found.append(str(func))
        return func(*args, **(kwargs or {}))


@pytest.mark.usefixtures("two_threads")
@pytest.mark.parametrize("weighted", [False, True])
def test_no_thread_of_torch_spins_beside_the_kernels(weighted: bool) -> None:
    """One that has had work burns its core for milliseconds: a fit took a fifth longer."""
    pytest.importorskip("numba", reason="the compiled kernels are the extra 'fast'")
    model, X, y = tall("binary")
    X, y = X.repeat(4, 1), y.repeat(4)
    weights = torch.ones_like(y) + y if weighted else None
    with Unswept() as seen:
        fit(model, X, y, penalty=L2(1e-3), sample_weight=weights)
    assert set(seen.found) <= {"aten.detach.default"}


@pytest.mark.usefixtures("two_threads")
@pytest.mark.parametrize("optimizer", ["auto", "newton_cg", "lbfgs"])
def test_sparse_rows_have_one_thread(optimizer: str) -> None:
    """Whose products know but one; a second waited whenever another program had its core."""
    rng, p = np.random.default_rng(0), SHARED + 1
    X = sparse.random_array((4000, p), density=20 / p, rng=rng, format="csr")
    X = sparse.vstack([X] * 2, format="csr")
    assert X.nnz >= SMALL
    y, look = (rng.random(8000) < 0.5).astype(float), Seen()
    model = LogisticRegression(p, dtype=torch.float64)
    with Unswept() as seen:
        fit(model, X, y, penalty=L2(1e-3), hooks=[look], optimizer=optimizer, tol=1e-3)
    assert look.threads == (2, 1) and torch.get_num_threads() == 2
    assert set(seen.found) <= {"aten.detach.default"}
