"""Models under torch.export and torch.compile: the same answers as the plain module."""

from __future__ import annotations

import pytest
import torch

from test_export import TOLERANCE
from test_export import rows as tail_rows
from test_saving import random_model
from torchlogreg.export import Predictor


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["linear", "logistic", "softmax", "probit"])
def test_torch_export_gives_the_same_answers(kind, tmp_path, generator):
    model = random_model(kind, generator, dtype=torch.float64)
    program = torch.export.export(
        Predictor(model),
        (tail_rows(5, torch.float64),),
        dynamic_shapes=({0: torch.export.Dim.AUTO},),
    )
    torch.export.save(program, tmp_path / "model.pt2")
    again = torch.export.load(tmp_path / "model.pt2").module()
    for n in (2, 9):
        X = tail_rows(n, torch.float64)
        for name, value in Predictor(model)(X).items():
            assert torch.allclose(again(X)[name], value, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("kind", ["linear", "logistic", "softmax"])
def test_models_compile_without_a_break(kind, generator):
    # backend="eager" runs what the tracer caught; fullgraph refuses anything it could not catch.
    torch._dynamo.reset()
    model = random_model(kind, generator, dtype=torch.float64)
    compiled = torch.compile(Predictor(model), backend="eager", fullgraph=True, dynamic=True)
    for n in (3, 7):
        X = tail_rows(n, torch.float64)
        for name, value in Predictor(model)(X).items():
            assert torch.equal(compiled(X)[name], value)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")  # torch's compiler, of torch
@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("kind", ["logistic", "softmax"])
def test_compiled_code_gives_the_same_answers(kind, dtype, generator):
    torch._dynamo.reset()
    model = random_model(kind, generator, dtype=dtype)
    X = tail_rows(50, dtype)
    for name, value in torch.compile(Predictor(model))(X).items():
        assert torch.allclose(value, Predictor(model)(X)[name], atol=TOLERANCE[dtype])
