"""LogisticClassifier: binary and multinomial logistic regression in scikit-learn's protocol."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from torchlogreg.base import Model
from torchlogreg.combinators import Rule
from torchlogreg.estimators.classification import Classifier
from torchlogreg.models import LogisticRegression, SoftmaxRegression
from torchlogreg.optim import AUTO
from torchlogreg.penalties import Penalty
from torchlogreg.state import Hook
from torchlogreg.weighting import Weighting


class LogisticClassifier(Classifier):
    """Logistic regression: binary for two classes, multinomial (softmax) for more; no penalty.

    Parameters
    ----------
    penalty, alpha, l1_ratio, optimizer, weighting, hooks, fit_intercept, max_epochs, tol, \
batch_size, device, dtype, warm_start, random_state
        See :class:`torchlogreg.estimators.base.Estimator`. ``alpha`` is ``1 / (C n)`` of
        scikit-learn's ``LogisticRegression`` (with weights, their sum in place of ``n``).
    reference : bool
        With three classes or more, fix the coefficients of the first class at zero, as
        statsmodels, nnet and Stata do: ``coef_`` then has a row for each of the others.
    class_weight : mapping of label to float, "balanced" or None
        Factors that multiply ``sample_weight``.

    Attributes
    ----------
    classes_ : ndarray, shape (K,)
        Labels, sorted.
    coef_ : ndarray, shape (1, p), (K, p) or with a reference (K - 1, p)
        For two classes the log-odds of the second.
    intercept_ : ndarray, shape (1,), (K,) or (K - 1,)
    model_ : LogisticRegression or SoftmaxRegression
        The module behind it, on raw columns.
    result_ : FitResult
    history_ : History
    diagnosis_ : Diagnosis
    n_iter_ : int
        Epochs.
    n_features_in_ : int
    feature_names_in_ : ndarray, shape (p,)
        If ``X`` has column names, all of them text.

    Examples
    --------
    >>> from torchlogreg.estimators import LogisticClassifier
    >>> X, y = [[0.0], [1.0], [2.0], [3.0]], ["no", "yes", "no", "yes"]
    >>> LogisticClassifier().fit(X, y).predict_proba([[1.5]]).round(9)
    array([[0.5, 0.5]])
    """

    def __init__(
        self,
        *,
        penalty: str | Penalty | None = None,
        alpha: float | None = None,
        l1_ratio: float = 0.5,
        optimizer: str | Callable[..., Any] | None = AUTO,
        weighting: str | Weighting | Rule | None = None,
        class_weight: Mapping[Any, float] | str | None = None,
        reference: bool = False,
        hooks: str | Iterable[str | Hook] = (),
        fit_intercept: bool = True,
        max_epochs: int = 1000,
        tol: float = 1e-6,
        batch_size: int | None = None,
        device: str | torch.device | None = None,
        dtype: str | torch.dtype | None = None,
        warm_start: bool = False,
        random_state: Any = None,
    ) -> None:
        super().__init__(
            penalty=penalty,
            alpha=alpha,
            l1_ratio=l1_ratio,
            optimizer=optimizer,
            weighting=weighting,
            hooks=hooks,
            fit_intercept=fit_intercept,
            max_epochs=max_epochs,
            tol=tol,
            batch_size=batch_size,
            device=device,
            dtype=dtype,
            warm_start=warm_start,
            random_state=random_state,
        )
        self.class_weight = class_weight
        self.reference = reference

    def _new_model(self, n_features: int, device: torch.device, dtype: torch.dtype) -> Model:
        bias, n_classes = self.fit_intercept, len(self.classes_)
        if n_classes == 2:
            return LogisticRegression(n_features, bias, device, dtype)
        return SoftmaxRegression(n_features, n_classes, self.reference, bias, device, dtype)

    def _coefficients(self, model: Model) -> dict[str, Tensor]:
        bias = model.weight.new_zeros(len(model.weight)) if model.bias is None else model.bias
        return {"coef_": model.weight, "intercept_": bias}

    def _decision(self, eta: Tensor) -> Tensor:
        return eta.squeeze(1)

    def _log_probabilities(self, eta: Tensor) -> Tensor:
        if eta.shape[1] > 1:
            return F.log_softmax(eta, dim=1)
        return F.logsigmoid(torch.cat((-eta, eta), dim=1))
