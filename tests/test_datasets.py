"""The teaching sets: shapes, sources, and the facts the scripts rely on."""

import numpy as np
import pytest
import torch

from torchlogreg import LogisticRegression, OrdinalRegression, fit
from torchlogreg.datasets import DATASETS, Dataset, blobs, curve, discount, exam, levels, line, load
from torchlogreg.losses import binary_nll

F64 = torch.float64

SHAPES = {  # rows, columns, classes (0: a number)
    "blobs": (500, 2, 2),
    "breast_cancer": (569, 30, 2),
    "curve": (60, 1, 2),
    "diabetes": (442, 10, 0),
    "discount": (9, 1, 2),
    "exam": (20, 2, 2),
    "iris": (150, 4, 3),
    "levels": (300, 3, 4),
    "line": (60, 1, 0),
    "wine": (178, 13, 3),
}


def test_the_table_of_shapes_names_every_set():
    assert set(SHAPES) == set(DATASETS)


@pytest.mark.parametrize("name", SHAPES)
def test_every_set_is_finite_named_and_has_every_class(name):
    n, p, n_classes = SHAPES[name]
    data = load(name)
    assert data.name == name
    assert data.X.shape == (n, p) and data.X.dtype == np.float64 and len(data) == n
    assert np.isfinite(data.X).all() and np.isfinite(data.y).all()
    assert len(set(data.feature_names)) == p
    assert len(data.class_names) == n_classes and data.n_classes == (n_classes or None)
    assert data.source and data.target_name
    assert data.ordered == (name == "levels")
    if n_classes:
        assert data.y.dtype == np.int64
        assert set(data.y) == set(range(n_classes))
    else:
        assert data.y.dtype == np.float64


@pytest.mark.parametrize("name", SHAPES)
def test_a_set_is_the_same_each_time_and_a_copy(name):
    first, second = load(name), load(name)
    np.testing.assert_array_equal(first.X, second.X)
    np.testing.assert_array_equal(first.y, second.y)
    first.X[0, 0] += 1
    assert load(name).X[0, 0] == second.X[0, 0]


@pytest.mark.parametrize("name", SHAPES)
def test_every_maker_tells_its_source(name):
    assert "Source:" in DATASETS[name].__doc__


def test_an_unknown_name_is_an_error_that_lists_the_names():
    with pytest.raises(ValueError, match=r"'irsi'; did you mean 'iris'\? .*breast_cancer.*wine"):
        load("irsi")
    with pytest.raises(ValueError, match="'zzz'; there are blobs"):
        load("zzz")


def test_the_registry_cannot_be_changed():
    with pytest.raises(TypeError):
        DATASETS["mine"] = line


def test_blobs_are_those_of_the_cost_logger():
    from sklearn.datasets import make_blobs

    X, y = make_blobs(n_samples=500, n_features=2, centers=2, cluster_std=1.0, random_state=0)
    data = blobs()
    np.testing.assert_array_equal(data.X, X)
    np.testing.assert_array_equal(data.y, y)


def test_discount_without_intercept_has_the_published_optimum():
    data = discount()
    model = LogisticRegression(1, bias=False, dtype=F64)
    X, y = torch.tensor(data.X), torch.tensor(data.y)
    assert binary_nll(model(X), y).mean().item() == pytest.approx(0.6931471805599453, rel=1e-15)
    result = fit(model, X, y)
    assert result.objective == pytest.approx(0.41899283818630056, rel=1e-14)
    # The tutorial prints -0.03328492, where its descent had stopped; the root of the gradient is
    # 1.2e-8 away.
    assert model.weight.item() == pytest.approx(-0.033284908031101575, rel=1e-12)
    assert model.weight.item() == pytest.approx(-0.03328492, abs=2e-8)


def test_discount_and_exam_are_separated_by_a_line():
    spent, sent = discount().X[:, 0], discount().y
    assert spent[sent == 1].max() < spent[sent == 0].min()
    total, label = exam().X.sum(axis=1), exam().y
    assert total[label == 0].max() < total[label == 1].min()


def test_exam_starts_at_one_half():
    model = LogisticRegression(2, dtype=F64)
    assert (model.mean(model(torch.tensor(exam().X))) == 0.5).all()


def test_curve_overlaps_in_both_directions():
    x, y = curve().X[:, 0], curve().y
    assert x[y == 0].max() > x[y == 1].min()
    assert x[y == 1].max() > x[y == 0].min()


def test_line_has_the_coefficients_it_was_made_with():
    slope, intercept = np.polyfit(line().X[:, 0], line().y, 1)
    assert slope == pytest.approx(1.5, abs=0.25)
    assert intercept == pytest.approx(2.0, abs=0.5)


def test_levels_have_the_coefficients_they_were_made_with():
    data = levels()
    model = OrdinalRegression(3, 4, dtype=F64)
    assert fit(model, data.X, data.y).converged
    np.testing.assert_allclose(model.weight.detach()[0], [1.0, -0.7, 0.0], atol=0.35)
    np.testing.assert_allclose(model.cutpoints.detach(), [-1.0, 0.5, 2.0], atol=0.5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"y": np.zeros(3)}, r"X has shape \(2, 1\) and y \(3,\)"),
        ({"X": np.zeros(2)}, r"X has shape \(2,\)"),
        ({"feature_names": ("a", "b")}, "2 feature names for 1 columns"),
        ({"class_names": ("a",), "y": np.array([0, 1])}, "codes from 0 to 1, but there are 1"),
    ],
)
def test_a_record_that_does_not_fit_together_is_refused(change, message):
    good = {"name": "mine", "X": np.zeros((2, 1)), "y": np.zeros(2), "feature_names": ("a",)}
    assert Dataset(**good).n_classes is None
    with pytest.raises(ValueError, match=message):
        Dataset(**{**good, **change})
