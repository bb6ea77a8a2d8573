"""Rows that are mostly zeros: a tensor that holds only the others.

What models, losses and optimizers ask of ``X`` is answered from the stored entries: products,
scaled rows and columns, sums and squares, some rows, some columns; whoever asks need not know. What
would fill in the zeros (a shift, a factorisation) is done on a dense copy of at most ``DENSE``
entries, and refused beyond.

Products are scipy's, which comes with scikit-learn: on one thread faster than torch's own and than
what torch's operations can be made into (docs/speed-history.md). ``X' r`` needs no second copy for
that; a copy compressed by columns is made, and kept, when columns are asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils._pytree import tree_map_only

from torchlogreg.compressed import DENSE, OPERATIONS, Compressed


class SparseRows(Tensor):
    """A matrix (n, p) of float64 or float32 on the CPU, of which only some entries are stored.

    Made by :func:`torchlogreg.sparse_inputs.sparse_rows` from what users hold.

    Parameters
    ----------
    entries : Compressed

    Raises
    ------
    ValueError
        From whatever fills in the zeros of more than ``DENSE`` entries.
    """

    entries: Compressed

    # All is said to __torch_dispatch__; what an operation gives is a plain tensor.
    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]

    @staticmethod
    def __new__(cls, entries: Compressed) -> SparseRows:
        """A tensor without memory of its own."""
        dtype = torch.float64 if entries.rows.dtype == np.float64 else torch.float32
        made: SparseRows = Tensor._make_wrapper_subclass(cls, entries.shape, dtype=dtype)
        made.entries = entries
        return made

    def __init__(self, entries: Compressed) -> None:
        """All is done."""

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]  # torch's stub leaves out func
        cls,
        func: Any,
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """From the stored entries; else on a small dense copy."""
        named, known = kwargs or {}, OPERATIONS.get(func)
        if known is not None:
            answer = known(*(a.entries if isinstance(a, cls) else a for a in args), **named)
            if answer is not NotImplemented:
                return _wrapped(answer)
        name = func._schema.name.removeprefix("aten::")
        if any(isinstance(changed, cls) for changed in _changed(func, args, named)):
            raise ValueError(f"{name} cannot change a sparse X; change the matrix it was made from")
        args, named = tree_map_only(cls, lambda X: filled(X, name), (args, named))
        return func(*args, **named)

    def numel(self) -> int:
        """Entries that are stored: what work and memory grow with."""
        return int(self.entries.rows.nnz)

    def is_contiguous(self, memory_format: Any = torch.contiguous_format) -> bool:
        """False: there is no memory that kernels for dense rows could read."""
        return False

    def numpy(self, *, force: bool = False) -> np.ndarray[Any, Any]:
        """All entries, if they are few."""
        return filled(self, "numpy").numpy()

    def __deepcopy__(self, memo: dict[int, Any]) -> SparseRows:
        return SparseRows(self.entries.with_rows(self.entries.rows.copy()))

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        return SparseRows, (Compressed(self.entries.rows, self.entries.flipped),)

    def __repr__(self, *, tensor_contents: Any = None) -> str:  # type: ignore[override]
        return f"SparseRows({tuple(self.shape)}, {self.numel()} entries, {self.dtype})"


def _changed(func: Any, args: tuple[Any, ...], named: dict[str, Any]) -> list[Any]:
    """What ``func`` would write into."""
    found = []
    for place, argument in enumerate(func._schema.arguments):
        if argument.alias_info is not None and argument.alias_info.is_write:
            found.append(args[place] if place < len(args) else named.get(argument.name))
    return found


def _wrapped(answer: Any) -> Any:
    if isinstance(answer, list):
        return [_wrapped(part) for part in answer]
    return SparseRows(answer) if isinstance(answer, Compressed) else answer


def is_sparse(X: Tensor) -> bool:
    """Whether zeros of ``X`` are not stored."""
    return isinstance(X, SparseRows)


def fits_dense(X: Tensor) -> bool:
    """Whether ``X`` is dense, or a dense copy of it is small."""
    return not isinstance(X, SparseRows) or X.shape[0] * X.shape[1] <= DENSE


def filled(X: Tensor, operation: str = "this") -> Tensor:
    """``X`` with its zeros; a dense one as it is.

    Parameters
    ----------
    X : Tensor, shape (n, p)
    operation : str
        Who asks, for the error.

    Raises
    ------
    ValueError
        If a sparse one has more than ``DENSE`` entries, zeros included.
    """
    return X.entries.dense(operation) if isinstance(X, SparseRows) else X


def row_width(X: Tensor) -> int:
    """Entries of a row: of sparse ones those stored, on average, and at least one."""
    if isinstance(X, SparseRows):
        return max(1, -(-X.numel() // max(1, len(X))))
    return X.shape[1]
