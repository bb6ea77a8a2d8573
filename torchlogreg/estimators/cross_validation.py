"""LogisticClassifierCV: the strength of the penalty chosen by cross-validation."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self

import numpy as np
import torch
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.metrics import get_scorer
from sklearn.model_selection import check_cv
from sklearn.utils import _safe_indexing
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from torchlogreg.estimators.callbacks import CallbackSupportMixin, Tasks, managed
from torchlogreg.estimators.cross_validation_batched import Rows
from torchlogreg.estimators.cross_validation_folds import (
    checked_ratios,
    fold_shares,
    grid,
    known_scores,
    row_weights,
)
from torchlogreg.estimators.cross_validation_paths import (
    known_score,
    log_probabilities,
    model_with,
    paths,
    penalty_at,
)
from torchlogreg.estimators.delegation import Delegates
from torchlogreg.estimators.labels import check_labels, check_present, encode
from torchlogreg.estimators.logistic import LogisticClassifier
from torchlogreg.estimators.output import to_numpy
from torchlogreg.estimators.placement import dtype_of
from torchlogreg.optim import AUTO


class LogisticClassifierCV(
    Delegates,
    CallbackSupportMixin,  # type: ignore[misc]
    ClassifierMixin,  # type: ignore[misc]
    BaseEstimator,  # type: ignore[misc]
):
    """Logistic regression, binary or multinomial, whose penalty is chosen by cross-validation.

    Every fold is fitted along all alphas, from the largest down, each fit from where the one before
    ended; ridge paths run as one batched program over all folds, unless the rows are very many.

    Parameters
    ----------
    alphas : int or sequence of float
        Strengths, or how many: then from the one that leaves no column (for a ridge, a thousand
        times as much) down to a ten-thousandth of it, evenly in the logarithm. ``alpha`` is
        ``1 / (C n)`` of scikit-learn, with ``n`` the rows (the sum of weights) of the fit at hand,
        so a fold has the penalty that all rows will have.
    l1_ratios : sequence of float
        Shares of L1, in [0, 1]: (0,) is ridge, (1,) lasso.
    cv : int, splitter or iterable, optional
        As scikit-learn's. Default: five stratified folds.
    scoring : str or callable
        As scikit-learn's; greater is better. Weights count in it.
    rule : {"best", "one_se"}
        The alpha of the best mean score (of equals the largest), or the largest whose mean score is
        within one standard error of it (Breiman et al., 1984).
    refit : bool
        Fit all rows under the chosen penalty. False: the mean of the folds' coefficients, each at
        the best alpha of its own.
    optimizer, max_epochs, tol, fit_intercept, device, dtype
        See :class:`torchlogreg.estimators.base.Estimator`. A named optimizer fits fold by fold.
    class_weight : mapping of label to float, "balanced" or None
        Factors that multiply ``sample_weight``; "balanced" by the classes of each fold.
    n_jobs : int, optional
        Folds fitted at the same time, as joblib counts them, where they are fitted one by one.

    Attributes
    ----------
    alpha_, l1_ratio_ : float
        Chosen.
    alphas_ : ndarray, shape (A,)
        Decreasing.
    l1_ratios_ : ndarray, shape (L,)
    scores_ : ndarray, shape (n_folds, L, A)
        On the rows held out.
    coefs_paths_ : ndarray, shape (n_folds, L, A, r, p + 1)
        ``r`` is 1 for two classes, else K; the intercept is last.
    path_ : ndarray, shape (L, A, r, p + 1)
        The same on all rows.
    best_estimator_ : LogisticClassifier
        Fitted; what predicts.
    classes_, coef_, intercept_, model_, n_features_in_, feature_names_in_
        Its own; with ``refit`` also ``result_``, ``history_``, ``diagnosis_`` and ``n_iter_``.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from torchlogreg.estimators import LogisticClassifierCV
    >>> X, y = load_iris(return_X_y=True)
    >>> LogisticClassifierCV(alphas=[1.0, 0.01]).fit(X, y).alpha_
    0.01
    """

    def __init__(
        self,
        *,
        alphas: int | Sequence[float] = 20,
        l1_ratios: Sequence[float] = (0.0,),
        cv: Any = None,
        scoring: str | Callable[..., float] = "neg_log_loss",
        rule: str = "best",
        refit: bool = True,
        optimizer: str | Callable[..., Any] | None = AUTO,
        class_weight: Mapping[Any, float] | str | None = None,
        fit_intercept: bool = True,
        max_epochs: int = 1000,
        tol: float = 1e-6,
        device: str | torch.device | None = None,
        dtype: str | torch.dtype | None = None,
        n_jobs: int | None = None,
    ) -> None:
        self.alphas = alphas
        self.l1_ratios = l1_ratios
        self.cv = cv
        self.scoring = scoring
        self.rule = rule
        self.refit = refit
        self.optimizer = optimizer
        self.class_weight = class_weight
        self.fit_intercept = fit_intercept
        self.max_epochs = max_epochs
        self.tol = tol
        self.device = device
        self.dtype = dtype
        self.n_jobs = n_jobs

    @managed
    def fit(self, X: Any, y: Any, sample_weight: Any = None, *, offset: Any = None) -> Self:
        """Fit all folds along the path, choose, and fit all rows.

        1. Check; lay the grid; split.
        2. Paths of all folds, and of all rows, for every share of L1.
        3. Score the rows held out; choose.
        4. Refit, or average the folds.

        Parameters
        ----------
        X : array, frame, sparse matrix or Tensor, shape (n, p)
        y : array, series or Tensor, shape (n,)
        sample_weight : array, shape (n,), optional
        offset : array, shape (n,) or (n, r), optional
            Known part of the scores.
        """
        if self.rule not in ("best", "one_se"):
            raise ValueError(f"rule is {self.rule!r}, but it is 'best' or 'one_se'")
        estimator = self._estimator(None)  # 1
        rows, labels, codes = self._checked(estimator, X, y)
        classes = estimator.classes_
        weight = row_weights(sample_weight, rows)
        host = to_numpy(codes)
        cv = check_cv(5 if self.cv is None else self.cv, host, classifier=True)
        splits = list(cv.split(np.zeros((len(host), 1)), host))
        shares = fold_shares(splits, codes, weight, classes, self.class_weight)
        data = Rows(
            rows, codes, len(classes), shares, known_scores(offset, rows), bool(self.fit_intercept)
        )
        self.l1_ratios_ = checked_ratios(self.l1_ratios)
        self.alphas_ = grid(self.alphas, self.l1_ratios_, data, dtype_of(self.dtype))
        metadata = {"sample_weight": sample_weight, "offset": offset}
        tasks = Tasks(self, X, y, metadata, len(self.l1_ratios_) + self.refit)
        found = torch.stack([self._paths(data, r, tasks) for r in self.l1_ratios_], dim=1)  # 2
        self.coefs_paths_, self.path_ = to_numpy(found[:-1]), to_numpy(found[-1])
        given = (X, labels, weight if sample_weight is not None else None)
        self.scores_ = np.stack(  # 3
            [
                self._score(estimator, data, test, c, given)
                for (_, test), c in zip(splits, found, strict=False)
            ]
        )
        best = self._choose()
        if self.refit:  # 4
            estimator = self._estimator(penalty_at(self.alpha_, self.l1_ratio_))
            with tasks.task("refit", estimator):
                estimator.fit(X, y, sample_weight, offset=offset)
        else:
            self._average(estimator, data, found[:, best], X, self.scores_[:, best])
        tasks.end()
        self._adopt(estimator)
        return self

    def _checked(self, estimator: LogisticClassifier, X: Any, y: Any) -> tuple[Tensor, Any, Tensor]:
        """Rows, labels and their codes; sets the classes of the estimator."""
        check_present(y)
        rows, labels = estimator._check(X, y)
        check_labels(labels)
        estimator.classes_, codes = encode(labels)
        if len(estimator.classes_) < 2:
            raise ValueError(
                f"y has one class, {estimator.classes_.tolist()[0]!r}, in all {len(rows)} rows; at "
                "least two classes are needed to tell them apart"
            )
        return rows, labels, codes

    def _estimator(self, penalty: Any) -> LogisticClassifier:
        """One that is not fitted, of the same settings."""
        return LogisticClassifier(
            penalty=penalty,
            optimizer=self.optimizer,
            class_weight=self.class_weight,
            fit_intercept=self.fit_intercept,
            max_epochs=self.max_epochs,
            tol=self.tol,
            device=self.device,
            dtype=self.dtype,
        )

    def _paths(self, data: Rows, l1_ratio: float, tasks: Tasks) -> Tensor:
        """(F + 1, A, r, p + 1)."""
        alphas = torch.from_numpy(self.alphas_.copy()).expand(len(data.shares), -1)
        with tasks.task("path"):
            return paths(
                data,
                alphas,
                l1_ratio,
                dtype=dtype_of(self.dtype),
                optimizer=self.optimizer,
                max_epochs=self.max_epochs,
                tol=self.tol,
                n_jobs=self.n_jobs,
            ).coefficients

    def _score(
        self,
        estimator: LogisticClassifier,
        data: Rows,
        test: np.ndarray,
        coefficients: Tensor,
        given: tuple[Any, Any, Tensor | None],
    ) -> np.ndarray:
        """Of one fold's models (L, A, r, p + 1) on its other rows, (L, A)."""
        X, labels, weight = given
        L, A = coefficients.shape[:2]
        flat = coefficients.flatten(0, 1)
        index = torch.as_tensor(test, device=data.codes.device)
        count = torch.ones_like(data.shares[0]) if weight is None else weight
        offset = None if data.offset is None else data.offset[index]
        if self.scoring in ("neg_log_loss", "accuracy"):
            logs = log_probabilities(data.X[index], flat, offset)
            scores = known_score(self.scoring, logs, data.codes[index], count[index])
            return np.asarray(scores).reshape(L, A)
        scorer = get_scorer(self.scoring)
        rows = to_numpy(X)[test] if isinstance(X, Tensor) else _safe_indexing(X, test)
        y = to_numpy(labels)[test]
        extra = {} if weight is None else {"sample_weight": to_numpy(weight)[test]}
        found = []
        for c in flat:
            estimator.model_ = model_with(data, c)
            found.append(scorer(estimator, rows, y, **extra))
        return np.array(found, dtype=np.float64).reshape(L, A)

    def _choose(self) -> int:
        """Set alpha, of equals the larger, and the share of L1, whose place this returns."""
        mean = self.scores_.mean(axis=0)
        ratio, place = divmod(int(mean.argmax()), mean.shape[1])
        if self.rule == "one_se" and len(self.scores_) > 1:
            error = self.scores_[:, ratio, place].std(ddof=1) / len(self.scores_) ** 0.5
            place = int(np.argmax(mean[ratio] >= mean[ratio, place] - error))
        self.alpha_, self.l1_ratio_ = float(self.alphas_[place]), float(self.l1_ratios_[ratio])
        return int(ratio)

    def _average(
        self, estimator: LogisticClassifier, data: Rows, found: Tensor, X: Any, scores: np.ndarray
    ) -> None:
        """Make it the mean of the folds' models (F + 1, A, r, p + 1), each at its own best."""
        own = scores.argmax(axis=1)
        mean = torch.stack([found[f, a] for f, a in enumerate(own)]).mean(0)
        self.alpha_ = float(self.alphas_[own].mean())
        for name, value in estimator._published(model_with(data, mean), X).items():
            setattr(estimator, name, value)
        check_is_fitted(estimator)
