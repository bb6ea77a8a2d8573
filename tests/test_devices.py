"""The pretended device needs a process of its own.

The first backward pass of a process starts autograd's threads, one for each device known then: a
device made up later has none. In a file order that another test had changed, the ordinal models
failed, which differentiate by autograd.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import afar

HERE = Path(__file__).parent


@pytest.mark.skipif(
    not afar.there_can_be_one(), reason="this torch lets nobody define a device in Python"
)
def test_every_fit_on_another_device_is_that_of_the_cpu() -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [*command, str(HERE / "devices_apart.py")],
        cwd=HERE.parent,
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    assert " passed" in done.stdout and "skipped" not in done.stdout
