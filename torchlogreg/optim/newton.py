"""Newton's method (Fisher scoring, IRLS) as a ``torch.optim.Optimizer``."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from torchlogreg.base import Model
from torchlogreg.data import Batch
from torchlogreg.objective import Closure
from torchlogreg.optim.centring import Centred, near_zero
from torchlogreg.optim.factor import Factor
from torchlogreg.optim.polish import can_polish, polish_
from torchlogreg.optim.requirements import our_closure
from torchlogreg.penalties import Penalty

ILL = 2e-2
"""Squared pivot of the curvature, scaled, below which rounding costs two digits."""

NEAR = 1e-9
"""Decrease that a step promises, as a share of the objective, from which it leaves rounding."""


class Newton(Optimizer):
    """Damped Newton with Armijo backtracking; one ``step`` is one iteration.

    1. Value and gradient at the current parameters.
    2. Gauss-Newton matrix (equal to the Fisher information for canonical links: this is IRLS).
    3. Direction: Cholesky of the matrix scaled to unit diagonal; where it is singular, the
       minimum-norm direction from its eigenvectors.
    4. Backtracking until the objective falls enough (Armijo, 1966). A change that rounding cannot
       tell from zero is accepted, or the method would stall at the optimum.

    Columns far from zero (years, time stamps) are worked on as differences from their middle, in a
    copy of ``X`` made once; see :mod:`torchlogreg.optim.centring`. At the end, where a pivot says
    that rounding has cost digits, a correction in doubled precision restores them; see
    :mod:`torchlogreg.optim.polish`. Further steps then change nothing.

    Parameters
    ----------
    params : iterable of nn.Parameter
        All trainable parameters of the model.
    lr : float
        First step tried, ``> 0``; 1 is Newton's own.
    damping : float
        Added to the unit diagonal of the scaled matrix (Levenberg-Marquardt), ``>= 0``.

    Attributes
    ----------
    pivot : float
        Smallest squared pivot of the scaled matrix, near the optimum: 1 for columns that have
        nothing in common, 0 for dependent ones; NaN before.
    last : Iteration or None
        What the last iteration knew before its step; None with ``damping``.

    Raises
    ------
    ValueError
        If ``lr`` or ``damping`` is out of range.
    TypeError
        In ``step``, if the closure is not one of :class:`torchlogreg.objective.Closure`.

    References
    ----------
    Nelder and Wedderburn, Generalized linear models, J. R. Stat. Soc. A 135 (1972).
    """

    needs_full_batch = True
    handles_nonsmooth = False
    superlinear = True
    _memory: Centred | None = None
    _polished: Polished | None = None
    pivot: float = float("nan")
    last: Iteration | None = None

    def __init__(
        self, params: Iterable[nn.Parameter], lr: float = 1.0, damping: float = 0.0
    ) -> None:
        if not lr > 0 or not damping >= 0:
            raise ValueError(f"Newton needs lr > 0 and damping >= 0, not {lr=}, {damping=}")
        super().__init__(params, {"lr": lr, "damping": damping})

    @torch.no_grad()
    def step(self, closure: Any = None) -> Tensor:  # type: ignore[override]
        """One iteration; returns the value before it, as torch's optimizers do."""
        asked = our_closure(closure, self)
        if self._polished is not None and self._polished.holds(asked):
            return asked.look()
        with near_zero(asked, self._memory) as (near, self._memory):
            group = self.param_groups[0]
            done = newton_iteration(near, group["lr"], group["damping"])
        self.last = None if group["damping"] else done
        if bool(done.slope.abs() <= NEAR * done.value.abs()):
            self.pivot = done.factor.pivot
            if self.pivot < ILL and can_polish(asked.objective, asked.batch):
                found = polish_(asked.objective, asked.batch)
                self._polished = Polished.here(asked) if found else None
        return done.value


class Iteration(NamedTuple):
    """What an iteration knew before its step: smooth value, slope along the step, curvature."""

    value: Tensor
    slope: Tensor
    factor: Factor


def newton_iteration(closure: Closure, lr: float = 1.0, damping: float = 0.0) -> Iteration:
    """One iteration; see :class:`Newton`.

    Parameters
    ----------
    closure : Closure
        Its parameters are moved.
    lr, damping : float
        As in :class:`Newton`.
    """
    value: Tensor = closure()  # 1
    gradient = closure.gradient()
    matrix = closure.hessian()  # 2
    frozen = _at_a_bound(closure, matrix, gradient)
    wanted = gradient
    if frozen is not None:
        matrix[frozen, :] = 0
        matrix[:, frozen] = 0
        wanted = gradient * ~frozen
    factor = Factor(matrix, damping)
    direction = -factor.solve(wanted)  # 3
    promised = slope = torch.dot(gradient, direction)
    if bool(slope >= 0):  # no curvature left, as on rows of certain error: steepest descent
        direction, slope = -gradient, -gradient.square().sum()
    backtrack(closure, value, direction, slope, lr)  # 4
    return Iteration(value, promised, factor)


class Polished(NamedTuple):
    """Where a correction in doubled precision has been made: nothing is left to gain there."""

    batch: Batch
    penalty: Penalty | None
    at: list[Tensor]

    @classmethod
    def here(cls, closure: Closure) -> Polished:
        """Here."""
        at = [p.detach().clone() for p in closure.params]
        return cls(closure.batch, closure.objective.penalty, at)

    def holds(self, closure: Closure) -> bool:
        """Whether ``closure`` is of the same rows, and the parameters are still there."""
        if closure.batch is not self.batch or closure.objective.penalty is not self.penalty:
            return False
        return all(torch.equal(p, q) for p, q in zip(closure.params, self.at, strict=True))


def minimum_norm_solve(matrix: Tensor, vector: Tensor, damping: float = 0.0) -> Tensor:
    """Solve ``matrix @ x = vector`` for a positive semi-definite matrix, shape (P, P).

    See :class:`Factor`.
    """
    return Factor(matrix, damping).solve(vector)


def _at_a_bound(closure: Closure, matrix: Tensor, gradient: Tensor) -> Tensor | None:
    """Parameters other than ``weight`` that no longer matter, boolean (P,); None without gaps.

    The gap below an ordinal level without rows falls for ever: its column of the Jacobian vanishes,
    and the step that Newton wants for it grows without bound and spoils the line search.
    """
    model = closure.objective.model
    if type(model).intercepts is Model.intercepts:  # a bias always matters
        return None
    own = torch.cat([torch.full((p.numel(),), p is not model.weight) for p in closure.params])
    own = own.to(gradient.device)
    diagonal = torch.where(own, matrix.diagonal(), 0.0)
    eps = torch.finfo(matrix.dtype).eps
    idle: Tensor = (diagonal <= eps * diagonal.max()) & (gradient.abs() <= eps**0.5)
    return own & idle


def backtrack(
    closure: Closure, value: Tensor, direction: Tensor, slope: Tensor, step: float
) -> None:
    """Move along ``direction`` by the first of step, step/2, ... that is good enough, or not."""
    start = [p.clone() for p in closure.params]
    rounding = closure.rounding(value)
    for attempt in range(40):
        move_(closure.params, start, direction, step)
        # The first try is mostly the last: its gradient comes along, for the test and next step.
        tried = closure.value(smooth_only=True) if attempt else closure.look()
        change = tried - value
        if bool(change <= 1e-4 * step * slope + rounding):  # waits for the device; NaN is refused
            return
        step /= 2
    move_(closure.params, start, direction, 0.0)


def move_(params: list[nn.Parameter], start: list[Tensor], direction: Tensor, step: float) -> None:
    """Set ``params`` to ``start + step * direction`` for a flat ``direction`` (P,)."""
    parts = torch.split_with_sizes(direction, [p.numel() for p in params])
    for p, origin, part in zip(params, start, parts, strict=True):
        p.copy_(origin if step == 0 else origin + step * part.view_as(p))
