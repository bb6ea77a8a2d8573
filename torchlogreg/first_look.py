"""The first look at ``X``, which a fit that reads all rows at once may leave to its first pass.

Whether a million rows by a hundred columns are finite takes as long to see as a third of a fit; the
squares that tell are summed by the way in the pass that it makes anyway. Nobody notices: before an
error is raised, the parameters are what they were.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch

from torchlogreg.data import Batch
from torchlogreg.finite import NotFiniteError
from torchlogreg.inputs import examined
from torchlogreg.objective import Objective
from torchlogreg.optim import Choice
from torchlogreg.sparse import is_sparse

READ_ALL = ("subsampled_newton", "least_squares")
"""Optimizers whose first passes over all rows are compiled ones, and see the squares."""

READ_ONE = "proximal_newton"
"""The same where there is one column of scores."""


def first_look(
    objective: Objective, data: Batch, X: Any, choice: Choice | None
) -> tuple[Batch, AbstractContextManager[None]]:
    """The rows, looked at now or in the body of a context.

    Parameters
    ----------
    objective : Objective
    data : Batch
        Dense rows without ``squares`` were not looked at.
    X : array or frame
        What the user gave: a frame has names.
    choice : Choice or None

    Raises
    ------
    NotFiniteError
        If an entry is not finite; from the context where that looks.
    """
    if data.squares is not None or is_sparse(data.X):
        return data, nullcontext()
    name = "" if choice is None or data.total is not None else choice.name
    weight = objective.model.weight
    single = len(weight) == 1 and weight.requires_grad
    if name in READ_ALL or (name == READ_ONE and single):
        return data, _looking(objective, data, X)
    return examined(data, X), nullcontext()


@contextmanager
def _looking(objective: Objective, data: Batch, X: Any) -> Iterator[None]:
    """All rows are seen before the end; if one is not finite, nothing was changed."""
    remembered, start = objective.remembered, [p.detach().clone() for p in objective.params]
    remembered.unseen = data.X
    try:
        yield
        if remembered.unseen is not None:  # interrupted before the first pass
            objective.units(data)
    except NotFiniteError as error:
        with torch.no_grad():
            for p, value in zip(objective.params, start, strict=True):
                p.copy_(value)
        raise error.within(X) from None
