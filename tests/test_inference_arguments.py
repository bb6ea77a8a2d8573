"""What infer() accepts: labels, names, penalties and models in every form they come in."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from test_inference_refusals import CASE, trained

from problems import CLASSIFIERS, MODELS, problem
from torchlogreg import L2, Model, infer


def test_cluster_labels_of_any_type_are_the_same_clusters() -> None:
    numbers = np.arange(CASE.n) % 6
    texts = [f"c{g}" for g in numbers]
    labels: list[Any] = [
        numbers,
        torch.from_numpy(numbers),
        numbers.astype(float),
        texts,
        np.array(texts),
        pd.Series(texts, index=range(100, 100 + CASE.n)),
        pd.Series(texts).astype("category"),
        [(int(g), "site") for g in numbers],
        [int(g) if g % 2 else str(g) for g in numbers],
        pd.to_datetime(numbers, unit="D"),
        numbers > 2,
    ]
    model = trained()
    found = [infer(model, CASE.X, CASE.y, covariance="cluster", clusters=one).bse for one in labels]
    for bse in found[1:-1]:
        assert bse == pytest.approx(found[0], rel=1e-12)
    assert found[-1] != pytest.approx(found[0], rel=1e-6)


def test_names_come_from_a_frame() -> None:
    frame = pd.DataFrame(CASE.X.numpy(), columns=["age", "height", 3])
    result = infer(trained(), frame, CASE.y)
    assert result.names == ("const", "age", "height", "3")


def test_class_names_are_those_of_the_table() -> None:
    case = problem("softmax_reference")
    names = ["red", "green", "blue"]
    result = infer(trained("softmax_reference"), case.X, case.y, class_names=names)
    assert result.names[0] == "green: const" and "class blue against red" in result.summary()
    ordinal = problem("ordinal_logit")
    levels = ["poor", "fair", "good", "best"]
    table = infer(trained("ordinal_logit"), ordinal.X, ordinal.y, class_names=levels)
    assert table.thresholds().names == ("poor/fair", "fair/good", "good/best")


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_a_penalty_of_zero_is_none(name: str) -> None:
    case, model = problem(name), trained(name)
    with_zero = infer(model, case.X, case.y, penalty=L2(0.0))
    assert with_zero.penalty is None
    assert with_zero.bse == pytest.approx(infer(model, case.X, case.y).bse, rel=1e-13)


def test_a_compiled_model_is_its_original() -> None:
    class Wrapped(torch.nn.Module):
        def __init__(self, model: Model) -> None:
            super().__init__()
            self._orig_mod = model

    model = trained()
    got = infer(Wrapped(copy.deepcopy(model)), CASE.X, CASE.y)
    assert got.bse == pytest.approx(infer(model, CASE.X, CASE.y).bse, rel=1e-13)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("name", MODELS)
def test_a_gpu_gives_the_same_errors(name: str) -> None:
    case, model = problem(name), trained(name)
    away = copy.deepcopy(model).cuda()
    for kind in ("classical", "HC3", "cluster"):
        clusters = [f"c{i % 5}" for i in range(case.n)] if kind == "cluster" else None
        here = infer(model, case.X, case.y, covariance=kind, clusters=clusters)
        there = infer(away, case.X, case.y, covariance=kind, clusters=clusters)
        assert there.covariance.is_cuda
        assert there.bse == pytest.approx(here.bse, rel=1e-10)
        assert there.summary() == here.summary()
