"""Settings shared by all tests: a fixed Hypothesis profile, a fresh generator."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

# Before torch is loaded: the workers of pytest-xdist share the cores, and threads that wait busily
# would keep those of another worker from working.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import pytest
import torch
from hypothesis import settings

from torchlogreg.kernels import SMALLEST

# No deadline: the suite makes no timing assertions. Derandomised: a red run can be repeated.
settings.register_profile("suite", deadline=None, derandomize=True, max_examples=20)
settings.load_profile("suite")

# A shell that runs the suite in the background has it ignore Ctrl-C, and every child with it.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def generator() -> torch.Generator:
    """A source of random numbers of one's own, so that no test changes torch's global one."""
    return torch.Generator().manual_seed(0)


@pytest.fixture
def small_kernels() -> Iterator[None]:
    """Kernels for rows of any number, as after ``kernels.prepare()``."""
    token = SMALLEST.set(0)
    yield
    SMALLEST.reset(token)


@pytest.fixture(params=["torch", "compiled"])
def either_way(request: pytest.FixtureRequest) -> Iterator[None]:
    """Few rows by torch's operations, and by the kernels that ``kernels.prepare()`` asks for."""
    token = SMALLEST.set(0 if request.param == "compiled" else 2**40)
    yield
    SMALLEST.reset(token)
