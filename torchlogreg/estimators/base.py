"""What all estimators share: input, training, and what is known afterwards."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from typing import Any, Self

import torch
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state
from torch import Tensor

from torchlogreg.base import Model
from torchlogreg.combinators import Product, Rule
from torchlogreg.diagnostics import Diagnosis
from torchlogreg.estimators.callbacks import CallbackSupportMixin, managed, watching
from torchlogreg.estimators.chunks import Online, begin, learn
from torchlogreg.estimators.hook_names import hooks_of
from torchlogreg.estimators.labels import names_of
from torchlogreg.estimators.memory import Given, Remembers
from torchlogreg.estimators.output import like
from torchlogreg.estimators.placement import dtype_of
from torchlogreg.estimators.reading import Reads
from torchlogreg.estimators.training import Settings, start_from_, train
from torchlogreg.fit import FitResult
from torchlogreg.history import History
from torchlogreg.names import penalty_of, weighting_of
from torchlogreg.optim import AUTO
from torchlogreg.penalties import Penalty
from torchlogreg.state import Hook
from torchlogreg.weighting import Weighting


# scikit-learn has no types
class Estimator(Remembers, Reads, CallbackSupportMixin, BaseEstimator, ABC):  # type: ignore[misc]
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
    hooks : iterable of Hook or of {"progress", "stop_on_non_finite", "tensorboard"}, or a name
        They see the model on standardised columns, as the optimizer does. Those that are named are
        made anew for every fit; TensorBoard's write to a new folder below ``runs``.
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

    model_: Model
    result_: FitResult
    history_: History
    n_iter_: int
    _online: Online

    def __init__(
        self,
        *,
        penalty: str | Penalty | None = None,
        alpha: float | None = None,
        l1_ratio: float = 0.5,
        optimizer: str | Callable[..., Any] | None = AUTO,
        weighting: str | Weighting | Rule | None = None,
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
    def _coefficients(self, model: Model) -> dict[str, Tensor]:
        """``coef_`` and its companions, by name."""

    @property
    def diagnosis_(self) -> Diagnosis:
        """What is wrong with the fit or its data, looked for when first read."""
        return self.result_.diagnosis

    def _published(self, model: Model, X: Any) -> dict[str, Any]:
        """What is set of a model of raw columns, in the container that the rows ``X`` came in."""
        found = self._coefficients(model)
        return {"model_": model} | {
            name: like(X, values.detach().clone()) if values.ndim else values.item()
            for name, values in found.items()
        }

    @managed
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
        watch = watching(self, X, y, {"sample_weight": sample_weight, "offset": offset})
        settings = self._settings(class_weighting)
        result, history = train(
            model, rows, target, settings, sample_weight=sample_weight, offset=offset, watch=watch
        )
        for name, value in self._published(model, X).items():
            setattr(self, name, value)
        self.result_, self.history_, self.n_iter_ = result, history, result.n_epochs
        self._given = Given(X, y, sample_weight, offset)
        self.__dict__.pop("_online", None)
        if result.stop_reason == "interrupted":  # fitted as far as it got; but a search must stop
            raise KeyboardInterrupt
        return self

    def _train_on_chunk(
        self,
        X: Any,
        rows: Tensor,
        target: Tensor,
        sample_weight: Any,
        offset: Any,
        class_weighting: Weighting | None = None,
    ) -> Self:
        """One pass over checked rows that come with others, before and after."""
        settings = self._settings(class_weighting, shuffled=True)
        if not hasattr(self, "_online"):
            model = self._new_model(rows.shape[1], rows.device, dtype_of(self.dtype))
            if hasattr(self, "model_"):
                start_from_(model, self.model_)
            self._online = begin(model, rows, settings, sample_weight)
        model, self.result_, self.history_ = learn(
            self._online, rows, target, settings, sample_weight=sample_weight, offset=offset
        )
        self.n_iter_ = self._online.n_chunks
        self.__dict__.pop("_given", None)
        for name, value in self._published(model, X).items():
            setattr(self, name, value)
        return self

    def _settings(self, class_weighting: Weighting | None, *, shuffled: bool = False) -> Settings:
        """What ``fit`` gets, names resolved."""
        weighting = weighting_of(self.weighting)
        if class_weighting is not None:
            parts = [w for w in (class_weighting, weighting) if w is not None]
            weighting = Product(*parts)
        generator = None
        if shuffled or self.batch_size is not None:
            seed = check_random_state(self.random_state).randint(2**31 - 1)
            generator = torch.Generator().manual_seed(int(seed))
        return Settings(
            optimizer=self.optimizer,
            penalty=penalty_of(self.penalty, self.alpha, self.l1_ratio),
            weighting=weighting,
            batch_size=self.batch_size,
            max_epochs=self.max_epochs,
            tol=self.tol,
            hooks=hooks_of(self.hooks),
            generator=generator,
            facts=self._facts(),
        )

    def _facts(self) -> dict[str, Any]:
        """Names for pictures drawn from the history."""
        names = getattr(self, "feature_names_in_", None)
        facts: dict[str, Any] = {} if names is None else {"feature_names": list(names)}
        classes = getattr(self, "classes_", None)
        return facts if classes is None else facts | {"class_names": names_of(classes)}
