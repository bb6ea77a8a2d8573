"""Classes without rows, and rows with nearly all the weight."""

from __future__ import annotations

from collections.abc import Iterator

from torchlogreg.diagnostics.diagnosis import Finding
from torchlogreg.diagnostics.problem import Problem
from torchlogreg.levels import lost_level
from torchlogreg.models import OrdinalRegression


def row_findings(problem: Problem) -> Iterator[Finding]:
    """Absent classes, lost levels; a row with more than half of the weight of at least three."""
    for c in problem.empty_classes:
        yield _absent(problem, c)
    model = problem.objective.model
    level = lost_level(model, problem.data) if problem.objective.own_loss else None
    if isinstance(model, OrdinalRegression) and level is not None:
        gap = float(model.gaps.detach()[level - 1])
        yield Finding(
            "lost_level",
            f"level {level} has rows, but no place between its cutpoints: gaps[{level - 1}] is "
            f"{gap:g}, which moves no cutpoint; set model.gaps to zeros, and fit again",
            severity="error",
        )
    weights = problem.data.sample_weight
    heaviest = 1.0 if problem.data.even else float(weights.amax())
    share = heaviest / len(weights)  # their mean is one
    if share > 0.5 and int(weights.count_nonzero()) > 2:
        row = int(weights.argmax())
        yield Finding(
            "dominant_row",
            f"row {row} has {share:.1%} of the sample weight: the fit follows it, whatever the "
            f"other {len(weights) - 1} rows say; check its weight, or cap the weights",
        )


def _absent(problem: Problem, c: int) -> Finding:
    what = f"class {c} has no rows with weight (a fold without it?)"
    if c in problem.unbounded_classes:
        return Finding(
            "absent_class",
            f"{what}: its intercept goes to infinity and its probability to 0, so there is no "
            "finite estimate; drop the class, or stratify the folds",
            severity="error",
        )
    return Finding(
        "absent_class", f"{what}: the data do not speak of it; drop it, or stratify the folds"
    )
