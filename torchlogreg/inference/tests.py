"""Tail probabilities, and Wald tests of linear restrictions.

scipy is imported when a probability is asked for: it comes with scikit-learn.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Restriction = Mapping[str, float]


@dataclass(frozen=True, slots=True)
class WaldTest:
    """A test that some linear combinations of parameters have given values.

    Attributes
    ----------
    statistic : float
        F for linear regression, chi-squared for the others.
    pvalue : float
    df_num : int
        Number of restrictions.
    df_denom : float or None
        Residual degrees of freedom of an F test.
    """

    statistic: float
    pvalue: float
    df_num: int
    df_denom: float | None

    def __str__(self) -> str:
        """One line."""
        if self.df_denom is None:
            return f"chi2({self.df_num}) = {self.statistic:.6g}, p = {self.pvalue:.4g}"
        return f"F({self.df_num}, {self.df_denom:g}) = {self.statistic:.6g}, p = {self.pvalue:.4g}"


def chi2_tail(statistic: float, df: float) -> float:
    """P(chi-squared > statistic); NaN without degrees of freedom."""
    from scipy import special

    return float(special.chdtrc(df, max(statistic, 0.0))) if df > 0 else math.nan


def f_tail(statistic: float, df_num: float, df_denom: float) -> float:
    """P(F > statistic); NaN without degrees of freedom."""
    from scipy import special

    if df_num <= 0 or math.isnan(statistic):
        return math.nan
    if math.isinf(statistic):
        return 0.0
    # fdtrc(a, b, x) loses nothing: the tail is an incomplete beta function of its complement.
    return float(
        special.betainc(df_denom / 2, df_num / 2, df_denom / (df_denom + df_num * statistic))
    )


def restriction_matrix(restrictions: Any, names: Sequence[str]) -> Floats:
    """Coefficients (q, P) of restrictions.

    Parameters
    ----------
    restrictions : array (q, P) or (P,), mapping from names to coefficients, or sequence of those
    names : sequence of str, length P

    Raises
    ------
    ValueError
        If a name is unknown, the shape is wrong, or an entry is not a finite number.
    """
    if hasattr(restrictions, "iloc"):  # pandas: by name; numpy would read a frame's names as rows
        restrictions = restrictions.to_dict(*(["records"] if restrictions.ndim == 2 else []))
    rows = [restrictions] if isinstance(restrictions, Mapping | str) else restrictions
    if isinstance(rows, Sequence) and any(isinstance(row, Mapping | str) for row in rows):
        matrix = np.array([_filled(row, names) for row in rows])
    else:
        matrix = np.atleast_2d(_numbers(rows, "restrictions"))
    if matrix.ndim != 2 or matrix.shape[1] != len(names) or not matrix.size:
        raise ValueError(
            f"restrictions has shape {matrix.shape}, but one coefficient for each of the "
            f"{len(names)} parameters is needed"
        )
    if not np.isfinite(matrix).all():
        raise ValueError("restrictions has entries that are not finite numbers")
    return matrix


def wald_test(
    params: Floats,
    covariance: Floats,
    matrix: Floats,
    values: Any,
    df: float | None,
) -> WaldTest:
    """Test ``matrix @ params = values``.

    Parameters
    ----------
    params : ndarray, shape (P,)
    covariance : ndarray, shape (P, P)
    matrix : ndarray, shape (q, P)
    values : float or array, shape (q,)
    df : float or None
        Degrees of freedom of an F test; None for chi-squared.

    Raises
    ------
    ValueError
        If restrictions repeat or contradict one another, or values do not fit.
    """
    wanted = _numbers(values, "values")
    if wanted.shape not in ((), (len(matrix),)) or not np.isfinite(wanted).all():
        raise ValueError(
            f"values is {values!r}, but a finite number for each of the {len(matrix)} restrictions "
            "is needed"
        )
    scale = np.sqrt(np.einsum("qp,pr,qr->q", matrix, covariance, matrix))
    if not (scale > 0).all():
        raise ValueError(
            f"restriction {int((scale <= 0).argmax())} has no standard error, so it cannot be "
            "tested; its coefficients are zero, or the fit is perfect"
        )
    unit = matrix / scale[:, None]
    spread = unit @ covariance @ unit.T  # correlations of the restrictions
    eigenvalues, vectors = np.linalg.eigh(spread)
    if eigenvalues[0] < 1e-12 * len(matrix):
        raise ValueError(
            f"the {len(matrix)} restrictions are linearly dependent; leave out those that follow "
            "from the others"
        )
    distance = vectors.T @ ((matrix @ params - wanted) / scale)
    statistic, q = float((distance**2 / eigenvalues).sum()), len(matrix)
    if df is None:
        return WaldTest(statistic, chi2_tail(statistic, q), q, None)
    return WaldTest(statistic / q, f_tail(statistic / q, q, df), q, df)


def _filled(restriction: Any, names: Sequence[str]) -> Floats:
    """Coefficients (P,) of one mapping."""
    if not isinstance(restriction, Mapping):
        raise ValueError(
            f"restrictions got {restriction!r}, but a matrix, or mappings from names to "
            "coefficients, are needed, such as {'x1': 1, 'x2': -1} for x1 = x2"
        )
    row = np.zeros(len(names))
    for name, coefficient in restriction.items():
        if name not in names:
            shown = ", ".join(names[:8]) + (", ..." if len(names) > 8 else "")
            raise ValueError(f"restrictions name {name!r}, but the parameters are {shown}")
        if list(names).count(name) > 1:
            raise ValueError(
                f"restrictions name {name!r}, but more than one parameter is called so; give a "
                "matrix, one coefficient for each parameter"
            )
        row[list(names).index(name)] = _numbers(coefficient, f"the coefficient of {name!r}")
    return row


def _numbers(values: Any, what: str) -> Floats:
    """An array of floats, or an error in words."""
    if hasattr(values, "detach"):
        values = values.detach().cpu()
    elif isinstance(values, list | tuple):
        values = [v.detach().cpu() if hasattr(v, "detach") else v for v in values]
    try:
        return np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError):
        text = repr(values)
        shown = text if len(text) < 60 else f"a {type(values).__name__}"
        raise ValueError(f"{what} got {shown}, which is no array of numbers") from None
