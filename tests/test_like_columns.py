"""Columns that are almost one, under L1: told apart at once, by either kind of proximal Newton."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy import sparse

from torchlogreg import (
    L1,
    ElasticNet,
    FitResult,
    LinearRegression,
    LogisticRegression,
    Penalty,
    fit,
)
from torchlogreg.hooks import Checkpoint
from torchlogreg.optim.like_columns import LikeColumns

compiled = pytest.mark.skipif(
    importlib.util.find_spec("numba") is None, reason="the kernels need numba"
)


def twins(n: int, p: int, gap: float, copies: int = 1, share: float = 0.1, seed: int = 0) -> Any:
    """Sparse columns, each with copies that are multiples of it but for ``gap``, all shuffled."""
    rng = np.random.default_rng(seed)
    base = sparse.csc_array(rng.standard_normal((n, p)) * (rng.random((n, p)) < share))
    parts = [base]
    for _ in range(copies):
        other = base.copy()
        other.data *= 1 + gap * rng.standard_normal(len(other.data))
        parts.append(other @ sparse.diags_array(rng.choice([-2.0, 1.0, 0.5], p)))
    X = sparse.hstack(parts, format="csr")
    return X[:, rng.permutation(X.shape[1])]


def numbers(X: Any, kind: str) -> np.ndarray:
    """A response that a few columns explain."""
    rng = np.random.default_rng(1)
    score = X @ (rng.standard_normal(X.shape[1]) * (rng.random(X.shape[1]) < 0.2))
    if kind == "linear":
        return score + rng.standard_normal(len(score))
    return (score + rng.logistic(size=len(score)) > 0).astype(float)


def test_columns_of_the_same_rows_are_found_whatever_stands_between() -> None:
    X = twins(300, 40, gap=1e-6, copies=2).tocsc()
    alike = LikeColumns(X)
    assert alike.any
    active = np.arange(0, 120, dtype=np.int64)
    mate = alike.mates(active)
    places = [frozenset(X.indices[X.indptr[j] : X.indptr[j + 1]].tolist()) for j in range(120)]
    for j, m in enumerate(mate):
        assert m == -1 or places[j] == places[m]
    assert (mate >= 0).sum() == 80  # of three, two have a next
    assert len(set(mate[mate >= 0].tolist())) == 80
    some = np.flatnonzero(np.arange(120) % 3)
    few = alike.mates(some)
    for a in np.flatnonzero(few >= 0):
        assert places[some[a]] == places[some[few[a]]]


def test_the_nearest_of_the_same_rows_stand_side_by_side() -> None:
    rng = np.random.default_rng(0)
    full = rng.standard_normal((50, 30))
    X = np.hstack((full, 3 * full + 1e-8 * rng.standard_normal((50, 30))))
    mate = LikeColumns(sparse.csc_array(X)).mates(np.arange(60))
    pairs = {frozenset((j, int(m))) for j, m in enumerate(mate)}
    assert all(frozenset((j, j + 30)) in pairs for j in range(30))


def test_columns_of_unlike_rows_are_not() -> None:
    X = sparse.random_array((400, 60), density=0.1, rng=np.random.default_rng(0), format="csc")
    assert not LikeColumns(X).any
    empty = LikeColumns(sparse.csc_array((5, 3)))
    assert not empty.any
    assert len(empty.mates(np.arange(3))) == 0


@compiled
@pytest.mark.parametrize("gap", [1.0, 1e-3, 1e-7])
@pytest.mark.parametrize("kink", [(0.3, 0.3), (0.0, 0.5), (2.0, 0.1)])
def test_two_weights_are_moved_to_the_minimum_of_their_plane(
    gap: float, kink: tuple[float, float]
) -> None:
    from torchlogreg.kernels.pairs import in_plane

    rng = np.random.default_rng(int(1 / gap))
    patterns = set()
    for _ in range(200):
        x, rest = rng.standard_normal(5), gap * rng.standard_normal(5)
        rest -= x * (x @ rest) / (x @ x)
        z = x + rest
        H = np.array([[x @ x, x @ z], [x @ z, z @ z]])
        at = rng.standard_normal(2) * (rng.random(2) < 0.7)
        slope = rng.standard_normal() * np.array([1.0, 1.0]) + gap * rng.standard_normal(2)
        bends = (H[0, 0], H[1, 1], H[0, 1], (x @ x) * (rest @ rest))
        found, *d = in_plane(tuple(slope), bends, tuple(at), kink)
        assert found
        w, after = at + d, slope + H @ d
        noise = 1e-13 * (1 + np.abs(H).sum() * np.abs(d).sum())
        for i in range(2):
            if abs(w[i]) <= 1e-15:
                assert abs(after[i]) <= kink[i] + noise
            else:
                assert abs(after[i] + kink[i] * np.sign(w[i])) <= noise
        patterns.add(tuple(np.sign(np.round(w, 15))))
    assert len(patterns) >= 2


@compiled
@pytest.mark.parametrize("gap", [0.0, 1e-9, 1e-6, 1e-3, 0.3])
@pytest.mark.parametrize("copies", [1, 3])
@pytest.mark.parametrize("penalty", [L1, ElasticNet])
@pytest.mark.parametrize("kind", ["linear", "logistic"])
def test_both_find_the_optimum_in_a_few_epochs(
    kind: str, penalty: type[Penalty], copies: int, gap: float
) -> None:
    X = twins(200, 60, gap, copies)
    y = numbers(X, kind)
    made = LinearRegression if kind == "linear" else LogisticRegression
    found = []
    for rows, name in ((X, "coordinate_newton"), (X.toarray(), "proximal_newton")):
        model = made(X.shape[1], dtype=torch.float64)
        result = fit(model, rows, y, penalty=penalty(0.02), optimizer=name, tol=1e-10)
        assert result.converged and result.n_epochs <= 20
        found.append(result.objective)
    assert found[0] == pytest.approx(found[1], rel=1e-9)


@compiled
def test_a_fit_of_twins_resumes_bit_for_bit(tmp_path: Path) -> None:
    X = twins(400, 150, 1e-6)
    y = numbers(X, "logistic")

    def run(*hooks: Checkpoint, **settings: Any) -> tuple[FitResult, torch.Tensor]:
        model = LogisticRegression(X.shape[1], dtype=torch.float64)
        common = {"penalty": L1(0.005), "optimizer": "coordinate_newton", "tol": 1e-10}
        return fit(model, X, y, hooks=hooks, **(common | settings)), model.weight.detach()

    straight, weight = run()
    for last in range(1, straight.n_epochs):
        folder = tmp_path / str(last)
        with pytest.warns(UserWarning, match="max_epochs"):
            run(Checkpoint(folder, every=1), max_epochs=last)
        again, resumed = run(Checkpoint(folder), resume=folder)
        assert again.converged and again.n_epochs == straight.n_epochs
        assert torch.equal(weight, resumed)


@compiled
def test_twins_share_in_float32() -> None:
    X = twins(200, 60, 1e-3).astype(np.float32)
    y = numbers(X, "logistic").astype(np.float32)
    model = LogisticRegression(X.shape[1])
    result = fit(model, X, y, penalty=L1(0.02), optimizer="coordinate_newton", tol=1e-4)
    assert result.converged and model.weight.dtype == torch.float32


@pytest.mark.parametrize("kind", ["linear", "logistic"])
def test_columns_of_one_row_are_multiples_of_each_other(kind: str) -> None:
    """Matrices of theirs are singular: a diagonal that float32 rounds away left 200 epochs."""
    X = twins(60, 40, 1e-6, copies=3, share=0.03).toarray()
    made = LinearRegression if kind == "linear" else LogisticRegression
    model = made(X.shape[1], bias=False, dtype=torch.float64)
    y = numbers(sparse.csr_array(X), kind)
    result = fit(model, X, y, penalty=L1(0.01), optimizer="proximal_newton", tol=1e-10)
    assert result.converged and result.n_epochs <= 20
