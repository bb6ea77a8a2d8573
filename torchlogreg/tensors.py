"""From what users hold, one array at a time, to a tensor of numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from torchlogreg.disk.mapped import is_mapped, shared


def as_tensor(values: Any, name: str, device: torch.device) -> Tensor:
    """A tensor on ``device``; numpy and pandas are read through ``numpy.asarray``.

    Raises
    ------
    ValueError
        If the values are not numbers, or the device cannot hold their dtype.
    """
    if type(values) is np.ndarray and values.dtype == np.float64 and values.flags.carray:
        if values.ndim and device.type == "cpu":  # nothing of what follows can happen
            return torch.from_numpy(values)
    if not isinstance(values, Tensor):
        values = torch.from_numpy(_array_of(values, name))
    if values.dtype in (torch.uint16, torch.uint32, torch.uint64):
        values = values.long()  # torch compares none of these
    if values.is_complex():
        raise ValueError(f"{name} is complex, but real numbers are needed")
    if device.type == "mps" and values.dtype == torch.float64:
        values = values.float()  # Apple's GPUs have no float64
    tensor: Tensor = values.to(device)
    return tensor


def _array_of(values: Any, name: str) -> np.ndarray:
    """An array that torch can take as it is; a copy where nothing else will do."""
    if type(values).__module__.startswith("scipy.sparse"):
        raise ValueError(f"{name} is a sparse matrix, but dense rows are needed; use .toarray()")
    try:
        array = np.asarray(values)
    except ValueError as error:
        raise ValueError(f"{name} is ragged: its rows differ in length ({error})") from None
    if array.ndim == 0:
        what = type(values).__name__
        raise ValueError(f"{name} has shape () ({what}), but rows of numbers are needed")
    if array.dtype.kind not in "biufc":
        array = _numbers(array, values, name)
    array = _known_to_torch(array)
    if is_mapped(values) and np.may_share_memory(array, values):
        return shared(values)
    # An own copy where numpy's is read-only: torch tensors are always writable.
    return np.ascontiguousarray(array if array.flags.writeable else array.copy())


def _numbers(array: np.ndarray, values: Any, name: str) -> np.ndarray:
    """An object array as float64, or an error that names what is not a number."""
    try:
        if array.dtype.kind != "O":  # text, dates: never read as numbers
            raise TypeError
        return array.astype(np.float64)
    except (TypeError, ValueError):
        index, entry = next(
            (
                (i, v)
                for i, v in np.ndenumerate(array)
                if not isinstance(v, int | float | np.number)
            ),
            ((0,), array.dtype),
        )
        column = ""
        if len(index) > 1:
            names = getattr(values, "columns", None)
            which = str(index[1]) if names is None else repr(str(names[index[1]]))
            column = f", column {which}"
        entry = entry.item() if isinstance(entry, np.generic) else entry  # not "np.str_('a')"
        raise ValueError(
            f"{name} has {entry!r} in row {index[0]}{column}, but numbers are needed; "
            "encode text first (pandas.get_dummies for columns, codes 0, 1, ... for labels)"
        ) from None


def _known_to_torch(array: np.ndarray) -> np.ndarray:
    """Native byte order; no wide floats; no unsigned integers, which torch hardly computes with."""
    if array.dtype.kind == "f" and array.dtype.itemsize > 8:
        return array.astype(np.float64)
    if array.dtype.kind == "u" and array.dtype.itemsize > 1:
        return array.astype(np.int64)
    return array.astype(array.dtype.newbyteorder("="), copy=False)
