"""Units of the data, so that the test for an optimum does not depend on them."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from torchlogreg.data import Batch
from torchlogreg.few_rows import FewRows
from torchlogreg.sparse import is_sparse

BLOCK = 2**17
"""Entries of ``X`` squared at once: in the cache, and summed by a product, twice as fast."""


class Units(NamedTuple):
    """What partial derivatives are measured in.

    Attributes
    ----------
    columns : Tensor, shape (p,), float64 (float32 on a device without it)
        Root mean square of every column; 1 for a column of zeros.
    response : Tensor, scalar
        Standard deviation of a numeric response, else 1.
    """

    columns: Tensor
    response: Tensor

    @classmethod
    def of(cls, data: Batch, *, numeric: bool) -> Units:
        """At most one pass over the rows.

        Parameters
        ----------
        data : Batch
        numeric : bool
            Whether the response is a number with a unit of its own.
        """
        squares = sums_of_squares(data.X) if data.squares is None else data.squares
        columns = (data.summed(squares) / data.n).sqrt_()
        response = columns.new_ones(())
        if numeric and data.n > 1:
            spread = _spread(data, data.y.to(columns.dtype))
            response = torch.where(spread > 0, spread, response)
        return cls(torch.where(columns > 0, columns, 1.0), response)

    @classmethod
    def of_few(cls, few: FewRows) -> Units:
        """The same of few rows and labels: nothing is left to be computed."""
        sizes = few.sizes
        return cls(sizes[:-1], sizes.new_ones(()))

    def of_partials(self, params: list[nn.Parameter], weight: nn.Parameter) -> Tensor:
        """Units of the partial derivatives by ``params``, (P,): intercepts have the response's."""
        parts = [
            self.columns.expand(p.shape) if p is weight else self.columns.new_ones(p.shape)
            for p in params
        ]
        return torch.cat([part.flatten() for part in parts]) * self.response


def _spread(data: Batch, y: Tensor) -> Tensor:
    """Standard deviation of the response over the rows of all ranks."""
    if data.total is None:
        return y.std()
    mean = data.summed(y.sum()) / data.total
    return (data.summed((y - mean).square().sum()) / (data.total - 1)).sqrt()


@torch.no_grad()
def sums_of_squares(X: Tensor, sample_weight: Tensor | None = None) -> Tensor:
    """Of the columns of ``X`` (n, p), in one pass; not finite where an entry is not.

    Of the rows with weight alone, where weights (n,) are given: others may hold what they like.
    In double precision (single on a device without it), since 1e30 squared overflows float32.
    """
    wide = torch.float32 if X.device.type == "mps" else torch.float64
    squares = torch.zeros(X.shape[1], dtype=wide, device=X.device)
    size = len(X) if is_sparse(X) else max(1, BLOCK // X.shape[1])
    for start in range(0, len(X), size):
        rows = X[start : start + size]
        if sample_weight is not None:
            rows = rows[sample_weight[start : start + size] > 0]
        square = rows.to(wide).square()
        squares += square.new_ones(len(square)) @ square
    return squares
