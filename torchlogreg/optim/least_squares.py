"""Exact linear least squares as a ``torch.optim.Optimizer``: one step is the solution."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from torchlogreg import kernels
from torchlogreg.base import Model, is_plain
from torchlogreg.data import Batch
from torchlogreg.design import Design
from torchlogreg.double_double import DoubleDouble
from torchlogreg.losses import squared_error
from torchlogreg.models import LinearRegression
from torchlogreg.objective import Closure, Objective
from torchlogreg.optim.normal_equations import (
    SMALL,
    look_at_zero,
    normal_equations,
    triangle,
)
from torchlogreg.optim.refinement import Solution, minimum_norm, refine
from torchlogreg.optim.requirements import checked_rough, our_closure
from torchlogreg.penalties import L2
from torchlogreg.response import Response


class LeastSquares(Optimizer):
    """Linear regression in one step: QR, then refinement in doubled precision.

    For more than ``normal_equations.SMALL`` numbers in ``X`` whose columns are sound, the normal
    equations, refined with residuals of float64, are ten times faster and lose a digit or two; see
    :mod:`torchlogreg.optim.normal_equations`. All else:

    1. Design ``[X, 1]`` of the trainable parameters, its columns in units that are powers of two;
       response ``y - offset`` less what frozen parameters explain, exact.
    2. Triangle ``R`` by Householder's QR, block of rows by block of rows; from the Gram matrix
       where that has two digits left and compiled kernels make step 3 cheaper than the QR.
    3. Corrected seminormal equations: ``R'R dz = A' S (y - A z)`` with the right side in twice the
       digits (see :mod:`torchlogreg.optim.refinement`), until the solution is correct to rounding.
    4. Parameters set to the solution, rounded once.

    Where columns are linearly dependent, the solution of minimum norm over all trainable
    parameters, the intercept among them, in the user's units: that of ``numpy.linalg.lstsq`` and
    ``pinv`` for ``[X, 1]``. The step does not depend on where the parameters are, so a second one
    changes nothing.

    Parameters
    ----------
    params : iterable of nn.Parameter
        All trainable parameters of the model.
    lr : float
        Share of the way to the solution, in (0, 1].
    rough : float
        Relative error that is small enough, ``>= 0``; 0 asks for all digits. Else the first step
        is one solution of the normal equations, not refined, where their condition promises a
        hundredth of it. Later steps are exact.

    Attributes
    ----------
    rank : int
        Of the design, after the first step; -1 before.
    exact : bool
        Whether the last refinement settled: the parameters are then the solution, rounded, and a
        gradient that float64 can still see is rounding of the parameters themselves.
    unrefined : bool
        Whether the last step was such a rough one: optimality is then to be taken at its word.
    note : str
        What the user must know about the solution: empty, or such as "rank 5 of 7 columns:
        minimum-norm solution".

    Raises
    ------
    ValueError
        If ``lr`` is out of range; in ``step``, if the loss, the model or the penalty is not one
        that least squares can solve.
    TypeError
        In ``step``, if the closure is not one of :class:`torchlogreg.objective.Closure`.

    References
    ----------
    Björck, Numerical Methods for Least Squares Problems (1996), sections 2.9 and 6.6.
    """

    needs_full_batch = True
    handles_nonsmooth = False
    rank = -1  # of the class, since a copy of an optimizer takes only its state along
    exact = False
    note = ""
    rough = 0.0
    unrefined = False
    _begun: Tensor | None = None

    def __init__(self, params: Iterable[nn.Parameter], lr: float = 1.0, rough: float = 0.0) -> None:
        if not 0 < lr <= 1:
            raise ValueError(f"LeastSquares needs 0 < lr <= 1, a share of the way, not {lr=}")
        super().__init__(params, {"lr": lr})
        self.rough = checked_rough(rough)

    @torch.no_grad()
    def step(self, closure: Any = None) -> Tensor:  # type: ignore[override]
        """Go to the solution; returns the value before, as torch's optimizers do."""
        closure = our_closure(closure, self)
        if reason := unsolvable(closure.objective):
            raise ValueError(reason)
        look_at_zero(closure)
        value: Tensor = closure()
        lr = self.param_groups[0]["lr"]
        solution = self._solve(closure)
        parts = torch.split_with_sizes(solution, [p.numel() for p in closure.params])
        for p, part in zip(closure.params, parts, strict=True):  # 4
            goal = part.view_as(p).to(p)
            p.copy_(goal if lr == 1 else p + lr * (goal - p))
        self.exact = self.exact and lr == 1
        return value

    def _solve(self, closure: Closure) -> Tensor:
        """The solution (P,) in float64."""
        objective, batch = closure.objective, closure.batch.at_hand()
        if batch.total is not None:
            raise ValueError(
                f"LeastSquares looks at all rows many times, but {batch.n} are spread over ranks; "
                "use optimizer='newton'"
            )
        model, penalty = objective.model, objective.penalty
        alpha = 0.0 if penalty is None else penalty.alpha
        ridge = alpha * len(batch) / 2  # the loss is a mean, without a factor one half
        trained = [p.requires_grad for p in (model.weight, model.bias) if p is not None]
        if batch.X.numel() > SMALL and all(trained):
            right = _right_side(closure) if batch is closure.batch else None
            rough = 0.0 if self._begun is batch.X else self.rough
            self._begun = batch.X
            z = normal_equations(objective, batch, ridge=ridge, right=right, rough=rough)
            if z is not None:
                self.rank, self.exact, self.note = len(z), not rough, ""
                self.unrefined = rough > 0
                return z
        self.unrefined = False
        y, found = self._refined(closure, batch, ridge, trained)
        n_columns = y.design.shape[1]
        self.rank, self.exact, self.note = found.rank, found.settled, ""
        if found.rank < n_columns:
            self.note = f"rank {found.rank} of {n_columns} columns: minimum-norm solution"
        elif not found.settled:
            self.note = "columns almost dependent: the last digits of the solution are uncertain"
        return found.z.value * y.unit / y.design.unit

    def _refined(
        self, closure: Closure, batch: Batch, ridge: float, trained: list[bool]
    ) -> tuple[Response, Solution]:
        """What is explained by the trained columns, and how."""
        objective, weight = closure.objective, batch.sample_weight
        model = objective.model
        plain = all(float(end) == 1 for end in weight.aminmax())
        make = partial(
            Design, batch.X, None if plain else weight, bias=model.bias is not None, ridge=ridge
        )
        if batch.X.numel() > SMALL and all(trained) and kernels.residual_available(batch.X):
            R = triangle(objective, batch, ridge=ridge)
            if R is not None:
                design = make(size=torch.linalg.vector_norm(R, dim=0))
                y = Response.of(design, batch.y, batch.offset)
                if y.quick:  # else its residuals lose what such a triangle lacks
                    z, settled = refine(design, R / design.unit, y)
                    if settled:
                        return y, Solution(z, len(R), settled)
        design = make()
        y = Response.of(design, batch.y, batch.offset)  # 1
        design, y = _without_frozen(design, y, model, trained)
        dtype = model.weight.dtype
        # Rounding of a dependent column to float32 hides the dependence behind its eps.
        cutoff = 64 * 2.0**-52 if dtype == torch.float64 else 2 * torch.finfo(dtype).eps
        return y, minimum_norm(design, design.triangle(), y, cutoff)  # 2, 3


def _right_side(closure: Closure) -> Tensor | None:
    """``A' S y``: what the gradient is where the parameters are zero; None elsewhere."""
    if any(bool(p.any()) for p in closure.params):
        return None  # from far away it has fewer digits
    return closure.gradient() * (-0.5 * len(closure.batch))


def unsolvable(objective: Objective) -> str:
    """Why least squares cannot minimise ``objective``, and the cure; empty if it can."""
    model, penalty = objective.model, objective.penalty
    if not isinstance(model, LinearRegression) or not is_plain(model):
        return (
            f"LeastSquares solves LinearRegression only, not {type(model).__name__}; "
            "use optimizer='newton'"
        )
    if objective.loss is not squared_error:
        name = getattr(objective.loss, "__name__", type(objective.loss).__name__)
        return (
            f"LeastSquares minimises squared_error only, not the loss {name}; "
            "use optimizer='newton' or 'lbfgs'"
        )
    if penalty is not None and type(penalty) is not L2:
        return (
            f"LeastSquares knows no penalty but L2, not {type(penalty).__name__}; "
            "use optimizer='newton', or 'proximal_gradient' where it is not smooth"
        )
    return ""


def _without_frozen(
    design: Design, y: Response, model: Model, trained: list[bool]
) -> tuple[Design, Response]:
    """The columns that are trained, and what the others leave to explain."""
    if all(trained):
        return design, y
    params = [p.detach().flatten() for p in (model.weight, model.bias) if p is not None]
    free = torch.cat([torch.full_like(p, t) for p, t in zip(params, trained, strict=True)])
    free = free.to(design.unit.device).bool()
    fixed = torch.cat(params).to(design.unit)
    fixed = torch.where(free, 0.0, fixed / y.unit) * design.unit
    part = design.select(free.nonzero()[:, 0])
    return part, replace(y.less(design, DoubleDouble.of(fixed)), design=part)
