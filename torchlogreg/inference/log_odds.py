"""Log-odds of every class against all others, and their derivatives by ``eta``."""

from __future__ import annotations

import torch
from torch import Tensor

from torchlogreg.base import Model
from torchlogreg.losses import Loss, class_log_probabilities
from torchlogreg.models import OrdinalRegression, SoftmaxRegression


def log_odds(model: Model, eta: Tensor) -> tuple[Tensor, Tensor]:
    """``log(p_c / (1 - p_c))``, exact where either probability vanishes.

    Parameters
    ----------
    model : Model
        Binary, multinomial or ordinal; its parameters are not read.
    eta : Tensor, shape (n, k)

    Returns
    -------
    values : Tensor, shape (n, C)
        ``C = 1``, class 1, for a binary model; else ``K``.
    slopes : Tensor, shape (n, C, k)
    """
    if isinstance(model, SoftmaxRegression):
        return _softmax(eta)
    if isinstance(model, OrdinalRegression):
        return _ordinal(model.nll, model.n_classes, eta)
    return eta, torch.ones_like(eta).unsqueeze(2)


def _softmax(eta: Tensor) -> tuple[Tensor, Tensor]:
    """``eta_c`` less the logsumexp of the others."""
    own = torch.eye(eta.shape[1], dtype=torch.bool, device=eta.device)
    others = eta.unsqueeze(1).masked_fill(own, -torch.inf)  # (n, K, K)
    return eta - others.logsumexp(dim=2), own.to(eta.dtype) - torch.softmax(others, dim=2)


def _ordinal(loss: Loss, n_classes: int, eta: Tensor) -> tuple[Tensor, Tensor]:
    """``log p`` less the logarithm of what lies below and above; derivatives by autograd.

    Class ``c`` moves with ``eta_(c-1)`` and ``eta_c`` only: classes of one parity share no ``eta``,
    so that two gradients are all ``K`` of them.
    """
    with torch.enable_grad():
        eta = eta.detach().requires_grad_()
        two = class_log_probabilities(loss, eta.reshape(-1, 1), 2).view(*eta.shape, 2)
        below, above = two.unbind(dim=2)  # (n, K - 1): log F, log (1 - F)
        inner = class_log_probabilities(loss, eta, n_classes)[:, 1:-1]
        middle = inner - torch.logaddexp(below[:, :-1], above[:, 1:])
        ends = below - above
        values = torch.cat((ends[:, :1], middle, -ends[:, -1:]), dim=1)
        gradients = [
            torch.autograd.grad(values[:, parity::2].sum(), eta, retain_graph=True)[0]
            for parity in (0, 1)
        ]
    slopes = eta.new_zeros(*values.shape, n_classes - 1)
    place = torch.arange(n_classes - 1, device=eta.device)
    for parity, gradient in enumerate(gradients):
        slopes[:, place + (place % 2 != parity), place] = gradient
    return values.detach(), slopes
