"""From the sparse matrices that users hold to checked :class:`torchlogreg.sparse.SparseRows`."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from torchlogreg.compressed import Compressed
from torchlogreg.sparse import SparseRows, is_sparse

COMPRESSED = (torch.sparse_csr, torch.sparse_csc, torch.sparse_bsr, torch.sparse_bsc)


def holds_sparse(X: Any) -> bool:
    """Whether ``X`` is a sparse matrix of scipy, torch or pandas, or already :class:`SparseRows`.

    A frame is one if all of its columns are sparse.
    """
    if isinstance(X, Tensor):
        return is_sparse(X) or X.layout != torch.strided
    if type(X).__module__.startswith("scipy.sparse"):
        return True
    return hasattr(X, "columns") and hasattr(X, "sparse")


def sparse_rows(
    X: Any, dtype: torch.dtype = torch.float64, device: torch.device | str = "cpu"
) -> SparseRows:
    """Checked rows for models and ``fit``: for ``model(X)``, and to be checked once for many fits.

    1. Entries in ``dtype``, each finite.
    2. Places inside the matrix, in order; duplicates are added up. Rows that are so already are
       not copied.

    Parameters
    ----------
    X : sparse matrix or array of scipy, sparse tensor, or frame of sparse columns, shape (n, p)
        Left as it is.
    dtype : torch.float64 or torch.float32
        The model's.
    device : torch.device or str
        The model's; the CPU.

    Raises
    ------
    ValueError
        In one line: what came, in which row and column, and what to do.
    """
    if torch.device(device).type != "cpu":
        raise ValueError(
            f"X is sparse, which the CPU works on, but the model is on {device}; make it with "
            "device='cpu', or pass X.toarray()"
        )
    if dtype not in (torch.float64, torch.float32):
        raise ValueError(f"X is sparse, which {dtype} cannot be; use torch.float64 or float32")
    if isinstance(X, SparseRows):
        return X if X.dtype == dtype else SparseRows(X.entries.with_rows(_of(X, dtype)))
    if len(X.shape) != 2:
        raise ValueError(f"X has shape {tuple(X.shape)}, but rows by columns are needed")
    if 0 in X.shape:
        raise ValueError(f"X has shape {tuple(X.shape)}: there is nothing to fit")
    return SparseRows(Compressed(_of(X, dtype)))


def _of(X: Any, dtype: torch.dtype) -> Any:
    """A ``csr_array`` that shares memory with ``X`` where it can."""
    matrix = _compressed(X)
    if matrix.dtype.kind not in "biuf":
        raise ValueError(f"X has entries of dtype {matrix.dtype}, but real numbers are needed")
    rows = type(matrix)(
        (_finite(matrix, dtype), matrix.indices, matrix.indptr), shape=matrix.shape
    )  # 1
    try:
        rows.check_format(full_check=True)  # 2: a place outside would be read as memory is
    except ValueError as error:
        raise ValueError(f"X is no matrix in compressed rows: {error}; make it anew") from None
    if not rows.has_canonical_format:
        rows = rows.copy()
        rows.sum_duplicates()
    return rows


def _compressed(X: Any) -> Any:
    """scipy's compressed rows, neither checked nor sorted."""
    from scipy.sparse import csr_array

    if isinstance(X, SparseRows):
        return X.entries.rows
    if isinstance(X, Tensor):
        X = X.detach().to_sparse_csr()
        parts = (X.values(), X.col_indices(), X.crow_indices())
        return csr_array(tuple(part.cpu().numpy() for part in parts), shape=tuple(X.shape))
    return csr_array(X.sparse.to_coo() if hasattr(X, "columns") else X)


def _finite(matrix: Any, dtype: torch.dtype) -> np.ndarray[Any, Any]:
    """The entries in ``dtype``; an error names the first that is no finite number there."""
    with np.errstate(over="ignore"):
        cast: np.ndarray[Any, Any] = np.asarray(
            matrix.data, np.float64 if dtype == torch.float64 else np.float32
        )
        if np.isfinite(cast.sum()):  # one read; a sum that overflowed is looked at below
            return cast
    wrong = np.flatnonzero(~np.isfinite(cast))
    if not len(wrong):
        return cast
    entry = wrong[0]
    row, value = np.searchsorted(matrix.indptr, entry, side="right") - 1, matrix.data[entry].item()
    what = "remove or impute such rows"
    if math.isfinite(value):
        what = f"which {dtype} cannot hold; rescale the column, or use torch.float64"
    raise ValueError(f"X has {value} in row {row}, column {matrix.indices[entry]}; {what}")
