"""compat.LogisticRegression: scikit-learn's class of that name, fitted by our own ``fit``."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any, ClassVar, Self

import numpy as np
from scipy import sparse
from sklearn.base import BaseEstimator
from sklearn.linear_model._base import SparseCoefMixin
from sklearn.utils import compute_class_weight
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import _check_sample_weight, validate_data

from torchlogreg.base import Model
from torchlogreg.compat.arguments import CONSTRAINTS, strength_of
from torchlogreg.compat.prediction import Predicts
from torchlogreg.compat.solve import (
    Budget,
    Coefficients,
    Form,
    Problem,
    Solution,
    coefficients,
    solve,
)
from torchlogreg.compat.solvers import SOLVERS
from torchlogreg.compat.tensors import as_array, like
from torchlogreg.estimators.callbacks import CallbackSupportMixin, managed, watching
from torchlogreg.estimators.labels import sorted_classes
from torchlogreg.estimators.training import FitWarning

NARROW = ("liblinear", "sag", "saga")
"""Solvers for which scikit-learn takes sparse rows with 32-bit indices only."""


class LogisticRegression(
    CallbackSupportMixin,  # type: ignore[misc]
    Predicts,
    SparseCoefMixin,  # type: ignore[misc]
    BaseEstimator,  # type: ignore[misc]
):
    """Logistic regression with the constructor of scikit-learn 1.9.

    Binary for two classes, multinomial for more. The objective is
    ``C * sum(sample_weight * loss) + penalty``, the intercept without penalty.

    Parameters
    ----------
    penalty : {"l1", "l2", "elasticnet", None}
        Deprecated: give ``l1_ratio``, and ``C=np.inf`` for none.
    C : float
        Inverse strength of the penalty, ``> 0``: ``1 / (alpha * sum(sample_weight))``.
    l1_ratio : float
        Share of L1: 0 for ridge, 1 for lasso.
    dual : bool
        For "liblinear" only; the optimum, and so the answer, is the same.
    tol : float
        Largest entry of the gradient of the mean objective, per unit of standardised columns, that
        counts as converged; more than 1e-5 is taken for that, 0 asks for all digits that there are.
    fit_intercept : bool
    intercept_scaling : float
        For "liblinear", which penalises the intercept: as the weight of one more column, which
        holds this value everywhere.
    class_weight : mapping of label to float, "balanced" or None
    random_state : int, RandomState or None
        Without effect: nothing here is random.
    solver : {"lbfgs", "liblinear", "newton-cg", "newton-cholesky", "sag", "saga"}
        Which penalties are allowed is as in scikit-learn; which optimizer works is in
        :data:`torchlogreg.compat.solvers.SOLVERS`.
    max_iter : int
        Epochs; 0 leaves the start as it is.
    verbose : int
        Above 0: a progress bar on a terminal.
    warm_start : bool
        Start from ``coef_`` and ``intercept_``; not with "liblinear".
    n_jobs : int, optional
        Without effect, and deprecated.

    Attributes
    ----------
    classes_ : ndarray, shape (K,)
    coef_ : ndarray, shape (1, p) or (K, p)
        float32 for rows of float32, which are fitted in float64 all the same.
    intercept_ : ndarray, shape (1,) or (K,)
    n_iter_ : ndarray, shape (1,), int32
    n_features_in_ : int
    feature_names_in_ : ndarray, shape (p,)
        If ``X`` has column names, all of them text.

    Examples
    --------
    >>> from torchlogreg.compat import LogisticRegression
    >>> X, y = [[0.0], [1.0], [2.0], [3.0]], ["no", "yes", "no", "yes"]
    >>> LogisticRegression(C=10).fit(X, y).predict([[-1.0], [5.0]])
    array(['no', 'yes'], dtype='<U3')
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = CONSTRAINTS

    classes_: Any
    coef_: Any
    intercept_: Any
    n_iter_: Any
    n_features_in_: int

    def __init__(
        self,
        penalty: str | None = "deprecated",
        *,
        C: float = 1.0,
        l1_ratio: float | None = 0.0,
        dual: bool = False,
        tol: float = 1e-4,
        fit_intercept: bool = True,
        intercept_scaling: float = 1,
        class_weight: Mapping[Any, float] | str | None = None,
        random_state: Any = None,
        solver: str = "lbfgs",
        max_iter: int = 100,
        verbose: int = 0,
        warm_start: bool = False,
        n_jobs: int | None = None,
    ) -> None:
        self.penalty = penalty
        self.C = C
        self.l1_ratio = l1_ratio
        self.dual = dual
        self.tol = tol
        self.fit_intercept = fit_intercept
        self.intercept_scaling = intercept_scaling
        self.class_weight = class_weight
        self.random_state = random_state
        self.solver = solver
        self.max_iter = max_iter
        self.verbose = verbose
        self.warm_start = warm_start
        self.n_jobs = n_jobs

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Train on rows ``X`` (n, p), dense or sparse, with labels ``y`` (n,).

        Raises
        ------
        ValueError
            For arguments or data that cannot be fitted, in scikit-learn's words.

        Warns
        -----
        FitWarning
            A ``sklearn.exceptions.ConvergenceWarning``: ``max_iter`` was reached, or there is no
            optimum, and why.
        """
        self._validate_params()
        strength = strength_of(
            penalty=self.penalty,
            C=self.C,
            l1_ratio=self.l1_ratio,
            solver=self.solver,
            dual=self.dual,
        )
        if self.n_jobs is not None:
            text = f"'n_jobs' has no effect and is deprecated; you provided n_jobs={self.n_jobs}"
            warnings.warn(text, FutureWarning, stacklevel=2)
        given, X = X, as_array(X)
        X, y = validate_data(
            self,
            X,
            as_array(y),
            accept_sparse="csr",
            dtype=[np.float64, np.float32],
            accept_large_sparse=self.solver not in NARROW,
        )
        check_classification_targets(y)
        self.classes_, codes = sorted_classes(y)
        self._check_classes()
        weights = self._weights(X, y, codes, sample_weight)
        problem = Problem(X, codes, len(self.classes_), weights, strength, self._form())
        start = None if self.solver == "liblinear" else self._start(X.shape[1])
        done = self._solve(problem, y, start)
        self.n_iter_ = np.array([done.n_iter], dtype=np.int32)
        for name in ("coef_", "intercept_", "classes_"):
            setattr(self, name, like(given, getattr(self, name)))
        if done.failure:
            warnings.warn(self._told(done), stacklevel=2)
        return self

    def __sklearn_tags__(self) -> Any:
        """Sparse rows are taken; "liblinear" has two classes only."""
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        if self.solver == "liblinear":
            tags.classifier_tags.multi_class = False
        return tags

    @managed
    def _solve(self, problem: Problem, y: Any, start: Coefficients | None) -> Solution:
        """Minimise the objective of checked rows, and set the coefficients."""
        watch = watching(self, problem.X, y, {"sample_weight": problem.sample_weight})
        done = solve(problem, self._budget(), start, watch)
        for name, value in self._fitted(done.found, problem.X).items():
            setattr(self, name, value)
        return done

    def _told(self, done: Solution) -> FitWarning:
        """That it did not converge, in scikit-learn's words and ours."""
        words = SOLVERS[self.solver].failure.format(n=done.n_iter)
        return FitWarning(f"{words}: {done.failure.replace('max_epochs', 'max_iter')}")

    def _is_penalised(self) -> bool:
        return self.penalty is not None and self.C < np.inf

    def _form(self) -> Form:
        """How the intercept is fitted."""
        synthetic = self.solver == "liblinear" and self.fit_intercept
        return Form(
            bias=self.fit_intercept and not synthetic,
            synthetic=self.intercept_scaling if synthetic else None,
            penalised=self._is_penalised(),
        )

    def _fitted(self, found: Coefficients, X: Any) -> dict[str, Any]:
        """Attributes in the dtype of the rows."""
        dtype = np.float64 if self.solver == "liblinear" else X.dtype
        return {"coef_": found.coef.astype(dtype), "intercept_": found.intercept.astype(dtype)}

    def _published(self, model: Model, X: Any) -> dict[str, Any]:
        """The same of a model in training, for callbacks."""
        return self._fitted(coefficients(model, self._form()), X)

    def _check_classes(self) -> None:
        """Two at least, and for "liblinear" at most."""
        n_classes = len(self.classes_)
        if n_classes < 2:
            raise ValueError(
                "This solver needs samples of at least 2 classes in the data, but the data "
                f"contains only one class: {self.classes_[0]!r}"
            )
        if self.solver == "liblinear" and n_classes > 2:
            raise ValueError(
                "Only binary classification is supported. The 'liblinear' solver does not support "
                "multiclass classification (n_classes >= 3): use another, or OneVsRestClassifier"
            )

    def _weights(self, X: Any, y: Any, codes: Any, sample_weight: Any) -> Any:
        """Sample weights (n,) times the factors of the classes, or None for all one."""
        if sample_weight is None and self.class_weight is None:
            return None
        sample_weight = as_array(sample_weight)
        weights = _check_sample_weight(sample_weight, X, dtype=np.float64, ensure_non_negative=True)
        if self.class_weight is None:
            return weights
        factors = compute_class_weight(
            self.class_weight, classes=self.classes_, y=y, sample_weight=weights
        )
        return weights * factors[codes]

    def _budget(self) -> Budget:
        """Optimizer, iterations, tolerance."""
        names = getattr(self, "feature_names_in_", None)
        return Budget(
            optimizer=SOLVERS[self.solver].optimizer,
            max_iter=self.max_iter,
            tol=self.tol,
            progress=bool(self.verbose),
            feature_names=None if names is None else list(names),
        )

    def _start(self, n_features: int) -> Coefficients | None:
        """Where a warm start begins: the coefficients, which their owner may have changed."""
        if not self.warm_start or not hasattr(self, "coef_"):
            return None
        coef = as_array(self.coef_)
        coef = coef.toarray() if sparse.issparse(coef) else np.asarray(coef)
        n_scores = len(self.classes_) if len(self.classes_) > 2 else 1
        if coef.shape != (n_scores, n_features):
            raise ValueError(
                f"Initialization coef is of shape {coef.shape}, expected shape "
                f"{(n_scores, n_features)}"
            )
        return Coefficients(coef.astype(np.float64), as_array(self.intercept_).astype(np.float64))
