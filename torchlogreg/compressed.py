"""Compressed rows, and torch's operations on them: from the stored entries alone.

What :class:`torchlogreg.sparse.SparseRows` is made of. An operation that has no answer without the
zeros says ``NotImplemented``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

DENSE = 2**23
"""Entries, 64 MB in float64, of which a dense copy may be made."""

SEVERAL = 2
"""Columns from which on scipy's product of two matrices is faster than one after another."""

aten = torch.ops.aten


@dataclass(frozen=True, slots=True, eq=False)
class Compressed:
    """A sparse matrix, or the transpose of one.

    Attributes
    ----------
    rows : scipy.sparse.csr_array, shape (n, p)
        Sorted, without duplicates, float64 or float32.
    flipped : bool
        Whether the transpose of ``rows`` is meant.
    kept : dict
        What has been worked out of ``rows``; shared with the transpose.
    """

    rows: Any
    flipped: bool = False
    kept: dict[str, Any] = field(default_factory=dict)

    @property
    def matrix(self) -> Any:
        """What is meant: ``rows``, or their transpose, compressed by columns."""
        return self.rows.T if self.flipped else self.rows

    @property
    def shape(self) -> tuple[int, int]:
        """Of what is meant."""
        n, p = self.rows.shape
        return (p, n) if self.flipped else (n, p)

    @property
    def by_columns(self) -> Any:
        """The entries of ``rows`` compressed by columns; made when first asked for."""
        if "by_columns" not in self.kept:
            self.kept["by_columns"] = self.rows.tocsc()
        return self.kept["by_columns"]

    def dense(self, operation: str) -> Tensor:
        """All entries, zeros too.

        Raises
        ------
        ValueError
            If they are more than ``DENSE``.
        """
        n, p = self.rows.shape
        if n * p > DENSE:
            raise ValueError(
                f"{operation} would fill in the zeros of a sparse X, {n} x {p} "
                f"({n * p * 8 / 1e9:.2g} GB); use optimizer='newton_cg', 'lbfgs' or "
                "'proximal_newton', scale columns without centring them, or pass X.toarray() if "
                "memory allows"
            )
        return torch.from_numpy(self.matrix.toarray(order="C"))

    def with_rows(self, rows: Any) -> Compressed:
        """Other rows, flipped as these are."""
        return Compressed(rows, self.flipped)

    def with_entries(self, data: Any) -> Compressed:
        """The same places, other numbers in them."""
        rows = self.rows
        parts = (data, rows.indices, rows.indptr)
        return self.with_rows(type(rows)(parts, shape=rows.shape))

    def some_rows(self, which: Any) -> Compressed:
        """Rows by their numbers."""
        return self.with_rows(self.rows[which])

    def some_columns(self, which: Any) -> Tensor:
        """Columns by their numbers, dense."""
        some = self.by_columns[:, which]
        return Compressed(some, self.flipped).dense("taking so many columns")


def _array(values: Tensor) -> np.ndarray[Any, Any]:
    """The same memory."""
    return values.detach().numpy()


def _tensor(values: Any) -> Tensor:
    """The same memory; numpy's numbers become tensors without dimensions."""
    return torch.from_numpy(np.asarray(values))


def _times(matrix: Any, dense: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """``matrix @ dense``; column by column while that is the faster way."""
    if matrix.dtype != dense.dtype:
        raise RuntimeError(f"a product needs one dtype, but got {matrix.dtype} and {dense.dtype}")
    if dense.shape[1] > SEVERAL:
        return np.asarray(matrix @ dense)
    found = np.empty((dense.shape[1], matrix.shape[0]), matrix.dtype)
    for column, values in zip(found, dense.T, strict=True):
        column[:] = matrix @ np.ascontiguousarray(values)
    return found.T


def _mm(a: Any, b: Any) -> Tensor:
    if not isinstance(a, Compressed):
        return _tensor(_times(b.matrix.T, _array(a).T).T)
    if not isinstance(b, Compressed):
        return _tensor(_times(a.matrix, _array(b)))
    return _tensor((a.matrix @ b.matrix).toarray())


def _mv(X: Compressed, v: Tensor) -> Tensor:
    return _tensor(_times(X.matrix, _array(v)[:, None])[:, 0])


def _same(X: Compressed) -> Compressed:
    return X


def _flipped(X: Compressed) -> Compressed:
    return Compressed(X.rows, not X.flipped, X.kept)


def _permuted(X: Compressed, dims: Any) -> Compressed:
    return X if dims[0] % 2 == 0 else _flipped(X)


def _converted(X: Compressed, *, dtype: Any = None, device: Any = None, **others: Any) -> Any:
    if device is not None and torch.device(device).type != "cpu":
        raise ValueError(
            f"sparse rows are worked on by the CPU, not by {device}; make the model with "
            "device='cpu', or pass X.toarray()"
        )
    kinds = {torch.float32: np.float32, torch.float64: np.float64, None: X.rows.dtype}
    return X.with_rows(X.rows.astype(kinds[dtype])) if dtype in kinds else NotImplemented


def _power(X: Compressed, exponent: Any) -> Any:
    return X.with_entries(X.rows.data**exponent) if exponent > 0 else NotImplemented


def _scaled(X: Any, factor: Any, operation: Callable[[Any, Any], Any]) -> Any:
    """Each entry with the number, or that of its row or column, that ``factor`` has for it."""
    if not isinstance(X, Compressed) or isinstance(factor, Compressed):
        return NotImplemented
    rows = X.rows
    if not isinstance(factor, Tensor) or factor.numel() == 1:
        return X.with_entries(operation(rows.data, rows.dtype.type(factor)))
    shape = [1] * (2 - factor.ndim) + list(factor.shape)
    numbers = _array(factor).reshape(-1)
    if X.flipped:
        shape.reverse()
    if shape == [rows.shape[0], 1]:
        return X.with_entries(operation(rows.data, np.repeat(numbers, np.diff(rows.indptr))))
    if shape == [1, rows.shape[1]]:
        return X.with_entries(operation(rows.data, numbers[rows.indices]))
    return NotImplemented


def _multiplied(a: Any, b: Any) -> Any:
    return _scaled(a, b, np.multiply) if isinstance(a, Compressed) else _scaled(b, a, np.multiply)


def _summed(X: Compressed, dims: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Any:
    if dtype is not None or keepdim:
        return NotImplemented
    if not dims or len(dims) == 2:
        return _tensor(X.rows.data.sum())
    return _tensor(np.asarray(X.matrix.sum(axis=dims[0] % 2)).reshape(-1))


def _averaged(X: Compressed, dims: Any, keepdim: bool = False, *, dtype: Any = None) -> Any:
    found = _summed(X, dims, keepdim, dtype=dtype)
    return found if found is NotImplemented or len(dims) != 1 else found / X.shape[dims[0] % 2]


def _extreme(X: Compressed, dims: Any, keepdim: bool, name: str) -> Any:
    if len(dims) != 1 or keepdim or 0 in X.shape:
        return NotImplemented
    return _tensor(getattr(X.matrix, name)(axis=dims[0] % 2).toarray().reshape(-1))


def _of_rows(X: Compressed, dim: int) -> bool:
    """Whether ``dim`` counts the rows."""
    return dim % 2 == int(X.flipped)


def _sliced(
    X: Compressed, dim: int = 0, start: Any = None, end: Any = None, step: int = 1
) -> Compressed | Tensor:
    """Consecutive rows share the memory of all."""
    which, rows = slice(start, end, step), X.rows
    if not _of_rows(X, dim) or step != 1:
        return _chosen(X, dim, np.arange(X.shape[dim])[which])
    first, last, _ = which.indices(rows.shape[0])
    starts = rows.indptr[first : max(first, last) + 1]
    part = slice(starts[0], starts[-1])
    parts = (rows.data[part], rows.indices[part], starts - starts[0])
    return X.with_rows(type(rows)(parts, shape=(len(starts) - 1, rows.shape[1])))


def _chosen(X: Compressed, dim: int, which: Any) -> Compressed | Tensor:
    """Some rows, or some columns, dense."""
    return X.some_rows(which) if _of_rows(X, dim) else X.some_columns(which)


def _selected(X: Compressed, dim: int, index: Tensor) -> Compressed | Tensor:
    return _chosen(X, dim, _array(index))


def _indexed(X: Compressed, indices: Any) -> Any:
    given = [(dim, index) for dim, index in enumerate(indices) if index is not None]
    if len(given) != 1 or given[0][1].ndim != 1:
        return NotImplemented
    dim, index = given[0]
    return _selected(X, dim, index.nonzero()[:, 0] if index.dtype == torch.bool else index)


def _one(X: Compressed, dim: int, index: int) -> Tensor:
    """A row or a column, dense."""
    size = X.shape[dim]
    if not -size <= index < size:
        raise IndexError(f"index {index} is out of range for dimension {dim} with size {size}")
    found = _chosen(X, dim, [index % size])
    return (found if isinstance(found, Tensor) else found.dense("a row")).reshape(-1)


def _split(X: Compressed, size: int, dim: int = 0) -> list[Compressed | Tensor]:
    return [_sliced(X, dim, start, start + size) for start in range(0, X.shape[dim], size)]


def _empty(X: Compressed) -> Tensor:
    """A tensor without entries, of the dtype of ``X``."""
    return torch.empty(0, dtype=torch.float64 if X.rows.dtype == np.float64 else torch.float32)


def _made_like(func: Any) -> Callable[..., Tensor]:
    """A new dense tensor, of the dtype of ``X``."""
    return lambda X, *args, **named: func(_empty(X), *args, **named)


OPERATIONS: dict[Any, Callable[..., Any]] = {
    aten.mm.default: _mm,
    aten.mv.default: _mv,
    aten.t.default: _flipped,
    aten.permute.default: _permuted,
    aten.transpose.int: lambda X, a, b: X if a % 2 == b % 2 else _flipped(X),
    aten.detach.default: _same,
    aten.alias.default: _same,
    aten.clone.default: lambda X, **others: X.with_rows(X.rows.copy()),
    aten._to_copy.default: _converted,
    aten.abs.default: lambda X: X.with_entries(np.abs(X.rows.data)),
    aten.neg.default: lambda X: X.with_entries(-X.rows.data),
    aten.pow.Tensor_Scalar: _power,
    aten.mul.Tensor: _multiplied,
    aten.div.Tensor: lambda X, d: _scaled(X, d, np.divide),
    aten.sum.default: _summed,
    aten.sum.dim_IntList: _summed,
    aten.mean.dim: _averaged,
    aten.amax.default: lambda X, dims=(), keepdim=False: _extreme(X, dims, keepdim, "max"),
    aten.amin.default: lambda X, dims=(), keepdim=False: _extreme(X, dims, keepdim, "min"),
    aten.slice.Tensor: _sliced,
    aten.index.Tensor: _indexed,
    aten.index_select.default: _selected,
    aten.select.int: _one,
    aten.split.Tensor: _split,
    aten.new_zeros.default: _made_like(aten.new_zeros.default),
    aten.new_ones.default: _made_like(aten.new_ones.default),
    aten.new_empty.default: _made_like(aten.new_empty.default),
    aten.new_full.default: _made_like(aten.new_full.default),
}
