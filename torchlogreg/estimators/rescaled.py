"""Models and penalties while the columns under them are scaled: both keep their meaning."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from torchlogreg.base import Model
from torchlogreg.penalties import Penalty
from torchlogreg.scaling import Standardizer


def columns_of(
    X: Tensor, sample_weight: Tensor | None, dtype: torch.dtype, *, centre: bool, penalised: bool
) -> Standardizer:
    """The standardisation for a fit in that dtype.

    Under a penalty a column that hardly varies is not scaled up to one: it holds the coefficient,
    not the rows do, and one over the square of the unit, its curvature, would overflow.
    """
    columns = Standardizer.of(X, sample_weight, centre=centre)
    if not penalised:
        return columns
    return replace(columns, scale=columns.scale.clamp(min=torch.finfo(dtype).tiny ** (1 / 3)))


class OnRawColumns(Penalty):
    """Another penalty, seen from a model of scaled columns.

    A model of ``X / scale`` with ``weight`` is the model of ``X`` with ``weight / scale``, and that
    is what is penalised: ridge and lasso mean what they mean on raw columns, while the optimizer
    works on columns of unit scale.

    Parameters
    ----------
    penalty : Penalty
        Separable, as :class:`torchlogreg.penalties.Penalty` says.
    scale : Tensor, shape (p,)
        Positive.
    """

    def __init__(self, penalty: Penalty, scale: Tensor) -> None:
        self.penalty = penalty
        self.scale = scale
        self.alpha = penalty.alpha
        self.smooth = penalty.smooth  # type: ignore[misc]  # that of the penalty inside

    def value(self, weight: Tensor) -> Tensor:
        """Value at the weight of raw columns."""
        return self.penalty.value(weight / self.scale)

    def curvature(self, weight: Tensor) -> Tensor:
        """Second derivative by the scaled weight."""
        return self.penalty.curvature(weight / self.scale) / self.scale.square()

    def kink(self, weight: Tensor) -> Tensor | None:
        """Slopes by the scaled weight."""
        raw = self.penalty.kink(weight / self.scale)
        return None if raw is None else raw / self.scale

    def prox(self, weight: Tensor, step: float | Tensor) -> Tensor:
        """A step in scaled units is a step over ``scale^2`` in raw ones."""
        step = torch.as_tensor(step, dtype=weight.dtype, device=weight.device)
        raw = self.penalty.prox(weight / self.scale, step / self.scale.square())
        return raw * self.scale

    def check(self, model: Model, *, own_loss: bool) -> None:
        """Whatever the penalty inside refuses."""
        self.penalty.check(model, own_loss=own_loss)

    def __repr__(self) -> str:
        return repr(self.penalty)


def unfold_(model: Model, columns: Standardizer) -> None:
    """Make a model of raw columns one of standardised columns, in place: a warm start."""
    if bool(model.weight.any()):
        fold_(model, Standardizer(-columns.mean / columns.scale, 1 / columns.scale))


def fold_(model: Model, columns: Standardizer) -> None:
    """Make a model of standardised columns one of raw columns, rounding to its dtype only once."""
    dtype = model.weight.dtype
    columns.fold_(model.to(columns.mean.dtype))
    model.to(dtype)


def on_raw_columns(penalty: Penalty | None, scale: Tensor) -> Penalty | None:
    """Jeffreys' penalty depends on the rows, and scales with them by itself."""
    if penalty is None or penalty.needs_rows:
        return penalty
    return OnRawColumns(penalty, scale)
