"""Whether an answer is right: suboptimality, standard errors, the cost logger's promises."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from benchmarks.solving import objectives
from benchmarks.solving.contender import Answer
from benchmarks.solving.problems import Data
from benchmarks.solving.reference import Reference, reference

ITERATIONS = 200
ROUNDING = 1e-12


class Verdict(NamedTuple):
    """How far an answer is from the truth.

    Attributes
    ----------
    suboptimality : float
        ``(f - f*) / |f*|``, infinite for an answer of the wrong shape or without a finite f.
    errors : float
        Largest relative error of a standard error; 0 where none is asked for.
    words : str
        What else is wrong, or nothing.
    """

    suboptimality: float
    errors: float = 0.0
    words: str = ""

    def reaches(self, target: float) -> bool:
        """Suboptimality within the target, standard errors within its square root."""
        near = self.suboptimality <= target and self.errors <= math.sqrt(target)
        return near and not self.words


def worst(data: Data, best: Reference, answers: list[Answer]) -> Verdict:
    """The verdict on the answer that is furthest off."""
    with np.errstate(all="ignore"):  # a diverged answer may overflow: infinitely far off
        verdicts = [judge(data, best, answer) for answer in answers]
    return max(verdicts, key=lambda v: (bool(v.words), v.suboptimality, v.errors))


def judge(data: Data, best: Reference, answer: Answer) -> Verdict:
    """The verdict on an answer."""
    spec = data.spec
    weight, bias = answer.weight, answer.bias
    if weight.shape != (spec.width, spec.p) or bias.shape != (spec.width,):
        shapes = f"{weight.shape} and {bias.shape}"
        return Verdict(math.inf, words=f"weights and intercepts have shapes {shapes}")
    if not (np.isfinite(weight).all() and np.isfinite(bias).all()):
        return Verdict(math.inf, words="weights that are not finite")
    if not spec.intercept and np.any(bias):
        return Verdict(math.inf, words="an intercept where there is none")
    if spec.loop:
        return _judge_loop(data, answer)
    off = _above(objectives.value(data, weight, bias), best.value)
    if off < -ROUNDING:
        return Verdict(math.inf, words=f"lower than the reference by {-off:.0e}: it is no optimum")
    off = max(off, 0.0)
    if not spec.errors:
        return Verdict(off)
    if answer.errors is None or best.errors is None or answer.errors.shape != best.errors.shape:
        return Verdict(off, math.inf, "no standard errors")
    return Verdict(off, float(np.max(np.abs(answer.errors / best.errors - 1))))


def _judge_loop(data: Data, answer: Answer) -> Verdict:
    """200 costs, and the optimum of the row weights that the loop ended with."""
    costs, row = answer.costs, answer.row_weight
    if costs is None or costs.shape != (ITERATIONS,) or not np.isfinite(costs).all():
        return Verdict(math.inf, words=f"not {ITERATIONS} finite costs")
    if row is None or row.shape != (data.spec.n,) or not np.all(row > 0):
        return Verdict(math.inf, words="no positive weights of rows")
    heavier = float(row.max() / row.min())
    if data.spec.loop == "weighted" and not 1 < heavier <= 2:
        return Verdict(math.inf, words=f"class weights in proportion {heavier:.3g}, not 1 to 2")
    best = reference(data, row)
    off = _above(objectives.value(data, answer.weight, answer.bias, row), best.value)
    return Verdict(max(off, 0.0))


def _above(value: float, least: float) -> float:
    """Relative distance above the optimum; rounding may put it a little below."""
    off = (value - least) / max(abs(least), 1e-300)
    return off if math.isfinite(off) else math.inf
