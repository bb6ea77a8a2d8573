"""Weightings made of weightings: smoothed, multiplied, or given as a plain function."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from torchlogreg.sample_weights import checked_weights, mean_one
from torchlogreg.weighting import Snapshot, Weighting


class Smoothed(Weighting):
    """Another weighting, followed slowly: ``previous + rate * (new - previous)``.

    Weights that jump make second-order optimizers chase a moving target (Newton under ``Focal``
    crawls); averaged, they settle and the fit converges.

    Parameters
    ----------
    weighting : Weighting
    rate : float
        In (0, 1]; 1 follows at once.

    Raises
    ------
    ValueError
        If ``rate`` is not in (0, 1].
    """

    def __init__(self, weighting: Weighting, rate: float = 0.5) -> None:
        if not 0 < rate <= 1:
            raise ValueError(f"rate is {rate}, but it lies in (0, 1]: 1 follows at once")
        self.weighting = weighting
        self.rate = float(rate)
        self.needs_classes = weighting.needs_classes  # type: ignore[misc]

    def update(self, snapshot: Snapshot) -> Any:
        """State: (that of the inner weighting, the smoothed factors of mean one)."""
        inner_previous, smooth = snapshot.previous or (None, None)
        inner = self.weighting.update(snapshot._replace(previous=inner_previous))
        new = mean_one(self.weighting.factor(inner, snapshot.y))
        return inner, new if smooth is None else torch.lerp(smooth, new, self.rate)

    def factor(self, state: Any, y: Tensor) -> Tensor:
        """The smoothed factors."""
        smooth: Tensor = state[1]
        return smooth


class Product(Weighting):
    """Several weightings at once: their factors are multiplied.

    Parameters
    ----------
    *weightings : Weighting
    """

    def __init__(self, *weightings: Weighting) -> None:
        self.weightings = weightings
        self.adaptive = any(w.adaptive for w in weightings)  # type: ignore[misc]
        self.needs_classes = any(w.needs_classes for w in weightings)  # type: ignore[misc]

    def update(self, snapshot: Snapshot) -> Any:
        """A tuple of the parts' states."""
        previous = snapshot.previous or (None,) * len(self.weightings)
        return tuple(
            w.update(snapshot._replace(previous=p))
            for w, p in zip(self.weightings, previous, strict=True)
        )

    def factor(self, state: Any, y: Tensor) -> Tensor:
        """The product of the parts' factors."""
        parts = [w.factor(s, y) for w, s in zip(self.weightings, state, strict=True)]
        return torch.stack(parts).prod(dim=0)


class Callback(Weighting):
    """A user's function of the snapshot, made a weighting; ``fit`` wraps plain callables in it.

    Parameters
    ----------
    function : callable
        ``Snapshot -> Tensor (n,)``; checked at every call, since it may return anything.
    """

    needs_classes = False

    def __init__(self, function: Callable[[Snapshot], Tensor]) -> None:
        self.function = function

    def update(self, snapshot: Snapshot) -> Tensor:
        """Call and check."""
        name = getattr(self.function, "__name__", type(self.function).__name__)
        factor = torch.as_tensor(self.function(snapshot)).to(snapshot.losses)
        return checked_weights(factor, len(snapshot.losses), f"weighting {name}")
