"""partial_fit: rows that come in chunks, each seen once and forgotten."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from torchlogreg.base import Model
from torchlogreg.estimators.rescaled import columns_of, fold_, on_raw_columns, unfold_
from torchlogreg.estimators.training import Settings, any_labels, has_intercept, recorder_of
from torchlogreg.fit import FitResult, fit
from torchlogreg.history import History
from torchlogreg.objective import Objective
from torchlogreg.optim import AUTO, OPTIMIZERS, resolve
from torchlogreg.scaling import Standardizer
from torchlogreg.sparse import is_sparse
from torchlogreg.state import FitState, Hook
from torchlogreg.tensors import as_tensor

BATCH = 32
"""Rows a step where nothing is said: few, so that one pass makes many steps."""


@dataclass(slots=True, eq=False)
class Online:
    """A model in the making, between two chunks.

    Attributes
    ----------
    model : Model
        Of columns standardised as those of the first chunk.
    optimizer : torch.optim.Optimizer
        With what it remembers.
    columns : Standardizer
    rates : list of float, or None
        Learning rates of the first chunk, which shrink with the root of the number of chunks; None
        where the caller chose the optimizer, and with it the rates.
    average : Averaged
    n_chunks : int
    """

    model: Model
    optimizer: Optimizer
    columns: Standardizer
    rates: list[float] | None
    average: Averaged
    n_chunks: int = 0


class Averaged(Hook):
    """The mean of all steps so far, later ones counting more: step ``t`` counts ``t`` times.

    Single steps circle the optimum at a distance; their mean does not (Polyak and Juditsky, 1992).

    Parameters
    ----------
    model : Model
        Where the steps begin.
    """

    def __init__(self, model: Model) -> None:
        self.model, self.n_steps = copy.deepcopy(model), 0

    @torch.no_grad()
    def on_step_end(self, state: FitState) -> None:
        """Take one more in."""
        self.n_steps += 1
        for mean, p in zip(self.model.parameters(), state.model.parameters(), strict=True):
            mean.lerp_(p, 2 / (self.n_steps + 1))


def begin(model: Model, X: Tensor, settings: Settings, sample_weight: Any) -> Online:
    """Ready for the first chunk.

    Parameters
    ----------
    model : Model
        Of raw columns, where it starts from; taken over.
    X : Tensor, shape (n, p)
        The first chunk.
    settings : Settings
    sample_weight : array, shape (n,), or None
    """
    weight = None if sample_weight is None else as_tensor(sample_weight, "sample_weight", X.device)
    columns = columns_of(
        X,
        weight,
        model.weight.dtype,
        centre=has_intercept(model) and not is_sparse(X),
        penalised=settings.penalty is not None and not settings.penalty.needs_rows,
    )
    unfold_(model, columns)
    chosen = settings.optimizer is None or settings.optimizer == AUTO
    smooth = settings.penalty is None or settings.penalty.smooth
    wanted = ("adam" if smooth else "svrg") if chosen else settings.optimizer
    penalty = on_raw_columns(settings.penalty, columns.scale.to(model.weight))
    size = settings.batch_size or BATCH
    optimizer = resolve(wanted or AUTO, Objective(model, penalty=penalty), size, OPTIMIZERS)
    rates = [group["lr"] for group in optimizer.param_groups] if chosen and smooth else None
    return Online(model, optimizer, columns, rates, Averaged(model))


def learn(
    online: Online, X: Tensor, y: Tensor, settings: Settings, *, sample_weight: Any, offset: Any
) -> tuple[Model, FitResult, History]:
    """One pass over a chunk.

    1. Scale the columns as those of the first chunk; shorten the steps.
    2. Step through the chunk in small batches, once.
    3. The mean of all steps, folded back to raw columns, is what the estimator publishes.

    Parameters
    ----------
    online : Online
        Changed.
    X : Tensor, shape (n, p)
    y : Tensor, shape (n,)
        May be of one class only.
    settings : Settings
    sample_weight, offset : array, shape (n,), or None
        Weights are relative to the others of the chunk.

    Returns
    -------
    model : Model
        Of raw columns.
    result : FitResult
    history : History
        Of this chunk.
    """
    model, columns = online.model, online.columns
    rows = columns.transform(X.to(torch.promote_types(X.dtype, model.weight.dtype)))  # 1
    online.n_chunks += 1
    for group, rate in zip(online.optimizer.param_groups, online.rates or (), strict=False):
        group["lr"] = rate / online.n_chunks**0.5
    recorder = recorder_of(model, replace(settings, max_epochs=1), columns)
    result = fit(  # 2
        model,
        rows,
        model.target(y.to(model.weight.device)),
        optimizer=online.optimizer,
        loss=any_labels(model),
        penalty=on_raw_columns(settings.penalty, columns.scale.to(model.weight)),
        weighting=settings.weighting,
        sample_weight=sample_weight,
        offset=offset,
        batch_size=settings.batch_size or BATCH,
        max_epochs=1,
        tol=0,
        hooks=(recorder, online.average, *settings.hooks),
        generator=settings.generator,
    )
    raw = copy.deepcopy(online.average.model)  # 3
    fold_(raw, columns)
    return raw, result, recorder.history
