"""L1 and its kin on rows that stay on disk: the same numbers as in memory, few columns or many."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from test_mapped import saved

from torchlogreg import (
    L1,
    ElasticNet,
    Focal,
    LinearRegression,
    LogisticRegression,
    Smoothed,
    SoftmaxRegression,
    data,
    fit,
)
from torchlogreg.disk import mapped as mapping
from torchlogreg.hooks import Checkpoint
from torchlogreg.optim import working_set

pytestmark = pytest.mark.filterwarnings("ignore::torchlogreg.ConvergenceWarning")

MODELS: dict[str, Any] = {
    "linear": LinearRegression,
    "logistic": LogisticRegression,
    "softmax": lambda p, dtype: SoftmaxRegression(p, 2, dtype=dtype),
}


@pytest.mark.parametrize("kept", [True, False], ids=["columns kept", "columns read anew"])
@pytest.mark.parametrize("penalty", [L1(0.05), ElasticNet(0.05)], ids=["l1", "elastic net"])
@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("offset", [False, True], ids=["", "offset"])
def test_kinks_of_mapped_rows_are_those_in_memory(
    model: str,
    penalty: Any,
    kept: bool,
    offset: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    table, found = np.load(saved(tmp_path, p=6), mmap_mode="r"), []
    known = np.random.default_rng(1).normal(size=400) if offset else None
    if not kept:
        monkeypatch.setattr(working_set, "KEPT", 1)
    for rows in (np.array(table), table):
        made = MODELS[model](6, dtype=torch.float64)
        if rows is table:
            monkeypatch.setattr(mapping, "LARGE", 1)
            for place in (data, working_set):
                monkeypatch.setattr(place, "PIECE", 64)
        y = rows[:, -1]
        y = y.astype(int) if model == "softmax" else y
        result = fit(made, rows[:, :-1], y, penalty=penalty, offset=known)
        assert result.converged and result.optimizer == "ProximalNewton"
        found.append(torch.cat([p.detach().flatten() for p in made.parameters()]))
    torch.testing.assert_close(*found, rtol=1e-9, atol=1e-12)


def test_a_fit_of_mapped_rows_resumes_bit_for_bit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mapping, "LARGE", 1)
    table, found = np.load(saved(tmp_path, p=6), mmap_mode="r"), []
    settings: dict[str, Any] = {"penalty": L1(0.01), "tol": 0.0}
    for folder, legs in (("whole", (9,)), ("parts", (4, 9))):
        for epochs in legs:
            model = LogisticRegression(6, dtype=torch.float64)
            fit(
                *(model, table[:, :-1], table[:, -1]),
                max_epochs=epochs,
                weighting=Smoothed(Focal(1.0)),
                hooks=[Checkpoint(tmp_path / folder)],
                resume=tmp_path / folder,
                **settings,
            )
        found.append(torch.cat([p.detach().flatten() for p in model.parameters()]))
    assert torch.equal(*found)
