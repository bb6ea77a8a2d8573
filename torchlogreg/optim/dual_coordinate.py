"""Dual coordinate descent for L2 and sparse rows, as a ``torch.optim.Optimizer``."""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from torchlogreg.data import Batch
from torchlogreg.losses import Loss, binary_nll, squared_error
from torchlogreg.models import LinearRegression, LogisticRegression
from torchlogreg.objective import Closure, Objective
from torchlogreg.optim.requirements import our_closure
from torchlogreg.penalties import L2
from torchlogreg.sparse import SparseRows

KINDS: dict[Loss, str] = {squared_error: "squared", binary_nll: "binary"}

HEIGHT, BLOCKS = 32, 512
"""Rows that stay together when their order is shuffled, at most: single ones of many rows are not
found in the cache; and blocks that there are at least, for a new order to be another one."""

WALKS = 5
"""Walks over the rows in a step: the gradient that judges it costs as much as two."""

STALE, SLOWER = 0.4, 5.0
"""An order is stale once a walk moves the rows by more than this share of the walk before, or by
more than so many times the least such share so far."""

AFRESH = 2
"""Steps after which ``weight`` is summed anew, so that roundings do not pile up."""


@dataclass(slots=True, eq=False)
class Duals:
    """What is known of every row, (n,) each, and what does not change.

    ``slopes`` are the dual variables, minus the derivative of the row's loss at ``scores``;
    ``weight = sum_i step_i slopes_i x_i``. ``order`` is that of blocks of ``height`` rows.
    ``moved`` is how far the rows moved in the last walk, ``least`` the least share of it that the
    next one moved them.
    """

    X: SparseRows
    batch: Batch
    order: np.ndarray[Any, Any]
    step: np.ndarray[Any, Any]
    squares: np.ndarray[Any, Any]
    offset: np.ndarray[Any, Any]
    slopes: np.ndarray[Any, Any]
    scores: np.ndarray[Any, Any]
    source: torch.Generator
    height: int
    moved: float = math.inf
    least: float = math.inf
    stale: bool = False

    def walked(self, moved: float) -> None:
        """Judge a walk; step 4."""
        share = moved / self.moved if self.moved > 0 else 0.0
        self.stale |= share > min(STALE, SLOWER * self.least)
        self.least = min(self.least, share if share > 0 else math.inf)
        self.moved = moved
        if self.stale:
            self.order[:] = torch.randperm(len(self.order), generator=self.source).numpy()

    def weight(self) -> Tensor:
        """``weight`` (1, p) of the slopes."""
        return torch.from_numpy(self.step * self.slopes)[None] @ self.X


class DualCoordinate(Optimizer):
    """Maximises the dual objective one row at a time; a ``step`` walks five times over the rows.

    At an optimum with ridge ``alpha`` the weights are a sum of rows,

        weight = sum_i step_i u_i x_i,    u_i = -loss_i'(x_i . weight),    step_i = s_i / (alpha n)

    with ``s_i`` the sample weights. Each row's equation is solved with the others held, nearly, and
    ``weight`` follows at the price of the row's stored entries.

    1. Once for the same rows: ``u_i`` from the scores at the present weights; zero where these are.
    2. For each row: the score ``t``, then ``t' = t + step_i |x_i|^2 (-loss_i'(t') - u_i)`` by
       a step or two of Newton's method in a bracket (squared error: by formula), then ``weight``.
    3. After every few steps ``weight`` from its sum.
    4. The order of the rows, random in small blocks, is kept while that is quick: on rows without
       structure it saves a fourth of the walks. Where many rows share columns, as words or the
       levels of a factor do, an order that is kept may never end; as soon as the walks move the
       rows but little less than those before, each has a new one.

    Fast where ``|x_i|^2 / (alpha n)`` is moderate, as with scikit-learn's ``C`` near 1 and rows of
    about unit entries; slow for weak penalties. No intercept is trained: it has no penalty, and so
    no sum of rows. A numba kernel walks the rows.

    Parameters
    ----------
    params : iterable of nn.Parameter
        All trainable parameters of the model: its ``weight``.
    lr : float
        Only 1: each row is solved for itself.
    generator : torch.Generator, optional
        Source of the order of rows, on the CPU. Default: one of its own, seeded with 0.

    Raises
    ------
    ValueError
        If ``lr`` is not 1; in ``step``, for anything but linear and logistic regression of sparse
        rows with ``L2`` and no trained intercept.
    ModuleNotFoundError
        In ``step``, without numba.
    TypeError
        In ``step``, if the closure is not one of :class:`torchlogreg.objective.Closure`.

    References
    ----------
    Yu, Huang and Lin, Dual coordinate descent methods for logistic regression and maximum entropy
    models, Mach. Learn. 85 (2011); Shalev-Shwartz and Zhang, Stochastic dual coordinate ascent
    methods for regularized loss minimization, J. Mach. Learn. Res. 14 (2013).
    """

    needs_full_batch = True
    needs_all_ranks = True
    handles_nonsmooth = False
    _duals: Duals | None = None  # of the class, since a copy takes only its state along
    _generator: torch.Generator | None = None
    _steps = 0

    def __init__(
        self,
        params: Iterable[nn.Parameter],
        lr: float = 1.0,
        generator: torch.Generator | None = None,
    ) -> None:
        if lr != 1:
            raise ValueError(f"DualCoordinate solves row after row, lr=1, not {lr=}")
        super().__init__(params, {"lr": lr})
        self._generator = generator

    @torch.no_grad()
    def step(self, closure: Any = None) -> Tensor:  # type: ignore[override]
        """Five walks; returns the value before them, as torch's optimizers do."""
        closure = our_closure(closure, self)
        if reason := unsuitable(closure.objective, closure.batch.X):
            raise ValueError(reason)
        if not installed():
            raise ModuleNotFoundError(
                "DualCoordinate walks from row to row, which needs numba; pip install "
                "torchlogreg[fast], or use optimizer='newton_cg'"
            )
        known = closure.objective.known(closure.batch)
        value: Tensor = closure.value() if known is None else closure()  # no gradient is needed
        weight = closure.objective.model.weight
        duals = self._of(closure)
        if self._steps % AFRESH == 0 and duals.slopes.any():  # 3
            weight.copy_(duals.weight())
        self._run(duals, closure.objective.loss, weight)
        return value

    def _run(self, duals: Duals, loss: Loss, weight: nn.Parameter) -> None:
        """Step 2, in place."""
        from torchlogreg.kernels.dual import DUAL

        rows = duals.X.entries.rows
        moved = weight.detach()[0].clone().numpy()
        y = duals.batch.y.numpy()
        own = (y, duals.offset, duals.step, duals.squares, duals.slopes, duals.scores)
        entries = (rows.indptr, rows.indices.view(unsigned(rows.indices)), rows.data)
        for _ in range(WALKS):
            duals.walked(DUAL[KINDS[loss]](duals.order, duals.height, *entries, *own, moved))
        weight.copy_(torch.from_numpy(moved)[None])
        self._steps += 1

    def _of(self, closure: Closure) -> Duals:
        """Duals of these rows under these weights; step 1."""
        known, batch = self._duals, closure.batch
        if known is not None and known.batch is batch:
            return known
        objective = closure.objective
        model, penalty = objective.model, objective.penalty
        alpha = 0.0 if penalty is None else penalty.alpha
        X: Any = batch.X
        step = (batch.sample_weight / (alpha * len(batch))).numpy()
        fixed = model.intercepts().detach().expand(len(batch)).clone()
        if batch.offset is not None:
            fixed += batch.offset.reshape(-1)
        scores = torch.zeros_like(fixed)
        slopes = torch.zeros_like(fixed)
        if bool(model.weight.any()):
            scores = (X @ model.weight.T)[:, 0] + fixed
            mean = torch.sigmoid(scores) if objective.loss is binary_nll else scores
            slopes = (batch.y - mean) * (1 if objective.loss is binary_nll else 2)
        squares = X.square().sum(1).numpy()
        own = (fixed.numpy(), slopes.numpy(), scores.numpy())
        source = self._generator or torch.Generator().manual_seed(0)
        height = max(1, min(HEIGHT, len(batch) // BLOCKS))
        order = torch.randperm(-(-len(batch) // height), generator=source).numpy()
        self._duals, self._steps = Duals(X, batch, order, step, squares, *own, source, height), 0
        return self._duals


def unsigned(places: np.ndarray[Any, Any]) -> type:
    """The type of the same places that numba need not ask for their sign."""
    return np.uint32 if places.dtype == np.int32 else np.uint64


def installed() -> bool:
    """Whether there is a compiler for the kernel."""
    return importlib.util.find_spec("numba") is not None


def unsuitable(objective: Objective, X: Tensor) -> str:
    """Why dual coordinate descent cannot serve, and the cure; empty if it can."""
    model, penalty = objective.model, objective.penalty
    if type(model) not in (LinearRegression, LogisticRegression) or objective.loss not in KINDS:
        return (
            f"DualCoordinate knows linear and logistic regression with their own losses, not this "
            f"{type(model).__name__}; use optimizer='newton_cg'"
        )
    if type(penalty) is not L2 or not penalty.alpha > 0:
        return f"DualCoordinate needs the penalty L2, not {penalty!r}; use optimizer='newton_cg'"
    if len(objective.params) != 1 or objective.params[0] is not model.weight:
        return (
            "DualCoordinate trains weights alone; make the model with bias=False, or use "
            "optimizer='newton_cg'"
        )
    if not isinstance(X, SparseRows):
        return "DualCoordinate walks over sparse rows; pass scipy.sparse.csr_array(X)"
    return ""
