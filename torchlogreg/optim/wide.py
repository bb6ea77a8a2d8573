"""Newton's method in the space of the rows, for more columns than rows."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from torchlogreg.base import Model
from torchlogreg.closed_form import has_slopes, losses_and_slopes
from torchlogreg.models import LinearRegression, LogisticRegression, SoftmaxRegression
from torchlogreg.objective import Closure, Objective
from torchlogreg.optim.line_search import move_
from torchlogreg.optim.newton_cg import NewtonCG
from torchlogreg.optim.requirements import our_closure
from torchlogreg.optim.wide_kernel import Kernel
from torchlogreg.optim.wide_rows import RowProblem
from torchlogreg.penalties import L2

MOST_ROWS = 4096
"""Rows up to which their inner products fit beside ``X``: 64 MB in float32."""

SLOW = 0.1
"""Contraction of the gradient from which on a kernel is not good enough."""


class KernelNewton(Optimizer):
    """Newton for ridge problems with more columns than rows, ``n < p``, in a few passes.

    The first ``step``:

    1. The kernel: inner products of the rows, in bfloat16 where the processor multiplies it, else
       in float32; small ones in float64.
    2. The optimum in the space of the rows, in float32 (:mod:`torchlogreg.optim.wide_rows`):
       no pass over ``X``.
    3. ``weight = A' X``, one pass.

    Every other ``step``, which takes two passes:

    4. Slopes from ``X @ weight`` itself: ``q slopes + alpha A`` are the multipliers of the exact
       gradient.
    5. The correction of ``A`` by conjugate gradients with the kernel, and of ``weight``; shorter
       where the objective does not fall enough (Armijo, 1966).
    6. The error falls by about the relative error of the kernel. Where that is more than a tenth,
       2 is done again with a kernel in float64; where that does not help, NewtonCG goes on.

    The first step starts from zero, wherever the parameters are, unless they are better.

    Parameters
    ----------
    params : iterable of nn.Parameter
        All trainable parameters of the model.
    lr : float
        Only 1.

    Attributes
    ----------
    exhausted : bool
        Whether the next step would change multipliers by rounding alone, at the rate of this one.

    Raises
    ------
    ValueError
        If ``lr`` is not 1; in ``step``, for a penalty other than ``L2`` with ``alpha > 0``, another
        loss, an ordinal model or one with frozen parameters.
    TypeError
        In ``step``, if the closure is not one of :class:`torchlogreg.objective.Closure`.

    References
    ----------
    Kimeldorf and Wahba, Some results on Tchebycheffian spline functions (1971); Chapelle, Training
    a support vector machine in the primal (2007).
    """

    needs_full_batch = True
    needs_all_ranks = True
    handles_nonsmooth = False
    exhausted = False
    _kernel: Kernel | None = None  # of the class, since a copy of an optimizer takes only its state
    _A: Tensor | None = None
    _at: list[Tensor] | None = None
    _other: NewtonCG | None = None

    def __init__(self, params: Iterable[nn.Parameter], lr: float = 1.0) -> None:
        if lr != 1:
            raise ValueError(f"KernelNewton takes whole steps, lr=1, not {lr=}")
        super().__init__(params, {"lr": lr})

    @property
    def superlinear(self) -> bool:
        """Whether one step more buys many digits: not once NewtonCG goes on."""
        return self._other is None

    @torch.no_grad()
    def step(self, closure: Any = None) -> Tensor:  # type: ignore[override]
        """One iteration; returns the value before it, as torch's optimizers do."""
        closure = our_closure(closure, self)
        if reason := bound_to_columns(closure.objective):
            raise ValueError(reason)
        kernel, A, at, self.exhausted = self._kernel, self._A, self._at, False
        if kernel is None or kernel.X is not closure.batch.X:
            self._other = None
            return self._begin(closure)
        if self._other is None and A is not None and at is not None:
            if all(torch.equal(p, q) for p, q in zip(closure.params, at, strict=True)):
                return self._correct(closure, kernel, A)
            return self._begin(closure, kernel)
        return self._onwards(closure)

    def _begin(self, closure: Closure, kernel: Kernel | None = None) -> Tensor:
        """The optimum of the kernel; steps 1 to 3."""
        objective, batch = closure.objective, closure.batch
        model, start = objective.model, [p.clone() for p in closure.params]
        value = _value(closure)
        centred = model.bias is not None
        kernel = Kernel.of(batch.X, centred=centred) if kernel is None else kernel
        for exact in (False, True):
            if exact and not kernel.rough:
                break
            kernel = Kernel.of(batch.X, centred=centred, exact=True) if exact else kernel
            problem = RowProblem(objective, batch, kernel)
            loose = kernel.dtype == torch.float32
            found = problem.minimised(*((1e-4, 1e-2) if loose else (1e-12, 1e-6)))
            origin = [torch.zeros_like(p) for p in start]
            move_(closure.params, origin, _flat(kernel, model, found.A, problem.c * found.B), 1.0)
            if bool(closure.look() <= value + closure.rounding(value)):
                self._keep(closure, kernel, found.A.to(batch.X))
                return value
        for p, before in zip(closure.params, start, strict=True):
            p.copy_(before)
        self._keep(closure, kernel, None)
        return self._onwards(closure)

    def _correct(self, closure: Closure, kernel: Kernel, A: Tensor) -> Tensor:
        """Steps 4 to 6."""
        objective, batch, model = closure.objective, closure.batch, closure.objective.model
        value, gradient, before = closure(), closure.gradient(), closure.optimality()
        alpha = _alpha(objective, kernel)
        known = objective.evaluate(batch, keep=True).found
        slopes = losses_and_slopes(objective.loss, known.eta, batch.y).slopes  # 4
        slopes = slopes[:, slopes.shape[1] - len(model.weight) :]
        slopes = slopes * (batch.sample_weight / len(batch))[:, None]
        problem = RowProblem(objective, batch, kernel)
        G, at_ones = slopes + alpha * A, problem.c * slopes.sum(0)
        size = float(G.abs().max()) or 1.0  # so that squares of small numbers are numbers
        step = problem.correction(  # 5
            known.eta.to(kernel.dtype),
            (G / size).to(kernel.dtype),
            (at_ones / size).to(kernel.dtype),
        )
        V = size * step.A.to(A)
        direction = _flat(kernel, model, V, problem.c * size * step.B.to(A))
        slope = torch.dot(gradient, direction)
        taken = _taken(closure, value, direction, slope)
        self._keep(closure, kernel, A + taken * V)
        rate = closure.optimality() / before
        rounding = torch.finfo(A.dtype).eps * len(batch) ** 0.5 * A.abs().max()  # of long sums
        self.exhausted = taken == 1 and bool(rate * V.abs().max() <= rounding)
        if taken and bool(slope.abs() <= closure.rounding(value)):
            return value
        if taken < 1 or bool(rate > SLOW):  # 6
            if kernel.rough:
                self._begin(closure, Kernel.of(batch.X, centred=model.bias is not None, exact=True))
            else:
                self._A = None
        return value

    def _onwards(self, closure: Closure) -> Tensor:
        """A step of NewtonCG."""
        self._other = self._other or NewtonCG(closure.params)
        value: Tensor = self._other.step(closure)
        return value

    def _keep(self, closure: Closure, kernel: Kernel, A: Tensor | None) -> None:
        self._kernel, self._A = kernel, A
        self._at = [p.detach().clone() for p in closure.params]


def bound_to_columns(objective: Objective) -> str:
    """Why the rows' space cannot serve ``objective``, and the cure; empty if it can."""
    model, penalty = objective.model, objective.penalty
    if type(penalty) is not L2 or not penalty.alpha > 0:
        what = "no penalty" if penalty is None else repr(penalty)
        return f"KernelNewton needs L2 with alpha > 0, not {what}; use optimizer='newton_cg'"
    known = (LinearRegression, LogisticRegression, SoftmaxRegression)
    if type(model) not in known or not has_slopes(objective.loss):
        return (
            "KernelNewton knows linear, logistic and softmax regression with their own losses, not "
            f"this {type(model).__name__}; use optimizer='newton_cg'"
        )
    if not all(p.requires_grad for p in model.parameters()):
        return "KernelNewton trains all parameters, but some are frozen; use optimizer='newton_cg'"
    return ""


def _alpha(objective: Objective, kernel: Kernel) -> float:
    """Strength of the penalty in the units of the kernel."""
    return 0.0 if objective.penalty is None else objective.penalty.alpha / kernel.unit


def _flat(kernel: Kernel, model: Model, A: Tensor, intercepts: Tensor) -> Tensor:
    """Parameters (P,) from multipliers (n, r) and the intercepts (r,) of centred columns."""
    weight = kernel.pulled(A)
    if model.bias is None:
        return weight.flatten()
    shift = 0.0 if kernel.centre is None else weight @ kernel.centre
    return torch.cat((weight.flatten(), intercepts.to(weight) - shift))


def _value(closure: Closure) -> Tensor:
    """Value at the start; where all parameters are zero, without a pass."""
    model, batch = closure.objective.model, closure.batch
    if any(bool(p.any()) for p in closure.params):
        return closure()
    scores = batch.X.new_zeros(len(batch), len(model.weight))
    return closure.value(smooth_only=True, eta=model.from_scores(scores, batch.offset))


def _taken(closure: Closure, value: Tensor, direction: Tensor, slope: Tensor) -> float:
    """Move by the first of 1, 1/2, 1/4, ... of the step that lowers the objective; 0 if none."""
    start, length = [p.clone() for p in closure.params], 1.0
    rounding = closure.rounding(value)
    while length > 1e-3 and bool(slope < 0):
        move_(closure.params, start, direction, length)
        if bool(closure.look() - value <= 1e-4 * length * slope + rounding):
            return length
        length /= 2
    move_(closure.params, start, direction, 0.0)
    return 0.0
