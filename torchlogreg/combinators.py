"""Weightings made of weightings: reduced to classes, smoothed, multiplied, or a plain function."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from torchlogreg.sample_weights import checked_weights
from torchlogreg.weighting import BoostMisclassified, Snapshot, Weighting, class_shares

Rule = Callable[[Snapshot], Tensor]
"""A user's own weighting: factors (n,) from a snapshot."""


class ClassMean(Weighting):
    """Row factors reduced to class factors, as in the original cost logger.

    Class 0 counts one, class ``j`` the mean of *all* rows' factors under ``rows`` for every
    ``j >= 1``: the original passed ``class_weight={0: 1, 1: mean(weights)}``. It therefore shifts
    weight to class 1 whatever class the mistakes are of; ``BoostMisclassified`` does what its text
    promised.

    Parameters
    ----------
    rows : Weighting or callable, optional
        Default ``BoostMisclassified()``.
    """

    def __init__(self, rows: Weighting | Rule | None = None) -> None:
        self.rows = BoostMisclassified() if rows is None else as_weighting(rows)
        self.settles = self.rows.settles  # type: ignore[misc]

    def update(self, snapshot: Snapshot) -> Any:
        """The state of the row weighting."""
        return self.rows.update(snapshot)

    def factor(self, state: Any, snapshot: Snapshot) -> Tensor:
        """One for class 0, the mean factor for the others."""
        mean = snapshot.mean(self.rows.factor(state, snapshot))

        def factors(rows: Snapshot) -> Tensor:
            zero_share = class_shares(rows.y, mean.dtype, rows.n_classes)[:, 0]
            return zero_share + (1 - zero_share) * mean

        return snapshot.each(factors)


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

    def __init__(self, weighting: Weighting | Rule, rate: float = 0.5) -> None:
        if not 0 < rate <= 1:
            raise ValueError(f"rate is {rate}, but it lies in (0, 1]: 1 follows at once")
        self.weighting = as_weighting(weighting)
        self.rate = float(rate)
        self.settles = self.weighting.settles  # type: ignore[misc]
        self.needs_classes = self.weighting.needs_classes  # type: ignore[misc]

    def update(self, snapshot: Snapshot) -> Any:
        """State: (that of the inner weighting, the smoothed factors of mean one)."""
        inner_previous, smooth = snapshot.previous or (None, None)
        inner = self.weighting.update(snapshot._replace(previous=inner_previous))
        new = self.weighting.factor(inner, snapshot)
        mean = snapshot.mean(new)
        if smooth is None:
            return inner, snapshot.each(lambda _, own: own / mean, new)
        return inner, snapshot.each(
            lambda _, own, before: torch.lerp(before, own / mean, self.rate), new, smooth
        )

    def factor(self, state: Any, snapshot: Snapshot) -> Tensor:
        """The smoothed factors."""
        smooth: Tensor = state[1]
        return smooth


class Product(Weighting):
    """Several weightings at once: their factors are multiplied.

    Parameters
    ----------
    *weightings : Weighting or callable
        At least one.

    Raises
    ------
    ValueError
        Without any.
    """

    def __init__(self, *weightings: Weighting | Rule) -> None:
        if not weightings:
            raise ValueError("Product() multiplies nothing; name a weighting, or use Uniform()")
        self.weightings = tuple(as_weighting(w) for w in weightings)
        self.adaptive = any(w.adaptive for w in self.weightings)  # type: ignore[misc]
        self.settles = all(w.settles or not w.adaptive for w in self.weightings)  # type: ignore[misc]
        self.needs_classes = any(w.needs_classes for w in self.weightings)  # type: ignore[misc]

    def update(self, snapshot: Snapshot) -> Any:
        """A tuple of the parts' states."""
        previous = snapshot.previous or (None,) * len(self.weightings)
        return tuple(
            w.update(snapshot._replace(previous=p))
            for w, p in zip(self.weightings, previous, strict=True)
        )

    def factor(self, state: Any, snapshot: Snapshot) -> Tensor:
        """The product of the parts' factors."""
        parts = [w.factor(s, snapshot) for w, s in zip(self.weightings, state, strict=True)]
        return snapshot.each(lambda _, *factors: torch.stack(factors).prod(dim=0), *parts)


class Callback(Weighting):
    """A user's function of the snapshot, made a weighting; ``fit`` wraps plain callables in it.

    Parameters
    ----------
    function : callable
        ``Snapshot -> Tensor (n,)``; checked at every call, since it may return anything.
    """

    needs_classes = False

    def __init__(self, function: Rule) -> None:
        self.function = function

    def update(self, snapshot: Snapshot) -> Tensor:
        """Call and check."""
        name = getattr(self.function, "__name__", type(self.function).__name__)
        answer = self.function(snapshot)
        if answer is None:
            raise TypeError(f"weighting {name} returned None, but it returns a factor per row")
        factor = torch.as_tensor(answer).to(snapshot.losses)
        return checked_weights(factor, len(snapshot.losses), f"weighting {name}")


def as_weighting(weighting: Weighting | Rule) -> Weighting:
    """A weighting as it is; a plain function wrapped in :class:`Callback`.

    Raises
    ------
    TypeError
        If it is neither.
    """
    if isinstance(weighting, Weighting):
        return weighting
    if isinstance(weighting, type) or not callable(weighting):
        what = weighting.__name__ if isinstance(weighting, type) else type(weighting).__name__
        raise TypeError(
            f"weighting= got {what}, but it takes a Weighting, such as Focal(), or a function of a "
            "Snapshot; fixed weights go into sample_weight="
        )
    return Callback(weighting)
