"""What all the tests look at: an objective, its rows, and the names of the columns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from torchlogreg.data import Batch, pieces
from torchlogreg.diagnostics.cone import Floats
from torchlogreg.diagnostics.wording import label, listed
from torchlogreg.models import OrdinalRegression
from torchlogreg.objective import Objective
from torchlogreg.penalties import L1, L2, ElasticNet

MANY = 2**20
"""Entries of ``X`` from which on a Gram matrix is tried first: a QR of them takes long."""
FAR = 0.2
"""Least share of a column's squares that its variance must be, for centring to cost no digit."""
NEARLY = 5e-7
"""Least entry on the diagonal of the triangle: of variance inflations up to 1e12 two digits."""


@dataclass(frozen=True, eq=False)
class Problem:
    """A fit to be looked at.

    Attributes
    ----------
    objective : Objective
    data : Batch
    names : sequence of str, or None
        Of the columns.
    """

    objective: Objective
    data: Batch
    names: Sequence[str] | None = None

    @cached_property
    def has_intercept(self) -> bool:
        """Whether a constant column would say nothing new."""
        model = self.objective.model
        return model.bias is not None or getattr(model, "first", None) is not None

    @cached_property
    def asks_for_rows(self) -> bool:
        """Whether a class's own likelihood is what is maximised, in all parameters."""
        objective = self.objective
        return objective.own_loss and objective.model.n_classes is not None and objective.trains_all

    @cached_property
    def penalised(self) -> bool:
        """Whether a penalty keeps ``weight`` from growing for ever."""
        penalty = self.objective.penalty
        return penalty is not None and penalty.alpha > 0

    @cached_property
    def intercepts_free(self) -> bool:
        """Whether nothing but the likelihood keeps the intercepts from growing for ever.

        Penalties on ``weight`` leave them alone; others (Jeffreys') need not.
        """
        return not self.penalised or isinstance(self.objective.penalty, L1 | L2 | ElasticNet)

    @cached_property
    def unique(self) -> bool:
        """Whether a strictly convex penalty chooses among equally good coefficients."""
        penalty, weight = self.objective.penalty, self.objective.model.weight
        if not isinstance(penalty, L2 | ElasticNet):
            return False
        return bool(penalty.curvature(weight.detach()).min() > 0)

    @cached_property
    def empty_classes(self) -> tuple[int, ...]:
        """Classes to which no row with weight gives a part."""
        y, K = self.data.y, self.objective.model.n_classes
        if K is None or not self.objective.own_loss:
            return ()
        if y.ndim == 1 and y.is_floating_point():
            return ()  # binary: make_data has refused a single class
        present = torch.zeros(K, dtype=torch.int64, device=y.device)
        for part, weight in pieces(y, self.data.sample_weight):
            part = part[weight > 0]
            rows = (part > 0).sum(0) if y.ndim == 2 else torch.bincount(part, minlength=K)
            present += rows
        present = self.data.summed(present) > 0
        return tuple((~present).nonzero().flatten().tolist())

    @cached_property
    def unbounded_classes(self) -> tuple[int, ...]:
        """Empty classes that draw an intercept away for ever."""
        model = self.objective.model
        if not self.empty_classes or not self.has_intercept:
            return ()
        if not self.asks_for_rows or not self.intercepts_free:
            return ()
        if not isinstance(model, OrdinalRegression):
            return self.empty_classes
        last = model.n_classes - 1
        ends = {last} if model.first is None else {0, last}
        free = last > 1 or model.first is not None
        # Inside, the two cutpoints around an empty level meet, at a finite place.
        return tuple(c for c in self.empty_classes if c in ends) if free else ()

    @cached_property
    def all_count(self) -> bool:
        """Whether every row has weight."""
        return self.data.even or float(self.data.sample_weight.amin()) > 0

    @cached_property
    def factor(self) -> Floats | None:
        """Triangle of the columns, centred and of unit length, from their Gram matrix; or None.

        Four passes instead of thirty, none where least squares has made it, and no copy. None for
        few rows, and where a Gram matrix would lose digits that matter: columns that hardly vary,
        or are more than nearly dependent.
        """
        return self._judged[0]

    @property
    def more_than_nearly(self) -> bool:
        """Whether a Gram matrix has said that columns are more than nearly dependent."""
        return self._judged[1]

    @cached_property
    def _judged(self) -> tuple[Floats | None, bool]:
        """These two."""
        X = self.data.X
        few = X.numel() < MANY or X.dtype != torch.float64 or X.device.type != "cpu"
        if (
            few or type(X) is not Tensor or not self.all_count
        ):  # sparse rows have a type of their own
            return None, False
        data = self.data
        if any(float(end) != 1 for end in data.sample_weight.aminmax()):
            data = data.reweighted(data.room().fill_(1.0))
        sums = self.objective.remembered.moments(data)
        matrix, size = sums.gram, sums.gram.diagonal()
        if self.has_intercept:
            matrix = matrix - torch.outer(sums.total, sums.total) / len(X)
        left = matrix.diagonal()
        if not bool((left > FAR * size).all() & torch.isfinite(left).all()):
            return None, False
        scale = left.rsqrt()
        lower, info = torch.linalg.cholesky_ex(matrix * scale[:, None] * scale)
        sound = int(info) == 0 and float(lower.diagonal().min()) > NEARLY
        return np.asarray(lower.T.contiguous()) if sound else None, not sound

    def rows(self) -> Tensor:
        """Rows with weight, float64, on the CPU."""
        X = self.data.X if self.all_count else self.data.X[self.data.sample_weight > 0]
        return X.cpu().double()

    def label(self, column: int) -> str:
        """Name or number of a column."""
        return label(column, self.names)

    def listed(self, columns: Sequence[int]) -> str:
        """Names or numbers of some columns."""
        return listed(columns, self.names)
