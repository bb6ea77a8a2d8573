"""What softmax leaves open: a common shift of all classes, and steps that have none.

Without a reference class a number added to the scores of all classes changes nothing, so that the
Hessian ``H`` is singular: for the intercepts always, for the weights of a column where nothing
penalises them. That null space is known, and no eigenvectors need be asked for it. With ``d`` the
diagonal entries of one column (or of the intercepts), one for each class,

    H + sum over columns of  d d' / sum(d)

is invertible if the rows allow it, its diagonal is at most doubled, and for a gradient that sums to
zero over the classes it gives a solution of ``H x = g``: the minimum-norm one has its mean over the
classes taken off.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from torchlogreg.losses import categorical_nll
from torchlogreg.models import SoftmaxRegression
from torchlogreg.objective import Objective
from torchlogreg.penalties import L2


class Shifts:
    """The parameters of which all classes have one, and nothing but the likelihood a say.

    Parameters
    ----------
    starts : list of (int, int, int)
        For each group: its first entry in the flat parameters, classes, columns.
    """

    def __init__(self, starts: list[tuple[int, int, int]]) -> None:
        self._starts = starts

    @classmethod
    def of(cls, objective: Objective) -> Shifts | None:
        """None where there are none, or where this is not known."""
        model, penalty = objective.model, objective.penalty
        if type(model) is not SoftmaxRegression or objective.loss is not categorical_nll:
            return None
        if model.reference or not (penalty is None or type(penalty) is L2):
            return None
        (K, p), start, groups = model.weight.shape, 0, []
        if model.weight.requires_grad:
            start = K * p
            if penalty is None or penalty.alpha == 0:
                groups.append((0, K, p))
        if model.bias is not None and model.bias.requires_grad:
            groups.append((start, K, 1))
        return cls(groups) if groups else None

    def anchored(self, matrix: Tensor) -> Tensor:
        """``matrix`` (P, P) with the shifts made visible, in place."""
        for start, K, p in self._starts:
            size = K * p
            part = matrix[start : start + size, start : start + size]
            own = part.diagonal().view(K, p)
            total = own.sum(0)
            share = own / torch.where(total > 0, total, 1.0)
            # Entries (a, j), (b, j) for all columns j at once.
            same = part.view(K, p, K, p).diagonal(dim1=1, dim2=3)  # (K, K, p)
            same += own.unsqueeze(1) * share.unsqueeze(0)
        return matrix

    def within(self, solve: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
        """Solutions (P,) without their shifts."""
        return lambda vector: self.centred(solve(vector))

    def centred(self, step: Tensor) -> Tensor:
        """``step`` (P,) without its shift, in place."""
        for start, K, p in self._starts:
            part = step[start : start + K * p].view(K, p)
            part -= part.mean(0)
        return step
