"""The objective on a plane through parameter space, all grid points at once.

Parameters enter ``eta`` as ``mix(X @ weight.T) + intercepts``, so that on a plane the scores are
``S0 + a S1 + b S2`` with three products, whatever the model.
"""

from __future__ import annotations

import torch
from torch import Tensor

from torchlogreg.base import Model
from torchlogreg.data import Batch
from torchlogreg.models import OrdinalRegression
from torchlogreg.objective import Objective

MOST_VALUES = 2**21
"""Entries of ``eta`` computed at once: bounds temporaries."""


def flat_params(model: Model) -> Tensor:
    """All parameters, detached, (P,)."""
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def param_names(model: Model, features: tuple[str, ...]) -> list[str]:
    """A name for each entry of ``flat_params``."""
    names = []
    for name, p in model.named_parameters():
        if name == "weight":
            rows = [""] if p.shape[0] == 1 else [f", row {r}" for r in range(p.shape[0])]
            names += [f"weight of {feature}{row}" for row in rows for feature in features]
        else:
            size = p.numel()
            names += [name] if size == 1 else [f"{name}[{j}]" for j in range(size)]
    return names


@torch.no_grad()
def objective_on(
    objective: Objective, data: Batch, origin: Tensor, directions: Tensor, places: Tensor
) -> Tensor:
    """The objective at ``origin + places @ directions``.

    Parameters
    ----------
    objective : Objective
    data : Batch
    origin : Tensor, shape (P,)
    directions : Tensor, shape (2, P)
    places : Tensor, shape (g, 2)

    Returns
    -------
    Tensor, shape (g,)
    """
    model, penalty = objective.model, objective.penalty
    weights, rest = zip(*(_parts(model, v) for v in (origin, *directions)), strict=True)
    scores = [data.X @ weight.T for weight in weights]  # three of (m, r)
    if data.offset is not None:
        scores[0] = scores[0] + data.offset.reshape(len(data), -1)
    values = []
    size = max(1, MOST_VALUES // scores[0].numel())
    for part in torch.split(places, size):
        a, b = part[:, 0, None, None], part[:, 1, None, None]
        mixed = model.mix((scores[0] + a * scores[1] + b * scores[2]).flatten(0, 1))
        eta = mixed.view(len(part), len(data), -1)
        moved = rest[0] + part[:, :1] * rest[1] + part[:, 1:] * rest[2]
        eta = eta + _intercepts(model, moved)[:, None, :]  # (g, m, k)
        y = data.y.repeat(len(part), *[1] * (data.y.ndim - 1))
        losses = objective.loss(eta.flatten(0, 1), y).view(len(part), len(data))
        values.append(losses @ data.sample_weight / data.sample_weight.sum())
        if penalty is not None and penalty.needs_rows:
            values[-1] += torch.stack([penalty.value_on(model, data, at) for at in eta])
    return torch.cat(values) + _penalty(objective, weights, places)


def eta_at(model: Model, params: Tensor, X: Tensor) -> Tensor:
    """Scores (m, k) of rows (m, p) at parameters (P,) that the model had once; no offset."""
    weight, rest = _parts(model, params)
    return model.mix(X @ weight.T) + _intercepts(model, rest.unsqueeze(0))


def weights_of(model: Model, params: Tensor) -> Tensor:
    """The entries of ``weight`` of parameter vectors (..., P), (..., r * p)."""
    before, after = _place_of_weight(model)
    return params[..., before:after]


def _place_of_weight(model: Model) -> tuple[int, int]:
    """Where ``weight`` begins and ends in ``flat_params``."""
    before = 0
    for p in model.parameters():
        if p is model.weight:
            break
        before += p.numel()
    return before, before + model.weight.numel()


def _parts(model: Model, flat: Tensor) -> tuple[Tensor, Tensor]:
    """``weight (r, p)``, and the other entries in the order of the parameters."""
    before, after = _place_of_weight(model)
    weight = flat[before:after].view(model.weight.shape)
    return weight, torch.cat((flat[:before], flat[after:]))


def _intercepts(model: Model, rest: Tensor) -> Tensor:
    """``model.intercepts()`` at many values of its parameters: (g, c) -> (g, k)."""
    if isinstance(model, OrdinalRegression):
        first = rest[:, :1] if model.first is not None else rest.new_zeros(len(rest), 1)
        gaps = rest[:, first.shape[1] if model.first is not None else 0 :]
        rises = torch.nn.functional.softplus(gaps).cumsum(1)
        return torch.cat((first, first + rises), dim=1)
    if model.bias is None:
        rest = rest.new_zeros(len(rest), model.weight.shape[0])
    return model.mix(rest)


def _penalty(objective: Objective, weights: tuple[Tensor, ...], places: Tensor) -> Tensor:
    """The separable penalty at every place; on a plane of two coefficients from its two margins."""
    penalty = objective.penalty
    if penalty is None or penalty.needs_rows:
        return places.new_zeros(len(places))
    origin, first, second = weights
    if int((first != 0).sum()) > 1 or int((second != 0).sum()) > 1:
        points = [origin + a * first + b * second for a, b in places]
        return torch.stack([penalty.value(w) for w in points])
    total = penalty.value(origin).expand(len(places))
    for column, direction in enumerate((first, second)):  # penalties are sums over entries
        entry = direction[direction != 0]
        before = origin[direction != 0]
        if len(entry):
            margin, index = torch.unique(places[:, column], return_inverse=True)
            values = [penalty.value(w) for w in (before + margin[:, None] * entry).unbind()]
            total = total + (torch.stack(values) - penalty.value(before))[index]
    return total
