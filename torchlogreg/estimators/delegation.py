"""What an estimator leaves to another one inside it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sklearn.utils.validation import check_is_fitted

from torchlogreg.diagnostics import Diagnosis
from torchlogreg.estimators.logistic import LogisticClassifier

if TYPE_CHECKING:
    from torchlogreg.inference import InferenceResult

OWN = (
    "classes_",
    "coef_",
    "intercept_",
    "model_",
    "n_features_in_",
    "feature_names_in_",
    "result_",
    "history_",
    "n_iter_",
)


class Delegates:
    """Predictions and inference of ``best_estimator_``."""

    best_estimator_: LogisticClassifier
    classes_: Any

    def _adopt(self, estimator: LogisticClassifier) -> None:
        """Make it the one that answers, and its attributes one's own."""
        self.best_estimator_ = estimator
        for name in OWN:
            self.__dict__.pop(name, None)
            if name in vars(estimator):
                setattr(self, name, getattr(estimator, name))

    @property
    def diagnosis_(self) -> Diagnosis:
        """What is wrong with the fit of all rows."""
        return self.best_estimator_.diagnosis_

    def decision_function(self, X: Any, *, offset: Any = None) -> Any:
        """Scores whose largest is the predicted class, (n, K); for two classes one, (n,)."""
        return self._best().decision_function(X, offset=offset)

    def predict(self, X: Any, *, offset: Any = None) -> Any:
        """Most probable label of every row, shape (n,)."""
        return self._best().predict(X, offset=offset)

    def predict_proba(self, X: Any, *, offset: Any = None) -> Any:
        """Probability of every class, shape (n, K)."""
        return self._best().predict_proba(X, offset=offset)

    def predict_log_proba(self, X: Any, *, offset: Any = None) -> Any:
        """Logarithms of the probabilities, shape (n, K)."""
        return self._best().predict_log_proba(X, offset=offset)

    def score(self, X: Any, y: Any, sample_weight: Any = None, *, offset: Any = None) -> float:
        """Share of rows whose label is predicted, whatever ``scoring`` chose the penalty."""
        return self._best().score(X, y, sample_weight, offset=offset)

    def infer(
        self,
        X: Any = None,
        y: Any = None,
        *,
        sample_weight: Any = None,
        weight_kind: str | None = None,
        offset: Any = None,
        covariance: str = "classical",
        clusters: Any = None,
        allow_penalty: bool = False,
        use_t: bool | None = None,
    ) -> InferenceResult:
        """That of ``best_estimator_``, whose penalty biases: ``allow_penalty=True`` accepts that.

        The parameters are those of :meth:`torchlogreg.estimators.memory.Remembers.infer`. Nothing
        in it knows that the data have chosen the penalty: the errors are too small for that.
        """
        return self._best().infer(
            X,
            y,
            sample_weight=sample_weight,
            weight_kind=weight_kind,
            offset=offset,
            covariance=covariance,
            clusters=clusters,
            allow_penalty=allow_penalty,
            use_t=use_t,
        )

    def summary(
        self,
        X: Any = None,
        y: Any = None,
        sample_weight: Any = None,
        *,
        weight_kind: str | None = None,
        offset: Any = None,
        covariance: str = "classical",
        clusters: Any = None,
        allow_penalty: bool = False,
        use_t: bool | None = None,
    ) -> str:
        """The table of :meth:`infer`, as text; the same arguments."""
        return self._best().summary(
            X,
            y,
            sample_weight,
            weight_kind=weight_kind,
            offset=offset,
            covariance=covariance,
            clusters=clusters,
            allow_penalty=allow_penalty,
            use_t=use_t,
        )

    def __sklearn_tags__(self) -> Any:
        """Sparse rows are welcome."""
        parent: Any = super()
        tags = parent.__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags

    def _best(self) -> LogisticClassifier:
        check_is_fitted(self)
        return self.best_estimator_
