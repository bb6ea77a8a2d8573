"""The same as :mod:`torchlogreg.small` for few rows that compiled kernels have made ready.

A look at a thousand rows by twenty columns is one call of seven microseconds, and a whole Newton
iteration one of thirty. Loading the kernels takes as long as hundreds of such fits: they are used
where ``kernels.prepare()`` was called, or ``kernels.SMALLEST`` set, and for the samples of
``SubsampledNewton``, whose many rows have loaded them anyway.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from torchlogreg.base import Model
from torchlogreg.data import Batch
from torchlogreg.kernels.logits import Arrays, Iterated, Place, Rules, labels_of
from torchlogreg.kernels.strips import as_array
from torchlogreg.losses import Loss
from torchlogreg.passes import Found
from torchlogreg.penalties import Penalty
from torchlogreg.small import Logits, Look, suits


@dataclass(slots=True, eq=False)
class SmallCompiled:
    """Rows made ready; see :meth:`of`.

    Attributes
    ----------
    batch : Batch
    arrays : Arrays
    gram : Tensor, shape (m, m), or None
        Of the columns, where all rows have the same weight.
    last : Place or None
        What was looked at last.
    """

    batch: Batch
    arrays: Arrays
    gram: Tensor | None
    last: Place | None = None

    @classmethod
    def of(
        cls, model: Model, loss: Loss, penalty: Penalty | None, batch: Batch
    ) -> SmallCompiled | None:
        """None where another way must be taken.

        Parameters
        ----------
        model : Model
        loss : Loss
        penalty : Penalty or None
        batch : Batch
        """
        few, p = batch.few, batch.X.shape[1]
        if few is None or not few.compiled or not few.holds(batch.X) or batch.total is not None:
            return None
        if not suits(model, loss, penalty, batch):
            return None
        labels = batch.hard
        if labels is None or not len(labels.sign):
            labels = labels_of(batch.y, signs=True)
        if labels is None:
            return None
        strength = np.zeros(p + (model.bias is not None))
        if penalty is not None and penalty.smooth:
            strength[:p] = penalty.alpha
        known = np.empty(0)
        if batch.offset is not None:  # a copy, as of the rows: who changes it is not heard
            known = as_array(batch.offset.reshape(-1)).copy()
        arrays = Arrays.of(few.design, labels, batch.sample_weight, known, strength)
        return cls(batch, arrays, few.gram if few.ones is batch.sample_weight else None)

    def reweighted(self, batch: Batch) -> SmallCompiled:
        """The same rows under the weights of ``batch``."""
        arrays = self.arrays.reweighted(batch.sample_weight)
        return replace(self, batch=batch, arrays=arrays, gram=None, last=None)

    def evaluate(
        self, theta: Tensor, known: tuple[Logits, Found] | None = None
    ) -> tuple[Found, Logits]:
        """As :func:`torchlogreg.passes.evaluate`; what is known is as quickly computed again."""
        look = self.look(theta)
        return self.found(look), look.logits

    def look(self, theta: Tensor) -> Look:
        """Everything at ``theta`` (P,)."""
        return self.seen(self.arrays.look(theta))

    def seen(self, place: Place) -> Look:
        """The same, as it is known here."""
        self.last, value = place, place.value.squeeze(0)
        logits = Logits(place.u, place.missed)
        return Look(place.theta, value, place.gradient, logits, place.losses, place.eta)

    def found(self, look: Look) -> Found:
        """The same as :func:`torchlogreg.passes.evaluate` gives it."""
        eta = look.eta
        if eta is None:
            eta = look.logits.u * torch.from_numpy(self.arrays.sign)
        return Found(look.value, look.gradient, eta.unsqueeze(1), look.losses)

    def curvature(self, logits: Logits) -> Tensor:
        """Hessian of the smooth value, (P, P)."""
        return self.arrays.curvature(logits.u)

    def iterate(self, theta: Tensor, known: Found | None, rules: Rules) -> Iterated | None:
        """An ordinary Newton iteration; see :meth:`Arrays.iterate`.

        Parameters
        ----------
        theta : Tensor, shape (P,)
            Where it begins.
        known : Found or None
            What is known there, of these rows under whatever weights.
        rules : Rules
        """
        last = self.last
        if last is None or known is None or last.gradient is not known.gradient:
            return self.arrays.iterate(theta, rules, self.gram)
        return self.arrays.iterate(last.array, rules, self.gram)
