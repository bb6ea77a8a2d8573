"""What a closure takes beside the rows does not grow with them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

MOST = 64 * 2**20
PEAK = Path("/proc/self/clear_refs")

SCRIPT = """
import sys
from pathlib import Path
import torch
from torchlogreg import LogisticRegression
from torchlogreg.inputs import make_data
from torchlogreg.objective import Objective
from torchlogreg.penalties import L2

def kib(name):
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(name):
            return int(line.split()[1])

torch.set_num_threads(1)
source = torch.Generator().manual_seed(0)
def rows(n):
    X = torch.randn(n, 2, dtype=torch.float64, generator=source)
    return make_data(LogisticRegression(2, dtype=torch.float64), X, (X[:, 0] > 0).double())

def look(data):
    objective = Objective(LogisticRegression(2, dtype=torch.float64), None, L2(1.0))
    objective.remembered.keeps_rows = False
    closure = objective.closure(data, data)
    closure(), closure.hessian(), closure.optimality()
    return objective

look(rows(700_000))  # libraries and kernels are loaded
data = rows(6_000_000)
Path("/proc/self/clear_refs").write_text("5")  # the peak is forgotten
before = kib("VmRSS")
objective = look(data)
print(1024 * (kib("VmHWM") - before))
"""


@pytest.mark.skipif(not PEAK.exists(), reason="the peak of a process is asked of Linux")
@pytest.mark.parametrize("kernels", ["on", "off"])
def test_value_gradient_and_hessian_of_any_number_of_rows_take_64_megabytes(kernels):
    # Six million rows: eta and losses alone would be 96 MB, and took that before.
    environment = os.environ | {"TORCHLOGREG_KERNELS": kernels, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], env=environment, capture_output=True, text=True, check=True
    )
    assert int(done.stdout) <= MOST
