"""Threads for functions that run without the GIL; parts of the rows in a fixed order.

numba's own threads and torch's OpenMP threads spin against one another in one process. These are
Python's: they sleep when idle, and there is one fewer than torch has, because the caller works too.
"""

from __future__ import annotations

import functools
import itertools
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from torchlogreg.threads import sweeping_threads

PARTS = 32
VALUES_PER_PART = 2**15  # entries of X: some ten microseconds, less is not worth a thread


def cut(n: int, work: int, *, limit: int = PARTS) -> tuple[int, int]:
    """Number of parts and rows of a part, from the size of the problem alone."""
    parts = max(1, min(limit, n, work // VALUES_PER_PART))
    size = -(-n // parts)
    return -(-n // size), size


def share(run: Callable[[int, int], None], parts: int) -> None:
    """Call ``run(first, last)`` until all parts are done, on :func:`sweeping_threads`."""
    n_threads = min(sweeping_threads(), parts // 2)
    if n_threads < 2:
        run(0, parts)
        return
    bounds = [parts * t // n_threads for t in range(n_threads + 1)]
    pool = _pool(n_threads - 1)
    waiting = [pool.submit(run, first, last) for first, last in itertools.pairwise(bounds[1:])]
    run(bounds[0], bounds[1])
    for one in waiting:
        one.result()


@functools.cache
def _pool(n_threads: int) -> ThreadPoolExecutor:
    """Threads that stay; none run after a fork, so the child makes its own."""
    return ThreadPoolExecutor(n_threads, thread_name_prefix="torchlogreg")


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_pool.cache_clear)
