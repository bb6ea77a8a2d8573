"""The optimizer of a fit to sparse rows that names none: what the rows say of it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import sparse

from torchlogreg import L2, LogisticRegression, fit
from torchlogreg.kernels import SMALLEST
from torchlogreg.optim.choose_sparse import ALIKE

N, P = 6000, 12_000


@pytest.mark.parametrize(
    ("scale", "chosen"), [(0.0, "DualCoordinate"), (0.1, "DualCoordinate"), (3.0, "NewtonCG")]
)
def test_a_column_beside_which_all_rows_are_alike_is_not_left_to_the_dual(
    scale: float, chosen: str
) -> None:
    pytest.importorskip("numba", reason="the compiled kernels are the extra 'fast'")
    rng = np.random.default_rng(0)
    places = rng.integers(1, P, (N, 10))
    words = sparse.csr_matrix(
        (np.ones(N * 10), places.ravel(), np.arange(0, N * 10 + 1, 10)), shape=(N, P)
    )
    amounts = sparse.csr_matrix(scale * rng.lognormal(size=(N, 1)))
    X = sparse.hstack([amounts, words[:, 1:]], format="csr")
    squares = np.asarray(X.multiply(X).sum(axis=0)).ravel()
    assert (squares.max() > ALIKE * squares.sum()) == (chosen == "NewtonCG")
    y = (X @ rng.standard_normal(P) + rng.logistic(size=N) > 0).astype(float)
    model, token = LogisticRegression(P, bias=False, dtype=torch.float64), SMALLEST.set(0)
    try:
        result = fit(model, X, y, penalty=L2(1 / N))
    finally:
        SMALLEST.reset(token)
    assert result.converged and result.optimizer == chosen and result.n_epochs < 20
