"""Targets: what cannot be one is refused by row, what can be one is taken in any form."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from problems import CLASSIFIERS, FACTORIES, MODELS

F64 = torch.float64
each_model = pytest.mark.parametrize("name", MODELS)


NAN, INF = float("nan"), float("inf")
BAD_TARGETS: list[tuple[str, list[object], str]] = [
    ("linear", [1.0, NAN], "row 1: target nan is not a finite number"),
    ("linear", [INF, 1.0], "row 0: target inf"),
    ("linear", [[1.0, 2.0], [3.0, 4.0]], r"shape \(2, 2\), but one entry a row"),
    ("logistic", [0, 1, 2], "row 2: target 2 is neither a label 0 or 1 nor a probability"),
    ("logistic", [0.0, -0.1], "row 1: target -0.1"),
    ("logistic", [NAN, 1.0], "row 0: target nan"),
    ("softmax", [0, 1, 3], "row 2: target 3 is no class index from 0 to 2"),
    ("softmax", [0.0, 0.5], "row 1: target 0.5 is no class index"),
    ("softmax", [-1, 0], "row 0: target -1"),
    ("softmax", [NAN, 0.0], "row 0: target nan"),
    ("softmax", [[0.2, 0.3, 0.5], [0.2, 0.3, 0.4]], "row 1: target .* is not a distribution"),
    ("softmax", [[1.5, -0.5, 0.0]], "row 0: target .* is not a distribution"),
    ("softmax", [[0.5, NAN, 0.5]], "row 0: target .* is not a distribution"),
    ("softmax", [[0.5, 0.5], [0.5, 0.5]], r"shape \(2, 2\)"),
    ("ordinal_logit", [0, 4], "row 1: target 4 is no class index from 0 to 3"),
]


@pytest.mark.parametrize(("name", "y", "message"), BAD_TARGETS)
def test_bad_targets_are_refused_by_row(name: str, y: list[object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        FACTORIES[name](n_features=1, dtype=F64).target(torch.from_numpy(np.array(y)))


def test_complex_targets_are_refused() -> None:
    for factory in FACTORIES.values():
        with pytest.raises(ValueError, match="complex"):
            factory(n_features=1).target(torch.ones(2, dtype=torch.complex64))


@each_model
def test_a_column_of_targets_is_read_as_a_vector(name: str) -> None:
    model, y = FACTORIES[name](n_features=1, dtype=F64), torch.tensor([0, 1, 1])
    assert torch.equal(model.target(y[:, None]), model.target(y))
    assert torch.equal(model.target(y.double()), model.target(y))


@pytest.mark.parametrize("name", [n for n in CLASSIFIERS if n != "logistic"])
@pytest.mark.parametrize(
    ("given_dtype", "own_dtype"), list(itertools.product((torch.float32, F64), repeat=2))
)
def test_distributions_of_any_precision_are_taken(
    name: str, given_dtype: torch.dtype, own_dtype: torch.dtype, generator: torch.Generator
) -> None:
    # float32 rows sum to one only in float32: a float64 model once refused them
    model = FACTORIES[name](n_features=1, dtype=own_dtype)
    y = torch.randn(50, model.n_classes, generator=generator, dtype=given_dtype).softmax(1)
    assert model.target(y).dtype == own_dtype
