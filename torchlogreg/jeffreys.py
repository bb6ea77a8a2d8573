"""Jeffreys' penalty: Firth's bias reduction for binary and multinomial logistic regression.

The penalised log-likelihood is ``sum_i s_i l_i + alpha log det I(theta)`` with the Fisher
information ``I``; :mod:`torchlogreg.log_determinant` holds the formulas. With ``alpha = 1/2`` the
score of a binary model is Firth's ``sum_i (s_i (y_i - p_i) + h_i (1/2 - p_i)) (x_i, 1)``.
"""

from __future__ import annotations

import math
from numbers import Real
from typing import NoReturn

import torch
from torch import Tensor

from torchlogreg.base import Model
from torchlogreg.curvature import mix_matrix
from torchlogreg.data import Batch
from torchlogreg.log_determinant import (
    Rows,
    cholesky,
    largest_leverage,
    log_determinant,
    log_determinant_hessian,
    log_determinant_rounding,
)
from torchlogreg.models import LogisticRegression, SoftmaxRegression
from torchlogreg.penalties import Penalty, checked_alpha

MOST_WORK = 2e10
"""``n P^3`` up to which Newton gets the curvature of the penalty as well (a second or two)."""

MOST_PARAMETERS = 256
"""``P`` up to which it does: ``P^3`` numbers are held."""


IDLE = 0.02
"""``alpha max_i tr M_i`` up to which scoring gains more than a digit a step on its own.

In a binary model the penalty's second derivatives are, by their formulas, between ``+`` and ``-``
``2 alpha max_i M_i`` times the information, and so is the factor by which a step of scoring leaves
an error. On many ordinary rows that is thousandths, and the curvature three times the price.
"""


class Jeffreys(Penalty):
    """Jeffreys' prior as a penalty: ``-(alpha / N) log det I(theta)``; alpha = 1/2 is Firth's.

    It removes the first-order bias of the maximum-likelihood estimate, and its optimum is finite
    whatever the classes, completely separated ones included. Unlike the other penalties it depends
    on the rows and also acts on the intercepts.

    Parameters
    ----------
    alpha : float
        Power of ``det I``, finite and ``>= 0``: 0.5 is Jeffreys' prior; between 0 and 0.5 it
        shrinks less, and the optimum is finite all the same; 0 is none.
    n_observations : float, optional
        Observations ``N`` that the rows stand for, ``> 0``. The objective is a mean under weights
        of mean one, whose scale says nothing, but this penalty is worth less the more observations
        there are. Default: the rows whose weight is not zero. For frequency weights pass
        ``sample_weight.sum()``: then a weight of 2 is a repeated row.

    Raises
    ------
    ValueError
        If ``alpha`` or ``n_observations`` is out of its range.

    Notes
    -----
    ``-N`` times the objective is the penalised log-likelihood, with the determinant of the full
    information in the columns as given: other units of the columns shift it by a constant. Standard
    errors of the field (logistf, brglm2, Stata's firthlogit) are from ``I^-1`` at the estimate, the
    plain information, not that of the penalised likelihood.

    References
    ----------
    Firth, Bias reduction of maximum likelihood estimates, Biometrika 80 (1993); Heinze and
    Schemper, A solution to the problem of separation, Stat. Med. 21 (2002); Kosmidis and Firth,
    Multinomial logit bias reduction via the Poisson log-linear model, Biometrika 98 (2011), and
    Jeffreys-prior penalty, finiteness and shrinkage, Biometrika 108 (2021).
    """

    smooth = True
    needs_rows = True

    def __init__(self, alpha: float = 0.5, n_observations: float | None = None) -> None:
        self.alpha = checked_alpha(alpha)
        self.n_observations = None if n_observations is None else _checked_count(n_observations)

    def check(self, model: Model, *, own_loss: bool) -> None:
        """Refuse models and losses whose information is not the one derived here.

        Raises
        ------
        ValueError
            Naming the model or the loss.
        """
        if not isinstance(model, LogisticRegression | SoftmaxRegression):
            raise ValueError(
                f"Jeffreys is derived for logistic and softmax regression, not for "
                f"{type(model).__name__}; use L2"
            )
        if not own_loss:
            raise ValueError(
                "Jeffreys is derived from the model's own likelihood; drop loss=, or use L2"
            )

    def value_on(self, model: Model, batch: Batch, eta: Tensor) -> Tensor:
        """``-(alpha / N) log det I`` at ``eta (n, k)``, once differentiable; inf where singular.

        Raises
        ------
        ValueError
            Where a gradient is wanted and some column is a combination of others.
        """
        if self.alpha == 0:
            return eta.new_zeros(())
        total = self.total(batch)
        rows = _rows(model, batch, total)
        value = log_determinant(eta, rows)
        if value.requires_grad and bool(torch.isneginf(value)):  # waits for the device
            rows.refuse_dependent_columns()
        return -self.alpha / total * value

    @torch.no_grad()
    def curvature_on(self, matrix: Tensor, model: Model, batch: Batch) -> Tensor:
        """Hessian of loss and penalty, (P, P), from ``matrix``, that of the loss.

        The penalty is not convex, so that far from the optimum the sum can be indefinite; there,
        where the penalty's part would cost too much (``MOST_WORK``), and where the leverages prove
        that it changes little, ``matrix`` itself is returned, and Newton's steps are those of
        Fisher scoring.
        """
        free = _identified(model).to(matrix.device)
        work = len(batch) * float(len(free)) ** 3
        if self.alpha == 0 or len(free) > MOST_PARAMETERS or work > MOST_WORK:
            return matrix
        n = self.total(batch)
        rows = _rows(model, batch, n)
        inverse = _information_inverse(matrix[free][:, free] * n, model)
        if inverse is not None and self.alpha * largest_leverage(rows, inverse) < IDLE:
            return matrix
        own = log_determinant_hessian(model(batch.X, batch.offset), rows)
        if own is None:
            return matrix
        both = matrix - (self.alpha / n * _as_parameters(own, model)).to(matrix.dtype)
        return matrix if cholesky(both[free][:, free]) is None else both

    @torch.no_grad()
    def rounding_on(self, model: Model, batch: Batch) -> Tensor:
        """First-order effect of rounding ``I`` on the value: large where it is ill-conditioned."""
        if self.alpha == 0:
            return batch.X.new_zeros(())
        n = self.total(batch)
        rows = _rows(model, batch, n)
        return self.alpha / n * log_determinant_rounding(model(batch.X, batch.offset), rows)

    def total(self, batch: Batch) -> Tensor:
        """``N``, a scalar tensor."""
        if self.n_observations is None:
            return batch.sample_weight.count_nonzero().to(batch.sample_weight.dtype)
        return batch.sample_weight.new_tensor(self.n_observations)

    @torch.no_grad()
    def log_likelihood(
        self,
        model: Model,
        X: Tensor,
        y: Tensor,
        *,
        sample_weight: Tensor | None = None,
        offset: Tensor | None = None,
    ) -> Tensor:
        """Penalised log-likelihood ``sum_i s_i l_i + alpha log det I``, a scalar.

        Parameters
        ----------
        model : LogisticRegression or SoftmaxRegression
        X : Tensor, shape (n, n_features)
        y : Tensor, shape (n,) or (n, K)
        sample_weight : Tensor, shape (n,), optional
            Frequencies, used as they are, in the information too; ``n_observations`` is not used.
        offset : Tensor, shape (n,) or (n, r), optional
        """
        self.check(model, own_loss=True)
        frequency = X.new_ones(len(X)) if sample_weight is None else sample_weight
        plain = model.log_likelihood(X, y, sample_weight=frequency, offset=offset)
        if self.alpha == 0:
            return plain
        rows = _rows(model, Batch(X, y, frequency, offset), X.new_tensor(len(X)))
        return plain + self.alpha * log_determinant(model(X, offset), rows)

    def value(self, weight: Tensor) -> NoReturn:
        """Refused: it depends on the rows; ``value_on`` and ``Objective.value`` know them."""
        raise TypeError("Jeffreys depends on the rows, not on weight alone; use Objective.value")

    def curvature(self, weight: Tensor) -> NoReturn:
        """Refused; see ``curvature_on``."""
        raise TypeError("Jeffreys depends on the rows, not on weight alone; use Closure.hessian")

    def prox(self, weight: Tensor, step: float | Tensor) -> NoReturn:
        """Refused: it is smooth."""
        raise TypeError("Jeffreys has no prox; it is smooth, so use its gradient")


def _rows(model: Model, batch: Batch, total: Tensor) -> Rows:
    """The design of the trainable parameters, under weights that add up to ``total``."""
    X = batch.X if model.weight.requires_grad else batch.X[:, :0]
    ones = model.bias is not None and model.bias.requires_grad
    return Rows(X, ones, batch.sample_weight * (total / len(batch)))


def _information_inverse(information: Tensor, model: Model) -> Tensor | None:
    """``I^-1`` by class, then column, from ``I`` in the flat order; None if it is singular."""
    factor = cholesky(information)
    if factor is None:
        return None
    place = _flat_order(model).to(information.device)[_identified(model).to(information.device)]
    back = place.argsort()
    return torch.cholesky_inverse(factor)[back][:, back]


def _as_parameters(matrix: Tensor, model: Model) -> Tensor:
    """From the reference form to the module's trainable parameters, in their flat order."""
    R = mix_matrix(model).to(matrix.dtype)
    contrast = R if len(R) == 1 else R[1:] - R[:1]  # classes against class 0, from the scores
    r, m = contrast.shape
    q = len(matrix) // r
    blocks = torch.einsum("ja,jckd,kb->acbd", contrast, matrix.view(r, q, r, q), contrast)
    order = _flat_order(model).to(matrix.device)
    return blocks.reshape(m * q, m * q)[order][:, order]


def _flat_order(model: Model) -> Tensor:
    """Where each trainable parameter stands when they are ordered by class, then column."""
    p = model.n_features if model.weight.requires_grad else 0
    q = p + int(model.bias is not None and model.bias.requires_grad)
    index = torch.arange(len(model.weight) * q).view(-1, q)
    return torch.cat((index[:, :p].flatten(), index[:, p:].flatten()))


def _identified(model: Model) -> Tensor:
    """Positions of the trainable parameters but those of a redundant class 0."""
    order, all_classes = _flat_order(model), len(model.weight) == model.n_classes
    q = len(order) // len(model.weight)
    return (order >= q * int(all_classes)).nonzero().squeeze(1)


def _checked_count(n_observations: float) -> float:
    if not isinstance(n_observations, Real) or not 0 < n_observations < math.inf:
        raise ValueError(
            f"n_observations is {n_observations!r}, but it counts observations: a finite number "
            "above 0, such as sample_weight.sum()"
        )
    return float(n_observations)
