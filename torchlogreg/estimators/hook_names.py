"""Hooks by name, made anew for every fit."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from pathlib import Path
from types import MappingProxyType

from torchlogreg.hooks import Progress, StopOnNonFinite, tensorboard_hooks
from torchlogreg.settings import checked_hooks
from torchlogreg.state import Hook


def _tensorboard() -> tuple[Hook, ...]:
    """Event files in a new folder below ``runs``."""
    runs = Path("runs")
    runs.mkdir(exist_ok=True)
    now = f"{datetime.now():%Y-%m-%d_%H-%M-%S}_"
    return tensorboard_hooks(tempfile.mkdtemp(prefix=now, dir=runs))


HOOKS: Mapping[str, Callable[[], tuple[Hook, ...]]] = MappingProxyType(
    {
        "progress": lambda: (Progress(),),
        "stop_on_non_finite": lambda: (StopOnNonFinite(),),
        "tensorboard": _tensorboard,
    }
)
"""Name to hooks; those that need rows or a file of their own have no name."""


def hooks_of(hooks: str | Iterable[str | Hook] | None) -> tuple[Hook, ...]:
    """The hooks that were named, and objects as they are.

    Raises
    ------
    ValueError
        If a name is unknown.
    TypeError
        If something is neither a name nor a hook.
    """
    if isinstance(hooks, str):
        hooks = [hooks]
    if isinstance(hooks, Hook) or not isinstance(hooks, Iterable):
        return checked_hooks(hooks)
    found: list[Hook] = []
    for hook in hooks:
        if isinstance(hook, str) and hook not in HOOKS:
            raise ValueError(f"unknown hook {hook!r}; the names are {', '.join(HOOKS)}")
        found += HOOKS[hook]() if isinstance(hook, str) else [hook]
    return checked_hooks(found)
