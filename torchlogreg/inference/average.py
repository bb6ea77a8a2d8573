"""Averages of effects over rows, and their derivatives by ``theta``: one pass, small sums.

The effect of column ``j`` on mean ``c`` of a row is ``sum_a g_ca B_aj`` with ``g = d mean / d eta``
and ``B = R @ weight``. Averages over rows therefore need only sums over the rows of ``g``, of its
derivative ``h = dg / d eta``, and of products of these with ``x``: never a number per row and
parameter. Every function here yields, mean by mean (``C`` of them), the effects of ``q`` columns
and their gradient by ``theta``, shape (q, P).
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from torchlogreg.data import Batch
from torchlogreg.inference.affine import AffineForm
from torchlogreg.inference.response import response, width

Effects = Iterator[tuple[Tensor, Tensor]]  # (q,) and (q, P) for every mean


def slope_effects(form: AffineForm, data: Batch, columns: list[int], *, log: bool) -> Effects:
    """``d mean / d x_j``, averaged; ``log`` takes the logarithm of the mean."""
    S = form.R.new_zeros(())
    HX, H1 = torch.zeros_like(S), torch.zeros_like(S)
    for X, eta, share in shares(form, data):
        at = response(form.model, eta, log=log)
        S = S + (share @ at.slopes.flatten(1)).view(at.slopes.shape[1:])  # (C, k)
        h = _pulled(at.bends, form, share)  # (n, C, r, k)
        HX = HX + (h.flatten(1).T @ X).view(*h.shape[1:], -1)  # (C, r, k, p)
        H1 = H1 + h.sum(0)
    weight = form.weight[:, columns]  # (r, q)
    for g, hx, h1 in zip(S @ form.R, HX, H1, strict=True):
        bend = torch.einsum("rj,rbl->bjl", weight, hx)
        own = g.unsqueeze(1).expand(-1, len(columns))
        yield g @ weight, _gradient(form, columns, own, bend, weight.T @ h1)


def scaled_effects(form: AffineForm, data: Batch, columns: list[int], *, log: bool) -> Effects:
    """``x_j d mean / d x_j``, averaged: by the logarithm of ``x``; a pass of ``X'DX`` each."""
    weight = form.weight[:, columns]  # (r, q)
    SX = form.R.new_zeros(())
    HXX, HX = torch.zeros_like(SX), torch.zeros_like(SX)
    for X, eta, share in shares(form, data):
        at = response(form.model, eta, log=log)
        g = at.slopes @ form.R * share[:, None, None]  # (n, C, r)
        SX = SX + (g.flatten(1).T @ X[:, columns]).view(*g.shape[1:], -1)  # (C, r, q)
        h = _pulled(at.bends, form, share).transpose(2, 3).flatten(1, 2)  # (n, C k, r)
        V = [X[:, columns] * (h[:, i] @ weight) for i in range(h.shape[1])]  # each (n, q)
        C, k = at.slopes.shape[1:]
        HXX = HXX + torch.stack([v.T @ X for v in V]).view(C, k, len(columns), -1)
        HX = HX + torch.stack([v.sum(0) for v in V]).view(C, k, -1)
    for own, hxx, hx in zip(SX, HXX, HX, strict=True):
        yield (own * weight).sum(0), _gradient(form, columns, own, hxx, hx.T)


def difference_effects(form: AffineForm, data: Batch, columns: list[int], *, log: bool) -> Effects:
    """Mean at ``x_j = 1`` less mean at ``x_j = 0``, all else as it is, averaged."""
    B = form.R @ form.weight  # (k, p)
    total, SX, S1, own = (form.R.new_zeros(()) for _ in range(4))
    for X, eta, share in shares(form, data):
        values, products, sums, ones = [], [], [], []
        for j in columns:
            x = X[:, j, None]
            high = response(form.model, eta + (1 - x) * B[:, j], log=log, bends=False)
            low = response(form.model, eta - x * B[:, j], log=log, bends=False)
            change = (high.slopes - low.slopes) * share[:, None, None]  # (n, C, k)
            values.append(share @ (high.value - low.value))
            products.append((change.flatten(1).T @ X).view(*change.shape[1:], -1))
            sums.append(change.sum(0))
            ones.append((share @ high.slopes.flatten(1)).view(change.shape[1:]))
        total = total + torch.stack(values, dim=1)  # (C, q)
        SX = SX + torch.stack(products, dim=2)  # (C, k, q, p)
        S1 = S1 + torch.stack(sums, dim=1)  # (C, q, k)
        own = own + torch.stack(ones, dim=2)  # (C, k, q): the column itself is 1, then 0
    for c, values_c in enumerate(total):
        SX[c, :, range(len(columns)), columns] = 0.0
        yield values_c, _gradient(form, columns, form.R.T @ own[c], SX[c], S1[c])


def shares(form: AffineForm, data: Batch) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Blocks of ``X (n, p)``, ``eta (n, k)`` and row weights (n,) that sum to one over all rows.

    Blocks are so small that what is made of them stays within a few times 16 MB. Rows without
    weight are left out: there even what is undefined, such as log 0, must not count.
    """
    total = data.sample_weight.to(form.weight).sum()
    per_row = data.X.shape[1] + width(form.model)
    size = max(1, 2**21 // per_row)
    for block in data.strips(size):
        counts = block.sample_weight > 0
        block = block if bool(counts.all()) else block.rows(counts)
        if len(block):
            X = block.X.to(form.weight)
            yield X, form.eta(X, block.offset), block.sample_weight.to(X) / total


def _pulled(bends: Tensor, form: AffineForm, share: Tensor) -> Tensor:
    """Weighted second derivatives with their first ``eta`` pulled back to scores, (n, C, r, k)."""
    return form.R.T @ bends * share[:, None, None, None]


def _gradient(
    form: AffineForm, columns: list[int], own: Tensor, by_x: Tensor, by_one: Tensor
) -> Tensor:
    """Gradient by ``theta``, (q, P).

    ``own (r, q)`` multiplies the weights of the column itself; ``by_x (k, q, p)`` and ``by_one
    (q, k)`` are sums of ``d effect / d eta`` times ``x`` and times one.
    """
    by_weight = torch.einsum("bjl,br->jrl", by_x, form.R).contiguous()  # (q, r, p)
    by_weight[range(len(columns)), :, columns] += own.T
    return torch.cat((by_weight.flatten(1), by_one @ form.M), dim=1)
