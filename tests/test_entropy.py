"""Entropy and cross-entropy: the identities that give them their meaning."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from torchlogreg import losses

F64 = torch.float64


def random_distributions(generator: torch.Generator) -> tuple[Tensor, Tensor]:
    raw = torch.rand(2, 50, 4, generator=generator, dtype=F64)
    y, p = raw / raw.sum(-1, keepdim=True)
    return y, p


def test_entropy_of_equally_likely_outcomes_is_log_k() -> None:
    for n_classes in (1, 2, 5, 100):
        uniform = torch.full((3, n_classes), 1 / n_classes, dtype=F64)
        torch.testing.assert_close(
            losses.entropy(uniform), torch.full((3,), math.log(n_classes), dtype=F64)
        )


def test_entropy_is_zero_when_one_outcome_is_certain() -> None:
    assert losses.entropy(torch.eye(4, dtype=F64)).tolist() == [0.0] * 4
    assert losses.entropy(torch.tensor([0.0, 1.0], dtype=F64)).tolist() == [0.0, 0.0]


def test_cross_entropy_is_entropy_plus_divergence(generator: torch.Generator) -> None:
    y, p = random_distributions(generator)
    divergence = (y * (y / p).log()).sum(1)
    torch.testing.assert_close(losses.cross_entropy(y, p), losses.entropy(y) + divergence)
    torch.testing.assert_close(losses.cross_entropy(y, y), losses.entropy(y))


def test_entropy_of_a_coin_is_that_of_two_classes() -> None:
    p = torch.tensor([0.0, 0.1, 0.5, 1.0], dtype=F64)
    y = torch.tensor([0.0, 1.0, 0.3, 1.0], dtype=F64)
    two, two_y = torch.stack((1 - p, p), dim=1), torch.stack((1 - y, y), dim=1)
    assert torch.equal(losses.entropy(p), losses.entropy(two))
    assert torch.equal(losses.cross_entropy(y, p), losses.cross_entropy(two_y, two))


def test_cross_entropy_of_a_hard_label_is_the_nll(generator: torch.Generator) -> None:
    eta = torch.randn(30, 4, generator=generator, dtype=F64)
    y = torch.randint(4, (30,), generator=generator)
    one_hot = torch.nn.functional.one_hot(y, 4)
    got = losses.cross_entropy(one_hot, torch.softmax(eta, 1))
    torch.testing.assert_close(got, losses.categorical_nll(eta, y))
    coin = losses.cross_entropy((y > 1).long(), torch.sigmoid(eta[:, 0]))
    torch.testing.assert_close(coin, losses.binary_nll(eta[:, :1], (y > 1).to(F64)))


def test_cross_entropy_is_infinite_where_the_model_excluded_what_happened() -> None:
    y = torch.tensor([[1.0, 0.0]], dtype=F64)
    assert losses.cross_entropy(y, torch.tensor([[0.0, 1.0]], dtype=F64)).item() == math.inf
