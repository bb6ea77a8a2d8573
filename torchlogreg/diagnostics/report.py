"""diagnose(): all tests at once, by hand or at the end of a fit."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import torch
from torch.optim import Optimizer

from torchlogreg.base import Model
from torchlogreg.diagnostics.columns import column_findings
from torchlogreg.diagnostics.cone import OutOfTimeError
from torchlogreg.diagnostics.diagnosis import Diagnosis, Finding
from torchlogreg.diagnostics.ending import Ending, ending_findings, learning_rate_finding
from torchlogreg.diagnostics.margins import told_apart
from torchlogreg.diagnostics.overlap import MANY, overlap_of_some
from torchlogreg.diagnostics.problem import Problem
from torchlogreg.diagnostics.rows import row_findings
from torchlogreg.diagnostics.screen import LIMIT, has_optimum
from torchlogreg.diagnostics.separated import Separation, separation_of
from torchlogreg.diagnostics.wording import names_of
from torchlogreg.inputs import make_data
from torchlogreg.losses import Loss
from torchlogreg.objective import Objective
from torchlogreg.penalties import Penalty
from torchlogreg.sparse import fits_dense

SECONDS = 10.0
"""What a fit may spend on the linear programs of the exact test."""
NAMING = 2.0
"""And where it is known that the classes are separated, on finding out which columns do it."""
AT_ONCE = 10**6
"""Entries of X from which on a fit does without the programs if columns separate alone."""
SIZE = 5e8
"""Rows times columns times contrasts up to which a fit runs the exact test at all."""


def diagnose(
    model: Model,
    X: Any,
    y: Any,
    *,
    loss: Loss | None = None,
    penalty: Penalty | None = None,
    sample_weight: Any = None,
    offset: Any = None,
    feature_names: Sequence[str] | None = None,
    learning_rate: float | None = None,
) -> Diagnosis:
    """Look for everything that keeps a fit of this model to these data from working.

    ``FitResult.diagnosis`` holds what ``fit`` found at little cost; here no test is left out for
    its size, and the model need not be trained.

    1. Rows: classes without any, sample weights that one row dominates.
    2. Columns: constant, dependent, nearly dependent, a million apart in scale.
    3. Separation, unless a penalty rules it out.
    4. A learning rate, if one is given, against the largest stable one.

    Parameters
    ----------
    model : Model
    X, y, loss, penalty, sample_weight, offset
        As in ``fit``.
    feature_names : sequence of str, length p, optional
        Default: the columns of a frame, else their numbers.
    learning_rate : float, optional
        Of plain gradient descent from where the model is.

    Returns
    -------
    Diagnosis

    Raises
    ------
    ValueError
        If the data do not suit the model.
    """
    objective = Objective(model, loss, penalty)
    data = make_data(
        model, X, y, sample_weight=sample_weight, offset=offset, own_target=objective.own_loss
    ).gathered()
    names = names_of(X, feature_names, model.n_features)
    problem = Problem(objective, data, names)
    found = [*row_findings(problem), *column_findings(problem)]
    found += separation_findings(problem, find_separation(problem, seconds=float("inf")))
    if learning_rate is not None:
        slow = learning_rate_finding(problem, learning_rate, "gradient descent", 2.0)
        found += [] if slow is None else [slow]
    return Diagnosis(tuple(found))


def at_the_end(
    problem: Problem,
    ending: Ending,
    separated: Separation | Finding | None,
    *,
    failed: bool,
    unfinished: bool,
) -> Diagnosis:
    """What ``fit`` says of itself.

    1. Cheap tests of rows and columns.
    2. What is known of separation; where the fit ``failed`` and nothing is known, the exact test,
       within bounds.
    3. How a fit ended that is ``unfinished``, unless a lack of any optimum explains it.
    4. What the optimizer noted.
    """
    found = data_findings(problem, ending.optimizer)  # 1, 4
    finite = math.isfinite(float(problem.objective.value(problem.data)))
    finite = finite or all(bool(torch.isfinite(p).all()) for p in problem.objective.params)
    if failed and separated is None and not (finite and is_certain(problem)):  # 2
        separated = find_separation(problem)
    found += separation_findings(problem, separated)
    hopeless = any(f.severity == "error" for f in found)
    if (unfinished and not hopeless) or not finite:
        found += ending_findings(problem, ending)  # 3
    return in_order(found)


def data_findings(problem: Problem, optimizer: Optimizer) -> list[Finding]:
    """What is to be said of rows and columns, however the fit ended, and the optimizer's note."""
    found = []
    if problem.data.total is None:  # else the rows are too many for one rank to look at
        found = [*row_findings(problem), *column_findings(problem)]
    note = getattr(optimizer, "note", "")
    return [*found, Finding("note", str(note))] if note else found


def in_order(found: Iterable[Finding]) -> Diagnosis:
    """Errors first."""
    return Diagnosis(tuple(sorted(found, key=lambda f: f.severity)))


def is_certain(problem: Problem) -> bool:
    """Whether a finite optimum exists for sure, as far as cheap proofs go.

    True also where the question does not arise: for numbers, other losses, frozen parameters.
    """
    if not problem.asks_for_rows:
        return True
    return not problem.unbounded_classes if problem.penalised else has_optimum(problem)


def find_separation(problem: Problem, seconds: float = SECONDS) -> Separation | Finding | None:
    """The exact test; a finding instead if it was too large, None if it does not arise.

    Parameters that tell all rows apart leave only the columns to be found. Columns that separate
    alone are found without the programs, however many rows there are.
    """
    if problem.penalised or not problem.asks_for_rows:
        return None
    model, data = problem.objective.model, problem.data
    apart = told_apart(problem)
    if data.total is not None:
        return _unchecked("its rows, too many for one rank", apart)
    size = data.X.numel() * max(1, (model.n_classes or 2) - 1) * model.weight.shape[0]
    wide = sum(p.numel() for p in problem.objective.params) > LIMIT
    bounded = seconds < float("inf")
    seconds = min(seconds, NAMING) if apart and bounded else seconds
    too_large = bounded and (wide or size > SIZE)
    many = bounded and type(data.X) is torch.Tensor and data.X.numel() > MANY
    overlap = overlap_of_some(problem, seconds) if many and not apart and not wide else None
    if overlap is not None:
        return overlap
    copied = bounded and data.X.numel() > (MANY if data.mapped else SIZE)
    if copied or not fits_dense(data.X):
        return _unchecked("its size", apart)
    reason = "its size" if too_large else f"taking more than {seconds:g} s"
    counted = data.sample_weight > 0
    X, y = data.X[counted].cpu().double(), data.y[counted].cpu()
    try:
        eps = max(torch.finfo(data.X.dtype).eps, 2**-52)
        return separation_of(
            model,
            X,
            y,
            seconds=0.0 if too_large else seconds,
            apart=apart,
            eps=eps,
            at_once=(0 if too_large else AT_ONCE) if bounded else None,
        )
    except OutOfTimeError:
        return _unchecked(reason, apart)
    except RuntimeError:  # HiGHS gave up
        return _unchecked("its numerical difficulty", apart)


def separation_findings(problem: Problem, found: Separation | Finding | None) -> Iterator[Finding]:
    """In words; a class without rows that explains everything has been named before."""
    if isinstance(found, Finding):
        yield found
    elif found is not None and found.kind != "none":
        if found.columns or not problem.empty_classes:
            text = found.describe(problem.names)
            yield Finding("separation", text, found.columns, "error")


def _unchecked(reason: str, apart: bool) -> Finding:
    """What is known without the exact test: nothing, or that the parameters tell all rows apart."""
    if apart:
        return Finding(
            "separation",
            "the classes are completely separated: every row lies on its own side and no finite "
            "maximum-likelihood estimate exists; add a penalty such as L2, or change the columns "
            f"(the search for those that do it was skipped for {reason}: "
            "torchlogreg.diagnostics.separation(X, y, model=model) runs it)",
            severity="error",
        )
    return Finding(
        "unchecked",
        f"separation could not be excluded, and the exact test was skipped for {reason}: "
        "torchlogreg.diagnostics.separation(X, y, model=model) runs it",
    )
