"""Derivatives of the mean response, or of its logarithm, by ``eta``: written out, exact.

Notation of :mod:`torchlogreg.objective`; ``C`` is the number of means a row has: 1 for linear and
binary models (``P(y = 1)``), ``K`` for multinomial and ordinal ones.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from torchlogreg import losses
from torchlogreg.base import Model
from torchlogreg.losses import Loss
from torchlogreg.models import LogisticRegression, OrdinalRegression, SoftmaxRegression


class Response(NamedTuple):
    """A mean (or its logarithm) and its derivatives at some rows."""

    value: Tensor  # (n, C)
    slopes: Tensor  # (n, C, k)
    bends: Tensor  # (n, C, k, k), or (0,) where nobody asked


def response(model: Model, eta: Tensor, *, log: bool = False, bends: bool = True) -> Response:
    """Mean response with first and second derivatives by ``eta``.

    Parameters
    ----------
    model : Model
        Chooses the formula; its parameters are not read.
    eta : Tensor, shape (n, k)
    log : bool
        Whether the logarithm of the mean is meant.
    bends : bool
        Whether the second derivatives are wanted: (n, C, k, k) numbers.
    """
    if isinstance(model, LogisticRegression):
        return _binary(eta, log, bends)
    if isinstance(model, SoftmaxRegression):
        return _softmax(eta, log, bends)
    if isinstance(model, OrdinalRegression):
        if log:
            return _ordinal_log(model.nll, model.n_classes, eta, bends)
        return _ordinal(model.mean(eta), *_density(eta, model.link), bends)
    return _linear(eta, log, bends)


def width(model: Model) -> int:
    """Numbers that a row's second derivatives take, ``C k^2``."""
    if isinstance(model, OrdinalRegression):
        return model.n_classes * (model.n_classes - 1) ** 2
    return model.n_classes**3 if isinstance(model, SoftmaxRegression) else 1


def _linear(eta: Tensor, log: bool, bends: bool) -> Response:
    """The identity; the logarithm is that of its size."""
    if log:
        inverse = 1 / eta
        second = -inverse.square()[:, :, None, None] if bends else eta.new_zeros(0)
        return Response(eta.abs().log(), inverse[:, :, None], second)
    second = torch.zeros_like(eta)[:, :, None, None] if bends else eta.new_zeros(0)
    return Response(eta, torch.ones_like(eta)[:, :, None], second)


def _binary(eta: Tensor, log: bool, bends: bool) -> Response:
    """``p = sigmoid(eta)``: p' = p (1 - p), p'' = p' (1 - 2p); log: 1 - p, -p (1 - p)."""
    p, q = torch.sigmoid(eta), torch.sigmoid(-eta)
    if log:
        second = -(p * q)[:, :, None, None] if bends else eta.new_zeros(0)
        return Response(torch.nn.functional.logsigmoid(eta), q[:, :, None], second)
    slope = p * q
    second = (-slope * torch.tanh(0.5 * eta))[:, :, None, None] if bends else eta.new_zeros(0)
    return Response(p, slope[:, :, None], second)


def _softmax(eta: Tensor, log: bool, bends: bool) -> Response:
    """``L_ca = d log p_c / d eta_a = [c = a] - p_a``; p'' = p (L L' + L'), all about one class."""
    p = torch.softmax(eta, dim=1)
    eye = torch.eye(eta.shape[1], dtype=eta.dtype, device=eta.device)
    L = eye - p.unsqueeze(1)  # (n, C, k)
    L.diagonal(dim1=1, dim2=2).copy_(p @ (1 - eye))  # 1 - p_c without cancellation
    first = L if log else p.unsqueeze(2) * L
    value = torch.log_softmax(eta, dim=1) if log else p
    if not bends:
        return Response(value, first, eta.new_zeros(0))
    second = p[:, :, None] * L  # (n, k, k): p_a ([a = b] - p_b)
    if log:
        return Response(value, first, -second.unsqueeze(1).expand(-1, len(eye), -1, -1))
    both = L.unsqueeze(3) * L.unsqueeze(2) - second.unsqueeze(1)
    return Response(value, first, p[:, :, None, None] * both)


def _ordinal(mean: Tensor, density: Tensor, slope: Tensor, bends: bool) -> Response:
    """``p_c = F(eta_c) - F(eta_{c-1})``: each eta moves two neighbours, by ``f`` and ``-f``."""
    n, k = density.shape
    first = density.new_zeros(n, k + 1, k)
    first[:, :-1].diagonal(dim1=1, dim2=2).copy_(density)
    first[:, 1:].diagonal(dim1=1, dim2=2).sub_(density)
    if not bends:
        return Response(mean, first, density.new_zeros(0))
    second = density.new_zeros(n, k + 1, k, k)
    own = torch.arange(k, device=density.device)
    second[:, own, own, own] = slope
    second[:, own + 1, own, own] = -slope
    return Response(mean, first, second)


def _ordinal_log(loss: Loss, n_classes: int, eta: Tensor, bends: bool) -> Response:
    """From the loss of each level in turn, which is exact where probabilities vanish."""
    levels = [torch.full((len(eta),), c, device=eta.device) for c in range(n_classes)]
    value = losses.class_log_probabilities(loss, eta, n_classes)
    first = -torch.stack([losses.slopes(loss, eta, y) for y in levels], dim=1)
    if not bends:
        return Response(value, first, eta.new_zeros(0))
    second = -torch.stack([losses.curvatures(loss, eta, y) for y in levels], dim=1)
    return Response(value, first, second)


def _density(eta: Tensor, link: str) -> tuple[Tensor, Tensor]:
    """``F'`` and ``F''`` of a link, same shape."""
    if link == "logit":
        slope = torch.sigmoid(eta) * torch.sigmoid(-eta)
        return slope, -slope * torch.tanh(0.5 * eta)
    if link == "probit":
        slope = torch.exp(-0.5 * eta.square()) / math.sqrt(2 * math.pi)
        return slope, -eta * slope
    growth = torch.exp(eta)  # may be infinite; exp(eta - inf) is the zero that is meant
    slope = torch.exp(eta - growth)
    return slope, slope - torch.exp(2 * eta - growth)
