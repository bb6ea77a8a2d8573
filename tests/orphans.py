"""No process of a test outlives it: one that did kept two cores busy for an hour."""

from __future__ import annotations

import ctypes
import shutil
import signal
import sys

WITH_PARENT = ["setpriv", "--pdeathsig", "TERM"] if shutil.which("setpriv") else []
"""Before a command: it is asked to end when the process that started it is gone."""


def end_with_parent() -> None:
    """Let this process be killed when the one that started it is gone; on Linux alone."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
