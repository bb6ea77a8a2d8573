"""Whether a checkpoint is of this fit: its model, data, optimizer and so on, as JSON."""

from __future__ import annotations

import hashlib
from typing import Any

import torch
from torch import Tensor

from torchlogreg.sparse import filled, row_width
from torchlogreg.state import FitState

ENTRIES = 2**22
"""Entries of ``X`` that are compared: all rows of small data, evenly spaced ones of large."""


def fingerprint(state: FitState) -> dict[str, Any]:
    """What must be the same for a fit to go on bit for bit; made once a fit."""
    if state.fingerprint is None:
        objective, model = state.objective, state.model
        state.fingerprint = {
            "model": [
                type(model).__name__,
                *([name, list(p.shape), str(p.dtype)] for name, p in model.named_parameters()),
            ],
            "loss": getattr(objective.loss, "__qualname__", type(objective.loss).__name__),
            "penalty": described(objective.penalty),
            "weighting": described(state.weighting),
            "optimizer": [type(state.optimizer).__name__, described(state.optimizer.defaults)],
            "scheduler": type(state.schedule).__name__,
            "batch_size": state.batch_size,
            "data": _digest(state),
        }
    return state.fingerprint


def differences(saved: dict[str, Any], here: dict[str, Any]) -> str:
    """The first thing that differs, in one line; empty if none does."""
    for name, value in here.items():
        was = saved.get(name)
        if was == value:
            continue
        if name == "data":
            return "its rows, targets, weights or offset are not those that were passed; pass those"
        return f"its {name} is {_short(was)}, this one's {_short(value)}; pass the same {name}"
    return ""


def described(part: Any, depth: int = 4) -> Any:
    """Name and settings of a penalty, a weighting, ...: JSON-able, and the same in every process.

    Of a function the name; what it remembers elsewhere is not known.
    """
    if part is None or isinstance(part, bool | int | float | str):
        return part
    if isinstance(part, Tensor):
        return [float(x) for x in part.flatten()[:8]]
    if depth == 0:
        return type(part).__name__
    if isinstance(part, dict):
        return {str(k): described(v, depth - 1) for k, v in part.items()}
    if isinstance(part, list | tuple):
        return [described(v, depth - 1) for v in part]
    if hasattr(part, "__qualname__"):
        return str(part.__qualname__)
    settings = vars(part) if hasattr(part, "__dict__") else {}
    return [type(part).__name__, described(dict(sorted(settings.items())), depth - 1)]


def _digest(state: FitState) -> str:
    """SHA-256 of shapes and of evenly spaced rows."""
    data = state.data
    width = max(row_width(data.X), data.X.shape[1])
    count = max(1, min(len(data), ENTRIES // max(1, width)))
    index = torch.linspace(0, len(data) - 1, count, dtype=torch.float64).long().to(data.y.device)
    found = hashlib.sha256(f"{tuple(data.X.shape)} {tuple(data.y.shape)}".encode())
    X = data.X[index]
    for part in (filled(X), data.y[index], state.own_weight[index], data.offset):
        if part is None:
            continue
        rows = part[index] if part is data.offset else part
        found.update(str(rows.dtype).encode())
        found.update(rows.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return found.hexdigest()


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 90 else text[:87] + "..."
