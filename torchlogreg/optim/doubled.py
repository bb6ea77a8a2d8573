"""Slopes of the losses in doubled precision, and square roots of their curvatures.

The slopes are differences of probabilities and targets, so they are right to about 1e-31 of a
probability of one. A square root of the curvature ``C_i`` (k, k) is any ``B_i`` (q, k) with
``C_i = B_i' B_i``: rows that a QR factorisation takes, so that nothing is squared.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from torchlogreg.double_double import DoubleDouble, total
from torchlogreg.double_double_functions import expm1, multiply, reciprocal, sigmoid, softmax
from torchlogreg.losses import Loss, binary_nll, categorical_nll, cumulative_nll


class Doubled(NamedTuple):
    """What is known of a loss.

    Attributes
    ----------
    slopes : callable
        ``(eta (n, k), y, intercepts (k,)) -> d loss_i / d eta_i (n, k)``, all but ``y`` doubled.
    roots : callable
        ``(eta (n, k), y) -> B (n, q, k)``, in float64.
    """

    slopes: Callable[[DoubleDouble, Tensor, DoubleDouble], DoubleDouble]
    roots: Callable[[Tensor, Tensor], Tensor]


def _binary_slopes(eta: DoubleDouble, y: Tensor, intercepts: DoubleDouble) -> DoubleDouble:
    return sigmoid(eta) - DoubleDouble.of(y.unsqueeze(1))


def _binary_roots(eta: Tensor, y: Tensor) -> Tensor:
    return (torch.sigmoid(eta) * torch.sigmoid(-eta)).sqrt().unsqueeze(2)


def _categorical_slopes(eta: DoubleDouble, y: Tensor, intercepts: DoubleDouble) -> DoubleDouble:
    shares = softmax(eta)
    if y.ndim == 2:  # distributions sum to one only up to rounding
        whole = total(DoubleDouble.of(y), 1)
        shares = multiply(shares, DoubleDouble(whole.high[:, None], whole.low[:, None]))
    return shares - DoubleDouble.of(_distribution(y, eta.high.shape[1], eta.high))


def _categorical_roots(eta: Tensor, y: Tensor) -> Tensor:
    """``sum_j p_j (e_j - p)(e_j - p)'`` is ``diag(p) - p p'``."""
    p = torch.softmax(eta, dim=1)
    eye = torch.eye(eta.shape[1], dtype=eta.dtype, device=eta.device)
    roots = p.sqrt().unsqueeze(2) * (eye - p.unsqueeze(1))
    return roots if y.ndim == 1 else roots * y.sum(1).sqrt()[:, None, None]


def _cumulative_slopes(eta: DoubleDouble, y: Tensor, intercepts: DoubleDouble) -> DoubleDouble:
    """``(y_j + y_j+1) F(eta_j) - y_j (1 + g_j) + y_j+1 g_j+1``, ``g_j = 1 / expm1(gap below)``.

    A level's probability is ``F(upper) F(-lower) (1 - e^-gap)``, and the gaps between cutpoints are
    those of all rows.
    """
    k = eta.high.shape[1]
    shares = _distribution(y, k + 1, eta.high)  # (n, k + 1)
    below, above = shares[:, :-1], shares[:, 1:]
    g = reciprocal(expm1(intercepts[1:] - intercepts[:-1]))  # (k - 1,)
    end = DoubleDouble.of(eta.high.new_zeros(1))
    lower, upper = DoubleDouble.cat((end, g)), DoubleDouble.cat((g, end))
    lower = lower + DoubleDouble.of(torch.ones_like(lower.high))
    F_eta = sigmoid(eta)
    return (F_eta * below - lower * below) + (F_eta * above + upper * above)


def _cumulative_roots(eta: Tensor, y: Tensor) -> Tensor:
    """One row for every cutpoint, and one for every gap between two."""
    k = eta.shape[1]
    shares = _distribution(y, k + 1, eta)
    density = torch.sigmoid(eta) * torch.sigmoid(-eta) * (shares[:, :-1] + shares[:, 1:])
    at_cutpoints = torch.diag_embed(density.sqrt())
    if k == 1:
        return at_cutpoints
    gap = eta[:, 1:] - eta[:, :-1]
    bend = (-gap).exp() / torch.expm1(-gap).square()  # of -log(1 - e^-gap)
    eye = torch.eye(k, dtype=eta.dtype, device=eta.device)
    steps = eye[1:] - eye[:-1]  # (k - 1, k)
    at_gaps = (shares[:, 1:-1] * bend).sqrt().unsqueeze(2) * steps
    return torch.cat((at_cutpoints, at_gaps), dim=1)


def _distribution(y: Tensor, n_classes: int, like: Tensor) -> Tensor:
    """Targets as distributions (n, K)."""
    return y.to(like) if y.ndim == 2 else F.one_hot(y, n_classes).to(like)


DOUBLED: dict[Loss, Doubled] = {
    binary_nll: Doubled(_binary_slopes, _binary_roots),
    categorical_nll: Doubled(_categorical_slopes, _categorical_roots),
    cumulative_nll: Doubled(_cumulative_slopes, _cumulative_roots),
}
"""The losses whose slopes can be had; the normal and the log-log link of ordinal models cannot."""
