"""A model's parameters in two floats each, and its sums over the rows in doubled precision."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from torchlogreg import kernels
from torchlogreg.base import Model
from torchlogreg.curvature import mix_matrix
from torchlogreg.data import Batch
from torchlogreg.double_double import DoubleDouble, matvec, total, two_product, vecmat
from torchlogreg.double_double_functions import multiply
from torchlogreg.models import LogisticRegression, OrdinalRegression, SoftmaxRegression
from torchlogreg.optim.doubled import DOUBLED, Doubled
from torchlogreg.penalties import L2, Penalty

BLOCK = 2**18
"""Entries in a block of rows: temporaries stay in the cache."""


@dataclass(frozen=True, slots=True, eq=False)
class Columns:
    """Where columns are, and how far they spread: corrections are solved for in ``z``.

    Attributes
    ----------
    mean, scale : Tensor, shape (p,)
        ``z = (x - mean) / scale``; ``mean`` is zero without an intercept to take up the difference.
    """

    mean: Tensor
    scale: Tensor

    @classmethod
    def of(cls, X: Tensor, *, centre: bool) -> Columns:
        """Any point near the middle does; nothing depends on the last digits."""
        mean = X.mean(0) if centre else X.new_zeros(X.shape[1])
        scale = torch.linalg.vector_norm(X - mean, dim=0) / len(X) ** 0.5
        return cls(mean, torch.where(scale > 0, scale, 1.0))

    @property
    def far(self) -> float:
        """How many times farther from zero than wide the worst column is."""
        return float((self.mean / self.scale).abs().max())


@dataclass(frozen=True, slots=True, eq=False)
class Precise:
    """The parameters of a model with ``eta = mix(X @ weight.T + offset) + intercepts``.

    Attributes
    ----------
    model : Model
    alpha : float
        Strength of an L2 penalty, else 0.
    weight : DoubleDouble, shape (r, p)
    intercepts : DoubleDouble, shape (k,) ordinal, (r,) with a bias, (0,) without
    free : Tensor, shape (r, r')
        Directions among the ``r`` scores that the data speak of: contrasts between classes for a
        softmax model with a row for every class, whose common shift is no one's business.
    """

    model: Model
    alpha: float
    weight: DoubleDouble
    intercepts: DoubleDouble
    free: Tensor

    @classmethod
    def of(cls, model: Model, penalty: Penalty | None) -> Precise:
        """The parameters as they are."""
        weight = model.weight.detach()
        if isinstance(model, OrdinalRegression):
            intercepts = model.cutpoints.detach()
        else:
            intercepts = weight.new_zeros(0) if model.bias is None else model.bias.detach().clone()
        free = torch.eye(len(weight), dtype=weight.dtype, device=weight.device)
        if isinstance(model, SoftmaxRegression) and not model.reference:
            free = torch.linalg.qr(torch.cat((torch.ones_like(free[:, :1]), free[:, 1:]), 1)).Q
            free = free[:, 1:]
        alpha = penalty.alpha if isinstance(penalty, L2) else 0.0
        of = DoubleDouble.of
        return cls(model, alpha, of(weight.clone()), of(intercepts), free)

    @property
    def has_intercept(self) -> bool:
        """Whether a shift of the columns can be taken up."""
        return self.model.bias is not None or getattr(self.model, "first", None) is not None

    def sums(self, batch: Batch, columns: Columns, *, roots: bool) -> tuple[Tensor, Tensor | None]:
        """Gradient of ``sum_i w_i loss_i + n penalty`` by the free parameters of ``z``, (P',).

        With ``roots`` also an upper triangle ``U`` (P', P') whose square ``U'U`` is the curvature.
        """
        if type(self.model) is LogisticRegression and kernels.logit_sums_available(batch.X):
            return self._compiled(batch, columns, roots=roots)
        doubled = DOUBLED[self.model.nll]
        r, k = len(self.weight.high), (self.model.n_classes or 2) - 1
        by_weight = self._by_penalty(len(batch))
        by_score = by_eta = DoubleDouble.of(by_weight.high.new_zeros(()))
        triangle = self._penalty_rows(columns, len(batch)) if roots else None
        for block in batch.blocks(BLOCK // (r * k) if roots else BLOCK):
            eta, intercepts = self.eta(block)
            slopes = doubled.slopes(eta, block.y, intercepts) * block.sample_weight[:, None]
            scores = self._by_score(slopes)
            by_weight = by_weight + stacked([vecmat(scores[:, a], block.X) for a in range(r)])
            by_score = total(scores, 0) + by_score
            by_eta = total(slopes, 0) + by_eta
            if triangle is not None:
                rows = self._rows(doubled, eta.value, block, columns)
                triangle = torch.linalg.qr(torch.cat((triangle, rows)), mode="r").R
        return self._by_free(by_weight, by_score, by_eta, columns), triangle

    def _compiled(
        self, batch: Batch, columns: Columns, *, roots: bool
    ) -> tuple[Tensor, Tensor | None]:
        """The same of a binary logit, in one read."""
        bias = self.intercepts[0] if len(self.intercepts.high) else None
        rows = (batch.X, batch.y, batch.sample_weight, batch.offset)
        by_column, by_eta, eta = kernels.logit_sums(*rows, self.weight[0], bias)
        by_weight = self._by_penalty(len(batch)) + stacked([by_column])
        triangle = self._penalty_rows(columns, len(batch)) if roots else None
        if triangle is not None:
            parts = torch.split(eta.unsqueeze(1), batch.block_size(BLOCK))
            for block, part in zip(batch.blocks(BLOCK), parts, strict=True):
                made = self._rows(DOUBLED[self.model.nll], part, block, columns)
                triangle = torch.linalg.qr(torch.cat((triangle, made)), mode="r").R
        return self._by_free(by_weight, by_eta, by_eta, columns), triangle

    def _by_penalty(self, n: int) -> DoubleDouble:
        """Gradient of ``n`` times the penalty by ``weight`` (r, p)."""
        rows = self.weight.high.new_tensor(float(n))
        return multiply(self.weight, two_product(torch.full_like(rows, self.alpha), rows))

    def moved(self, step: Tensor, columns: Columns) -> Precise:
        """After a step (P',) in the free parameters of ``z``."""
        (r, free), p = self.free.shape, len(columns.scale)
        by_weight = self.free @ step[: free * p].view(free, p) / columns.scale
        by_intercept = step[free * p :]
        if not len(by_intercept):
            return replace(self, weight=self.weight + DoubleDouble.of(by_weight))
        shift = total(two_product(by_weight, columns.mean.expand(r, p).contiguous()), 1)  # (r,)
        if isinstance(self.model, OrdinalRegression):  # eta is cutpoint - score
            held = len(self.intercepts.high) - len(by_intercept)
            by_intercept = torch.nn.functional.pad(by_intercept, (held, 0))
            change = DoubleDouble.of(by_intercept) + shift
        else:
            change = DoubleDouble.of(self.free @ by_intercept) - shift
        return replace(
            self,
            weight=self.weight + DoubleDouble.of(by_weight),
            intercepts=self.intercepts + change,
        )

    def write_(self) -> None:
        """Set the model's parameters, each rounded once."""
        model, value = self.model, self.intercepts.value
        model.weight.copy_(self.weight.value)
        if model.bias is not None:
            model.bias.copy_(value)
        if not isinstance(model, OrdinalRegression):
            return
        if model.first is not None:
            model.first.copy_(value[:1])
        # The first cutpoint is rounded by now, and the others are counted from it.
        start = DoubleDouble.cat((DoubleDouble.of(value[:1]), self.intercepts[1:]))
        gaps = (start[1:] - start[:-1]).value
        model.gaps.copy_(gaps + torch.log(-torch.expm1(-gaps)))  # the inverse of softplus

    def eta(self, block: Batch) -> tuple[DoubleDouble, DoubleDouble]:
        """``eta`` (n, k) and the intercepts in it (k,)."""
        mix, r = self.model.mix, len(self.weight.high)
        parts = [matvec(block.X, self.weight[a]) for a in range(r)]
        scores = stacked(parts)
        scores = DoubleDouble(scores.high.T, scores.low.T)
        if block.offset is not None:
            known = block.offset.unsqueeze(1) if block.offset.ndim == 1 else block.offset
            scores = scores + DoubleDouble.of(known.expand_as(scores.high))
        eta = DoubleDouble(mix(scores.high), mix(scores.low))  # of 0, 1 and -1: exact
        intercepts = self.intercepts
        if not isinstance(self.model, OrdinalRegression):
            if not len(intercepts.high):
                return eta, intercepts
            high, low = mix(intercepts.high[None, :])[0], mix(intercepts.low[None, :])[0]
            intercepts = DoubleDouble(high, low)
        return eta + intercepts, intercepts

    def _by_score(self, slopes: DoubleDouble) -> DoubleDouble:
        """Derivatives by the scores (n, r) from those by ``eta`` (n, k)."""
        r = len(self.weight.high)
        if isinstance(self.model, OrdinalRegression):
            summed = -total(slopes, 1)
            return DoubleDouble(summed.high[:, None], summed.low[:, None])
        first = slopes.high.shape[1] - r  # without the reference class
        return DoubleDouble(slopes.high[:, first:], slopes.low[:, first:])

    def _by_free(
        self, by_weight: DoubleDouble, by_score: DoubleDouble, by_eta: DoubleDouble, at: Columns
    ) -> Tensor:
        """To centred columns, where differences cancel; then they may be rounded."""
        score = DoubleDouble(by_score.high[:, None], by_score.low[:, None])
        centred = (by_weight - score * at.mean).value / at.scale  # (r, p)
        parts = [(self.free.T @ centred).flatten()]
        if isinstance(self.model, OrdinalRegression):
            held = 1 if self.model.first is None else 0
            parts.append(by_eta.value[held:])
        elif self.model.bias is not None:
            parts.append(self.free.T @ by_score.value)
        return torch.cat(parts)

    def _rows(self, doubled: Doubled, eta: Tensor, block: Batch, at: Columns) -> Tensor:
        """``sqrt(w_i C_i) D_i`` for the free parameters, (n q, P')."""
        B = doubled.roots(eta, block.y) * block.sample_weight.sqrt()[:, None, None]
        scores = B @ (mix_matrix(self.model) @ self.free)  # (n, q, r')
        Z = (block.X - at.mean) / at.scale
        parts = [(scores[:, :, :, None] * Z[:, None, None, :]).flatten(2)]
        if isinstance(self.model, OrdinalRegression):
            parts.append(B[:, :, 1 if self.model.first is None else 0 :])
        elif self.model.bias is not None:
            parts.append(scores)
        return torch.cat(parts, dim=2).flatten(0, 1)

    def _penalty_rows(self, at: Columns, n: int) -> Tensor:
        """Rows whose squares are the penalty's curvature."""
        r, p = self.free.shape[1], len(at.scale)
        m = 0
        if isinstance(self.model, OrdinalRegression):
            m = len(self.intercepts.high) - (1 if self.model.first is None else 0)
        elif self.model.bias is not None:
            m = r
        root = ((n * self.alpha) ** 0.5 / at.scale).repeat(r)
        rows = torch.diag(root) if self.alpha else root.new_zeros(0, r * p)
        return torch.nn.functional.pad(rows, (0, m))


def stacked(parts: list[DoubleDouble]) -> DoubleDouble:
    """Vectors as rows of a matrix."""
    return DoubleDouble(
        torch.stack([part.high for part in parts]), torch.stack([part.low for part in parts])
    )
