"""All that a running fit remembers, so that it can be continued bit for bit; and put back."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from torchlogreg.checkpoints.file import Contents, DamagedError
from torchlogreg.checkpoints.fingerprint import differences, fingerprint
from torchlogreg.checkpoints.packing import Packer, Unpacker
from torchlogreg.data import Batch
from torchlogreg.kernels.packed import Packed
from torchlogreg.optim.centring import Centred
from torchlogreg.optim.dual_coordinate import Duals
from torchlogreg.optim.factor import Factor
from torchlogreg.optim.iteration import Iteration
from torchlogreg.optim.metric import Metric, Products
from torchlogreg.optim.newton_cg import NewtonCG
from torchlogreg.optim.preconditioned import ClassBlocks
from torchlogreg.optim.proximal import Trail
from torchlogreg.optim.quasi_newton import QuasiNewton
from torchlogreg.optim.settling import Pace, Settled
from torchlogreg.optim.wide_kernel import Kernel
from torchlogreg.optim.working_set import Columns
from torchlogreg.pages import Growing
from torchlogreg.passes import Found
from torchlogreg.remembered import Evaluation
from torchlogreg.reweighting import Asked
from torchlogreg.small import Logits
from torchlogreg.state import FitState
from torchlogreg.units import Units


class Inner(NamedTuple):
    """What an optimizer within an optimizer remembers."""

    kind: str
    memory: dict[str, Any]


CLASSES = (
    *(Asked, Batch, Centred, ClassBlocks, Columns, Duals, Evaluation, Factor, Found, Growing),
    *(Inner, Iteration, Kernel, Logits, Metric, Pace, Packed, Products, QuasiNewton, Settled),
    *(Trail, Units),
)
"""Whose instances a checkpoint may hold: plain records of numbers."""

INNER: dict[str, Callable[[list[nn.Parameter]], Optimizer]] = {"NewtonCG": NewtonCG}

PLAIN = ("epoch", "step", "loss", "weight_change", "previous_optimality", "slow_steps")
"""Fields of the state that are kept as they are; with those that need care, all of them."""

_OF_TORCH = {*vars(torch.optim.SGD([torch.zeros(1)], lr=1.0)), "step", "_opt_called"}
"""Attributes of every optimizer, and those that schedulers add."""


def capture(state: FitState) -> Contents:
    """All that the fit remembers at the end of an epoch.

    Raises
    ------
    TypeError
        If an optimizer or a hook remembers something that is no data.
    """
    known, centred, source = _known(state), _centred(state.optimizer), _source(state)
    if centred is not None and centred.batch is not None:
        known["moved"] = centred.batch.X  # as large as X, and soon made again
    packer = Packer(known, CLASSES)
    centre = None if centred is None or "moved" not in known else centred.centre
    memory = {
        "params": [p.detach().clone() for p in state.model.parameters()],
        "optimizer": _memory_of(state.optimizer),
        "schedule": None if state.schedule is None else state.schedule.state_dict(),
        "generator": None if source is None else source.get_state(),
        "state": {name: getattr(state, name) for name in (*PLAIN, "eta_before", "asked")},
        "evaluation": state.objective.remembered._last,
        "counts": (state.objective.evaluations, state.objective.rows_read),
        "hooks": [(type(hook).__name__, hook.remember()) for hook in state.hooks],
    }
    reason = "" if state.stop_reason == "interrupted" else state.stop_reason
    tree = {
        "fingerprint": fingerprint(state),
        "threads": torch.get_num_threads(),
        "seconds": time.perf_counter() - state.started,
        "ended": [reason, state.converged, state.tol, state.max_epochs],
        "sample_weight": packer.pack(state.data.sample_weight),
        "centre": packer.pack(centre),
        "memory": packer.pack(memory),
    }
    return Contents(tree, packer.storages)


class Saved:
    """A checkpoint that fits; nothing is changed before :meth:`restore`.

    Raises
    ------
    DamagedError
        If its contents make no sense.
    ValueError
        If it is of another fit.
    """

    def __init__(self, contents: Contents, path: Path, state: FitState) -> None:
        self.path = path
        tree = contents.tree
        if not isinstance(tree, dict) or not isinstance(tree.get("fingerprint"), dict):
            raise DamagedError("it describes no fit")
        other = differences(tree["fingerprint"], fingerprint(state))
        if other:
            raise ValueError(f"{path} is a checkpoint of another fit: {other}")
        try:
            self._unpack(tree, contents.storages, state)
        except (LookupError, TypeError, ValueError, AttributeError, RecursionError) as error:
            raise DamagedError(" ".join(str(error).split())[:200]) from None

    def _unpack(self, tree: dict[str, Any], storages: dict[str, Tensor], state: FitState) -> None:
        known, data = _known(state), state.data
        unpacker = Unpacker(storages, known, CLASSES, data.X.device)
        sample_weight = unpacker.unpack(tree["sample_weight"])
        if sample_weight is not data.sample_weight:
            if sample_weight.shape != data.sample_weight.shape:
                raise ValueError("its sample weights are of other rows")
            data = data.reweighted(sample_weight)
        unpacker.known["data"] = data
        centre = unpacker.unpack(tree["centre"])
        if isinstance(centre, Tensor):
            unpacker.known["moved"] = data.X - centre
        elif centre is not None:
            raise ValueError("its centre is no tensor")
        self._memory: dict[str, Any] = unpacker.unpack(tree["memory"])
        self._data, self._seconds = data, float(tree["seconds"])
        self.threads = int(tree["threads"])
        self._reason, self._converged, tol, last = tree["ended"]
        if type(self._reason) is not str or type(self._converged) is not bool:
            raise ValueError("it does not say how it ended")
        # Not by what is asked now; and in its last epoch a fit is content with less.
        cut = self._memory["state"]["epoch"] >= int(last) < state.max_epochs
        if self._converged and (state.tol < float(tol) or cut):
            self._reason, self._converged = "", False
        params = list(state.model.parameters())
        for p, value in zip(params, self._memory["params"], strict=True):
            if p.shape != value.shape or p.dtype != value.dtype:
                raise ValueError("its parameters have other shapes")
        self._state = {
            name: self._memory["state"][name] for name in (*PLAIN, "eta_before", "asked")
        }
        self._inner = _made(self._memory["optimizer"], state)
        _refuse_settings(self._memory["optimizer"]["groups"], state.optimizer)
        _refuse_others(self._memory, data, params)

    @torch.no_grad()
    def restore(self, state: FitState) -> None:
        """Put the fit where it was; before the hooks start."""
        memory = self._memory
        for p, value in zip(state.model.parameters(), memory["params"], strict=True):
            p.copy_(value)
        _put(state.optimizer, memory["optimizer"], self._inner)
        if state.schedule is not None:
            state.schedule.load_state_dict(memory["schedule"])
        source = _source(state)
        if source is not None:
            source.set_state(memory["generator"])
        state.data = self._data
        for name, value in self._state.items():
            setattr(state, name, value)
        state.started -= self._seconds
        state.stop_reason, state.converged = self._reason, self._converged

    def settle(self, state: FitState) -> None:
        """What the start of the hooks has disturbed, and what they remember themselves."""
        objective, last = state.objective, self._memory["evaluation"]
        if last is not None:
            last = last._replace(versions=[p._version for p in objective.params])
        objective.remembered._last = last
        objective.evaluations, objective.rows_read = self._memory["counts"]
        left = list(self._memory["hooks"])
        for hook in state.hooks:
            own = next((pair for pair in left if pair[0] == type(hook).__name__), None)
            if own is not None:
                left.remove(own)
                hook.recall(own[1])


def _refuse_others(memory: dict[str, Any], data: Batch, params: list[nn.Parameter]) -> None:
    """Refuse figures of the last epoch that no pass over these rows can have found."""
    last, asked, counts = memory["evaluation"], memory["state"]["asked"], memory["counts"]
    for name in PLAIN:
        float(memory["state"][name])
    if any(type(count) is not int for count in counts):
        raise ValueError("it does not say how much was evaluated")
    if asked is not None and (type(asked) is not Asked or len(asked.eta) != len(data)):
        raise ValueError("its weighting was asked of other rows")
    if last is None:
        return
    at, found = [p.shape for p in last.at], last.found
    trained = [p.shape for p in params if p.requires_grad]
    n_params, n_rows = sum(map(math.prod, trained)), len(last.batch.X)
    rows = {len(found.eta), len(found.losses)}
    whole = type(last) is Evaluation and type(found) is Found and at == trained
    if not whole or found.gradient.shape != (n_params,) or not rows <= {0, n_rows}:
        raise ValueError("its last evaluation is of another objective")
    float(found.value)


def _refuse_settings(groups: Any, optimizer: Optimizer) -> None:
    """Refuse settings of another kind than the optimizer's: hooks read them before it does."""
    numbers = (int, float, Tensor, type(None))
    for saved, group in zip(groups, optimizer.param_groups, strict=True):
        for name, own in group.items():
            if name == "params":
                continue
            kinds = numbers if isinstance(own, numbers) else (type(own),)
            if not isinstance(saved[name], kinds):
                raise ValueError(f"its {name!r} is no setting of {type(optimizer).__name__}")


def _known(state: FitState) -> dict[str, Any]:
    """What both sides have: rows, parameters, and the parts of the objective."""
    data, objective = state.data, state.objective
    known = {
        "X": data.X,
        "y": data.y,
        "offset": data.offset,
        "rooms": data.rooms,
        "few": data.few,
        "own_weight": state.own_weight,
        "data": data,
        "penalty": objective.penalty,
        "generator": state.generator,
    }
    known |= {f"param {name}": p for name, p in state.model.named_parameters()}
    return {name: value for name, value in known.items() if value is not None}


def _source(state: FitState) -> torch.Generator | None:
    """Of the order of mini-batches: torch's global one where the user named none."""
    if state.generator is None and state.batch_size is not None:
        return torch.default_generator
    return state.generator


def _centred(optimizer: Optimizer) -> Centred | None:
    found = getattr(optimizer, "_memory", None)
    return found if isinstance(found, Centred) else None


def _memory_of(optimizer: Optimizer) -> dict[str, Any]:
    """State, settings and what else it has: ``load_state_dict`` would change types."""
    groups = [{k: v for k, v in g.items() if k != "params"} for g in optimizer.param_groups]
    own = {}
    if not type(optimizer).__module__.startswith("torch.optim"):  # theirs is in the state
        own = {k: v for k, v in vars(optimizer).items() if k not in _OF_TORCH}
    for name, value in own.items():
        if isinstance(value, Optimizer):
            own[name] = Inner(type(value).__name__, _memory_of(value))
    return {"state": dict(optimizer.state), "groups": groups, "own": own}


def _made(memory: dict[str, Any], state: FitState) -> dict[str, Optimizer]:
    """Optimizers within the optimizer, by attribute."""
    made: dict[str, Optimizer] = {}
    for name, value in memory["own"].items():
        if name in _OF_TORCH or name.startswith("__"):
            raise ValueError(f"{name!r} is nothing that an optimizer remembers")
        if isinstance(value, Inner):
            made[name] = INNER[value.kind](state.objective.params)
    return made


def _put(optimizer: Optimizer, memory: dict[str, Any], inner: dict[str, Optimizer]) -> None:
    """The inverse of ``_memory_of``."""
    optimizer.state.clear()
    optimizer.state.update(memory["state"])
    for group, saved in zip(optimizer.param_groups, memory["groups"], strict=True):
        group.update(saved)
    for name, value in memory["own"].items():
        if isinstance(value, Inner):
            _put(inner[name], value.memory, {})
            value = inner[name]
        setattr(optimizer, name, value)
