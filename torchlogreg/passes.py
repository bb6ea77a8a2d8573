"""One pass over the rows: the sums that the objective and its gradient are made of.

Three ways to them, each tested against the others; the first that can is taken.

1. Compiled, ``X`` read once: :mod:`torchlogreg.kernels`.
2. Closed forms in torch: slopes ``s_i`` by formula, pulled back through the affine map as ``S' X``.
3. None: the objective then differentiates itself by autograd, for other losses and models.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from torchlogreg import kernels
from torchlogreg.autograd_pass import (
    BLOCK,
    FEW,
    by_autograd,
    derivatives,
    forward,
    weighted_sum,
)
from torchlogreg.base import Model
from torchlogreg.closed_form import has_slopes, losses_and_slopes
from torchlogreg.curvature import ROWS, intercept_jacobian
from torchlogreg.data import Batch
from torchlogreg.kernels import Sums
from torchlogreg.losses import Loss, categorical_nll
from torchlogreg.models import LinearRegression, LogisticRegression, SoftmaxRegression
from torchlogreg.penalties import Penalty


class Rows(NamedTuple):
    """What weights do not change: eta (n, k), losses (n,), slopes (n, k)."""

    eta: Tensor
    losses: Tensor
    slopes: Tensor


class Found(NamedTuple):
    """Smooth value (scalar), gradient (P,), eta (n, k) and unweighted losses (n,).

    ``slopes`` (n, k) are the losses' derivatives by ``eta``, where they are at hand: the same rows
    under other weights then need no new pass for them. ``eta`` and ``losses`` are empty where
    nobody was to need them. ``squares`` (p,) of the columns came by the way, if asked for.
    """

    value: Tensor
    gradient: Tensor
    eta: Tensor
    losses: Tensor
    slopes: Tensor | None = None
    squares: Tensor | None = None


def evaluate(
    model: Model,
    loss: Loss,
    penalty: Penalty | None,
    params: list[nn.Parameter],
    batch: Batch,
    known: Found | None = None,
    *,
    keep_rows: bool = True,
    squared: bool = False,
) -> Found:
    """Smooth part of the objective and its gradient, in one pass.

    Parameters
    ----------
    model : Model
    loss : Loss
    penalty : Penalty or None
    params : list of nn.Parameter
        The trainable ones, in the order of the gradient.
    batch : Batch
    known : Found, optional
        The same rows at the same parameters, under whatever weights.
    keep_rows : bool
        Whether ``eta`` and losses are wanted: of many rows their memory costs as much as they do.
    squared : bool
        Whether squares of the columns are wanted, if the same pass can have them.

    Raises
    ------
    ValueError
        If the loss does not return one number per row.
    """
    if penalty is None or not penalty.needs_rows:
        if known is not None and known.slopes is not None:
            rows = Rows(known.eta, known.losses, known.slopes)
            return _assemble(model, penalty, params, batch, _weighted(model, batch, rows), rows)
        if batch.X.numel() <= min(BLOCK, kernels.SMALLEST.get() - 1):
            if _has_closed_form(model, loss, batch.y):
                rows = _rows(model, loss, batch)
                return _assemble(model, penalty, params, batch, _weighted(model, batch, rows), rows)
        else:
            sums = sums_of(model, loss, batch, keep_rows=keep_rows, squared=squared)
            if sums is not None:
                return _assemble(model, penalty, params, batch, sums)
    whole = penalty is not None and penalty.needs_rows and batch.total is None
    if not whole:
        both, eta, losses = by_autograd(model, loss, params, batch)
        return finished(model, penalty, batch, both[0], both[1:], eta, losses)
    with torch.enable_grad():
        eta, losses = forward(model, loss, batch)
        value = total(model, penalty, batch, eta, losses, smooth_only=True)
        flat = derivatives(value, params)
    return Found(value.detach(), flat, eta.detach(), losses.detach())


def total(
    model: Model,
    penalty: Penalty | None,
    batch: Batch,
    eta: Tensor,
    losses: Tensor,
    *,
    smooth_only: bool = False,
) -> Tensor:
    """Weighted mean of the losses (n,), plus the penalty."""
    value = batch.summed(weighted_sum(losses, batch.sample_weight)) / batch.n
    if penalty is not None and (penalty.smooth or not smooth_only):
        value = value + penalty.value_on(model, batch, eta)
    return value


@torch.no_grad()
def _assemble(
    model: Model,
    penalty: Penalty | None,
    params: list[nn.Parameter],
    batch: Batch,
    sums: Sums,
    rows: Rows | None = None,
) -> Found:
    """From sums over the rows and the penalty."""
    gradient, slopes = flat_gradient(model, params, sums), None if rows is None else rows.slopes
    found = finished(model, penalty, batch, sums.value, gradient, sums.eta, sums.losses, slopes)
    return found if sums.squares is None else found._replace(squares=sums.squares)


@torch.no_grad()
def finished(
    model: Model,
    penalty: Penalty | None,
    batch: Batch,
    value: Tensor,
    gradient: Tensor,
    eta: Tensor,
    losses: Tensor,
    slopes: Tensor | None = None,
) -> Found:
    """From sums over these rows, value and gradient (P,): over all ranks, and the penalty."""
    weight = model.weight
    if batch.total is not None:
        both = batch.summed(torch.cat((value.detach().view(1), gradient)))
        value, gradient = both[0], both[1:]
    value, gradient = value / batch.n, gradient / batch.n
    if penalty is not None and penalty.smooth:
        value = value + penalty.value(weight)
        if weight.requires_grad:  # it is the first of the trainable parameters
            gradient[: weight.numel()] += penalty.gradient(weight).flatten()
    return Found(value, gradient, eta, losses, slopes)


@torch.no_grad()
def sums_of(
    model: Model, loss: Loss, batch: Batch, *, keep_rows: bool = True, squared: bool = False
) -> Sums | None:
    """Weighted sums over the rows, or None where only autograd knows the derivatives.

    Parameters
    ----------
    model : Model
    loss : Loss
    batch : Batch
    keep_rows : bool
        Whether ``eta`` and losses are wanted; else they are empty, but for those of few rows.
    squared : bool
        Whether squares of the columns are wanted, if compiled kernels can have them.
    """
    n_scores = len(model.intercepts())
    keep_rows = keep_rows or len(batch) * (n_scores + 1) <= FEW
    if batch.X.numel() >= kernels.SMALLEST.get() and kernels.available(model, loss, batch):
        return kernels.evaluate(
            loss,
            batch.X,
            batch.y,
            sample_weight=batch.sample_weight,
            weight=model.weight,
            intercepts=model.intercepts(),
            offset=batch.offset,
            out=_rooms(batch, n_scores, keep_rows),
            squared=squared and kernels.squares_available(batch.X),
            even=batch.even,
        )
    if not _has_closed_form(model, loss, batch.y):
        return None
    eta, losses = _rooms(batch, n_scores, keep_rows)
    m, k = model.weight.numel(), n_scores
    size = min(batch.block_size(BLOCK), max(1, ROWS // k))
    # Made at once: small tensors that outlive a block cut up the memory that the next would take.
    sums = eta.new_empty(-(-len(batch) // size), 1 + m + k)
    for i, block in enumerate(batch.strips(size)):
        found, rows = _closed(model, loss, block), slice(i * size, i * size + len(block))
        if keep_rows:
            eta[rows], losses[rows] = found.eta, found.losses
        torch.cat([part.flatten() for part in found[:3]], out=sums[i])
    flat = sums.sum(0)
    return Sums(flat[0], flat[1 : 1 + m].view_as(model.weight), flat[1 + m :], eta, losses)


def _rooms(batch: Batch, n_scores: int, keep_rows: bool) -> tuple[Tensor, Tensor]:
    """Where ``eta`` (n, k) and losses (n,) go; of no rows if nobody wants them."""
    if keep_rows:
        return batch.room(n_scores), batch.room()
    return batch.X.new_empty(0, n_scores), batch.X.new_empty(0)


def flat_gradient(model: Model, params: list[nn.Parameter], sums: Sums) -> Tensor:
    """Derivatives of ``sums.value`` by the trainable parameters, in their order, (P,)."""
    parts = [sums.by_weight.flatten()] if model.weight.requires_grad else []
    if len(params) > len(parts):
        k, bias = len(sums.by_intercepts), model.bias
        if bias is not None and len(bias) == k:
            parts.append(sums.by_intercepts)
        else:
            parts.append(intercept_jacobian(model).T @ sums.by_intercepts)
    return parts[0] if len(parts) == 1 else torch.cat(parts)


def _has_closed_form(model: Model, loss: Loss, y: Tensor) -> bool:
    """For the exact types only: what a subclass does in forward() is its own."""
    if not has_slopes(loss) or model._forward_hooks or model._forward_pre_hooks:
        return False
    dtype = model.weight.dtype
    if loss is categorical_nll:
        fits = y.dtype == (dtype if y.ndim == 2 else torch.int64)
        return type(model) is SoftmaxRegression and fits
    return type(model) in (LinearRegression, LogisticRegression) and y.dtype == dtype


def _closed(model: Model, loss: Loss, batch: Batch) -> Sums:
    return _weighted(model, batch, _rows(model, loss, batch))


@torch.no_grad()
def _rows(model: Model, loss: Loss, batch: Batch) -> Rows:
    eta = model(batch.X, batch.offset)
    return Rows(eta, *losses_and_slopes(loss, eta, batch.y))


@torch.no_grad()
def _weighted(model: Model, batch: Batch, rows: Rows) -> Sums:
    weighted = rows.slopes * batch.sample_weight.unsqueeze(1)
    scores = weighted[:, 1:] if weighted.shape[1] > len(model.weight) else weighted
    value = weighted_sum(rows.losses, batch.sample_weight)
    return Sums(value, scores.T @ batch.X, weighted.sum(0), rows.eta, rows.losses)
