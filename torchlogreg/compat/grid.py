"""What LogisticRegressionCV is asked to search, and scikit-learn's words about it."""

from __future__ import annotations

import warnings
from numbers import Integral, Real
from typing import Any, NamedTuple

import numpy as np
from sklearn.metrics import get_scorer_names
from sklearn.utils._param_validation import Hidden, Interval, StrOptions

from torchlogreg.compat.arguments import CONSTRAINTS, check_solver

WARN = "warn"
"""scikit-learn's default of what it is about to change."""

GRID_CONSTRAINTS: dict[str, list[Any]] = {
    name: kinds
    for name, kinds in CONSTRAINTS.items()
    if name not in ("C", "warm_start", "l1_ratio")
} | {
    "Cs": [Interval(Integral, 1, None, closed="left"), "array-like"],
    "l1_ratios": ["array-like", None, Hidden(StrOptions({WARN}))],
    "cv": ["cv_object"],
    "scoring": [StrOptions(set(get_scorer_names())), callable, None, Hidden(StrOptions({WARN}))],
    "refit": ["boolean"],
    "penalty": [StrOptions({"l1", "l2", "elasticnet"}), Hidden(StrOptions({"deprecated"}))],
    "use_legacy_attributes": ["boolean", Hidden(StrOptions({WARN}))],
}
"""Types and ranges of the constructor's arguments."""


class Grid(NamedTuple):
    """What is searched.

    Attributes
    ----------
    Cs : ndarray, shape (A,)
        In the order that was asked for.
    kind : {"l2", "l1", "elasticnet"}
    l1_ratios : ndarray, shape (L,)
        Of the penalty.
    named : list or None
        The same as the user named them; None for a penalty that is named otherwise.
    """

    Cs: np.ndarray[Any, Any]
    kind: str
    l1_ratios: np.ndarray[Any, Any]
    named: Any


def grid_of(*, Cs: Any, l1_ratios: Any, penalty: str | None, solver: str, dual: bool) -> Grid:
    """The grid that the constructor's arguments ask for together.

    Raises
    ------
    ValueError
        If scikit-learn's solver of that name cannot have it, or shares are no numbers in [0, 1].

    Warns
    -----
    FutureWarning, UserWarning
        Of defaults that will change, what is deprecated, and what has no effect.
    """
    named = None if isinstance(l1_ratios, str) else l1_ratios
    if isinstance(l1_ratios, str):
        _warn(
            "The default value for l1_ratios will change from None to (0.0,) in version 1.10 of "
            "scikit-learn, which forbids None; give l1_ratios=(0,)"
        )
    kind = _kind(penalty, named, l1_ratios is None)
    check_solver(solver, kind, dual)
    if kind == "elasticnet" and not _are_shares(named):
        raise ValueError(
            f"l1_ratios must be an array-like of numbers between 0 and 1; got (l1_ratios={named!r})"
        )
    if kind != "elasticnet" and named is not None and penalty != "deprecated":
        _warn(
            f"l1_ratios parameter is only used when penalty is 'elasticnet'. Got (penalty={kind})",
            UserWarning,
        )
    strengths = np.logspace(-4, 4, Cs) if isinstance(Cs, Integral) else np.asarray(Cs, float)
    if not len(strengths) or not (strengths > 0).all():
        raise ValueError(f"Cs is {Cs!r}, but it holds numbers above 0")
    if kind == "elasticnet":
        return Grid(strengths, kind, np.asarray(named, float), named)
    share = 1.0 if kind == "l1" else 0.0
    return Grid(strengths, kind, np.full(1 if named is None else len(named), share), named)


def _kind(penalty: str | None, l1_ratios: Any, none: bool) -> str:
    """Name of the penalty."""
    if penalty is not None and penalty != "deprecated":
        _warn(
            "'penalty' was deprecated in version 1.8 of scikit-learn: give l1_ratios=(0,) for "
            "'l2', (1,) for 'l1', shares between them for 'elasticnet'"
        )
        return penalty
    if none:
        _warn(
            "'l1_ratios=None' was deprecated in version 1.8 of scikit-learn; give an array-like of "
            "numbers in [0, 1]"
        )
    shares = np.asarray(0 if l1_ratios is None else l1_ratios)
    if (shares == 0).all():
        return "l2"
    return "l1" if (shares == 1).all() else "elasticnet"


def _are_shares(l1_ratios: Any) -> bool:
    """Whether they are numbers from 0 to 1, and some."""
    if l1_ratios is None or len(l1_ratios) == 0:
        return False
    return all(isinstance(share, Real) and 0 <= float(share) <= 1 for share in l1_ratios)


def default_of_scoring(scoring: Any) -> Any:
    """The scoring, of which the default is about to change."""
    if not (isinstance(scoring, str) and scoring == WARN):
        return scoring
    _warn(
        "The default value of the parameter 'scoring' will change from None, which is accuracy, to "
        "'neg_log_loss' in version 1.11 of scikit-learn; give one of them"
    )
    return None


def default_of_layout(legacy: Any, owner: str) -> bool:
    """Whether attributes are laid out in the old way, which is about to change."""
    if legacy != WARN:
        return bool(legacy)
    _warn(
        f"The fitted attributes of {owner} will be simplified in version 1.10 of scikit-learn. "
        "The default value of use_legacy_attributes will change from True to False; give one"
    )
    return True


def _warn(text: str, category: type[Warning] = FutureWarning) -> None:
    """Point at the call of the estimator's ``fit``."""
    warnings.warn(text, category, stacklevel=4)
