"""The examples run as they stand, from an empty folder, and what they print is true."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"


def run(name: str, folder: Path) -> str:
    """What an example prints; it must succeed, print no warning, and leave nothing behind."""
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / name)],
        cwd=folder,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert list(folder.iterdir()) == []
    return done.stdout


def number(text: str, before: str) -> float:
    """The number after a phrase."""
    found = re.search(re.escape(before) + r"\s*([-+.e0-9]*[0-9])", text)
    assert found, f"{before!r} is not in {text!r}"
    return float(found[1])


def test_frozen_network_is_trained_the_same_both_ways(tmp_path):
    # The two ways share neither optimizer nor gradient code: fit by Newton on the features, and
    # torch's L-BFGS through the whole stack.
    out = run("frozen_network.py", tmp_path)
    assert "converged" in out
    assert number(out, "probabilities:") < 1e-6
    assert number(out, "new points:") > 0.95 > 0.7 > number(out, "without the network")


def test_lightning_arrives_where_fit_does(tmp_path):
    if importlib.util.find_spec("lightning") is None:
        pytest.skip("lightning is in the test extra")
    out = run("lightning_module.py", tmp_path)
    assert number(out, "probabilities:") < 0.005


def test_readme_saves_and_exports_as_it_stands(tmp_path):
    if importlib.util.find_spec("onnx") is None:
        pytest.skip("onnx is in the export and test extras")
    section = (EXAMPLES.parent / "README.md").read_text().split("## Saved, exported, taught")[1]
    code = section.split("```python\n")[1].split("```")[0]
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("SoftmaxRegression(") and "setosa" in done.stdout
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"iris.safetensors", "iris.onnx", "iris.pt2"}


def test_every_example_is_run_here():
    here = Path(__file__).read_text()
    assert all(f'"{path.name}"' in here for path in EXAMPLES.glob("*.py"))
