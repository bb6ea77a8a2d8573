"""Penalties on ``weight``: a value for the objective and a prox for non-smooth optimizers.

The penalties here are sums over the entries of ``weight`` and hold their strength ``alpha``;
intercepts and cutpoints are not penalised. :class:`torchlogreg.jeffreys.Jeffreys`, which depends on
the rows, is the exception. The objective's loss is a *mean* over rows, so ``alpha`` compares
with ``1 / (C * n)`` of scikit-learn's logistic regression.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from numbers import Real
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor

if TYPE_CHECKING:
    from torchlogreg.base import Model
    from torchlogreg.data import Batch


class Penalty(ABC):
    """A separable convex function of ``weight``, unless ``needs_rows``.

    The objective asks ``value_on`` and ``curvature_on``, which here forward to ``value`` and
    ``curvature``; a penalty that depends on the rows overrides them.

    Attributes
    ----------
    smooth : bool
        Whether the value is twice differentiable; where it is not, ``prox`` must be used.
    needs_rows : bool
        Whether the value depends on all rows: it is then known through ``value_on`` only, and
        mini-batches are refused.
    alpha : float
        Strength, ``>= 0``.
    """

    smooth: ClassVar[bool]
    needs_rows: ClassVar[bool] = False
    alpha: float

    @abstractmethod
    def value(self, weight: Tensor) -> Tensor:
        """Penalty as a scalar tensor, differentiable wherever it is."""

    @abstractmethod
    def curvature(self, weight: Tensor) -> Tensor:
        """Second derivative for each entry of ``weight`` (same shape), zero at a kink."""

    @abstractmethod
    def prox(self, weight: Tensor, step: float | Tensor) -> Tensor:
        """``argmin_u  |u - weight|^2 / (2 step) + value(u)``, entry by entry."""

    def gradient(self, weight: Tensor) -> Tensor:
        """Derivative by every entry of ``weight`` (same shape), where there is one."""
        with torch.enable_grad():
            at = weight.detach().requires_grad_()
            (slope,) = torch.autograd.grad(self.value(at), at)
        return slope

    def kink(self, weight: Tensor) -> Tensor | None:
        """Jump of half the slope at zero for each entry of ``weight`` (same shape).

        With it the penalty is ``sum(kink |weight| + curvature / 2 weight^2)``, which proximal
        Newton relies on. None, as here, for a penalty of another form.
        """
        return None

    def check(self, model: Model, *, own_loss: bool) -> None:  # noqa: B027  # most suit all models
        """Raise ValueError if the penalty has no meaning for this model, or for a foreign loss."""

    def value_on(self, model: Model, batch: Batch, eta: Tensor) -> Tensor:
        """Value for the objective on ``batch``, where the model gives ``eta (n, k)``."""
        return self.value(model.weight)

    def curvature_on(self, matrix: Tensor, model: Model, batch: Batch) -> Tensor:
        """Hessian of loss and penalty, (P, P), from ``matrix``, that of the loss; may change it."""
        weight = model.weight
        if weight.requires_grad:  # it is the first of the trainable parameters
            matrix.diagonal()[: weight.numel()] += self.curvature(weight.detach()).flatten()
        return matrix

    def rounding_on(self, model: Model, batch: Batch) -> Tensor:
        """By how much rounding may change the value, beyond some units in its last place."""
        return torch.zeros_like(model.weight[0, 0])

    def __repr__(self) -> str:
        known = {name: value for name, value in vars(self).items() if value is not None}
        settings = ", ".join(f"{name}={value:g}" for name, value in known.items())
        return f"{type(self).__name__}({settings})"


class L2(Penalty):
    """Ridge: ``alpha / 2 * sum(weight^2)`` (Hoerl and Kennard, 1970).

    Parameters
    ----------
    alpha : float
        Strength, finite and ``>= 0``.

    Raises
    ------
    ValueError
        If ``alpha`` is negative or not finite.
    """

    smooth = True

    def __init__(self, alpha: float) -> None:
        self.alpha = checked_alpha(alpha)

    def value(self, weight: Tensor) -> Tensor:
        """``alpha / 2 * sum(weight^2)``."""
        return 0.5 * self.alpha * weight.square().sum()

    def gradient(self, weight: Tensor) -> Tensor:
        """``alpha * weight``."""
        return self.alpha * weight

    def curvature(self, weight: Tensor) -> Tensor:
        """``alpha`` for every entry."""
        return torch.full_like(weight, self.alpha)

    def prox(self, weight: Tensor, step: float | Tensor) -> Tensor:
        """Shrink towards zero by ``1 / (1 + step * alpha)``."""
        return weight / (1 + step * self.alpha)


class L1(Penalty):
    """Lasso: ``alpha * sum(abs(weight))`` (Tibshirani, 1996).

    Parameters
    ----------
    alpha : float
        Strength, finite and ``>= 0``.

    Raises
    ------
    ValueError
        If ``alpha`` is negative or not finite.
    """

    smooth = False

    def __init__(self, alpha: float) -> None:
        self.alpha = checked_alpha(alpha)

    def value(self, weight: Tensor) -> Tensor:
        """``alpha * sum(abs(weight))``."""
        return self.alpha * weight.abs().sum()

    def curvature(self, weight: Tensor) -> Tensor:
        """Zero away from the kinks."""
        return torch.zeros_like(weight)

    def kink(self, weight: Tensor) -> Tensor:
        """``alpha`` for every entry."""
        return torch.full_like(weight, self.alpha)

    def prox(self, weight: Tensor, step: float | Tensor) -> Tensor:
        """Soft threshold: move ``step * alpha`` towards zero and stop there."""
        return weight.sign() * (weight.abs() - step * self.alpha).clamp(min=0)


class ElasticNet(Penalty):
    """``alpha * (l1_ratio * sum(abs(weight)) + (1 - l1_ratio) / 2 * sum(weight^2))``.

    Parameters
    ----------
    alpha : float
        Strength, finite and ``>= 0``.
    l1_ratio : float
        Share of L1, in [0, 1].

    Raises
    ------
    ValueError
        If ``alpha`` or ``l1_ratio`` is out of its range.

    References
    ----------
    Zou and Hastie, Regularization and variable selection via the elastic net (2005).
    """

    smooth = False

    def __init__(self, alpha: float, l1_ratio: float = 0.5) -> None:
        self.alpha = checked_alpha(alpha)
        if not 0 <= l1_ratio <= 1:
            raise ValueError(f"l1_ratio is {l1_ratio!r}, but it is a share, from 0 (L2) to 1 (L1)")
        self.l1_ratio = float(l1_ratio)

    def value(self, weight: Tensor) -> Tensor:
        """The mixture of both norms."""
        ridge = 0.5 * (1 - self.l1_ratio) * weight.square().sum()
        return self.alpha * (self.l1_ratio * weight.abs().sum() + ridge)

    def curvature(self, weight: Tensor) -> Tensor:
        """The ridge share of ``alpha`` for every entry."""
        return torch.full_like(weight, self.alpha * (1 - self.l1_ratio))

    def kink(self, weight: Tensor) -> Tensor:
        """The L1 share of ``alpha`` for every entry."""
        return torch.full_like(weight, self.alpha * self.l1_ratio)

    def prox(self, weight: Tensor, step: float | Tensor) -> Tensor:
        """Soft threshold, then shrink."""
        soft = weight.sign() * (weight.abs() - step * self.alpha * self.l1_ratio).clamp(min=0)
        return soft / (1 + step * self.alpha * (1 - self.l1_ratio))


def checked_alpha(alpha: float) -> float:
    """``alpha`` as a float.

    Raises
    ------
    TypeError
        If it is no number.
    ValueError
        If it is negative or not finite.
    """
    if not isinstance(alpha, Real):
        raise TypeError(f"alpha is {alpha!r}, but a penalty's strength is a number")
    if not (math.isfinite(alpha) and alpha >= 0):
        raise ValueError(
            f"alpha is {alpha!r}, but a penalty's strength is finite and not negative: "
            "use 0 for none"
        )
    return float(alpha)
