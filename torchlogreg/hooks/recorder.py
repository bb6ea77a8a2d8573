"""Recorder: writes down every epoch, for pictures and films to be drawn from."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from torchlogreg.configuration import config
from torchlogreg.history import History
from torchlogreg.state import FitState, Hook
from torchlogreg.weighting import Snapshot, misclassified

SAMPLE_WEIGHT_ROWS = 5_000
"""Rows up to which an adaptive fit's sample weights are recorded unless the user says otherwise."""


class Recorder(Hook):
    """Records the initial state, then every ``every``-th epoch and the last.

    Figures stay tensors on their device until the fit ends: recording does not wait for it.

    Parameters
    ----------
    every : int
        Epochs from one record to the next, ``>= 1``.
    sample_weight : bool, optional
        Record all sample weights. Default: if they are adaptive and the rows at most 5,000.
    keep_data : bool
        Keep a copy of ``X`` and ``y`` in the history, as pictures of points need.
    meta : mapping, optional
        JSON-able facts to store beside the records, such as names and titles.

    Attributes
    ----------
    history : History
        Complete once the fit has ended; before that, what has been recorded so far.

    Raises
    ------
    ValueError
        If ``every`` is not positive.
    TypeError
        If ``meta`` is not JSON-able.
    """

    def __init__(
        self,
        every: int = 1,
        *,
        sample_weight: bool | None = None,
        keep_data: bool = False,
        meta: Mapping[str, Any] | None = None,
    ) -> None:
        if every < 1:
            raise ValueError(f"every is {every}, but it counts epochs from 1")
        self.every = every
        self.sample_weight = sample_weight
        self.keep_data = keep_data
        self.meta = dict(meta or {})
        try:  # now rather than when the finished fit is to be saved
            json.dumps(self.meta)
        except TypeError as error:
            raise TypeError(f"meta is stored as JSON, and {error}; pass str(...) of it") from None
        self._columns: dict[str, list[Any]] = {}
        self._data: dict[str, np.ndarray] = {}
        self._facts: dict[str, Any] = {}

    def on_fit_start(self, state: FitState) -> None:
        """Forget earlier fits; record the starting point."""
        self._columns = {}
        self._with_weights = (
            state.weighting.adaptive and len(state.data) <= SAMPLE_WEIGHT_ROWS
            if self.sample_weight is None
            else self.sample_weight
        )
        if self.keep_data:
            self._data = {"X": _array(state.data.X), "y": _array(state.data.y)}
        self._facts = describe(state)
        self._record(state)

    def on_epoch_end(self, state: FitState) -> None:
        """Record every ``every``-th epoch."""
        if state.epoch % self.every == 0:
            self._record(state)

    def on_fit_end(self, state: FitState) -> None:
        """Record the last epoch if it was not yet, and why the fit ended."""
        recorded = self._columns.get("step", [])
        if recorded and recorded[-1] < state.step:  # Ctrl-C may come within an epoch
            self._record(state)
        self._facts["stop_reason"] = state.stop_reason or "max_epochs"
        self._facts["converged"] = state.converged

    def remember(self) -> dict[str, Any]:
        """The records so far: a tensor or a list a column."""
        return {
            name: torch.stack(values) if isinstance(values[0], Tensor) else list(values)
            for name, values in self._columns.items()
        }

    def recall(self, memory: dict[str, Any]) -> None:
        """Go on from these records; the resumed epoch is among them.

        Raises
        ------
        ValueError
            If they are no records of such a fit.
        """
        columns = {name: list(values) for name, values in memory.items()}
        shapes = {name: _shape(values[0]) for name, values in self._columns.items()}
        fit = columns.keys() == shapes.keys() and len(set(map(len, columns.values()))) == 1
        if not fit or any(_shape(v) != shapes[k] for k, own in columns.items() for v in own):
            raise ValueError("its records are not those of this fit")
        self._columns = columns

    @property
    def history(self) -> History:
        """The records as arrays."""
        columns = {}
        for name, values in self._columns.items():
            tensors = values and isinstance(values[0], Tensor)
            columns[name] = _array(torch.stack(values)) if tensors else np.array(values)
        return History(columns, self._data, self._facts | self.meta)

    def _record(self, state: FitState) -> None:
        evaluations = state.objective.evaluations
        row: dict[str, Any] = {"epoch": state.epoch, "step": state.step, "evaluations": evaluations}
        row |= figures(state)
        row["params"] = torch.cat([p.detach().flatten() for p in state.model.parameters()])
        if self._with_weights:
            row["sample_weight"] = state.data.sample_weight
        for name, value in row.items():
            self._columns.setdefault(name, []).append(value)


def _shape(value: Any) -> tuple[int, ...] | None:
    """Of what a record holds; None if that is no number."""
    if isinstance(value, Tensor):
        return tuple(value.shape)
    return () if isinstance(value, int | float) else None


def figures(state: FitState) -> dict[str, Any]:
    """The numbers of this moment: scalar tensors on their device, floats where the host knows them.

    At most one pass over the rows, which is shared with the convergence test and other hooks.
    """
    optimality = state.optimality  # first: its pass over the rows serves what follows
    eta, losses = state.rows
    data, own = state.data, state.own_weight
    weight = state.model.weight.detach()
    weighted = torch.dot(data.sample_weight, losses) / len(losses)
    same = data.sample_weight is own
    numbers = {
        "seconds": time.perf_counter() - state.started,
        "objective": state.value,
        "loss_weighted": weighted,
        "loss_unweighted": weighted if same else torch.dot(own, losses) / len(losses),
        "optimality": optimality,
        "learning_rate": learning_rate(state),
        "weight_norm": torch.linalg.vector_norm(weight),
    }
    if state.model.n_classes is not None:
        numbers["accuracy"] = accuracy(state, eta, losses)
    return numbers


def learning_rate(state: FitState) -> float:
    """That of the first parameter group, or NaN for an optimizer that has none."""
    rate = state.optimizer.param_groups[0].get("lr")
    return np.nan if rate is None else float(rate)  # SVRG finds its own before its first step


def accuracy(state: FitState, eta: Tensor, losses: Tensor) -> Tensor:
    """Share of rows whose most probable class is the label, a scalar tensor.

    Rows count as often as the user's own sample weights say, whatever the weighting adds.
    """
    snapshot = Snapshot(state.data.y, eta, losses, state.model.predict(eta))
    right = (~misclassified(snapshot)).to(losses.dtype)
    return torch.dot(state.own_weight, right) / len(right)


def describe(state: FitState) -> dict[str, Any]:
    """Model, optimizer, penalty and weighting of a fit, as JSON-able facts."""
    return {
        "model": config(state.model),
        "params": [[name, list(p.shape)] for name, p in state.model.named_parameters()],
        "n_rows": len(state.data),
        "optimizer": type(state.optimizer).__name__,
        "learning_rate": learning_rate(state),
        "penalty": repr(state.objective.penalty),
        "weighting": type(state.weighting).__name__,
        "max_epochs": state.max_epochs,
        "dtype": str(state.model.weight.dtype).removeprefix("torch."),
        "device": str(state.model.weight.device),
    }


def _array(tensor: Tensor) -> np.ndarray:
    tensor = tensor.detach().cpu()
    if tensor.dtype == torch.bfloat16:  # numpy has none
        tensor = tensor.float()
    array: np.ndarray = tensor.numpy().copy()
    return array
