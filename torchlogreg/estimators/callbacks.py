"""scikit-learn's own callbacks (its 1.9 and later), told of every epoch."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any, TypeVar

from torchlogreg.estimators.rescaled import fold_
from torchlogreg.scaling import Standardizer
from torchlogreg.state import FitState, Hook

try:
    from sklearn.callback import CallbackSupportMixin, with_callbacks
except ImportError:  # scikit-learn before 1.9

    class CallbackSupportMixin:  # type: ignore[no-redef]
        """No callbacks to support."""

    def with_callbacks(method: Callable[..., Any]) -> Callable[..., Any]:
        """The method itself."""
        return method


__all__ = ["CallbackSupportMixin", "Epochs", "Tasks", "managed", "watching"]

Method = TypeVar("Method", bound=Callable[..., Any])


def managed(method: Method) -> Method:
    """A method in which callbacks run, and after which they are torn down, come what may."""
    decorated: Method = with_callbacks(method)
    return decorated


class Epochs(Hook):
    """Each epoch of a fit as a task of scikit-learn's callbacks.

    What they see is the estimator as if it had stopped there: predicting, on raw columns. One that
    returns True ends the fit.

    Parameters
    ----------
    estimator : Estimator
        Whose fit it is, with ``classes_`` and the like already set.
    X, y : array
        As the user gave them.
    metadata : dict
        ``sample_weight`` and ``offset``, where given.
    columns : Standardizer or None
        Of the model in training.
    """

    def __init__(
        self, estimator: Any, X: Any, y: Any, metadata: dict[str, Any], columns: Standardizer | None
    ) -> None:
        self._estimator, self._columns = estimator, columns
        self._shown = {"estimator": estimator, "X": X, "y": y, "metadata": metadata or None}

    def on_fit_start(self, state: FitState) -> None:
        """The fit is a task, and its first epoch another."""
        self._root = self._estimator._init_callback_context(max_subtasks=state.max_epochs)
        self._root.call_on_fit_task_begin(**self._shown)
        self._begin(state)

    def on_epoch_end(self, state: FitState) -> None:
        """End one task, begin the next."""
        if self._epoch.call_on_fit_task_end(**self._now(state)):
            state.request_stop("a callback asked for it")
        if not state.stop_reason and state.epoch < state.max_epochs:
            self._begin(state)

    def on_fit_end(self, state: FitState) -> None:
        """The whole task, unless an error ended it."""
        if not state.stop_reason.startswith("error"):
            self._root.call_on_fit_task_end(**self._now(state))

    def _begin(self, state: FitState) -> None:
        self._epoch = self._root.subcontext(task_name="epoch")
        self._epoch.call_on_fit_task_begin(**self._now(state))

    def _now(self, state: FitState) -> dict[str, Any]:
        """What callbacks are shown; the fitted attributes are worked out if one of them asks."""
        return self._shown | {"reconstruction_attributes": lambda: self._fitted(state)}

    def _fitted(self, state: FitState) -> dict[str, Any]:
        model = copy.deepcopy(state.model)
        if self._columns is not None:
            fold_(model, self._columns)
        fitted: dict[str, Any] = self._estimator._published(model, self._shown["X"])
        return fitted


class Tasks:
    """The parts of a fit that is made of other fits, each a task of scikit-learn's callbacks.

    Parameters
    ----------
    estimator : estimator
        Whose fit it is.
    X, y : array
        As the user gave them.
    metadata : dict
        ``sample_weight`` and ``offset``; None is left out.
    n_tasks : int
    """

    def __init__(
        self, estimator: Any, X: Any, y: Any, metadata: dict[str, Any], n_tasks: int
    ) -> None:
        given = {name: value for name, value in metadata.items() if value is not None}
        self._shown = {"estimator": estimator, "X": X, "y": y, "metadata": given or None}
        self._root: Any = None
        if getattr(estimator, "_skl_callbacks", None):
            self._root = estimator._init_callback_context(max_subtasks=n_tasks)
            self._root.call_on_fit_task_begin(**self._shown)

    @contextmanager
    def task(self, name: str, part: Any = None) -> Iterator[None]:
        """One of them; callbacks that go down to parts are those of the estimator ``part`` too."""
        if self._root is None:
            yield
            return
        context = self._root.subcontext(task_name=name)
        inside = nullcontext() if part is None else context.propagate_callback_context(part)
        with inside:
            context.call_on_fit_task_begin(**self._shown)
            yield
        context.call_on_fit_task_end(**self._shown)

    def end(self) -> None:
        """The whole fit is done."""
        if self._root is not None:
            self._root.call_on_fit_task_end(**self._shown)


def watching(
    estimator: Any, X: Any, y: Any, metadata: dict[str, Any]
) -> Callable[[Standardizer | None], tuple[Hook, ...]]:
    """From the standardisation of a fit to the hooks that its callbacks need: none, or one."""
    if not getattr(estimator, "_skl_callbacks", None):
        return lambda columns: ()
    given = {name: value for name, value in metadata.items() if value is not None}
    return lambda columns: (Epochs(estimator, X, y, given, columns),)
