"""Every model in parameters that are identified and that ``eta`` is linear in.

The modules keep parameters that suit optimizers: ordinal ones raw gaps, softmax a row for every
class, determined up to a common shift. Inference speaks of cutpoints and of contrasts with class 0.
In those

    eta = (X @ weight.T + offset) @ R.T + intercepts @ M.T

with fixed matrices ``R (k, r)`` and ``M (k, m)``: information, scores, marginal effects and
intervals are then written once for all models.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional as F

from torchlogreg.base import Model
from torchlogreg.losses import Loss
from torchlogreg.models import OrdinalRegression, SoftmaxRegression
from torchlogreg.sparse import is_sparse


@dataclass(frozen=True, slots=True, eq=False)
class AffineForm:
    """A model at its parameters, in float64 (float32 on a device without it): a copy of them.

    Flat vectors ``theta (P,)`` hold ``weight`` by rows, then ``intercepts``: ``P = r p + m``.

    Attributes
    ----------
    weight : Tensor, shape (r, p)
        One row for linear, logistic and ordinal models; ``K - 1`` for softmax, contrasts with
        class 0.
    intercepts : Tensor, shape (m,)
        Intercepts or cutpoints; ``m = 0`` without.
    R : Tensor, shape (k, r)
    M : Tensor, shape (k, m)
    model : Model
        Source of ``nll`` and ``mean``, which depend on ``eta`` alone.
    """

    weight: Tensor
    intercepts: Tensor
    R: Tensor
    M: Tensor
    model: Model

    @classmethod
    def of(cls, model: Model) -> AffineForm:
        """The form of ``model`` at its current parameters.

        Raises
        ------
        ValueError
            If a parameter is frozen: its error is not zero but unknown.
        """
        frozen = [name for name, p in model.named_parameters() if not p.requires_grad]
        if frozen:
            raise ValueError(
                f"parameter {frozen[0]!r} is frozen (requires_grad=False), so its error is "
                "unknown; put it into offset= and leave its columns out"
            )
        wide = torch.float32 if model.weight.device.type == "mps" else torch.float64
        # Copied: a model that is trained on must not move the results of before.
        weight = model.weight.detach().to(wide, copy=True)
        eye = torch.eye(len(weight), dtype=wide, device=weight.device)
        if isinstance(model, OrdinalRegression):
            return cls._of_ordinal(model, weight)
        bias = (
            weight.new_zeros(0) if model.bias is None else model.bias.detach().to(wide, copy=True)
        )
        if isinstance(model, SoftmaxRegression):
            if not model.reference:
                weight, bias, eye = weight[1:] - weight[:1], bias[1:] - bias[:1], eye[1:, 1:]
            eye = F.pad(eye, (0, 0, 1, 0))  # class 0 has eta = 0
        return cls(weight, bias, eye, eye[:, : len(bias)], model)

    @classmethod
    def _of_ordinal(cls, model: OrdinalRegression, weight: Tensor) -> AffineForm:
        cutpoints = model.cutpoints.detach().to(weight, copy=True)
        eye = torch.eye(len(cutpoints), dtype=weight.dtype, device=weight.device)
        start = 1 if model.first is None else 0  # a first cutpoint fixed at zero is no parameter
        return cls(weight, cutpoints[start:], -torch.ones_like(eye[:, :1]), eye[:, start:], model)

    @property
    def theta(self) -> Tensor:
        """All parameters, (P,)."""
        return torch.cat((self.weight.flatten(), self.intercepts))

    def at(self, theta: Tensor) -> AffineForm:
        """The same model at other parameters (P,); differentiable in them."""
        n_weight = self.weight.numel()
        return replace(
            self, weight=theta[:n_weight].view_as(self.weight), intercepts=theta[n_weight:]
        )

    @property
    def nll(self) -> Loss:
        """Loss of the model, ``(eta, y) -> (n,)``."""
        return self.model.nll

    def eta(self, X: Tensor, offset: Tensor | None = None) -> Tensor:
        """Linear predictor (n, k) of rows ``X (n, p)``: what ``model`` has, up to a shift."""
        dense = not is_sparse(X)  # whose zeros no sum fills in
        if dense and offset is None and len(self.R) == 1:  # once over the rows, not three times
            weight, bias = self.R @ self.weight, self.intercepts @ self.M.T
            return torch.addmm(bias, X.to(weight), weight.T)
        scores = X.to(self.weight) @ self.weight.T
        if offset is not None:
            known = offset.to(self.weight)
            scores = scores + self._contrasts(known.unsqueeze(1) if known.ndim == 1 else known)
        return scores @ self.R.T + self.intercepts @ self.M.T

    def mean(self, eta: Tensor) -> Tensor:
        """Mean response (n,), or class probabilities (n, K)."""
        return self.model.mean(eta)

    def names(
        self, feature_names: Sequence[str], class_names: Sequence[str] | None = None
    ) -> tuple[str, ...]:
        """Names of ``theta``, (P,): columns, "const", "a/b" between levels, "class: column"."""
        n_classes = self.model.n_classes
        classes = [str(c) for c in (class_names or range(n_classes or 0))]
        if isinstance(self.model, OrdinalRegression):
            cuts = [f"{low}/{high}" for low, high in itertools.pairwise(classes)]
            return (*feature_names, *cuts[len(cuts) - len(self.intercepts) :])
        if not isinstance(self.model, SoftmaxRegression):
            return (*feature_names, *(["const"] if len(self.intercepts) else []))
        weights = [f"{c}: {name}" for c in classes[1:] for name in feature_names]
        return (*weights, *(f"{c}: const" for c in classes[1 : len(self.intercepts) + 1]))

    @property
    def order(self) -> tuple[int, ...]:
        """Places of ``theta`` in the order of tables: constants before their columns, cuts last."""
        r, p = self.weight.shape
        if isinstance(self.model, OrdinalRegression) or not len(self.intercepts):
            return tuple(range(len(self.theta)))
        return tuple(i for a in range(r) for i in (r * p + a, *range(a * p, (a + 1) * p)))

    def _contrasts(self, offset: Tensor) -> Tensor:
        """An offset for every class as one for the classes other than class 0."""
        if not isinstance(self.model, SoftmaxRegression) or self.model.reference:
            return offset
        if offset.shape[1] == 1:  # the same for all classes: no contrast
            return torch.zeros_like(offset)
        return offset[:, 1:] - offset[:, :1]
