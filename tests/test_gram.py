"""Inverse Gram matrices and residual sums of squares against rational arithmetic."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import torch
from torch import Tensor

from rational import exact_gram, fractions, solve
from reference_data import load
from torchlogreg.gram import inverse_gram, residual_sum_of_squares

F64 = torch.float64


def noise(*shape: int, seed: int = 0) -> Tensor:
    """Standard normal numbers."""
    return torch.from_numpy(np.random.default_rng(seed).normal(size=shape))


@pytest.mark.parametrize("name", ["norris", "longley", "wampler1"])
@pytest.mark.parametrize("weighted", [False, True])
def test_inverse_gram_matrix_is_correct_to_the_last_digit(name: str, weighted: bool) -> None:
    X = load(name).X
    weight = torch.arange(1.0, len(X) + 1, dtype=F64) if weighted else None
    _, gram = exact_gram(X, weight, bias=True)
    eye = [[Fraction(i == j) for j in range(len(gram))] for i in range(len(gram))]
    want = torch.tensor([[float(v) for v in row] for row in solve(gram, eye)], dtype=F64)
    torch.testing.assert_close(inverse_gram(X, weight), want, rtol=1e-15, atol=0)


def test_inverse_of_a_singular_gram_matrix_is_refused() -> None:
    X = noise(10, 2)
    with pytest.raises(ValueError, match="rank 3 of 4 columns"):
        inverse_gram(torch.cat((X, X[:, :1]), 1))


def test_residual_sum_of_squares_is_exact() -> None:
    X, y, offset = noise(9, 2) * 1e8, noise(9, seed=1), noise(9, seed=2)
    weight, bias = torch.tensor([[0.5, -1e-8]], dtype=F64), torch.tensor([0.1], dtype=F64)
    s = torch.arange(9, dtype=F64)
    got = residual_sum_of_squares(X, y, weight, bias, sample_weight=s, offset=offset)
    coefficients = [*fractions(weight[0]), Fraction(bias.item())]
    want = Fraction(0)
    for row, t, o, w in zip(X, fractions(y), fractions(offset), fractions(s), strict=True):
        eta = sum(b * v for b, v in zip(coefficients, [*fractions(row), 1], strict=True))
        want += w * (t - o - eta) ** 2
    assert got.item() == float(want)
