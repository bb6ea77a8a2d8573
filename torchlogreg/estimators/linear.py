"""LinearRegressor: linear regression in scikit-learn's protocol."""

from __future__ import annotations

from typing import Any, Self

import torch
from sklearn.base import RegressorMixin
from torch import Tensor

from torchlogreg.base import Model
from torchlogreg.estimators.base import Estimator
from torchlogreg.estimators.output import like, r_squared
from torchlogreg.models import LinearRegression
from torchlogreg.tensors import as_tensor


class LinearRegressor(RegressorMixin, Estimator):  # type: ignore[misc]
    """Linear regression: exact least squares, or with a penalty ridge, lasso and elastic net.

    The objective is the mean squared error plus the penalty: ``alpha`` is twice that of
    scikit-learn's ``Lasso``, and ``2 / n`` times that of its ``Ridge``.

    Parameters
    ----------
    penalty, alpha, l1_ratio, optimizer, weighting, hooks, fit_intercept, max_epochs, tol, \
batch_size, device, dtype, warm_start, random_state
        See :class:`torchlogreg.estimators.base.Estimator`.

    Attributes
    ----------
    coef_ : ndarray, shape (p,)
    intercept_ : float
    model_ : LinearRegression
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
    >>> from torchlogreg.estimators import LinearRegressor
    >>> LinearRegressor().fit([[0.0], [1.0], [2.0]], [1.0, 3.0, 5.0]).predict([[3.0]]).round(9)
    array([7.])
    """

    def fit(self, X: Any, y: Any, sample_weight: Any = None, *, offset: Any = None) -> Self:
        """Train on rows ``X`` (n, p) with response ``y`` (n,).

        Parameters
        ----------
        X : array, frame or Tensor, shape (n, p)
        y : array, series or Tensor, shape (n,)
        sample_weight : array, shape (n,), optional
        offset : array, shape (n,), optional
            Known part of the response.
        """
        rows, target = self._check(X, y)
        return self._train(X, rows, y, self._codes(target), sample_weight, offset)

    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None, *, offset: Any = None) -> Self:
        """Go on training with one pass over a chunk of rows, in batches of ``batch_size`` or 32.

        The optimizer keeps what it remembers between chunks; none named, it is Adam with steps
        that shorten. Shuffled rows in chunks of a thousand or more end near the optimum, not at
        it: ``fit`` does that.

        Parameters
        ----------
        X : array, frame or Tensor, shape (n, p)
        y : array, series or Tensor, shape (n,)
        sample_weight : array, shape (n,), optional
            Relative to the other rows of the chunk.
        offset : array, shape (n,), optional
        """
        rows, target = self._check(X, y, reset=not hasattr(self, "model_"))
        return self._train_on_chunk(X, rows, self._codes(target), sample_weight, offset)

    def predict(self, X: Any, *, offset: Any = None) -> Any:
        """Expected response, shape (n,)."""
        return like(X, self._eta(X, offset).squeeze(1))

    def score(self, X: Any, y: Any, sample_weight: Any = None, *, offset: Any = None) -> float:
        """Coefficient of determination R^2."""
        return r_squared(y, self.predict(X, offset=offset), sample_weight)

    def _new_model(
        self, n_features: int, device: torch.device, dtype: torch.dtype
    ) -> LinearRegression:
        return LinearRegression(n_features, self.fit_intercept, device, dtype)

    def _coefficients(self, model: Model) -> dict[str, Tensor]:
        bias = model.weight.new_zeros(1) if model.bias is None else model.bias
        return {"coef_": model.weight.squeeze(0), "intercept_": bias[0]}

    def _codes(self, y: Any) -> Tensor:
        device = y.device if isinstance(y, Tensor) else torch.device("cpu")
        return as_tensor(y, "the target", device)
