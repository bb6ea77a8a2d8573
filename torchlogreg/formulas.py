"""Slopes and curvatures of the built-in losses, written out: what autograd must give.

``slopes (n, k)`` are ``d loss_i / d eta_i``, ``curvatures (n, k, k)`` are ``d2 loss_i / d eta_i2``.
Letters and shapes are those of :mod:`torchlogreg.objective`. The formulas are exact, but not
arranged for extreme ``eta``; the losses are. :mod:`torchlogreg.analytic` pulls them back to the
parameters of the models.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from torchlogreg import losses
from torchlogreg.losses import Loss

Derivative = Callable[[Tensor, Tensor], Tensor]


class Formulas(NamedTuple):
    """Both derivatives of one loss, each a function of ``(eta, y)``."""

    slopes: Derivative  # (n, k)
    curvatures: Derivative  # (n, k, k)


class Density(NamedTuple):
    """The density ``f`` of an ordinal link, by its logarithm and ``f'/f``."""

    loss: Loss
    log_density: Callable[[Tensor], Tensor]
    score: Callable[[Tensor], Tensor]


def squared_error_slopes(eta: Tensor, y: Tensor) -> Tensor:
    """``2 (eta - y)``, shape (n, 1); there is no factor one half in the loss."""
    return 2 * (eta - y.unsqueeze(1))


def squared_error_curvatures(eta: Tensor, y: Tensor) -> Tensor:
    """``2``, shape (n, 1, 1)."""
    return torch.full_like(eta, 2.0).unsqueeze(2)


def binary_slopes(eta: Tensor, y: Tensor) -> Tensor:
    """``p - y`` with ``p = sigmoid(eta)``, shape (n, 1).

    Summed as ``(1 - y) p - y (1 - p)``, which is the same number and keeps its digits when the
    prediction is confident and right.

    References
    ----------
    McCullagh and Nelder, Generalized Linear Models (1989), section 4.4.
    """
    y = y.unsqueeze(1)
    return (1 - y) * torch.sigmoid(eta) - y * torch.sigmoid(-eta)


def binary_curvatures(eta: Tensor, y: Tensor) -> Tensor:
    """``p (1 - p)``, shape (n, 1, 1): the weights of iteratively reweighted least squares."""
    return (torch.sigmoid(eta) * torch.sigmoid(-eta)).unsqueeze(2)


def categorical_slopes(eta: Tensor, y: Tensor) -> Tensor:
    """``p - y`` with ``p = softmax(eta)`` and ``y`` one-hot or a distribution, shape (n, K).

    References
    ----------
    Boehning, Multinomial logistic regression algorithm, Ann. Inst. Stat. Math. 44 (1992).
    """
    return torch.softmax(eta, dim=1) - _distribution(y, eta.shape[1]).to(eta.dtype)


def categorical_curvatures(eta: Tensor, y: Tensor) -> Tensor:
    """``diag(p) - p p'``, shape (n, K, K): the covariance of a multinomial draw."""
    p = torch.softmax(eta, dim=1)
    return torch.diag_embed(p) - p.unsqueeze(2) * p.unsqueeze(1)


def cumulative_slopes(density: Density, eta: Tensor, y: Tensor) -> Tensor:
    """Slopes of an ordinal loss, shape (n, K - 1).

    For level ``j`` with probability ``pi = F(eta_j) - F(eta_{j-1})`` they are ``-f(eta_j) / pi`` in
    column ``j``, ``f(eta_{j-1}) / pi`` in column ``j - 1``, and zero elsewhere. A soft target
    averages the slopes of the levels.

    Parameters
    ----------
    density : Density
    eta : Tensor, shape (n, K - 1)
    y : Tensor, shape (n,) or (n, K)

    References
    ----------
    McCullagh, Regression models for ordinal data, J. R. Stat. Soc. B 42 (1980).
    """
    if y.ndim == 2:
        levels = [_level_slopes(density, eta, _constant(y, j)) for j in range(y.shape[1])]
        return sum((y[:, j, None] * s for j, s in enumerate(levels)), torch.zeros_like(eta))
    return _level_slopes(density, eta, y)


def cumulative_curvatures(density: Density, eta: Tensor, y: Tensor) -> Tensor:
    """Curvatures of an ordinal loss, shape (n, K - 1, K - 1).

    For one level they are ``s s' + diag(s f'/f)`` with ``s`` its slopes: ``(f/pi)^2 -+ f'/pi`` on
    the diagonal and ``-f(eta_j) f(eta_{j-1}) / pi^2`` beside it. A soft target averages them.

    Parameters
    ----------
    density : Density
    eta : Tensor, shape (n, K - 1)
    y : Tensor, shape (n,) or (n, K)

    References
    ----------
    Pratt, Concavity of the log likelihood, J. Am. Stat. Assoc. 76 (1981).
    """
    if y.ndim == 2:
        levels = [_level_curvatures(density, eta, _constant(y, j)) for j in range(y.shape[1])]
        zero = eta.new_zeros(*eta.shape, eta.shape[1])
        return sum((y[:, j, None, None] * C for j, C in enumerate(levels)), zero)
    return _level_curvatures(density, eta, y)


def slopes(loss: Loss, eta: Tensor, y: Tensor) -> Tensor:
    """First derivatives ``d loss_i / d eta_i`` by formula; compare ``losses.slopes``.

    Parameters
    ----------
    loss : Loss
        A built-in one.
    eta : Tensor, shape (n, k)
    y : Tensor, shape (n,) or (n, K)

    Returns
    -------
    Tensor, shape (n, k)

    Raises
    ------
    ValueError
        If no formula is known for ``loss``.
    """
    return _formulas(loss).slopes(eta, y)


def curvatures(loss: Loss, eta: Tensor, y: Tensor) -> Tensor:
    """Second derivatives ``d2 loss_i / d eta_i2`` by formula; compare ``losses.curvatures``.

    Parameters
    ----------
    loss : Loss
        A built-in one.
    eta : Tensor, shape (n, k)
    y : Tensor, shape (n,) or (n, K)

    Returns
    -------
    Tensor, shape (n, k, k), symmetric and positive semi-definite.

    Raises
    ------
    ValueError
        If no formula is known for ``loss``.
    """
    return _formulas(loss).curvatures(eta, y)


def _level_slopes(density: Density, eta: Tensor, level: Tensor) -> Tensor:
    """Slopes for hard levels (n,)."""
    log_pi = -density.loss(eta, level)
    ratio = torch.exp(density.log_density(eta) - log_pi.unsqueeze(1))  # f / pi, (n, K - 1)
    column = torch.arange(eta.shape[1], device=eta.device)
    upper, lower = column == level[:, None], column == level[:, None] - 1
    return torch.where(upper, -ratio, torch.where(lower, ratio, 0.0))


def _level_curvatures(density: Density, eta: Tensor, level: Tensor) -> Tensor:
    """Curvatures for hard levels (n,)."""
    s = _level_slopes(density, eta, level)
    return s.unsqueeze(2) * s.unsqueeze(1) + torch.diag_embed(s * density.score(eta))


def _distribution(y: Tensor, n_classes: int) -> Tensor:
    """Hard labels as one-hot rows; distributions as they are."""
    return F.one_hot(y, n_classes) if y.ndim == 1 else y


def _constant(y: Tensor, level: int) -> Tensor:
    """The same level for every row of ``y``."""
    return torch.full((len(y),), level, device=y.device)


def _formulas(loss: Loss) -> Formulas:
    if loss not in FORMULAS:
        name = getattr(loss, "__name__", repr(loss))
        known = ", ".join(f.__name__ for f in FORMULAS)
        raise ValueError(f"no formula is known for the loss {name}, only for {known}; use autograd")
    return FORMULAS[loss]


def _ordinal(density: Density) -> Formulas:
    return Formulas(
        lambda eta, y: cumulative_slopes(density, eta, y),
        lambda eta, y: cumulative_curvatures(density, eta, y),
    )


LOGISTIC = Density(
    losses.cumulative_nll,
    lambda t: F.logsigmoid(t) + F.logsigmoid(-t),  # f = p (1 - p)
    lambda t: -torch.tanh(t / 2),  # 1 - 2 p
)
NORMAL = Density(
    losses.cumulative_probit_nll,
    lambda t: -0.5 * t.square() - 0.5 * math.log(2 * math.pi),
    lambda t: -t,
)
GUMBEL = Density(
    losses.cumulative_cloglog_nll,
    lambda t: t - t.exp(),  # F = 1 - exp(-exp(t))
    lambda t: 1 - t.exp(),
)

FORMULAS: Mapping[Loss, Formulas] = MappingProxyType(
    {
        losses.squared_error: Formulas(squared_error_slopes, squared_error_curvatures),
        losses.binary_nll: Formulas(binary_slopes, binary_curvatures),
        losses.categorical_nll: Formulas(categorical_slopes, categorical_curvatures),
        losses.cumulative_nll: _ordinal(LOGISTIC),
        losses.cumulative_probit_nll: _ordinal(NORMAL),
        losses.cumulative_cloglog_nll: _ordinal(GUMBEL),
    }
)
