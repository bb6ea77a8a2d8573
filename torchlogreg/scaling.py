"""Standardisation of columns, and folding it back so that the model works on raw ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from torchlogreg.base import Model
from torchlogreg.sparse import SparseRows, is_sparse


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
        cls, X: Tensor, sample_weight: Tensor | None = None, *, centre: bool = True
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

        Raises
        ------
        ValueError
            If X is not (n, p) with n >= 1, is not finite, or the weights do not fit.
        """
        X = _wide(X.detach())
        share = _shares(X, sample_weight)  # (n,), sums to one
        if isinstance(X, SparseRows):
            return cls._of_sparse(X, share, centre=centre)
        if sample_weight is not None and not bool(share.all()):
            # A row without weight may not even decide what the largest entry is.
            X, share = X[share > 0], share[share > 0]
        mean = share @ X  # 1
        residual = X - mean  # the only copy of X; all below is in place
        mean = mean + share @ residual
        torch.sub(X, mean, out=residual)
        largest, size = _largest(residual), _largest(X)  # 2
        constant = largest <= 4 * torch.finfo(X.dtype).eps * size  # 3; true for a column of zeros
        unit = torch.where(constant, 1.0, largest)
        scale = unit * (share @ residual.div_(unit).square_()).sqrt()
        # A constant column becomes exactly 0, so its mean must be its value, not a rounded sum.
        mean = torch.where(constant, X[0], mean)
        scale = torch.where(constant, 1.0, scale)
        return cls(mean if centre else torch.zeros_like(mean), scale)

    @classmethod
    def _of_sparse(cls, X: SparseRows, share: Tensor, *, centre: bool) -> Standardizer:
        """The same from the stored entries, shifted one by one; the others lie ``mean`` off."""
        counted: Any = X if bool(share.all()) else X[share > 0]
        share = share[share > 0]
        rows = counted.entries.rows
        ones = SparseRows(counted.entries.with_entries(np.ones(len(rows.data))))
        places = torch.from_numpy(rows.indices).long()
        full = torch.bincount(places, minlength=X.shape[1]) == len(counted)
        absent = torch.where(full, 0.0, 1 - share @ ones)  # share of the rows that hold no entry
        mean = share @ counted  # 1
        for _ in range(2):
            shifted = torch.from_numpy(rows.data) - mean[places]
            residual = SparseRows(counted.entries.with_entries(shifted.numpy()))
            mean, before = mean + share @ residual - absent * mean, mean
        size, other = counted.abs().amax(0), torch.where(full, 0.0, before.abs())
        largest = torch.maximum(residual.abs().amax(0), other)  # 2
        constant = largest <= 4 * torch.finfo(mean.dtype).eps * size  # 3
        unit = torch.where(constant, 1.0, largest)
        scale = (
            unit * (share @ (residual / unit).square() + absent * (other / unit).square()).sqrt()
        )
        mean = torch.where(constant, counted[0], mean)
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


def _largest(X: Tensor) -> Tensor:
    """Largest absolute entry of every column, without a copy of ``X``."""
    return torch.maximum(X.amax(dim=0), -X.amin(dim=0))


def _absorbs_shift(model: Model) -> bool:
    """Whether the model has an intercept: an ordinal one calls it ``first``."""
    return model.bias is not None or getattr(model, "first", None) is not None


def _shares(X: Tensor, sample_weight: Tensor | None) -> Tensor:
    """Row weights that sum to one, of the dtype of ``X``; checks both."""
    if X.ndim != 2 or X.shape[0] == 0:
        raise ValueError(f"X has shape {tuple(X.shape)}, but (n, p) with n >= 1 is needed")
    if not bool(torch.isfinite(X.sum())):  # one cheap pass; a finite X may overflow in it
        wrong = ~torch.isfinite(X)
        if bool(wrong.any()):
            row, column = wrong.nonzero()[0].tolist()
            raise ValueError(f"X is not finite in row {row}, column {column}; remove or impute it")
    if sample_weight is None:
        return X.new_full((len(X),), 1 / len(X))
    share = sample_weight.detach().to(X)
    if share.shape != X.shape[:1]:
        raise ValueError(f"sample_weight has shape {tuple(share.shape)}, but ({len(X)},) is needed")
    if not bool((torch.isfinite(share) & (share >= 0)).all()):
        row = int((~(torch.isfinite(share) & (share >= 0))).nonzero()[0])
        raise ValueError(
            f"sample_weight is {share[row]:g} in row {row}, but weights are finite and >= 0"
        )
    if not bool(share.any()):
        raise ValueError("sample_weight is zero in every row; at least one must count")
    share = share / share.max()  # so that the sum of tiny or huge weights stays in range
    return share / share.sum()
