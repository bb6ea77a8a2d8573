"""Models: affine in the row, ordered cutpoints, probabilities, odds, likelihoods, shifts."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from problems import CLASSIFIERS, FACTORIES, MODELS, params_of, problem
from random_models import random_model, rows
from torchlogreg import (
    LinearRegression,
    LogisticRegression,
    OrdinalRegression,
    SoftmaxRegression,
)

F64 = torch.float64
ORDINAL = tuple(name for name in MODELS if name.startswith("ordinal"))
each_model = pytest.mark.parametrize("name", MODELS)
each_classifier = pytest.mark.parametrize("name", CLASSIFIERS)
each_ordinal = pytest.mark.parametrize("name", ORDINAL)
each_bias = pytest.mark.parametrize("bias", [True, False])


@each_model
@each_bias
def test_eta_is_affine_in_the_row(name: str, bias: bool, generator: torch.Generator) -> None:
    model = random_model(name, generator, bias=bias)
    X, Z = rows(10, 3, generator), rows(10, 3, generator)
    mixed = model(0.3 * X + 0.7 * Z)
    torch.testing.assert_close(mixed, 0.3 * model(X) + 0.7 * model(Z), rtol=1e-13, atol=1e-13)
    torch.testing.assert_close(model(0 * X), model.intercepts().expand(10, -1))


@each_model
def test_models_start_where_nothing_depends_on_the_row(name: str) -> None:
    model = FACTORIES[name](n_features=2)
    assert not model.weight.any()
    assert model.weight.dtype == torch.get_default_dtype()
    if model.n_classes is not None and not name.startswith("ordinal"):
        mean = model.mean(model(torch.ones(1, 2))).flatten()
        torch.testing.assert_close(mean, torch.full_like(mean, 1 / model.n_classes))


@each_model
def test_offset_equals_a_column_of_weight_one(name: str, generator: torch.Generator) -> None:
    model = random_model(name, generator)
    wider = FACTORIES[name](n_features=4, dtype=F64)
    X, offset = rows(10, 3, generator), torch.randn(10, generator=generator, dtype=F64)
    with torch.no_grad():
        wider.load_state_dict({**model.state_dict(), "weight": wider.weight})
        wider.weight[:, :3], wider.weight[:, 3] = model.weight, 1.0
    expected = wider(torch.cat((X, offset[:, None]), dim=1))
    torch.testing.assert_close(model(X, offset), expected, rtol=1e-14, atol=1e-14)
    n_scores = model.weight.shape[0]
    by_score = offset[:, None].expand(-1, n_scores)
    torch.testing.assert_close(model(X, by_score), expected, rtol=1e-14, atol=1e-14)


@each_ordinal
def test_offset_and_weight_move_mass_to_higher_levels(
    name: str, generator: torch.Generator
) -> None:
    model = random_model(name, generator)
    X = rows(10, 3, generator)
    levels = torch.arange(model.n_classes, dtype=F64)
    plain, lifted = (model.mean(model(X, o)) @ levels for o in (None, torch.ones(10, dtype=F64)))
    assert bool((lifted > plain).all())


@each_classifier
def test_probabilities_sum_to_one(name: str, generator: torch.Generator) -> None:
    model = random_model(name, generator)
    p = model.mean(model(5 * rows(50, 3, generator)))
    assert bool(((p >= 0) & (p <= 1)).all())
    if name == "logistic":
        assert p.shape == (50,)
    else:
        assert p.shape == (50, model.n_classes)
        torch.testing.assert_close(p.sum(1), torch.ones(50, dtype=F64), rtol=0, atol=1e-14)


@each_classifier
def test_mean_is_the_exponential_of_minus_the_nll(name: str, generator: torch.Generator) -> None:
    model = random_model(name, generator)
    eta, n_classes = model(rows(20, 3, generator)), model.n_classes
    p = model.mean(eta)
    p = torch.stack((1 - p, p), dim=1) if name == "logistic" else p
    for label in range(n_classes):
        y = model.target(torch.full((20,), label))
        torch.testing.assert_close(p[:, label], torch.exp(-model.nll(eta, y)))


def test_a_probability_equal_to_the_threshold_is_class_one() -> None:
    model = LogisticRegression(1)
    eta = torch.tensor([[0.0], [-1e-6], [math.log(3)]], dtype=F64)
    assert model.predict(eta).tolist() == [1, 0, 1]
    assert model.predict(eta, threshold=0.0).tolist() == [1, 1, 1]
    assert model.predict(eta, threshold=0.9).tolist() == [0, 0, 0]
    assert model.predict(torch.tensor([[1e4]]), threshold=1.0).tolist() == [1]


@each_classifier
def test_predict_is_the_most_probable_class(name: str, generator: torch.Generator) -> None:
    model = random_model(name, generator)
    eta = model(rows(50, 3, generator))
    p = model.mean(eta)
    expected = (p >= 0.5).long() if name == "logistic" else p.argmax(1)
    assert torch.equal(model.predict(eta), expected)
    assert model.predict(eta).dtype == torch.int64


def test_linear_predict_is_the_mean(generator: torch.Generator) -> None:
    model = random_model("linear", generator)
    X = rows(5, 3, generator)
    expected = X @ model.weight[0] + model.bias
    torch.testing.assert_close(model.predict(model(X)), expected)


def test_thresholds_that_mean_nothing_are_refused() -> None:
    with pytest.raises(ValueError, match="no meaning for a numeric response"):
        LinearRegression(1).predict(torch.zeros(1, 1), threshold=0.3)
    with pytest.raises(ValueError, match="compared with a probability"):
        LogisticRegression(1).predict(torch.zeros(1, 1), threshold=1.5)
    for model in (SoftmaxRegression(1, 3), OrdinalRegression(1, 3)):
        with pytest.raises(ValueError, match="predicts the most probable class"):
            model.predict(torch.zeros(1, 3), threshold=0.3)


raw = st.one_of(
    st.floats(-1e4, 1e4), st.sampled_from([-1e308, -745.0, -40.0, 0.0, 20.0, 20.1, 1e300])
)


@each_ordinal
@given(first=st.floats(-1e6, 1e6), gaps=st.lists(raw, min_size=2, max_size=2))
def test_cutpoints_never_cross(name: str, first: float, gaps: list[float]) -> None:
    model = FACTORIES[name](n_features=1, dtype=F64)
    with torch.no_grad():
        model.first.fill_(first)
        model.gaps.copy_(torch.tensor(gaps, dtype=F64))
    cutpoints = model.cutpoints.detach()
    assert bool(torch.isfinite(cutpoints).all())
    assert bool((cutpoints.diff() >= 0).all())
    if abs(first) < 1e4 and all(-30 < gap < 1e4 for gap in gaps):
        assert bool((cutpoints.diff() > 0).all() or abs(first) > 1e2)
        y = torch.arange(model.n_classes)
        loss = model.nll(model(torch.zeros(model.n_classes, 1, dtype=F64)), y)
        assert bool(torch.isfinite(loss).all())


@each_ordinal
def test_gaps_that_rounding_closes_leave_finite_gradients(name: str) -> None:
    model = FACTORIES[name](n_features=1, dtype=F64)
    with torch.no_grad():
        model.gaps.fill_(-1000.0)  # softplus gives 0: three equal cutpoints
    eta = model(torch.ones(4, 1, dtype=F64))
    model.nll(eta, torch.arange(4)).sum().backward()
    assert all(bool(torch.isfinite(p.grad).all()) for p in model.parameters())


def test_ordinal_of_two_levels_is_logistic(generator: torch.Generator) -> None:
    ordinal, logistic = OrdinalRegression(3, 2, dtype=F64), LogisticRegression(3, dtype=F64)
    X, y = rows(20, 3, generator), torch.arange(20) % 2
    with torch.no_grad():
        ordinal.weight.copy_(torch.tensor([[1.0, -2.0, 0.5]]))
        ordinal.first.fill_(0.7)
        logistic.weight.copy_(ordinal.weight)
        logistic.bias.fill_(-0.7)
    torch.testing.assert_close(
        ordinal.log_likelihood(X, y), logistic.log_likelihood(X, y), rtol=1e-14, atol=0
    )


def test_softmax_of_two_classes_with_reference_is_logistic(generator: torch.Generator) -> None:
    softmax = SoftmaxRegression(3, 2, reference=True, dtype=F64)
    logistic = random_model("logistic", generator)
    softmax.load_state_dict(logistic.state_dict())
    X, y = rows(20, 3, generator), torch.arange(20) % 2
    torch.testing.assert_close(softmax.log_likelihood(X, y), logistic.log_likelihood(X, y))
    assert not softmax(X)[:, 0].any()


@each_classifier
def test_odds_are_ratios_of_probabilities(name: str, generator: torch.Generator) -> None:
    model = random_model(name, generator)
    eta = model(rows(20, 3, generator))
    p = model.mean(eta)
    if name == "logistic":
        expected = p / (1 - p)
    elif name.startswith("softmax"):
        expected = p / p[:, :1]
    else:
        below = p.cumsum(1)[:, :-1]
        expected = below / p.flip(1).cumsum(1).flip(1)[:, 1:]
    finite = expected.isfinite() & (expected > 0)  # the ratio overflows long before its logarithm
    odds, log_odds = model.odds(eta)[finite], model.log_odds(eta)[finite]
    torch.testing.assert_close(odds, expected[finite], rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(log_odds, expected[finite].log(), rtol=1e-10, atol=1e-10)


@each_ordinal
def test_odds_are_finite_far_from_zero(name: str) -> None:
    model = FACTORIES[name](n_features=1, dtype=F64)
    p = model.mean(torch.tensor([[-5.0, 0.0, 2.0]], dtype=F64))
    assert bool(torch.isfinite(model.log_odds(torch.tensor([[-5.0, 0.0, 2.0]], dtype=F64))).all())
    assert p.shape == (1, 4)


@each_model
def test_natural_parameters_are_detached_copies(name: str, generator: torch.Generator) -> None:
    model = random_model(name, generator)
    before = params_of(model)
    natural = model.natural()
    assert torch.equal(natural["weight"], model.weight)
    if name.startswith("ordinal"):
        assert set(natural) == {"weight", "cutpoints"}
        assert torch.equal(natural["cutpoints"], model.cutpoints)
    else:
        assert torch.equal(natural["bias"], model.bias)
    for value in natural.values():
        assert not value.requires_grad
        value.add_(1)
    assert torch.equal(params_of(model), before)


@each_classifier
def test_log_likelihood_is_minus_the_summed_nll(name: str, generator: torch.Generator) -> None:
    model, drawn = random_model(name, generator), problem(name, n=30)
    offset = torch.randn(30, generator=generator, dtype=F64)
    counts = torch.arange(30) % 4
    per_row = model.nll(model(drawn.X, offset), model.target(drawn.y))
    got = model.log_likelihood(drawn.X, drawn.y, offset=offset)
    torch.testing.assert_close(got, -per_row.sum())
    weighted = model.log_likelihood(drawn.X, drawn.y, sample_weight=counts, offset=offset)
    index = torch.repeat_interleave(torch.arange(30), counts)
    repeated = model.log_likelihood(drawn.X[index], drawn.y[index], offset=offset[index])
    torch.testing.assert_close(weighted, repeated)


def test_linear_log_likelihood_is_that_of_the_normal_density(generator: torch.Generator) -> None:
    model, drawn = random_model("linear", generator), problem("linear", n=30)
    residual = (drawn.y - model(drawn.X).squeeze(1)).detach()
    normal = torch.distributions.Normal(0.0, residual.square().mean().sqrt())
    got = model.log_likelihood(drawn.X, drawn.y)
    torch.testing.assert_close(got, normal.log_prob(residual).sum())
    counts = 1 + torch.arange(30) % 3
    index = torch.repeat_interleave(torch.arange(30), counts)
    torch.testing.assert_close(
        model.log_likelihood(drawn.X, drawn.y, sample_weight=counts),
        model.log_likelihood(drawn.X[index], drawn.y[index]),
    )


@each_model
def test_absorb_folds_a_standardisation_in(name: str, generator: torch.Generator) -> None:
    model = random_model(name, generator)
    X = 3 + rows(10, 3, generator)
    mean, scale = X.mean(0), X.std(0)
    before = model((X - mean) / scale).detach()
    model.absorb_(mean, scale)
    torch.testing.assert_close(model(X), before, rtol=1e-12, atol=1e-12)


@each_model
def test_shift_adds_to_every_score(name: str, generator: torch.Generator) -> None:
    model, X = random_model(name, generator), rows(10, 3, generator)
    amount = torch.randn(model.weight.shape[0], generator=generator, dtype=F64)
    expected = model(X, amount.expand(10, -1)).detach()
    model.shift_(amount)
    torch.testing.assert_close(model(X), expected, rtol=1e-13, atol=1e-13)


@each_model
def test_without_bias_a_shift_is_refused_and_nothing_changes(
    name: str, generator: torch.Generator
) -> None:
    model = random_model(name, generator, bias=False)
    before = params_of(model)
    one = torch.ones(3, dtype=F64)
    with pytest.raises(ValueError, match=r"bias=False.*scale them without centring"):
        model.shift_(one[:1])
    assert torch.equal(params_of(model), before)
    X = rows(5, 3, generator)
    eta = model(X).detach()
    model.absorb_(0 * one, 2 * one)
    torch.testing.assert_close(model(2 * X), eta)


# absorb_ once divided the weight before shift_ refused: a refusal must come first.
@each_model
def test_refused_absorption_changes_nothing(name: str, generator: torch.Generator) -> None:
    model = random_model(name, generator, bias=False)
    before = params_of(model)
    with pytest.raises(ValueError, match="bias=False"):
        model.absorb_(torch.ones(3, dtype=F64), 2 * torch.ones(3, dtype=F64))
    assert torch.equal(params_of(model), before)
