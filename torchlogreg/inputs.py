"""From what users hold (tensors, arrays, frames, lists) to a checked :class:`Batch`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from torchlogreg import distributed, kernels
from torchlogreg.base import Model
from torchlogreg.data import Batch
from torchlogreg.disk.mapped import Rooms, is_mapped
from torchlogreg.few_rows import MOST, FewRows
from torchlogreg.finite import BLOCK, NotFiniteError, finite_rows, refuse_not_finite
from torchlogreg.kernels import few_rows, squares_available, threads_of_looks
from torchlogreg.models import LogisticRegression
from torchlogreg.one_class import refuse_one_class
from torchlogreg.sample_weights import checked_weights, mean_one_on
from torchlogreg.sparse import is_sparse
from torchlogreg.sparse_inputs import holds_sparse, sparse_rows
from torchlogreg.tensors import as_tensor
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
        rows = X, squares
        data = _with_the_rest(model, rows, y, sample_weight, offset, own_target, rooms, few)
        if sample_weight is not None and not (is_sparse(X) or float(data.sample_weight.amin()) > 0):
            data = replace(data, few=None, squares=sums_of_squares(X, data.sample_weight))
    return data


def _with_the_rest(
    model: Model,
    rows: tuple[Tensor, Tensor | None],
    y: Any,
    sample_weight: Any,
    offset: Any,
    own_target: bool,
    rooms: Rooms | None,
    few: list[FewRows],
) -> Batch:
    """Targets, weights and offsets beside ``X`` and the squares of its columns."""
    (X, squares), like = rows, model.weight
    n = len(X)
    y = as_tensor(y, "the target", like.device).detach()
    if len(y) != n:
        raise ValueError(f"X has {n} rows, but the target has {len(y)}; they must match")
    labels, made = None, few[0] if few else None
    if type(model) is LogisticRegression and rooms is None and kernels.compiled(X):
        labels = kernels.labels_of(y, signs=made is not None)
    if labels is None:
        y = _target(model, y, rooms) if own_target else finite_rows(y, "the target")
    if y.is_floating_point():
        y = y.to(like.dtype)
    offset = None if offset is None else _as_offset(offset, n, like)
    even = sample_weight is None
    ones = made.ones if even and made is not None and rooms is None else None
    weights = like.detach() if ones is None else ones
    known = None, squares, None, rooms, made, ones, labels
    data = Batch(X, y, weights, offset, *known)
    if ones is not None:
        return data
    if even:
        ones = data.room().fill_(1.0)
        return replace(data, sample_weight=ones, ones=ones)
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
    return _checked(X, like, lambda X: (torch.sum(X), False))[0]


def _checked(
    X: Any, like: Tensor, look: Callable[[Tensor], tuple[Tensor, bool]], *, unseen: bool = False
) -> tuple[Tensor, Tensor | None]:
    """The matrix, and what ``look`` sees of it: numbers that are finite only if its entries are,
    and whether it is certain that they are.

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
    seen, certain = look(cast)
    try:  # Waits for the device, once, before training.
        if not certain:
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


def _looked_at(X: Tensor, *, model: Model, few: list[FewRows]) -> tuple[Tensor, bool]:
    """Sums of squares of the columns; of few rows of a binary logit what else is asked of them, and
    whether all entries are finite."""
    made = few_rows(X) or FewRows.of(X) if type(model) is LogisticRegression else None
    if made is None:
        return _squares(X), False
    few.append(made)
    return made.squares, True


def _squares(X: Tensor) -> Tensor:
    """Sums of squares of the columns, in one read."""
    return kernels.column_squares(X) if squares_available(X) else sums_of_squares(X)


def _as_offset(offset: Any, n: int, like: Tensor) -> Tensor:
    tensor = as_tensor(offset, "offset", like.device).to(like.dtype).detach()
    fits = tensor.ndim in (1, 2) and tensor.shape[1:] in {(), (1,), (like.shape[0],)}
    if not fits or len(tensor) != n:
        raise ValueError(f"offset has shape {tuple(tensor.shape)}, but ({n},) is needed")
    return finite_rows(tensor, "offset")
