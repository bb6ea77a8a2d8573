"""Penalties and weightings by name, as grids, configuration files and command lines write them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from torchlogreg.combinators import ClassMean, Rule, Smoothed
from torchlogreg.jeffreys import Jeffreys
from torchlogreg.penalties import L1, L2, ElasticNet, Penalty
from torchlogreg.weighting import BoostMisclassified, ClassBalanced, Focal, Weighting


def penalty_of(
    penalty: str | Penalty | None, alpha: float | None = None, l1_ratio: float = 0.5
) -> Penalty | None:
    """The penalty that was named, or the object as it is.

    Parameters
    ----------
    penalty : {"none", "l2", "l1", "elasticnet", "jeffreys"}, Penalty or None
    alpha : float, optional
        Strength of a named penalty. Default: 0.001, but 0.5 for "jeffreys".
    l1_ratio : float
        Share of L1 in "elasticnet".

    Raises
    ------
    ValueError
        If the name is unknown, or a number out of range.
    TypeError
        If it is neither a name nor a penalty.
    """
    if isinstance(penalty, str):
        if penalty not in PENALTIES:
            raise ValueError(f"unknown penalty {penalty!r}; the names are {', '.join(PENALTIES)}")
        if alpha is None:
            alpha = 0.5 if penalty == "jeffreys" else 0.001
        return PENALTIES[penalty](alpha, l1_ratio)
    if penalty is not None and not isinstance(penalty, Penalty):
        raise TypeError(
            f"penalty= got {penalty!r}, but it takes a name ({', '.join(PENALTIES)}), a Penalty, "
            "such as L2(0.1), or None"
        )
    return penalty


def weighting_of(
    weighting: str | Weighting | Rule | None,
    *,
    factor: float = 2.0,
    cap: float | None = None,
    sticky: bool = True,
    gamma: float = 2.0,
) -> Weighting | Rule | None:
    """The weighting that was named, or the object as it is.

    Parameters
    ----------
    weighting : {"none", "boost", "class_mean", "balanced", "focal"}, Weighting, callable or None
    factor, cap, sticky
        Of ``BoostMisclassified``: "boost" and "class_mean".
    gamma : float
        Of "focal".

    Raises
    ------
    ValueError
        If the name is unknown, or a number out of range.
    """
    if not isinstance(weighting, str):
        return weighting
    if weighting not in WEIGHTINGS:
        raise ValueError(f"unknown weighting {weighting!r}; the names are {', '.join(WEIGHTINGS)}")
    if weighting == "focal":
        return Smoothed(Focal(gamma))
    if weighting in ("boost", "class_mean"):
        boost = BoostMisclassified(factor, cap=cap, sticky=sticky)
        return boost if weighting == "boost" else ClassMean(boost)
    return ClassBalanced() if weighting == "balanced" else None


WEIGHTINGS = ("none", "boost", "class_mean", "balanced", "focal")

PENALTIES: Mapping[str, Callable[[float, float], Penalty | None]] = MappingProxyType(
    {
        "none": lambda alpha, l1_ratio: None,
        "l2": lambda alpha, l1_ratio: L2(alpha),
        "l1": lambda alpha, l1_ratio: L1(alpha),
        "elasticnet": ElasticNet,
        "jeffreys": lambda alpha, l1_ratio: Jeffreys(alpha),
    }
)
