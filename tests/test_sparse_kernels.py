"""Kernels that read dense rows, and sparse ones: these are not for them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from scipy import sparse

from torchlogreg import (
    L2,
    LinearRegression,
    LogisticRegression,
    OrdinalRegression,
    SoftmaxRegression,
    fit,
)
from torchlogreg.compressed import Compressed
from torchlogreg.kernels.interface import compiled
from torchlogreg.sparse_inputs import sparse_rows

F64 = torch.float64


@pytest.mark.usefixtures("small_kernels")
@pytest.mark.parametrize("optimizer", ["lbfgs", "newton_cg", "sgd"])
@pytest.mark.parametrize("kind", ["linear", "logistic", "softmax", "ordinal"])
def test_kernels_for_dense_rows_leave_sparse_ones_alone(
    kind: str, optimizer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A sparse matrix has as many entries as it stores: from 2^20 on the kernels took it for a dense
    # one, and it was filled in strip by strip (51 s instead of 1 at 40,000 x 50,000).
    def refuse(entries: Compressed, operation: str) -> Any:
        raise AssertionError(f"sparse rows were filled in by {operation}")

    entries = sparse.random_array((120, 2000), density=0.01, rng=np.random.default_rng(0))
    X = sparse_rows(entries, F64)  # few rows may be filled in
    y = torch.arange(120) % (2 if kind in ("linear", "logistic") else 3)
    make: dict[str, Callable[[], Any]] = {
        "linear": lambda: LinearRegression(2000, dtype=F64),
        "logistic": lambda: LogisticRegression(2000, dtype=F64),
        "softmax": lambda: SoftmaxRegression(2000, 3, dtype=F64),
        "ordinal": lambda: OrdinalRegression(2000, 3, dtype=F64),
    }
    assert not compiled(X)
    monkeypatch.setattr(Compressed, "dense", refuse)
    model = make[kind]()
    result = fit(model, X, y, optimizer=optimizer, penalty=L2(0.1), max_epochs=2, tol=0)
    assert result.n_epochs == 2 and bool(model.weight.any())
