"""Why a fit did not converge, and which column did it: separation of binary classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from torchlogreg.inputs import as_matrix, as_tensor
from torchlogreg.scaling import Standardizer
from torchlogreg.targets import probability_target

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Separation:
    """Whether a direction tells the classes apart, and which.

    Attributes
    ----------
    kind : {"none", "quasi", "complete"}
        "complete": every row lies strictly on its side of a plane. "quasi": no row lies on the
        wrong side, and some, not all, lie strictly on theirs. In both cases the likelihood rises
        for ever along the direction and has no maximum. "none": the maximum exists.
    direction : ndarray, shape (p,)
        Along the raw columns: ``X @ direction + intercept`` is >= 0 for class 1 and <= 0 for
        class 0 (up to rounding). Zero if there is none; only its sign and proportions count.
    intercept : float
        Zero with ``bias=False``.
    columns : tuple of int
        Columns with a part in the direction, which is chosen to have few.
    n_certain : int
        Rows strictly on their side: their fitted probability goes to 0 or 1.
    n_rows : int
    """

    kind: Literal["none", "quasi", "complete"]
    direction: Floats
    intercept: float
    columns: tuple[int, ...]
    n_certain: int
    n_rows: int

    def describe(self, feature_names: Sequence[str] | None = None) -> str:
        """One line: what was found, which columns do it, and what to do.

        Parameters
        ----------
        feature_names : sequence of str, length p, optional
            Default: the numbers of the columns.
        """
        if self.kind == "none":
            return "the classes overlap: the maximum-likelihood estimate exists"
        if feature_names is None:
            names = [f"column {j}" for j in self.columns]
        else:
            names = [repr(feature_names[j]) for j in self.columns]
        by = " and ".join(filter(None, (", ".join(names[:10]), _others(len(names) - 10))))
        how = "completely" if self.kind == "complete" else "quasi-completely"
        return (
            f"the classes are {how} separated by {by or 'the intercept alone'}: "
            f"{self.n_certain} of {self.n_rows} rows can be predicted with certainty and no finite "
            "maximum-likelihood estimate exists; add a penalty such as L2, or change the columns"
        )

    def __str__(self) -> str:
        """The description, with columns by number."""
        return self.describe()


def separation(X: Any, y: Any, *, bias: bool = True) -> Separation:
    """Decide by linear programming whether two classes can be separated.

    With ``z_i = +-(1, x_i)``, the sign that of the class:

    1. Centre (with an intercept) and scale the columns.
    2. Maximise ``sum_i s_i`` subject to ``z_i . b >= s_i`` and ``0 <= s_i <= 1``. As directions may
       be added and stretched, ``s_i`` is 1 at the maximum for every row that any of them separates
       strictly, and 0 for the rest: the maximum counts them. None means overlap, all means
       complete separation.
    3. Of the directions that do so, take the one with the smallest ``sum_j abs(b_j)``: it uses few
       columns, which are the ones to look at.
    4. Fold the scaling back.

    Parameters
    ----------
    X : Tensor, array or frame, shape (n, p)
    y : Tensor, array or series, shape (n,)
        Labels 0 and 1.
    bias : bool
        Whether the model has an intercept: with one, more sets are separable.

    Returns
    -------
    Separation

    Raises
    ------
    ValueError
        If X or y cannot be data of a binary model, or y is soft.
    RuntimeError
        If the linear program cannot be solved.

    Notes
    -----
    Exact up to the tolerance of the solver: overlaps below 1e-7 of a column's range are not seen.

    References
    ----------
    Albert and Anderson, On the existence of maximum likelihood estimates in logistic regression
    models, Biometrika 71 (1984). Konis, Linear programming algorithms for detecting separated data
    in binary logistic regression models, thesis, Oxford (2007).
    """
    wide = torch.empty(0, dtype=torch.float64)
    rows = as_matrix(X, wide)
    side = _sides(y, len(rows))  # (n,), +-1
    mean = Standardizer.of(rows, centre=bias).mean  # 1
    centred = (rows - mean).numpy()
    scale = np.abs(centred).max(axis=0)
    scale[scale == 0] = 1.0
    Z = centred / scale * side[:, None]
    if bias:
        Z = np.column_stack((Z, side))
    certain = _certain_rows(Z)  # 2
    n_certain = int(certain.sum())
    n_features = rows.shape[1]
    if n_certain == 0:
        return Separation("none", np.zeros(n_features), 0.0, (), 0, len(Z))
    b = _shortest(Z, certain, n_features)  # 3
    columns = np.flatnonzero(np.abs(b[:n_features]) > 1e-6 * np.abs(b).max())
    direction = np.zeros(n_features)
    direction[columns] = b[columns] / scale[columns]  # 4
    intercept = float(b[-1] - direction @ mean.numpy()) if bias else 0.0
    kind: Literal["quasi", "complete"] = "complete" if n_certain == len(Z) else "quasi"
    return Separation(kind, direction, intercept, tuple(int(j) for j in columns), n_certain, len(Z))


def _sides(y: Any, n: int) -> Floats:
    """+1 for class 1, -1 for class 0."""
    y = as_tensor(y, "the target", torch.device("cpu")).detach()
    y = probability_target(y, torch.float64)
    if len(y) != n:
        raise ValueError(f"X has {n} rows, but the target has {len(y)}; they must match")
    soft = (y != 0) & (y != 1)
    if bool(soft.any()):
        row = int(soft.nonzero()[0])
        raise ValueError(
            f"row {row}: target {y[row].item():g} is soft, but separation is a question about "
            "labels 0 and 1; with soft targets the estimate is finite along that row"
        )
    sides: Floats = (2 * y - 1).numpy()
    return sides


def _certain_rows(Z: Floats) -> NDArray[np.bool_]:
    """Rows (n,) that some direction, wrong about none, puts strictly on their side."""
    from scipy import sparse

    n, m = Z.shape
    cost = np.concatenate((np.zeros(m), -np.ones(n)))
    constraints = sparse.hstack((sparse.csr_array(-Z), sparse.eye_array(n)), format="csr")
    bounds = np.array([(-np.inf, np.inf)] * m + [(0, 1)] * n)
    solution = _solve(cost, constraints, np.zeros(n), bounds)
    certain: NDArray[np.bool_] = solution[m:] > 0.5
    return certain


def _shortest(Z: Floats, certain: NDArray[np.bool_], n_features: int) -> Floats:
    """The direction (m,) of least absolute sum that puts the certain rows 1 or more away."""
    m = Z.shape[1]
    cost = np.zeros(2 * m)  # b is the difference of two non-negative halves
    cost[:n_features] = cost[m : m + n_features] = 1  # the intercept is free of charge
    bounds = np.array([(0, np.inf)] * (2 * m))
    halves = _solve(cost, np.hstack((-Z, Z)), -certain.astype(np.float64), bounds)
    return halves[:m] - halves[m:]


def _solve(cost: Floats, constraints: Any, limits: Floats, bounds: Floats) -> Floats:
    """The minimiser of ``cost . v`` subject to ``constraints v <= limits``."""
    from scipy.optimize import linprog

    result = linprog(cost, A_ub=constraints, b_ub=limits, bounds=bounds, method="highs")
    if result.status != 0:
        raise RuntimeError(
            f"the linear program of the separation test was not solved ({result.message}); scale "
            "the columns, or look at them one by one"
        )
    solution: Floats = result.x
    return solution


def _others(count: int) -> str:
    return f"{count} more" if count > 0 else ""
