"""Newton's method (Fisher scoring, IRLS) as a ``torch.optim.Optimizer``."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from torchlogreg.objective import Closure
from torchlogreg.optim.centring import Centred, near_zero
from torchlogreg.optim.requirements import our_closure


class Newton(Optimizer):
    """Damped Newton with Armijo backtracking; one ``step`` is one iteration.

    1. Value and gradient at the current parameters.
    2. Gauss-Newton matrix (equal to the Fisher information for canonical links: this is IRLS).
    3. Direction: Cholesky of the matrix scaled to unit diagonal; where it is singular, the
       minimum-norm direction from its eigenvectors.
    4. Backtracking until the objective falls enough (Armijo, 1966). A change that rounding cannot
       tell from zero is accepted, or the method would stall at the optimum.

    Columns far from zero (years, time stamps) are worked on as differences from their middle, in a
    copy of ``X`` made once; see :mod:`torchlogreg.optim.centring`.

    Parameters
    ----------
    params : iterable of nn.Parameter
        All trainable parameters of the model.
    lr : float
        First step tried, ``> 0``; 1 is Newton's own.
    damping : float
        Added to the unit diagonal of the scaled matrix (Levenberg-Marquardt), ``>= 0``.

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

    def __init__(
        self, params: Iterable[nn.Parameter], lr: float = 1.0, damping: float = 0.0
    ) -> None:
        if not lr > 0 or not damping >= 0:
            raise ValueError(f"Newton needs lr > 0 and damping >= 0, not {lr=}, {damping=}")
        super().__init__(params, {"lr": lr, "damping": damping})

    @torch.no_grad()
    def step(self, closure: Any = None) -> Tensor:  # type: ignore[override]
        """One iteration; returns the value before it, as torch's optimizers do."""
        with near_zero(our_closure(closure, self), self._memory) as (near, self._memory):
            return self._step(near)

    def _step(self, closure: Closure) -> Tensor:
        """The iteration, on columns near zero."""
        group = self.param_groups[0]
        value: Tensor = closure()  # 1
        gradient = closure.gradient()
        matrix = closure.hessian()  # 2
        frozen = _at_a_bound(closure, matrix, gradient)
        matrix[frozen, :] = 0
        matrix[:, frozen] = 0
        direction = -minimum_norm_solve(matrix, gradient * ~frozen, group["damping"])  # 3
        slope = torch.dot(gradient, direction)
        if bool(slope >= 0):  # no curvature left, as on rows of certain error: steepest descent
            direction, slope = -gradient, -gradient.square().sum()
        _backtrack(closure, value, direction, slope, group["lr"])  # 4
        return value


def minimum_norm_solve(matrix: Tensor, vector: Tensor, damping: float = 0.0) -> Tensor:
    """Solve ``matrix @ x = vector`` for a positive semi-definite matrix, shape (P, P).

    The matrix is first scaled to unit diagonal, which makes the test for singularity blind to the
    units of the columns. A singular system is solved on the range of the matrix, and the component
    of ``x`` in its null space is removed, so that ``x`` has minimum norm in the original units.
    """
    if matrix.dtype in (torch.float16, torch.bfloat16):  # torch factorises no half precision
        return minimum_norm_solve(matrix.float(), vector.float(), damping).to(matrix.dtype)
    diagonal = matrix.diagonal()
    scale = torch.where(diagonal > 0, diagonal, 1.0).rsqrt()
    scaled = matrix * scale[:, None] * scale[None, :]
    scaled.diagonal().add_(damping)
    cutoff = 10 * len(vector) * torch.finfo(matrix.dtype).eps
    factor, info = torch.linalg.cholesky_ex(scaled)
    if bool((info == 0) & (factor.diagonal().square().min() > cutoff)):  # waits for the device
        solved: Tensor = torch.cholesky_solve((scale * vector)[:, None], factor)
        return solved.squeeze(1) * scale
    if not bool(torch.isfinite(scaled).all()):
        return torch.full_like(vector, torch.nan)  # diverged: the line search refuses it
    eigenvalues, vectors = torch.linalg.eigh(scaled)
    null = eigenvalues <= cutoff * eigenvalues[-1].clamp(min=1)
    inverse = torch.where(null, 0.0, 1 / torch.where(null, 1.0, eigenvalues))
    solution = scale * (vectors @ (inverse * (vectors.T @ (scale * vector))))
    basis = torch.linalg.qr(scale[:, None] * vectors[:, null]).Q
    inside: Tensor = solution - basis @ (basis.T @ solution)
    before, after = ((scale * (matrix @ x - vector)).norm() for x in (solution, inside))
    # With units 1e6 apart the basis has no digits left for the smallest; then keep the norm.
    exact = bool(after <= 10 * before + cutoff * (scale * vector).norm())
    best: Tensor = inside if exact else solution
    return best


def _at_a_bound(closure: Closure, matrix: Tensor, gradient: Tensor) -> Tensor:
    """Parameters other than ``weight`` that no longer matter, boolean (P,).

    The gap below an ordinal level without rows falls for ever: its column of the Jacobian vanishes,
    and the step that Newton wants for it grows without bound and spoils the line search.
    """
    weight = closure.objective.model.weight
    own = torch.cat([torch.full((p.numel(),), p is not weight) for p in closure.params])
    own = own.to(gradient.device)
    diagonal = torch.where(own, matrix.diagonal(), 0.0)
    eps = torch.finfo(matrix.dtype).eps
    idle: Tensor = (diagonal <= eps * diagonal.max()) & (gradient.abs() <= eps**0.5)
    return own & idle


def _backtrack(
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
