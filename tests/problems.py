"""Small random problems, one for each model: standardised columns, overlapping classes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor

from torchlogreg import (
    L2,
    LinearRegression,
    LogisticRegression,
    Model,
    OrdinalRegression,
    Penalty,
    SoftmaxRegression,
)

FACTORIES: dict[str, Callable[..., Model]] = {
    "linear": LinearRegression,
    "logistic": LogisticRegression,
    "softmax": partial(SoftmaxRegression, n_classes=3),
    "softmax_reference": partial(SoftmaxRegression, n_classes=3, reference=True),
    "ordinal_logit": partial(OrdinalRegression, n_classes=4, link="logit"),
    "ordinal_probit": partial(OrdinalRegression, n_classes=4, link="probit"),
    "ordinal_cloglog": partial(OrdinalRegression, n_classes=4, link="cloglog"),
}
MODELS = tuple(FACTORIES)
CLASSIFIERS = MODELS[1:]


@dataclass(frozen=True)
class Problem:
    """Rows, targets, and a maker of fresh models for them."""

    name: str
    X: Tensor
    y: Tensor
    dtype: torch.dtype

    @property
    def n(self) -> int:
        """Number of rows."""
        return len(self.X)

    def model(self) -> Model:
        """A new model at its starting point."""
        return FACTORIES[self.name](n_features=self.X.shape[1], dtype=self.dtype)


def problem(
    name: str, *, n: int = 60, p: int = 3, seed: int = 0, dtype: torch.dtype = torch.float64
) -> Problem:
    """Draw a problem for the model called ``name``; every class occurs, none is separable."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, p))
    X = (X - X.mean(0)) / X.std(0)
    slope = np.linspace(1.0, -0.5, p)
    score = X @ slope
    if name == "linear":
        y = 0.5 + score + 0.3 * rng.normal(size=n)
    elif name == "logistic":
        y = (score + 0.3 + rng.logistic(size=n) > 0).astype(float)
    elif name.startswith("softmax"):
        eta = np.stack((np.zeros(n), score + 0.2, -score + X[:, 0]), axis=1)
        y = (eta + rng.gumbel(size=eta.shape)).argmax(1)
    else:
        y = np.searchsorted(np.array([-1.2, 0.0, 1.2]), score + rng.logistic(size=n))
    return Problem(name, torch.from_numpy(X).to(dtype), torch.from_numpy(y), dtype)


def small_ridge(name: str) -> Penalty | None:
    """The penalty that makes the optimum unique: the full softmax needs one, the rest do not."""
    return L2(0.05) if name == "softmax" else None


def params_of(model: Model) -> Tensor:
    """All parameters as one detached vector (P,)."""
    return torch.cat([p.detach().flatten() for p in model.parameters()])
