"""From rows and settings to a trained model of raw columns: standardise, fit, fold back."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from sklearn.exceptions import ConvergenceWarning as SklearnConvergenceWarning
from torch import Tensor

from torchlogreg.base import Model
from torchlogreg.combinators import Rule, as_weighting
from torchlogreg.configuration import config
from torchlogreg.convergence import ConvergenceWarning
from torchlogreg.estimators.last_digits import LastDigits
from torchlogreg.estimators.rescaled import columns_of, fold_, on_raw_columns, unfold_
from torchlogreg.fit import FitResult, fit
from torchlogreg.history import History
from torchlogreg.hooks.recorder import Recorder
from torchlogreg.losses import Loss
from torchlogreg.objective import Objective
from torchlogreg.optim import AUTO, choose
from torchlogreg.penalties import Penalty
from torchlogreg.scaling import Standardizer
from torchlogreg.sparse import is_sparse
from torchlogreg.state import Hook
from torchlogreg.tensors import as_tensor
from torchlogreg.weighting import Weighting

OURS = ("torchlogreg.", "contextlib", "sklearn.callback.")
"""Modules whose lines no user wrote."""

RECORDED = 10**7
"""Numbers that the parameters in a history may be before epochs are left out of it."""


ON_RAW = ("least_squares", "kernel_newton", "dual_coordinate", "coordinate_newton")
"""Optimizers that take raw columns. The first scales by powers of two itself; those that follow
know plain ``L2`` only, or look at one column at a time, whatever its unit."""

INVARIANT = ("newton", "subsampled_newton")
"""Optimizers that take the same steps whatever the columns' units, and centre them by themselves:
where nobody looks on, a copy of the rows and the detours of its penalty are saved."""

EXTREME = 1e75
"""Largest entry of which even a sum of fourth powers is a float64."""


class FitWarning(ConvergenceWarning, SklearnConvergenceWarning):  # type: ignore[misc]
    """A fit of an estimator did not converge: the warning of ``fit``, and scikit-learn's."""


@dataclass(frozen=True)
class Settings:
    """What an estimator passes on to ``fit``, names already resolved."""

    optimizer: str | Callable[..., Any] | None
    penalty: Penalty | None
    weighting: Weighting | Rule | None
    batch_size: int | None
    max_epochs: int
    tol: float
    hooks: Iterable[Hook]
    generator: torch.Generator | None
    facts: dict[str, Any]


def train(
    model: Model,
    X: Tensor,
    y: Tensor,
    settings: Settings,
    *,
    sample_weight: Any = None,
    offset: Any = None,
    watch: Callable[[Standardizer | None], tuple[Hook, ...]] = lambda columns: (),
    recorded: bool = True,
    loss: Loss | None = None,
) -> tuple[FitResult, History]:
    """Fit ``model``, which takes raw columns before and after.

    1. Standardise: mean zero if there is an intercept to absorb it, standard deviation one; of
       sparse rows only the latter. Exact least squares takes the raw columns, since rounding the
       centred ones would cost it digits, and so does what works by rows or by single columns.
       Newton does too, unless the fit is recorded.
    2. Fit, recording every epoch. A penalty keeps its meaning on raw columns.
    3. Fold the standardisation back, in double precision, and restore digits that it has cost.

    Parameters
    ----------
    model : Model
        Trained in place, from the parameters it has.
    X : Tensor, shape (n, p)
        Finite, on the model's device; of any floating dtype.
    y : Tensor, shape (n,)
    settings : Settings
    sample_weight, offset : array, optional
        As in ``fit``.
    watch : callable
        From the standardisation, or None, to more hooks.
    recorded : bool
        Whether every epoch is written down, of a model of standardised columns.
    loss : callable, optional
        As in ``fit``.

    Returns
    -------
    result : FitResult
    history : History
        Empty if nothing was recorded.
    """
    if sample_weight is not None:
        sample_weight = as_tensor(sample_weight, "sample_weight", X.device)
    columns, penalty, raw, last_digits = None, settings.penalty, X, LastDigits()
    name = _optimizer(model, X, settings)
    if name not in ON_RAW and (recorded or not _is_at_home(name, X)):  # 1
        centre = has_intercept(model) and not is_sparse(X)
        penalised = penalty is not None and not penalty.needs_rows
        columns = columns_of(
            X, sample_weight, model.weight.dtype, centre=centre, penalised=penalised
        )
        X = columns.transform(X.to(torch.promote_types(X.dtype, model.weight.dtype)))
        unfold_(model, columns)
        penalty = on_raw_columns(penalty, columns.scale.to(model.weight))
    recorder = recorder_of(model, settings, columns) if recorded else Recorder()
    watching = (recorder, *settings.hooks) if recorded else tuple(settings.hooks)
    with one_warning():  # 2
        result = fit(
            model,
            X,
            y,
            optimizer=settings.optimizer if recorded else name,
            loss=loss,
            penalty=penalty,
            weighting=settings.weighting,
            sample_weight=sample_weight,
            offset=offset,
            feature_names=settings.facts.get("feature_names"),
            batch_size=settings.batch_size,
            max_epochs=settings.max_epochs,
            tol=settings.tol,
            hooks=(last_digits, *watching, *watch(columns)),
            generator=settings.generator,
        )
    if columns is not None:
        fold_(model, columns)  # 3
        last_digits.restore_(model, raw, settings.penalty)
    return result, recorder.history


@contextmanager
def one_warning() -> Iterator[None]:
    """What ``fit`` warns of, issued after the block; not converging also in scikit-learn's kind.

    The one place where the two libraries' warnings meet.
    """
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
    for entry in caught:
        if isinstance(entry.message, ConvergenceWarning):
            warnings.warn(FitWarning(str(entry.message)), stacklevel=frames_to_the_user())
        else:
            warnings.warn_explicit(entry.message, entry.category, entry.filename, entry.lineno)


def frames_to_the_user() -> int:
    """How far up the first frame is that is not ours, as ``warnings.warn`` in the caller counts."""
    frame, level = sys._getframe(1), 1
    while frame.f_back is not None and frame.f_globals["__name__"].startswith(OURS):
        frame, level = frame.f_back, level + 1
    return level


def start_from_(model: Model, previous: Model) -> None:
    """Continue where an earlier fit ended.

    Raises
    ------
    ValueError
        If that fit was of another model.
    """
    if config(model) != config(previous):
        raise ValueError(
            f"warm_start: the earlier fit was of {previous}, but these data and settings ask for "
            f"{model}; use warm_start=False, or the same columns, classes and settings"
        )
    model.load_state_dict(previous.state_dict())


def _optimizer(model: Model, X: Tensor, settings: Settings) -> Any:
    """The one that was asked for, or the name of the one that ``fit`` would choose."""
    if not (settings.optimizer is None or settings.optimizer == AUTO):
        return settings.optimizer
    weighting = None if settings.weighting is None else as_weighting(settings.weighting)
    return choose(
        Objective(model, penalty=settings.penalty),
        settings.batch_size,
        adaptive=weighting is not None and weighting.adaptive,
        settles=weighting is not None and weighting.settles,
        n_rows=len(X),
        X=X,
        tol=settings.tol,
    ).name


def _is_at_home(name: Any, X: Tensor) -> bool:
    """Whether that optimizer does as well on these raw columns."""
    if name not in INVARIANT or is_sparse(X) or X.device.type == "mps":
        return False
    largest = float(torch.linalg.vector_norm(X, torch.inf))
    return 1 / EXTREME < largest < EXTREME


def any_labels(model: Model) -> Loss:
    """The model's own loss under another name: rows of one class are no error."""
    return lambda eta, y: model.nll(eta, y)


def has_intercept(model: Model) -> bool:
    """An ordinal model calls its intercept ``first``."""
    return model.bias is not None or getattr(model, "first", None) is not None


def recorder_of(model: Model, settings: Settings, columns: Standardizer | None) -> Recorder:
    """A recorder of every epoch, or of every few where the parameters are very many."""
    facts = settings.facts | {"standardized": columns is not None}
    if columns is not None:
        facts |= {"column_means": columns.mean.tolist(), "column_scales": columns.scale.tolist()}
    n_params = sum(p.numel() for p in model.parameters())
    every = max(1, n_params * settings.max_epochs // RECORDED)
    return Recorder(every, sample_weight=False, meta=facts)
