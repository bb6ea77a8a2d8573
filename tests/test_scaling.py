"""Standardisation: its figures, its stability, and folding it back."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from torchlogreg import LinearRegression, LogisticRegression, OrdinalRegression, SoftmaxRegression
from torchlogreg.scaling import Standardizer

F64 = torch.float64

MODELS = {
    "linear": lambda bias: LinearRegression(3, bias=bias, dtype=F64),
    "logistic": lambda bias: LogisticRegression(3, bias=bias, dtype=F64),
    "softmax": lambda bias: SoftmaxRegression(3, 4, bias=bias, dtype=F64),
    "reference": lambda bias: SoftmaxRegression(3, 4, reference=True, bias=bias, dtype=F64),
    "logit": lambda bias: OrdinalRegression(3, 4, "logit", bias=bias, dtype=F64),
    "probit": lambda bias: OrdinalRegression(3, 4, "probit", bias=bias, dtype=F64),
    "cloglog": lambda bias: OrdinalRegression(3, 4, "cloglog", bias=bias, dtype=F64),
}


def columns(n=50, seed=0):
    """Three columns of very different place and unit."""
    generator = torch.Generator().manual_seed(seed)
    X = torch.randn(n, 3, dtype=F64, generator=generator)
    return X * torch.tensor([1.0, 1e-3, 200.0], dtype=F64) + torch.tensor([5.0, 0.02, -900.0])


def randomise(model, seed=0):
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, dtype=F64, generator=generator))
    return model


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("centre", [True, False])
def test_folding_keeps_eta(name, centre):
    X = columns()
    standardizer = Standardizer.of(X, centre=centre)
    model = randomise(MODELS[name](centre))
    before = model(standardizer.transform(X))
    assert standardizer.fold_(model) is model
    torch.testing.assert_close(model(X), before, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", MODELS)
def test_a_model_without_intercept_refuses_a_shift_and_stays_as_it_was(name):
    model = randomise(MODELS[name](False))
    before = model.weight.detach().clone()
    with pytest.raises(ValueError, match=r"bias=False.*centre=False"):
        Standardizer.of(columns()).fold_(model)
    assert torch.equal(model.weight, before)


def test_columns_get_mean_zero_and_population_deviation_one():
    X = columns()
    Z = Standardizer.of(X).transform(X)
    assert Z.mean(0).abs().max() < 1e-14
    torch.testing.assert_close(Z.std(0, correction=0), torch.ones(3, dtype=F64), rtol=1e-14, atol=0)


def test_figures_are_those_of_scikit_learn():
    from sklearn.preprocessing import StandardScaler

    X = columns()
    weight = torch.rand(len(X), dtype=F64, generator=torch.Generator().manual_seed(1))
    for sample_weight in (None, weight):
        theirs = StandardScaler().fit(X.numpy(), sample_weight=sample_weight)
        ours = Standardizer.of(X, sample_weight)
        np.testing.assert_allclose(ours.mean, theirs.mean_, rtol=1e-12)
        np.testing.assert_allclose(ours.scale, theirs.scale_, rtol=1e-12)


@given(
    arrays(np.float64, (7, 2), elements=st.floats(-1e6, 1e6).map(lambda x: round(x, 3))),
    arrays(np.int64, 7, elements=st.integers(0, 3)).filter(lambda w: w.any()),
)
@settings(max_examples=60, deadline=None)
def test_weight_equals_repetition_and_zero_equals_removal(X, weight):
    X, weight = torch.tensor(X), torch.tensor(weight)
    weighted = Standardizer.of(X, weight)
    repeated = Standardizer.of(X.repeat_interleave(weight, dim=0))
    scaled = Standardizer.of(X, 1e-3 * weight.double())
    size = X.abs().amax(0)
    for other in (repeated, scaled):
        assert ((weighted.mean - other.mean).abs() <= 1e-14 * size).all()
        torch.testing.assert_close(weighted.scale, other.scale, rtol=1e-9, atol=0)


@pytest.mark.parametrize("offset", [1e3, 1e6, 1e9])
def test_a_large_mean_costs_no_more_than_the_data_hold(offset):
    """The one-pass formula has lost all digits at 1e9, where the spread is 1e-18 of the square."""
    steps = torch.arange(11, dtype=F64)
    standardizer = Standardizer.of((steps + offset).unsqueeze(1))
    assert standardizer.mean.item() == pytest.approx(offset + 5, rel=1e-15)
    assert standardizer.scale.item() == pytest.approx(10**0.5, rel=1e-13)


@pytest.mark.parametrize("unit", [1e-290, 1e-160, 1e160, 1e290])
def test_any_unit_is_fine(unit):
    X = torch.tensor([[-1.0], [1.0], [3.0]], dtype=F64) * unit
    scale = Standardizer.of(X).scale.item()
    assert scale == pytest.approx(unit * (8 / 3) ** 0.5, rel=1e-14)


@pytest.mark.parametrize("value", [0.0, 0.1, -7.3, 1e9, 1e-12])
@pytest.mark.parametrize("weighted", [True, False])
def test_a_constant_column_becomes_exactly_zero(value, weighted):
    X = torch.full((13, 1), value, dtype=F64)
    weight = torch.arange(1, 14, dtype=F64) / 7 if weighted else None
    standardizer = Standardizer.of(X, weight)
    assert standardizer.mean.item() == value
    assert standardizer.scale.item() == 1
    assert (standardizer.transform(X) == 0).all()


def test_uncentred_columns_keep_their_zero():
    X = columns()
    standardizer = Standardizer.of(X, centre=False)
    assert not standardizer.mean.any()
    torch.testing.assert_close(standardizer.scale, Standardizer.of(X).scale)
    assert (standardizer.transform(torch.zeros(2, 3, dtype=F64)) == 0).all()


def test_float32_columns_are_summed_in_float64_and_returned_in_float32():
    X = (columns(1000) * 1e3).float()
    single, double = Standardizer.of(X), Standardizer.of(X.double())
    assert torch.equal(single.mean, double.mean) and torch.equal(single.scale, double.scale)
    assert single.transform(X).dtype == torch.float32
    model = LogisticRegression(3, dtype=torch.float32)
    with torch.no_grad():
        model.weight.fill_(0.5)
    before = model(single.transform(X))
    single.fold_(model)
    assert model.weight.dtype == torch.float32
    torch.testing.assert_close(model(X), before, rtol=1e-4, atol=1e-4)


def test_a_row_without_weight_cannot_disturb():
    X = torch.tensor([[1.0], [2.0], [1e300]], dtype=F64)
    with_row = Standardizer.of(X, torch.tensor([1.0, 1.0, 0.0]))
    without = Standardizer.of(X[:2])
    assert torch.equal(with_row.scale, without.scale) and torch.equal(with_row.mean, without.mean)


BAD = [
    (torch.zeros(3, dtype=F64), None, r"X has shape \(3,\)"),
    (torch.zeros(0, 2, dtype=F64), None, "n >= 1"),
    (torch.tensor([[1.0, 2.0], [3.0, float("nan")]]), None, "row 1, column 1"),
    (torch.ones(2, 1), torch.ones(3), r"sample_weight has shape \(3,\)"),
    (torch.ones(2, 1), torch.tensor([1.0, -1.0]), "-1 in row 1"),
    (torch.ones(2, 1), torch.tensor([float("nan"), 1.0]), "nan in row 0"),
    (torch.ones(2, 1), torch.zeros(2), "zero in every row"),
]


@pytest.mark.parametrize(("X", "weight", "message"), BAD)
def test_bad_input_is_named_in_one_line(X, weight, message):
    with pytest.raises(ValueError, match=message) as caught:
        Standardizer.of(X, weight)
    assert "\n" not in str(caught.value)


def test_other_columns_than_those_measured_are_refused():
    standardizer = Standardizer.of(columns())
    with pytest.raises(ValueError, match=r"X has 2 columns.*made from 3"):
        standardizer.transform(torch.zeros(4, 2))
    with pytest.raises(ValueError, match="the model has 2 columns"):
        standardizer.fold_(LogisticRegression(2))


def test_folding_twice_composes():
    X = columns()
    first = Standardizer.of(X)
    second = Standardizer.of(first.transform(X) * 3 + 1)
    model = randomise(MODELS["logistic"](True))
    before = model(second.transform(first.transform(X)))
    first.fold_(second.fold_(model))
    torch.testing.assert_close(model(X), before, rtol=1e-12, atol=1e-12)


def test_a_sum_that_overflows_is_no_missing_value():
    """The check for missing values looks at the sum first: of finite numbers it may be infinite."""
    X = torch.tensor([[1e308], [1.5e308], [1.2e308]], dtype=F64)
    assert torch.isfinite(Standardizer.of(X).transform(X)).all()


def test_nothing_that_was_given_is_changed():
    """The work is done in place, on a copy: also where X is float64 already and contiguous."""
    X = columns()
    before, standardizer = X.clone(), Standardizer.of(X)
    standardizer.transform(X)
    assert torch.equal(X, before)
