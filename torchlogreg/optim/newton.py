"""Newton's method (Fisher scoring, IRLS) as a ``torch.optim.Optimizer``."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from torchlogreg.base import Model
from torchlogreg.data import Batch
from torchlogreg.objective import Closure
from torchlogreg.optim.centring import Centred, looked_at, near_zero
from torchlogreg.optim.corrections import Corrections, corrected
from torchlogreg.optim.factor import Factor
from torchlogreg.optim.intercept import at_the_share_
from torchlogreg.optim.iteration import EARLY, Iteration, ordinary
from torchlogreg.optim.line_search import downhill, search, steepest, stretched
from torchlogreg.optim.polish import DependentError, can_polish, polish_
from torchlogreg.optim.requirements import checked_corrections, checked_rough, our_closure
from torchlogreg.optim.settling import CLOSE, SETTLED, Pace, Settled
from torchlogreg.optim.shifts import Shifts
from torchlogreg.optim.stepping import quiet_step
from torchlogreg.optim.trials import Trial, Trials
from torchlogreg.passes import Found
from torchlogreg.penalties import L2
from torchlogreg.small import flat

ILL = 2e-2
"""Squared pivot of the curvature, scaled, below which rounding costs two digits."""

NEAR = 1e-9
"""Decrease that a step promises, as a share of the objective, from which on it is the optimum."""

LOST = 0.5
"""Share of the gradient that a singular matrix does not know of from which on its step leads
nowhere."""

DEAR, FAST = 2**25, 0.1
"""Rows times squared parameters from which on a Hessian costs as much as many gradients; and the
rate at which steps must have shrunk for its factor to be used again."""

NONE = Corrections()


class Newton(Optimizer):
    """Damped Newton with Armijo backtracking; one ``step`` is one iteration.

    1. Value and gradient at the current parameters; from zero, where a class is rare, at the
       log-odds of its share.
    2. Gauss-Newton matrix (equal to the Fisher information for canonical links: this is IRLS).
    3. Direction: Cholesky of the matrix scaled to unit diagonal; where it is singular, the
       minimum-norm direction from its eigenvectors.
    4. Backtracking until the objective falls enough (Armijo, 1966). A change that rounding cannot
       tell from zero is accepted, or the method would stall at the optimum. Where nothing lower
       is found, since no row has any curvature left to tell how far, steepest descent.
    5. Far from the optimum a whole step is mostly too short, for the curvature falls along it. It
       is stretched to where slope and curvature at its ends say that the slope vanishes, if the
       objective is lower there: two iterations then do what four did.
    6. ``corrections``, if asked for: steps of BFGS about the factor, which learns from each of them
       and from the step before how the curvature has changed. Each takes one pass instead of a
       Hessian, and the first three or four gain more digits than that one would.
    7. Near the optimum of a penalised objective with many parameters the factor is kept: each step
       then gains as many digits as the one before has shown, and takes no Hessian.

    Columns far from zero (years, time stamps) are worked on as differences from their middle, in a
    copy of ``X`` made once; see :mod:`torchlogreg.optim.centring`. At the end, where a pivot says
    that rounding has cost digits, a correction in doubled precision restores them, unless ``rough``
    asks for fewer; see :mod:`torchlogreg.optim.polish`. Steps that no parameter would show are not
    made.

    Parameters
    ----------
    params : iterable of nn.Parameter
        All trainable parameters of the model.
    lr : float
        First step tried, ``> 0``; 1 is Newton's own.
    damping : float
        Added to the unit diagonal of the scaled matrix (Levenberg-Marquardt), ``>= 0``.
    corrections : int
        Most steps of BFGS in an iteration, 0 to 100; 0 is Newton's method itself. ``fit`` asks for
        some where it chooses Newton.
    rough : float
        Relative error that is small enough, ``>= 0``: no correction goes further.

    Attributes
    ----------
    pivot : float
        Smallest squared pivot of the scaled matrix, near the optimum: 1 for columns that have
        nothing in common, 0 for dependent ones; NaN before.
    last : Iteration or None
        What the last iteration knew before its step; None with ``damping``.
    exhausted : bool
        Whether further steps on the same rows would change nothing.

    Raises
    ------
    ValueError
        If ``lr``, ``damping``, ``corrections`` or ``rough`` is out of range.
    TypeError
        In ``step``, if the closure is not one of :class:`torchlogreg.objective.Closure`.

    References
    ----------
    Nelder and Wedderburn, Generalized linear models, J. R. Stat. Soc. A 135 (1972); on several
    steps for each Hessian Shamanskii, A modification of Newton's method, Ukr. Math. J. 19 (1967).
    """

    needs_full_batch = True
    handles_nonsmooth = False
    superlinear = True
    _memory: Centred | None = None
    _settled: Settled | None = None
    _pace: Pace | None = None
    _dependent: Batch | None = None
    exhausted = False
    pivot: float = float("nan")
    last: Iteration | None = None

    def __init__(
        self,
        params: Iterable[nn.Parameter],
        lr: float = 1.0,
        damping: float = 0.0,
        corrections: int = 0,
        rough: float = 0.0,
    ) -> None:
        if not lr > 0 or not damping >= 0:
            raise ValueError(f"Newton needs lr > 0 and damping >= 0, not {lr=}, {damping=}")
        super().__init__(params, {"lr": lr, "damping": damping})
        self.corrections, self.rough = checked_corrections(corrections), checked_rough(rough)

    @quiet_step
    def step(self, closure: Any = None) -> Tensor:  # type: ignore[override]
        """One iteration; returns the value before it, as torch's optimizers do."""
        asked = our_closure(closure, self)
        if self._settled is not None and self._settled.holds(asked):
            return asked.look()
        group = self.param_groups[0]
        factor = self._kept(asked)  # 7
        rules = group["lr"], group["damping"], factor, Corrections(self.corrections, self.rough**2)
        self._memory = memory = looked_at(asked, self._memory)
        if memory.centre is None:
            done = newton_iteration(asked, *rules)
        else:
            with near_zero(asked, memory) as (near, self._memory):
                done = newton_iteration(near, *rules)
        self.last = None if group["damping"] else done
        self.exhausted = self._finish(asked, done)
        self._settled = Settled.here(asked) if self.exhausted else None
        return done.value

    def _kept(self, closure: Closure) -> Factor | None:
        """The last factor, where it will do: a penalty's optimum is finite, and needs no proof."""
        last, objective, pace = self.last, closure.objective, self._pace
        if last is None or pace is None or type(objective.penalty) is not L2:
            return None
        near = pace.batch is closure.batch and last.promised <= NEAR * last.size
        size = sum(p.numel() for p in objective.params)
        dear = near and closure.batch.n * size**2 >= DEAR and not _has_gaps(objective.model)
        return last.factor if dear and pace.rate < FAST else None

    def _finish(self, closure: Closure, done: Iteration) -> bool:
        """Whether that was the last step, or the last digits could be had at once."""
        self._pace = pace = Pace() if self._pace is None else self._pace
        pace.record(closure.batch, done.last)
        if not done.promised <= NEAR * done.size:
            return False
        self.pivot = done.factor.pivot
        worth = self.pivot < ILL and (pace.left <= CLOSE or pace.rate > 0.5)
        hopeless = self._dependent is closure.batch
        if worth and not (hopeless or self.rough) and can_polish(closure.objective, closure.batch):
            try:
                return polish_(closure.objective, closure.batch)
            except DependentError:
                self._dependent = closure.batch
        return pace.left <= SETTLED or pace.stalled


def newton_iteration(
    closure: Closure,
    lr: float = 1.0,
    damping: float = 0.0,
    factor: Factor | None = None,
    corrections: Corrections = NONE,
) -> Iteration:
    """One iteration; see :class:`Newton`.

    Parameters
    ----------
    closure : Closure
        Its parameters are moved.
    lr, damping : float
        As in :class:`Newton`.
    factor : Factor, optional
        Of the matrix at a point near by, to be used instead of the one here.
    corrections : Corrections
    """
    if factor is None and not damping:
        done = ordinary(closure, lr, corrections)
        if done is not None:
            return done
    shifts, idle = Shifts.of(closure.objective), None
    if factor is None:
        found, matrix, idle = _looked_at(closure)  # 1, 2
        factor = Factor(matrix if shifts is None else shifts.anchored(matrix), damping)
    else:
        found = closure.found()  # 7
    gradient = found.gradient
    solve = factor.solve if shifts is None else shifts.within(factor.solve)
    direction = solve(gradient if idle is None else gradient * ~idle).neg_()  # 3
    slope = torch.dot(gradient, direction)
    value, fall = float(found.value), float(slope)
    done = Iteration(found.value, slope, factor, abs(value), *[abs(fall)] * 3)
    if not fall < 0:  # no curvature left, as on rows of certain error
        direction, fall = steepest(closure, gradient)
    trials, start = Trials(closure), Trial(flat(closure.params), value, gradient)
    rounding = float(closure.rounding(value))
    length, end = 0.0, start
    if not _unknown(closure, factor, gradient, rounding):  # 4
        length, end = search(trials, start, direction, fall, lr, rounding)
    if length == 0:
        end = downhill(closure, trials, start, rounding)
        fallen = value - end.value
        done = Iteration(found.value, slope.new_tensor(-fallen), factor, done.size, *[fallen] * 3)
    elif length == lr == 1 and -fall > EARLY * abs(value):
        end = stretched(trials, start, end, direction, fall)  # 5
    trials.stay(end)
    # A singular factor knows nothing of a part of the gradient: no correction would see it.
    if length > 0 and idle is None and corrections.most and not factor.singular:  # 6
        last, left = corrected(closure, solve, start, end, corrections)
        done = done._replace(last=done.promised if last is None else last, left=left)
    return done


def _looked_at(closure: Closure) -> tuple[Found, Tensor, Tensor | None]:
    """Value and gradient, the matrix, and what no longer matters, which the matrix forgets."""
    found, matrix = closure.expansion()
    if at_the_share_(closure, found):
        found, matrix = closure.expansion()
    idle = _at_a_bound(closure, matrix, found.gradient)
    if idle is not None:
        matrix[idle, :] = 0
        matrix[:, idle] = 0
    return found, matrix, idle


def _unknown(closure: Closure, factor: Factor, gradient: Tensor, rounding: float) -> bool:
    """Whether the matrix does not know of most of the gradient, which is more than rounding."""
    if not factor.singular or not factor.misses(gradient) > LOST:
        return False
    return -steepest(closure, gradient)[1] > rounding


def minimum_norm_solve(matrix: Tensor, vector: Tensor, damping: float = 0.0) -> Tensor:
    """Solve ``matrix @ x = vector`` for a positive semi-definite matrix, shape (P, P).

    See :class:`Factor`.
    """
    return Factor(matrix, damping).solve(vector)


def _at_a_bound(closure: Closure, matrix: Tensor, gradient: Tensor) -> Tensor | None:
    """Parameters other than ``weight`` that no longer matter, boolean (P,); None if all do.

    The gap below an ordinal level without rows falls for ever: its column of the Jacobian vanishes,
    and the step that Newton wants for it grows without bound and spoils the line search.
    """
    model = closure.objective.model
    if not _has_gaps(model):
        return None
    own = torch.cat([torch.full((p.numel(),), p is not model.weight) for p in closure.params])
    own = own.to(gradient.device)
    diagonal = torch.where(own, matrix.diagonal(), 0.0)
    eps = torch.finfo(matrix.dtype).eps
    idle: Tensor = (diagonal <= eps * diagonal.max()) & (gradient.abs() <= eps**0.5)
    idle &= own
    return idle if bool(idle.any()) else None


def _has_gaps(model: Model) -> bool:
    """Whether intercepts are functions of parameters: a bias always matters."""
    return type(model).intercepts is not Model.intercepts
