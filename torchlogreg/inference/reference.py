"""The distribution that tests and intervals refer to: the normal one, or Student's t."""

from __future__ import annotations

from numbers import Real

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def critical_value(level: float, df: float | None = None) -> float:
    """Half width, in standard errors, of a two-sided interval.

    Parameters
    ----------
    level : float
        Coverage, strictly between 0 and 1: 0.95 gives 1.96 for the normal distribution.
    df : float, optional
        Degrees of freedom of Student's t; None for the normal distribution.

    Raises
    ------
    ValueError
        If ``level`` or ``df`` is out of its range.
    """
    from scipy import special

    check_level(level)
    tail = 0.5 * (1 - level)  # the lower one: no digits are lost near level 1
    if df is None:
        return -float(special.ndtri(tail))
    if not df > 0:
        raise ValueError(f"df is {df!r}, but Student's t needs df > 0; use df=None for the normal")
    return -float(special.stdtrit(df, tail))


def two_sided_p(statistic: Array, df: float | None = None) -> Array:
    """Probability of a statistic at least as far from zero, same shape; NaN stays NaN."""
    from scipy import special

    size = -np.abs(statistic)
    tail = special.ndtr(size) if df is None else special.stdtr(df, size)
    return np.asarray(2 * tail, dtype=np.float64)


def check_level(level: float) -> None:
    """Refuse what is no coverage, such as 95."""
    if not isinstance(level, Real) or not 0 < level < 1:
        raise ValueError(f"level is {level!r}, but a coverage lies between 0 and 1, such as 0.95")
