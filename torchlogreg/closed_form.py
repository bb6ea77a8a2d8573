"""Slopes and curvatures of the built-in losses by formula, where autograd would cost more.

For a thousand rows autograd's bookkeeping takes longer than the arithmetic, and for a million its
tape holds a dozen copies of ``eta``. Other losses are differentiated by autograd; so are these in
the tests, which hold one against the other. As in :mod:`torchlogreg.losses` nothing cancels: the
slope of a row that is predicted well keeps its relative precision.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from torchlogreg import losses
from torchlogreg.losses import Loss


class Slopes(NamedTuple):
    """Losses (n,) and their first derivatives by ``eta`` (n, k)."""

    losses: Tensor
    slopes: Tensor


def has_slopes(loss: Loss) -> bool:
    """Whether :func:`losses_and_slopes` knows ``loss``."""
    return loss in _SLOPES


def losses_and_slopes(loss: Loss, eta: Tensor, y: Tensor) -> Slopes:
    """``loss(eta, y)`` and its slopes, for a loss of which :func:`has_slopes` is true.

    Parameters
    ----------
    loss : Loss
    eta : Tensor, shape (n, k)
    y : Tensor, shape (n,) or (n, K)
    """
    return _SLOPES[loss](eta, y)


def curvatures(loss: Loss, eta: Tensor, y: Tensor) -> Tensor:
    """Second derivatives (n, k, k): by formula where there is one, else by autograd.

    Parameters
    ----------
    loss : Loss
    eta : Tensor, shape (n, k)
    y : Tensor, shape (n,) or (n, K)
    """
    known = _CURVATURES.get(loss)
    return losses.curvatures(loss, eta, y) if known is None else known(eta, y)


def _squared(eta: Tensor, y: Tensor) -> Slopes:
    error = eta.squeeze(1) - y
    return Slopes(error.square(), (2 * error).unsqueeze(1))


def _binary(eta: Tensor, y: Tensor) -> Slopes:
    """``log(1 + e^-|t|) + (1 - y) t_+ + y (-t)_+``, ``(1 - y) sigmoid(t) - y sigmoid(-t)``."""
    t = eta.squeeze(1)
    minus, other = -t, 1 - y
    value = torch.exp(-t.abs()).log1p_()
    value = value.addcmul_(torch.relu(t), other).addcmul_(torch.relu(minus), y)
    slope = torch.sigmoid(t).mul_(other).addcmul_(torch.sigmoid(minus), y, value=-1)
    return Slopes(value, slope.unsqueeze(1))


def _categorical(eta: Tensor, y: Tensor) -> Slopes:
    """As ``categorical_nll``; the slope of the label is minus the sum of the other shares."""
    top, index = eta.max(dim=1, keepdim=True)
    shares = (eta - top).exp_().scatter_(1, index, 0.0)
    others = shares.sum(1, keepdim=True)
    rest = torch.log1p(others).squeeze(1)
    if y.ndim == 2:
        value = (y * (top - eta)).sum(1) + y.sum(1) * rest
        shares = shares.scatter_(1, index, 1.0).div_(1 + others)
        return Slopes(value, shares.mul_(y.sum(1, keepdim=True)).sub_(y))
    label = y.unsqueeze(1)
    value = (top - eta.gather(1, label)).squeeze(1) + rest
    missed = torch.where(index == label, others, 1 + others - shares.gather(1, label))
    shares.scatter_(1, index, 1.0).scatter_(1, label, -missed)
    return Slopes(value, shares.div_(1 + others))


def _squared_curvature(eta: Tensor, y: Tensor) -> Tensor:
    return torch.full_like(eta, 2.0).unsqueeze(2)


def _binary_curvature(eta: Tensor, y: Tensor) -> Tensor:
    """``p (1 - p)``, whatever ``y`` says."""
    return (torch.sigmoid(eta) * torch.sigmoid(-eta)).unsqueeze(2)


def _categorical_curvature(eta: Tensor, y: Tensor) -> Tensor:
    """``diag(p) - p p'``; on the diagonal ``p`` times the sum of the other shares."""
    top, index = eta.max(dim=1, keepdim=True)
    shares = (eta - top).exp_()
    others = shares.scatter(1, index, 0.0).sum(1, keepdim=True)
    total = 1 + others
    p = shares / total
    matrix = -p.unsqueeze(2) * p.unsqueeze(1)
    rest = (total - shares).scatter_(1, index, others)
    matrix.diagonal(dim1=1, dim2=2).copy_(p * rest / total)
    return matrix if y.ndim == 1 else matrix * y.sum(1)[:, None, None]


_SLOPES: dict[Loss, Callable[[Tensor, Tensor], Slopes]] = {
    losses.squared_error: _squared,
    losses.binary_nll: _binary,
    losses.categorical_nll: _categorical,
}
_CURVATURES: dict[Loss, Callable[[Tensor, Tensor], Tensor]] = {
    losses.squared_error: _squared_curvature,
    losses.binary_nll: _binary_curvature,
    losses.categorical_nll: _categorical_curvature,
}
