"""Models at random parameters with rows, weights and offsets, for tests of inference."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import torch
from torch import Tensor

from problems import FACTORIES, MODELS
from torchlogreg import Batch
from torchlogreg.inference.affine import AffineForm

F64 = torch.float64
TABLE = tuple(itertools.product(MODELS, (True, False), (True, False)))
"""Model, bias, whether there are weights and an offset."""


@dataclass(frozen=True)
class Case:
    """A form, a covariance of its parameters, and rows."""

    form: AffineForm
    covariance: Tensor
    data: Batch

    def means(self, theta: Tensor, X: Tensor) -> Tensor:
        """Means (n, C) at other parameters and rows, under the offset of the case."""
        form = self.form.at(theta)
        mean = form.mean(form.eta(X, self.data.offset))
        return mean.unsqueeze(1) if mean.ndim == 1 else mean


def case(name: str, bias: bool = True, known: bool = False, n: int = 9, seed: int = 0) -> Case:
    """Draw one; ``known`` adds weights (one of them zero) and an offset, one a score."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=F64)

    model = FACTORIES[name](n_features=3, bias=bias, dtype=F64)
    with torch.no_grad():
        for p in model.parameters():
            p.copy_(0.7 * normal(*p.shape))
    form = AffineForm.of(model)
    P = len(form.theta)
    A = 0.3 * normal(P, P)
    weight = normal(n).abs() if known else torch.ones(n, dtype=F64)
    weight[1] = 0.0 if known else 1.0
    offset = normal(n, len(model.weight)) if known else None
    return Case(form, A @ A.T, Batch(normal(n, 3), torch.zeros(n, dtype=F64), weight, offset))
