"""Newton's method for sparse rows and kinks, its steps by coordinate descent over columns."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from torchlogreg.closed_form import curvatures
from torchlogreg.losses import binary_nll, squared_error
from torchlogreg.models import LinearRegression, LogisticRegression
from torchlogreg.objective import Closure, Objective
from torchlogreg.optim.dual_coordinate import installed, unsigned
from torchlogreg.optim.like_columns import LikeColumns
from torchlogreg.optim.line_search import move_
from torchlogreg.optim.requirements import our_closure
from torchlogreg.optim.working_set import found_at
from torchlogreg.sparse import SparseRows

SWEEPS = 50
"""Sweeps over the columns of a step, at most."""

FIRST, LATER, LEAST = 0.1, 0.03, 1e-8
"""Share of its largest fall that a step may leave: at first, times the distance later, at least."""


class CoordinateNewton(Optimizer):
    """Proximal Newton whose quadratic models are minimised column by column; for sparse rows.

    1. Gradient on all rows and columns, curvature of every row.
    2. The columns that matter: nonzero weights, and those that break their optimality condition.
    3. Coordinate descent on the quadratic model with its kinks: a column costs its stored entries,
       no matrix is formed, and weights that are zero wait until the others are done. Ended when a
       sweep's largest fall is a small share of the first sweep's; the share shrinks with the
       distance from the optimum. Once that took too many sweeps, columns of the same rows that are
       nearly multiples of each other are solved for two at once: one after the other they would
       hand each other the same share for ever.
    4. Backtracking on the whole objective (Armijo, 1966), without a pass over the rows.

    A numba kernel walks the columns; a copy of the rows, compressed by columns, is made once.

    Parameters
    ----------
    params : iterable of nn.Parameter
        All trainable parameters of the model.
    lr : float
        First step tried, in (0, 1]; 1 is Newton's own.

    Raises
    ------
    ValueError
        If ``lr`` is out of range; in ``step``, for anything but linear and logistic regression of
        sparse rows under a penalty of kinks and squares.
    ModuleNotFoundError
        In ``step``, without numba.
    TypeError
        In ``step``, if the closure is not one of :class:`torchlogreg.objective.Closure`.

    References
    ----------
    Friedman, Hastie and Tibshirani, Regularization paths for generalized linear models via
    coordinate descent, J. Stat. Softw. 33 (2010); Yuan, Ho and Lin, An improved GLMNET for
    L1-regularized logistic regression, J. Mach. Learn. Res. 13 (2012).
    """

    needs_full_batch = True
    needs_all_ranks = True
    handles_nonsmooth = True
    # Of the class, since a copy takes only its state.
    _first: tuple[Tensor, float] | None = None
    _paired = False

    def __init__(self, params: Iterable[nn.Parameter], lr: float = 1.0) -> None:
        if not 0 < lr <= 1:
            raise ValueError(f"CoordinateNewton needs 0 < lr <= 1, not {lr=}")
        super().__init__(params, {"lr": lr})

    @torch.no_grad()
    def step(self, closure: Any = None) -> Tensor:  # type: ignore[override]
        """One iteration; returns the smooth value before it."""
        closure = our_closure(closure, self)
        objective, batch = closure.objective, closure.batch
        if reason := unsuitable(objective, batch.X):
            raise ValueError(reason)
        if not installed():
            raise ModuleNotFoundError(
                "CoordinateNewton walks from column to column, which needs numba; pip install "
                "torchlogreg[fast], or use optimizer='proximal_gradient'"
            )
        value: Tensor = closure()  # 1
        gradient = closure.gradient()
        p = objective.model.n_features
        kink, ridge = _shape_of_penalty(objective)
        weight, slope = objective.model.weight.detach()[0], gradient[:p]
        if objective.penalty is not None and not objective.penalty.smooth:
            slope = slope + ridge * weight
        shrunk = (slope.abs() - kink).clamp(min=0)
        off = torch.where(weight == 0, shrunk, (slope + kink * weight.sign()).abs())
        active = ((weight != 0) | (off > 0)).nonzero()[:, 0]  # 2
        share = self._share(closure, off)
        mate = self._mates(closure, active)
        parts = (slope, ridge, kink, gradient[p:])
        direction, moved, rough = _model_step(closure, active, parts, mate, share)
        self._paired |= rough
        self._search(closure, direction, torch.dot(gradient, direction), moved)
        return value

    def _share(self, closure: Closure, off: Tensor) -> float:
        """Of the first sweep's largest fall, what may be left."""
        size = float((off / closure.objective.units(closure.data).columns).max())
        if self._first is None or self._first[0] is not closure.batch.X:
            self._first = closure.batch.X, size
        return float(max(LEAST, min(FIRST, LATER * (size / (self._first[1] or 1.0)))))

    def _mates(self, closure: Closure, active: Tensor) -> np.ndarray[Any, Any]:
        """Places among the active of columns that may be almost the same, once sweeps were many."""
        X: Any = closure.batch.X
        if not self._paired:
            return np.empty(0, np.int64)
        return LikeColumns.of(X.entries).mates(active.numpy())

    def _search(self, closure: Closure, direction: Tensor, fall: Tensor, moved: Tensor) -> None:
        """The first of lr, lr/2, ... that lowers the objective enough, or none; step 4."""
        objective, batch, step = closure.objective, closure.batch, self.param_groups[0]["lr"]
        model, penalty = objective.model, objective.penalty
        eta, before = objective.rows(batch)[0], objective.value(batch)
        start, rounding = [q.clone() for q in closure.params], closure.rounding(before)
        kinks = None if penalty is None or penalty.smooth else penalty
        held = 0.0 if kinks is None else kinks.value(model.weight)
        for _ in range(40):
            move_(closure.params, start, direction, step)
            change = closure.value(eta=eta + step * moved[:, None]) - before
            goal = step * fall + (0.0 if kinks is None else kinks.value(model.weight) - held)
            if bool(change <= 1e-4 * goal + rounding):
                objective.remember(batch, found_at(closure, model(batch.X, batch.offset)))
                return
            step /= 2
        move_(closure.params, start, direction, 0.0)


def _model_step(
    closure: Closure,
    active: Tensor,
    parts: tuple[Tensor, ...],
    mate: np.ndarray[Any, Any],
    share: float,
) -> tuple[Tensor, Tensor, bool]:
    """Minimiser of the quadratic model (P,), what it adds to ``eta`` (n,), and whether it is rough.

    Step 3. It is rough if as many sweeps as are allowed left too much.
    """
    from torchlogreg.kernels.coordinate import QUADRATIC

    objective, batch = closure.objective, closure.batch
    slope, ridge, kink, by_intercept = parts
    X: Any = batch.X
    columns = X.entries.by_columns
    eta = objective.rows(batch)[0]
    bend = curvatures(objective.loss, eta, batch.y)[:, 0, 0] * (batch.sample_weight / len(batch))
    weight = objective.model.weight.detach()[0]
    new, moved = weight.clone(), torch.zeros_like(bend)
    intercept = np.array([by_intercept.item(), 0.0] if len(by_intercept) else [])
    model = [t.contiguous().numpy() for t in (bend, slope, ridge, kink, weight, new, moved)]
    entries = (columns.indptr, columns.indices.view(unsigned(columns.indices)), columns.data)
    sweeps = QUADRATIC(active.numpy(), *entries, *model, intercept, mate, share, SWEEPS)
    direction = torch.cat((new - weight, torch.from_numpy(intercept[1:]).to(weight)))
    return direction, moved, sweeps == SWEEPS


def _shape_of_penalty(objective: Objective) -> tuple[Tensor, Tensor]:
    """Kinks and second derivatives for the weights, (p,) each."""
    penalty, weight = objective.penalty, objective.model.weight.detach()
    if penalty is None:
        return torch.zeros_like(weight)[0], torch.zeros_like(weight)[0]
    kink = torch.zeros_like(weight) if penalty.smooth else penalty.kink(weight)
    return (weight if kink is None else kink)[0], penalty.curvature(weight)[0]


def unsuitable(objective: Objective, X: Tensor) -> str:
    """Why this cannot serve, and the cure; empty if it can."""
    model, penalty = objective.model, objective.penalty
    known = type(model) in (LinearRegression, LogisticRegression)
    if not known or objective.loss not in (squared_error, binary_nll):
        return (
            "CoordinateNewton knows linear and logistic regression with their own losses, not "
            f"this {type(model).__name__}; use optimizer='proximal_newton'"
        )
    if not model.weight.requires_grad:
        return "CoordinateNewton trains weights, but they are frozen; use optimizer='newton'"
    odd = penalty is not None and (
        penalty.needs_rows or (not penalty.smooth and penalty.kink(model.weight.detach()) is None)
    )
    if odd:
        return (
            f"CoordinateNewton needs a penalty of kinks and squares, not {penalty!r}; use "
            "optimizer='proximal_gradient'"
        )
    if not isinstance(X, SparseRows):
        return "CoordinateNewton walks over sparse columns; use optimizer='proximal_newton'"
    return ""
