"""What the two classifiers share: labels in, labels and probabilities out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Self

from sklearn.base import ClassifierMixin
from sklearn.metrics import accuracy_score
from torch import Tensor

from torchlogreg.estimators.base import Estimator
from torchlogreg.estimators.labels import (
    check_labels,
    check_present,
    class_weighting,
    codes_of,
    encode,
)
from torchlogreg.estimators.output import labels_at, like, to_numpy


class Classifier(ClassifierMixin, Estimator, ABC):  # type: ignore[misc]
    """Adapter for models of classes; ``classes_`` are the labels in the order of the model."""

    classes_: Any
    class_weight: Any

    def fit(self, X: Any, y: Any, sample_weight: Any = None, *, offset: Any = None) -> Self:
        """Train on rows ``X`` (n, p) with labels ``y`` (n,).

        Parameters
        ----------
        X : array, frame or Tensor, shape (n, p)
        y : array, series or Tensor, shape (n,)
            Labels of any type that can be sorted.
        sample_weight : array, shape (n,), optional
        offset : array, shape (n,) or (n, r), optional
            Known part of the scores.
        """
        check_present(y)
        levels = self._order(y)
        rows, labels = self._check(X, y)
        check_labels(labels)
        self.classes_, codes = encode(labels, levels)
        if len(self.classes_) < 2:
            raise ValueError(
                f"y has one class, {self.classes_.tolist()[0]!r}, in all {len(rows)} rows; at "
                "least two classes are needed to tell them apart"
            )
        weighting = class_weighting(self.class_weight, self.classes_)
        return self._train(X, rows, y, codes, sample_weight, offset, weighting)

    def decision_function(self, X: Any, *, offset: Any = None) -> Any:
        """Scores whose largest is the predicted class, (n, K); for two classes one, > 0 if the
        second is predicted, (n,).
        """
        return like(X, self._decision(self._eta(X, offset)))

    def predict(self, X: Any, *, offset: Any = None) -> Any:
        """Most probable label of every row, shape (n,); of two equals the first."""
        decision = self._decision(self._eta(X, offset))
        index = (decision > 0).long() if decision.ndim == 1 else decision.argmax(dim=1)
        return labels_at(self.classes_, index, X)

    def predict_proba(self, X: Any, *, offset: Any = None) -> Any:
        """Probability of every class, shape (n, K), in the order of ``classes_``."""
        return like(X, self._log_probabilities(self._eta(X, offset)).exp())

    def predict_log_proba(self, X: Any, *, offset: Any = None) -> Any:
        """Logarithms of the probabilities, shape (n, K); finite where a probability is 0."""
        return like(X, self._log_probabilities(self._eta(X, offset)))

    def score(self, X: Any, y: Any, sample_weight: Any = None, *, offset: Any = None) -> float:
        """Share of rows whose label is predicted."""
        predicted = to_numpy(self.predict(X, offset=offset))
        weight = None if sample_weight is None else to_numpy(sample_weight)
        return float(accuracy_score(to_numpy(y), predicted, sample_weight=weight))

    def _order(self, y: Any) -> list[Any] | None:
        """All labels in an order of their own, or None for sorted."""
        return None

    @abstractmethod
    def _decision(self, eta: Tensor) -> Tensor:
        """``decision_function`` of linear predictors."""

    @abstractmethod
    def _log_probabilities(self, eta: Tensor) -> Tensor:
        """(n, K)."""

    def _codes(self, y: Any) -> Tensor:
        y = y if isinstance(y, Tensor) else to_numpy(y)
        return codes_of(y.reshape(-1), self.classes_)
