"""Whether all entries of ``X`` are finite, and if not, which is the first that is not."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

BLOCK = 2**18
"""Entries of X looked at together: 2 MB, which a processor keeps at hand."""


class NotFiniteError(ValueError):
    """An entry of ``X`` is NaN or infinite, or becomes it in the model's dtype.

    Parameters
    ----------
    row, column : int
    value : float
    name : str, optional
        Of the column, where it has one.
    dtype : torch.dtype, optional
        The model's, where the entry is finite and this cannot hold it.
    """

    def __init__(
        self,
        row: int,
        column: int,
        value: float,
        name: str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(row, column, value, name, dtype)  # what pickle makes it anew from
        self.row, self.column, self.value = row, column, value
        self._name, self._dtype = name, dtype

    def __str__(self) -> str:
        where = f"column {self.column}" if self._name is None else f"column {self._name!r}"
        what = "; remove or impute such rows"
        if self._dtype is not None:
            what = f", which {self._dtype} cannot hold; rescale the column, or use torch.float64"
        return f"X has {self.value} in row {self.row}, {where}{what}"

    def within(self, X: Any, dtype: torch.dtype | None = None) -> NotFiniteError:
        """The same of what the user gave: a frame has names, and other dtypes hold other numbers.

        Parameters
        ----------
        X : array or frame
        dtype : torch.dtype, optional
            What it was cast to.
        """
        name = str(X.columns[self.column]) if hasattr(X, "columns") else None
        held = not math.isfinite(self.value)
        return NotFiniteError(self.row, self.column, self.value, name, None if held else dtype)


def first_not_finite(X: Tensor) -> tuple[int, int] | None:
    """Row and column of the first NaN or infinity; in blocks, as ``isfinite`` copies its input."""
    size = max(1, BLOCK // X.shape[1])
    good = torch.stack([torch.isfinite(rows).all() for rows in torch.split(X, size)])
    if bool(good.all()):
        return None
    start = int((~good).nonzero()[0]) * size
    row, column = (int(i) for i in (~torch.isfinite(X[start : start + size])).nonzero()[0])
    return start + row, column


def refuse_not_finite(X: Tensor, seen: Tensor) -> None:
    """A sum that overflowed is looked at again; waits for the device.

    Parameters
    ----------
    X : Tensor, shape (n, p)
    seen : Tensor
        Sums that are finite only if all entries of ``X`` are.

    Raises
    ------
    NotFiniteError
        If an entry is not.
    """
    place = None if math.isfinite(float(seen.sum())) else first_not_finite(X)
    if place is not None:
        raise NotFiniteError(*place, X[place].item())


def finite_rows(tensor: Tensor, name: str) -> Tensor:
    """``tensor``, or an error that names its first row with NaN or infinity."""
    if len(tensor) and all(math.isfinite(end) for end in torch.aminmax(tensor)):
        return tensor
    wrong = ~torch.isfinite(tensor)
    if bool(wrong.any()):
        index = wrong.nonzero()[0].tolist()
        value = tensor[tuple(index)].item()
        raise ValueError(f"{name} is not finite in row {index[0]}: {value}; remove such rows")
    return tensor
