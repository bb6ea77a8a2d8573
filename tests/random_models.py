"""Models at random parameters, and random rows for them."""

from __future__ import annotations

import torch
from torch import Tensor

from problems import FACTORIES
from torchlogreg import Model

F64 = torch.float64


def random_model(
    name: str, generator: torch.Generator, *, n_features: int = 3, bias: bool = True
) -> Model:
    """A float64 model at random parameters."""
    model = FACTORIES[name](n_features=n_features, bias=bias, dtype=F64)
    with torch.no_grad():
        for p in model.parameters():
            p.copy_(torch.randn(p.shape, generator=generator, dtype=F64))
    return model


def rows(n: int, p: int, generator: torch.Generator) -> Tensor:
    return torch.randn(n, p, generator=generator, dtype=F64)
