"""The rows of ``train.py --mapped``: standardised as those in memory are, and divided."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from torchlogreg import LogisticRegression
from torchlogreg.data import minibatches
from torchlogreg.datasets import Dataset
from torchlogreg.disk import mapped as mapping
from torchlogreg.inputs import make_data
from torchlogreg.scaling import Standardizer


def dataset(n: int = 40_000) -> Dataset:
    """Columns near zero, far from it, constant, and of whole numbers."""
    rng = np.random.default_rng(0)
    columns = [rng.normal(size=n), 1e9 + rng.normal(size=n), np.full(n, 0.1), np.arange(n) % 7]
    X = np.column_stack(columns)
    return Dataset("t", X, np.arange(n) % 2, ("a", "b", "c", "d"), ("no", "yes"))


@pytest.fixture
def mapped_rows(monkeypatch):
    """The module of the scripts."""
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "scripts"))
    module = pytest.importorskip("mapped_rows")
    yield module
    sys.modules.pop("mapped_rows", None)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_blocks_are_standardised_as_the_whole_is(bias, dtype, mapped_rows):
    data = dataset()
    args = argparse.Namespace(test_size=0.25, seed=3, standardize=True, bias=bias)
    split = mapped_rows.divide_mapped(args, data, LogisticRegression(4, dtype=dtype))
    raw = torch.from_numpy(data.X)
    place = {row.tobytes(): i for i, row in enumerate(data.X)}
    if dtype is torch.float64:  # every row is on one side
        sides = [{place[row.tobytes()] for row in X.numpy()} for X in (split.X_raw, split.X_test)]
        assert len(sides[0]) == 30_000 and len(sides[1]) == 10_000 and not sides[0] & sides[1]
        kept = raw[sorted(sides[0])]
        truth = Standardizer.of(kept, centre=bias)
        assert torch.allclose(split.standardizer.mean, truth.mean, rtol=1e-15, atol=1e-15)
        assert torch.allclose(split.standardizer.scale, truth.scale, rtol=1e-9, atol=0)
        assert torch.allclose(split.X, truth.transform(kept), rtol=1e-6, atol=1e-6)
        assert torch.equal(split.y, torch.tensor(sorted(sides[0])) % 2)
    assert split.X.dtype == dtype and split.X.shape == (30_000, 4)
    assert bool(torch.isfinite(split.X).all())


def test_mini_batches_of_mapped_rows_come_in_the_order_of_rows_in_memory(tmp_path, monkeypatch):
    """The order is on disk then: it took eight bytes a row."""
    monkeypatch.setattr(mapping, "LARGE", 1)
    X = np.random.default_rng(0).normal(size=(1000, 3))
    np.save(tmp_path / "rows.npy", X)
    orders = []
    for rows in (X, np.load(tmp_path / "rows.npy", mmap_mode="r")):
        data = make_data(LogisticRegression(3, dtype=torch.float64), rows, np.arange(1000.0) % 2)
        generator = torch.Generator().manual_seed(4)
        epochs = [[b.index.clone() for b in minibatches(data, 64, generator)] for _ in range(3)]
        assert all(torch.equal(torch.cat(e).sort().values, torch.arange(1000)) for e in epochs)
        assert [len(index) for index in epochs[0]] == [64] * 15 + [40]
        orders.append(torch.stack([torch.cat(e) for e in epochs]))
    assert data.mapped and torch.equal(*orders)
    assert len({tuple(order.tolist()) for order in orders[0]}) == 3
