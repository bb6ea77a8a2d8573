"""Curvature in eta-space, pulled back to the parameters through the affine map.

``eta_i = mix(weight x_i) + intercepts(theta)``, so with ``R`` the matrix of ``mix`` (k, r) and
``J`` the Jacobian of the intercepts (k, number of intercept parameters), row ``i`` contributes

    weight/weight       (R' C_i R) kron x_i x_i'        C_i = d2 loss_i / d eta_i2, (k, k)
    intercept/weight    J' C_i R kron x_i'
    intercept/intercept J' C_i J

This is the Gauss-Newton matrix: positive semi-definite for convex losses, the Fisher information
for canonical links, and the exact Hessian wherever the intercepts are linear in their parameters or
their gradient vanishes (at any optimum).
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from torchlogreg import kernels
from torchlogreg.base import Model
from torchlogreg.class_curvature import Rows, class_curvature, suits
from torchlogreg.closed_form import curvatures
from torchlogreg.data import Batch
from torchlogreg.losses import Loss, slopes

BLOCK = 2**17
"""Entries of ``X`` in a block whose weighted copy is made: 1 MB in float64 stays in the cache."""

ROWS = 2**18
"""Rows in a block of which no copy is made: what is computed for each of them takes 10 MB."""


@torch.no_grad()
def mix_matrix(model: Model) -> Tensor:
    """``R``: ``mix(scores) = scores @ R.T``, shape (k, r)."""
    r = model.weight.shape[0]
    return model.mix(torch.eye(r, dtype=model.weight.dtype, device=model.weight.device)).T


def intercept_jacobian(model: Model) -> Tensor:
    """``J``: derivatives of the intercepts by their trainable parameters, shape (k, count)."""
    params = intercept_parameters(model)
    if type(model).intercepts is Model.intercepts:  # the bias is mixed as the scores are
        R = mix_matrix(model)
        return R if params else R[:, :0]
    with torch.enable_grad():
        intercepts = model.intercepts()
        if not params:
            return model.weight.new_zeros(len(intercepts), 0)
        rows = []
        for value in intercepts:
            if not value.requires_grad:  # the fixed first cutpoint
                rows.append(torch.cat([torch.zeros_like(p).flatten() for p in params]))
                continue
            parts = torch.autograd.grad(
                value, params, retain_graph=True, allow_unused=True, materialize_grads=True
            )
            rows.append(torch.cat([part.flatten() for part in parts]))
    return torch.stack(rows)


def intercept_parameters(model: Model) -> list[torch.nn.Parameter]:
    """Trainable parameters other than ``weight``, in the module's order."""
    return [p for p in model.parameters() if p is not model.weight and p.requires_grad]


@torch.no_grad()
def gauss_newton(model: Model, loss: Loss, batch: Batch, eta: Tensor | None = None) -> Tensor:
    """Gauss-Newton matrix of ``mean_i sample_weight_i loss_i``, shape (P, P).

    Rows are taken in blocks, so that the weighted copy of ``X`` stays small. ``eta`` (n, k), where
    it is known, saves a pass.
    """
    if len(model.weight) == len(model.intercepts()) == 1:
        return _of_one_column(model, loss, batch, eta)
    if suits(model, loss, batch.X):
        parts = (Rows.of(model, *rows, batch.n) for rows in _blocks(model, batch, eta))
        return batch.summed(class_curvature(model, parts))
    R, J = mix_matrix(model), intercept_jacobian(model)
    (k, r), p = R.shape, model.n_features
    C_sum = R.new_zeros(k, k)
    cross = R.new_zeros(k * r, p)
    weight_block = R.new_zeros(r, p, r, p)
    for block, eta_block in _blocks(model, batch, eta):
        C = curvatures(loss, eta_block, block.y)  # (n, k, k)
        C = C * (block.sample_weight / batch.n)[:, None, None]
        C_sum += C.sum(0)
        CR = C @ R  # (n, k, r)
        cross += CR.reshape(len(block), k * r).T @ block.X
        A = R.T @ CR  # (n, r, r)
        for a in range(r):
            for b in range(a, r):
                part = block.X.T @ (A[:, a, b, None] * block.X)
                weight_block[a, :, b] += part
                if b > a:
                    weight_block[b, :, a] += part
    ww, cw = weight_block.reshape(r * p, r * p), J.T @ cross.reshape(k, r * p)
    return batch.summed(_assemble(ww, cw, J.T @ C_sum @ J, model))


@torch.no_grad()
def gauss_newton_product(
    model: Model, loss: Loss, batch: Batch, v: Tensor, eta: Tensor | None = None
) -> Tensor:
    """Product of the Gauss-Newton matrix with ``v`` (P,), without forming the matrix.

    ``eta`` (n, k), where it is known, saves a pass.
    """
    R, J = mix_matrix(model), intercept_jacobian(model)
    r, p = model.weight.shape
    n_weight = r * p if model.weight.requires_grad else 0
    v_weight = v[:n_weight].reshape(r, p) if n_weight else v.new_zeros(r, p)
    at_weight, at_eta = v.new_zeros(r, p), v.new_zeros(R.shape[0])
    for block, eta_block in _blocks(model, batch, eta):
        u = model.mix(block.X @ v_weight.T) + J @ v[n_weight:]  # (n, k)
        Cu = _curvature_times(loss, eta_block, block.y, u)
        Cu = Cu * (block.sample_weight / batch.n)[:, None]
        at_weight += (Cu @ R).T @ block.X
        at_eta += Cu.sum(0)
    return batch.summed(torch.cat((at_weight.flatten()[:n_weight], J.T @ at_eta)))


@torch.no_grad()
def row_gradients(model: Model, loss: Loss, batch: Batch) -> Tensor:
    """Gradient of every row's weighted loss, shape (n, P); their mean is the gradient."""
    R, J = mix_matrix(model), intercept_jacobian(model)
    s = slopes(loss, model(batch.X, batch.offset), batch.y) * batch.sample_weight[:, None]
    by_weight = ((s @ R)[:, :, None] * batch.X[:, None, :]).flatten(1)  # (n, r p)
    parts = [by_weight, s @ J] if model.weight.requires_grad else [s @ J]
    return torch.cat(parts, dim=1)


def _curvature_times(loss: Loss, eta: Tensor, y: Tensor, u: Tensor) -> Tensor:
    """``C_i u_i`` for every row, (n, k); by autograd without the (n, k, k) array."""
    if eta.shape[1] == 1:
        return curvatures(loss, eta, y)[:, :, 0] * u
    with torch.enable_grad():
        eta = eta.detach().requires_grad_()
        (s,) = torch.autograd.grad(loss(eta, y).sum(), eta, create_graph=True)
        (Cu,) = torch.autograd.grad((s * u).sum(), eta)
    return Cu


def _blocks(
    model: Model, batch: Batch, eta: Tensor | None, entries: int = BLOCK
) -> Iterator[tuple[Batch, Tensor]]:
    """Consecutive rows and their ``eta``, known or not."""
    start = 0
    for block in batch.blocks(entries):
        known = None if eta is None else eta[start : start + len(block)]
        yield block, model(block.X, block.offset) if known is None else known
        start += len(block)


def _of_one_column(model: Model, loss: Loss, batch: Batch, eta: Tensor | None) -> Tensor:
    """The same for ``eta = mix(x . weight) + bias`` of one column: ``X' diag(a) X``."""
    p, X = model.n_features, batch.X
    if kernels.curvature_available(model, loss, batch):
        whole = kernels.curvature(
            X,
            sample_weight=batch.sample_weight,
            weight=model.weight,
            intercepts=model.intercepts(),
            offset=batch.offset,
        ).div_(batch.n)
        trained = model.bias is not None and model.bias.requires_grad
        if not model.weight.requires_grad:
            return batch.summed(whole[p:, p:])
        return batch.summed(whole if trained else whole[:p, :p])
    ww, cw, cc = X.new_zeros(p, p), X.new_zeros(1, p), X.new_zeros(1, 1)
    compiled = kernels.gram_available(X)
    for block, eta_block in _blocks(model, batch, eta, ROWS * p if compiled else BLOCK):
        a = curvatures(loss, eta_block, block.y)[:, 0, 0] * block.sample_weight
        cw += a @ block.X
        cc += a.sum()
        ww += kernels.gram(block.X, a) if compiled else (block.X * a[:, None]).T @ block.X
    n = batch.n
    if type(model).mix is Model.mix and model.bias is not None and model.bias.requires_grad:
        return batch.summed(_assemble(ww.div_(n), cw.div_(n), cc.div_(n), model))  # R and J are 1
    R, J = mix_matrix(model), intercept_jacobian(model)
    matrix = _assemble(ww * R.square() / n, J.T @ cw * R / n, J.T @ cc @ J / n, model)
    return batch.summed(matrix)


def _assemble(ww: Tensor, cw: Tensor, cc: Tensor, model: Model) -> Tensor:
    """The (P, P) matrix in the order of the module's trainable parameters (weight first)."""
    if not model.weight.requires_grad:
        return cc
    return torch.cat((torch.cat((ww, cw.T), dim=1), torch.cat((cw, cc), dim=1)))
