"""Sparse matrices of every kind are the same rows; bad ones are named in one line."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import sparse

from torchlogreg import L1, L2, LogisticRegression, Penalty, fit
from torchlogreg.sparse import filled, is_sparse
from torchlogreg.sparse_inputs import sparse_rows

F64 = torch.float64


def dense() -> np.ndarray:
    """Rows (6, 4); the third row and the last column are empty."""
    X = np.array([[1.0, 0, 2, 0], [0, 3, 0, 0], [0, 0, 0, 0], [4, 5, 6, 0], [0, 0, -7, 0]])
    return np.vstack((X, X[:1] * -1))


def with_duplicates(X: np.ndarray) -> Any:
    """Every entry in two halves, in no order."""
    one = sparse.coo_array(X)
    places = tuple(np.concatenate((c, c))[::-1] for c in (one.row, one.col))
    return sparse.coo_array((np.concatenate((one.data, one.data))[::-1] / 2, places), X.shape)


def uncompressed_duplicates(X: np.ndarray) -> Any:
    """Compressed rows that hold every entry twice, backwards."""
    rows = sparse.csr_array(X)
    starts = rows.indptr * 2
    data, indices = np.empty(starts[-1]), np.empty(starts[-1], np.int32)
    for row in range(len(X)):
        part = slice(rows.indptr[row], rows.indptr[row + 1])
        twice = slice(starts[row], starts[row + 1])
        data[twice] = np.tile(rows.data[part] / 2, 2)[::-1]
        indices[twice] = np.tile(rows.indices[part], 2)[::-1]
    return sparse.csr_array((data, indices, starts), shape=X.shape)


def with_zeros(X: np.ndarray) -> Any:
    """Zeros that are stored."""
    every = np.indices(X.shape).reshape(2, -1)
    return sparse.coo_array((X.ravel(), tuple(every)), X.shape).tocsr()


def long_indices(X: np.ndarray) -> Any:
    """Places in 64 bits."""
    rows = sparse.csr_matrix(X)
    rows.indices, rows.indptr = rows.indices.astype(np.int64), rows.indptr.astype(np.int64)
    return rows


def read_only(X: np.ndarray) -> Any:
    """No part can be written to."""
    rows = sparse.csr_matrix(X)
    for part in (rows.data, rows.indices, rows.indptr):
        part.flags.writeable = False
    return rows


KINDS: dict[str, Callable[[np.ndarray], Any]] = {
    "csr matrix": sparse.csr_matrix,
    "csr array": sparse.csr_array,
    "csc matrix": sparse.csc_matrix,
    "csc array": sparse.csc_array,
    "coo matrix": sparse.coo_matrix,
    "coo array": sparse.coo_array,
    "lists": sparse.lil_matrix,
    "dictionary": sparse.dok_matrix,
    "blocks": sparse.bsr_matrix,
    "diagonals": sparse.dia_matrix,
    "duplicates": with_duplicates,
    "duplicates in compressed rows": uncompressed_duplicates,
    "stored zeros": with_zeros,
    "long indices": long_indices,
    "read-only": read_only,
    "int8": lambda X: sparse.csr_matrix(X.astype(np.int8)),
    "float32": lambda X: sparse.csr_matrix(X.astype(np.float32)),
    "long double": lambda X: sparse.csr_matrix(X.astype(np.longdouble)),
    "torch coo": lambda X: torch.from_numpy(X).to_sparse(),
    "torch csr": lambda X: torch.from_numpy(X).to_sparse_csr(),
    "torch csr float32": lambda X: torch.from_numpy(X).float().to_sparse_csr(),
    "torch csc": lambda X: torch.from_numpy(X).to_sparse_csc(),
    "frame": lambda X: pd.DataFrame(X).astype(pd.SparseDtype("float64", 0.0)),
    "rows already": lambda X: sparse_rows(sparse.csr_array(X)),
}


@pytest.mark.filterwarnings("ignore:Sparse C:UserWarning")  # torch calls its own beta
@pytest.mark.parametrize("kind", KINDS)
def test_a_sparse_matrix_of_any_kind_is_the_same_rows(kind: str) -> None:
    X = dense()
    given = KINDS[kind](X)
    rows = sparse_rows(given)
    assert is_sparse(rows)
    assert torch.equal(filled(rows), torch.from_numpy(X))
    assert rows.entries.rows.has_canonical_format
    assert torch.equal(filled(sparse_rows(given)), torch.from_numpy(X)), "it was left as it was"


def test_rows_in_order_are_not_copied() -> None:
    X = sparse.csr_matrix(dense())
    assert np.shares_memory(sparse_rows(X).entries.rows.data, X.data)
    unsorted = uncompressed_duplicates(dense())
    before = unsorted.data.copy()
    sparse_rows(unsorted)
    assert np.array_equal(unsorted.data, before)


def broken(place: int) -> Any:
    """Compressed rows with a column that is not there."""
    X = sparse.csr_matrix(dense())
    X.indices[0] = place
    return X


def holding(value: float) -> Any:
    """A value in row 3, column 1."""
    X = dense()
    X[3, 1] = value
    return sparse.csr_matrix(X)


BAD = {
    "NaN": (lambda: holding(np.nan), r"X has nan in row 3, column 1; remove or impute"),
    "infinity": (lambda: holding(-np.inf), r"X has -inf in row 3, column 1"),
    "complex": (lambda: sparse.csr_matrix(dense() * 1j), "dtype complex128, but real numbers"),
    "beyond the last column": (lambda: broken(4), "X is no matrix in compressed rows"),
    "before the first column": (lambda: broken(-1), "X is no matrix in compressed rows"),
    "no rows": (lambda: sparse.csr_matrix((0, 4)), r"shape \(0, 4\): there is nothing to fit"),
    "no columns": (lambda: sparse.csr_matrix((6, 0)), r"shape \(6, 0\): there is nothing to fit"),
    "another width": (lambda: sparse.csr_matrix((6, 5)), "X has 5 columns, but LogisticRegression"),
    "another length": (lambda: sparse.csr_matrix((5, 4)), "X has 5 rows, but the target has 6"),
}


@pytest.mark.parametrize("kind", BAD)
def test_bad_matrices_are_named_in_one_line(kind: str) -> None:
    make, message = BAD[kind]
    model = LogisticRegression(4, dtype=F64)
    with pytest.raises(ValueError, match=message) as caught:
        fit(model, make(), [0.0, 1, 0, 1, 0, 1])
    assert "\n" not in str(caught.value)
    assert not bool(model.weight.any())


def test_what_float32_cannot_hold_is_named() -> None:
    model = LogisticRegression(4, dtype=torch.float32)
    with pytest.raises(ValueError, match=r"1e\+300 in row 3, column 1; which torch.float32 cannot"):
        fit(model, holding(1e300), [0.0, 1, 0, 1, 0, 1])


def test_a_sparse_target_is_refused() -> None:
    model = LogisticRegression(4, dtype=F64)
    with pytest.raises(ValueError, match="the target is a sparse matrix"):
        fit(model, sparse.csr_matrix(dense()), sparse.csr_matrix([[0.0, 1, 0, 1, 0, 1]]).T)


def test_an_empty_column_is_diagnosed() -> None:
    model = LogisticRegression(4, dtype=F64)
    result = fit(model, sparse.csr_matrix(dense()), [0.0, 1, 0, 1, 0, 1], max_epochs=3, tol=0)
    assert any(f.kind == "constant" and f.columns == (3,) for f in result.diagnosis)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("penalty", [L1(1e-3), L2(1e-3)])
def test_many_empty_columns_of_large_rows_are_diagnosed(bias: bool, penalty: Penalty) -> None:
    # As of words that no document has: 12,000 x 4,000 is too large to be filled in, and so are
    # the empty columns alone.
    rng = np.random.default_rng(0)
    places = rng.integers(8, 3000, (12_000, 10))
    places[:, 0] = 7  # in every row
    starts = np.arange(0, 120_001, 10)
    data = rng.standard_normal(120_000) * (rng.random(120_000) < 0.9)
    data[::10] = 0.1
    X = sparse.csr_matrix((data, places.ravel(), starts), shape=(12_000, 4000))
    X.data[X.indices == 7] = 0.1
    y = (X @ rng.standard_normal(4000) + rng.logistic(size=12_000) > 0).astype(float)
    model = LogisticRegression(4000, bias=bias, dtype=F64)
    result = fit(model, X, y, penalty=penalty, tol=1e-4)
    assert result.converged
    constant = [f.columns[0] for f in result.diagnosis if f.kind == "constant"]
    assert constant == ([*range(8), 3000, 3001] if bias else [*range(7), 3000, 3001, 3002])


def test_a_column_that_only_rows_without_weight_fill_is_named() -> None:
    rng = np.random.default_rng(0)
    X = sparse.random_array((12_000, 2000), density=0.005, rng=rng, format="lil")
    X[:, 0] = 0
    X[:100, 0] = 2.0
    weights = np.ones(12_000)
    weights[:100] = 0
    y, model = (rng.random(12_000) < 0.5).astype(float), LogisticRegression(2000, bias=False)
    result = fit(model, X.tocsr(), y, penalty=L2(1e-2), sample_weight=weights, tol=1e-3)
    assert [f.columns for f in result.diagnosis if f.kind == "constant"] == [(0,)]
