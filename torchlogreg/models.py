"""The four models: linear, binary logistic, multinomial (softmax) and ordinal regression.

Each is a :class:`torchlogreg.base.Model`, an ``nn.Module`` affine in the row, and starts at zero.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from numbers import Integral

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from torchlogreg import losses
from torchlogreg.base import Model
from torchlogreg.cumulative import cumulative_log_odds
from torchlogreg.losses import Loss
from torchlogreg.targets import class_target, number_target, probability_target

LINKS: Mapping[str, Loss] = {
    "logit": losses.cumulative_nll,
    "probit": losses.cumulative_probit_nll,
    "cloglog": losses.cumulative_cloglog_nll,
}


class LinearRegression(Model):
    """Linear regression: ``E[y|x] = x . weight + bias``, least squares by default.

    Parameters
    ----------
    n_features : int
    bias : bool
    device, dtype
        As in ``nn.Linear``.
    """

    nll = staticmethod(losses.squared_error)

    def __init__(
        self,
        n_features: int,
        bias: bool = True,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(1, n_features, bias, device, dtype)

    def target(self, y: Tensor) -> Tensor:
        """Finite numbers (n,)."""
        return number_target(y, self.weight.dtype)

    def mean(self, eta: Tensor) -> Tensor:
        """``eta`` itself, (n,)."""
        return eta.squeeze(-1)

    def predict(self, eta: Tensor, threshold: float = 0.5) -> Tensor:
        """The mean (n,); ``threshold`` has no meaning here."""
        if threshold != 0.5:
            raise ValueError(f"threshold={threshold} has no meaning for a numeric response")
        return self.mean(eta)

    def log_likelihood(
        self,
        X: Tensor,
        y: Tensor,
        *,
        sample_weight: Tensor | None = None,
        offset: Tensor | None = None,
    ) -> Tensor:
        """Gaussian log-likelihood at the maximum-likelihood variance ``RSS / n``, a scalar.

        Parameters
        ----------
        X : Tensor, shape (n, n_features)
        y : Tensor, shape (n,)
        sample_weight : Tensor, shape (n,), optional
            Frequencies: ``n`` is their sum.
        offset : Tensor, shape (n,), optional
        """
        squares = losses.squared_error(self(X, offset), self.target(y))
        frequency = torch.ones_like(squares) if sample_weight is None else sample_weight
        n = frequency.sum()
        variance = (frequency * squares).sum() / n
        return -0.5 * n * (math.log(2 * math.pi) + variance.log() + 1)


class LogisticRegression(Model):
    """Binary logistic regression: ``log-odds of class 1 = x . weight + bias``.

    Parameters
    ----------
    n_features : int
    bias : bool
    device, dtype
        As in ``nn.Linear``.
    """

    nll = staticmethod(losses.binary_nll)
    n_classes = 2

    def __init__(
        self,
        n_features: int,
        bias: bool = True,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(1, n_features, bias, device, dtype)

    def target(self, y: Tensor) -> Tensor:
        """Labels 0 and 1, or probabilities between them, (n,)."""
        return probability_target(y, self.weight.dtype)

    def mean(self, eta: Tensor) -> Tensor:
        """``P(y = 1) = sigmoid(eta)``, (n,)."""
        return torch.sigmoid(eta.squeeze(-1))

    def predict(self, eta: Tensor, threshold: float = 0.5) -> Tensor:
        """Class 1 where ``P(y = 1) >= threshold``, else class 0; integers (n,)."""
        if not 0 <= threshold <= 1:
            raise ValueError(f"threshold is {threshold}, but it is compared with a probability")
        return (self.mean(eta) >= threshold).long()

    def log_odds(self, eta: Tensor) -> Tensor:
        """``log(p / (1 - p))``, which is ``eta``, (n,)."""
        return eta.squeeze(-1)

    def odds(self, eta: Tensor) -> Tensor:
        """``p / (1 - p)``, (n,): 3 means three to one for class 1."""
        return self.log_odds(eta).exp()


class SoftmaxRegression(Model):
    """Multinomial logistic regression.

    Parameters
    ----------
    n_features : int
    n_classes : int
        ``K >= 2``.
    reference : bool
        False: a row of ``weight`` for every class, determined up to a common shift (a penalty, or
        the minimum-norm steps of Newton, choose one). True: class 0 is the reference with
        ``eta = 0``, and ``weight`` has ``K - 1`` rows, as in statsmodels, nnet and Stata.
    bias : bool
    device, dtype
        As in ``nn.Linear``.
    """

    nll = staticmethod(losses.categorical_nll)
    n_classes: int

    def __init__(
        self,
        n_features: int,
        n_classes: int,
        reference: bool = False,
        bias: bool = True,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        _check_n_classes(n_classes)
        super().__init__(n_classes - int(reference), n_features, bias, device, dtype)
        self.n_classes = n_classes
        self.reference = reference

    def mix(self, scores: Tensor) -> Tensor:
        """Prepend the zero column of the reference class, if there is one."""
        return F.pad(scores, (1, 0)) if self.reference else scores

    def target(self, y: Tensor) -> Tensor:
        """Class indices (n,), or distributions (n, K)."""
        return class_target(y, self.n_classes, self.weight.dtype)

    def mean(self, eta: Tensor) -> Tensor:
        """Class probabilities ``softmax(eta)``, (n, K)."""
        return torch.softmax(eta, dim=1)

    def log_odds(self, eta: Tensor) -> Tensor:
        """Log-odds of every class against class 0, (n, K)."""
        return eta - eta[:, :1]

    def odds(self, eta: Tensor) -> Tensor:
        """Odds of every class against class 0, (n, K)."""
        return self.log_odds(eta).exp()


class OrdinalRegression(Model):
    """Ordinal regression with proportional odds: ``P(y <= j) = F(cutpoint_j - x . weight)``.

    The cutpoints are ``first + cumsum(softplus(gaps))``: ordered for every optimizer and every
    parameter value, so they can never cross. They start evenly spaced around zero.

    Parameters
    ----------
    n_features : int
    n_classes : int
        Number of levels, ``K >= 2``.
    link : {"logit", "probit", "cloglog"}
        ``F`` is the logistic, the normal, or ``1 - exp(-exp(.))``.
    bias : bool
        False fixes the first cutpoint at zero.
    device, dtype
        As in ``nn.Linear``.

    References
    ----------
    McCullagh, Regression models for ordinal data, J. R. Stat. Soc. B 42 (1980). The sign is that
    of MASS::polr, Stata and statsmodels: a positive weight moves mass to higher levels.
    """

    n_classes: int
    first: nn.Parameter | None

    def __init__(
        self,
        n_features: int,
        n_classes: int,
        link: str = "logit",
        bias: bool = True,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        _check_n_classes(n_classes)
        if link not in LINKS:
            raise ValueError(f"link is {link!r}, but the links are {', '.join(LINKS)}")
        super().__init__(1, n_features, False, device, dtype)
        self.n_classes = n_classes
        self.link = link
        first = torch.full((1,), -0.5 * (n_classes - 2) * math.log(2), device=device, dtype=dtype)
        self.register_parameter("first", nn.Parameter(first) if bias else None)
        self.gaps = nn.Parameter(torch.zeros(n_classes - 2, device=device, dtype=dtype))

    @property
    def nll(self) -> Loss:  # type: ignore[override]  # the link chooses it, so one per instance
        """The loss of the link."""
        return LINKS[self.link]

    @property
    def cutpoints(self) -> Tensor:
        """Cutpoints (K - 1,), increasing; differentiable in ``first`` and ``gaps``."""
        first = self.gaps.new_zeros(1) if self.first is None else self.first
        # softplus(x) is -logsigmoid(-x); torch's own turns linear at 20, a jump of 2e-9.
        return torch.cat((first, first - F.logsigmoid(-self.gaps).cumsum(0)))

    def intercepts(self) -> Tensor:
        """The cutpoints."""
        return self.cutpoints

    def mix(self, scores: Tensor) -> Tensor:
        """``-x . weight`` in every one of the ``K - 1`` columns."""
        return -scores.expand(-1, self.n_classes - 1)

    @torch.no_grad()
    def shift_(self, amount: Tensor) -> None:
        """Move all cutpoints by ``-amount``."""
        if self.first is None:
            raise ValueError(
                "OrdinalRegression was made with bias=False and cannot absorb a shift of the "
                "columns; scale them without centring"
            )
        self.first.sub_(amount)

    def target(self, y: Tensor) -> Tensor:
        """Levels 0 ... K - 1 (n,), or distributions over them (n, K)."""
        return class_target(y, self.n_classes, self.weight.dtype)

    def log_odds(self, eta: Tensor) -> Tensor:
        """Cumulative log-odds ``log(P(y <= j) / P(y > j))``, (n, K - 1)."""
        return cumulative_log_odds(eta, self.link)

    def odds(self, eta: Tensor) -> Tensor:
        """Cumulative odds ``P(y <= j) / P(y > j)``, (n, K - 1)."""
        return self.log_odds(eta).exp()

    def natural(self) -> dict[str, Tensor]:
        """``weight`` and ``cutpoints`` (the raw gaps mean nothing to a reader), detached."""
        return {"weight": self.weight.detach().clone(), "cutpoints": self.cutpoints.detach()}

    def extra_repr(self) -> str:
        """Shape and link."""
        return f"{super().extra_repr()}, link={self.link!r}"


def _check_n_classes(n_classes: int) -> None:
    if not isinstance(n_classes, Integral) or n_classes < 2:
        raise ValueError(f"n_classes is {n_classes!r}, but a classification has at least two")
