"""The pass that autograd makes, for losses and models of which no formula is known."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from torchlogreg.base import Model
from torchlogreg.data import Batch, of_pieces
from torchlogreg.losses import Loss

BLOCK = 2**21
"""Entries of ``X`` in a block, 16 MB in float64: what a block leaves behind is small beside it."""

FEW = 2**17
"""Numbers that are kept in any case, 1 MB in float64: new memory costs 4 us for each 4 kB."""


def by_autograd(
    model: Model, loss: Loss, params: list[nn.Parameter], batch: Batch
) -> tuple[Tensor, Tensor, Tensor]:
    """Weighted sums of losses and of their gradients (1 + P,), eta (n, k), losses (n,).

    Of mapped rows block by block, since they need not fit into memory.
    """
    if not batch.mapped:
        with torch.enable_grad():
            eta, losses = forward(model, loss, batch)
            value = weighted_sum(losses, batch.sample_weight)
            sums = torch.cat((value.detach().view(1), derivatives(value, params)))
        return sums, eta.detach(), losses.detach()
    size, n_params = batch.block_size(BLOCK), sum(p.numel() for p in params)
    parts = batch.sample_weight.new_empty(-(-len(batch) // size), 1 + n_params)
    all_eta, all_losses = batch.room(len(model.intercepts())), batch.room()
    for i, block in enumerate(batch.strips(size)):
        rows = slice(i * size, i * size + len(block))
        in_memory = replace(block, rooms=None)
        parts[i], all_eta[rows], all_losses[rows] = by_autograd(model, loss, params, in_memory)
    return parts.sum(0), all_eta, all_losses


def forward(model: Model, loss: Loss, batch: Batch) -> tuple[Tensor, Tensor]:
    """eta (n, k) and losses (n,), or an error if these are not one number a row."""
    eta = model(batch.X, batch.offset)
    losses = loss(eta, batch.y)
    if losses.shape != batch.sample_weight.shape:
        raise ValueError(
            f"the loss returned shape {tuple(losses.shape)} for {len(batch)} rows, but one "
            "number per row is needed; reduce nothing"
        )
    return eta, losses


def derivatives(value: Tensor, params: list[nn.Parameter]) -> Tensor:
    """By the parameters, (P,)."""
    found = torch.autograd.grad(value, params, allow_unused=True, materialize_grads=True)
    return torch.cat([part.flatten() for part in found])


def weighted_sum(losses: Tensor, weight: Tensor) -> Tensor:
    """Sum of ``weight_i losses_i``, a scalar: in one run float32 is 5e-6 off at 2e7 rows."""
    if losses.dtype == torch.float64 or len(losses) <= FEW:
        return torch.dot(losses, weight)
    return of_pieces(torch.dot, losses, weight, size=FEW).sum()
