"""Weightings: schedules that turn what the model gets wrong into sample weights.

A weighting sees a detached :class:`Snapshot` of all rows before each epoch and answers with a
factor per row. ``fit`` multiplies the factors into the user's ``sample_weight`` and scales the
product to mean one, so the scale of a factor never matters.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from numbers import Integral
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor

PIECE = 2**18
"""Rows of mapped data that a rule looks at together."""


def _itself(part: Tensor) -> Tensor:
    return part


class Snapshot(NamedTuple):
    """What a weighting may look at: all rows, detached, at the current parameters.

    Attributes
    ----------
    y : Tensor, shape (n,) or (n, K)
    eta : Tensor, shape (n, k)
    losses : Tensor, shape (n,)
        Unweighted loss of each row.
    predicted : Tensor, shape (n,)
    previous : Tensor, or a tuple of them, or None
        What this weighting's ``update`` returned last time; None before the first epoch.
    sample_weight : Tensor, shape (n,), or None
        The user's own weights, for rules that count or average rows: a weight of 2 is a repeated
        row, 0 a removed one. None means ones.
    summed : callable
        From a sum over these rows to that over the rows of all ranks; the same on one process.
    n_classes : int or None
        Of the model, where these rows need not have the last class.
    room : callable or None
        Of mapped rows: makes a tensor (n,) of a dtype that stays on disk as they do.
    """

    y: Tensor
    eta: Tensor
    losses: Tensor
    predicted: Tensor
    previous: Any = None
    sample_weight: Tensor | None = None
    summed: Callable[[Tensor], Tensor] = _itself
    n_classes: int | None = None
    room: Callable[[torch.dtype], Tensor] | None = None

    def each(self, work: Callable[..., Tensor], *beside: Tensor) -> Tensor:
        """``work(snapshot, *beside)``, a number (n,) for every row that needs no other row.

        Of mapped rows piece by piece, so that nothing of their number is made in memory.
        """
        if self.room is None:
            return work(self, *beside)
        found = self.room(self.losses.dtype)
        for which in self._pieces():
            found[which] = work(self._rows(which), *(part[which] for part in beside))
        return found

    def mean(self, values: Tensor) -> Tensor:
        """Mean over the rows, each as often as it counts, of ``values`` (n,) or (n, m)."""
        weight = self.sample_weight
        if weight is None and self.summed is _itself:
            return values.mean(0)
        weight = values.new_ones(len(values)) if weight is None else weight
        return self.summed(weight @ values) / self.summed(weight.sum())

    def mean_of(self, work: Callable[[Snapshot], Tensor]) -> Tensor:
        """:meth:`mean` of ``work(snapshot)``, which needs no other row for any."""
        if self.room is None:
            return self.mean(work(self))
        total = count = self.losses.new_zeros(())
        for rows in map(self._rows, self._pieces()):
            weight = rows.sample_weight
            weight = torch.ones_like(rows.losses) if weight is None else weight
            total, count = total + weight @ work(rows), count + weight.sum()
        return self.summed(total) / self.summed(count)

    def _pieces(self) -> Iterator[slice]:
        return (slice(start, start + PIECE) for start in range(0, len(self.losses), PIECE))

    def _rows(self, which: slice) -> Snapshot:
        fields: list[Any] = [part[which] if isinstance(part, Tensor) else part for part in self]
        return Snapshot(*fields)._replace(summed=_itself, room=None)


class Weighting(ABC):
    """A rule for factors; ``weighting(snapshot)`` gives them, shape (n,), ``>= 0``.

    Attributes
    ----------
    adaptive : bool
        Whether the factors follow the model, so that they are asked for anew before every epoch.
    settles : bool
        Of an adaptive one: whether the factors come to rest whatever the model does, and depend on
        the snapshot alone.
    needs_classes : bool
        Whether the rule speaks of classes, so that a numeric response cannot have it.
    """

    adaptive: ClassVar[bool] = True
    settles: ClassVar[bool] = False
    needs_classes: ClassVar[bool] = True

    def __call__(self, snapshot: Snapshot) -> Tensor:
        """Factors (n,), from ``update`` and ``factor``."""
        return self.factor(self.update(snapshot), snapshot)

    @abstractmethod
    def update(self, snapshot: Snapshot) -> Any:
        """The state after this epoch: what the next snapshot hands back as ``previous``."""

    def factor(self, state: Any, snapshot: Snapshot) -> Tensor:
        """Factors (n,) from a state; the state itself unless a rule says otherwise."""
        factor: Tensor = state
        return factor


class Uniform(Weighting):
    """Every row counts the same: training as if there were no weighting, bit for bit."""

    adaptive = False
    needs_classes = False

    def update(self, snapshot: Snapshot) -> Tensor:
        """Ones."""
        return snapshot.each(lambda rows: torch.ones_like(rows.losses))


class ClassBalanced(Weighting):
    """Every class counts the same: factor ``n / (K n_j)`` for the rows of class ``j``.

    Soft targets are counted by their shares. King and Zeng (2001), scikit-learn's "balanced".
    """

    adaptive = False

    def update(self, snapshot: Snapshot) -> Tensor:
        """Inverse class frequencies."""
        frequency = snapshot.mean_of(_shares)  # (K,)
        per_class = torch.where(frequency > 0, 1 / (len(frequency) * frequency), 0.0)
        return snapshot.each(lambda rows: _shares(rows) @ per_class)


class ClassWeights(Weighting):
    """A fixed factor for each class.

    Parameters
    ----------
    factors : mapping of int to float
        Factor of each class; classes that are not named keep one.

    Raises
    ------
    ValueError
        If a factor is negative or not finite, or a class is not an index 0, 1, ...
    """

    adaptive = False

    def __init__(self, factors: Mapping[int, float]) -> None:
        for label, value in factors.items():
            if not isinstance(label, Integral) or label < 0:
                raise ValueError(f"class {label!r} is no index 0, 1, ...; use the encoded labels")
            if not (math.isfinite(value) and value >= 0):
                raise ValueError(
                    f"class {label} has weight {value}, but weights are finite and not negative"
                )
        self.factors = {int(label): float(value) for label, value in factors.items()}

    def update(self, snapshot: Snapshot) -> Tensor:
        """The factor of each row's class, averaged over soft targets."""
        return snapshot.each(self._factors)

    def _factors(self, rows: Snapshot) -> Tensor:
        shares = _shares(rows)
        per_class = shares.new_ones(shares.shape[1])
        for label, value in self.factors.items():
            if label < len(per_class):  # a class may be absent from these rows
                per_class[label] = value
        return shares @ per_class


class BoostMisclassified(Weighting):
    """Rows that the model gets wrong gain weight as training goes.

    Before each epoch but the first the factor of every row that is then misclassified is multiplied
    by ``factor``, up to ``cap``. The first epoch is plain: at its start the model has learnt
    nothing, and its mistakes (all of class 0, from zero weights) would stick.

    Parameters
    ----------
    factor : float
        ``>= 1``.
    cap : float, optional
        Largest factor a row can reach. Default: ``factor``, so that a row is boosted once, which is
        the rule of the original cost logger (2, and it stays 2). ``math.inf`` lets persistent
        mistakes grow without bound, and training then never settles.
    sticky : bool
        True: a row that becomes right keeps its factor. False: it falls back to one.

    Raises
    ------
    ValueError
        If ``factor`` or ``cap`` is below one.
    """

    def __init__(
        self, factor: float = 2.0, *, cap: float | None = None, sticky: bool = True
    ) -> None:
        cap = factor if cap is None else cap
        if not (math.isfinite(factor) and factor >= 1 and cap >= 1):
            raise ValueError(
                f"factor={factor}, cap={cap}: both are at least 1, or mistakes would lose weight"
            )
        self.boost = float(factor)
        self.cap = float(cap)
        self.sticky = sticky
        # Each row then changes a few times, and never back.
        self.settles = sticky and math.isfinite(self.cap)  # type: ignore[misc]

    def update(self, snapshot: Snapshot) -> Tensor:
        """Multiply where wrong; keep or reset where right."""
        return snapshot.each(self._factors)

    def _factors(self, rows: Snapshot) -> Tensor:
        ones = torch.ones_like(rows.losses)
        if rows.previous is None:
            return ones
        boosted = (rows.previous * self.boost).clamp(max=self.cap)
        kept = rows.previous if self.sticky else ones
        return torch.where(misclassified(rows), boosted, kept)


class Focal(Weighting):
    """Factor ``(1 - p_i)^gamma`` with ``p_i`` the probability given to what happened.

    Parameters
    ----------
    gamma : float
        ``>= 0``; 0 is uniform.

    Raises
    ------
    ValueError
        If ``gamma`` is negative.

    References
    ----------
    Lin et al., Focal loss for dense object detection (2017). There the factor is differentiated;
    here, as a sample weight, it is held fixed within an epoch.
    """

    def __init__(self, gamma: float = 2.0) -> None:
        if not (math.isfinite(gamma) and gamma >= 0):
            raise ValueError(f"gamma is {gamma}, but it is finite and not negative")
        self.gamma = float(gamma)

    def update(self, snapshot: Snapshot) -> Tensor:
        """``p_i = exp(-loss_i)``; a data set without any surprise is weighted uniformly."""
        factor = snapshot.each(lambda rows: (-torch.expm1(-rows.losses)).pow(self.gamma))
        surprise = snapshot.summed(factor.sum()) > 0
        return snapshot.each(lambda _, own: torch.where(surprise, own, 1.0), factor)


def _shares(rows: Snapshot) -> Tensor:
    return class_shares(rows.y, rows.losses.dtype, rows.n_classes)


def class_shares(y: Tensor, dtype: torch.dtype, n_classes: int | None = None) -> Tensor:
    """Targets as distributions over the classes, (n, K); hard labels become one-hot rows."""
    if y.ndim == 2:
        return y
    if y.is_floating_point():  # binary, hard or soft
        return torch.stack((1 - y, y), dim=1).to(dtype)
    return torch.nn.functional.one_hot(y, -1 if n_classes is None else n_classes).to(dtype)


def misclassified(snapshot: Snapshot) -> Tensor:
    """Rows whose prediction is not the (most probable) label, boolean (n,)."""
    y = snapshot.y
    if y.ndim == 2:
        label = y.argmax(dim=1)
    else:
        label = (y >= 0.5).long() if y.is_floating_point() else y
    return snapshot.predicted != label
