"""How the kernels are compiled: without the GIL, IEEE but for the order of sums, kept on disk."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from numba import njit
from numba.core.caching import FunctionCache

# Infinities and NaN keep their meaning. Sums may be reordered, or no reduction is vectorised.
REORDERED = {"reassoc", "contract", "nsz", "arcp"}
EXACT = {"contract"}


def inner(function: Callable[..., Any]) -> Any:
    """A function that is compiled into its callers; sums in it may be reordered."""
    return njit(nogil=True, fastmath=REORDERED, error_model="numpy")(function)


def exact(function: Callable[..., Any]) -> Any:
    """A function whose roundings are part of the algorithm: nothing is reordered.

    Always inlined: a loop that still calls something is not vectorised.
    """
    return njit(nogil=True, fastmath=EXACT, error_model="numpy", forceinline=True)(function)


def strict(function: Callable[..., Any]) -> Any:
    """A function of which the compiler neither reorders nor fuses anything."""
    return njit(nogil=True, error_model="numpy")(function)


def whole(function: Callable[..., Any]) -> Any:
    """The same, inlined, for loops over it to be vectorised."""
    return njit(nogil=True, error_model="numpy", forceinline=True)(function)


def entry(function: Callable[..., Any], name: str, compiled: Callable[..., Any] = inner) -> Any:
    """A function that Python calls; its machine code is kept on disk where a folder is writable."""
    dispatcher = compiled(function)
    try:
        dispatcher._cache = _StampedCache(function, name)
    except RuntimeError:  # neither the package's folder nor the user's can be written to
        pass
    return dispatcher


class _StampedCache(FunctionCache):  # type: ignore[misc]  # numba has no annotations
    """numba's cache, whose key here names the kernel and all sources it was compiled from.

    numba's own key sees the entry function alone: a change in what it calls would go unnoticed,
    and closures over compiled functions would never be found again.
    """

    def __init__(self, function: Callable[..., Any], name: str) -> None:
        super().__init__(function)
        self._kernel = name

    def _index_key(self, signature: Any, codegen: Any) -> tuple[Any, ...]:
        """Types, processor, kernel, sources."""
        return signature, codegen.magic_tuple(), self._kernel, _source_stamp()


@functools.cache
def _source_stamp() -> str:
    """Digest of the source files of the kernels."""
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()
