"""Columns of any number of rows are judged a block at a time: the same findings, no copy of X."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import sparse
from torch import Tensor

from torchlogreg import L2, LinearRegression, LogisticRegression, fit
from torchlogreg.data import Batch
from torchlogreg.diagnostics import column_sums
from torchlogreg.diagnostics.column_sums import centred_gram, sizes, spread, triangle
from torchlogreg.diagnostics.columns import column_findings
from torchlogreg.diagnostics.problem import Problem
from torchlogreg.objective import Objective

F64 = torch.float64


def problem(X: Tensor, bias: bool = True, empty: bool = False) -> Problem:
    """The first row, and every seventh, has no weight where ``empty``."""
    model = LinearRegression(X.shape[1], bias=bias, dtype=X.dtype)
    weight = torch.ones(len(X), dtype=X.dtype)
    if empty:
        weight[::7] = 0
    return Problem(Objective(model), Batch(X, X[:, 0].clone(), weight))


def rows(case: str, n: int = 501) -> Tensor:
    X = torch.randn(n, 6, generator=torch.Generator().manual_seed(1), dtype=F64) + 2
    if case == "dependent":
        X[:, 4] = 3 * X[:, 0] - X[:, 2]
    elif case == "near":
        X[:, 4] = X[:, 0] - X[:, 2] + 1e-4 * X[:, 4]
    elif case == "constant":
        X[:, 3] = 0.1
    elif case == "scales":
        X[:, 1] *= 1e9
    elif case == "huge":
        X *= 1e200
        X[:, 2] = 0
    elif case == "alike":
        X[:, 5] = X[:, 1]
        X *= 1e-200
    return X


CASES = ["plain", "dependent", "near", "constant", "scales", "huge", "alike"]


@pytest.mark.parametrize("empty", [False, True])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("case", CASES)
def test_the_findings_do_not_depend_on_the_blocks(
    case: str, bias: bool, empty: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = column_findings(problem(rows(case), bias, empty))
    monkeypatch.setattr(column_sums, "ENTRIES", 1)  # 24 rows, and 21 in the last
    assert column_findings(problem(rows(case), bias, empty)) == whole
    assert bool(whole) == (case != "plain" and (bias or case != "constant"))


@pytest.mark.parametrize("bias", [True, False])
def test_sums_over_blocks_are_those_of_all_rows(
    bias: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(column_sums, "ENTRIES", 1)
    X = rows("plain", 200)
    looked, A = problem(X, bias), X.numpy()
    centred = A - A.mean(0) if bias else A
    size, kept = sizes(looked), torch.tensor([0, 2, 5])
    assert np.array_equal(size.numpy(), np.abs(A).max(0))
    found = spread(looked, size)
    np.testing.assert_allclose(found.largest * size, np.abs(centred).max(0), rtol=1e-14)
    np.testing.assert_allclose(found.norm * size, np.linalg.norm(centred, axis=0), rtol=1e-14)
    unit = (centred / np.linalg.norm(centred, axis=0))[:, kept]
    R = triangle(looked, size, found, kept)
    np.testing.assert_allclose(R.T @ R, unit.T @ unit, rtol=1e-13, atol=1e-14)
    gram, taken = centred_gram(looked)
    np.testing.assert_allclose(gram, centred.T @ centred, rtol=1e-13, atol=1e-12)
    np.testing.assert_allclose(gram.diagonal() + taken, np.square(A).sum(0), rtol=1e-13)


@pytest.mark.parametrize("n", [50, 501, 200_000])
@pytest.mark.parametrize("value", [0.1, 7.7, 1e-9 / 3, 1e9 + 0.1])
def test_a_constant_is_named_whatever_its_digits(value: float, n: int) -> None:
    """The mean of n numbers 0.1 is not 0.1; what is left of the column is no variation."""
    X = rows("plain", n)
    X[:, 3] = value
    found = [f for f in column_findings(problem(X)) if f.kind == "constant"]
    assert [f.columns for f in found] == [(3,)]


def test_a_constant_of_many_sparse_rows_is_named() -> None:
    X = rows("plain", 150_000)[:, :4] * (rows("plain", 150_000)[:, 1:5] > 3.7)
    X[:, 2] = 0.1
    y = (X[:, 0] > 0).double()
    model = LogisticRegression(4, dtype=F64)
    result = fit(model, sparse.csr_matrix(X.numpy()), y, max_epochs=3, penalty=L2(0.1))
    assert [f.columns for f in result.diagnosis if f.kind == "constant"] == [(2,)]


SCRIPT = """
from pathlib import Path
import torch
from torchlogreg import LinearRegression
from torchlogreg.data import Batch
from torchlogreg.diagnostics.columns import column_findings
from torchlogreg.diagnostics.problem import Problem
from torchlogreg.objective import Objective

def kib(name):
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(name):
            return int(line.split()[1])

torch.set_num_threads(1)
def look(n):
    X = torch.randn(n, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    X[:, 5] = X[:, 0] - X[:, 2] + 1e-9 * X[:, 5]
    model, weight = LinearRegression(8, dtype=torch.float64), torch.ones(n, dtype=torch.float64)
    problem = Problem(Objective(model), Batch(X, X[:, 1].clone(), weight))
    Path("/proc/self/clear_refs").write_text("5")  # the peak is forgotten
    before = kib("VmRSS")
    assert [f.kind for f in column_findings(problem)] == ["near_collinear"]
    return 1024 * (kib("VmHWM") - before)

look(300_000)  # libraries and kernels are loaded
print(look(1_600_000))
"""


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="the peak is Linux's")
def test_naming_collinear_columns_takes_no_copy_of_the_rows() -> None:
    # They are 102 MB, and four copies of them were made before.
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True
    )
    assert int(done.stdout) <= 64 * 2**20
