"""Columns far from zero, moved near it for the length of a step.

With a column of 1950, 1951, ... the intercept and the weight almost cancel: ``eta`` loses as many
digits as ``|mean| / spread`` has, and the Hessian twice as many. In ``X - centre`` nothing cancels,
and the subtraction is exact for such columns (Sterbenz, 1974); ``weight`` stays, the intercepts
move by ``weight . centre``.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from torchlogreg.base import Model
from torchlogreg.data import Batch, pieces
from torchlogreg.double_double import total, two_product
from torchlogreg.objective import Closure

FAR = 2.0
"""A column is far from zero if its middle is this many times its span: a loss of one digit, and of
more where such columns go together. From 1.5 on the subtraction is exact."""


FEW = 2**17
"""Entries of ``X`` up to which a product is cheaper than a search for extremes."""


@dataclass(slots=True, eq=False)
class Centred:
    """What is remembered of a design: whether columns are far from zero, and the moved copy."""

    X: Tensor
    centre: Tensor | None
    batch: Batch | None = None

    @classmethod
    def of(cls, X: Tensor, size: Tensor | None = None, *, rows: Batch | None = None) -> Centred:
        """Up to three passes over ``X``; nothing is copied yet.

        Parameters
        ----------
        X : Tensor, shape (n, p)
        size : Tensor, shape (p,), optional
            Root mean squares of the columns, if they are known.
        rows : Batch, optional
            What ``X`` is of: extremes are then those of all ranks.
        """
        spread = rows is not None and rows.total is not None
        if (
            not spread
            and size is not None
            and X.numel() <= FEW
            and _is_near(X.to(size.dtype), size)
        ):
            return cls(X, None)
        least, most = X.amin(0), X.amax(0)
        if rows is not None:
            least, most = rows.least(least), rows.largest(most)
        middle, span = 0.5 * least + 0.5 * most, most - least
        far = (middle.abs() > FAR * span) & (span > 0)  # a constant column has no place to go
        return cls(X, torch.where(far, middle, 0.0) if bool(far.any()) else None)

    def of_rows(self, batch: Batch, centre: Tensor) -> Batch:
        """The rows of ``batch``, moved; the same object for the same targets and weights."""
        known = self.batch
        if known is None:
            X = batch.room(batch.X.shape[1]) if batch.mapped else torch.empty_like(batch.X)
            for to, rows in pieces(X, batch.X, size=2**16):
                torch.sub(rows, centre, out=to)
            known = replace(batch, X=X, few=None)
        elif known.sample_weight is not batch.sample_weight or known.y is not batch.y:
            known = replace(batch, X=known.X, few=None)
        self.batch = known
        return known


def looked_at(closure: Closure, memory: Centred | None) -> Centred:
    """Which columns are far from zero; what the last call gave, if it was of the same rows."""
    batch, few = closure.batch, closure.batch.few
    if memory is not None and memory.X is batch.X:
        return memory
    if few is not None and few.near and few.holds(batch.X):
        return Centred(batch.X, None)
    return Centred.of(batch.X, closure.objective.units(closure.data).columns, rows=batch)


@contextmanager
def near_zero(closure: Closure, memory: Centred | None) -> Iterator[tuple[Closure, Centred]]:
    """A closure whose columns are near zero, and the model to go with it, until the end.

    Parameters
    ----------
    closure : Closure
    memory : Centred or None
        What the last call gave.

    Yields
    ------
    (Closure, Centred)
        ``closure`` itself where no column is far from zero, or no trained intercept can take part.
    """
    model, batch, memory = closure.objective.model, closure.batch, looked_at(closure, memory)
    if memory.centre is None or not _can_move(model):
        yield closure, memory
        return
    centre = memory.centre
    moved = memory.of_rows(batch, centre)
    _move(model, centre, 1.0)
    try:
        yield Closure(closure.objective, moved, moved), memory
    finally:
        _move(model, centre, -1.0)


def _is_near(X: Tensor, size: Tensor) -> bool:
    """Whether means, cheaper than extremes, prove that no column is far from zero.

    A span is at least two standard deviations, and the middle within half a span of the mean: a
    mean of less than three standard deviations, or 0.94 of the size, is a middle of less than two
    spans.
    """
    share = (X.new_ones(len(X)) @ X).div_(size * (0.9 * len(X)))
    return bool(torch.linalg.vector_norm(share, torch.inf) < 1)


def _can_move(model: Model) -> bool:
    """Whether weights and an intercept are trained: an ordinal model calls its own ``first``."""
    intercept = model.bias if model.bias is not None else getattr(model, "first", None)
    return intercept is not None and intercept.requires_grad and model.weight.requires_grad


def _move(model: Model, centre: Tensor, sign: float) -> None:
    """Shift the intercepts by ``sign * weight . centre``, rounded once."""
    wide = torch.float32 if centre.device.type == "mps" else torch.float64
    weight = model.weight.detach().to(wide)
    amount = total(two_product(weight, centre.to(wide).expand_as(weight).contiguous()), 1).value
    model.shift_((sign * amount).to(model.weight.dtype))
