"""When a fit has converged, when it never can, and the sentence that says so."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable

import torch
from torch import Tensor
from torch.optim import Optimizer

from torchlogreg.base import is_plain
from torchlogreg.data import Batch, of_pieces
from torchlogreg.diagnostics.closing import Closing
from torchlogreg.diagnostics.diagnosis import Diagnosis
from torchlogreg.diagnostics.ending import Ending
from torchlogreg.diagnostics.margins import told_apart
from torchlogreg.diagnostics.newton_proof import newton_proves
from torchlogreg.diagnostics.problem import Problem
from torchlogreg.diagnostics.ranks import unremarkable
from torchlogreg.diagnostics.report import (
    at_the_end,
    data_findings,
    find_separation,
    in_order,
    is_certain,
)
from torchlogreg.few_rows import FewRows
from torchlogreg.levels import lost_level
from torchlogreg.optim.requirements import exhausted, superlinear
from torchlogreg.state import FitState


class ConvergenceWarning(UserWarning):
    """A fit ended without an optimum: separated, diverging, out of epochs, or nobody knows."""


def check_convergence(state: FitState, tol: float) -> None:
    """Stop when the optimality conditions hold and adaptive weights have settled.

    1. Optimality at the current parameters: the one wait for the device. For a loose tolerance,
       above ``DEFAULT``, a duality gap within that share of the objective is as good a proof; and
       where a penalty is no stronger than the tolerance, a large gap shows that nothing is proved.
    2. Newton and its kin go on while a step still halves it, unless the tolerance is a loose one,
       above ``DEFAULT``: who gives that wants no more digits than it says. At a finite optimum
       rounding ends that within a few steps; where none exists the gradient shrinks for ever, by
       1/e a step, or by more, while ``eta`` still moves by about one: three such steps below the
       tolerance are the sign of it, unless a strictly convex penalty sees to an optimum however
       far away. Where overlap of the classes is proved, there is one, too: the fit then goes on
       until rows come to rest, for the unit of the gradient may be that of one huge row.
    3. A vanishing gradient is no optimum if all rows are predicted with a margin: longer parameters
       would be better still.
    4. Nor is it one if the classes are quasi-completely separated. A few rows prove that they are
       not; only where they cannot, linear programs decide.
    5. Nor where a level with rows has lost its place between two cutpoints.

    Parameters
    ----------
    state : FitState
        ``converged`` and ``stop_reason`` are set.
    tol : float
    """
    optimality = float(state.optimality)  # 1
    state.judged = state.epoch, optimality
    ratio = optimality / state.previous_optimality  # the first is 0: inf came before
    state.previous_optimality = optimality or 1.0
    eager = superlinear(state.optimizer) and not exhausted(state.optimizer) and tol <= DEFAULT
    gaining = eager and optimality > 0 and ratio < 0.5
    wanted = tol * CRAWL if _crawls(state, ratio) else tol
    if not (optimality <= wanted or _is_rounding(state, optimality) or _gap_closed(state, tol)):
        return  # NaN is no convergence
    if _gap_open(state, tol):
        return
    # Where no optimum exists no step gains so much, but for corrected ones: not asked till then.
    several = bool(getattr(state.optimizer, "corrections", 0))
    leaping = gaining and ratio < 0.1 and not several and state.epoch < state.max_epochs
    if not leaping and told_apart(state.own_problem):  # 3
        state.request_stop("separated")
        return
    if eager and not (state.weighting.adaptive or state.own_problem.unique):  # 2
        slow = state.slow_steps >= SLOW or (gaining and (ratio > 0.1 or several))
        state.slow_steps = state.slow_steps + 1 if _moving(state) and slow else 0
    if eager and state.slow_steps >= SLOW:
        if state.slow_steps == SLOW:
            separated = _is_separated(state)
            if separated or not _overlaps(state):
                state.request_stop("separated" if separated else "diverging")
        return
    if gaining and state.epoch < state.max_epochs:
        return
    if state.weighting.adaptive and (state.epoch == 1 or float(state.weight_change) > tol):
        return
    if state.objective.own_loss and lost_level(state.model, state.data) is not None:  # 5
        return
    state.converged = not _is_separated(state)  # 4
    state.request_stop("converged" if state.converged else "separated")


def close(state: FitState, optimality: float, reason: str) -> Closing:
    """What there is to say about the fit.

    At once where it failed, since a warning says it. Else at most warnings about rows and columns
    are left to be found: of few rows a copy is kept until somebody asks, since X may change.
    """
    kind, separated, optimizer = stop_kind(state), state.separation, state.optimizer
    tol, minibatches = state.tol, state.batch_size is not None
    failed = not state.converged and tol > 0 and kind in FAILURES
    calm = not failed and separated is None and unremarkable(state.own_problem)
    problem = state.own_problem if calm else state.problem
    data = problem.data
    few = data.X.numel() <= FEW and data.total is None
    if not failed and separated is None and few and math.isfinite(optimality):
        text = explain(state, optimality, tol, Diagnosis())
        return Closing(text, reason, _findings_of(problem, optimizer))
    unfinished = failed and kind != "separated"
    ending = Ending(optimizer, state.epoch, minibatches, state.weighting.adaptive)
    diagnosis = at_the_end(problem, ending, separated, failed=failed, unfinished=unfinished)
    return Closing(explain(state, optimality, tol, diagnosis), reason, diagnosis)


def _findings_of(problem: Problem, optimizer: Optimizer) -> Callable[[], Diagnosis]:
    """What finds them in the rows as they are now, whatever becomes of these."""
    data, few, y = problem.data, problem.data.few, problem.data.y.clone()
    rows = few if few is not None and few.holds(data.X) else data.X.clone()

    def findings() -> Diagnosis:
        """All there is to be said of rows and columns."""
        X = rows.rows if isinstance(rows, FewRows) else rows
        kept = Problem(problem.objective, Batch(X, y, data.sample_weight), problem.names)
        return in_order(data_findings(kept, optimizer))

    return findings


def stop_kind(state: FitState) -> str:
    """The reason for the end, without what a hook added to it."""
    return (state.stop_reason or "max_epochs").partition(":")[0]


def warn_of_failure(state: FitState, closing: Closing) -> None:
    """Issue a :class:`ConvergenceWarning` that points at the caller of ``fit``.

    Also where separation could not be excluded: such a fit may have converged to nothing.
    """
    unchecked = state.separation is not None and state.separation.kind == "unchecked"
    if state.tol > 0 and (unchecked or stop_kind(state) in FAILURES):
        warnings.warn(closing.message, ConvergenceWarning, stacklevel=3)


DEFAULT = 1e-6
"""Tolerance of a fit that names none."""

CRAWL = 1e-4
"""Share of the tolerance asked for where scoring crawls: the gradient is small far from the end."""

FEW = 2**17
"""Entries of ``X``, a megabyte, of which a copy may wait for a reader."""

SLOW = 3
"""Slow steps in a row after which an optimum is in doubt, and is asked for, once; if there is one,
more are counted until no row moves."""

OPEN = 1e-3
"""Duality gap, as a share of the objective, above which a small gradient proves nothing."""

FAILURES = ("separated", "diverging", "max_epochs")


def _moving(state: FitState) -> bool:
    """Whether ``eta`` of some row has moved since this was asked last."""
    eta, before = state.rows[0], state.eta_before
    state.eta_before = eta
    return before is None or bool(state.data.largest(_furthest(eta, before)) > 0.05)


def _furthest(a: Tensor, b: Tensor) -> Tensor:
    """The largest absolute difference of two tensors (n, k), beyond a millionth of the first: what
    is huge moves whenever a weight is rounded."""
    return of_pieces(lambda x, y: (x - y).abs().sub_(x.abs(), alpha=1e-6).max(), a, b).max()


def _is_rounding(state: FitState, optimality: float) -> bool:
    """Whether rounding leaves as much at an optimum: no dtype can ask for less.

    A few units in the last place; for numbers far from zero as many times more as they are standard
    deviations away. No limit for an optimizer that says ``exact``: its parameters are the solution,
    rounded, and what gradient is left is that rounding. None is left by one that is ``unrefined``.
    """
    if getattr(state.optimizer, "exact", False):
        return math.isfinite(optimality)
    if getattr(state.optimizer, "unrefined", False):
        return False
    objective = state.objective
    unit = 4.0 * torch.finfo(state.model.weight.dtype).eps
    if optimality <= unit or not (objective.own_loss and state.model.n_classes is None):
        return optimality <= unit
    response = float(objective.units(state.data).response)
    if not optimality <= unit * (1 + _most(state) / response):  # which spares a pass over the rows
        return False
    largest = torch.linalg.vector_norm(state.rows[0], torch.inf)
    return optimality <= unit * (1 + float(state.data.largest(largest)) / response)


def _most(state: FitState) -> float:
    """No entry of ``eta`` is larger, as the lengths of the columns tell; inf where they do not."""
    model, data = state.model, state.data
    squares = state.objective.remembered.squares_of(data)
    if squares is None or data.offset is not None or data.total is not None or not is_plain(model):
        return math.inf
    most = model.weight.detach().abs().to(squares) @ squares.sqrt()
    return 1.01 * float(most.max() + model.intercepts().detach().abs().max())


def _gap_closed(state: FitState, tol: float) -> bool:
    """Whether a loose tolerance is met by what the dual proves of the objective."""
    gap = getattr(state.optimizer, "gap", math.inf)
    return tol > DEFAULT and gap < math.inf and bool(gap <= tol * state.value.abs())


def _gap_open(state: FitState, tol: float) -> bool:
    """Whether the dual leaves room that neither rounding nor a loose tolerance explains."""
    gap = getattr(state.optimizer, "gap", math.inf)
    if gap == math.inf:
        return False
    value = float(state.value)
    start = float(state.objective.units(state.data).response) ** 2
    rounding = torch.finfo(state.model.weight.dtype).eps ** 0.5 * 1e-3 * start
    return bool(gap > max(OPEN * abs(value), tol * abs(value), rounding))


def _crawls(state: FitState, ratio: float) -> bool:
    """Whether Newton's steps are those of scoring, and slow: not from rounding, where none gains.

    On separated classes nothing but Jeffreys' penalty bends the objective, and its part is missing.
    """
    penalty = state.objective.penalty
    if penalty is None or not penalty.needs_rows or not superlinear(state.optimizer):
        return False
    return 0.2 < ratio < 0.95


def _is_separated(state: FitState) -> bool:
    """Decide, and remember; False without linear programs for all but suspicious fits."""
    problem = state.own_problem
    if newton_proves(state.optimizer, problem) or is_certain(problem):
        return False
    state.separation = found = find_separation(state.problem)
    separated = found is not None and found.kind not in ("none", "unchecked")
    return separated or bool(problem.unbounded_classes)


def _overlaps(state: FitState) -> bool:
    """Whether :func:`_is_separated` has just proved that a finite optimum exists."""
    problem, found = state.own_problem, state.separation
    asked = problem.asks_for_rows and not problem.penalised
    return asked and (found is None or found.kind == "none")


def explain(state: FitState, optimality: float, tol: float, diagnosis: Diagnosis) -> str:
    """Why the fit ended and how far it got: the start of its message."""
    reason = state.stop_reason or "max_epochs"
    after = f"after {state.epoch} epochs of {type(state.optimizer).__name__}"
    text = f"{reason} {after}: optimality {optimality:.2g} (tol {tol:g})"
    gap = getattr(state.optimizer, "gap", math.inf)
    text += f", duality gap {gap:.2g}" if gap < math.inf else ""
    explained = any(finding.severity == "error" for finding in diagnosis)
    if reason == "separated" and not explained:
        text += (
            "; all rows are on the right side, so the likelihood has no finite maximum and the "
            "parameters only grow; add a penalty, such as L2(0.01)"
        )
    elif reason == "diverging" and not explained:
        text += "; the gradient vanishes while the parameters still grow; add a penalty"
    if state.weighting.adaptive and not state.converged and reason == "max_epochs":
        text += (
            f"; sample weights still change by {float(state.weight_change):.2g} an epoch, which "
            "Smoothed(...) or optimizer='lbfgs' can help"
        )
    return text
