"""Predictions of linear classifiers with the methods of scikit-learn's."""

from __future__ import annotations

from copy import copy
from typing import Any

import numpy as np
from scipy.special import expit, log_expit, log_softmax, softmax
from sklearn.linear_model._base import LinearClassifierMixin
from sklearn.metrics import accuracy_score
from torch import Tensor

from torchlogreg.compat.tensors import as_array, like


class Predicts(LinearClassifierMixin):  # type: ignore[misc]  # scikit-learn has no types
    """What follows from ``coef_``, ``intercept_`` and ``classes_``; arrays, or tensors for tensors
    where scikit-learn's array API dispatch is enabled.
    """

    classes_: Any
    coef_: Any
    intercept_: Any

    def decision_function(self, X: Any) -> Any:
        """Scores (n, K) whose largest is the predicted class; for two classes one, (n,)."""
        return like(X, self._scores(X))

    def predict(self, X: Any) -> Any:
        """Most probable label of every row, shape (n,)."""
        scores = self._scores(X)
        index = (scores > 0).astype(int) if scores.ndim == 1 else scores.argmax(axis=1)
        return like(X, as_array(self.classes_)[index])

    def predict_proba(self, X: Any) -> Any:
        """Probability of every class, shape (n, K), in the order of ``classes_``."""
        scores = self._scores(X)
        if scores.ndim == 1:
            return like(X, np.stack([expit(-scores), expit(scores)], axis=1))
        return like(X, softmax(scores, axis=1))

    def predict_log_proba(self, X: Any) -> Any:
        """Logarithms of the probabilities, shape (n, K); finite where a probability is 0."""
        scores = self._scores(X)
        if scores.ndim == 1:
            return like(X, log_expit(np.stack([-scores, scores], axis=1)))
        return like(X, log_softmax(scores, axis=1))

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Share of rows whose label is predicted."""
        predicted, counts = as_array(self.predict(X)), as_array(sample_weight)
        return float(accuracy_score(as_array(y), predicted, sample_weight=counts))

    def _scores(self, X: Any) -> Any:
        """``decision_function`` as an array, by arrays."""
        held = self
        if isinstance(getattr(self, "coef_", None), Tensor):
            held = copy(self)
            held.coef_, held.intercept_ = as_array(self.coef_), as_array(self.intercept_)
        return LinearClassifierMixin.decision_function(held, as_array(X))
