"""Separation: the textbook sets, an exact oracle for small ones, and what must not matter."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from torchlogreg import LogisticRegression, fit
from torchlogreg.datasets import load
from torchlogreg.diagnostics import cone, separation
from torchlogreg.diagnostics.wording import listed


def spector():
    import statsmodels.api as sm

    data = sm.datasets.spector.load()
    return np.asarray(data.exog), np.asarray(data.endog)


def named(name):
    data = load(name)
    return data.X, data.y


SETS = {  # with an intercept, without
    "discount": ("complete", "none"),
    "exam": ("complete", "none"),
    "blobs": ("none", "none"),
    "curve": ("none", "none"),
    "breast_cancer": ("complete", "complete"),
    "spector": ("none", "none"),
}


@pytest.mark.parametrize("name", SETS)
@pytest.mark.parametrize("bias", [True, False])
def test_known_sets_are_told_apart(name, bias):
    X, y = spector() if name == "spector" else named(name)
    found = separation(X, y, bias=bias)
    assert found.kind == SETS[name][0 if bias else 1]
    assert_holds(found, X, y)


def assert_holds(found, X, y):
    """The direction does what it promises, on the raw columns, and the figures agree."""
    X, y = np.asarray(X, dtype=float), np.asarray(y)
    margin = (X @ found.direction + found.intercept) * np.where(y == 1, 1, -1)
    rounding = 1e-6 * ((np.abs(X) @ np.abs(found.direction)).max() + abs(found.intercept))
    assert found.n_rows == len(y)
    assert (margin >= -rounding).all()
    assert {
        "none": found.n_certain == 0 and not margin.any() and not found.columns,
        "quasi": 0 < found.n_certain < len(y) and (margin > 0.5).sum() == found.n_certain,
        "complete": found.n_certain == len(y) and (margin > 0.5).all(),
    }[found.kind]
    assert set(np.flatnonzero(found.direction)) == set(found.columns)


def certain_rows(Z):
    """Exact for integers and rank 3: a pointed cone is spanned by rays on two of its planes."""
    rays = [s * np.cross(a, b) for a, b in itertools.combinations(Z, 2) for s in (1, -1)]
    valid = [ray for ray in rays if ray.any() and (Z @ ray >= 0).all()]
    return int(np.any([Z @ ray > 0 for ray in valid], axis=0).sum()) if valid else 0


@given(
    st.lists(
        st.tuples(st.integers(-3, 3), st.integers(-3, 3), st.integers(0, 1)),
        min_size=3,
        max_size=9,
    )
)
def test_the_linear_program_agrees_with_an_exact_enumeration(rows):
    table = np.array(rows)
    X, y = table[:, :2], table[:, 2]
    Z = np.column_stack((X, np.ones(len(X), dtype=int))) * (2 * y - 1)[:, None]
    assume(np.linalg.matrix_rank(Z) == 3)
    found = separation(X, y)
    assert found.n_certain == certain_rows(Z)
    assert_holds(found, X, y)


@given(st.lists(st.tuples(st.integers(-4, 4), st.integers(0, 1)), min_size=2, max_size=10))
def test_one_column_is_a_question_of_order(rows):
    x, y = np.array(rows).T
    assume(0 < y.sum() < len(y))
    kinds = set()
    for low, high in ((x[y == 0], x[y == 1]), (x[y == 1], x[y == 0])):
        if low.max() < high.min():
            kinds.add("complete")
        elif low.max() == high.min() and x.min() < x.max():
            kinds.add("quasi")
    expected = next(iter(sorted(kinds)), "none")
    found = separation(x[:, None], y)
    assert found.kind == expected
    assert_holds(found, x[:, None], y)


def planted(n=80, p=4, gap=0.1, seed=0):
    """Rows on both sides of a known plane, none nearer than ``gap``."""
    generator = np.random.default_rng(seed)
    X = generator.normal(size=(5 * n, p))
    eta = X @ generator.normal(size=p) + 0.3
    kept = np.flatnonzero(np.abs(eta) > gap)[:n]
    return X[kept], (eta[kept] > 0).astype(int)


@pytest.mark.parametrize("gap", [1e-5, 1e-2, 1.0])
@pytest.mark.parametrize("seed", range(3))
def test_a_planted_plane_is_found(gap, seed):
    X, y = planted(gap=gap, seed=seed)
    found = separation(X, y)
    assert found.kind == "complete"
    assert_holds(found, X, y)


@pytest.mark.parametrize("seed", range(3))
def test_labels_thrown_by_coin_overlap_and_have_a_finite_estimate(seed):
    generator = np.random.default_rng(seed)
    X, y = generator.normal(size=(200, 4)), generator.integers(0, 2, 200)
    assert separation(X, y).kind == "none"
    model = LogisticRegression(4, dtype=torch.float64)
    assert fit(model, X, y).converged
    assert model.weight.abs().max() < 2


def quasi():
    """Overlap, but an indicator whose rows are all of class 1."""
    generator = np.random.default_rng(0)
    X, y = generator.normal(size=(120, 3)), generator.integers(0, 2, 120)
    X[:, 1] = 0
    X[:7, 1], y[:7] = 1, 1
    return X, y


def test_an_indicator_with_one_class_only_is_named():
    X, y = quasi()
    found = separation(X, y)
    assert (found.kind, found.columns, found.n_certain) == ("quasi", (1,), 7)
    assert found.direction[1] > 0
    assert_holds(found, X, y)
    assert "quasi-completely separated by 'rare': 7 of 120 rows" in found.describe(
        ["a", "rare", "c"]
    )


CASES = {"none": lambda: named("curve"), "quasi": quasi, "complete": planted}


@pytest.mark.parametrize("kind", CASES)
@pytest.mark.parametrize(
    "change",
    [
        lambda X: X * 1e9,
        lambda X: X * 1e-9,
        lambda X: X + 1000,
        lambda X: -X[:, ::-1],
        lambda X: np.column_stack((X, np.full(len(X), 7.0))),
        lambda X: np.column_stack((X, np.zeros(len(X)))),
        lambda X: np.column_stack((X, X)),
        lambda X: np.column_stack((X, 2 * X[:, 0] - X[:, -1] + 1)),
    ],
    ids=["large", "small", "shifted", "mirrored", "constant", "zero", "twice", "collinear"],
)
def test_units_and_redundant_columns_do_not_matter(kind, change):
    X, y = CASES[kind]()
    changed = change(X)
    found = separation(changed, y)
    assert found.kind == kind
    assert found.n_certain == separation(X, y).n_certain
    assert_holds(found, changed, y)


@pytest.mark.parametrize("kind", CASES)
def test_exchanging_the_classes_turns_the_direction_round(kind):
    X, y = CASES[kind]()
    one, other = separation(X, y), separation(X, 1 - y)
    assert (one.kind, one.columns, one.n_certain) == (other.kind, other.columns, other.n_certain)
    np.testing.assert_allclose(other.direction, -one.direction, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("kind", CASES)
def test_an_intercept_is_a_column_of_ones(kind):
    X, y = CASES[kind]()
    ones = np.column_stack((X, np.ones(len(X))))
    found = separation(ones, y, bias=False)
    assert found.kind == kind and found.intercept == 0
    assert found.n_certain == separation(X, y).n_certain


def test_only_the_columns_that_do_it_are_named():
    # The least sum of absolute weights leaned a little on all 12 columns, to widen the gap between
    # rows that nearly touch, and all 12 were named.
    X = np.random.default_rng(0).normal(size=(2000, 12))
    y = (X[:, 0] + X[:, 5] > 0).astype(int)
    found = separation(X, y)
    assert found.kind == "complete" and found.columns == (0, 5)
    assert ((X @ found.direction + found.intercept > 0) == y).all()


def test_a_single_class_is_separated_by_the_intercept_alone():
    found = separation(np.array([[1.0], [2.0], [3.0]]), np.ones(3))
    assert (found.kind, found.columns) == ("complete", ())
    assert found.intercept > 0
    assert "by the intercept alone" in str(found)


def test_the_line_for_readers_names_columns_and_the_way_out():
    X, y = named("discount")
    line = separation(X, y).describe(("amount_spent",))
    assert "completely separated by 'amount_spent': 9 of 9 rows" in line
    assert "penalty" in line and "\n" not in line
    assert "separated by column 0:" in str(separation(X, y))
    assert "estimate exists" in str(separation(X, y, bias=False))
    assert "column 9 and 2 more" in listed(range(12), None)


def test_tensors_and_frames_are_read():
    import pandas as pd

    X, y = named("discount")
    tensors = separation(torch.tensor(X, dtype=torch.float32), torch.tensor(y))
    frames = separation(pd.DataFrame(X, columns=["a"]), pd.Series(y))
    assert tensors.kind == frames.kind == "complete"


BAD = [
    (np.zeros((2, 1)), np.array([0, 2]), "row 1: target 2 is neither"),
    (np.zeros((2, 1)), np.zeros(3), "X has 2 rows, but the target has 3"),
    (np.array([[0.0], [np.nan]]), np.zeros(2), "row 1"),
    (np.zeros(2), np.zeros(2), "rows by columns are needed"),
]


@pytest.mark.parametrize(("X", "y", "message"), BAD)
def test_bad_input_is_named_in_one_line(X, y, message):
    with pytest.raises(ValueError, match=message) as caught:
        separation(X, y)
    assert "\n" not in str(caught.value)


def test_an_unsolved_program_is_an_error_and_not_an_answer():
    with pytest.raises(RuntimeError, match="was not solved"):
        cone.solve(np.ones(1), np.array([[1.0]]), np.array([-1.0]), np.array([(0.0, np.inf)]))
