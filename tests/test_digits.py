"""The digits benchmark prints what it promises, for a linear, an ordinal and a logistic set."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "scripts" / "benchmark.py"


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SCRIPT), "digits", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_ours_has_the_digits_promised_in_every_kind_of_model() -> None:
    done = run("--sets", "spector", "ucla", "longley", "wampler5")
    assert done.returncode == 0, done.stderr
    lines = {line.split()[0]: line.split()[2:] for line in done.stdout.splitlines()[2:6]}
    for name, least in (("spector", 12), ("ucla", 10), ("longley", 13), ("wampler5", 13)):
        coefficients, errors = float(lines[name][0]), float(lines[name][-2])
        assert coefficients >= least and errors >= least
    assert lines["ucla"][2] == "-"  # scikit-learn has no ordinal model
    assert float(lines["longley"][3]) < float(lines["longley"][0])


def test_an_unknown_set_is_refused_with_the_names() -> None:
    done = run("--sets", "noris")
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.startswith("error: --sets has noris, but they are spector, ")
