"""OrdinalClassifier: proportional-odds regression in scikit-learn's protocol."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from torchlogreg.combinators import Rule
from torchlogreg.estimators.classification import Classifier
from torchlogreg.estimators.labels import own_order
from torchlogreg.estimators.output import like, to_numpy
from torchlogreg.losses import class_log_probabilities
from torchlogreg.models import OrdinalRegression
from torchlogreg.optim import AUTO
from torchlogreg.penalties import Penalty
from torchlogreg.state import Hook
from torchlogreg.weighting import Weighting


class OrdinalClassifier(Classifier):
    """Regression on ordered classes: ``P(y <= class j) = F(cutpoint_j - x . coef)``; no penalty.

    Parameters
    ----------
    penalty, alpha, l1_ratio, optimizer, weighting, hooks, max_epochs, tol, batch_size, device, \
dtype, warm_start, random_state
        See :class:`torchlogreg.estimators.base.Estimator`.
    link : {"logit", "probit", "cloglog"}
        ``F`` is the logistic, the normal, or ``1 - exp(-exp(.))``.
    levels : sequence, optional
        All labels, lowest first. Default: the order of a pandas ordered Categorical, else sorted.
    class_weight : mapping of label to float, "balanced" or None
        Factors that multiply ``sample_weight``.

    Attributes
    ----------
    classes_ : ndarray, shape (K,)
        Labels that occur, in order.
    coef_ : ndarray, shape (p,)
        A positive coefficient moves mass to higher classes, as in MASS::polr and Stata.
    cutpoints_ : ndarray, shape (K - 1,)
        Increasing.
    model_ : OrdinalRegression
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
    >>> from torchlogreg.estimators import OrdinalClassifier
    >>> X, y = [[0.0], [1.0], [2.0], [3.0]], ["low", "high", "low", "high"]
    >>> OrdinalClassifier(levels=["low", "high"]).fit(X, y).predict([[-9.0], [9.0]])
    array(['low', 'high'], dtype='<U4')
    """

    model_: OrdinalRegression

    def __init__(
        self,
        *,
        link: str = "logit",
        levels: Sequence[Any] | None = None,
        penalty: str | Penalty | None = None,
        alpha: float | None = None,
        l1_ratio: float = 0.5,
        optimizer: str | Callable[..., Any] | None = AUTO,
        weighting: str | Weighting | Rule | None = None,
        class_weight: Mapping[Any, float] | str | None = None,
        hooks: str | Iterable[str | Hook] = (),
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
            max_epochs=max_epochs,
            tol=tol,
            batch_size=batch_size,
            device=device,
            dtype=dtype,
            warm_start=warm_start,
            random_state=random_state,
        )
        self.link = link
        self.levels = levels
        self.class_weight = class_weight

    def latent_score(self, X: Any, *, offset: Any = None) -> Any:
        """``x . coef``, the position of every row on the scale that the cutpoints divide, (n,)."""
        scores = self.model_.cutpoints[0] - self._eta(X, offset)[:, 0]
        return like(X, scores.detach())

    def __sklearn_tags__(self) -> Any:
        """Unordered classes, as scikit-learn's checks draw them, are no data for this model."""
        tags = super().__sklearn_tags__()
        tags.classifier_tags.poor_score = True
        return tags

    def _order(self, y: Any) -> list[Any] | None:
        return own_order(y) if self.levels is None else list(self.levels)

    def _own_levels(self, classes: Any) -> list[Any] | None:
        return None if classes is None else np.asarray(to_numpy(classes)).tolist()

    def _new_model(
        self, n_features: int, device: torch.device, dtype: torch.dtype
    ) -> OrdinalRegression:
        n_classes = len(self.classes_)
        return OrdinalRegression(n_features, n_classes, self.link, True, device, dtype)

    def _coefficients(self, model: Any) -> dict[str, Tensor]:
        return {"coef_": model.weight.squeeze(0), "cutpoints_": model.cutpoints}

    def _decision(self, eta: Tensor) -> Tensor:
        """Log-probabilities; for two classes the log-odds of the second."""
        logs = self._log_probabilities(eta)
        return logs if logs.shape[1] > 2 else logs[:, 1] - logs[:, 0]

    def _log_probabilities(self, eta: Tensor) -> Tensor:
        return class_log_probabilities(self.model_.nll, eta, len(self.classes_))
