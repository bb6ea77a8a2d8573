"""The strength of L1 from which on all of ``weight`` is zero: where a path of penalties begins."""

from __future__ import annotations

import copy
from typing import Any

import torch

from torchlogreg.base import Model
from torchlogreg.inputs import make_data
from torchlogreg.objective import Objective
from torchlogreg.optim.newton import Newton


def alpha_max(
    model: Model,
    X: Any,
    y: Any,
    *,
    l1_ratio: float = 1.0,
    sample_weight: Any = None,
    offset: Any = None,
) -> float:
    """Smallest ``alpha`` of ``L1`` or ``ElasticNet`` whose optimum is ``weight = 0``.

    The intercepts are fitted alone; the largest derivative by ``weight`` there, over ``l1_ratio``,
    is what a kink must hold back.

    Parameters
    ----------
    model : Model
        Left as it is.
    X : array, shape (n, p)
    y : array, shape (n,) or (n, K)
    l1_ratio : float
        In (0, 1]; 1 is L1.
    sample_weight, offset : array, optional
        As in ``fit``.

    Raises
    ------
    ValueError
        If ``l1_ratio`` is out of range, or the input cannot be fitted.
    """
    if not 0 < l1_ratio <= 1:
        raise ValueError(f"l1_ratio is {l1_ratio!r}, but without a share of L1 nothing is zero")
    model = copy.deepcopy(model)
    with torch.no_grad():
        model.weight.zero_()
    data = make_data(model, X, y, sample_weight=sample_weight, offset=offset, own_target=True)
    model.weight.requires_grad_(False)
    if any(p.requires_grad for p in model.parameters()):
        alone = Objective(model)
        newton = Newton(alone.params)
        for _ in range(100):
            before = alone.value(data)
            newton.step(alone.closure(data, data))
            if bool(before - alone.value(data) <= alone.closure(data, data).rounding(before)):
                break
    model.weight.requires_grad_(True)
    gradient = Objective(model).closure(data, data).gradient()
    return float(gradient[: model.weight.numel()].abs().max()) / l1_ratio
