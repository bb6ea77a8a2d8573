"""The columns that matter, gathered once: with L1 most entries of ``weight`` stay zero.

Columns of a matrix stored by rows are far apart in memory: each is fetched once and kept, as a row,
while the optimizer lives.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from torchlogreg.closed_form import has_slopes, losses_and_slopes
from torchlogreg.curvature import intercept_jacobian, mix_matrix
from torchlogreg.data import PIECE, Batch, pieces
from torchlogreg.kernels import columns, columns_available, pulled, pulled_available
from torchlogreg.losses import Loss
from torchlogreg.objective import Closure
from torchlogreg.pages import Growing
from torchlogreg.passes import Found, evaluate, finished

KEPT = 2**23
"""Entries of ``X`` that are kept as gathered columns, 64 MB in float64; more are fetched anew."""


class Entries(NamedTuple):
    """Entries of ``weight`` (r, p), ordered by row: ``weight[row, feature]``."""

    row: Tensor
    feature: Tensor

    @classmethod
    def of(cls, chosen: Tensor) -> Entries:
        """Where a boolean (r, p) is true."""
        row, feature = chosen.nonzero(as_tuple=True)
        return cls(row, feature)


class Columns:
    """Columns of ``X``, kept as rows of a matrix (q, n) where there is room.

    Parameters
    ----------
    batch : Batch
        Of several ranks, all must keep the same columns.
    """

    def __init__(self, batch: Batch) -> None:
        X = batch.X
        self.X, self.n, self.rooms = X, batch.n, batch.rooms
        self.place = torch.full((X.shape[1],), -1, device=X.device)  # of a feature, or -1
        self.kept = Growing(len(X), min(X.shape[1], KEPT // max(1, self.n)), X.dtype, X.device)

    @property
    def rows(self) -> Tensor:
        """All that are kept, (q, n)."""
        return self.kept.rows

    def fetch(self, features: Tensor) -> bool:
        """Have these columns (of one or more rows of ``weight``) at hand; False if too many."""
        new = torch.unique(features[self.place[features] < 0])
        if not len(new):
            return True
        if (len(self.kept) + len(new)) * self.n > KEPT:
            new = torch.unique(features)
            if len(new) * self.n > KEPT:
                return False
            self.place.fill_(-1)  # those of long ago make room
            self.kept.clear()
        known, room = len(self.kept), self.kept.more(len(new))
        self.place[new] = torch.arange(known, known + len(new), device=new.device)
        if columns_available(self.X):
            columns(self.X, new, out=room)
        else:
            torch.index_select(self.X.T, 0, new, out=room)
        return True

    def in_order(self, features: Tensor) -> Tensor:
        """The same features, all kept, as they follow one another here."""
        return features[self.place[features].argsort()]

    def of(self, features: Tensor) -> Tensor:
        """Kept columns (m, n) of features that are :meth:`in_order`: a view of neighbours."""
        at = self.place[features]
        if not len(at):
            return self.rows[:0]
        first, last = int(at[0]), int(at[-1])  # waits for the device
        if last - first + 1 == len(at):
            return self.rows[first : last + 1]
        return self.rows.index_select(0, at)

    def blocks(self, features: Tensor, beside: int) -> Iterator[tuple[slice, Tensor]]:
        """Rows in blocks, and in each these columns (sorted, unique), (q, rows in the block).

        ``beside`` is how many numbers a row are made beside them.
        """
        n = len(self.X)
        if self.fetch(features):
            yield slice(0, n), self.rows.index_select(0, self.place[features])
            return
        most = KEPT if self.rooms is None else KEPT // 8  # five times as much is made of a block
        size = max(1, most // (len(features) + beside))
        for start in range(0, n, size):
            rows = slice(start, min(n, start + size))
            yield rows, self.X[rows].T.index_select(0, features)

    def against(self, by_scores: Tensor, entries: Entries) -> Tensor:
        """Entries of ``by_scores.T @ X`` for ``by_scores`` (n, r), a vector (m,)."""
        if not self.fetch(entries.feature):
            return (by_scores.T @ self.X)[entries.row, entries.feature]
        return (self.rows @ by_scores)[self.place[entries.feature], entries.row]

    def along(self, values: Tensor, entries: Entries, r: int) -> Tensor:
        """``X @ D.T`` (n, r) for a matrix D that holds ``values`` (m,) at the entries."""
        if not self.fetch(entries.feature):
            whole = values.new_zeros(r, self.X.shape[1])
            whole[entries.row, entries.feature] = values
            return self._product(whole)
        used = values.new_zeros(r, len(self.kept))
        used[entries.row, self.place[entries.feature]] = values
        return self._scores(used)

    def scores(self, weight: Tensor) -> Tensor:
        """``X @ weight.T`` (n, r) from the columns whose weights are not all zero."""
        features = weight.any(0).nonzero().squeeze(1)  # waits for the device
        if not self.fetch(features):
            return self._product(weight)
        used = weight.new_zeros(weight.shape[0], len(self.kept))
        used[:, self.place[features]] = weight[:, features]
        return self._scores(used)

    def _product(self, weight: Tensor) -> Tensor:
        """``X @ weight.T`` (n, r); of mapped rows onto disk."""
        if self.rooms is None:
            return self.X @ weight.T
        return torch.matmul(self.X, weight.T, out=self._room(len(self.X), len(weight)))

    def _room(self, *shape: int) -> Tensor:
        """Not filled; of mapped rows on disk."""
        dtype = self.X.dtype
        return self.X.new_empty(shape) if self.rooms is None else self.rooms.tensor(shape, dtype)

    def _scores(self, used: Tensor) -> Tensor:
        """From a matrix (r, kept) of weights."""
        scores = self._room(used.shape[0], len(self.X))
        return torch.matmul(used, self.rows, out=scores).T


def found_at(closure: Closure, eta: Tensor) -> Found:
    """Value and gradient where ``eta (n, k)`` is known: one pass over ``X``, for ``S' X``.

    With the squares of the columns, where nobody has seen them yet and they come by the way.
    """
    objective, batch = closure.objective, closure.batch
    model, penalty = objective.model, objective.penalty
    if penalty is not None and penalty.needs_rows:
        return evaluate(model, objective.loss, penalty, objective.params, batch)
    losses, by_eta = slopes_of(objective.loss, eta, batch)
    by_eta = batch.each(lambda own, weight: own * weight[:, None], by_eta, batch.sample_weight)
    gradient, squares = intercept_jacobian(model).T @ by_eta.sum(0), None
    if model.weight.requires_grad:
        by_scores = batch.each(partial(torch.matmul, other=mix_matrix(model)), by_eta)
        if by_scores.shape[1] == 1 and pulled_available(batch.X):
            unseen = objective.remembered.squares_of(batch) is None
            by_weight, squares = pulled(batch.X, by_scores.squeeze(1), squared=unseen)
        else:
            by_weight = by_scores.T @ batch.X
        gradient = torch.cat((by_weight.flatten(), gradient))
    objective.rows_read += len(batch)
    loss_sum = torch.dot(batch.sample_weight, losses)
    found = finished(model, penalty, batch, loss_sum, gradient, eta, losses)
    return found._replace(squares=squares)


def slopes_of(loss: Loss, eta: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
    """:func:`slopes_at` of a batch; of mapped rows onto disk."""
    if not batch.mapped:
        return slopes_at(loss, eta, batch.y)
    losses, by_eta = batch.room(), batch.room(*eta.shape[1:])
    for *into, part, y in pieces(losses, by_eta, eta, batch.y, size=PIECE):
        for there, found in zip(into, slopes_at(loss, part, y), strict=True):
            there.copy_(found)
    return losses, by_eta


def slopes_at(loss: Loss, eta: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Losses (n,) and their derivatives by ``eta`` (n, k): by formula where there is one."""
    if has_slopes(loss):
        return losses_and_slopes(loss, eta, y)
    with torch.enable_grad():
        leaf = eta.detach().requires_grad_()
        losses = loss(leaf, y)
        (by_eta,) = torch.autograd.grad(losses.sum(), leaf)
    return losses.detach(), by_eta
