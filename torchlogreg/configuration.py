"""A model's constructor arguments as JSON-able facts, and back."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import torch

from torchlogreg.base import Model
from torchlogreg.models import (
    LinearRegression,
    LogisticRegression,
    OrdinalRegression,
    SoftmaxRegression,
)


def config(model: Model) -> dict[str, Any]:
    """Class name and constructor arguments of a model, JSON-able; ``build`` inverts it."""
    facts: dict[str, Any] = {"class": type(model).__name__, "n_features": model.n_features}
    if isinstance(model, SoftmaxRegression):
        facts |= {"n_classes": int(model.n_classes), "reference": bool(model.reference)}
    if isinstance(model, OrdinalRegression):
        facts |= {
            "n_classes": int(model.n_classes),
            "link": model.link,
            "bias": model.first is not None,
        }
    else:
        facts["bias"] = model.bias is not None
    return facts


def build(facts: Mapping[str, Any], dtype: torch.dtype | None = None) -> Model:
    """A model at its starting point, from what ``config`` returned.

    Raises
    ------
    ValueError
        If the class is not one of ours.
    """
    arguments = dict(facts)
    name = arguments.pop("class", None)
    if name not in MODELS:
        raise ValueError(f"unknown model class {name!r}; the classes are {', '.join(MODELS)}")
    model: Model = MODELS[name](**arguments, dtype=dtype)
    return model


MODELS: Mapping[str, type[Any]] = MappingProxyType(
    {c.__name__: c for c in (LinearRegression, LogisticRegression, SoftmaxRegression)}
    | {"OrdinalRegression": OrdinalRegression}
)
