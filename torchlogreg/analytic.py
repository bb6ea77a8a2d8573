"""Closed-form gradients and Hessians of the built-in models: the formulas of the textbooks.

Training differentiates by autograd; nothing here is used by it. These functions are for the learner
who wants to see the formulas, and for the tests and the audit that hold autograd against them.

Everything follows from two facts: ``eta_i = D_i theta`` up to a constant, and the chain rule

    gradient   sum_i v_i D_i' s_i           s_i = d loss_i / d eta_i     (k,)
    Hessian    sum_i v_i D_i' C_i D_i       C_i = d2 loss_i / d eta_i2   (k, k)

with ``v_i = sample_weight_i / n``. Shapes and letters are those of :mod:`torchlogreg.objective`;
``R (k, r)`` is the matrix of ``Model.mix`` and ``J (k, q)`` the Jacobian of the intercepts, so that
``D_i = [R kron x_i', J]``.

=============  ===========================  ==========================
model          gradient by ``weight``       Hessian by ``weight``
=============  ===========================  ==========================
linear         2 X'(eta - y) / n            2 X'X / n
logistic       X'(p - y) / n                X' diag(p (1 - p)) X / n
softmax        (P - Y)'X / n                sum (diag(p) - p p') kron x x' / n
ordinal        -sum_i x_i sum_j s_ij / n    sum_i x_i x_i' sum_jl C_ijl / n
=============  ===========================  ==========================

The ``s_i`` and ``C_i`` themselves are in :mod:`torchlogreg.formulas`.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from torchlogreg.base import Model
from torchlogreg.formulas import curvatures, slopes
from torchlogreg.models import OrdinalRegression, SoftmaxRegression
from torchlogreg.sample_weights import checked_weights, mean_one

__all__ = ["curvatures", "gradient", "hessian", "slopes"]


@torch.no_grad()
def gradient(
    model: Model,
    X: Tensor,
    y: Tensor,
    *,
    sample_weight: Tensor | None = None,
    offset: Tensor | None = None,
) -> dict[str, Tensor]:
    """Gradient of the mean weighted loss ``(1/n) sum_i sample_weight_i nll_i``, by formula.

    1. Slopes ``s_i`` at ``eta_i``, times ``sample_weight_i / n``.
    2. By ``weight``: ``sum_i (R' s_i) x_i'``; for logistic regression this is ``X'(p - y) / n``.
    3. By the intercept parameters: ``J' sum_i s_i``.

    Parameters
    ----------
    model : Model
    X : Tensor, shape (n, p)
    y : Tensor, shape (n,) or (n, K)
    sample_weight : Tensor, shape (n,), optional
        Scaled to mean one here.
    offset : Tensor, shape (n,) or (n, r), optional

    Returns
    -------
    dict of str to Tensor
        By the names of ``model.named_parameters()``, in their order and shapes.

    Raises
    ------
    ValueError
        If ``y`` or ``sample_weight`` cannot be one (the row is named).
    """
    y = model.target(y)
    s = slopes(model.nll, model(X, offset), y) * _shares(X, sample_weight)[:, None]  # 1
    by_weight = (s @ _mix_matrix(model)).T @ X  # 2
    rest = _intercept_jacobian(model).T @ s.sum(0)  # 3
    flat = torch.cat((by_weight.flatten(), rest))
    parts = torch.split_with_sizes(flat, [p.numel() for p in model.parameters()])
    return {
        name: part.view_as(p)
        for (name, p), part in zip(model.named_parameters(), parts, strict=True)
    }


@torch.no_grad()
def hessian(
    model: Model,
    X: Tensor,
    y: Tensor,
    *,
    sample_weight: Tensor | None = None,
    offset: Tensor | None = None,
) -> Tensor:
    """Exact Hessian of the mean weighted loss in the module's own parameters, by formula.

    1. Curvatures ``C_i`` at ``eta_i``, times ``sample_weight_i / n``.
    2. ``sum_i D_i' C_i D_i``; for logistic regression this is ``X' diag(p (1 - p)) X / n``.
    3. Ordinal regression only: cutpoint ``j`` holds ``softplus(gap_g)`` for every ``g < j``, so
       ``gap_g`` adds ``softplus''(gap_g) sum_{j > g} sum_i s_ij`` to its diagonal entry. At an
       optimum the sum vanishes; elsewhere it can make the Hessian indefinite.
       ``Closure.hessian`` leaves it out.

    Parameters
    ----------
    model : Model
    X : Tensor, shape (n, p)
    y : Tensor, shape (n,) or (n, K)
    sample_weight : Tensor, shape (n,), optional
        Scaled to mean one here.
    offset : Tensor, shape (n,) or (n, r), optional

    Returns
    -------
    Tensor, shape (P, P)
        In the flat order of ``model.parameters()``. Building it takes n * k * P numbers.

    Raises
    ------
    ValueError
        If ``y`` or ``sample_weight`` cannot be one (the row is named).
    """
    y, eta, share = model.target(y), model(X, offset), _shares(X, sample_weight)
    C = curvatures(model.nll, eta, y) * share[:, None, None]  # 1
    D = _design(model, X)
    matrix = torch.einsum("nkp,nkq->pq", D, C @ D)  # 2
    if isinstance(model, OrdinalRegression) and model.n_classes > 2:  # 3
        s = slopes(model.nll, eta, y) * share[:, None]
        later = s.sum(0).flip(0).cumsum(0).flip(0)[1:]  # sums over the cutpoints above each gap
        bend = torch.sigmoid(model.gaps) * torch.sigmoid(-model.gaps)
        matrix.diagonal()[-len(bend) :].add_(bend * later)
    return matrix


def _shares(X: Tensor, sample_weight: Tensor | None) -> Tensor:
    """``sample_weight_i / n`` with weights of mean one, shape (n,): they sum to one."""
    if sample_weight is None:
        return X.new_full((len(X),), 1 / len(X))
    return mean_one(checked_weights(sample_weight.to(X), len(X), "sample_weight")) / len(X)


def _mix_matrix(model: Model) -> Tensor:
    """``R (k, r)``: the columns of eta, from the scores ``weight x_i``."""
    weight = model.weight
    if isinstance(model, OrdinalRegression):
        return weight.new_full((model.n_classes - 1, 1), -1.0)
    one = torch.eye(len(weight), dtype=weight.dtype, device=weight.device)
    if isinstance(model, SoftmaxRegression) and model.reference:
        return F.pad(one, (0, 0, 1, 0))  # class 0 has no scores of its own
    return one


def _intercept_jacobian(model: Model) -> Tensor:
    """``J (k, q)``: ``R`` for a bias; for cutpoints, 1 by ``first``, sigmoid(gap) by later gaps."""
    if not isinstance(model, OrdinalRegression):
        R = _mix_matrix(model)
        return R if model.bias is not None else R[:, :0]
    k, gaps = model.n_classes - 1, model.gaps
    by_gaps = gaps.new_ones(k, k - 1).tril(-1) * torch.sigmoid(gaps)  # softplus' = sigmoid
    by_first = gaps.new_ones(k, int(model.first is not None))
    return torch.cat((by_first, by_gaps), dim=1)


def _design(model: Model, X: Tensor) -> Tensor:
    """``D (n, k, P)``: derivatives of eta by all parameters, ``[R kron x_i', J]``."""
    R, J = _mix_matrix(model), _intercept_jacobian(model)
    by_weight = torch.einsum("kr,np->nkrp", R, X).flatten(2)
    return torch.cat((by_weight, J.expand(len(X), *J.shape)), dim=2)
