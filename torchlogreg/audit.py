"""The gradient audit: autograd, the formulas and central differences, held side by side."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from torchlogreg import analytic
from torchlogreg.base import Model
from torchlogreg.sample_weights import checked_weights, mean_one


class AuditRow(NamedTuple):
    """How three ways to one derivative agree, for the entries of one parameter.

    Attributes
    ----------
    parameter : str
        Name in ``model.named_parameters()``.
    derivative : str
        "gradient", or "hessian" for the parameter's rows of the (P, P) matrix.
    n_entries : int
    largest : float
        Largest absolute entry by formula, the unit of both errors.
    analytic_error : float
        Largest difference of autograd from the formula, relative to ``largest``.
    difference_error : float
        Largest difference of autograd from central differences, relative to ``largest``.
    """

    parameter: str
    derivative: str
    n_entries: int
    largest: float
    analytic_error: float
    difference_error: float


def audit(
    model: Model,
    X: Tensor,
    y: Tensor,
    *,
    sample_weight: Tensor | None = None,
    offset: Tensor | None = None,
) -> list[AuditRow]:
    """Compare autograd with the formulas and with central differences, at the current parameters.

    1. Gradient and Hessian by autograd, in the dtype of the model.
    2. The same by :mod:`torchlogreg.analytic`, in float64.
    3. The same by central differences, in float64: of the value for the gradient, of the gradient
       for the Hessian. The step ``cbrt(eps) max(1, |parameter|)`` balances truncation (its square)
       against rounding (eps over it), so about ten digits are the most that can agree.

    Parameters
    ----------
    model : Model
        Left as it is.
    X : Tensor, shape (n, p)
    y : Tensor, shape (n,) or (n, K)
    sample_weight : Tensor, shape (n,), optional
        Scaled to mean one.
    offset : Tensor, shape (n,) or (n, r), optional

    Returns
    -------
    list of AuditRow
        Two for every parameter that has entries: its gradient, then its rows of the Hessian.

    Raises
    ------
    ValueError
        If ``y`` or ``sample_weight`` cannot be one (the row is named).
    """
    shares = X.new_ones(len(X)) if sample_weight is None else sample_weight.to(X)
    shares = mean_one(checked_weights(shares, len(X), "sample_weight")) / len(X)
    value, theta = _flat_objective(model, X, y, shares, offset)
    gradient = _gradient(value, theta)  # 1
    hessian = torch.autograd.functional.hessian(value, theta)  # type: ignore[no-untyped-call]

    wide = copy.deepcopy(model).double()
    X, shares = X.double(), shares.double()
    if y.ndim == 2:  # float32 rows sum to one in float32 only
        y = y.double() / y.double().sum(1, keepdim=True)
    offset = None if offset is None else offset.double()
    exact = analytic.gradient(wide, X, y, sample_weight=shares, offset=offset)  # 2
    exact_gradient = torch.cat([g.flatten() for g in exact.values()])
    exact_hessian = analytic.hessian(wide, X, y, sample_weight=shares, offset=offset)

    value, theta = _flat_objective(wide, X, y, shares, offset)  # 3
    near_gradient = _central_differences(value, theta)
    near_hessian = _central_differences(lambda at: _gradient(value, at), theta)

    rows, start = [], 0
    for name, p in model.named_parameters():
        part = slice(start, start + p.numel())
        start += p.numel()
        for derivative, auto, formula, near in (
            ("gradient", gradient, exact_gradient, near_gradient),
            ("hessian", hessian, exact_hessian, near_hessian),
        ):
            if p.numel():
                rows.append(_row(name, derivative, auto[part], formula[part], near[part]))
    return rows


def _flat_objective(
    model: Model, X: Tensor, y: Tensor, shares: Tensor, offset: Tensor | None
) -> tuple[Callable[[Tensor], Tensor], Tensor]:
    """The mean weighted loss as a function of the flat parameters (P,), and where they are."""
    names = [name for name, _ in model.named_parameters()]
    params = [p.detach() for p in model.parameters()]
    target = model.target(y)

    def value(flat: Tensor) -> Tensor:
        """The loss at flat parameters (P,), a scalar."""
        parts = torch.split_with_sizes(flat, [p.numel() for p in params])
        named = {n: part.view_as(p) for n, part, p in zip(names, parts, params, strict=True)}
        eta = torch.func.functional_call(model, named, (X, offset))
        return torch.dot(shares, model.nll(eta, target))

    return value, torch.cat([p.flatten() for p in params])


def _gradient(value: Callable[[Tensor], Tensor], at: Tensor) -> Tensor:
    """Gradient (P,) by autograd."""
    at = at.detach().requires_grad_()
    (first,) = torch.autograd.grad(value(at), at)
    return first


def _central_differences(function: Callable[[Tensor], Tensor], at: Tensor) -> Tensor:
    """Derivative of a scalar or (P,) function by the entries of ``at``, one a row."""
    sizes = torch.finfo(at.dtype).eps ** (1 / 3) * at.abs().clamp(min=1)
    rows = []
    for j in range(len(at)):
        ahead, behind = at.clone(), at.clone()
        ahead[j] += sizes[j]
        behind[j] -= sizes[j]
        gap = ahead[j] - behind[j]  # what was moved in fact, after rounding
        rows.append((function(ahead) - function(behind)).detach() / gap)
    return torch.stack(rows)


def _row(name: str, derivative: str, auto: Tensor, formula: Tensor, near: Tensor) -> AuditRow:
    largest = float(formula.abs().max())
    unit = largest if largest > 0 else 1.0
    return AuditRow(
        name,
        derivative,
        auto.numel(),
        largest,
        float((auto.double() - formula).abs().max()) / unit,
        float((auto.double() - near).abs().max()) / unit,
    )
