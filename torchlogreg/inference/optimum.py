"""Whether the parameters are where inference takes them to be, and words for when they cannot be.

Standard errors describe the maximum of a likelihood (or of a penalised one). The distance from it
is measured in standard errors, ``sqrt(g' B g)`` with ``g`` the gradient and ``B`` the covariance:
no linear combination of parameters is further from its value at the maximum of the quadratic. It
does not depend on the units of the columns.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from torchlogreg.data import Batch
from torchlogreg.diagnostics.separated import separation_of
from torchlogreg.inference.affine import AffineForm
from torchlogreg.inference.information import Information
from torchlogreg.inference.rows import BLOCK
from torchlogreg.models import SoftmaxRegression
from torchlogreg.penalties import Penalty
from torchlogreg.sample_weights import mean_one

FAR = 0.01
"""Distance, in standard errors, that is too far: errors and tests would change visibly."""

MOVES = 0.05
"""Newton moves every ``eta`` by less at a maximum; under separation it goes on by about one."""

MOST_ENTRIES = 5_000_000
"""Entries of X up to which a gradient that is far from zero is also searched for separation."""


def penalty_gradient(form: AffineForm, data: Batch, penalty: Penalty) -> Tensor:
    """Gradient of the penalty by ``theta``, per unit of the mean loss, (P,).

    In a softmax model without reference the penalty speaks of all classes; at an optimum its
    gradient along their common shift is zero, and what is left are the contrasts' derivatives.
    """
    model = form.model
    params = [model.weight] + ([] if model.bias is None else [model.bias])
    batch = data.reweighted(mean_one(data.sample_weight).to(model.weight.dtype))
    with torch.enable_grad():
        eta = model(batch.X, batch.offset) if penalty.needs_rows else batch.X.new_zeros(0, 0)
        value = penalty.value_on(model, batch, eta)
        if not value.requires_grad:
            return torch.zeros_like(form.theta)
        found = torch.autograd.grad(value, params, allow_unused=True, materialize_grads=True)
    free = _free(form)
    by_weight = found[0][free:].flatten()
    by_bias = found[1][free:] if len(found) > 1 else by_weight.new_zeros(len(form.intercepts))
    return torch.cat((by_weight, by_bias)).to(form.weight)


def penalty_curvature(form: AffineForm, penalty: Penalty) -> Tensor:
    """Second derivatives of a separable penalty by ``theta``, per unit of the mean loss, (P, P).

    For contrasts, the penalty is the smallest that any common shift of the classes leaves: the
    Schur complement of that shift.
    """
    bend = penalty.curvature(form.model.weight.detach()).to(form.weight)  # (rows, p)
    free = _free(form)
    r, p = form.weight.shape
    full = form.weight.new_zeros(len(form.theta), len(form.theta))
    blocks = full[: r * p, : r * p].view(r, p, r, p)
    for j in range(p):
        own = torch.diag(bend[free:, j])
        total = bend[:, j].sum()
        if free and bool(total > 0):
            own = own - torch.outer(bend[free:, j], bend[free:, j]) / total
        blocks[:, j, :, j] = own
    return full


def distance(gradient: Tensor, factor: Tensor, variance: float) -> float:
    """Distance from the maximum in standard errors; both arguments in one basis."""
    squared = float((factor.T @ gradient).square().sum())
    if squared == 0 or variance > 0:
        return math.sqrt(squared / variance) if squared else 0.0
    return math.inf


def refuse_few(information: Information, *, counted: bool) -> None:
    """Raise if the observations are too few for the parameters.

    Parameters
    ----------
    information : Information
    counted : bool
        Whether the weights are said to count rows.

    Raises
    ------
    ValueError
    """
    nobs, n_params = information.nobs, len(information.gradient)
    if information.problem.linear and nobs <= n_params:
        raise ValueError(
            f"{nobs:g} observations for {n_params} parameters leave no degrees of freedom for the "
            "residual variance; give more rows, or fewer columns"
        )
    if counted and nobs < n_params:
        raise ValueError(
            f"the frequencies add up to {nobs:g} observations, fewer than the {n_params} "
            "parameters; if they do not count rows, say weight_kind='importance'"
        )


def refuse_separation(
    information: Information,
    gradient: Tensor,
    factor: Tensor,
    feature_names: Sequence[str],
    distance: float,
) -> None:
    """Raise if the classes are separated: the gradient vanishes there, yet no maximum exists.

    By the inequality of Cauchy and Schwarz Newton's step moves no ``eta`` by more than the distance
    over the square root of the weakest row, nor by more than the longest row allows, where that is
    known; only where both leave room is the step looked at, and only where it is large the linear
    program asked.

    Raises
    ------
    ValueError
        Naming the columns.
    """
    problem = information.problem
    if problem.linear or distance <= MOVES * math.sqrt(information.weakest):
        return
    newton, turned = factor @ (factor.T @ gradient), information.turned
    if turned is not None and turned.furthest(newton) <= MOVES:
        return
    step = problem.form.at(problem.basis.back @ newton)
    moved = max(float(step.eta(block.X).abs().max()) for block in problem.data.blocks(BLOCK))
    if moved > MOVES and (distance <= FAR or problem.data.X.numel() <= MOST_ENTRIES):
        words = separation_words(problem.form, problem.data, feature_names)
        if words:
            raise ValueError(words)


def separation_words(form: AffineForm, data: Batch, feature_names: Sequence[str]) -> str:
    """What separates the classes, in one line; empty if nothing does, or none is found in time."""
    if form.model.n_classes is None:
        return ""
    empty = _empty_class(form, data)
    if empty is not None:
        return (
            f"class {empty} has no rows, so its parameters have no estimate; number the classes "
            "that occur, and make the model with as many"
        )
    y = data.y.cpu()
    try:
        found = separation_of(form.model, data.X.double().cpu(), y, seconds=20.0)
    except RuntimeError:  # the program could not be solved, or not in time
        return ""
    return "" if found.kind == "none" else found.describe(feature_names)


def not_estimable(
    information: Information,
    gradient: Tensor,
    parameters: Tensor,
    feature_names: Sequence[str],
    names: Sequence[str],
) -> str:
    """One line on a singular information matrix: classes without rows, separation, or columns."""
    problem = information.problem
    words = separation_words(problem.form, problem.data, feature_names)
    if words:
        return words
    # Newton would go a thousand times the largest entry of a column: there is no maximum near.
    if not bool((gradient.abs() <= 1e3 * information.matrix.diagonal()).all()):
        return (
            "the parameters are so far from the maximum that the likelihood is flat there; fit the "
            "model to these rows first"
        )
    which = [name for name, hit in zip(names, parameters.tolist(), strict=True) if hit]
    shown = ", ".join(which[:8]) + (f" and {len(which) - 8} more" if len(which) > 8 else "")
    if len(which) == 1:
        return f"{shown} is not estimable: the rows say nothing about it; leave its column out"
    return f"{shown} are not estimable: their columns depend on one another; leave one of them out"


def _empty_class(form: AffineForm, data: Batch) -> int | None:
    """The first class without rows of hard targets."""
    n_classes, y = form.model.n_classes, data.y
    if n_classes is None or y.ndim == 2 or y.is_floating_point():
        return None
    counts = torch.bincount(y, minlength=n_classes)
    return None if bool(counts.all()) else int((counts == 0).nonzero()[0])


def _free(form: AffineForm) -> int:
    """Leading rows of the module's weight that the form expresses by contrasts: 0 or 1."""
    model = form.model
    return int(isinstance(model, SoftmaxRegression) and not model.reference)
