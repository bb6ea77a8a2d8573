"""Losses of ordinal regression: a level's probability is the difference of two cumulative ones.

Each link supplies three logarithms (of F, of 1 - F, of F(upper) - F(lower)) in forms that never
subtract probabilities; one function assembles them. ``torchlogreg.losses`` exports the losses.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

Curve = Callable[[Tensor], Tensor]


def cumulative_nll(eta: Tensor, y: Tensor) -> Tensor:
    """Negative log-likelihood of the proportional-odds model (logit link).

    ``P(y <= j) = sigmoid(eta_j)``, so the probability of class ``j`` is the difference of two
    neighbours; its logarithm is ``log sigmoid(upper) + log sigmoid(-lower) + log(1 - exp(lower -
    upper))``, which never subtracts probabilities.

    Parameters
    ----------
    eta : Tensor, shape (n, K - 1)
        Cumulative linear predictors, increasing along each row.
    y : Tensor, shape (n,) of integers in [0, K), or shape (n, K)
        Levels, or distributions over the levels.

    Returns
    -------
    Tensor, shape (n,), in nats.

    References
    ----------
    McCullagh, Regression models for ordinal data, J. R. Stat. Soc. B 42 (1980).
    """
    return _cumulative(eta, y, F.logsigmoid, lambda t: F.logsigmoid(-t), _log_interval_logit)


def cumulative_probit_nll(eta: Tensor, y: Tensor) -> Tensor:
    """Negative log-likelihood of the ordered probit model: ``P(y <= j) = Phi(eta_j)``.

    Parameters
    ----------
    eta : Tensor, shape (n, K - 1)
        Cumulative linear predictors, increasing along each row.
    y : Tensor, shape (n,) of integers in [0, K), or shape (n, K)
        Levels, or distributions over the levels.

    Returns
    -------
    Tensor, shape (n,), in nats.
    """
    wide = _special_dtype(eta)
    loss = _cumulative(wide, y, log_ndtr, lambda t: log_ndtr(-t), _log_interval_probit)
    return loss.to(eta.dtype)


def cumulative_cloglog_nll(eta: Tensor, y: Tensor) -> Tensor:
    """Negative log-likelihood of the grouped proportional-hazards model.

    ``P(y <= j) = 1 - exp(-exp(eta_j))``, the complementary log-log link.

    Parameters
    ----------
    eta : Tensor, shape (n, K - 1)
        Cumulative linear predictors, increasing along each row.
    y : Tensor, shape (n,) of integers in [0, K), or shape (n, K)
        Levels, or distributions over the levels.

    Returns
    -------
    Tensor, shape (n,), in nats.

    Notes
    -----
    The loss of the last level is ``exp(eta)`` itself, which no dtype can hold at ``eta = 1e4``.
    Past the range of the dtype ``exp`` goes on along its tangent: finite, increasing, convex.
    """
    wide = _special_dtype(eta)
    loss = _cumulative(
        wide, y, _log_cdf_cloglog, lambda t: -_exp_with_tangent(t), _log_interval_cloglog
    )
    return loss.to(eta.dtype)


def cumulative_log_odds(eta: Tensor, link: str) -> Tensor:
    """``log F(eta) - log(1 - F(eta))`` of a link, without forming probabilities.

    Parameters
    ----------
    eta : Tensor, any shape
    link : {"logit", "probit", "cloglog"}

    Returns
    -------
    Tensor, same shape.
    """
    if link == "logit":
        return eta
    wide = _special_dtype(eta)
    if link == "probit":
        return (log_ndtr(wide) - log_ndtr(-wide)).to(eta.dtype)
    return (_log_cdf_cloglog(wide) + _exp_with_tangent(wide)).to(eta.dtype)


def log_ndtr(x: Tensor) -> Tensor:
    """``log Phi(x)`` with finite first and second derivatives at any ``x``.

    ``torch.special.log_ndtr`` is exact, but its derivative divides by ``erfcx(-x / sqrt 2)``, which
    overflows for large ``x`` and turns second derivatives into NaN; there ``log1p`` takes over.
    """
    large = x > 5
    tail = torch.log1p(-0.5 * torch.special.erfc(torch.where(large, x, 5.0) * math.sqrt(0.5)))
    return torch.where(large, tail, torch.special.log_ndtr(torch.where(large, 5.0, x)))


def log1mexp(x: Tensor) -> Tensor:
    """``log(1 - exp(-x))`` for ``x > 0``, exact at both ends (Maechler, 2012)."""
    small = x < math.log(2)
    near = torch.log(-torch.expm1(-torch.where(small, x, 1.0)))
    return torch.where(small, near, torch.log1p(-torch.exp(-torch.where(small, 1.0, x))))


def _special_dtype(eta: Tensor) -> Tensor:
    """Half precision widened: torch has no erfcx or log_ndtr for it."""
    return eta.float() if eta.dtype in (torch.float16, torch.bfloat16) else eta


def _cumulative(
    eta: Tensor,
    y: Tensor,
    log_cdf: Curve,
    log_sf: Curve,
    log_interval: Callable[[Tensor, Tensor], Tensor],
) -> Tensor:
    """Ordinal loss from the logs of F, of 1 - F and of F(upper) - F(lower)."""
    last = eta.shape[1]  # = K - 1
    if y.ndim == 2:
        log_p = torch.stack(
            [
                -_cumulative(eta, torch.full_like(y[:, 0], j).long(), log_cdf, log_sf, log_interval)
                for j in range(last + 1)
            ],
            dim=1,
        )
        return -(y * log_p).sum(dim=1)
    upper = eta.gather(1, y.clamp(max=last - 1).unsqueeze(1)).squeeze(1)
    lower = eta.gather(1, (y - 1).clamp(min=0).unsqueeze(1)).squeeze(1)
    inner = (y > 0) & (y < last)
    # The unused branches of where must stay finite in value and slope: give them an open interval.
    middle = log_interval(torch.where(inner, lower, -1.0), torch.where(inner, upper, 1.0))
    ends = torch.where(y == 0, log_cdf(upper), log_sf(lower))
    return -torch.where(inner, middle, ends)


def _gap(lower: Tensor, upper: Tensor) -> Tensor:
    """``upper - lower``, kept open where rounding closed it."""
    floor = math.sqrt(torch.finfo(lower.dtype).tiny)  # its reciprocal can still be squared
    return (upper - lower).clamp(min=floor)


def _log_interval_logit(lower: Tensor, upper: Tensor) -> Tensor:
    """log(sigmoid(upper) - sigmoid(lower)) = log of sigmoid(upper) sigmoid(-lower) (1 - e^-gap)."""
    return F.logsigmoid(upper) + F.logsigmoid(-lower) + log1mexp(_gap(lower, upper))


def _log_interval_probit(lower: Tensor, upper: Tensor) -> Tensor:
    """log(Phi(upper) - Phi(lower)), reflected so that it is taken in the lower tail.

    Between close neighbours that difference cancels; there the integral of the density over the
    gap is expanded about its middle, with an error below 1e-15.
    """
    gap, middle = _gap(lower, upper), 0.5 * (lower + upper)
    narrow = gap * (1 + middle.abs()) < 1e-3
    g, m = torch.where(narrow, gap, 1e-3), torch.where(narrow, middle, 0.0)
    series = torch.log(g) - 0.5 * (m.square() + math.log(2 * math.pi))
    series = series + torch.log1p(g.square() * (m.square() - 1) / 24)
    flip = middle > 0
    low = torch.where(narrow, -1.0, torch.where(flip, -upper, lower))
    high = torch.where(narrow, 1.0, torch.where(flip, -lower, upper))
    log_high = log_ndtr(high)
    return torch.where(narrow, series, log_high + log1mexp(_gap(log_ndtr(low), log_high)))


def _log_interval_cloglog(lower: Tensor, upper: Tensor) -> Tensor:
    """log(exp(-e^lower) - exp(-e^upper)); log(e^upper - e^lower) is upper + log1mexp(gap)."""
    return _log_cdf_cloglog(upper + log1mexp(_gap(lower, upper))) - _exp_with_tangent(lower)


def _log_cdf_cloglog(t: Tensor) -> Tensor:
    """log(1 - exp(-e^t)): ``t - e^t / 2`` far left, where e^t would underflow; 0 from t = 7 on."""
    left = t < -30
    far = torch.where(left, t, -30.0)
    near = torch.exp(torch.where(left, 0.0, t).clamp(max=7.0))
    return torch.where(left, far - 0.5 * torch.exp(far), log1mexp(near))


def _exp_with_tangent(t: Tensor) -> Tensor:
    """exp, continued along its tangent from where e^t times 1e4 would overflow."""
    edge = math.log(torch.finfo(t.dtype).max) - 10
    return torch.exp(t.clamp(max=edge)) * (1 + (t - edge).clamp(min=0))
