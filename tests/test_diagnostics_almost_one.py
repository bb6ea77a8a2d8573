"""Separation beside columns that are almost one: overlap is proven, and their difference found."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from torchlogreg import ConvergenceWarning, LogisticRegression, fit
from torchlogreg.diagnostics import report, separation

F64 = torch.float64


def rows(seed: int, apart: float, kind: str, n: int = 1000) -> tuple[np.ndarray, np.ndarray]:
    """Four columns and a fifth, almost the second, and classes by what their difference is."""
    rng = np.random.default_rng(seed)
    X, beyond = rng.normal(size=(n, 4)), rng.normal(size=n)
    y = beyond > 0
    if kind == "overlap":
        beyond += rng.normal(size=n)
    elif kind == "complete":
        beyond += 0.5 * np.sign(beyond)
    else:  # most rows have none, and either class
        none = rng.random(n) < 0.8
        beyond, y = np.where(none, 0.0, beyond), np.where(none, rng.random(n) < 0.5, y)
    return np.column_stack((X, X[:, 1] + apart * beyond)), y.astype(float)


@pytest.mark.parametrize("apart", [1e-3, 1e-5, 1e-6])
@pytest.mark.parametrize("seed", range(3))
def test_overlap_needs_no_linear_programs(
    seed: int, apart: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Where pivots below 1e-5 were taken for rounding, every such fit ran the exact test: 90 ms of
    # 117 at 100,000 x 20.
    monkeypatch.setattr(report, "separation_of", None)
    X, y = rows(seed, apart, "overlap")
    result = fit(LogisticRegression(5, dtype=F64), X, y)
    assert result.converged
    assert [(f.kind, f.columns) for f in result.diagnosis] == [("near_collinear", (1, 4))]


@pytest.mark.parametrize("apart", [1e-2, 1e-3])
@pytest.mark.parametrize("kind", ["complete", "quasi"])
@pytest.mark.parametrize("seed", range(4))
def test_columns_that_separate_by_their_difference_are_named(
    seed: int, kind: str, apart: float
) -> None:
    # Rows whose two entries are equal are not quite so once centred and scaled: the program that
    # looks for the fewest columns had no solution, and the fit "converged".
    X, y = rows(seed, apart, kind)
    found = separation(X, y)
    assert (found.kind, found.columns) == (kind, (1, 4))
    change = np.where(y > 0, 1, -1) * (X @ found.direction + found.intercept)
    assert change.min() > -1e-6 * change.max()
    assert found.n_certain == ((X[:, 4] - X[:, 1]) != 0).sum()
    with pytest.warns(ConvergenceWarning, match="separated by column 1, column 4"):
        result = fit(LogisticRegression(5, dtype=F64), X, y)
    assert result.message.startswith("separated") and not result.converged


@pytest.mark.parametrize("kind", ["complete", "quasi"])
def test_a_proof_of_overlap_is_never_had_of_separated_rows(kind: str) -> None:
    for seed in range(40):
        apart = 10 ** np.random.default_rng(seed).uniform(-7, -2)
        X, y = rows(seed, apart, kind, n=200)
        with pytest.warns(ConvergenceWarning, match=r"separat"):  # or that it is not excluded
            fit(LogisticRegression(5, dtype=F64), X, y, tol=1e-4)
