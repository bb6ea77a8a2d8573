"""Threads for functions that run without the GIL; parts of the rows in a fixed order.

numba's own threads and torch's OpenMP threads spin against one another in one process. These are
Python's: they sleep when idle, and there is one fewer than torch has, because the caller works too.
"""

from __future__ import annotations

import functools
import os
from collections import deque
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
    """Call ``run(first, last)`` until all parts are done, on :func:`sweeping_threads`.

    A thread takes the next stretch when it has done one, the last ones short: who wakes late, or
    has its core taken away for a moment, does less.
    """
    n_threads = min(sweeping_threads(), parts // 2)
    if n_threads < 2:
        run(0, parts)
        return
    left, pool = deque(_stretches(parts, n_threads)), _pool(n_threads - 1)
    waiting = [pool.submit(_work, run, left) for _ in range(n_threads - 1)]
    _work(run, left)
    for one in waiting:
        one.result()


def _work(run: Callable[[int, int], None], left: deque[tuple[int, int]]) -> None:
    """One thread's share."""
    while True:
        try:
            stretch = left.popleft()
        except IndexError:  # another thread may take the last one between a look and this
            return
        run(*stretch)


@functools.cache
def _stretches(parts: int, n_threads: int) -> list[tuple[int, int]]:
    """Round by round one for each thread, of three quarters of what is left: factoring (Hummel,
    Schonberg and Flynn, 1992)."""
    found, first = [], 0
    while first < parts:
        size = max(1, 3 * (parts - first) // (4 * n_threads))
        for _ in range(n_threads):
            found.append((first, min(first + size, parts)))
            first = min(first + size, parts)
    return [pair for pair in found if pair[0] < pair[1]]


@functools.cache
def _pool(n_threads: int) -> ThreadPoolExecutor:
    """Threads that stay; none run after a fork, so the child makes its own."""
    return ThreadPoolExecutor(n_threads, thread_name_prefix="torchlogreg")


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_pool.cache_clear)
