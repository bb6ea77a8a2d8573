"""Inference after a fit: the rows are remembered, but never pickled or copied."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, NamedTuple

from sklearn.utils.validation import check_is_fitted, validate_data
from torch import Tensor

from torchlogreg.base import Model
from torchlogreg.estimators.output import to_numpy
from torchlogreg.fit import FitResult
from torchlogreg.names import penalty_of

if TYPE_CHECKING:
    from torchlogreg.inference import InferenceResult


class Given(NamedTuple):
    """What ``fit`` was given: kept by reference for ``infer``, never pickled or copied."""

    X: Any
    y: Any
    sample_weight: Any
    offset: Any


class Remembers(ABC):
    """The half of an estimator that answers questions about its fit."""

    model_: Model
    result_: FitResult
    penalty: Any
    alpha: float | None
    l1_ratio: float
    weighting: Any
    _given: Given

    @abstractmethod
    def _codes(self, y: Any) -> Tensor:
        """The target of ``model_`` for a ``y`` like that of the fit."""

    @abstractmethod
    def _facts(self) -> dict[str, Any]:
        """``feature_names`` and ``class_names``, where there are any."""

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
        """Standard errors, tests and intervals; see :func:`torchlogreg.inference.infer`.

        Parameters
        ----------
        X, y, sample_weight, offset : array, optional
            The rows of the fit. Default: those that ``fit`` was given, which the estimator
            remembers until it is pickled or copied.
        weight_kind, covariance, clusters, allow_penalty, use_t
            As in :func:`torchlogreg.inference.infer`.

        Raises
        ------
        ValueError
            If the rows are no longer known and are not passed.
        """
        from torchlogreg.inference import infer

        check_is_fitted(self)
        given = self._rows_for_inference(X, y, sample_weight, offset)
        facts = self._facts()
        return infer(
            self.model_,
            given.X,
            self._codes(given.y),
            covariance=covariance,
            clusters=clusters,
            sample_weight=given.sample_weight,
            weight_kind=weight_kind,
            offset=given.offset,
            penalty=penalty_of(self.penalty, self.alpha, self.l1_ratio),
            allow_penalty=allow_penalty,
            use_t=use_t,
            feature_names=facts.get("feature_names"),
            class_names=facts.get("class_names"),
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
        result = self.infer(
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
        return str(result.summary())

    def _rows_for_inference(self, X: Any, y: Any, sample_weight: Any, offset: Any) -> Given:
        """Rows that were passed, or those of the fit with the weights it ended with."""
        if (X is None) != (y is None):
            raise ValueError("one of X and y was passed, but both are needed, or none")
        if X is not None:
            if not isinstance(X, Tensor):  # names and number of columns, as predict checks them
                validate_data(self, X, reset=False, skip_check_array=True)
            return Given(X, y, sample_weight, offset)
        given: Given | None = getattr(self, "_given", None)
        if given is None:
            raise ValueError(
                f"this {type(self).__name__} was loaded or copied, and the rows it was fitted to "
                "did not come along; pass X and y"
            )
        if sample_weight is not None or offset is not None:
            raise ValueError("sample_weight and offset of the fit are known; pass them with X, y")
        if getattr(self, "class_weight", None) is None and self.weighting in (None, "none"):
            return given
        scale = 1.0 if given.sample_weight is None else float(to_numpy(given.sample_weight).mean())
        return given._replace(sample_weight=self.result_.sample_weight * scale)

    def __getstate__(self) -> dict[str, Any]:
        """Without the rows of the fit."""
        parent: Any = super()
        state: dict[str, Any] = parent.__getstate__()
        return {name: value for name, value in state.items() if name != "_given"}
