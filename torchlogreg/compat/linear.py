"""compat.LinearRegression: scikit-learn's class of that name, solved by our exact least squares."""

from __future__ import annotations

from numbers import Integral, Real
from typing import Any, ClassVar, Self

import numpy as np
from scipy import optimize, sparse
from sklearn.base import BaseEstimator, MultiOutputMixin, RegressorMixin
from sklearn.metrics import r2_score
from sklearn.utils._param_validation import Interval
from sklearn.utils.extmath import safe_sparse_dot
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from torchlogreg.compat.least_squares import Array, Centred, exact, independent
from torchlogreg.compat.tensors import as_array

SPARSE = ["csr", "csc", "coo"]


class LinearRegression(MultiOutputMixin, RegressorMixin, BaseEstimator):  # type: ignore[misc]
    """Least squares with the constructor of scikit-learn 1.9.

    Where the columns are independent, by scikit-learn's measure, the answer is the exact solution
    of the rows, rounded: see :class:`torchlogreg.optim.LeastSquares`. Where they are not it is
    scikit-learn's: the shortest ``coef_`` on centred columns, the intercept not counted.

    Parameters
    ----------
    fit_intercept : bool
    copy_X : bool
        False allows dense ``X`` to be centred in place.
    tol : float
        Columns are independent if their smallest singular value, centred and weighted, is more
        than this share of the largest; 0 calls all of them so. Without effect on sparse ``X``.
    n_jobs : int, optional
        Without effect.
    positive : bool
        Coefficients from 0 on, by ``scipy.optimize.nnls``; dense ``X`` only.

    Attributes
    ----------
    coef_ : ndarray, shape (p,), or (m, p) for ``y`` of shape (n, m)
    intercept_ : float, or ndarray of shape (m,)
    rank_ : int
        Of centred columns; dense ``X`` only, as ``singular_``.
    singular_ : ndarray, shape (min(n, p),)
    n_features_in_ : int
    feature_names_in_ : ndarray, shape (p,)
        If ``X`` has column names, all of them text.

    Examples
    --------
    >>> from torchlogreg.compat import LinearRegression
    >>> LinearRegression().fit([[0.0], [1.0], [2.0]], [1.0, 3.0, 5.0]).coef_
    array([2.])
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "fit_intercept": ["boolean"],
        "copy_X": ["boolean"],
        "n_jobs": [None, Integral],
        "positive": ["boolean"],
        "tol": [Interval(Real, 0, None, closed="left")],
    }

    coef_: Any
    intercept_: Any
    rank_: int
    singular_: Any
    n_features_in_: int

    def __init__(
        self,
        *,
        fit_intercept: bool = True,
        copy_X: bool = True,
        tol: float = 1e-6,
        n_jobs: int | None = None,
        positive: bool = False,
    ) -> None:
        self.fit_intercept = fit_intercept
        self.copy_X = copy_X
        self.tol = tol
        self.n_jobs = n_jobs
        self.positive = positive

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Solve for rows ``X`` (n, p), dense or sparse, and ``y`` (n,) or (n, m).

        Raises
        ------
        ValueError, TypeError
            For arguments or data that cannot be fitted, in scikit-learn's words.
        """
        self._validate_params()
        X, y = validate_data(
            self,
            as_array(X),
            as_array(y),
            accept_sparse=False if self.positive else SPARSE,
            dtype=[np.float64, np.float32],
            y_numeric=True,
            multi_output=True,
            force_writeable=not self.copy_X,
        )
        if sample_weight is not None:
            sample_weight = _check_sample_weight(
                as_array(sample_weight), X, dtype=np.float64, ensure_non_negative=True
            )
        targets = y.reshape(len(y), -1).astype(np.float64)
        for name in ("rank_", "singular_"):
            self.__dict__.pop(name, None)
        solve = self._sparse if sparse.issparse(X) else self._dense
        coef, intercept = solve(X, targets, sample_weight)
        single = y.ndim == 1
        self.coef_ = (coef[0] if single else coef).astype(X.dtype)
        self.intercept_ = (intercept[0] if single else intercept).astype(X.dtype)
        if not self.fit_intercept:
            self.intercept_ = 0.0
        return self

    def predict(self, X: Any) -> Any:
        """Expected values, shape (n,) or (n, m)."""
        check_is_fitted(self)
        X = validate_data(self, as_array(X), accept_sparse=SPARSE, reset=False)
        return safe_sparse_dot(X, self.coef_.T, dense_output=True) + self.intercept_

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Coefficient of determination, averaged over targets."""
        counts = as_array(sample_weight)
        return float(r2_score(as_array(y), self.predict(X), sample_weight=counts))

    def _dense(self, X: Array, y: Array, weight: Array | None) -> tuple[Array, Array]:
        """Coefficients (m, p) and intercepts (m,); sets rank and singular values."""
        intercept = self.fit_intercept
        near = Centred.of(X, y, weight, intercept=intercept, copy=self.copy_X)
        if self.positive:
            coef = np.stack([optimize.nnls(near.X, target)[0] for target in near.y.T])
            return coef, near.intercepts(coef)
        self.rank_, self.singular_ = near.rank(self.tol)
        if self.rank_ < X.shape[1]:
            coef = near.shortest(self.tol)
        elif near.X is X:  # of the raw rows there are none left
            coef, _ = exact(near.X, near.y, None, intercept=False)
        else:
            return exact(X.astype(np.float64, copy=False), y, weight, intercept=intercept)
        return coef, near.intercepts(coef)

    def _sparse(self, X: Any, y: Array, weight: Array | None) -> tuple[Array, Array]:
        """The same, by Newton's one step, or without a matrix of the columns."""
        X = X.tocsr().astype(np.float64, copy=False)
        near = Centred.of(X, y, weight, intercept=self.fit_intercept, copy=True)
        if independent(X, weight, near):
            return exact(X, y, weight, intercept=self.fit_intercept)
        coef = near.shortest(self.tol)
        return coef, near.intercepts(coef)

    def __sklearn_tags__(self) -> Any:
        """Sparse rows are taken unless coefficients must not be negative."""
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = not self.positive
        return tags
