"""The columns that matter: gathered once, and the curvature of the entries of ``weight`` in them.

With L1 most entries of ``weight`` stay zero, and a Newton step needs the Gram matrix of the others
alone. Columns of a matrix stored by rows are far apart in memory: each is fetched once and kept, as
a row, while the optimizer lives.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from torchlogreg.closed_form import curvatures, has_slopes, losses_and_slopes
from torchlogreg.curvature import intercept_jacobian, mix_matrix
from torchlogreg.data import Batch
from torchlogreg.losses import Loss, squared_error
from torchlogreg.objective import Closure
from torchlogreg.passes import Found, evaluate, total

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
    X : Tensor, shape (n, p)
    """

    def __init__(self, X: Tensor) -> None:
        self.X = X
        self.place = torch.full((X.shape[1],), -1, device=X.device)  # of a feature in rows, or -1
        self.rows = X.new_empty(0, X.shape[0])
        self.features = self.place[:0]

    def fetch(self, features: Tensor) -> bool:
        """Have these columns (sorted, unique) at hand; False where they are too many to keep."""
        n = len(self.X)
        new = features[self.place[features] < 0]
        if (len(self.features) + len(new)) * n > KEPT:
            if len(features) * n > KEPT:
                return False
            self.__init__(self.X)  # type: ignore[misc]  # those of long ago make room
            new = features
        if len(new):
            self.place[new] = torch.arange(len(new), device=new.device) + len(self.features)
            self.rows = torch.cat((self.rows, self.X.T.index_select(0, new)))
            self.features = torch.cat((self.features, new))
        return True

    def blocks(self, features: Tensor) -> Iterator[tuple[slice, Tensor]]:
        """Rows in blocks, and in each the columns (q, rows in the block)."""
        n = len(self.X)
        if self.fetch(features):
            yield slice(0, n), self.rows.index_select(0, self.place[features])
            return
        size = max(1, KEPT // len(features))
        for start in range(0, n, size):
            rows = slice(start, min(n, start + size))
            yield rows, self.X[rows].T.index_select(0, features)

    def scores(self, weight: Tensor) -> Tensor:
        """``X @ weight.T`` (n, r) from the columns whose weights are not all zero."""
        features = weight.any(0).nonzero().squeeze(1)  # waits for the device
        if not self.fetch(features):
            return self.X @ weight.T
        used = torch.zeros(weight.shape[0], len(self.features), dtype=weight.dtype).to(weight)
        used[:, self.place[features]] = weight[:, features]
        return (used @ self.rows).T


@dataclass(slots=True, eq=False)
class Curvature:
    """Gauss-Newton matrices of some entries of ``weight`` and of all intercepts.

    For the squared error the matrix does not depend on the parameters: what is known of it is kept
    and only the rows of new columns are computed. Elsewhere products are made in float32, at half
    the cost, until that is seen to slow the steps down: then ``fine`` is set.
    """

    columns: Columns
    batch: Batch
    fine: bool = False
    optimality: float = float("inf")
    seen: int = -1
    gram: Tensor | None = None
    cross: Tensor | None = None

    def refine(self, optimality: float) -> None:
        """Float64 from now on near the end, or if a step on known columns gained under a digit."""
        stuck = self.seen == len(self.columns.features) and optimality > 0.1 * self.optimality
        self.fine |= stuck or optimality < 1e-6
        self.optimality, self.seen = optimality, len(self.columns.features)

    def of(self, closure: Closure, eta: Tensor, entries: Entries) -> Tensor:
        """Matrix of the entries, then the intercept parameters, (m, m), without the penalty."""
        model, loss = closure.objective.model, closure.objective.loss
        R, J = mix_matrix(model), intercept_jacobian(model)
        if loss is squared_error and self.columns.fetch(entries.feature):
            return self._constant(J, entries)
        counts = torch.bincount(entries.row, minlength=R.shape[1]).tolist()
        features, position = torch.unique(entries.feature, return_inverse=True)
        parts = position.split(counts)
        dtype = R.dtype if self.fine else torch.float32
        size = len(position) + J.shape[1]
        matrix = torch.zeros(size, size, dtype=dtype, device=R.device)
        for rows, block in self.columns.blocks(features):
            C = curvatures(loss, eta[rows], self.batch.y[rows])  # (n, k, k)
            C = C * (self.batch.sample_weight[rows] / len(self.batch))[:, None, None]
            columns = [block] if len(parts) == 1 else [block[part] for part in parts]
            columns = [part.to(dtype) for part in columns]
            matrix += _of_block(columns, C.to(dtype), R.to(dtype), J.to(dtype))
        return matrix

    def _constant(self, J: Tensor, entries: Entries) -> Tensor:
        """``2 X' S X / n`` with what is known of it."""
        rows, place = self.columns.rows, self.columns.place
        share = 2 * self.batch.sample_weight / len(self.batch)
        known = 0 if self.gram is None else len(self.gram)
        if self.gram is None or self.cross is None or known > len(rows):  # columns made room
            known, self.gram, self.cross = 0, rows.new_empty(0, 0), rows.new_empty(0)
        if known < len(rows):
            new = (rows[known:] * share) @ rows.T  # (new, all)
            upper = torch.cat((self.gram, new[:, :known].T), dim=1)
            self.gram = torch.cat((upper, new))
            self.cross = torch.cat((self.cross, rows[known:] @ share))
        at = place[entries.feature]
        cross = J * self.cross[at].unsqueeze(1)  # (m, 1) or (m, 0)
        corner = J.T @ J * share.sum()
        matrix = torch.cat((self.gram[at][:, at], cross), dim=1)
        return torch.cat((matrix, torch.cat((cross.T, corner), dim=1)))


def _of_block(columns: list[Tensor], C: Tensor, R: Tensor, J: Tensor) -> Tensor:
    """The matrix of some rows; ``columns[a]`` (q_a, n) are those of row a of ``weight``."""
    CR = C @ R  # (n, k, r)
    A = R.T @ CR  # (n, r, r)
    r, c = A.shape[2], J.shape[1]
    grid: list[list[Tensor]] = [[] for _ in range(r + 1)]
    for a in range(r):
        for b in range(r):
            if b < a:
                grid[a].append(grid[b][a].T)
            elif b == a:
                grid[a].append(_gram(columns[a], A[:, a, a]))
            else:
                grid[a].append((columns[a] * A[:, a, b]) @ columns[b].T)
    for a in range(r):
        cross = columns[a] @ (CR[:, :, a] @ J) if c else columns[a][:, :0]
        grid[a].append(cross)
        grid[r].append(cross.T)
    grid[r].append(J.T @ C.sum(0) @ J)
    return torch.cat([torch.cat(row, dim=1) for row in grid])


def _gram(rows: Tensor, weights: Tensor) -> Tensor:
    """``rows diag(weights) rows'``, (q, q); half the products of a general matrix product."""
    q = len(rows)
    weighted, gram = rows * weights, rows.new_empty(q, q)
    size = max(128, -(-q // 8))
    for i in range(0, q, size):
        strip = weighted[i : i + size] @ rows[i:].T
        gram[i : i + size, i:] = strip
        gram[i:, i : i + size] = strip.T
    return gram


def found_at(closure: Closure, eta: Tensor) -> Found:
    """Value and gradient where ``eta (n, k)`` is known: one pass over ``X``, for ``S' X``."""
    objective, batch = closure.objective, closure.batch
    model, penalty = objective.model, objective.penalty
    if penalty is not None and penalty.needs_rows:
        return evaluate(model, objective.loss, penalty, objective.params, batch)
    losses, by_eta = slopes_at(objective.loss, eta, batch.y)
    value = total(model, penalty, batch, eta, losses, smooth_only=True)
    by_eta = by_eta * (batch.sample_weight / len(batch))[:, None]
    gradient = intercept_jacobian(model).T @ by_eta.sum(0)
    if model.weight.requires_grad:
        by_weight = (by_eta @ mix_matrix(model)).T @ batch.X
        if penalty is not None and penalty.smooth:
            by_weight += penalty.gradient(model.weight)
        gradient = torch.cat((by_weight.flatten(), gradient))
    objective.rows_read += len(batch)
    return Found(value, gradient, eta, losses)


def slopes_at(loss: Loss, eta: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Losses (n,) and their derivatives by ``eta`` (n, k): by formula where there is one."""
    if has_slopes(loss):
        return losses_and_slopes(loss, eta, y)
    with torch.enable_grad():
        leaf = eta.detach().requires_grad_()
        losses = loss(leaf, y)
        (by_eta,) = torch.autograd.grad(losses.sum(), leaf)
    return losses.detach(), by_eta
