"""Slopes and curvatures of the built-in losses, written out: what autograd must give.

``slopes (n, k)`` are ``d loss_i / d eta_i``, ``curvatures (n, k, k)`` are ``d2 loss_i / d eta_i2``.
Letters and shapes are those of :mod:`torchlogreg.objective`. The formulas are exact, but not
arranged for extreme ``eta``; the losses are. :mod:`torchlogreg.analytic` uses them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial
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


class LevelDerivatives(NamedTuple):
    """Derivatives of ``-log(F(upper) - F(lower))`` by its two ends, each (n,)."""

    lower: Tensor
    upper: Tensor
    lower_lower: Tensor
    upper_upper: Tensor
    lower_upper: Tensor


Level = Callable[[Tensor, Tensor], LevelDerivatives]


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


def logit_level(lower: Tensor, upper: Tensor) -> LevelDerivatives:
    """Ends of a level under the logit link, where either may be infinite.

    With ``F = sigmoid`` and ``r = 1 / (exp(upper - lower) - 1)`` the level has probability
    ``F(upper) (1 - F(lower)) / (1 + r)``, so the slopes are ``F(lower) + r`` and
    ``-(1 - F(upper)) - r``, and the curvatures ``F (1 - F) + r (1 + r)`` at each end and
    ``-r (1 + r)`` between them.

    References
    ----------
    McCullagh, Regression models for ordinal data, J. R. Stat. Soc. B 42 (1980).
    """
    r = 1 / torch.expm1(upper - lower)
    below, above = torch.sigmoid(lower), torch.sigmoid(-upper)
    spread = r * (1 + r)
    return LevelDerivatives(
        below + r,
        -above - r,
        below * torch.sigmoid(-lower) + spread,
        above * torch.sigmoid(upper) + spread,
        -spread,
    )


def probit_level(lower: Tensor, upper: Tensor) -> LevelDerivatives:
    """Ends of a level under the probit link, where either may be infinite.

    With ``h(t) = phi(t) / (Phi(upper) - Phi(lower))`` the slopes are ``h(lower)`` and
    ``-h(upper)``; since ``phi'(t) = -t phi(t)``, the curvatures are ``h (h - lower)`` and
    ``h (h + upper)``, and ``-h(lower) h(upper)`` between them.

    References
    ----------
    Pratt, Concavity of the log likelihood, J. Am. Stat. Assoc. 76 (1981).
    """
    flip = lower + upper > 0  # the mirrored level has the same probability, and small Phi
    high, low = torch.where(flip, -lower, upper), torch.where(flip, -upper, lower)
    probability = _normal_cdf(high) - _normal_cdf(low)
    at_lower, at_upper = _normal_pdf(lower) / probability, _normal_pdf(upper) / probability
    return LevelDerivatives(
        at_lower,
        -at_upper,
        at_lower * (at_lower - lower),
        at_upper * (at_upper + upper),
        -at_lower * at_upper,
    )


def cloglog_level(lower: Tensor, upper: Tensor) -> LevelDerivatives:
    """Ends of a level under the complementary log-log link, where either may be infinite.

    With ``a = exp(lower)``, ``b = exp(upper)`` and ``r = 1 / (exp(b - a) - 1)`` the level has
    probability ``exp(-a) / (1 + r)``, so the slopes are ``a (1 + r)`` and ``-b r``, and the
    curvatures ``a (1 + r) (1 + a r)``, ``b r (b (1 + r) - 1)``, and ``-a b r (1 + r)`` between
    them.
    (McCullagh, 1980, as for the logit link.)
    """
    a, b = lower.exp(), upper.exp()
    r = 1 / torch.expm1(b - a)
    return LevelDerivatives(
        a * (1 + r),
        -b * r,
        a * (1 + r) * (1 + a * r),
        b * r * (b * (1 + r) - 1),
        -a * b * r * (1 + r),
    )


def cumulative_slopes(level: Level, eta: Tensor, y: Tensor) -> Tensor:
    """Slopes of an ordinal loss, shape (n, K - 1).

    Level ``j`` lies between ``eta_{j-1}`` and ``eta_j``; the outer ends are infinite and no
    parameters. A soft target averages the slopes of the levels.

    Parameters
    ----------
    level : callable
        ``logit_level``, ``probit_level`` or ``cloglog_level``.
    eta : Tensor, shape (n, K - 1)
    y : Tensor, shape (n,) or (n, K)
    """
    if y.ndim == 2:
        levels = [cumulative_slopes(level, eta, _same(y, j)) for j in range(y.shape[1])]
        parts = [y[:, j, None] * s for j, s in enumerate(levels)]
        return torch.stack(parts).sum(0)
    at = level(*_ends(eta, y))
    padded = F.pad(torch.zeros_like(eta), (1, 1))  # a column for either infinite end
    row = torch.arange(len(y), device=y.device)
    padded[row, y] = at.lower
    padded[row, y + 1] = at.upper
    return padded[:, 1:-1]


def cumulative_curvatures(level: Level, eta: Tensor, y: Tensor) -> Tensor:
    """Curvatures of an ordinal loss, shape (n, K - 1, K - 1): tridiagonal.

    Parameters
    ----------
    level : callable
        As in ``cumulative_slopes``.
    eta : Tensor, shape (n, K - 1)
    y : Tensor, shape (n,) or (n, K)
    """
    if y.ndim == 2:
        levels = [cumulative_curvatures(level, eta, _same(y, j)) for j in range(y.shape[1])]
        blocks = [y[:, j, None, None] * C for j, C in enumerate(levels)]
        return torch.stack(blocks).sum(0)
    at = level(*_ends(eta, y))
    padded = F.pad(torch.diag_embed(torch.zeros_like(eta)), (1, 1, 1, 1))
    row = torch.arange(len(y), device=y.device)
    padded[row, y, y] = at.lower_lower
    padded[row, y + 1, y + 1] = at.upper_upper
    padded[row, y, y + 1] = padded[row, y + 1, y] = at.lower_upper
    return padded[:, 1:-1, 1:-1]


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


def _distribution(y: Tensor, n_classes: int) -> Tensor:
    """Hard labels as one-hot rows; distributions as they are."""
    return F.one_hot(y, n_classes) if y.ndim == 1 else y


def _same(y: Tensor, level: int) -> Tensor:
    """The same level for every row of ``y``."""
    return torch.full((len(y),), level, device=y.device)


def _ends(eta: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Lower and upper end of every row's level, each (n,); the outer ones are infinite."""
    low, high = torch.full_like(eta[:, :1], -torch.inf), torch.full_like(eta[:, :1], torch.inf)
    ends = torch.cat((low, eta, high), dim=1)
    return ends.gather(1, y[:, None]).squeeze(1), ends.gather(1, y[:, None] + 1).squeeze(1)


def _normal_cdf(t: Tensor) -> Tensor:
    """``Phi(t)``, exact in the lower tail."""
    return torch.erfc(-math.sqrt(0.5) * t) / 2


def _normal_pdf(t: Tensor) -> Tensor:
    """``phi(t)``."""
    return torch.exp(-0.5 * t.square()) / math.sqrt(2 * math.pi)


def _formulas(loss: Loss) -> Formulas:
    if loss not in FORMULAS:
        name = getattr(loss, "__name__", repr(loss))
        known = ", ".join(f.__name__ for f in FORMULAS)
        raise ValueError(f"no formula is known for the loss {name}, only for {known}; use autograd")
    return FORMULAS[loss]


def _ordinal(level: Level) -> Formulas:
    """Both derivatives of the ordinal loss of a link."""
    return Formulas(partial(cumulative_slopes, level), partial(cumulative_curvatures, level))


FORMULAS: Mapping[Loss, Formulas] = MappingProxyType(
    {
        losses.squared_error: Formulas(squared_error_slopes, squared_error_curvatures),
        losses.binary_nll: Formulas(binary_slopes, binary_curvatures),
        losses.categorical_nll: Formulas(categorical_slopes, categorical_curvatures),
        losses.cumulative_nll: _ordinal(logit_level),
        losses.cumulative_probit_nll: _ordinal(probit_level),
        losses.cumulative_cloglog_nll: _ordinal(cloglog_level),
    }
)
