"""compat.LogisticRegressionCV: scikit-learn's class of that name, on our paths of all folds."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar, Self

import numpy as np
import torch
from sklearn import get_config
from sklearn.metrics import get_scorer
from sklearn.model_selection import check_cv
from sklearn.utils import Bunch
from sklearn.utils.metadata_routing import (
    UNUSED,
    MetadataRouter,
    MethodMapping,
    process_routing,
)
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import validate_data

from torchlogreg.compat.arguments import Strength
from torchlogreg.compat.grid import (
    GRID_CONSTRAINTS,
    WARN,
    Grid,
    default_of_layout,
    default_of_scoring,
    grid_of,
)
from torchlogreg.compat.layout import (
    Searched,
    choice_of,
    chosen,
    new_layout,
    old_layout,
)
from torchlogreg.compat.logistic import NARROW, LogisticRegression
from torchlogreg.compat.scoring import HeldOut
from torchlogreg.compat.search import search
from torchlogreg.compat.solve import Coefficients, Problem
from torchlogreg.compat.tensors import as_array
from torchlogreg.estimators.labels import sorted_classes


class LogisticRegressionCV(LogisticRegression):
    """Logistic regression with ``C`` and ``l1_ratio`` chosen by cross-validation.

    The constructor is that of scikit-learn 1.9. A ridge runs on all folds as one program, see
    :class:`torchlogreg.estimators.LogisticClassifierCV`, which has fewer arguments and says more.

    Parameters
    ----------
    Cs : int or sequence of float
        Inverse strengths, or how many, from 1e-4 to 1e4.
    l1_ratios : sequence of float
        Shares of L1.
    cv : int, splitter or iterable, optional
        Default: five stratified folds.
    scoring : str or callable, optional
        Default: accuracy.
    n_jobs : int, optional
        Folds fitted at the same time, where they do not run as one program.
    refit : bool
        Fit all rows with what was chosen. False: the mean of the folds' coefficients, each at its
        own best.
    use_legacy_attributes : bool
        ``C_``, ``l1_ratio_``, ``coefs_paths_``, ``scores_`` and ``n_iter_`` by class and shared
        out, as they were; False: numbers, and arrays with the axes fold, share, ``C``.
    fit_intercept, dual, penalty, solver, tol, max_iter, class_weight, verbose, \
intercept_scaling, random_state
        As in :class:`torchlogreg.compat.LogisticRegression`; "balanced" by the classes of all rows.

    Attributes
    ----------
    classes_, coef_, intercept_, n_features_in_, feature_names_in_
        As in :class:`torchlogreg.compat.LogisticRegression`.
    Cs_ : ndarray, shape (A,)
    l1_ratios_ : ndarray, shape (L,)
    C_, l1_ratio_ : float, or ndarray
    coefs_paths_ : ndarray, shape (F, L, A, r, D), or dict
        ``r`` is 1 for two classes, else K; with an intercept ``D`` is p + 1 and it is last.
    scores_ : ndarray, shape (F, L, A), or dict
    n_iter_ : ndarray, shape (F, L, A), or with a leading 1 and the last two swapped

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from torchlogreg.compat import LogisticRegressionCV
    >>> X, y = load_iris(return_X_y=True)
    >>> LogisticRegressionCV(
    ...     Cs=[0.01, 1.0], l1_ratios=(0,), scoring="accuracy", use_legacy_attributes=False
    ... ).fit(X, y).C_
    1.0
    """

    __metadata_request__score: ClassVar[dict[str, Any]] = {"sample_weight": UNUSED}
    _parameter_constraints: ClassVar[dict[str, list[Any]]] = GRID_CONSTRAINTS

    def __init__(
        self,
        *,
        Cs: int | Sequence[float] = 10,
        l1_ratios: Any = WARN,
        fit_intercept: bool = True,
        cv: Any = None,
        dual: bool = False,
        penalty: str = "deprecated",
        scoring: Any = WARN,
        solver: str = "lbfgs",
        tol: float = 1e-4,
        max_iter: int = 100,
        class_weight: Mapping[Any, float] | str | None = None,
        n_jobs: int | None = None,
        verbose: int = 0,
        refit: bool = True,
        intercept_scaling: float = 1.0,
        random_state: Any = None,
        use_legacy_attributes: bool | str = WARN,
    ) -> None:
        self.Cs = Cs
        self.l1_ratios = l1_ratios
        self.fit_intercept = fit_intercept
        self.cv = cv
        self.dual = dual
        self.penalty = penalty
        self.scoring = scoring
        self.solver = solver
        self.tol = tol
        self.max_iter = max_iter
        self.class_weight = class_weight
        self.n_jobs = n_jobs
        self.verbose = verbose
        self.refit = refit
        self.intercept_scaling = intercept_scaling
        self.random_state = random_state
        self.use_legacy_attributes = use_legacy_attributes

    def fit(self, X: Any, y: Any, sample_weight: Any = None, **params: Any) -> Self:
        """Search the grid with rows ``X`` (n, p), dense or sparse, and labels ``y`` (n,).

        1. Resolve the arguments; check rows and labels.
        2. Fit every fold along the grid, and score the rows held out.
        3. Choose, and fit all rows, or average the folds.

        Parameters
        ----------
        X : array, frame or sparse matrix, shape (n, p)
        y : array, shape (n,)
        sample_weight : array, shape (n,), optional
        **params
            For splitter and scorer, where scikit-learn's metadata routing is enabled.

        Raises
        ------
        ValueError
            For arguments or data that cannot be fitted, in scikit-learn's words.
        """
        self._validate_params()  # 1
        self._refuse(params, "fit")
        grid = grid_of(
            Cs=self.Cs,
            l1_ratios=self.l1_ratios,
            penalty=self.penalty,
            solver=self.solver,
            dual=self.dual,
        )
        scoring = default_of_scoring(self.scoring)
        legacy = default_of_layout(self.use_legacy_attributes, type(self).__name__)
        X, y, codes = self._checked(X, y)
        routed = self._routed("fit", as_array(sample_weight), params)
        folds = list(check_cv(self.cv, y, classifier=True).split(X, y, **routed.splitter.split))
        problem = Problem(
            X,
            codes,
            len(self.classes_),
            self._weights(X, y, codes, sample_weight),
            Strength(1.0, 0.0),
            self._form(),
        )
        held_out = HeldOut(
            X, y, torch.from_numpy(codes), self.classes_, scoring, routed.scorer.score
        )
        searched = search(problem, grid, folds, self._budget(), held_out, self.n_jobs)  # 2
        self._conclude(problem, y, grid, searched, legacy=legacy)  # 3
        return self

    def score(self, X: Any, y: Any, sample_weight: Any = None, **score_params: Any) -> float:
        """What ``scoring`` gives for rows ``X`` (n, p) and labels ``y`` (n,).

        Parameters
        ----------
        X : array, frame or sparse matrix, shape (n, p)
        y : array, shape (n,)
        sample_weight : array, shape (n,), optional
        **score_params
            For the scorer, where scikit-learn's metadata routing is enabled.
        """
        self._refuse(score_params, "score")
        routed = self._routed("score", as_array(sample_weight), score_params)
        return float(self._get_scorer()(self, X, as_array(y), **routed.scorer.score))

    def get_metadata_routing(self) -> MetadataRouter:
        """Which of what is passed to ``fit`` and ``score`` goes to splitter and scorer."""
        splits = MethodMapping().add(caller="fit", callee="split")
        scores = MethodMapping().add(caller="score", callee="score")
        router = MetadataRouter(owner=self).add_self_request(self)
        router.add(splitter=self.cv, method_mapping=splits)
        router.add(
            scorer=self._get_scorer(), method_mapping=scores.add(caller="fit", callee="score")
        )
        return router

    def _get_scorer(self) -> Any:
        """scikit-learn's own name for it, which its tests call."""
        unnamed = self.scoring is None or (isinstance(self.scoring, str) and self.scoring == WARN)
        return get_scorer("accuracy" if unnamed else self.scoring)

    def _checked(self, X: Any, y: Any) -> tuple[Any, Any, Any]:
        """Rows, labels and their codes; sets ``classes_``."""
        X, y = validate_data(
            self,
            as_array(X),
            as_array(y),
            accept_sparse="csr",
            dtype=np.float64,
            accept_large_sparse=self.solver not in NARROW,
        )
        check_classification_targets(y)
        self.classes_, codes = sorted_classes(y)
        self._check_classes()
        if isinstance(self.class_weight, Mapping):
            if not self.class_weight.keys() <= set(self.classes_):
                raise ValueError(
                    "The given class_weight dict must have the class labels as keys; "
                    f"classes={self.classes_} but key={self.class_weight.keys()}"
                )
        return X, y, codes.astype(np.int64)

    def _refuse(self, params: dict[str, Any], method: str) -> None:
        """Metadata where nobody routes it."""
        if params and not get_config()["enable_metadata_routing"]:
            raise ValueError(
                f"Passing extra keyword arguments to {type(self).__name__}.{method} is only "
                "supported if enable_metadata_routing=True, which sklearn.set_config sets. Extra "
                f"parameters passed are: {set(params)}"
            )

    def _routed(self, method: str, sample_weight: Any, params: dict[str, Any]) -> Any:
        """What splitter and scorer are given."""
        if sample_weight is not None or method == "fit":
            params = params | {"sample_weight": sample_weight}
        if get_config()["enable_metadata_routing"]:
            return process_routing(self, method, **params)
        given = {name: value for name, value in params.items() if value is not None}
        return Bunch(splitter=Bunch(split={}), scorer=Bunch(score=given))

    def _conclude(
        self, problem: Problem, y: Any, grid: Grid, searched: Searched, *, legacy: bool
    ) -> None:
        """Choose; fit all rows or average the folds; set all attributes."""
        choice = choice_of(searched, refit=self.refit)
        C, share = chosen(grid, choice, refit=self.refit)
        self.Cs_ = grid.Cs
        self.l1_ratios_ = np.asarray([None] if grid.named is None else grid.named)
        found = searched.coefficients[:, choice.ratio, choice.C]
        layout = old_layout if legacy else new_layout
        for name, value in layout(grid, searched, C, share, self.classes_).items():
            setattr(self, name, value)
        folds = np.arange(len(found)) if not self.refit else 0
        mean = (found[:, 0] if self.refit else found[folds, folds]).mean(axis=0)
        near = Coefficients(*_split(mean, problem.X.shape[1]))
        if not self.refit:
            self.coef_, self.intercept_ = near
            return
        strength = Strength(C, float(grid.l1_ratios[choice.ratio[0]]))
        form = problem.form._replace(penalised=bool(np.isfinite(C)))
        start = None if self.solver == "liblinear" else near
        done = self._solve(replace(problem, strength=strength, form=form), y, start)
        if done.failure:
            warnings.warn(self._told(done), stacklevel=3)

    def _is_penalised(self) -> bool:
        return not hasattr(self, "C_") or bool(np.isfinite(self.C_).all())


def _split(c: Any, n_features: int) -> tuple[Any, Any]:
    """Coefficients (r, p) and intercepts (r,) of (r, p) or (r, p + 1)."""
    return c[:, :n_features], c[:, n_features] if c.shape[1] > n_features else np.zeros(len(c))
