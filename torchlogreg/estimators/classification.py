"""What the two classifiers share: labels in, labels and probabilities out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Self

from sklearn.base import ClassifierMixin
from torch import Tensor

from torchlogreg.estimators.base import Estimator
from torchlogreg.estimators.labels import (
    all_classes,
    check_labels,
    check_present,
    class_weighting,
    codes_of,
    encode,
)
from torchlogreg.estimators.output import accuracy, labels_at, like, to_numpy


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

    def partial_fit(
        self,
        X: Any,
        y: Any,
        classes: Any = None,
        sample_weight: Any = None,
        *,
        offset: Any = None,
    ) -> Self:
        """Go on training with one pass over a chunk of rows, in batches of ``batch_size`` or 32.

        The optimizer keeps what it remembers between chunks; none named, it is Adam with steps
        that shorten. Shuffled rows in chunks of a thousand or more end near the optimum, not at
        it: ``fit`` does that.

        Parameters
        ----------
        X : array, frame or Tensor, shape (n, p)
        y : array, series or Tensor, shape (n,)
        classes : array, shape (K,)
            All labels that will ever come; for ordered classes in their order. Needed the first
            time only.
        sample_weight : array, shape (n,), optional
            Relative to the other rows of the chunk.
        offset : array, shape (n,) or (n, r), optional
        """
        check_present(y)
        known = self.classes_ if hasattr(self, "classes_") else None
        found = all_classes(known, classes, self._order(y) or self._own_levels(classes))
        rows, labels = self._check(X, y, reset=known is None)
        check_labels(labels)
        if isinstance(self.class_weight, str):
            raise ValueError(
                f"class_weight={self.class_weight!r} depends on all rows, and partial_fit sees "
                "some; pass a dict of label to weight"
            )
        weighting, codes = class_weighting(self.class_weight, found), codes_of(labels, found)
        self.classes_ = found
        return self._train_on_chunk(X, rows, codes, sample_weight, offset, weighting)

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
        return accuracy(y, self.predict(X, offset=offset), sample_weight)

    def _order(self, y: Any) -> list[Any] | None:
        """All labels in an order of their own, or None for sorted."""
        return None

    def _own_levels(self, classes: Any) -> list[Any] | None:
        """The order in which the ``classes`` of partial_fit were passed, if it is to be kept."""
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
