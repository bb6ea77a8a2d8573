"""Settings of fit(): checked before anything is touched."""

from __future__ import annotations

import math
from collections.abc import Iterable
from numbers import Integral, Real
from typing import Any

import torch

from torchlogreg.base import Model
from torchlogreg.combinators import Rule, as_weighting
from torchlogreg.penalties import Penalty
from torchlogreg.state import Hook
from torchlogreg.weighting import Uniform, Weighting


def checked_model(model: Any) -> Model:
    """The model itself, where ``torch.compile`` has wrapped it: its parameters are the same.

    Raises
    ------
    TypeError
        If it is none of ours.
    RuntimeError
        Within ``torch.inference_mode()``, where no parameter can be trained.
    """
    if torch.is_inference_mode_enabled():
        raise RuntimeError(
            "fit was called within torch.inference_mode(), which lets no parameter change; call it "
            "outside, or use torch.no_grad()"
        )
    model = getattr(model, "_orig_mod", model)
    if not isinstance(model, Model):
        raise TypeError(f"model is a {type(model).__name__}, but fit trains a torchlogreg Model")
    return model


def check_numbers(batch_size: Any, max_epochs: Any, tol: Any) -> None:
    """Whole numbers from one on, and a tolerance.

    Raises
    ------
    ValueError
        Naming the setting.
    """
    for name, count in (("batch_size", batch_size), ("max_epochs", max_epochs)):
        if name == "batch_size" and count is None:
            continue
        if not isinstance(count, Integral) or isinstance(count, bool) or count < 1:
            raise ValueError(f"{name} is {count!r}, but it is a whole number from 1 on")
    if not isinstance(tol, Real) or not 0 <= float(tol) < math.inf:
        raise ValueError(f"tol is {tol!r}, but it is a number >= 0; 0 runs all epochs")


def check_parts(penalty: Any, loss: Any, scheduler: Any, generator: Any) -> None:
    """Objects of the right kind.

    Raises
    ------
    TypeError
        Naming the argument and what it takes.
    """
    if penalty is not None and not isinstance(penalty, Penalty):
        raise TypeError(f"penalty= got {penalty!r}, but it takes a Penalty, such as L2(0.1)")
    if loss is not None and not callable(loss):
        raise TypeError(f"loss= got {loss!r}, but it takes a function of eta and y")
    if scheduler is not None and not callable(scheduler):
        raise TypeError(
            f"scheduler= got {scheduler!r}, but it takes a function from the optimizer to a "
            "scheduler, such as lambda o: StepLR(o, 10)"
        )
    if generator is not None and not isinstance(generator, torch.Generator):
        raise TypeError(f"generator= got {generator!r}, but it takes a torch.Generator")


def checked_hooks(hooks: Iterable[Hook] | None) -> tuple[Hook, ...]:
    """The hooks as a tuple.

    Raises
    ------
    TypeError
        If they are no sequence of hooks.
    """
    if hooks is None:
        return ()
    if isinstance(hooks, Hook) or not isinstance(hooks, Iterable):
        raise TypeError(f"hooks= got a {type(hooks).__name__}, but it takes a list of hooks")
    hooks = tuple(hooks)
    for hook in hooks:
        if not isinstance(hook, Hook):
            raise TypeError(f"hooks= got {hook!r}, but it takes instances of Hook")
    return hooks


def weighting_for(model: Model, weighting: Weighting | Rule | None) -> Weighting:
    """The weighting, Uniform for none.

    Raises
    ------
    TypeError
        If it is neither a weighting nor a function.
    ValueError
        If it speaks of classes and the model has none.
    """
    if weighting is None:
        return Uniform()
    weighting = as_weighting(weighting)
    if weighting.needs_classes and model.n_classes is None:
        raise ValueError(
            f"{type(weighting).__name__} weighs by class, but {type(model).__name__} predicts a "
            "number; use Uniform or a function of the Snapshot"
        )
    return weighting
