"""The one formula all models share: ``eta = mix(X @ weight.T + offset) + intercepts``.

Shapes: ``X (n, p)``, ``weight (r, p)``, ``eta (n, k)``. ``mix`` is a fixed linear map from the
``r`` scores to the ``k`` columns of ``eta``; ``intercepts`` do not depend on the row. These two
facts are all that the Hessian, the standardisation and the offsets need to know of a model.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from numbers import Integral
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from torchlogreg.losses import class_log_probabilities


class Model(nn.Module, ABC):
    """Base of all models; see the module docstring for the one formula they share.

    Attributes
    ----------
    weight : nn.Parameter, shape (r, n_features)
        The only penalised parameter.
    nll : Loss
        The model's own negative log-likelihood, the default loss of ``fit``.
    n_classes : int or None
        Number of classes; None for a numeric response.
    """

    weight: nn.Parameter
    bias: nn.Parameter | None
    nll: ClassVar[staticmethod[[Tensor, Tensor], Tensor]]
    n_classes: int | None = None

    def __init__(
        self,
        n_rows: int,
        n_features: int,
        bias: bool,
        device: torch.device | str | None,
        dtype: torch.dtype | None,
    ) -> None:
        super().__init__()
        if not isinstance(n_features, Integral) or n_features < 1:
            raise ValueError(f"n_features is {n_features!r}, but it is a whole number from 1 on")
        if dtype == torch.float64 and device is not None and torch.device(device).type == "mps":
            raise ValueError("device mps has no float64; use dtype=torch.float32")
        zeros = torch.zeros(n_rows, n_features, device=device, dtype=dtype)
        self.register_parameter("weight", nn.Parameter(zeros))
        zeros = torch.zeros(n_rows, device=device, dtype=dtype)
        self.register_parameter("bias", nn.Parameter(zeros) if bias else None)

    @property
    def n_features(self) -> int:
        """Number of columns of ``X``."""
        return self.weight.shape[1]

    def intercepts(self) -> Tensor:
        """The part of ``eta`` that does not depend on the row, shape (k,)."""
        bias = self.weight.new_zeros(self.weight.shape[0]) if self.bias is None else self.bias
        return self.mix(bias.unsqueeze(0)).squeeze(0)

    def mix(self, scores: Tensor) -> Tensor:
        """Fixed linear map from scores (n, r) to the row-dependent part of ``eta`` (n, k)."""
        return scores

    @torch.no_grad()
    def shift_(self, amount: Tensor) -> None:
        """Add ``amount`` (r,) to the scores of every row, by changing the intercepts in place."""
        if self.bias is None:
            raise ValueError(
                f"{type(self).__name__} was made with bias=False and cannot absorb a shift of the "
                "columns; scale them without centring"
            )
        self.bias.add_(amount)

    @abstractmethod
    def target(self, y: Tensor) -> Tensor:
        """Check ``y`` and return it in the form the model's loss takes.

        Raises
        ------
        ValueError
            Naming the first row whose target cannot be one.
        """

    def forward(self, X: Tensor, offset: Tensor | None = None) -> Tensor:
        """Linear predictor.

        Parameters
        ----------
        X : Tensor, shape (n, n_features)
        offset : Tensor, shape (n,) or (n, r), optional
            Known part of the scores, added before ``mix`` (so with the sign of ``X @ weight.T``).

        Returns
        -------
        Tensor, shape (n, k)
        """
        return self.from_scores(F.linear(X, self.weight), offset)

    def from_scores(self, scores: Tensor, offset: Tensor | None = None) -> Tensor:
        """``eta`` (n, k) for someone who knows ``X @ weight.T`` (n, r) already."""
        if offset is not None:
            scores = scores + (offset.unsqueeze(1) if offset.ndim == 1 else offset)
        return self.mix(scores) + self.intercepts()

    def mean(self, eta: Tensor) -> Tensor:
        """Mean of the response: ``E[y|x]`` (n,), ``P(y = 1)`` (n,) or probabilities (n, K)."""
        if self.n_classes is None:
            raise TypeError(f"{type(self).__name__} has neither n_classes nor a mean of its own")
        return class_log_probabilities(self.nll, eta, self.n_classes).exp()

    def predict(self, eta: Tensor, threshold: float = 0.5) -> Tensor:
        """Most probable class (n,); the first of equals. ``threshold`` is for two classes only."""
        if threshold != 0.5:
            raise ValueError(
                f"threshold={threshold} has no meaning for {type(self).__name__}, which predicts "
                "the most probable class; compare columns of mean(eta) yourself"
            )
        return self.mean(eta).argmax(dim=1)

    def log_likelihood(
        self,
        X: Tensor,
        y: Tensor,
        *,
        sample_weight: Tensor | None = None,
        offset: Tensor | None = None,
    ) -> Tensor:
        """Log-likelihood ``-sum_i sample_weight_i nll_i``, a scalar.

        Parameters
        ----------
        X : Tensor, shape (n, n_features)
        y : Tensor, shape (n,) or (n, K)
        sample_weight : Tensor, shape (n,), optional
            Used as it is, as frequencies: not scaled to mean one.
        offset : Tensor, shape (n,) or (n, r), optional
        """
        per_row = self.nll(self(X, offset), self.target(y))
        return -(per_row if sample_weight is None else per_row * sample_weight).sum()

    def natural(self) -> dict[str, Tensor]:
        """Parameters as the field writes them, by name, detached."""
        return {name: p.detach().clone() for name, p in self.named_parameters()}

    @torch.no_grad()
    def absorb_(self, mean: Tensor, scale: Tensor) -> None:
        """Fold a standardisation in: ``self(X)`` becomes what ``self((X - mean) / scale)`` was.

        Parameters
        ----------
        mean, scale : Tensor, shape (n_features,)
            ``scale`` is positive.
        """
        if bool(mean.any()):
            self.shift_(-((self.weight / scale) @ mean))  # refuses before anything has changed
        self.weight.div_(scale)

    def extra_repr(self) -> str:
        """Shape, as ``nn.Linear`` prints it."""
        classes = "" if self.n_classes is None else f", n_classes={self.n_classes}"
        return f"n_features={self.n_features}{classes}"


def is_plain(model: Model) -> bool:
    """Whether ``eta`` is ``X @ weight.T + offset + bias`` and no more.

    A subclass may add an inverse link to ``forward``, and still call itself linear.
    """
    own = (getattr(type(model), name) for name in ("forward", "mix", "intercepts"))
    return all(f is getattr(Model, f.__name__) for f in own)
