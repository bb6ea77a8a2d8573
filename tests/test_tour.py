"""The notebook runs from top to bottom in a fresh kernel, and what it shows is true."""

from __future__ import annotations

import math
import os
import re
from pathlib import Path
from typing import Any

import pytest

TOUR = Path(__file__).parent.parent / "docs" / "tour.ipynb"
MISSING = "nbclient, nbformat and ipykernel are in the test extra"


def notebook() -> Any:
    """The file as committed."""
    return pytest.importorskip("nbformat", reason=MISSING).read(TOUR, as_version=4)


def printed(book: Any) -> str:
    """What all cells print."""
    outputs = [o for cell in book.cells for o in cell.get("outputs", [])]
    return "".join(o.text for o in outputs if o.output_type == "stream")


def kinds(book: Any) -> list[str]:
    """Kinds of what each output shows, in order."""
    outputs = [o for cell in book.cells for o in cell.get("outputs", [])]
    shown = [o.data for o in outputs if o.output_type in ("display_data", "execute_result")]
    return ["film" if "text/html" in data else "picture" for data in shown]


@pytest.fixture(scope="module")
def executed(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The notebook after a run in a kernel of this Python, in an empty folder."""
    client = pytest.importorskip("nbclient", reason=MISSING)
    pytest.importorskip("ipykernel", reason=MISSING)
    pytest.importorskip("imageio_ffmpeg", reason="films need the video extra")
    folder = tmp_path_factory.mktemp("tour")
    book = notebook()
    for cell in book.cells:
        cell.pop("outputs", None)
        if cell.cell_type == "code":
            cell.outputs = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        patch.setenv("JUPYTER_PATH", os.fspath(folder))  # no kernel of the machine's, only ours
        client.NotebookClient(
            book, timeout=300, kernel_name="python3", resources={"metadata": {"path": str(folder)}}
        ).execute()
    return book


def test_it_runs_and_warns_of_nothing(executed):
    errors = [o for cell in executed.cells for o in cell.get("outputs", []) if o.get("name")]
    assert {o.name for o in errors} == {"stdout"}


def test_loss_is_minus_the_mean_log_likelihood(executed):
    text = printed(executed)
    a, b = (float(re.search(name + r" +([0-9.]+)", text)[1]) for name in ("/ n", "the losses"))
    likelihood = float(re.search(r"likelihood +([0-9.e-]+)", text)[1])
    assert a == b and abs(a + math.log(likelihood) / 40) < 1e-4


def test_three_gradients_are_one(executed):
    found = re.findall(r"(?:by hand|autograd|analytic) +(\S+) (\S+)", printed(executed))
    rows = [tuple(map(float, row)) for row in found]
    assert len(rows) == 3
    assert all(row == pytest.approx(rows[0], rel=1e-12) for row in rows)


def test_newton_needs_the_fewest_epochs(executed):
    pattern = r"^([A-Za-z][\w -]*?) +(\d+) +(-?[0-9.e+-]+) +(True|False)$"
    table = re.findall(pattern, printed(executed), re.M)
    epochs = {name: int(n) for name, n, _, _ in table}
    assert set(epochs) == {"descent", "momentum", "Adam", "L-BFGS", "Newton"}
    assert min(epochs, key=epochs.__getitem__) == "Newton"
    assert all(float(excess) >= -1e-15 for _, _, excess, _ in table)


def test_misclassified_rows_count_double(executed):
    heavy, light = re.search(r"weight: ([0-9.]+) against ([0-9.]+)", printed(executed)).groups()
    assert float(heavy) == pytest.approx(2 * float(light), abs=0.01)


def test_separation_is_diagnosed_and_cured(executed):
    text = printed(executed)
    assert "converged: False\nseparation: the classes are completely separated" in text
    assert len(re.findall(r"\) +converged True, w = -", text)) == 2


def test_students_are_those_of_statsmodels(executed):
    # Independent truth: statsmodels' Logit on the numbers that the notebook draws.
    import numpy as np
    import statsmodels.api as sm

    rng = np.random.default_rng(1)
    hours = np.sort(rng.uniform(0, 10, 40))
    passed = 0.8 * (hours - 5) + rng.logistic(size=40) > 0
    truth = sm.Logit(passed.astype(float), sm.add_constant(hours)).fit(disp=0)
    text = printed(executed)
    for name, i in (("const", 0), ("hours", 1)):
        row = re.search(rf"^{name} +(\S+) +(\S+)", text, re.M).groups()
        assert [float(v) for v in row] == pytest.approx([truth.params[i], truth.bse[i]], abs=1e-4)


def test_the_committed_file_shows_the_same_and_is_small(executed):
    committed = notebook()
    assert kinds(committed) == kinds(executed)
    assert kinds(executed).count("film") == 4 and kinds(executed).count("picture") == 3
    # Word by word in number, not in digits: the last ones depend on the processor.
    first, again = (printed(book).splitlines() for book in (committed, executed))
    assert [len(line.split()) for line in first] == [len(line.split()) for line in again]
    assert TOUR.stat().st_size < 2_000_000
