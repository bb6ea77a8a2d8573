"""The multinomial logit on few rows, whose classes and columns lie one after the other.

What is computed for a class is then one long row of numbers, which processors like; by rows, of
four or ten classes each, the same takes up to ten times as long. The columns, and a row of ones
for the intercepts, are copied once, and all parameters are one vector. Nothing cancels:

    loss = (top - eta_y) + log(1 + others)        others = sum over all but the top of e^(eta - top)

for class indices as labels. Distributions, other models and losses take the general way.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from torchlogreg import kernels
from torchlogreg.base import Model
from torchlogreg.class_curvature import Kept, Rows, assembled, class_curvature, columns
from torchlogreg.data import Batch
from torchlogreg.losses import Loss, categorical_nll
from torchlogreg.models import SoftmaxRegression
from torchlogreg.passes import Found
from torchlogreg.penalties import Penalty
from torchlogreg.small import Logits, Look, plain

MOST = 2**20
"""Entries of ``X``, and numbers ``n K``, up to which a second copy, 8 MB, is cheap."""


@dataclass(slots=True, eq=False)
class SmallClasses:
    """Rows made ready; see :meth:`of`.

    Attributes
    ----------
    batch : Batch
    Z : Tensor, shape (m, n)
        Columns of ``X``, and ones if there is an intercept.
    label : Tensor, shape (1, n), int64
    share : Tensor, shape (n,)
        ``sample_weight / n``.
    model : Model
        Asked for its sizes only.
    order : Tensor, shape (r m,)
        Which parameters the classes have, column by column.
    known : Tensor, shape (r, n), or None
        The offset.
    strength : Tensor, shape (P,), or None
        Curvature of the penalty.
    kept : Kept or None
        Products of the columns, of very few rows without a reference class, once they were made.
    even : Logits or None
        Those of parameters that are all zero, once they were asked for.
    untouched : bool
        Whether nothing was asked yet: only then are the parameters likely to be zero.
    """

    batch: Batch
    Z: Tensor
    label: Tensor
    share: Tensor
    model: Model
    order: Tensor
    known: Tensor | None = None
    strength: Tensor | None = None
    kept: Kept | None = None
    even: Logits | None = None
    untouched: bool = True

    @classmethod
    def of(
        cls, model: Model, loss: Loss, penalty: Penalty | None, batch: Batch
    ) -> SmallClasses | None:
        """None where the general way must be taken.

        Parameters
        ----------
        model : Model
        loss : Loss
        penalty : Penalty or None
        batch : Batch
        """
        if type(model) is not SoftmaxRegression or loss is not categorical_nll:
            return None
        X, y, (r, p) = batch.X, batch.y, model.weight.shape
        many = X.numel() >= min(MOST, kernels.SMALLEST.get()) or len(X) * model.n_classes > MOST
        if many or batch.total is not None or batch.mapped or not plain(model, penalty, batch):
            return None
        if y.dtype != torch.int64 or y.ndim != 1:
            return None
        has_bias = model.bias is not None
        known = None
        if batch.offset is not None:
            known = batch.offset.reshape(len(X), -1).T.expand(r, -1).contiguous()
        strength = None
        if penalty is not None and penalty.smooth:
            strength = X.new_zeros(r * (p + has_bias))
            strength[: r * p] = penalty.alpha
        Z, share = columns(X, p + has_bias), batch.sample_weight / len(X)
        order = torch.arange(r * p).view(r, p)
        if has_bias:
            order = torch.cat((order, torch.arange(r * p, r * p + r).unsqueeze(1)), 1)
        return cls(batch, Z, y.unsqueeze(0), share, model, order.flatten(), known, strength)

    def reweighted(self, batch: Batch) -> SmallClasses:
        """The same rows under the weights of ``batch``."""
        return replace(self, batch=batch, share=batch.sample_weight / len(batch), kept=None)

    def evaluate(
        self, theta: Tensor, known: tuple[Logits, Found] | None = None
    ) -> tuple[Found, Logits]:
        """As :func:`torchlogreg.passes.evaluate`; ``known`` is of these rows, whatever weights."""
        untouched, self.untouched = self.untouched, False
        if known is not None:
            look = self.summed(theta, known[0], known[1].losses)
        elif untouched and self.known is None and not bool(theta.any()):
            look = self.summed(theta, *self._start())
        else:
            look = self.look(theta)
        return self.found(look), look.logits

    def _start(self) -> tuple[Logits, Tensor]:
        """What is known where all scores are zero, as at the start of most fits."""
        K, n = self.model.n_classes or 0, self.Z.shape[1]
        if self.even is None:
            slopes = self.Z.new_full((K, n), 1 / K).scatter_(0, self.label, (1 - K) / K)
            self.even = Logits(torch.zeros_like(slopes), slopes)
        return self.even, self.Z.new_full((n,), math.log(K))

    def look(self, theta: Tensor) -> Look:
        """Everything at ``theta`` (P,)."""
        eta = self._scores(theta)
        ahead = eta - eta.amax(0)  # 0 for the top
        own, is_top = ahead.gather(0, self.label), ahead == 0
        shares = ahead.exp_()
        others = shares.masked_fill(is_top, 0.0).sum(0)
        others += is_top.sum(0) - 1  # ties
        total = others + 1
        losses = torch.log1p(others).sub_(own[0])
        missed = torch.where(own == 0, others, total - own.exp()).div_(total)
        slopes = shares.div_(total).scatter_(0, self.label, missed.neg_())
        return self.summed(theta, Logits(eta, slopes), losses)

    def summed(self, theta: Tensor, logits: Logits, losses: Tensor) -> Look:
        """Smooth value and gradient of rows that are known, whatever the weights were."""
        value, r = torch.dot(losses, self.share), self.model.weight.shape[0]
        slopes = logits.missed[-r:] * self.share
        found = torch.mm(slopes, self.Z.T).view(-1)  # (r m,)
        gradient = torch.empty_like(found).index_copy_(0, self.order, found)
        if self.strength is not None:
            pull = theta * self.strength
            value.add_(torch.dot(pull, theta), alpha=0.5)
            gradient += pull
        return Look(theta, value, gradient, logits, losses)

    def found(self, look: Look) -> Found:
        """The same as :func:`torchlogreg.passes.evaluate` gives it."""
        return Found(look.value, look.gradient, look.logits.u.T, look.losses)

    def curvature(self, logits: Logits) -> Tensor:
        """Hessian of the smooth value, (P, P)."""
        K, (m, n) = self.model.n_classes or 0, self.Z.shape
        if self.kept is None and len(self.order) == K * m and Kept.suits(n, m, K):
            self.kept = Kept(self.Z, self.share, K, self.order)
        if self.kept is not None:
            matrix = self.kept.curvature(logits.u)
        elif logits is self.even:
            gram = torch.mm(self.Z * self.share, self.Z.T).div_(K * K)
            matrix = assembled(gram.expand(K * (K - 1) // 2, -1, -1), self.model)
        else:
            matrix = class_curvature(self.model, [Rows(self.Z, logits.u, self.share)])
        if self.strength is not None:
            matrix.diagonal().add_(self.strength)
        return matrix

    def _scores(self, theta: Tensor) -> Tensor:
        """``eta``, transposed, (K, n)."""
        r, K = self.model.weight.shape[0], self.model.n_classes or 0
        weight = theta.index_select(0, self.order).view(r, -1)
        if K == r:
            eta = torch.mm(weight, self.Z)
        else:
            eta = self.Z.new_zeros(K, self.Z.shape[1])
            torch.mm(weight, self.Z, out=eta[1:])
        if self.known is not None:
            eta[K - r :] += self.known
        return eta
