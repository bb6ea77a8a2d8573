"""The (penalised) log-likelihood as a function of the identified parameters.

Parameters ``t (P,)`` are those of centred and scaled columns (:class:`rows.Basis`): ``theta =
basis.back @ t``. Everything is *minus* a log-likelihood, summed over rows under their weights as
they are, not a mean.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from torchlogreg.data import Batch
from torchlogreg.inference.affine import AffineForm
from torchlogreg.inference.information import Information
from torchlogreg.inference.recession import grows, recession_cone
from torchlogreg.inference.rows import Basis
from torchlogreg.jeffreys import MOST_PARAMETERS, MOST_WORK, Jeffreys
from torchlogreg.log_determinant import Rows, cholesky, log_determinant, log_determinant_hessian
from torchlogreg.models import OrdinalRegression, SoftmaxRegression
from torchlogreg.penalties import L2, Penalty


class Expansion(NamedTuple):
    """Value, gradient (P,) and Hessian (P, P) at one point."""

    value: float
    gradient: Tensor
    hessian: Tensor


@dataclass(frozen=True, slots=True, eq=False)
class Likelihood:
    """Minus the log-likelihood, plus the penalty in the same units.

    Attributes
    ----------
    form : AffineForm
    data : Batch
        Weights as used: their sum is the number of observations.
    basis : Basis
    penalty : Penalty or None
        ``L2`` or ``Jeffreys``, as in the objective: the sum of the weights counts the observations.
    """

    form: AffineForm
    data: Batch
    basis: Basis
    penalty: Penalty | None

    @classmethod
    def of(cls, form: AffineForm, data: Batch, penalty: Penalty | None) -> Likelihood:
        """Refuses penalties, and empty levels, for which a profile has no meaning.

        Raises
        ------
        ValueError
        """
        if penalty is not None and penalty.alpha == 0:
            penalty = None
        if penalty is not None and not isinstance(penalty, L2 | Jeffreys):
            raise ValueError(
                f"the profile under {penalty!r} is no likelihood to refer to chi-square; fit with "
                "Jeffreys(), L2 or no penalty"
            )
        if penalty is not None:
            penalty.check(form.model, own_loss=True)
        if isinstance(penalty, Jeffreys):
            _check_count(penalty, data)
        if isinstance(form.model, OrdinalRegression):
            _check_levels(data, form.model.n_classes)
        return cls(form, data, Basis.of(form, data), penalty)

    def start(self) -> Tensor:
        """Where the model stands, (P,)."""
        t: Tensor = torch.linalg.solve(self.basis.back, self.form.theta)
        return t

    def at(self, t: Tensor) -> AffineForm:
        """The model at other parameters."""
        return self.form.at(self.basis.back @ t)

    def ordered(self, t: Tensor) -> bool:
        """Whether the cutpoints of an ordinal model increase; true for other models."""
        cutpoints = self.at(t).intercepts @ self.form.M.T
        ordinal = bool((self.form.R < 0).any())
        return not ordinal or bool((cutpoints.diff() > 0).all())

    def endless(self, hold: Tensor) -> bool:
        """Whether ``hold . t`` can grow for ever and the likelihood not fall: an exact decision."""
        if self.penalty is not None:
            return False  # it rises far out
        return grows(recession_cone(self.form, self.data, self.basis), self.form, hold)

    def value(self, t: Tensor) -> float:
        """One pass; infinite where cutpoints cross."""
        if not self.ordered(t):
            return float("inf")
        form, total = self.at(t), t.new_zeros(())
        for block in self.data.blocks(2**20):
            y = block.y.to(t) if block.y.is_floating_point() else block.y
            losses = form.nll(form.eta(block.X, block.offset), y)
            total += torch.dot(block.sample_weight.to(t), losses)
        if isinstance(self.penalty, Jeffreys):
            eta, rows = self._design(form)
            total -= self.penalty.alpha * log_determinant(eta, rows)
        elif self.penalty is not None:
            total += self._observations() * self.penalty.value(self._spread() @ form.weight)
        return float(total)

    def expansion(self, t: Tensor) -> Expansion:
        """Value and both derivatives, in one pass."""
        form = self.at(t)
        found = Information.of(form, self.data)
        parts = Expansion(float(found.loss), found.gradient, found.matrix)
        if isinstance(self.penalty, Jeffreys):
            return self._with_jeffreys(form, parts, self.penalty)
        return parts if self.penalty is None else self._with_ridge(form, parts, self.penalty)

    def _with_ridge(self, form: AffineForm, parts: Expansion, penalty: Penalty) -> Expansion:
        """The ridge acts on raw weights: derivatives by them, pulled back to the basis."""
        E = self._spread()  # (rows of the module, r)
        full, n = E @ form.weight, self._observations()
        bend = torch.kron(E.T @ E, torch.eye(full.shape[1], dtype=E.dtype, device=E.device))
        bend = n * penalty.alpha * bend
        by_weight = self.basis.back[: form.weight.numel()]  # weights from t
        return Expansion(
            parts.value + float(n * penalty.value(full)),
            parts.gradient + by_weight.T @ (bend @ form.weight.flatten()),
            parts.hessian + by_weight.T @ bend @ by_weight,
        )

    def _with_jeffreys(self, form: AffineForm, parts: Expansion, penalty: Jeffreys) -> Expansion:
        """Less ``alpha log det I``; its curvature where it is cheap and leaves a convex model."""
        eta, rows = self._design(form)
        with torch.enable_grad():
            eta = eta.requires_grad_()
            value = log_determinant(eta, rows)
            (slope,) = torch.autograd.grad(value, eta)
        r, p = form.weight.shape
        by_weight = (slope @ form.R).T @ rows.X  # (r, p)
        gradient = torch.cat((by_weight.flatten(), slope.sum(0) @ form.M))
        hessian, size = parts.hessian, len(gradient)
        if size <= MOST_PARAMETERS and len(eta) * float(size) ** 3 <= MOST_WORK:
            bend = log_determinant_hessian(eta.detach(), rows)
            if bend is not None:
                q = p + int(rows.with_ones)
                index = torch.arange(size, device=eta.device).view(r, q)
                order = torch.cat((index[:, :p].flatten(), index[:, p:].flatten()))
                both = hessian - penalty.alpha * bend[order][:, order]
                hessian = hessian if cholesky(both) is None else both
        return Expansion(
            parts.value - penalty.alpha * float(value.detach()),
            parts.gradient - penalty.alpha * gradient,
            hessian,
        )

    def _design(self, form: AffineForm) -> tuple[Tensor, Rows]:
        """``eta`` of all rows, and the rows in the basis: a copy of X, which this penalty needs."""
        data, wide = self.data, form.weight
        Z = self.basis.transform(data.X)
        rows = Rows(Z, len(form.intercepts) > 0, data.sample_weight.to(wide))
        return form.eta(data.X, data.offset), rows

    def _observations(self) -> float:
        return float(self.data.sample_weight.sum(dtype=self.form.weight.dtype))

    def _spread(self) -> Tensor:
        """The module's weights from those of the form: without a reference class, centred ones."""
        model, weight = self.form.model, self.form.weight
        eye = torch.eye(len(weight), dtype=weight.dtype, device=weight.device)
        if not isinstance(model, SoftmaxRegression) or model.reference:
            return eye
        full = torch.cat((torch.zeros_like(eye[:1]), eye))
        return full - full.mean(0)  # of all shifts, the one with the least ridge


def _check_count(penalty: Jeffreys, data: Batch) -> None:
    """Refuse a penalty that was worth another number of observations than the weights say."""
    counted = float(penalty.total(data))
    total = float(data.sample_weight.sum())
    if abs(counted - total) > 1e-6 * total:
        raise ValueError(
            f"{penalty!r} was worth {counted:g} observations, but the weights add up to "
            f"{total:g}; fit again with Jeffreys(n_observations={total:g}), and infer with it"
        )


def _check_levels(data: Batch, n_classes: int) -> None:
    """Refuse an empty level between others: its cutpoints meet, at no point of a smooth profile."""
    y, weight = data.y, data.sample_weight
    if y.ndim == 2:
        counts = weight.to(y) @ y
    else:
        counts = torch.zeros(n_classes, dtype=weight.dtype, device=y.device)
        counts.index_add_(0, y, weight)
    empty = (counts[1:-1] <= 0).nonzero().flatten().tolist()
    if empty:
        level = empty[0] + 1
        raise ValueError(
            f"level {level} has no rows with weight, so the cutpoints around it coincide and have "
            "no profile; merge it with a neighbour and fit again"
        )
