"""Standardisation of columns, and folding it back so that the model works on raw ones."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from torchlogreg import distributed
from torchlogreg.base import Model
from torchlogreg.sparse import SparseRows, is_sparse


class _Sums(NamedTuple):
    """How the figures of one rank's rows become those of all rows."""

    sum: Callable[[Tensor], Tensor]
    most: Callable[[Tensor], Tensor]
    together: Callable[[str], AbstractContextManager[None]]


_RANKS = _Sums(distributed.all_sum, distributed.all_max, distributed.together)
_ALONE = _Sums(lambda part: part, lambda part: part, lambda what: nullcontext())


@dataclass(frozen=True, slots=True, eq=False)
class Standardizer:
    """``(X - mean) / scale``, column by column.

    Attributes
    ----------
    mean, scale : Tensor, shape (p,), float64 (float32 on a device without it)
        In the units of the columns; ``scale`` is positive.
    """

    mean: Tensor
    scale: Tensor

    @classmethod
    def of(
        cls,
        X: Tensor,
        sample_weight: Tensor | None = None,
        *,
        centre: bool = True,
        shared: bool = False,
    ) -> Standardizer:
        """Mean and population standard deviation (divisor ``n``) of every column.

        1. The mean, corrected once by the mean of the residuals, in float64.
        2. The root mean square of what is left, after division by the largest, so that neither a
           large mean nor a large unit costs digits.
        3. A column that is constant to rounding gets scale one.

        Parameters
        ----------
        X : Tensor, shape (n, p)
            Finite.
        sample_weight : Tensor, shape (n,), optional
            Not negative, not all zero; their scale is irrelevant, and zero removes a row.
        centre : bool
            False keeps ``mean`` zero, for models with ``bias=False``, which cannot absorb a shift;
            the scale is then still the standard deviation about the true mean (a constant column
            keeps scale one).
        shared : bool
            Whether these are one rank's part of the rows, as ``fit`` takes them: sums are then over
            all ranks, and each of them gets the same (see :mod:`torchlogreg.distributed`).

        Raises
        ------
        ValueError
            If X is not (n, p) with n >= 1, is not finite, or the weights do not fit.
        LostRankError
            If that is so on another rank.
        """
        X, ranks = _wide(X.detach()), _RANKS if shared else _ALONE
        share = _shares(X, sample_weight, ranks)  # (n,), sums to one
        if isinstance(X, SparseRows):
            return cls._of_sparse(X, share, ranks, centre=centre)
        if sample_weight is not None and not bool(share.all()):
            # A row without weight may not even decide what the largest entry is.
            X, share = X[share > 0], share[share > 0]
        mean = ranks.sum(share @ X)  # 1
        residual = X - mean  # the only copy of X; all below is in place
        mean = mean + ranks.sum(share @ residual)
        torch.sub(X, mean, out=residual)
        largest, size = ranks.most(_largest(residual)), ranks.most(_largest(X))  # 2
        constant = largest <= 4 * torch.finfo(X.dtype).eps * size  # 3; true for a column of zeros
        unit = torch.where(constant, 1.0, largest)
        scale = unit * ranks.sum(share @ residual.div_(unit).square_()).sqrt()
        # A constant column becomes exactly 0, so its mean must be its value, not a rounded sum.
        mean = torch.where(constant, ranks.most(_first(X)), mean)
        scale = torch.where(constant, 1.0, scale)
        return cls(mean if centre else torch.zeros_like(mean), scale)

    @classmethod
    def _of_sparse(
        cls, X: SparseRows, share: Tensor, ranks: _Sums, *, centre: bool
    ) -> Standardizer:
        """The same from the stored entries, shifted one by one; the others lie ``mean`` off."""
        counted: Any = X if bool(share.all()) else X[share > 0]
        share = share[share > 0]
        rows = counted.entries.rows
        ones = SparseRows(counted.entries.with_entries(np.ones(len(rows.data))))
        places = torch.from_numpy(rows.indices).long()
        held = ranks.sum(torch.bincount(places, minlength=X.shape[1]))
        full = held == ranks.sum(torch.tensor(len(counted)))
        absent = torch.where(full, 0.0, 1 - ranks.sum(share @ ones))  # share of rows with no entry
        mean = ranks.sum(share @ counted)  # 1
        for _ in range(2):
            shifted = torch.from_numpy(rows.data) - mean[places]
            residual = SparseRows(counted.entries.with_entries(shifted.numpy()))
            mean, before = mean + ranks.sum(share @ residual) - absent * mean, mean
        size, other = ranks.most(_size(counted)), torch.where(full, 0.0, before.abs())
        largest = torch.maximum(ranks.most(_size(residual)), other)  # 2
        constant = largest <= 4 * torch.finfo(mean.dtype).eps * size  # 3
        unit = torch.where(constant, 1.0, largest)
        squares = ranks.sum(share @ (residual / unit).square())
        scale = unit * (squares + absent * (other / unit).square()).sqrt()
        mean = torch.where(constant, ranks.most(_first(counted)), mean)
        scale = torch.where(constant, 1.0, scale)
        return cls(mean if centre else torch.zeros_like(mean), scale)

    def transform(self, X: Tensor) -> Tensor:
        """Standardised columns (n, p), of the dtype of ``X``; differences are taken in float64.

        Sparse rows stay sparse where all means are zero; else they are filled in, if they are few.
        """
        self._check(X.shape[-1], "X")
        if is_sparse(X) and not bool(self.mean.any()):
            return (_wide(X) / self.scale).to(X.dtype)
        return (_wide(X) - self.mean).div_(self.scale).to(X.dtype)

    def fold_(self, model: Model) -> Model:
        """Make a model of standardised columns one of raw columns, in place.

        Parameters
        ----------
        model : Model
            ``model(transform(X))`` before is ``model(X)`` after.

        Returns
        -------
        Model
            The same object.

        Raises
        ------
        ValueError
            If the model has no intercept and ``mean`` is not zero (make the standardizer with
            ``centre=False``), or another number of columns. The model is then unchanged.
        """
        self._check(model.n_features, "the model")
        if bool(self.mean.any()) and not _absorbs_shift(model):
            raise ValueError(
                f"{type(model).__name__} was made with bias=False and cannot absorb the column "
                "means; use Standardizer.of(X, centre=False)"
            )
        weight = model.weight
        model.absorb_(self.mean.to(weight), self.scale.to(weight))
        return model

    def _check(self, n_columns: int, what: str) -> None:
        if n_columns != len(self.mean):
            raise ValueError(
                f"{what} has {n_columns} columns, but the standardizer was made from "
                f"{len(self.mean)}; use the same columns"
            )


def _wide(X: Tensor) -> Tensor:
    """float64, or float32 on Apple's GPUs, which have no float64."""
    return X.float() if X.device.type == "mps" else X.double()


def _first(X: Tensor) -> Tensor:
    """The first row; of no rows what is less than any."""
    return X[0] if len(X) else _wide(torch.full(X.shape[1:], -torch.inf))


def _size(X: SparseRows) -> Tensor:
    """Largest absolute entry of every column of sparse rows."""
    found: Tensor = X.abs().amax(0) if len(X) else torch.zeros(X.shape[1], dtype=torch.float64)
    return found


def _largest(X: Tensor) -> Tensor:
    """Largest absolute entry of every column, without a copy of ``X``."""
    if not len(X):
        return X.new_zeros(X.shape[1])
    return torch.maximum(X.amax(dim=0), -X.amin(dim=0))


def _absorbs_shift(model: Model) -> bool:
    """Whether the model has an intercept: an ordinal one calls it ``first``."""
    return model.bias is not None or getattr(model, "first", None) is not None


def _shares(X: Tensor, sample_weight: Tensor | None, ranks: _Sums) -> Tensor:
    """Row weights that sum to one, of the dtype of ``X``; checks both."""
    with ranks.together("checking its columns"):
        share = _weights(X, sample_weight)
    largest = ranks.most(share.max())
    if not bool(largest > 0):
        raise ValueError("sample_weight is zero in every row; at least one must count")
    if sample_weight is None:
        n = ranks.sum(torch.tensor(len(X)))
        return X.new_full((len(X),), 1 / int(n))
    share = share / largest  # so that the sum of tiny or huge weights stays in range
    return share / ranks.sum(share.sum())


def _weights(X: Tensor, sample_weight: Tensor | None) -> Tensor:
    """Row weights, (n,), finite and not negative, of rows that are finite."""
    if X.ndim != 2 or X.shape[0] == 0:
        raise ValueError(f"X has shape {tuple(X.shape)}, but (n, p) with n >= 1 is needed")
    if not bool(torch.isfinite(X.sum())):  # one cheap pass; a finite X may overflow in it
        wrong = ~torch.isfinite(X)
        if bool(wrong.any()):
            row, column = wrong.nonzero()[0].tolist()
            raise ValueError(f"X is not finite in row {row}, column {column}; remove or impute it")
    if sample_weight is None:
        return X.new_ones(1)
    share = sample_weight.detach().to(X)
    if share.shape != X.shape[:1]:
        raise ValueError(f"sample_weight has shape {tuple(share.shape)}, but ({len(X)},) is needed")
    if not bool((torch.isfinite(share) & (share >= 0)).all()):
        row = int((~(torch.isfinite(share) & (share >= 0))).nonzero()[0])
        raise ValueError(
            f"sample_weight is {share[row]:g} in row {row}, but weights are finite and >= 0"
        )
    return share
