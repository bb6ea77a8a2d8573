"""From what users hold (tensors, arrays, frames, lists) to a checked :class:`Batch`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from torchlogreg import distributed
from torchlogreg.base import Model
from torchlogreg.data import Batch
from torchlogreg.disk.mapped import Rooms, is_mapped, shared
from torchlogreg.few_rows import MOST, FewRows
from torchlogreg.finite import BLOCK, NotFiniteError, finite_rows, refuse_not_finite
from torchlogreg.kernels import column_squares, few_rows, squares_available, threads_of_looks
from torchlogreg.models import LogisticRegression
from torchlogreg.one_class import refuse_one_class
from torchlogreg.sample_weights import checked_weights, mean_one_on
from torchlogreg.sparse import is_sparse
from torchlogreg.sparse_inputs import holds_sparse, sparse_rows
from torchlogreg.units import sums_of_squares


def make_data(
    model: Model,
    X: Any,
    y: Any,
    *,
    sample_weight: Any = None,
    offset: Any = None,
    own_target: bool = True,
    unseen: bool = False,
) -> Batch:
    """All rows, on the model's device and in its dtype; on several ranks, this one's.

    1. Each rank looks at its own rows; an error on one stops all.
    2. What concerns all rows: how many there are, the mean weight, the classes.

    Parameters
    ----------
    model : Model
    X : Tensor, array, frame or sparse matrix, shape (n, n_features)
    y : Tensor, array or series, shape (n,) or (n, K)
    sample_weight : shape (n,), optional
    offset : shape (n,) or (n, r), optional
    own_target : bool
        Whether ``y`` must be what the model's own loss takes; another loss may read it otherwise.
    unseen : bool
        Whether the entries of many dense rows may go unseen, to be looked at in the first pass:
        ``squares`` are then None.

    Returns
    -------
    Batch
        With sample weights of mean one.

    Raises
    ------
    ValueError
        In one line: what came, in which row or column, and what to do.
    """
    with distributed.together("checking its rows"):  # 1
        data = _own_rows(model, X, y, sample_weight, offset, own_target, unseen)
    if distributed.world_size() > 1:  # 2
        data = replace(data, total=distributed.count(len(data), data.X.device), few=None)
    with threads_of_looks(data.X):
        if sample_weight is not None:
            data = data.reweighted(mean_one_on(data, data.sample_weight).to(model.weight.dtype))
        if own_target:
            refuse_one_class(model, data)
    return data


def _own_rows(
    model: Model,
    X: Any,
    y: Any,
    sample_weight: Any,
    offset: Any,
    own_target: bool,
    unseen: bool,
) -> Batch:
    """The rows at hand, under the user's weights as they are."""
    like, on_disk = model.weight, is_mapped(X)
    few: list[FewRows] = []
    look, unseen = partial(_looked_at, model=model, few=few), unseen and not on_disk
    X, squares = _checked(X, like, look, unseen=unseen)
    if X.shape[1] != model.n_features:
        raise ValueError(
            f"X has {X.shape[1]} columns, but {type(model).__name__} was made for "
            f"{model.n_features}; make the model with n_features={X.shape[1]}"
        )
    rooms = Rooms() if on_disk and like.device.type == "cpu" else None
    with threads_of_looks(X):
        data = _with_the_rest(model, X, y, sample_weight, offset, own_target, rooms, few)
        whole = sample_weight is None or is_sparse(X) or float(data.sample_weight.amin()) > 0
        if not whole:
            data, squares = replace(data, few=None), sums_of_squares(X, data.sample_weight)
    return replace(data, squares=squares)


def _with_the_rest(
    model: Model,
    X: Tensor,
    y: Any,
    sample_weight: Any,
    offset: Any,
    own_target: bool,
    rooms: Rooms | None,
    few: list[FewRows],
) -> Batch:
    """Targets, weights and offsets beside ``X``."""
    like, n = model.weight, len(X)
    y = as_tensor(y, "the target", like.device).detach()
    if len(y) != n:
        raise ValueError(f"X has {n} rows, but the target has {len(y)}; they must match")
    y = _target(model, y, rooms) if own_target else finite_rows(y, "the target")
    if y.is_floating_point():
        y = y.to(like.dtype)
    offset = None if offset is None else _as_offset(offset, n, like)
    if sample_weight is None and few and rooms is None:
        return Batch(X, y, few[0].ones, offset, few=few[0])
    data = Batch(X, y, like.detach(), offset, rooms=rooms, few=(*few, None)[0])
    if sample_weight is None:
        return replace(data, sample_weight=data.room().fill_(1.0))
    weights = as_tensor(sample_weight, "sample_weight", like.device).detach()
    weights = checked_weights(weights, n, "sample_weight")
    weights = weights if weights.is_floating_point() else weights.to(like.dtype)
    return replace(data, sample_weight=weights)


def _target(model: Model, y: Tensor, rooms: Rooms | None) -> Tensor:
    """What the model's loss takes; beside mapped rows one stretch on disk, made piece by piece."""
    if rooms is None or (y.is_contiguous() and y.dtype == model.weight.dtype):
        return model.target(y)
    try:
        first = model.target(y[:1])
        made = rooms.tensor((len(y), *first.shape[1:]), first.dtype)
        for start in range(0, len(y), BLOCK):
            made[start : start + BLOCK] = model.target(y[start : start + BLOCK])
    except ValueError:  # it speaks of rows of a piece
        return model.target(y)
    return made


def as_matrix(X: Any, like: Tensor) -> Tensor:
    """``X`` as a finite (n, p) tensor of the dtype and device of ``like``.

    Sparse matrices stay sparse: see :mod:`torchlogreg.sparse`.

    Raises
    ------
    ValueError
        If it is empty, not two-dimensional, not numeric, or holds NaN or infinity.
    """
    return _checked(X, like, torch.sum)[0]


def _checked(
    X: Any, like: Tensor, look: Callable[[Tensor], Tensor], *, unseen: bool = False
) -> tuple[Tensor, Tensor | None]:
    """The matrix, and what ``look`` sees of it: numbers that are finite only if its entries are.

    ``unseen``: none, where a compiled pass can have the squares.
    """
    if holds_sparse(X):
        return sparse_rows(X, like.dtype, like.device), None
    tensor = as_tensor(X, "X", like.device).detach()
    if tensor.ndim != 2:
        raise ValueError(
            f"X has shape {tuple(tensor.shape)}, but rows by columns are needed; "
            "for a single feature use X.reshape(-1, 1)"
        )
    if 0 in tensor.shape:
        raise ValueError(f"X has shape {tuple(tensor.shape)}: there is nothing to fit")
    cast = tensor.to(like.dtype)
    # In double precision, which no cast overflows; few rows are looked at otherwise.
    if unseen and cast.numel() > MOST and squares_available(cast):
        return cast, None
    seen = look(cast)
    try:  # Waits for the device, once, before training.
        refuse_not_finite(cast, seen)
    except NotFiniteError as error:
        error.value = tensor[error.row, error.column].item()
        raise error.within(X, like.dtype) from None
    return cast, seen


def examined(data: Batch, X: Any) -> Batch:
    """The same rows, their entries looked at after all; ``X`` has names where it is a frame."""
    squares = _squares(data.X)
    try:
        refuse_not_finite(data.X, squares)
    except NotFiniteError as error:
        raise error.within(X) from None
    return replace(data, squares=squares)


def _looked_at(X: Tensor, *, model: Model, few: list[FewRows]) -> Tensor:
    """Sums of squares of the columns; of few rows of a binary logit what else is asked of them."""
    made = few_rows(X) or FewRows.of(X) if type(model) is LogisticRegression else None
    if made is None:
        return _squares(X)
    few.append(made)
    return made.squares


def _squares(X: Tensor) -> Tensor:
    """Sums of squares of the columns, in one read."""
    return column_squares(X) if squares_available(X) else sums_of_squares(X)


def as_tensor(values: Any, name: str, device: torch.device) -> Tensor:
    """A tensor on ``device``; numpy and pandas are read through ``numpy.asarray``.

    Raises
    ------
    ValueError
        If the values are not numbers, or the device cannot hold their dtype.
    """
    if type(values).__module__.startswith("scipy.sparse"):
        raise ValueError(f"{name} is a sparse matrix, but dense rows are needed; use .toarray()")
    if not isinstance(values, Tensor):
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
            array = shared(values)
        else:
            # An own copy where numpy's is read-only: torch tensors are always writable.
            array = np.ascontiguousarray(array if array.flags.writeable else array.copy())
        values = torch.from_numpy(array)
    if values.dtype in (torch.uint16, torch.uint32, torch.uint64):
        values = values.long()  # torch compares none of these
    if values.is_complex():
        raise ValueError(f"{name} is complex, but real numbers are needed")
    if device.type == "mps" and values.dtype == torch.float64:
        values = values.float()  # Apple's GPUs have no float64
    tensor: Tensor = values.to(device)
    return tensor


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


def _as_offset(offset: Any, n: int, like: Tensor) -> Tensor:
    tensor = as_tensor(offset, "offset", like.device).to(like.dtype).detach()
    fits = tensor.ndim in (1, 2) and tensor.shape[1:] in {(), (1,), (like.shape[0],)}
    if not fits or len(tensor) != n:
        raise ValueError(f"offset has shape {tuple(tensor.shape)}, but ({n},) is needed")
    return finite_rows(tensor, "offset")


def _known_to_torch(array: np.ndarray) -> np.ndarray:
    """Native byte order; no wide floats; no unsigned integers, which torch hardly computes with."""
    if array.dtype.kind == "f" and array.dtype.itemsize > 8:
        return array.astype(np.float64)
    if array.dtype.kind == "u" and array.dtype.itemsize > 1:
        return array.astype(np.int64)
    return array.astype(array.dtype.newbyteorder("="), copy=False)
