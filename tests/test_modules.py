"""Models as nn.Modules: saved, copied, compiled, of any dtype, on any device."""

from __future__ import annotations

import copy
import json
import pickle

import pytest
import torch
from torch import Tensor

from problems import FACTORIES, MODELS, params_of, problem
from random_models import random_model, rows
from torchlogreg import Model, OrdinalRegression, SoftmaxRegression
from torchlogreg.configuration import build, config

F64 = torch.float64
each_model = pytest.mark.parametrize("name", MODELS)
each_bias = pytest.mark.parametrize("bias", [True, False])


@each_model
def test_state_dict_round_trip(name: str, generator: torch.Generator) -> None:
    model, X = random_model(name, generator), rows(5, 3, generator)
    other = FACTORIES[name](n_features=3, dtype=F64)
    other.load_state_dict(model.state_dict())
    assert torch.equal(other(X), model(X))


@each_model
@each_bias
def test_config_is_json_and_builds_the_same_model(
    name: str, bias: bool, generator: torch.Generator
) -> None:
    model, X = random_model(name, generator, bias=bias), rows(5, 3, generator)
    facts = json.loads(json.dumps(config(model)))
    other = build(facts, dtype=F64)
    assert type(other) is type(model)
    assert config(other) == config(model)
    other.load_state_dict(model.state_dict())
    assert torch.equal(other(X), model(X))


def test_build_refuses_an_unknown_class() -> None:
    with pytest.raises(ValueError, match=r"unknown model class 'Perceptron'.*LinearRegression"):
        build({"class": "Perceptron", "n_features": 2})


@each_model
def test_copies_are_equal_and_independent(name: str, generator: torch.Generator) -> None:
    model, X = random_model(name, generator), rows(5, 3, generator)
    before = model(X).detach()
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert torch.equal(other(X), before)
        with torch.no_grad():
            other.weight.add_(1)
        assert torch.equal(model(X), before)


@each_model
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_every_float_dtype_runs_forward_and_backward(name: str, dtype: torch.dtype) -> None:
    drawn = problem(name, n=8, dtype=dtype)
    model = drawn.model()
    eta = model(drawn.X)
    loss = model.nll(eta, model.target(drawn.y)).mean()
    loss.backward()
    assert eta.dtype == loss.dtype == dtype
    assert model.mean(eta).dtype == dtype
    assert all(bool(torch.isfinite(p.grad).all()) for p in model.parameters())
    assert bool(params_of(model).isfinite().all())


@each_model
@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
def test_compiles_to_one_graph(name: str, backend: str, generator: torch.Generator) -> None:
    torch._dynamo.reset()
    model, drawn = random_model(name, generator), problem(name, n=12)
    y = model.target(drawn.y)

    def value(X: Tensor) -> Tensor:
        return model.nll(model(X), y).mean()

    compiled = torch.compile(value, fullgraph=True, backend=backend)
    torch.testing.assert_close(compiled(drawn.X), value(drawn.X), rtol=1e-13, atol=1e-13)
    plain = torch.autograd.grad(value(drawn.X), list(model.parameters()))
    graphed = torch.autograd.grad(compiled(drawn.X), list(model.parameters()))
    for a, b in zip(graphed, plain, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("n_features", [0, -1])
def test_a_model_without_columns_is_refused(n_features: int) -> None:
    for factory in FACTORIES.values():
        with pytest.raises(ValueError, match=f"n_features is {n_features}"):
            factory(n_features=n_features)


@pytest.mark.parametrize("n_classes", [1, 0, -3])
@pytest.mark.parametrize("model", [SoftmaxRegression, OrdinalRegression])
def test_fewer_than_two_classes_are_refused(model: type[Model], n_classes: int) -> None:
    with pytest.raises(ValueError, match=f"n_classes is {n_classes}, but .* at least two"):
        model(2, n_classes)


def test_an_unknown_link_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match="link is 'cauchit', but the links are logit, probit"):
        OrdinalRegression(2, 3, link="cauchit")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@each_model
def test_cuda_gives_what_the_cpu_gives(name: str, generator: torch.Generator) -> None:
    model, drawn = random_model(name, generator), problem(name, n=30)
    here = model.log_likelihood(drawn.X, drawn.y).detach()
    mean = model.mean(model(drawn.X)).detach()
    model = model.cuda()
    there = model.log_likelihood(drawn.X.cuda(), drawn.y.cuda())
    assert there.is_cuda
    torch.testing.assert_close(there.cpu(), here, rtol=1e-12, atol=0)
    got = model.mean(model(drawn.X.cuda())).cpu()
    torch.testing.assert_close(got, mean, rtol=1e-11, atol=1e-14)
