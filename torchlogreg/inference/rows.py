"""Rows as inference sees them: derivatives by ``eta``, columns centred and scaled, block by block.

Letters are those of :mod:`torchlogreg.objective`. Forming ``X'CX`` of columns with a mean of 1e6
and a spread of one costs twelve digits; of centred ones none. So everything that is summed over
rows is summed in a *basis*: columns less their mean, over a power of two.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from torchlogreg import closed_form, losses
from torchlogreg.data import Batch
from torchlogreg.inference.affine import AffineForm

BLOCK = 2**20
"""Numbers in a temporary: bounds the memory beside X to some tens of MB."""

CACHED = 2**18
"""Numbers in a temporary that the processor keeps at hand, as long as blocks have as many rows as
parameters."""

_SAMPLE = 1024


@dataclass(frozen=True, slots=True, eq=False)
class Basis:
    """Columns ``(X - mean) / scale``, and the way back from their parameters.

    Attributes
    ----------
    mean : Tensor, shape (p,)
        Zero for models that cannot absorb a shift of the columns.
    scale : Tensor, shape (p,)
        Powers of two, so that scaling is exact.
    back : Tensor, shape (P, P)
        ``theta = back @ theta_here``: weights over their scale, intercepts less the means' share.
    """

    mean: Tensor
    scale: Tensor
    back: Tensor

    @classmethod
    def of(cls, form: AffineForm, data: Batch, *, careful: bool = False) -> Basis:
        """One cheap pass; ``careful`` spends another on the largest entry of every column."""
        absorb = torch.linalg.pinv(form.M) @ form.R  # (m, r): intercepts that undo a shift
        centre = torch.allclose(form.M @ absorb, form.R, rtol=0, atol=1e-12)
        mean = form.weight.new_zeros(data.X.shape[1])
        step = 1 if careful else -(-len(data) // _SAMPLE)
        sample = Batch(data.X[::step].contiguous(), data.y[::step], data.sample_weight[::step])
        if centre and not (step > 1 and _is_near_zero(data, sample)):
            for block in data.blocks(BLOCK):
                mean += block.sample_weight.to(mean) @ block.X.to(mean)
            mean /= data.sample_weight.sum(dtype=mean.dtype)
        largest = torch.zeros_like(mean)
        for block in sample.blocks(BLOCK):
            counted = block.X[block.sample_weight > 0].to(mean)
            if len(counted):
                largest = torch.maximum(largest, (counted - mean).abs().amax(0))
        if step > 1:  # of many rows: near zero is near enough, and saves a copy of X
            mean = mean.where(mean.abs() > largest, 0.0)
        # A constant column stays as it is: what rounding left of it would look like a column.
        constant = largest <= 8 * torch.finfo(mean.dtype).eps * mean.abs()
        largest, mean = torch.where(constant, mean.abs(), largest), mean.where(~constant, 0.0)
        exponent = torch.frexp(torch.where(largest > 0, largest, 1.0)).exponent
        scale = torch.ldexp(torch.ones_like(mean), exponent)
        return cls(mean, scale, _back(form, absorb, mean, scale))

    def transform(self, X: Tensor) -> Tensor:
        """A copy of rows (n, p) in this basis."""
        return (X.to(self.mean) - self.mean).div_(self.scale)


def _is_near_zero(data: Batch, sample: Batch) -> bool:
    """Whether sizes of columns, known, prove that every mean is nearer to zero than some row to it.

    A mean is no more than the root mean square; some row of the sample is at least half the range
    of the sample away from it.
    """
    weight = data.sample_weight
    if data.squares is None or not float(weight.amin()) == 1 == float(weight.amax()):
        return False
    least, most = sample.X.aminmax(dim=0)
    size = (data.squares / len(data)).sqrt()
    return bool((size < 0.5 * (most - least).to(size)).all())


def _back(form: AffineForm, absorb: Tensor, mean: Tensor, scale: Tensor) -> Tensor:
    r, p = form.weight.shape
    back = torch.diag(torch.cat(((1 / scale).repeat(r), torch.ones_like(form.intercepts))))
    shares = absorb[:, :, None] * (mean / scale)  # (m, r, p)
    back[r * p :, : r * p] = -shares.flatten(1)
    return back


class Rows(NamedTuple):
    """A block of rows and the derivatives of their losses.

    Attributes
    ----------
    Z : Tensor, shape (n, p)
        Columns in the basis.
    weight : Tensor, shape (n,)
        Sample weights as used.
    slopes : Tensor, shape (n, k)
        ``d loss_i / d eta_i``, without weights.
    curvatures : Tensor, shape (n, k, k)
        ``d2 loss_i / d eta_i2``, without weights.
    loss : Tensor, scalar
        ``sum_i weight_i loss_i``.
    batch : Batch
        The rows themselves.
    """

    Z: Tensor
    weight: Tensor
    slopes: Tensor
    curvatures: Tensor
    loss: Tensor
    batch: Batch


@dataclass(frozen=True, slots=True, eq=False)
class Problem:
    """A model at its parameters, rows, and the basis to sum them in.

    The loss of linear regression counts half here, so that slopes are residuals and curvatures one;
    softmax drops the column of the reference class, where ``eta`` is always zero.

    Attributes
    ----------
    form : AffineForm
    data : Batch
        Sample weights as used: their sum is the number of observations.
    basis : Basis
    R, M : Tensor, shapes (k, r) and (k, m)
        Those of the form, without rows of zeros.
    """

    form: AffineForm
    data: Batch
    basis: Basis
    R: Tensor
    M: Tensor

    @classmethod
    def of(cls, form: AffineForm, data: Batch, *, careful: bool = False) -> Problem:
        """The problem in its own basis."""
        used = _used(form)
        basis = Basis.of(form, data, careful=careful)
        return cls(form, data, basis, form.R[used:], form.M[used:])

    @property
    def linear(self) -> bool:
        """Whether the response is a number with a variance to be estimated."""
        return self.form.model.n_classes is None

    def rows(self, size: int | None = None) -> Iterator[Rows]:
        """All rows with weight, ``size`` or fewer at a time.

        Parameters
        ----------
        size : int, optional
            Default: as many as keep a temporary in the cache.
        """
        p = self.data.X.shape[1]
        size = size or _rows_of(max(p, 2 * len(self.R) ** 2), p)
        for block in self.data.strips(size):
            losses, s, C, weight = self.derivatives(block)
            loss = torch.dot(weight, losses)
            yield Rows(self.basis.transform(block.X), weight, s, C, loss, block)

    def roots(self, T: Tensor) -> Iterator[Tensor]:
        """Blocks of the rows ``sqrt(w_i C_i) D_i T``, (m, P): their squares are the information."""
        k, p, P = len(self.R), self.data.X.shape[1], len(T)
        for block in self.data.strips(_rows_of(2 * k * P, P)):
            eta, y, weight = self._seen(block)
            C = self._curvatures(eta, y) * weight[:, None, None]
            if k == 1 and not bool(self.basis.mean.any()):  # the scale is exact anywhere
                scaled = self.R / self.basis.scale[:, None] * T[:p]
                rows = torch.addmm(self.M @ T[p:], block.X.to(T), scaled)
                yield rows.mul_(C[:, :, 0].sqrt_())
                continue
            Z = self.basis.transform(block.X)
            if k == 1:
                rows = torch.addmm(self.M @ T[p:], Z, self.R * T[:p])
                yield rows.mul_(C[:, :, 0].sqrt_())
                continue
            values, vectors = torch.linalg.eigh(C)
            root = values.clamp(min=0).sqrt()[:, :, None] * vectors.mT  # (m, k, k)
            yield (root @ self.designs(Z)).flatten(0, 1) @ T

    def designs(self, Z: Tensor) -> Tensor:
        """``D_i``, derivatives of ``eta_i`` by the parameters of the basis, (n, k, P)."""
        by_weight = (self.R[None, :, :, None] * Z[:, None, None, :]).flatten(2)
        return torch.cat((by_weight, self.M.expand(len(Z), *self.M.shape)), dim=2)

    def pulled_back(self, s: Tensor, Z: Tensor) -> Tensor:
        """Rows ``D_i' s_i``, (n, P), for ``s`` (n, k)."""
        by_weight = ((s @ self.R)[:, :, None] * Z[:, None, :]).flatten(1)
        return torch.cat((by_weight, s @ self.M), dim=1)

    def _seen(self, block: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """``eta``, target and weights of a block, in the dtype of the form."""
        wide = self.form.weight
        y = block.y.to(wide) if block.y.is_floating_point() else block.y
        return self.form.eta(block.X, block.offset), y, block.sample_weight.to(wide)

    def derivatives(self, block: Batch) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Losses, slopes, curvatures and weights, without columns of ``eta`` that never move."""
        eta, y, weight = self._seen(block)
        loss = self.form.nll
        if self.linear:
            s = eta - y[:, None]
            return s.squeeze(1).square(), s, self._curvatures(eta, y), weight
        used = _used(self.form)
        if closed_form.has_slopes(loss):  # quicker
            found, s = closed_form.losses_and_slopes(loss, eta, y)
        else:
            found, s = loss(eta, y), losses.slopes(loss, eta, y)
        return found, s[:, used:], self._curvatures(eta, y), weight

    def _curvatures(self, eta: Tensor, y: Tensor) -> Tensor:
        """The same curvatures (n, k, k) alone."""
        if self.linear:
            return torch.ones_like(eta)[:, :, None]
        used = _used(self.form)
        return closed_form.curvatures(self.form.nll, eta, y)[:, used:, used:]


def _rows_of(width: int, n_params: int) -> int:
    """Rows of a block whose temporaries have ``width`` numbers a row."""
    return max(1, CACHED // width, min(n_params, BLOCK // width))


def _used(form: AffineForm) -> int:
    """How many leading columns of ``eta`` are always zero: that of softmax's reference class."""
    return int(len(form.R) > 1 and not bool(form.R[0].any()))
