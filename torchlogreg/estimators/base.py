"""What all estimators share: input, training, and what is known afterwards."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from typing import Any, Self

import numpy as np
import torch
from sklearn.base import BaseEstimator, is_regressor
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import Tensor

from torchlogreg.base import Model
from torchlogreg.combinators import Product, Rule
from torchlogreg.diagnostics import Diagnosis
from torchlogreg.estimators.labels import names_of
from torchlogreg.estimators.memory import Given, Remembers
from torchlogreg.estimators.output import like
from torchlogreg.estimators.training import Settings, start_from_, train
from torchlogreg.fit import FitResult
from torchlogreg.history import History
from torchlogreg.inputs import as_matrix, as_tensor
from torchlogreg.names import penalty_of, weighting_of
from torchlogreg.optim import AUTO
from torchlogreg.penalties import Penalty
from torchlogreg.settings import checked_hooks
from torchlogreg.state import Hook
from torchlogreg.weighting import Weighting

FLOATS = (np.float64, np.float32)
"""What rows are kept in; other dtypes become the first."""


class Estimator(Remembers, BaseEstimator, ABC):  # type: ignore[misc]  # scikit-learn has no types
    """Adapter from scikit-learn's protocol to :func:`torchlogreg.fit`.

    Parameters
    ----------
    penalty : {"none", "l2", "l1", "elasticnet", "jeffreys"}, Penalty or None
        On the coefficients of raw columns. Default: none.
    alpha : float, optional
        Strength of a penalty given by name, without effect on objects or without a penalty.
        Default: 0.001, but 0.5 for "jeffreys", which is Firth's.
    l1_ratio : float
        Share of L1 in ``penalty="elasticnet"``.
    optimizer : str or callable, optional
        A name in ``OPTIMIZERS``, or a function from parameters to an optimizer. "auto", the
        default, or None: chosen.
    weighting : {"none", "boost", "class_mean", "balanced", "focal"}, Weighting or callable
        Default: none.
    hooks : iterable of Hook
        They see the model on standardised columns, as the optimizer does.
    fit_intercept : bool
    max_epochs, tol, batch_size
        As in ``fit``.
    device : str or torch.device, optional
        Default: that of ``X`` if it is a tensor, else the CPU.
    dtype : str or torch.dtype, optional
        Default: float64, whatever the dtype of ``X``: correct digits before speed.
    warm_start : bool
        Start from the coefficients of the previous fit.
    random_state : int, RandomState or None
        Decides the order of mini-batches.
    """

    n_features_in_: int
    model_: Model
    result_: FitResult
    history_: History
    diagnosis_: Diagnosis
    n_iter_: int

    def __init__(
        self,
        *,
        penalty: str | Penalty | None = None,
        alpha: float | None = None,
        l1_ratio: float = 0.5,
        optimizer: str | Callable[..., Any] | None = AUTO,
        weighting: str | Weighting | Rule | None = None,
        hooks: Iterable[Hook] = (),
        fit_intercept: bool = True,
        max_epochs: int = 1000,
        tol: float = 1e-6,
        batch_size: int | None = None,
        device: str | torch.device | None = None,
        dtype: str | torch.dtype | None = None,
        warm_start: bool = False,
        random_state: Any = None,
    ) -> None:
        self.penalty = penalty
        self.alpha = alpha
        self.l1_ratio = l1_ratio
        self.optimizer = optimizer
        self.weighting = weighting
        self.hooks = hooks
        self.fit_intercept = fit_intercept
        self.max_epochs = max_epochs
        self.tol = tol
        self.batch_size = batch_size
        self.device = device
        self.dtype = dtype
        self.warm_start = warm_start
        self.random_state = random_state

    @abstractmethod
    def _new_model(self, n_features: int, device: torch.device, dtype: torch.dtype) -> Model:
        """A model at its starting point."""

    @abstractmethod
    def _publish(self) -> None:
        """Set ``coef_`` and its companions from ``model_``."""

    def _as_given(self, values: Tensor) -> Any:
        """Parameters in the container that the rows of the fit came in."""
        return like(self._given.X, values.detach().clone())

    def _train(
        self,
        X: Any,
        rows: Tensor,
        y: Any,
        target: Tensor,
        sample_weight: Any,
        offset: Any,
        class_weighting: Weighting | None = None,
    ) -> Self:
        """Train on checked rows, and set everything that is known after a fit."""
        device, dtype = rows.device, dtype_of(self.dtype)
        model = self._new_model(rows.shape[1], device, dtype)
        if self.warm_start and hasattr(self, "model_"):
            start_from_(model, self.model_)
        settings = self._settings(class_weighting)
        result, history = train(
            model, rows, target, settings, sample_weight=sample_weight, offset=offset
        )
        self.model_ = model
        self.result_, self.history_, self.n_iter_ = result, history, result.n_epochs
        self.diagnosis_ = result.diagnosis
        self._given = Given(X, y, sample_weight, offset)
        self._publish()
        if result.stop_reason == "interrupted":  # fitted as far as it got; but a search must stop
            raise KeyboardInterrupt
        return self

    def _settings(self, class_weighting: Weighting | None) -> Settings:
        """What ``fit`` gets, names resolved."""
        weighting = weighting_of(self.weighting)
        if class_weighting is not None:
            parts = [w for w in (class_weighting, weighting) if w is not None]
            weighting = Product(*parts)
        generator = None
        if self.batch_size is not None:
            seed = check_random_state(self.random_state).randint(2**31 - 1)
            generator = torch.Generator().manual_seed(int(seed))
        return Settings(
            optimizer=self.optimizer,
            penalty=penalty_of(self.penalty, self.alpha, self.l1_ratio),
            weighting=weighting,
            batch_size=self.batch_size,
            max_epochs=self.max_epochs,
            tol=self.tol,
            hooks=checked_hooks(self.hooks),
            generator=generator,
            facts=self._facts(),
        )

    def _facts(self) -> dict[str, Any]:
        """Names for pictures drawn from the history."""
        names = getattr(self, "feature_names_in_", None)
        facts: dict[str, Any] = {} if names is None else {"feature_names": list(names)}
        classes = getattr(self, "classes_", None)
        return facts if classes is None else facts | {"class_names": names_of(classes)}

    def _check(self, X: Any, y: Any) -> tuple[Tensor, Any]:
        """First look at rows and target: a tensor (n, p), and ``y`` as a flat array or tensor."""
        if isinstance(X, Tensor):
            y = y if isinstance(y, Tensor) else validate_data(self, y=y, reset=False)
        elif isinstance(y, Tensor):
            y = y.detach().cpu().numpy()
        if isinstance(X, Tensor):
            if hasattr(self, "feature_names_in_"):
                del self.feature_names_in_
            self.n_features_in_ = X.shape[-1]
            return self._tensor(X), y.squeeze(1) if y.ndim == 2 and y.shape[1] == 1 else y
        X, y = validate_data(self, X, y, dtype=FLOATS, y_numeric=is_regressor(self))
        return self._tensor(X), y

    def _tensor(self, X: Any) -> Tensor:
        """Rows on the device of the fit, of their own floating dtype."""
        default = X.device if isinstance(X, Tensor) else "cpu"
        device = device_of(default if self.device is None else self.device)
        if not isinstance(X, Tensor):
            return as_tensor(X, "X", device)
        own = X.dtype if X.dtype in (torch.float32, torch.float64) else torch.float64
        return as_matrix(X, torch.empty(0, dtype=own, device=device))

    def _eta(self, X: Any, offset: Any) -> Tensor:
        """Linear predictor (n, k) of new rows."""
        check_is_fitted(self)
        like = self.model_.weight
        if isinstance(X, Tensor):
            rows = as_matrix(X, like)
            if rows.shape[1] != self.n_features_in_:
                raise ValueError(
                    f"X has {rows.shape[1]} features, but {type(self).__name__} is expecting "
                    f"{self.n_features_in_} features as input"
                )
        else:
            array = validate_data(self, X, reset=False, dtype=FLOATS)
            rows = as_tensor(array, "X", like.device).to(like.dtype)
        if offset is not None:
            offset = as_tensor(offset, "offset", like.device).to(like.dtype)
            if len(offset) != len(rows):
                raise ValueError(f"offset has {len(offset)} rows, but X has {len(rows)}")
            if not bool(torch.isfinite(offset).all()):
                raise ValueError("offset is not finite; remove or impute such rows")
        with torch.no_grad():
            eta: Tensor = self.model_(rows, offset)
        return eta


def device_of(device: str | torch.device) -> torch.device:
    """A device that is there.

    Raises
    ------
    ValueError
        If torch has no such device, or it is a CUDA device where torch sees none.
    """
    try:
        found = torch.device(device)
    except RuntimeError:  # torch lists all kinds it was ever built for
        raise ValueError(f"device is {device!r}, which torch does not know; use 'cpu'") from None
    if found.type == "cuda" and not torch.cuda.is_available():
        raise ValueError(f"device is {str(device)!r}, but torch sees no CUDA device; use 'cpu'")
    return found


def dtype_of(dtype: str | torch.dtype | None) -> torch.dtype:
    """A floating dtype of torch.

    Raises
    ------
    ValueError
        If it is none.
    """
    found = getattr(torch, dtype, None) if isinstance(dtype, str) else dtype or torch.float64
    if not isinstance(found, torch.dtype) or not found.is_floating_point:
        raise ValueError(f"dtype is {dtype!r}, but it is 'float64', 'float32' or torch's own")
    return found
