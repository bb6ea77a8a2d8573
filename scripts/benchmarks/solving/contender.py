"""What a contender is: what it needs, what it can solve, its settings from cheap to tight."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from benchmarks.solving.problems import Data, Spec

Setting = dict[str, Any]


class Answer(NamedTuple):
    """What a contender found.

    Attributes
    ----------
    weight : ndarray, shape (r, p)
    bias : ndarray, shape (r,)
    errors : ndarray, shape (p + 1,), or None
        Standard errors, the intercept's last.
    costs, row_weight : ndarray or None
        What the cost logger logged, and its last weights of rows.
    optimality : float or None
        The contender's own measure, if it reports one, and whether it says that it converged.
    certified : bool or None
    note : str
    """

    weight: np.ndarray
    bias: np.ndarray
    errors: np.ndarray | None = None
    costs: np.ndarray | None = None
    row_weight: np.ndarray | None = None
    optimality: float | None = None
    certified: bool | None = None
    note: str = ""


Solve = Callable[[Setting], Answer]


@dataclass(frozen=True)
class Contender:
    """A solver in the race.

    Attributes
    ----------
    name : str
    needs : str
        Module to import.
    pip : str
        What to ask pip for.
    suits : callable
        Whether it can solve a problem at all.
    ladder : callable
        Settings of a problem, cheapest first; the first that reaches a target is timed.
    start : callable
        ``start(data, threads) -> solve``: conversions that users would do once, outside the clock.
    ours : bool
    """

    name: str
    needs: str
    pip: str
    suits: Callable[[Spec], bool]
    ladder: Callable[[Spec], list[Setting]]
    start: Callable[[Data, int], Solve] = field(repr=False)
    ours: bool = False

    def installed(self) -> bool:
        """Whether the module can be found, without importing it."""
        return importlib.util.find_spec(self.needs) is not None


def decades(name: str, first: int, last: int, **fixed: Any) -> Callable[[Spec], list[Setting]]:
    """Settings ``name = 10^-first ... 10^-last``, with three times each between it and the last."""
    values = [10.0**-first]
    for i in range(first + 1, last + 1):
        values += [3 * 10.0**-i, 10.0**-i]  # a whole decade can be many epochs too far
    settings = [{name: value, **fixed} for value in values]
    return lambda spec: settings


def once(**fixed: Any) -> Callable[[Spec], list[Setting]]:
    """A single setting."""
    return lambda spec: [dict(fixed)]


def plain(spec: Spec) -> bool:
    """Neither standard errors nor a loop of iterations: only an optimum."""
    return not spec.errors and not spec.loop


def is_logistic(spec: Spec) -> bool:
    """L2 logistic regression, dense or sparse."""
    return plain(spec) and spec.kind == "logistic" and spec.l2 > 0


def is_smooth(spec: Spec) -> bool:
    """Anything without L1."""
    return plain(spec) and spec.l1 == 0


def dense(spec: Spec) -> bool:
    """Every entry of ``X`` is stored."""
    return spec.density == 1


def answer(weight: Any, bias: Any, r: int) -> Answer:
    """An answer from whatever shapes a library returns."""
    w = np.array(weight, dtype=np.float64).reshape(r, -1)
    b = np.broadcast_to(np.asarray(bias, dtype=np.float64).ravel(), (r,)).copy()
    return Answer(w, b)
