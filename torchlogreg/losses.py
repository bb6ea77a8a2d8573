"""Losses: plain functions from ``(eta, y)`` to one number per row, and their derivatives.

Every loss is a negative log-likelihood written so that no term is the difference of two large
numbers: values and slopes keep their relative precision at ``eta = +-1e4``, and nothing is clamped.

Notation: ``n`` rows, ``k`` columns of ``eta``, ``K`` classes. ``y`` is a *hard* target (one label a
row) or a *soft* one (a probability, or a distribution over the classes).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from torchlogreg.cumulative import cumulative_cloglog_nll, cumulative_nll, cumulative_probit_nll

__all__ = [
    "Loss",
    "binary_nll",
    "categorical_nll",
    "class_log_probabilities",
    "cross_entropy",
    "cumulative_cloglog_nll",
    "cumulative_nll",
    "cumulative_probit_nll",
    "curvatures",
    "entropy",
    "slopes",
    "squared_error",
]

Loss = Callable[[Tensor, Tensor], Tensor]
"""``(eta (n, k), y (n,) or (n, K)) -> (n,)``, convex in ``eta``, nothing reduced."""


def squared_error(eta: Tensor, y: Tensor) -> Tensor:
    """Squared error ``(y - eta)^2``: the Gaussian negative log-likelihood up to scale and constant.

    Parameters
    ----------
    eta : Tensor, shape (n, 1)
        Linear predictor, in the units of ``y``.
    y : Tensor, shape (n,)
        Observed response.

    Returns
    -------
    Tensor, shape (n,)
        Its mean is the mean squared error of ``torch.nn.functional.mse_loss``; there is no factor
        one half, so the slope is ``2 (eta - y)`` and the curvature 2.
    """
    return (eta.squeeze(-1) - y).square()


def binary_nll(eta: Tensor, y: Tensor) -> Tensor:
    """Negative log-likelihood of the Bernoulli model, also called log loss or cross-entropy.

    ``-y log(p) - (1 - y) log(1 - p)`` with ``p = sigmoid(eta)``, written with ``logsigmoid`` of
    ``+-eta``: both terms are non-negative, so nothing cancels.

    Parameters
    ----------
    eta : Tensor, shape (n, 1)
        Log-odds of class 1.
    y : Tensor, shape (n,)
        Labels 0 and 1, or probabilities of class 1 between them.

    Returns
    -------
    Tensor, shape (n,), in nats.

    References
    ----------
    McCullagh and Nelder, Generalized Linear Models (1989), section 4.4.
    """
    eta = eta.squeeze(-1)
    return -(y * F.logsigmoid(eta) + (1 - y) * F.logsigmoid(-eta))


def categorical_nll(eta: Tensor, y: Tensor) -> Tensor:
    """Negative log-likelihood of the multinomial (softmax) model.

    ``logsumexp(eta) - eta[y]``, computed as ``(eta_top - eta_y) + log1p(sum of the others)`` with
    everything relative to the largest entry: both terms are non-negative, so that a confident and
    right prediction keeps all digits of its tiny loss.

    Parameters
    ----------
    eta : Tensor, shape (n, K)
        Linear predictors, defined up to a constant per row.
    y : Tensor, shape (n,) of integers in [0, K), or shape (n, K)
        Class indices, or distributions over the classes (rows sum to one).

    Returns
    -------
    Tensor, shape (n,), in nats.
    """
    top_index = eta.detach().argmax(dim=1, keepdim=True)
    top = eta.gather(1, top_index)  # (n, 1)
    others = (eta - top).exp().masked_fill(_one_hot(top_index, eta), 0.0).sum(dim=1)
    if y.ndim == 1:
        shortfall = (top - eta.gather(1, y.unsqueeze(1))).squeeze(1)
        return shortfall + torch.log1p(others)
    return (y * (top - eta)).sum(dim=1) + y.sum(dim=1) * torch.log1p(others)


def entropy(p: Tensor) -> Tensor:
    """Shannon entropy ``-sum_j p_j log p_j`` of each row: the surprise one should expect.

    Zero when one outcome is certain, ``log K`` when all ``K`` are equally likely.

    Parameters
    ----------
    p : Tensor, shape (n, K), or (n,) for a coin with P(heads) = p
        Probabilities; rows of the first form sum to one.

    Returns
    -------
    Tensor, shape (n,), in nats (divide by ``log 2`` for bits).

    References
    ----------
    Shannon, A mathematical theory of communication (1948).
    """
    if p.ndim == 1:
        p = torch.stack((1 - p, p), dim=1)
    surprise: Tensor = torch.special.entr(p)
    return surprise.sum(dim=1)


def cross_entropy(y: Tensor, p: Tensor) -> Tensor:
    """Cross-entropy ``-sum_j y_j log p_j`` of each row: the surprise of one who believes ``p``.

    When the truth is ``y`` and the model says ``p``, this is ``entropy(y)`` plus the divergence of
    ``p`` from ``y``; for a hard label it is ``-log`` of the probability given to what happened,
    which is why minimising it and maximising the likelihood are one thing. Training uses the
    ``*_nll`` functions of ``eta``, which never form ``p`` and so never take ``log 0``.

    Parameters
    ----------
    y : Tensor, shape (n,) or (n, K)
        The truth: probabilities (or labels) of class 1, or distributions.
    p : Tensor, same shape
        The model's probabilities.

    Returns
    -------
    Tensor, shape (n,), in nats; infinite where the model excluded what happened.
    """
    if p.ndim == 1:
        y, p = torch.stack((1 - y, y), dim=1), torch.stack((1 - p, p), dim=1)
    surprise: Tensor = -torch.special.xlogy(y.to(p.dtype), p)
    return surprise.sum(dim=1)


def slopes(loss: Loss, eta: Tensor, y: Tensor) -> Tensor:
    """First derivatives ``d loss_i / d eta_i``, by autograd.

    Parameters
    ----------
    loss : Loss
    eta : Tensor, shape (n, k)
    y : Tensor, shape (n,) or (n, K)

    Returns
    -------
    Tensor, shape (n, k), detached.
    """
    with torch.enable_grad():
        eta = eta.detach().requires_grad_()
        (first,) = torch.autograd.grad(loss(eta, y).sum(), eta)
    return first


def curvatures(loss: Loss, eta: Tensor, y: Tensor) -> Tensor:
    """Second derivatives ``d2 loss_i / d eta_i2`` (the IRLS working weights), by autograd.

    Parameters
    ----------
    loss : Loss
    eta : Tensor, shape (n, k)
    y : Tensor, shape (n,) or (n, K)

    Returns
    -------
    Tensor, shape (n, k, k), detached, symmetric.
    """
    with torch.enable_grad():
        eta = eta.detach().requires_grad_()
        (first,) = torch.autograd.grad(loss(eta, y).sum(), eta, create_graph=True)
        columns = []
        for j in range(eta.shape[1]):  # rows do not meet, so one pass gives column j of all blocks
            if not first.requires_grad:  # a loss linear in eta
                columns.append(torch.zeros_like(eta))
                continue
            (column,) = torch.autograd.grad(first[:, j].sum(), eta, retain_graph=True)
            columns.append(column)
    return torch.stack(columns, dim=1).detach()


def class_log_probabilities(loss: Loss, eta: Tensor, n_classes: int) -> Tensor:
    """Log-probability of every class, from a classification loss.

    Parameters
    ----------
    loss : Loss
        One of the ``*_nll`` functions over class indices.
    eta : Tensor, shape (n, k)
    n_classes : int
        ``K``.

    Returns
    -------
    Tensor, shape (n, K).
    """
    n = eta.shape[0]
    labels = [torch.full((n,), j, device=eta.device) for j in range(n_classes)]
    return torch.stack([-loss(eta, y) for y in labels], dim=1)


def _one_hot(index: Tensor, like: Tensor) -> Tensor:
    """Boolean (n, K) mask of ``index`` (n, 1)."""
    return torch.arange(like.shape[1], device=like.device) == index
