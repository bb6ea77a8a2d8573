"""Rows on their own side: parameters that certify complete separation."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from torchlogreg.data import of_pieces
from torchlogreg.diagnostics.problem import Problem
from torchlogreg.models import OrdinalRegression
from torchlogreg.sparse import is_sparse

BLOCK = 2**22
"""Entries of ``X`` looked at together."""

SOME = 500
"""Rows, every so many, that are asked first: of a fit that does not tell all apart one is enough,
and all rows cost a pass where nobody kept their losses."""


def told_apart(problem: Problem) -> bool:
    """Whether the current parameters certify complete separation of unpenalised classes.

    If every row that counts lies strictly on its own side, multiplying all parameters by a number
    above one lowers every loss: no finite optimum exists (Albert and Anderson, 1984). False
    otherwise, which does not exclude separation; ``diagnostics.separation`` decides.
    """
    data = problem.data
    if problem.penalised or not problem.asks_for_rows or data.y.ndim == 2:
        return False
    with torch.no_grad():
        return _told_apart(problem)


def _told_apart(problem: Problem) -> bool:
    """The same, where it is a question."""
    objective, data, model = problem.objective, problem.data, problem.objective.model
    by_losses = data.offset is None and not isinstance(model, OrdinalRegression)
    # On its own side a row's class is the likeliest: cheap to refute where one is far from it.
    likely = math.log(model.n_classes or 2) + 1e-6
    if by_losses and data.total is None and len(data) > 2 * SOME and not is_sparse(data.X):
        step = len(data) // SOME
        few, weight = data.X[::step], data.sample_weight[::step]
        if bool(((objective.loss(model(few), data.y[::step]) > likely) & (weight > 0)).any()):
            return False
    eta, losses = objective.rows(data)
    if by_losses:
        wrong = of_pieces(
            lambda x, w: torch.dot((x > likely).to(x), w), losses, data.sample_weight
        ).sum()
        if bool(data.largest(wrong) > 0):
            return False
    inside, size = True, data.block_size(BLOCK)
    for i, block in enumerate(data.strips(size)):
        # Without the offset, which would not grow with the parameters.
        own = eta[i * size : (i + 1) * size] if data.offset is None else model(block.X)
        margins = class_margins(own, block.y, model.n_classes or 0)
        inside = bool((margins[block.sample_weight > 0] > 0).all())
        if not inside:
            break
    return inside if data.total is None else bool(data.least(torch.tensor(int(inside))))


def class_margins(eta: Tensor, y: Tensor, n_classes: int) -> Tensor:
    """How far each row is inside the region of its own class, (n,); negative outside.

    Soft binary targets have no side, and count as outside.
    """
    k = eta.shape[1]
    if k == 1 and n_classes == 2 and y.is_floating_point():  # binary
        side = torch.where(y == 1, 1.0, torch.where(y == 0, -1.0, 0.0))
        return side * eta.squeeze(1)
    own = torch.nn.functional.one_hot(y, n_classes).bool()
    if k == n_classes:  # softmax
        rival = eta.masked_fill(own, -torch.inf).max(dim=1).values
        return eta.gather(1, y.unsqueeze(1)).squeeze(1) - rival
    below = torch.cat((eta.new_full((len(eta), 1), -torch.inf), eta), dim=1)  # ordinal
    above = torch.cat((eta, eta.new_full((len(eta), 1), torch.inf)), dim=1)
    index = y.unsqueeze(1)
    return torch.minimum(-below.gather(1, index), above.gather(1, index)).squeeze(1)
