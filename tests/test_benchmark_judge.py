"""The referee of the race: problems, reference optima, verdicts."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

import numpy as np
import pytest

TESTS = Path(__file__).parent
SCRIPTS = TESTS.parent / "scripts"
sys.path.insert(0, str(SCRIPTS))
try:
    from benchmarks.solving import generators, objectives, problems
    from benchmarks.solving.contender import Answer
    from benchmarks.solving.judge import judge
    from benchmarks.solving.problems import PROBLEMS, Data
    from benchmarks.solving.reference import reference
finally:
    sys.path.remove(str(SCRIPTS))

SMALL = {"n": 300, "p": 6, "k": 3}
SMOOTH = ("tall-1k-20", "softmax", "ridge", "ols", "wide", "sparse-l2", "fit+errors")
SPARSE = ("lasso", "l1-logistic", "sparse-l1")


def made(name: str, folder: Path, **new: object) -> Data:
    """A small version of a problem."""
    small = SMALL | ({"p": 40, "density": 0.1} if name.startswith("sparse") else {}) | new
    return problems.make(dataclasses.replace(PROBLEMS[name], **small), folder)


@pytest.mark.parametrize("design", generators.DESIGNS)
@pytest.mark.parametrize("name", SMOOTH)
def test_reference_is_an_optimum_on_every_design(name, design, tmp_path):
    data = made(name, tmp_path, data=design)
    best = reference(data)
    weight, bias = objectives.gradient(data, best.weight, best.bias)
    assert best.certificate < 1e-13
    units = 1 + float(abs(data.X).max())
    assert np.abs(weight).max() < 1e-7 * units and np.abs(bias).max() * data.spec.intercept < 1e-7


@pytest.mark.parametrize("design", generators.DESIGNS)
@pytest.mark.parametrize("name", SPARSE)
def test_reference_under_l1_is_an_optimum_on_every_design(name, design, tmp_path):
    data = made(name, tmp_path, data=design)
    best = reference(data)
    assert best.certificate < 1e-10
    slope = objectives.gradient(data, best.weight, best.bias)[0]
    l1, zero = data.spec.l1, best.weight == 0
    assert not zero.all() and (zero.any() or design == "collinear")
    assert np.abs(slope).max() <= l1 * (1 + 1e-9)
    # A weight next to zero is one whose gradient next to ``l1`` does not matter.
    apart = np.abs(slope + l1 * np.sign(best.weight)) * np.abs(best.weight)
    assert apart.max() < 1e-12 * best.value


@pytest.mark.parametrize("design", ["gaussian", "collinear"])
@pytest.mark.parametrize("name", SPARSE)
def test_reference_under_l1_is_below_every_point_around_it(name, design, tmp_path):
    data = made(name, tmp_path, data=design)
    best, rng = reference(data), np.random.default_rng(0)
    p = data.spec.p
    for scale in (1e-1, 1e-3, 1e-5):
        for _ in range(20):
            step = scale * rng.standard_normal(best.weight.shape)
            if rng.random() < 0.5:  # along a pair, which is where an objective hardly bends
                step[:, p // 2 :] = -step[:, : p // 2]
            value = objectives.value(data, best.weight + step, best.bias)
            assert value >= best.value * (1 - 1e-13)


@pytest.mark.parametrize("design", generators.DESIGNS)
def test_sparse_designs_store_what_they_say(design):
    X, _ = generators.make(np.random.default_rng(0), "logistic", design, 500, 300, 2, 0.02)
    each = np.diff(X.indptr)
    assert X.shape == (500, 300) and each.max() == 6 and each.mean() > 5.8
    if design == "collinear":
        gap = X[:, :150] - X[:, 150:]
        assert 0 < abs(gap).max() < 1e-5 and each.min() >= 2
    if design == "dummies":
        assert set(X.data) == {1.0} and each.min() == 6
        assert X[:, ::50].sum() > 4 * X[:, 49::50].sum()
    squares = np.sort(X.data**2)[::-1]
    held = squares[:30].sum() / squares.sum()
    assert held > 0.2 if design == "heavy" else held < 0.1


@pytest.mark.parametrize(("kind", "k"), [("logistic", 2), ("softmax", 4)])
def test_a_rare_class_is_one_in_a_thousand(kind, k):
    _, y = generators.make(np.random.default_rng(0), kind, "rare", 50_000, 5, k, 1.0)
    assert 20 < (y == k - 1).sum() < 100
    assert np.unique(y).tolist() == list(range(k))


def test_reference_equals_our_own_fit(tmp_path):
    from torchlogreg import LogisticRegression, fit
    from torchlogreg.penalties import L2

    data = made("tall-1k-20", tmp_path)
    import torch

    model = LogisticRegression(6, dtype=torch.float64)
    result = fit(model, data.X, data.y, penalty=L2(data.spec.l2), tol=1e-10)
    assert result.objective == pytest.approx(reference(data).value, rel=1e-13)


@pytest.mark.parametrize("design", generators.DESIGNS)
def test_standard_errors_of_the_reference_have_more_digits_than_are_asked_for(design, tmp_path):
    from mpmath import mp  # a dependency of torch, by way of sympy

    data = made("fit+errors", tmp_path, data=design)
    best = reference(data)
    with mp.workdps(60):
        rows = mp.matrix(np.column_stack((data.X, np.ones(len(data.X)))).tolist())
        eta = rows * mp.matrix([*best.weight[0].tolist(), *best.bias.tolist()])
        halves = [1 / (2 * mp.cosh(score / 2)) for score in eta]  # roots of the variances
        for i, half in enumerate(halves):
            rows[i, :] *= half
        inverse = (rows.T * rows) ** -1
        exact = [float(mp.sqrt(inverse[j, j])) for j in range(len(best.errors))]
    np.testing.assert_allclose(best.errors, exact, rtol=1e-7)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda a: a._replace(weight=a.weight[:, :-1]), "shapes"),
        (lambda a: a._replace(weight=a.weight * np.nan), "not finite"),
        (lambda a: a._replace(errors=None), "no standard errors"),
        (lambda a: a._replace(errors=a.errors * 1.5), ""),
    ],
)
def test_judge_sees_what_is_wrong(change, words, tmp_path):
    data = made("fit+errors", tmp_path)
    best = reference(data)
    right = Answer(best.weight, best.bias, errors=best.errors)
    assert judge(data, best, right).reaches(1e-10)
    verdict = judge(data, best, change(right))
    assert not verdict.reaches(1e-4) and words in verdict.words


def test_judge_doubts_a_reference_that_is_beaten(tmp_path):
    data = made("tall-1k-20", tmp_path)
    best = reference(data)
    beaten = best._replace(value=best.value * (1 + 1e-6))
    verdict = judge(data, beaten, Answer(best.weight, best.bias))
    assert not verdict.reaches(1e-4) and "lower than the reference" in verdict.words


def test_judge_of_the_loop_wants_every_cost_and_lawful_weights(tmp_path):
    data = problems.make(PROBLEMS["cost-logger-weighted"], tmp_path)
    row = np.where(data.y > 0, 1.25, 1.0)
    best = reference(data, row)
    right = Answer(best.weight, best.bias, costs=np.ones(200), row_weight=row)
    assert judge(data, best, right).reaches(1e-10)
    assert "200" in judge(data, best, right._replace(costs=np.ones(199))).words
    heavy = right._replace(row_weight=np.where(data.y > 0, 3.0, 1.0))
    assert "proportion 3" in judge(data, best, heavy).words


@pytest.mark.parametrize("name", PROBLEMS)
def test_rows_come_back_from_their_folder_as_they_were_made(name, tmp_path):
    new = {} if PROBLEMS[name].loop else {"n": 50, "p": 30}
    data = problems.make(dataclasses.replace(PROBLEMS[name], **new), tmp_path / "a")
    again = problems.make(dataclasses.replace(PROBLEMS[name], **new), tmp_path / "b")
    assert data.spec == again.spec and data.X.shape == (data.spec.n, data.spec.p)
    assert data.X.dtype == np.float64 and np.array_equal(data.y, again.y)
    other = data.X != again.X
    assert not (other.nnz if data.spec.density < 1 else other.any())


def test_hostile_designs_are_what_they_say(tmp_path):
    ill = made("tall-1k-20", tmp_path / "g", n=5000, p=20)
    assert 5e2 < np.linalg.cond(ill.X) < 2e3
    rare = made("tall-1k-20", tmp_path / "r", n=50_000, data="rare")
    assert 5e-4 < rare.y.mean() < 2e-3
    assert (np.diff(made("tall-1k-20", tmp_path / "s", data="sorted").y) >= 0).all()
    assert np.linalg.cond(made("tall-1k-20", tmp_path / "c", data="collinear").X) > 1e5
