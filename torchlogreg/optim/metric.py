"""The curvature of a working set, frozen: the metric in which proximal Newton steps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from torchlogreg.closed_form import curvatures
from torchlogreg.curvature import intercept_jacobian, mix_matrix
from torchlogreg.data import Batch
from torchlogreg.losses import Loss, squared_error
from torchlogreg.objective import Closure
from torchlogreg.optim.working_set import Columns, Entries
from torchlogreg.pages import Growing


@dataclass(slots=True, eq=False)
class Metric:
    """Gauss-Newton matrices of some entries of ``weight`` and of all intercepts, in units.

    The weights of the rows are those of the place where the metric was frozen: gradients are exact
    elsewhere too, so that a metric of yesterday costs steps, never digits, and a Gram matrix grows
    by the rows of new columns alone. Made in float32, at half the cost, until that is seen to slow
    the steps down: then ``fine`` is set.

    Attributes
    ----------
    columns : Columns
    batch : Batch
    unit : Tensor, shape (p,)
        Units of the columns: no product of theirs overflows in float32.
    fine, slow : bool
    age : int
        Steps since it was frozen; of the squared error, whose curvature is constant, 0 for ever.
    scale : float
        Factor of the matrices.
    left : float
        Largest violation before the last step that read all rows.
    sweeps : bool
        Whether coordinate descent has always ended.
    """

    columns: Columns
    batch: Batch
    unit: Tensor
    fine: bool = False
    slow: bool = False
    age: int = 0
    scale: float = 1.0
    left: float = float("inf")
    sweeps: bool = True
    C: Tensor | None = None  # (n, k, k), with the weights of the rows
    products: Products | None = None

    def freeze(self, *, slow: bool) -> None:
        """Forget all products: the next ones are made where the parameters are then.

        Two steps that were ``slow`` in a new metric, or one if it is constant, make it fine.
        """
        self.fine |= slow and (self.slow or self.age == 0)
        self.slow |= slow
        self.C = self.products = None
        self.age, self.scale = 0, 1.0

    def of(self, closure: Closure, eta: Tensor, entries: Entries) -> Tensor:
        """Matrix of the entries, then the intercept parameters, (m, m), without the penalty."""
        objective, batch = closure.objective, self.batch
        R, J = mix_matrix(objective.model), intercept_jacobian(objective.model)
        dtype = self.unit.dtype if self.fine else torch.float32
        R, J = R.to(dtype), J.to(dtype)
        weigh = partial(_weighted, objective.loss, batch.n)
        parts = eta, batch.y, batch.sample_weight
        if not self.columns.fetch(entries.feature):  # its rows are without end: nothing is kept
            matrix = self._anew(lambda rows: weigh(*(t[rows] for t in parts)), R, J, entries)
        else:
            self.C = batch.each(weigh, *parts) if self.C is None else self.C
            if R.shape[1] == 1:
                matrix = self._grown(self.C.to(dtype), R, J, entries)
            else:
                matrix = self._anew(self.C.__getitem__, R, J, entries)
        matrix = batch.summed(matrix)
        self.age += objective.loss is not squared_error
        return matrix.to(self.unit.dtype).mul_(self.scale)

    def learn(self, bent: float, expected: float) -> None:
        """The curvature met along a step, and what the metric had said of it.

        Where the weights of all rows have changed alike, as they do on the way from zero, nothing
        is wrong with an old metric but its scale.
        """
        if self.age and expected > 0 and bent > 0:
            self.scale = min(4.0, max(0.1, self.scale * bent / expected))

    @property
    def eps(self) -> float:
        """Relative rounding of the matrices."""
        return torch.finfo(self.unit.dtype if self.fine else torch.float32).eps

    def _grown(self, C: Tensor, R: Tensor, J: Tensor, entries: Entries) -> Tensor:
        """From what is known, and the products of new columns."""
        CR = (C @ R).squeeze(2)  # (n, k)
        if self.products is None or self.products.gram.dtype != C.dtype:
            self.products = Products(self.columns, self.unit, C)
        products = self.products
        new = entries.feature[products.place[entries.feature] < 0]
        if len(new):
            products.add(new, CR, CR @ R.squeeze(1))
        at = products.place[entries.feature]
        cross = products.cross[at] @ J
        inner = products.gram.index_select(0, at).index_select(1, at)
        matrix = torch.cat((inner, cross), dim=1)
        return torch.cat((matrix, torch.cat((cross.T, J.T @ C.sum(0) @ J), dim=1)))

    def _anew(self, C: Callable[[slice], Tensor], R: Tensor, J: Tensor, entries: Entries) -> Tensor:
        """For several rows of ``weight``, or more columns than are kept, in blocks of rows."""
        counts = torch.bincount(entries.row, minlength=R.shape[1]).tolist()
        features, position = torch.unique(entries.feature, return_inverse=True)
        parts, unit = position.split(counts), self.unit[features].unsqueeze(1)
        matrix = R.new_zeros(len(position) + J.shape[1], len(position) + J.shape[1])
        for rows, block in self.columns.blocks(features, beside=R.shape[0] ** 2):
            scaled = (block / unit).to(R.dtype)
            each = [scaled] if len(parts) == 1 else [scaled[part] for part in parts]
            matrix += _of_block(each, C(rows).to(R.dtype), R, J)
        return matrix


def _weighted(loss: Loss, n: int, eta: Tensor, y: Tensor, sample_weight: Tensor) -> Tensor:
    """Curvatures of rows by eta under their weights, (m, k, k)."""
    return curvatures(loss, eta, y) * (sample_weight / n)[:, None, None]


class Products:
    """Columns in units, and what their products are under some weights of the rows.

    Parameters
    ----------
    columns : Columns
        Where they are kept.
    unit : Tensor, shape (p,)
    C : Tensor, shape (n, k, k)
        The weights; their dtype is that of the products.
    """

    def __init__(self, columns: Columns, unit: Tensor, C: Tensor) -> None:
        self.columns = columns
        self.unit = unit
        self.place = torch.full_like(columns.place, -1)  # of a feature in the products, or -1
        self.tame = bool(((unit > 1e-30) & (unit < 1e30)).all())
        kept = columns.kept
        self.scaled = Growing(kept.width, kept.most, C.dtype, C.device)
        self.gram, self.cross = C.new_empty(0, 0), C.new_empty(0, C.shape[1])

    def add(self, features: Tensor, CR: Tensor, weights: Tensor) -> None:
        """Products of more columns with one another and with all before.

        ``CR`` (n, k) leads from a score to the slopes by eta, ``weights`` (n,) to that by itself.
        """
        known, features = len(self.gram), self.columns.in_order(features)
        self.place[features] = torch.arange(known, known + len(features), device=features.device)
        unit = self.unit[features].unsqueeze(1)
        found, old = self.columns.of(features), self.scaled.rows
        fresh = self.scaled.more(len(features))
        if self.tame:
            torch.mul(found.to(fresh), unit.reciprocal().to(fresh), out=fresh)
        else:  # what a narrower dtype could not hold
            fresh.copy_(found / unit)
        weighted = fresh * weights
        grown = fresh.new_empty(known + len(fresh), known + len(fresh))
        grown[:known, :known] = self.gram
        grown[known:, known:] = gram(fresh, weighted)
        side = weighted @ old.T
        grown[known:, :known], grown[:known, known:] = side, side.T
        self.gram, self.cross = grown, torch.cat((self.cross, fresh @ CR))


def gram(rows: Tensor, weighted: Tensor) -> Tensor:
    """``weighted rows'``, known to be symmetric, (q, q): half the products of a general one."""
    q = len(rows)
    product = rows.new_empty(q, q)
    size = max(128, -(-q // 8))
    for i in range(0, q, size):
        strip = weighted[i : i + size] @ rows[i:].T
        product[i : i + size, i:] = strip
        product[i:, i : i + size] = strip.T
    return product


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
                grid[a].append(gram(columns[a], columns[a] * A[:, a, a]))
            else:
                grid[a].append((columns[a] * A[:, a, b]) @ columns[b].T)
    for a in range(r):
        cross = columns[a] @ (CR[:, :, a] @ J) if c else columns[a][:, :0]
        grid[a].append(cross)
        grid[r].append(cross.T)
    grid[r].append(J.T @ C.sum(0) @ J)
    return torch.cat([torch.cat(row, dim=1) for row in grid])
