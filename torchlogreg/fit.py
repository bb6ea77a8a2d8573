"""fit(): the whole training story. One loop, one line that trains; hooks look on."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from torchlogreg import distributed, settings
from torchlogreg.base import Model
from torchlogreg.checkpoints.resuming import next_rate, remaining, resumed
from torchlogreg.combinators import Rule
from torchlogreg.convergence import check_convergence, close, warn_of_failure
from torchlogreg.data import minibatches
from torchlogreg.diagnostics.closing import Closing
from torchlogreg.diagnostics.diagnosis import Diagnosis
from torchlogreg.diagnostics.wording import names_of
from torchlogreg.first_look import first_look
from torchlogreg.inputs import make_data
from torchlogreg.kernels import threads_of_fit
from torchlogreg.losses import Loss
from torchlogreg.objective import Objective
from torchlogreg.optim import AUTO, OPTIMIZERS, Choice, attune, choose_for, resolve
from torchlogreg.penalties import Penalty
from torchlogreg.reweighting import reweight
from torchlogreg.shown import shown
from torchlogreg.state import FitState, Hook, wake
from torchlogreg.weighting import Uniform, Weighting


@dataclass(frozen=True)
class FitResult:
    """How a fit ended.

    Attributes
    ----------
    model : Model
        Trained in place.
    objective : float
        Final weighted objective, penalty included.
    optimality : float
        Largest entry of the final (prox-)gradient, per unit of standardised columns and response;
        see :meth:`torchlogreg.objective.Closure.optimality`.
    n_epochs, n_steps : int
    converged : bool
    message : str
        Why it ended, how far it got, what was found, and the choice of the optimizer. Worked out,
        as the diagnosis is, when first read.
    sample_weight : Tensor, shape (n,)
        Final weights, mean one.
    stop_reason : str
        "converged"; "separated" or "diverging" where no finite optimum exists; "max_epochs";
        "interrupted"; or what a hook said.
    optimizer : str
        Class of the optimizer used.
    choice : Choice or None
        Name and reason of the optimizer that ``fit`` chose; None where the caller named one.
    seconds : float
    diagnosis : Diagnosis
        What is wrong with the fit or its data, which column did it, and what to do; empty, and
        false, if nothing was found. ``diagnostics.diagnose`` looks longer, and by hand;
        ``diagnostics.certificate`` turns ``optimality`` into a distance from the optimum.
    """

    model: Model
    objective: float
    optimality: float
    n_epochs: int
    n_steps: int
    converged: bool
    closing: Closing
    sample_weight: Tensor = field(repr=False)
    stop_reason: str
    optimizer: str
    choice: Choice | None
    seconds: float

    @property
    def message(self) -> str:
        """Why it ended, how far it got, and what was found."""
        return self.closing.message

    @property
    def diagnosis(self) -> Diagnosis:
        """What is wrong with the fit or its data."""
        return self.closing.diagnosis


def fit(
    model: Model,
    X: Any,
    y: Any,
    *,
    optimizer: str | Optimizer | Callable[..., Optimizer] | None = AUTO,
    loss: Loss | None = None,
    penalty: Penalty | None = None,
    weighting: Weighting | Rule | None = None,
    sample_weight: Any = None,
    offset: Any = None,
    feature_names: Sequence[str] | None = None,
    batch_size: int | None = None,
    max_epochs: int = 100,
    tol: float = 1e-6,
    scheduler: Callable[[Optimizer], LRScheduler | ReduceLROnPlateau] | None = None,
    hooks: Iterable[Hook] = (),
    generator: torch.Generator | None = None,
    resume: str | os.PathLike[str] | None = None,
) -> FitResult:
    """Train ``model`` in place.

    1. Check the input; choose the optimizer.
    2. Each epoch: ask an adaptive weighting for new sample weights, step through the batches,
       test for convergence, let the hooks look.
    3. Stop on convergence, ``max_epochs``, a hook's request or Ctrl-C, and say which.

    Parameters
    ----------
    model : Model
    X : Tensor, array or frame, shape (n, n_features)
        Moved to the device and dtype of the model.
    y : Tensor, array or series, shape (n,) or (n, K)
        Hard labels or soft targets.
    optimizer : str, torch.optim.Optimizer or callable, optional
        A name in ``OPTIMIZERS``, an instance over ``model.parameters()``, or a factory. "auto", as
        None: chosen by size, penalty and batches; ``result.choice`` says which and why.
    loss : Loss, optional
        Default ``model.nll``.
    penalty : Penalty, optional
        Default none.
    weighting : Weighting or callable, optional
        Factors per row that may follow the model. Default ``Uniform()``.
    sample_weight : array, shape (n,), optional
        The user's own weights; multiplied by the weighting's factors, then scaled to mean one.
    offset : array, shape (n,) or (n, r), optional
        Known part of the scores.
    feature_names : sequence of str, length n_features, optional
        For the diagnosis. Default: the columns of a frame, else their numbers.
    batch_size : int, optional
        Rows per step. Default: all.
    max_epochs : int
        ``>= 1``.
    tol : float
        Converged when ``optimality <= tol`` (and, for adaptive weights, no sample weight changed
        by more). Newton and its kin go on until rounding, since their last steps are the cheapest
        way to many digits, but take a ``tol`` above 1e-6 at its word. Separated classes without a
        penalty, quasi-completely separated ones too, end as "separated", never as converged: the
        gradient vanishes there while the parameters grow. 0: run all epochs, skip the test and warn
        of nothing.
    scheduler : callable, optional
        From the optimizer to a learning-rate scheduler of torch; stepped after each epoch.
    hooks : iterable of Hook
    generator : torch.Generator, optional
        Source of the order of mini-batches.
    resume : path, optional
        A folder of ``hooks.Checkpoint``, or one of its files: go on from there, with everything
        else as it was, to the same bits as without the interruption. An empty folder: from the
        start. ``max_epochs`` and ``tol`` may differ; another ``tol`` may take other steps.

    Returns
    -------
    FitResult

    Raises
    ------
    ValueError, TypeError
        For input that cannot be fitted, in one line, before anything is changed.
    RuntimeError
        Within ``torch.inference_mode()``.

    Warns
    -----
    ConvergenceWarning
        With the result's message, if ``tol > 0`` and the fit ended "separated", "diverging" or
        "max_epochs", or converged where the test for separation was skipped.
    """
    model, hooks = settings.checked_model(model), settings.checked_hooks(hooks)
    settings.check_numbers(batch_size, max_epochs, tol)
    settings.check_parts(penalty, loss, scheduler, generator)
    weighting = settings.weighting_for(model, weighting)
    objective = Objective(model, loss, penalty)
    own = objective.own_loss
    unseen = optimizer in (None, AUTO) and tol > 0 and not hooks and resume is None
    data = make_data(
        model, X, y, sample_weight=sample_weight, offset=offset, own_target=own, unseen=unseen
    )
    names = names_of(X, feature_names, model.n_features)
    if distributed.world_size() > 1:
        distributed.alike(model.parameters())
    choice = None
    if optimizer is None or optimizer == AUTO:
        choice = choose_for(objective, data, weighting, batch_size, tol)
        optimizer = choice.name
    data, looked_at = first_look(objective, data, X, choice)
    instance = resolve(optimizer, objective, batch_size, OPTIMIZERS)
    if choice is not None:
        attune(instance, choice, objective, data, tol)
    state = FitState(objective, instance, data, weighting, max_epochs, names)
    state.schedule = None if scheduler is None else scheduler(instance)
    state.hooks, state.batch_size, state.generator, state.tol = hooks, batch_size, generator, tol
    settle, view = resumed(state, resume), shown(state)
    with threads_of_fit(model, objective.loss, data):
        with looked_at, _last_looks(view) as started:
            for hook in hooks:
                started.append(hook)
                hook.on_fit_start(view)
            with settle():
                _train(state, view)
        result = _result(state, choice)
    warn_of_failure(state, result.closing)
    return result


@contextmanager
def _last_looks(state: FitState) -> Iterator[list[Hook]]:
    """Run the body; give each hook that it says it started its last look, come what may.

    Ctrl-C is no error: it ends the fit, and the state says so.
    """
    started: list[Hook] = []
    with ExitStack() as last_looks:  # every hook gets its last look, even if another one fails
        try:
            yield started
        except KeyboardInterrupt:
            state.stop_reason = "interrupted"
            if distributed.world_size() > 1:  # others may be elsewhere: no figures of all rows
                raise
        except BaseException as error:
            state.stop_reason = f"error: {error}"
            raise
        finally:
            for look in reversed(_overriding(tuple(started), "on_fit_end")):
                last_looks.callback(look, state)


def _train(state: FitState, view: FitState) -> None:
    """The loop; hooks look at ``view``, which is ``state`` unless there are several ranks."""
    objective, optimizer, weighting = state.objective, state.optimizer, state.weighting
    after_step = _overriding(state.hooks, "on_step_end")
    after_epoch = [hook for hook in state.hooks if _overriding((hook,), "on_epoch_end")]
    alarm, left = 0.0, remaining(state)
    if not left and state.tol > 0 and not state.stop_reason:  # resumed, to be judged by this tol
        check_convergence(state, state.tol)
    for epoch in left:
        if not isinstance(weighting, Uniform) and (epoch == 1 or weighting.adaptive):
            state.asked = reweight(state, state.asked)
        for batch in minibatches(state.data, state.batch_size, state.generator):
            state.loss = optimizer.step(objective.closure(batch, state.data))  # type: ignore[assignment, arg-type]
            state.step += 1
            for look in after_step:
                look(view)
        state.epoch = epoch
        view = shown(state, view)
        if state.tol > 0:
            check_convergence(state, state.tol)
        if epoch >= alarm:
            alarm = wake(after_epoch, view)
        state.agree()
        if state.stop_reason:
            break
        next_rate(state)


def _result(state: FitState, choice: Choice | None) -> FitResult:
    """The final figures and the sentence that explains them."""
    epoch, optimality = state.judged
    if epoch != state.epoch or state.hooks or state.stop_reason == "interrupted":  # mid-step
        optimality = float(state.optimality)
    reason = "" if choice is None else "; optimizer {!r} was chosen: {}".format(*choice)
    closing = close(state, optimality, reason)
    return FitResult(
        model=state.model,
        objective=float(state.value),
        optimality=optimality,
        n_epochs=state.epoch,
        n_steps=state.step,
        converged=state.converged,
        closing=closing,
        sample_weight=state.data.sample_weight,
        stop_reason=state.stop_reason or "max_epochs",
        optimizer=type(state.optimizer).__name__,
        choice=choice,
        seconds=time.perf_counter() - state.started,
    )


def _overriding(hooks: tuple[Hook, ...], method: str) -> list[Callable[[FitState], None]]:
    """The bound methods of those hooks that do something at this moment."""
    own = getattr(Hook, method)
    return [getattr(h, method) for h in hooks if getattr(type(h), method, None) is not own]
