"""A classifier on top of a frozen network: our models are plain nn.Modules.

python examples/frozen_network.py

Points on three spirals, which no straight boundary divides. A small network, fixed once and for
all, turns each point into features; only the softmax regression on top of it is trained, twice:

1. by `fit` on the features, computed once: the exact optimum;
2. end to end in a bare torch loop, whose loss is one number per row times a sample weight.

Both minimise the same objective, so they agree.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from torchlogreg import L2, SoftmaxRegression, fit

ALPHA = 1e-3


def spirals(n: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Points (n, 2) on three arms, and the arm (n,) of each."""
    y = torch.arange(n) % 3
    radius = torch.rand(n, generator=generator, dtype=torch.float64)
    noise = 0.15 * torch.randn(n, generator=generator, dtype=torch.float64)
    angle = 4 * radius + noise + y * (2 * math.pi / 3)
    return torch.stack((radius * angle.cos(), radius * angle.sin()), dim=1), y


def frozen_network(n_features: int, generator: torch.Generator) -> nn.Module:
    """A random layer that stays as it is; a pretrained network would stand here."""
    layer = nn.Linear(2, n_features, dtype=torch.float64)
    with torch.no_grad():
        layer.weight.copy_(2 * torch.randn(layer.weight.shape, generator=generator))
        layer.bias.copy_(2 * math.pi * torch.rand(layer.bias.shape, generator=generator))
    return nn.Sequential(layer, Cosine()).requires_grad_(False).eval()


class Cosine(nn.Module):
    """``cos x``: with random weights before it, random Fourier features (Rahimi, Recht 2007)."""

    def forward(self, x: Tensor) -> Tensor:
        """Same shape."""
        return x.cos()


def by_fit(features: Tensor, y: Tensor, sample_weight: Tensor) -> SoftmaxRegression:
    """The head alone, on features that are computed once."""
    head = SoftmaxRegression(features.shape[1], n_classes=3, dtype=features.dtype)
    result = fit(head, features, y, penalty=L2(ALPHA), sample_weight=sample_weight)
    print(f"fit: {result.message}")
    return head


def by_bare_loop(network: nn.Module, X: Tensor, y: Tensor, sample_weight: Tensor) -> nn.Module:
    """The whole stack in a loop of one's own: forward, loss per row, weights, backward, step."""
    head = SoftmaxRegression(network[0].out_features, n_classes=3, dtype=X.dtype)
    stack = nn.Sequential(network, head)
    optimizer = torch.optim.LBFGS(
        head.parameters(),
        max_iter=10,
        tolerance_grad=1e-10,
        tolerance_change=0,
        line_search_fn="strong_wolfe",
    )
    weight = sample_weight / sample_weight.mean()

    def closure() -> Tensor:
        optimizer.zero_grad()
        losses = head.nll(stack(X), y)  # (n,): one number per row, nothing reduced
        objective = (weight * losses).mean() + 0.5 * ALPHA * head.weight.square().sum()
        objective.backward()
        return objective

    for _ in range(60):
        objective = optimizer.step(closure)
    print(f"bare loop: objective {objective.item():.10f}")
    return stack


def main() -> None:
    """Train both ways, compare, test on new points."""
    generator = torch.Generator().manual_seed(0)
    X, y = spirals(600, generator)
    network = frozen_network(100, generator)
    sample_weight = torch.where(y == 0, 2.0, 1.0).double()  # arm 0 counts twice

    head = by_fit(network(X), y, sample_weight)
    stack = by_bare_loop(network, X, y, sample_weight)

    X_new, y_new = spirals(3000, generator)
    with torch.no_grad():
        p, q = head.mean(head(network(X_new))), head.mean(stack(X_new))
        accuracy = (head.predict(head(network(X_new))) == y_new).double().mean()
    plain = SoftmaxRegression(2, n_classes=3, dtype=X.dtype)
    fit(plain, X, y, penalty=L2(ALPHA))
    straight = (plain.predict(plain(X_new)) == y_new).double().mean()
    print(f"largest difference of the two ways' probabilities: {(p - q).abs().max().item():.1e}")
    print(f"accuracy on new points: {accuracy:.3f}, without the network {straight:.3f}")


if __name__ == "__main__":
    main()
