"""Rows are counted as they are read, and a bar moves within an epoch of all rows."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from test_mapped import saved

from torchlogreg import LogisticRegression, autograd_pass, fit, meter
from torchlogreg.data import Batch
from torchlogreg.disk import mapped as mapping
from torchlogreg.hooks import Progress
from torchlogreg.hooks import progress as progress_module
from torchlogreg.losses import binary_nll
from torchlogreg.meter import METER, Meter

F64 = torch.float64


@pytest.fixture
def hung() -> Any:
    """A meter in this context."""
    found = Meter()
    token = METER.set(found)
    yield found
    METER.reset(token)


@pytest.mark.parametrize("size", [1, 7, 30, 100])
def test_strips_count_every_row_once(hung: Meter, size: int) -> None:
    X = torch.zeros(30, 2, dtype=F64)
    assert sum(len(strip) for strip in Batch(X, X[:, 0], X[:, 0]).strips(size)) == 30
    assert hung.rows == 30


@pytest.mark.parametrize("gaps", [False, True])
def test_a_compiled_pass_counts_its_rows_and_finds_the_same_bits(
    hung: Meter, gaps: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("numba")
    from torchlogreg.kernels import evaluate

    X = torch.randn(20_000, 8, dtype=F64, generator=torch.Generator().manual_seed(0))
    X = X[:, 1:] if gaps else X
    y, one, weight = (X[:, 0] > 0).to(F64), torch.ones(20_000, dtype=F64), X[:1] / 9

    def value() -> torch.Tensor:
        found = evaluate(*(binary_nll, X, y), sample_weight=one, weight=weight, intercepts=one[:1])
        return torch.cat((found.value.view(1), found.by_weight.flatten()))

    uncounted = value()
    monkeypatch.setattr(meter, "LARGE", 1)
    hung.rows = 0
    assert torch.equal(value(), uncounted)
    assert 19_900 <= hung.rows <= (40_000 if gaps else 20_000)


def test_a_bar_moves_within_an_epoch_of_all_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A pass over a file that is not in memory takes minutes, and the bar stood still."""
    monkeypatch.setattr(mapping, "LARGE", 1)
    monkeypatch.setattr(autograd_pass, "BLOCK", 60)  # twenty blocks of twenty rows
    monkeypatch.setattr(progress_module, "TICK", 0.01)

    def slow(eta: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        time.sleep(0.01)
        return binary_nll(eta, y)

    table = np.load(saved(tmp_path), mmap_mode="r")
    settings: dict[str, Any] = {"optimizer": "sgd", "max_epochs": 2, "tol": 0}
    hook = Progress(force=True)
    fit(
        *(LogisticRegression(3, dtype=F64), table[:, :-1], table[:, -1]),
        loss=slow,
        hooks=[hook],
        **settings,
    )
    err = capsys.readouterr().err
    first = [float(s) for s in re.findall(r"([\d.]+) passes over the rows in epoch 1", err)]
    assert first == sorted(first) and len(set(first)) >= 3 and 0 < first[-1] <= 3
    assert "rows in epoch 2" in err and "rows in epoch 3" not in err
    assert METER.get() is None and hook._ticker is None
