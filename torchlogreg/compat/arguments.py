"""What scikit-learn's arguments ask for, and its words where they contradict one another."""

from __future__ import annotations

import math
import warnings
from numbers import Integral, Real
from typing import Any, NamedTuple

from sklearn.utils._param_validation import Hidden, Interval, StrOptions

from torchlogreg.compat.solvers import SOLVERS
from torchlogreg.penalties import L1, L2, ElasticNet, Penalty

CONSTRAINTS: dict[str, list[Any]] = {
    "penalty": [StrOptions({"l1", "l2", "elasticnet"}), None, Hidden(StrOptions({"deprecated"}))],
    "C": [Interval(Real, 0, None, closed="right")],
    "l1_ratio": [Interval(Real, 0, 1, closed="both"), None],
    "dual": ["boolean"],
    "tol": [Interval(Real, 0, None, closed="left")],
    "fit_intercept": ["boolean"],
    "intercept_scaling": [Interval(Real, 0, None, closed="neither")],
    "class_weight": [dict, StrOptions({"balanced"}), None],
    "random_state": ["random_state"],
    "solver": [StrOptions(set(SOLVERS))],
    "max_iter": [Interval(Integral, 0, None, closed="left")],
    "verbose": ["verbose"],
    "warm_start": ["boolean"],
    "n_jobs": [None, Integral],
}
"""Types and ranges of the constructor's arguments, as scikit-learn's validation takes them."""


class Strength(NamedTuple):
    """A penalty before the rows are known: ``C`` is infinite for none."""

    C: float
    l1_ratio: float

    def penalty(self, total: float) -> Penalty | None:
        """The penalty beside a mean over rows whose sample weights add up to ``total``.

        scikit-learn minimises ``C * sum(sample_weight * loss) + penalty``, which over
        ``C * total`` is our mean plus ``alpha`` times that penalty.
        """
        if math.isinf(self.C):
            return None
        alpha = 1 / (self.C * total)
        if self.l1_ratio == 0:
            return L2(alpha)
        return L1(alpha) if self.l1_ratio == 1 else ElasticNet(alpha, self.l1_ratio)


def strength_of(
    *, penalty: str | None, C: float, l1_ratio: float | None, solver: str, dual: bool
) -> Strength:
    """The penalty that ``penalty``, ``C`` and ``l1_ratio`` ask for together.

    Raises
    ------
    ValueError
        If scikit-learn's solver of that name cannot have it.

    Warns
    -----
    FutureWarning, UserWarning
        Of what is deprecated or contradicts itself.
    """
    if penalty != "deprecated":
        _warn(
            "'penalty' was deprecated in version 1.8 of scikit-learn: give l1_ratio=0 for 'l2', "
            "l1_ratio=1 for 'l1', a share between them for 'elasticnet', and C=np.inf for None",
            FutureWarning,
        )
    elif l1_ratio is None:
        _warn(
            "'l1_ratio=None' was deprecated in version 1.8 of scikit-learn; use 0<=l1_ratio<=1",
            FutureWarning,
        )
    kind = _kind(penalty, C, l1_ratio)
    check_solver(solver, kind, dual)
    if kind != "elasticnet" and l1_ratio is not None and 0 < l1_ratio < 1:
        _warn(f"l1_ratio parameter is only used when penalty is 'elasticnet'. Got (penalty={kind})")
    if (penalty == "l2" and l1_ratio != 0) or (penalty == "l1" and l1_ratio != 1):
        _warn(
            f"Inconsistent values: penalty={penalty} with l1_ratio={l1_ratio}: penalty decides, "
            "and is deprecated; give l1_ratio only"
        )
    if kind == "elasticnet" and l1_ratio is None:
        raise ValueError("l1_ratio must be specified when penalty is elasticnet.")
    if penalty is None and C != 1.0:
        _warn("Setting penalty=None will ignore the C and l1_ratio parameters")
    shares = {"l1": 1.0, "elasticnet": l1_ratio or 0.0}
    return Strength(math.inf if kind is None else float(C), shares.get(kind or "l2", 0.0))


def _kind(penalty: str | None, C: float, l1_ratio: float | None) -> str | None:
    """Name of the penalty, None for none."""
    if penalty != "deprecated":
        return penalty
    if math.isinf(C):
        return None
    if not l1_ratio:
        return "l2"
    return "l1" if l1_ratio == 1 else "elasticnet"


def check_solver(solver: str, kind: str | None, dual: bool) -> None:
    """Refuse what scikit-learn refuses, in its words."""
    if solver not in ("liblinear", "saga") and kind not in ("l2", None):
        raise ValueError(
            f"Solver {solver} supports only 'l2' or None penalties, got {kind} penalty."
        )
    if solver != "liblinear" and dual:
        raise ValueError(f"Solver {solver} supports only dual=False, got dual={dual}")
    if kind == "elasticnet" and solver != "saga":
        raise ValueError(f"Only 'saga' solver supports elasticnet penalty, got solver={solver}.")
    if solver == "liblinear" and kind is None:
        raise ValueError(
            "C=np.inf as well as penalty=None is not supported for the liblinear solver"
        )


def _warn(text: str, category: type[Warning] = UserWarning) -> None:
    """Point at the call of the estimator's ``fit``."""
    warnings.warn(text, category, stacklevel=4)
