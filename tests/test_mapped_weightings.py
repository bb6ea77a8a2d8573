"""Weightings of rows that stay on disk: asked piece by piece, and the same as in memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from test_mapped import saved

from torchlogreg import (
    L2,
    BoostMisclassified,
    ClassBalanced,
    ClassMean,
    ClassWeights,
    Focal,
    LogisticRegression,
    Product,
    Smoothed,
    SoftmaxRegression,
    fit,
)
from torchlogreg import weighting as rules
from torchlogreg.disk import mapped as mapping

pytestmark = pytest.mark.filterwarnings("ignore::torchlogreg.ConvergenceWarning")

WEIGHTINGS = {
    "balanced": ClassBalanced(),
    "chosen": ClassWeights({0: 3.0}),
    "boost": BoostMisclassified(3.0, cap=9.0),
    "boost, forgetting": BoostMisclassified(3.0, sticky=False),
    "class mean": ClassMean(),
    "smoothed": Smoothed(Focal(1.0)),
    "product": Product(ClassBalanced(), Smoothed(BoostMisclassified())),
    "function": lambda snapshot: 1 + snapshot.losses,
}


@pytest.mark.parametrize("name", WEIGHTINGS)
@pytest.mark.parametrize("classes", [2, 3])
def test_a_weighting_says_of_mapped_rows_what_it_says_in_memory(
    name: str, classes: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mapping, "LARGE", 1)
    monkeypatch.setattr(rules, "PIECE", 64)  # seven pieces
    looked, pieces = [], rules.Snapshot._rows
    monkeypatch.setattr(
        rules.Snapshot, "_rows", lambda *args: looked.append(args[1]) or pieces(*args)
    )
    table, found = np.load(saved(tmp_path), mmap_mode="r"), []
    settings: dict[str, Any] = {"penalty": L2(0.01), "optimizer": "lbfgs", "tol": 0}
    for rows in (table, np.array(table)):
        model: Any = LogisticRegression(3, dtype=torch.float64)
        y: Any = rows[:, -1]
        if classes == 3:
            model = SoftmaxRegression(3, 3, dtype=torch.float64)
            y = y.astype(int) + (rows[:, 0] > 1)
        rule = WEIGHTINGS[name]
        result = fit(model, rows[:, :-1], y, weighting=rule, max_epochs=5, **settings)
        assert result.sample_weight.std() > 0.01
        found.append(torch.cat((model.weight.detach().flatten(), result.sample_weight)))
    assert name == "function" or len(looked) >= 7
    torch.testing.assert_close(*found, rtol=1e-12, atol=1e-14)
