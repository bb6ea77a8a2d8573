"""Separation of three and more classes, ordinal levels, soft targets, and rows without weight."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import linprog
from sklearn.datasets import load_iris

from torchlogreg import LogisticRegression, Model, OrdinalRegression, SoftmaxRegression
from torchlogreg.diagnostics import Separation, separation

F64 = torch.float64
KINDS = {
    "softmax": lambda p, K: SoftmaxRegression(p, K, dtype=F64),
    "reference": lambda p, K: SoftmaxRegression(p, K, reference=True, dtype=F64),
    "softmax_through_zero": lambda p, K: SoftmaxRegression(p, K, bias=False, dtype=F64),
    "ordinal": lambda p, K: OrdinalRegression(p, K, dtype=F64),
    "probit": lambda p, K: OrdinalRegression(p, K, link="probit", dtype=F64),
    "cloglog": lambda p, K: OrdinalRegression(p, K, link="cloglog", dtype=F64),
    "ordinal_through_zero": lambda p, K: OrdinalRegression(p, K, bias=False, dtype=F64),
}


def constraints(kind: str, X: np.ndarray, y: np.ndarray, K: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows that must not fall, and orders that must hold, written out by loops."""
    n, p = X.shape
    rows, orders = [], []
    if kind.startswith(("softmax", "reference")):
        bias = 0 if kind.endswith("zero") else 1
        for i in range(n):
            for j in range(K):
                if j == y[i]:
                    continue
                b = np.zeros((K, p + bias))
                z = np.append(X[i], [1.0] * bias)
                b[y[i]] += z
                b[j] -= z
                rows.append(b.ravel())
    else:
        unit = np.eye(K - 1)
        if kind.endswith("zero"):
            unit[0] = 0
        for i in range(n):
            if y[i] < K - 1:
                rows.append(np.append(-X[i], unit[y[i]]))
            if y[i] > 0:
                rows.append(np.append(X[i], -unit[y[i] - 1]))
        orders = [np.append(np.zeros(p), unit[j + 1] - unit[j]) for j in range(K - 2)]
    return np.array(rows), np.array(orders).reshape(len(orders), len(rows[0]))


def oracle(kind: str, X: np.ndarray, y: np.ndarray, K: int) -> str:
    """One dense program with a slack for every constraint."""
    A, orders = constraints(kind, X, y, K)
    m, d = A.shape
    cost = np.append(np.zeros(d), -np.ones(m))
    upper = np.hstack((-A, np.eye(m)))
    lower = np.hstack((-orders, np.zeros((len(orders), m))))
    bounds = [(None, None)] * d + [(0, 1)] * m
    found = linprog(cost, np.vstack((upper, lower)), np.zeros(m + len(orders)), bounds=bounds)
    strict = int((found.x[d:] > 0.5).sum())
    return "none" if strict == 0 else "complete" if strict == m else "quasi"


tables = st.integers(2, 4).flatmap(
    lambda K: st.tuples(
        st.just(K),
        st.lists(
            st.tuples(st.integers(-2, 2), st.integers(-2, 2), st.integers(0, K - 1)),
            min_size=3,
            max_size=14,
        ),
    )
)


@pytest.mark.parametrize("kind", KINDS)
@given(table=tables)
def test_all_kinds_agree_with_a_program_written_out_by_loops(kind, table):
    K, rows = table
    data = np.array(rows)
    X, y = data[:, :2].astype(float), data[:, 2]
    model = KINDS[kind](2, K)
    found = separation(X, y, model=model)
    assert found.kind == oracle(kind, X, y, K)
    assert_rises_for_ever(model, found, X, y)


def assert_rises_for_ever(model: Model, found: Separation, X: np.ndarray, y: np.ndarray) -> None:
    """Along the direction no row's loss rises; that of the improved rows falls, and only theirs."""
    rows, target = torch.from_numpy(X), model.target(torch.from_numpy(y))
    direction = torch.from_numpy(np.atleast_2d(found.direction)).to(F64)
    intercept = torch.as_tensor(np.atleast_1d(found.intercept), dtype=F64)
    along = rows @ direction.T
    if isinstance(model, OrdinalRegression):
        along = intercept - along
        start = torch.linspace(-0.5, 0.5, model.n_classes - 1, dtype=F64).expand(len(X), -1)
    else:
        along = along + intercept
        start = torch.zeros_like(along)
    losses = [model.nll(start + t * along, target) for t in (0.0, 0.5, 1.0, 2.0)]
    falls = [a - b for a, b in itertools.pairwise(losses)]
    assert all(bool((fall > -1e-7).all()) for fall in falls)
    assert int((falls[0] > 1e-4).sum()) == found.n_improved
    assert (found.kind == "none") == (found.n_improved == 0)
    assert (found.kind == "complete") == (found.n_certain == found.n_rows)


def overlapping(K: int, n: int = 300, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Four columns, of which the second is 1 for some rows of any class."""
    generator = np.random.default_rng(seed)
    X = generator.normal(size=(n, 4))
    X[:, 1] = generator.random(n) < 0.1
    return X, generator.integers(0, K, n)


@pytest.mark.parametrize("kind", KINDS)
def test_an_indicator_that_excludes_classes_is_named(kind):
    X, y = overlapping(3)
    model = KINDS[kind](4, 3)
    assert separation(X, y, model=model).kind == "none"
    y[X[:, 1] == 1] = 2
    found = separation(X, y, model=model)
    assert (found.kind, found.columns) == ("quasi", (1,))
    assert found.n_certain == (X[:, 1] == 1).sum() == found.n_improved
    assert "separated by 'rare'" in found.describe(["a", "rare", "c", "d"])
    assert_rises_for_ever(model, found, X, y)


def test_a_class_excluded_where_others_overlap_makes_no_row_certain():
    X, y = overlapping(3)
    y[(X[:, 1] == 1) & (y == 0)] = 1
    found = separation(X, y, model=SoftmaxRegression(4, 3, dtype=F64))
    assert (found.kind, found.columns, found.n_certain) == ("quasi", (1,), 0)
    assert found.n_improved == (X[:, 1] == 1).sum()
    assert f"some class can be excluded for {found.n_improved} of 300 rows" in str(found)


CHANGES = {
    "large": lambda X: X * 1e7,
    "shifted": lambda X: X + 500,
    "constant": lambda X: np.column_stack((X, np.full(len(X), 7.0))),
    "twice": lambda X: np.column_stack((X, X)),
}


def test_one_column_that_excludes_a_class_is_named_alone():
    # Petal length tells Iris setosa from the others; petal width and sepal width were named too.
    iris = load_iris()
    found = separation(iris.data, iris.target, model=SoftmaxRegression(4, 3, dtype=F64))
    assert found.kind == "quasi" and len(found.columns) == 1
    column = iris.data[:, found.columns[0]]
    setosa = iris.target == 0
    assert column[setosa].max() < column[~setosa].min() and found.n_certain == 50


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("kind", ["softmax", "reference", "ordinal"])
@pytest.mark.parametrize("separated", [True, False])
def test_units_and_redundant_columns_do_not_matter(kind, change, separated):
    X, y = overlapping(3)
    if separated:
        y[X[:, 1] == 1] = 2
    plain = separation(X, y, model=KINDS[kind](4, 3))
    changed = CHANGES[change](X)
    found = separation(changed, y, model=KINDS[kind](changed.shape[1], 3))
    assert (found.kind, found.n_certain) == (plain.kind, plain.n_certain)


@pytest.mark.parametrize("kind", KINDS)
def test_the_order_of_rows_does_not_matter_nor_do_repetitions(kind):
    X, y = overlapping(3)
    y[X[:, 1] == 1] = 2
    order = np.random.default_rng(1).permutation(600) % 300
    model = KINDS[kind](4, 3)
    one, other = separation(X, y, model=model), separation(X[order], y[order], model=model)
    assert (one.kind, one.columns) == (other.kind, other.columns)
    assert other.n_certain == 2 * one.n_certain
    np.testing.assert_allclose(other.direction, one.direction, rtol=1e-6, atol=1e-9)


def test_renamed_classes_exchange_the_directions():
    X, y = overlapping(3)
    y[X[:, 1] == 1] = 2
    model = SoftmaxRegression(4, 3, dtype=F64)
    one, other = separation(X, y, model=model), separation(X, (y + 1) % 3, model=model)
    assert one.kind == other.kind and one.columns == other.columns
    rolled = np.roll(one.direction, 1, axis=0)
    np.testing.assert_allclose(np.ptp(other.direction, 0), np.ptp(rolled, 0), atol=1e-9)


def test_reversed_levels_turn_the_ordinal_direction_round():
    X, y = overlapping(3)
    y[X[:, 1] == 1] = 2
    model = OrdinalRegression(4, 3, dtype=F64)
    one, other = separation(X, y, model=model), separation(X, 2 - y, model=model)
    assert one.direction[1] > 0
    np.testing.assert_allclose(other.direction, -one.direction, atol=1e-9)


@pytest.mark.parametrize("kind", ["softmax", "ordinal"])
def test_two_classes_are_binary_regression(kind):
    for seed, cut in ((0, None), (1, 0.0), (2, 0.4)):
        X, y = overlapping(2, seed=seed)
        if cut is not None:
            y = (X[:, 0] > cut).astype(int)
        binary, two = separation(X, y), separation(X, y, model=KINDS[kind](4, 2))
        assert (binary.kind, binary.columns) == (two.kind, two.columns)


@pytest.mark.parametrize("kind", KINDS)
def test_a_row_without_weight_is_a_removed_row(kind):
    X, y = overlapping(3)
    weights = np.where((X[:, 1] == 1) & (y != 2), 0.0, 2.5)
    model = KINDS[kind](4, 3)
    kept = weights > 0
    assert separation(X, y, model=model).kind == "none"
    found = separation(X, y, model=model, sample_weight=weights)
    removed = separation(X[kept], y[kept], model=model)
    assert (found.kind, found.columns, found.n_rows) == ("quasi", (1,), kept.sum())
    np.testing.assert_array_equal(found.direction, removed.direction)


def test_a_class_without_rows_is_separated_by_the_intercept_alone():
    X, y = overlapping(3)
    for model in (SoftmaxRegression(4, 4, dtype=F64), OrdinalRegression(4, 4, dtype=F64)):
        found = separation(X, y, model=model)
        assert (found.kind, found.columns) == ("quasi", ())
        assert "by the intercept alone" in str(found)


def test_an_inner_level_without_rows_separates_nothing():
    X, y = overlapping(2)
    assert separation(X, 2 * y, model=OrdinalRegression(4, 3, dtype=F64)).kind == "none"


SOFT_BINARY = [
    ([0.0, 0.0, 0.5, 1.0, 1.0], "quasi"),  # the plane must go through the soft row
    ([0.0, 0.5, 0.5, 1.0, 1.0], "none"),  # and cannot go through two
    ([0.3, 0.3, 0.3, 0.3, 0.3], "none"),
    ([0.0, 0.0, 0.0, 1.0, 1.0], "complete"),
]


@pytest.mark.parametrize(("y", "kind"), SOFT_BINARY)
def test_a_soft_target_binds_both_sides(y, kind):
    X = np.arange(5.0)[:, None]
    found = separation(X, np.array(y))
    assert found.kind == kind
    if kind == "quasi":
        assert found.n_certain == 4
        assert abs(X[2, 0] * found.direction[0] + found.intercept) < 1e-9
    shares = np.column_stack((1 - np.array(y), y))
    for model in (SoftmaxRegression(1, 2, dtype=F64), OrdinalRegression(1, 2, dtype=F64)):
        assert separation(X, shares, model=model).kind == kind


def test_one_hot_targets_are_hard_ones():
    X, y = overlapping(3)
    y[X[:, 1] == 1] = 2
    for kind in ("softmax", "ordinal"):
        model = KINDS[kind](4, 3)
        hard, soft = separation(X, y, model=model), separation(X, np.eye(3)[y], model=model)
        assert (hard.kind, hard.n_certain) == (soft.kind, soft.n_certain)
        np.testing.assert_array_equal(hard.direction, soft.direction)


def test_many_rows_are_decided_like_their_distinct_ones():
    # Few values, so that a sample of rows misses what a handful of them says.
    X, y = overlapping(2, n=20000)
    X = np.round(X)
    y[X[:, 1] == 1] = 1
    assert separation(X, y).columns == (1,)
    y[np.flatnonzero(X[:, 1] == 1)[:2]] = 0
    assert separation(X, y).kind == "none"


def test_models_without_classes_have_nothing_to_separate():
    from torchlogreg import LinearRegression

    with pytest.raises(ValueError, match="LinearRegression has no classes"):
        separation(np.zeros((2, 1)), np.zeros(2), model=LinearRegression(1))


def test_the_models_own_intercept_decides():
    X, y = np.array([[1.0], [2.0], [3.0], [4.0]]), np.array([0, 0, 1, 1])
    assert separation(X, y, model=LogisticRegression(1, dtype=F64)).kind == "complete"
    assert separation(X, y, model=LogisticRegression(1, bias=False, dtype=F64)).kind == "none"
