"""What is remembered of the rows, so that no pass over them is made twice."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple, TypeAlias

import torch
from torch import Tensor, nn

from torchlogreg.base import Model
from torchlogreg.data import Batch
from torchlogreg.finite import refuse_not_finite
from torchlogreg.losses import Loss
from torchlogreg.moments import Moments, moments
from torchlogreg.passes import Found
from torchlogreg.penalties import Penalty
from torchlogreg.small import Logits, Small
from torchlogreg.small_classes import SmallClasses
from torchlogreg.small_compiled import SmallCompiled
from torchlogreg.units import Units, sums_of_squares

AnySmall: TypeAlias = Small | SmallCompiled | SmallClasses
"""Few rows made ready, in one of three ways."""


class Evaluation(NamedTuple):
    """One forward and backward pass, and where it was made.

    ``logits`` stay where the way of :mod:`torchlogreg.small` was taken.
    """

    batch: Batch
    penalty: Penalty | None
    at: list[Tensor]
    versions: list[int]
    found: Found
    logits: Logits | None = None

    @property
    def has_rows(self) -> bool:
        """Whether ``eta`` and losses were kept."""
        return self.found.losses.shape[0] == self.batch.X.shape[0]

    @property
    def eta(self) -> Tensor | None:
        """``eta`` (n, k), if it was kept."""
        return self.found.eta if self.has_rows else None


class _Ready(NamedTuple):
    """Few rows made ready, and what would make them stale."""

    batch: Batch
    loss: Loss
    penalty: Penalty | None
    versions: tuple[int, int]
    small: AnySmall | None


class Remembered:
    """The last evaluation, units and moments of the columns, and few rows made ready.

    Parameters
    ----------
    model : Model
    params : list of nn.Parameter
        The trainable ones.

    Attributes
    ----------
    keeps_rows : bool
        Whether evaluations are to keep ``eta`` and losses. An optimizer that has no use for them
        says no; the first who asks for them after all says yes again.
    unseen : Tensor, shape (n, p), or None
        Rows of which nobody knows yet whether all their entries are finite: the first pass tells.
    """

    keeps_rows = True
    unseen: Tensor | None = None

    def __init__(self, model: Model, params: list[nn.Parameter]) -> None:
        self._model, self._params = model, params
        self._last: Evaluation | None = None
        self._units: tuple[Batch, Units, Tensor] | None = None
        self._ready: _Ready | None = None
        self._moments: tuple[Tensor, Tensor, Moments] | None = None
        self._squares: tuple[Tensor, Tensor] | None = None

    def known(self, batch: Batch) -> Evaluation | None:
        """The last evaluation, if it is of these rows, under whatever weights, and here."""
        last = self._last
        if last is None or not self._here(last):
            return None
        return last if last.batch is batch or _same_rows(last.batch, batch) else None

    def rows_asked(self, batch: Batch) -> Evaluation | None:
        """As :meth:`known`; ``eta`` and losses are kept from now on."""
        self.keeps_rows = True
        return self.known(batch)

    def answers(self, last: Evaluation, batch: Batch, penalty: Penalty | None) -> bool:
        """Whether an evaluation, of :meth:`known`, leaves nothing to be asked of ``batch``."""
        same = last.batch is batch and last.penalty is penalty
        return same and (last.has_rows or not self.keeps_rows)

    def keep(
        self,
        batch: Batch,
        penalty: Penalty | None,
        found: Found,
        logits: Logits | None,
        at: list[Tensor] | None = None,
    ) -> Evaluation:
        """Until the parameters move; ``at`` is what they are, if somebody has it by them."""
        if found.squares is not None:
            self._see(batch.X, found.squares)
        if at is None:
            at = [p.detach().clone() for p in self._params]
        versions = [p._version for p in self._params]
        self._last = evaluation = Evaluation(batch, penalty, at, versions, found, logits)
        return evaluation

    def small(self, batch: Batch, loss: Loss, penalty: Penalty | None) -> AnySmall | None:
        """The rows made ready, once; None where the general way is taken."""
        ready, versions = self._ready, (batch.X._version, batch.y._version)
        if ready is not None and ready[1:4] != (loss, penalty, versions):
            ready = None
        if ready is not None and ready.batch is batch:
            return ready.small
        if ready is None or not _same_rows(ready.batch, batch):
            made = (self._model, loss, penalty, batch)
            small: AnySmall | None = SmallCompiled.of(*made)
            small = small or Small.of(*made) or SmallClasses.of(*made)
        else:
            small = None if ready.small is None else ready.small.reweighted(batch)
        self._ready = _Ready(batch, loss, penalty, versions, small)
        return small

    def units(self, data: Batch, *, numeric: bool) -> tuple[Units, Tensor]:
        """Units of columns and response, and of the partial derivatives (P,)."""
        if self._units is None or not _same_rows(self._units[0], data):
            few, params = data.few, self._params
            fits = few is not None and few.X is data.X and not numeric
            if few is not None and fits and sum(p.numel() for p in params) == few.sizes.numel():
                self._units = data, Units.of_few(few), few.sizes  # weight and bias
                return self._units[1:]
            if self.squares_of(data) is None:
                self._see(data.X, sums_of_squares(data.X))
            units = Units.of(replace(data, squares=self.squares_of(data)), numeric=numeric)
            self._units = data, units, units.of_partials(params, self._model.weight)
        return self._units[1:]

    @torch.no_grad()
    def moments(self, data: Batch, y: Tensor | None = None) -> Moments:
        """Sums of the columns' products, with the rows' weights; moved if an intercept allows.

        With ``y`` (n,) its products with the columns, too, if nothing was known yet.
        """
        rows, weight, model = data.X, data.sample_weight, self._model
        last = self._moments
        if last is None or last[0] is not rows or last[1] is not weight:
            move = model.bias is not None or getattr(model, "first", None) is not None
            self._moments = last = (rows, weight, moments(rows, weight, move=move, y=y))
        return last[2]

    def squares_of(self, batch: Batch) -> Tensor | None:
        """Sums of squares of the columns (p,), where a pass has shown them."""
        if batch.squares is None and self._squares is not None and self._squares[0] is batch.X:
            return self._squares[1]
        return batch.squares

    def _see(self, X: Tensor, squares: Tensor) -> None:
        """Keep the squares (p,) of the columns; they are finite only if all entries are."""
        self._squares = X, squares
        if X is self.unseen:
            self.unseen = None
            refuse_not_finite(X, squares)

    def _here(self, last: Evaluation) -> bool:
        """Version counters first (free); values too, because ``p.data`` changes bypass them."""
        for p, q, v in zip(self._params, last.at, last.versions, strict=True):
            if p._version != v or not torch.equal(p, q):
                return False
        return True


def _same_rows(a: Batch, b: Batch) -> bool:
    """Whether two batches are the same rows, whatever their weights."""
    return a.X is b.X and a.y is b.y and a.offset is b.offset
