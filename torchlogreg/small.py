"""The binary logit on few rows, where calls into torch cost more than their arithmetic.

A thousand rows by twenty columns are multiplied with a vector in 4 microseconds; the general way
to value, gradient and curvature makes a hundred calls of 1 to 5. Here the columns and a row of ones
for the intercept lie in one matrix, made once, and all parameters in one vector, so that eight
calls give value and gradient and six more the curvature, penalty included; where all parameters are
zero, it is the Gram matrix that :mod:`torchlogreg.few_rows` has made already. Nothing cancels:

    u = (1 - 2 y) eta      loss = log(1 + e^u)      slope = (1 - 2 y) / (1 + e^-u)

for labels 0 and 1. Other targets, models and losses take the general way.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor, nn

from torchlogreg.base import Model
from torchlogreg.data import Batch
from torchlogreg.few_rows import MOST, tiled
from torchlogreg.losses import Loss, binary_nll
from torchlogreg.models import LogisticRegression
from torchlogreg.passes import Found
from torchlogreg.penalties import L2, Penalty


class Logits(NamedTuple):
    """``u = (1 - 2 y) eta`` and its sigmoid, the probability given to what did not happen (n,).

    Of several classes ``eta`` and slopes, one row for each class (K, n).
    """

    u: Tensor
    missed: Tensor


class Look(NamedTuple):
    """Value and gradient (P,) at ``theta`` (P,), and of the rows logits and losses (n,).

    ``eta`` (n,), where somebody has it by them.
    """

    theta: Tensor
    value: Tensor
    gradient: Tensor
    logits: Logits
    losses: Tensor
    eta: Tensor | None = None


@dataclass(slots=True, eq=False)
class Small:
    """Rows made ready; see :meth:`of`.

    Attributes
    ----------
    batch : Batch
    filled : Tensor, shape (n, m)
        Columns of ``X``, of ones if there is an intercept, all times ``sign``, and others up to
        ``m``: what they are multiplied with is ``u``, and their curvature knows no sign.
    design, across : Tensor, shapes (n, P) and (P, n)
        The first P of them, and that transposed.
    sign, share : Tensor, shape (n,)
        ``1 - 2 y``; ``sample_weight / n``.
    known : Tensor, shape (n,), or None
        The offset times ``sign``.
    strength : Tensor, shape (P,), or None
        Curvature of the penalty.
    gram : Tensor, shape (m, m), or None
        Of the columns, where all rows have the same weight and it is known.
    even : Logits or None
        Those of parameters that are all zero, once they were asked for.
    untouched : bool
        Whether nothing was asked yet: only then are the parameters likely to be zero.
    """

    batch: Batch
    filled: Tensor
    design: Tensor
    across: Tensor
    sign: Tensor
    share: Tensor
    known: Tensor | None = None
    strength: Tensor | None = None
    gram: Tensor | None = None
    even: Logits | None = None
    untouched: bool = True

    @classmethod
    def of(cls, model: Model, loss: Loss, penalty: Penalty | None, batch: Batch) -> Small | None:
        """None where the general way must be taken.

        Parameters
        ----------
        model : Model
        loss : Loss
        penalty : Penalty or None
        batch : Batch
        """
        X, y = batch.X, batch.y
        n, p = X.shape
        if batch.total is not None:  # ranks must take one way, however many rows they have
            return None
        if n * p > MOST or not suits(model, loss, penalty, batch):
            return None
        if not torch.equal(y, y.round()):
            return None
        sign = torch.sub(1, y, alpha=2)
        size = p + (model.bias is not None)
        filled = _filled(batch, sign, size)
        design = filled[:, :size]
        known = None if batch.offset is None else batch.offset.view(-1) * sign
        strength = None
        if penalty is not None and penalty.smooth:
            strength = X.new_zeros(size)
            strength[:p] = penalty.alpha
        share, few = batch.sample_weight / n, batch.few
        gram = None
        if few is not None and few.holds(X) and few.ones is batch.sample_weight:
            gram = few.gram
        return cls(batch, filled, design, design.T, sign, share, known, strength, gram)

    def reweighted(self, batch: Batch) -> Small:
        """The same rows under the weights of ``batch``."""
        return replace(self, batch=batch, share=batch.sample_weight / len(batch), gram=None)

    def evaluate(
        self, theta: Tensor, known: tuple[Logits, Found] | None = None
    ) -> tuple[Found, Logits]:
        """As :func:`torchlogreg.passes.evaluate`; ``known`` is of these rows, whatever weights."""
        if known is None:
            look = self._start(theta) or self.look(theta)
        else:
            look = self.summed(theta, known[0], known[1].losses)
            look = look._replace(eta=known[1].eta.squeeze(1))
        return self.found(look), look.logits

    def _start(self, theta: Tensor) -> Look | None:
        """Everything where parameters and scores are all zero, as at the start of most fits."""
        untouched, self.untouched = self.untouched, False
        if self.known is not None or not untouched or any(theta.tolist()):
            return None
        if self.even is None:
            u = torch.zeros_like(self.sign)
            self.even = Logits(u, torch.full_like(u, 0.5))
        losses = torch.full_like(self.sign, math.log(2.0))
        return self.summed(theta, self.even, losses)

    def look(self, theta: Tensor) -> Look:
        """Everything at ``theta`` (P,)."""
        u = torch.mv(self.design, theta)
        if self.known is not None:
            u += self.known
        # From 40 on log(1 + e^u) is u to the last digit; torch's own threshold is 20.
        losses = nn.functional.softplus(u, 1.0, 40.0)
        return self.summed(theta, Logits(u, torch.sigmoid(u)), losses)

    def summed(self, theta: Tensor, logits: Logits, losses: Tensor) -> Look:
        """Smooth value and gradient of rows that are known, whatever the weights were."""
        value, slopes = torch.dot(losses, self.share), logits.missed * self.share
        if self.strength is None:
            return Look(theta, value, torch.mv(self.across, slopes), logits, losses)
        pull = theta * self.strength
        value.add_(torch.dot(pull, theta), alpha=0.5)
        return Look(theta, value, torch.addmv(pull, self.across, slopes), logits, losses)

    def found(self, look: Look) -> Found:
        """The same as :func:`torchlogreg.passes.evaluate` gives it."""
        eta = look.logits.u * self.sign if look.eta is None else look.eta
        return Found(look.value, look.gradient, eta.unsqueeze(1), look.losses)

    def curvature(self, logits: Logits) -> Tensor:
        """Hessian of the smooth value, (P, P)."""
        size = self.design.shape[1]
        if logits is self.even and self.gram is not None:
            matrix = self.gram * (0.25 / self.sign.shape[0])
        else:
            bend = torch.sigmoid(-logits.u).mul_(logits.missed).mul_(self.share)
            matrix = torch.mm(self.filled.T, self.filled * bend.unsqueeze(1))
        if size < matrix.shape[0]:
            matrix = matrix[:size, :size]
        if self.strength is not None:
            matrix.diagonal().add_(self.strength)
        return matrix


def _filled(batch: Batch, sign: Tensor, size: int) -> Tensor:
    """Columns, times the signs; ones from the first on that ``X`` has not, if there is room."""
    X, few, column = batch.X, batch.few, sign.unsqueeze(1)
    p = X.shape[1]
    if few is not None and few.holds(X) and few.design.shape[1] == tiled(size):
        return few.design * column
    filled = X.new_zeros(len(X), tiled(size))
    torch.mul(X, column, out=filled[:, :p])
    if size > p:
        filled[:, p] = sign
    return filled


def suits(model: Model, loss: Loss, penalty: Penalty | None, batch: Batch) -> bool:
    """Whether this is the binary logit, in exact types: what a subclass does is its own."""
    if type(model) is not LogisticRegression or loss is not binary_nll:
        return False
    return plain(model, penalty, batch) and batch.y.dtype == batch.X.dtype


def plain(model: Model, penalty: Penalty | None, batch: Batch) -> bool:
    """Whether all parameters are trained, on the CPU, and nobody looks on; penalties like L2."""
    weight, bias, X = model.weight, model.bias, batch.X
    if penalty is not None and (penalty.needs_rows or (penalty.smooth and type(penalty) is not L2)):
        return False
    if model._forward_hooks or model._forward_pre_hooks or X.device.type != "cpu":
        return False
    trained = weight.requires_grad and (bias is None or bias.requires_grad)
    return trained and X.dtype in (torch.float32, torch.float64) and weight.dtype == X.dtype


def flat(params: Sequence[Tensor]) -> Tensor:
    """All parameters as one new vector (P,)."""
    return torch.cat([p.detach().reshape(-1) for p in params])
