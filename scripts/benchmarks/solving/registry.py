"""All contenders, and modules of one's own that add some."""

from __future__ import annotations

import importlib
from collections.abc import Iterable

from benchmarks.solving import ours, peers, scikit, torch_peers
from benchmarks.solving.contender import Contender


def contenders(optimizers: Iterable[str] = (), also: Iterable[str] = ()) -> dict[str, Contender]:
    """By name: ours first, with named optimizers too; then peers; then those of other modules.

    Raises
    ------
    ValueError
        If a module has no list ``CONTENDERS``.
    """
    found = [ours.ours(), *(ours.ours(name) for name in optimizers)]
    found += [*scikit.CONTENDERS, *peers.CONTENDERS, *torch_peers.CONTENDERS]
    for name in also:
        module = importlib.import_module(name)
        if not hasattr(module, "CONTENDERS"):
            raise ValueError(f"--also {name} has no list CONTENDERS; see docs/speed.md")
        found += module.CONTENDERS
    return {c.name: c for c in [*found, ours.PASS]}
