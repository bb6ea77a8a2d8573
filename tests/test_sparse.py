"""Sparse rows are the same rows: operations, fits and predictions against those of dense ones."""

from __future__ import annotations

import copy
import itertools
import pickle
import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from scipy import sparse
from torch import Tensor
from torch.nn.functional import linear

from problems import params_of
from torchlogreg import (
    L1,
    L2,
    Batch,
    BoostMisclassified,
    ClassBalanced,
    ElasticNet,
    Focal,
    Jeffreys,
    LinearRegression,
    LogisticRegression,
    Objective,
    OrdinalRegression,
    Penalty,
    SoftmaxRegression,
    Uniform,
    Weighting,
    fit,
)
from torchlogreg.optim import OPTIMIZERS
from torchlogreg.sparse import filled, is_sparse
from torchlogreg.sparse_inputs import sparse_rows

F64 = torch.float64
N, P = 120, 7


def matrix(n: int = N, p: int = P, share: float = 0.4, seed: int = 0) -> Any:
    """Normal entries at random places; one row and some places of every kind are empty."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, p)) * (rng.random((n, p)) < share)
    X[n // 2] = 0
    return sparse.csr_array(X)


COLUMN = torch.linspace(0.1, 2.0, N, dtype=F64)[:, None]
ROW = torch.linspace(0.5, 1.5, P, dtype=F64)
SOME = torch.tensor([5, 0, 3, 3])
WEIGHT = torch.linspace(-1.0, 1.0, 3 * P, dtype=F64).reshape(3, P)

OPERATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "linear map": lambda X: linear(X, WEIGHT),
    "one score": lambda X: X @ WEIGHT[:1].T,
    "two scores": lambda X: X @ WEIGHT[:2].T,
    "vector": lambda X: X @ ROW,
    "vector from the left": lambda X: COLUMN[:, 0] @ X,
    "matrix from the left": lambda X: torch.cat([COLUMN] * 3, dim=1).T @ X,
    "transpose": lambda X: X.T @ COLUMN,
    "transposed twice": lambda X: X.T.T,
    "by the transpose": lambda X: WEIGHT @ X.T,
    "gram": lambda X: (X * COLUMN).T @ X,
    "rows scaled": lambda X: COLUMN * X,
    "columns scaled": lambda X: X * ROW,
    "columns divided": lambda X: X / ROW,
    "columns of the transpose scaled": lambda X: (X.T * COLUMN[:, 0]).T,
    "number": lambda X: -2 * X,
    "squares": lambda X: X.square(),
    "slice": lambda X: X[10:50],
    "every third": lambda X: X[::3],
    "none": lambda X: X[N:],
    "rows by number": lambda X: X[SOME],
    "rows by mask": lambda X: X[COLUMN[:, 0] > 1],
    "rows selected": lambda X: X.index_select(0, SOME),
    "columns by number": lambda X: X[:, SOME],
    "columns by slice": lambda X: X[:, 1:4],
    "columns from the transpose": lambda X: X[20:40].T.index_select(0, SOME),
    "row": lambda X: X[-1],
    "column": lambda X: X[:, 2],
    "parts": lambda X: torch.split(X, 50)[2],
    "sum": lambda X: X.sum(),
    "column sums": lambda X: X.sum(0),
    "row means": lambda X: X.mean(1),
    "largest": lambda X: X.abs().amax(0),
    "least": lambda X: X.amin(0),
    "single precision": lambda X: X.float(),
    "clone": lambda X: X.clone(),
    "shifted, which fills": lambda X: X - ROW,
    "standard deviations, which fill": lambda X: X.std(0),
    "into a dense one": lambda X: torch.sub(X, ROW, out=torch.empty(N, P, dtype=F64)),
    "zeros like it": lambda X: X.new_zeros(3),
}
STAY = {"rows scaled", "columns scaled", "squares", "slice", "rows by number", "transposed twice"}


@pytest.mark.parametrize("name", OPERATIONS)
def test_operations_are_those_of_dense_rows(name: str) -> None:
    X = sparse_rows(matrix())
    got, want = OPERATIONS[name](X), OPERATIONS[name](filled(X))
    assert not is_sparse(want)
    assert is_sparse(got) or name not in STAY
    torch.testing.assert_close(filled(got), want, rtol=1e-13, atol=1e-14)


def test_autograd_goes_through() -> None:
    X, grads = sparse_rows(matrix()), []
    for rows in (X, filled(X)):
        weight = WEIGHT.clone().requires_grad_()
        linear(rows, weight).square().sum().backward()
        grads.append(weight.grad)
    torch.testing.assert_close(grads[0], grads[1], rtol=1e-13, atol=1e-14)


def test_rows_are_never_changed_in_place() -> None:
    X = sparse_rows(matrix())
    with pytest.raises(ValueError, match="mul_ cannot change a sparse X"):
        X.mul_(2)


def test_copies_are_equal_and_apart() -> None:
    X = sparse_rows(matrix())
    for other in (copy.deepcopy(X), pickle.loads(pickle.dumps(X)), X.clone()):
        assert torch.equal(filled(other), filled(X))
        assert other.entries.rows.data is not X.entries.rows.data


def test_large_rows_are_not_filled_in() -> None:
    X = sparse_rows(sparse.csr_array((10**6, 10**6)))
    with pytest.raises(ValueError, match=r"sub would fill in the zeros of a sparse X, 1000000 x"):
        X - torch.ones(10**6, dtype=F64)


MODELS = {
    "linear": lambda: LinearRegression(P, dtype=F64),
    "logistic": lambda: LogisticRegression(P, dtype=F64),
    "softmax": lambda: SoftmaxRegression(P, 3, dtype=F64),
    "reference": lambda: SoftmaxRegression(P, 3, reference=True, dtype=F64),
    "ordinal": lambda: OrdinalRegression(P, 3, dtype=F64),
    "no intercept": lambda: LogisticRegression(P, bias=False, dtype=F64),
}
PENALTIES: dict[str, Penalty | None] = {
    "none": None,
    "l2": L2(0.1),
    "l1": L1(0.02),
    "elastic net": ElasticNet(0.05, l1_ratio=0.5),
}


def target(kind: str, X: Any) -> np.ndarray:
    """What the model of this kind predicts, with noise."""
    rng = np.random.default_rng(1)
    score = X @ np.linspace(-1, 1, X.shape[1]) + rng.logistic(size=X.shape[0])
    if kind == "linear":
        return score
    if kind in ("logistic", "no intercept"):
        return (score > 0).astype(float)
    return np.digitize(score, [-1, 1])


def both(kind: str, X: Any, y: Any, **settings: Any) -> list[Any]:
    """Parameters of fits to dense and to sparse rows, or what was said instead."""
    found: list[Any] = []
    for rows in (X.toarray(), X):
        model = MODELS[kind]()
        try:
            fit(model, rows, y, generator=torch.Generator().manual_seed(0), **settings)
        except ValueError as error:
            found.append(str(error))
        else:
            found.append(params_of(model))
    return found


def assert_same(dense: Any, compressed: Any, digits: float = 1e-12) -> None:
    """The same refusal, or the same numbers."""
    if isinstance(dense, str):
        assert dense == compressed
    else:
        torch.testing.assert_close(compressed, dense, rtol=digits, atol=digits)


WALKERS = ("coordinate_newton", "dual_coordinate")  # which have no dense rows to walk over
ON_DENSE_ROWS = [name for name in OPTIMIZERS if name not in WALKERS]


@pytest.mark.filterwarnings("ignore::torchlogreg.ConvergenceWarning")
@pytest.mark.parametrize("batch_size", [None, 50])
@pytest.mark.parametrize(("kind", "penalty"), list(itertools.product(MODELS, PENALTIES)))
def test_every_optimizer_takes_the_same_steps(
    kind: str, penalty: str, batch_size: int | None
) -> None:
    X = matrix()
    y = target(kind, X)
    for name in ON_DENSE_ROWS:
        settings = {"optimizer": name, "max_epochs": 3, "batch_size": batch_size}
        # The matrix of kernel_newton loses digits of its own, other ones where sums are others.
        digits = 1e-7 if name == "kernel_newton" else 1e-10
        assert_same(*both(kind, X, y, penalty=PENALTIES[penalty], **settings), digits=digits)


@pytest.mark.filterwarnings("ignore::torchlogreg.ConvergenceWarning")
@pytest.mark.parametrize(("kind", "penalty"), list(itertools.product(MODELS, PENALTIES)))
def test_answers_are_those_of_dense_rows(kind: str, penalty: str) -> None:
    X = matrix()
    rng = np.random.default_rng(2)
    facts = {"sample_weight": rng.random(N), "offset": rng.standard_normal(N)}
    settings = {"penalty": PENALTIES[penalty], "tol": 1e-12, "max_epochs": 500}
    assert_same(*both(kind, X, target(kind, X), **facts, **settings), digits=1e-11)


@pytest.mark.filterwarnings("ignore::torchlogreg.ConvergenceWarning")
@pytest.mark.parametrize("kind", ["logistic", "softmax", "ordinal"])
@pytest.mark.parametrize("weighting", [Uniform(), ClassBalanced(), BoostMisclassified(), Focal()])
def test_weightings_are_those_of_dense_rows(kind: str, weighting: Weighting) -> None:
    X = matrix()
    settings = {"weighting": weighting, "penalty": L2(0.1), "max_epochs": 30}
    assert_same(*both(kind, X, target(kind, X), **settings), digits=1e-10)


def test_jeffreys_is_that_of_dense_rows() -> None:
    X = matrix()
    assert_same(*both("logistic", X, target("logistic", X), penalty=Jeffreys()), digits=1e-10)


def test_another_loss_is_differentiated_through() -> None:
    X = matrix()

    def huber(eta: Tensor, y: Tensor) -> Tensor:
        return torch.nn.functional.huber_loss(eta[:, 0], y, reduction="none")

    assert_same(*both("linear", X, target("linear", X), loss=huber, penalty=L2(0.1)), digits=1e-10)


def test_prediction_is_that_of_dense_rows() -> None:
    X = sparse_rows(matrix())
    model = MODELS["softmax"]()
    fit(model, X, target("softmax", matrix()), penalty=L2(0.1))
    torch.testing.assert_close(model(X), model(filled(X)), rtol=1e-13, atol=1e-13)
    assert torch.equal(model.predict(model(X)), model.predict(model(filled(X))))


@pytest.mark.parametrize("kind", ["logistic", "softmax", "ordinal"])
def test_curvature_is_that_of_dense_rows(kind: str) -> None:
    X, found = sparse_rows(matrix()), []
    for rows in (X, filled(X)):
        model = MODELS[kind]()
        y = model.target(torch.from_numpy(target(kind, matrix())))
        data = Batch(rows, y, torch.ones(N, dtype=F64))
        closure = Objective(model, None, L2(0.1)).closure(data, data)
        found.append((closure.hessian(), closure.sample_gradients(), closure.optimality()))
    for got, want in zip(*found, strict=True):
        torch.testing.assert_close(got, want, rtol=1e-12, atol=1e-14)


def test_float32_rows_are_fitted_in_float32() -> None:
    X = matrix()
    model, wide = LogisticRegression(P, dtype=torch.float32), LogisticRegression(P, dtype=F64)
    y = target("logistic", X)
    assert fit(model, X, y, penalty=L2(0.1)).converged
    fit(wide, X, y, penalty=L2(0.1))
    torch.testing.assert_close(params_of(model).double(), params_of(wide), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("penalty", [L2(1e-3), L1(1e-4)])
def test_memory_does_not_grow_with_rows_times_columns(penalty: Penalty) -> None:
    n, p, count = 20_000, 1_000_000, 100_000  # dense: 160 GB
    rng = np.random.default_rng(0)
    places = (rng.integers(0, n, count), rng.integers(0, p, count))
    X = sparse.coo_array((rng.standard_normal(count), places), shape=(n, p))
    y = (rng.random(n) < 0.5).astype(float)
    model = LogisticRegression(p, dtype=F64)
    tracemalloc.start()
    fit(model, X, y, penalty=penalty, max_epochs=200, tol=1e-4)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert bool(model.weight.any())
    assert peak < 4e8  # numpy's; a few vectors of columns


def test_standardised_columns_are_those_of_dense_rows() -> None:
    from torchlogreg.scaling import Standardizer

    X = sparse_rows(matrix())
    weights = torch.rand(N, generator=torch.Generator().manual_seed(0), dtype=F64)
    for centre in (True, False):
        got = Standardizer.of(X, weights, centre=centre)
        want = Standardizer.of(filled(X), weights, centre=centre)
        torch.testing.assert_close(got.mean, want.mean, rtol=1e-12, atol=1e-14)
        torch.testing.assert_close(got.scale, want.scale, rtol=1e-12, atol=1e-14)
        rows = want.transform(filled(X))
        torch.testing.assert_close(filled(got.transform(X)), rows, rtol=1e-12, atol=1e-13)
        assert is_sparse(got.transform(X)) != centre


@pytest.mark.parametrize(("n", "p"), [(400, 6), (30_000, 300)])
def test_inference_is_that_of_dense_rows(n: int, p: int) -> None:
    # 30,000 x 300 is more than a dense copy may have: rows are filled in block by block.
    from torchlogreg import infer

    X = sparse.random_array((n, p), density=0.05, rng=np.random.default_rng(0)).tocsr()
    model = LogisticRegression(p, dtype=F64)
    fit(model, X, target("logistic", X), penalty=L2(1e-4))
    facts = {"penalty": L2(1e-4), "allow_penalty": True}
    for covariance in ("classical", "HC0"):
        got, want = (
            infer(model, rows, target("logistic", X), covariance=covariance, **facts).bse
            for rows in (X, X.toarray())
        )
        np.testing.assert_allclose(got, want, rtol=1e-9)
