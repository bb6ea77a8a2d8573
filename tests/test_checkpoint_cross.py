"""Every optimizer under every weighting, by batches and without: resumed to the same bits."""

from __future__ import annotations

import re
from itertools import product
from pathlib import Path

import pytest
from test_checkpoint import MODEL, SPARSE, WEIGHTINGS, assert_resumed_is_straight, run

from torchlogreg import L2, OPTIMIZERS

pytestmark = pytest.mark.filterwarnings("ignore::torchlogreg.ConvergenceWarning")

REFUSED = "mini-batch|batch_size|weighs by class"


def assert_resumes(folder: Path, optimizer: str, weighting: str, batch_size: int | None) -> bool:
    """Whether that fit can be had at all; if so, it ends with the bits of one not interrupted."""
    settings = {
        "name": MODEL.get(optimizer, "logistic"),
        "optimizer": optimizer,
        "batch_size": batch_size,
        "penalty": None if optimizer == "least_squares" else L2(0.05),
        "weighting": WEIGHTINGS[weighting],
    }
    try:
        run(**settings, max_epochs=1)
    except ValueError as error:
        assert re.search(REFUSED, str(error)), error
        return False
    assert_resumed_is_straight(folder, **settings)
    return True


@pytest.mark.parametrize("optimizer", sorted(OPTIMIZERS))
def test_every_optimizer_resumes_bit_for_bit_under_every_weighting(
    tmp_path: Path, optimizer: str
) -> None:
    if optimizer in SPARSE:
        pytest.importorskip("numba")
    ways = list(product(WEIGHTINGS, (None, 16)))
    fitted = [assert_resumes(tmp_path / f"{w} {b}", optimizer, w, b) for w, b in ways]
    # Squares of residuals know no class: one weighting of nine, and no mini-batches.
    assert sum(fitted) == 1 if optimizer == "least_squares" else sum(fitted) >= len(WEIGHTINGS)
