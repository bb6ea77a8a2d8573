"""From what the user passed as ``optimizer=`` to an instance that suits the fit."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from torch import nn
from torch.optim import Optimizer

from torchlogreg import distributed
from torchlogreg.objective import Objective
from torchlogreg.optim.requirements import (
    handles_nonsmooth,
    needs_all_ranks,
    needs_full_batch,
)


def resolve(
    optimizer: str | Optimizer | Callable[..., Any],
    objective: Objective,
    batch_size: int | None,
    registry: Mapping[str, Callable[[Iterable[nn.Parameter]], Optimizer]],
) -> Optimizer:
    """An optimizer over exactly the objective's parameters.

    Parameters
    ----------
    optimizer : str, torch.optim.Optimizer, or callable
        A name in ``registry``, an instance, or a factory (a class is one).
    objective : Objective
    batch_size : int or None
    registry : mapping

    Raises
    ------
    ValueError
        If the name is unknown, the parameters are not the model's, or the optimizer cannot
        minimise this objective.
    TypeError
        If it is none of these things.
    """
    instance = _instance(optimizer, objective, registry)
    name, penalty = type(instance).__name__, objective.penalty
    held = {id(p) for group in instance.param_groups for p in group["params"]}
    missing = [i for i, p in enumerate(objective.params) if id(p) not in held]
    if missing:
        raise ValueError(
            f"{name} does not hold all parameters of the {type(objective.model).__name__}; make it "
            f"from model.parameters()"
        )
    if penalty is not None and not penalty.smooth and not handles_nonsmooth(instance):
        raise ValueError(
            f"{name} cannot minimise the non-smooth penalty {penalty!r}; use "
            "ProximalNewton, or SVRG or SAGA for mini-batches"
        )
    ranks = distributed.world_size()
    if ranks > 1 and needs_all_ranks(instance):
        raise ValueError(
            f"{name} works on rows that are spread over {ranks} ranks; use 'newton' or 'lbfgs' "
            "('proximal_newton' under L1, 'svrg' for mini-batches), or one process"
        )
    if ranks > 1 and penalty is not None and penalty.needs_rows:
        raise ValueError(
            f"{type(penalty).__name__} depends on all rows, which are spread over {ranks} ranks; "
            "use L2, or one process"
        )
    if batch_size is not None and penalty is not None and penalty.needs_rows:
        raise ValueError(
            f"{type(penalty).__name__} depends on all rows, and a mini-batch of {batch_size} would "
            "have another penalty; drop batch_size"
        )
    if batch_size is not None and needs_full_batch(instance):
        raise ValueError(
            f"{name} needs all rows in every step; drop batch_size={batch_size}, or use "
            + ("SGD or Adam" if penalty is None or penalty.smooth else "SVRG or SAGA")
        )
    return instance


def _instance(
    optimizer: str | Optimizer | Callable[..., Any],
    objective: Objective,
    registry: Mapping[str, Callable[[Iterable[nn.Parameter]], Optimizer]],
) -> Optimizer:
    if isinstance(optimizer, Optimizer):
        return optimizer
    if isinstance(optimizer, str):
        if optimizer not in registry:
            names = ", ".join(["auto", *sorted(registry)])
            raise ValueError(f"unknown optimizer {optimizer!r}; the names are {names}")
        return registry[optimizer](objective.params)
    made = optimizer(objective.params) if callable(optimizer) else optimizer
    if not isinstance(made, Optimizer):
        raise TypeError(
            f"optimizer= got {type(made).__name__}, but it takes a name, a torch.optim.Optimizer, "
            "or a function from parameters to one"
        )
    return made
