"""Columns of wider rows: the kernels read them strip by strip, to the same numbers."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from test_kernels import KINDS, ROUNDING, assert_same, compiled, in_torch, problem

from torchlogreg.data import Batch
from torchlogreg.kernels import (
    SMALLEST,
    available,
    column_squares,
    columns_available,
    gram,
    gram_available,
    squares_available,
    strips,
)

pytest.importorskip("numba", reason="the compiled kernels are the extra 'fast'")


@pytest.fixture(autouse=True)
def _small_problems_in_small_strips(monkeypatch):
    monkeypatch.setattr(strips, "ENTRIES", 300)
    token = SMALLEST.set(0)
    yield
    SMALLEST.reset(token)


def with_gaps(batch: Batch) -> Batch:
    """The same rows as columns of a wider table, beside numbers that are none."""
    wide = torch.full((len(batch), batch.X.shape[1] + 2), torch.nan, dtype=batch.X.dtype)
    wide[:, 1:-1] = batch.X
    return replace(batch, X=wide[:, 1:-1])


@pytest.mark.parametrize("dtype", ROUNDING, ids=str)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", [(1, 1), (7, 3), (15, 20), (1003, 20), (50, 301)], ids=str)
def test_sums_over_columns_of_wider_rows_are_those_of_autograd(kind, shape, dtype):
    for offset in ("none", "row", "score"):
        model, batch = problem(kind, *shape, dtype, offset=offset)
        rows = with_gaps(batch)
        assert available(model, model.nll, rows)
        assert_same(compiled(model, rows), in_torch(model, batch), ROUNDING[dtype])


@pytest.mark.parametrize("shape", [(2, 2), (100, 3), (1003, 20)], ids=str)
def test_products_of_columns_of_wider_rows_are_those_of_the_columns(shape):
    batch = problem("binary", *shape, torch.float64)[1]
    X, rows, d = batch.X, with_gaps(batch).X, batch.sample_weight
    assert gram_available(rows) and squares_available(rows) and not columns_available(rows)
    torch.testing.assert_close(gram(rows, d), (X * d[:, None]).T @ X, rtol=1e-12, atol=1e-13)
    torch.testing.assert_close(column_squares(rows), X.square().sum(0), rtol=1e-12, atol=0)


def test_rows_of_one_piece_are_not_copied():
    X = torch.ones(100, 7, dtype=torch.float64)
    seen = []
    strips.over_strips(X, lambda part, rows: seen.append((part, rows)) or torch.zeros(1))
    assert len(seen) == 1 and seen[0][0] is X and seen[0][1] == slice(0, 100)
