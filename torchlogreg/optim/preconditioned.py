"""L-BFGS for many classes, preconditioned by the curvature of each class."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from torchlogreg.data import Batch
from torchlogreg.kernels import gram, gram_available
from torchlogreg.losses import categorical_nll
from torchlogreg.models import SoftmaxRegression
from torchlogreg.objective import Closure, Objective
from torchlogreg.optim.quasi_newton import QuasiNewton
from torchlogreg.optim.requirements import our_closure
from torchlogreg.optim.sampling import sampled

ROWS = 40
"""Rows a column of the samples that the blocks are made from."""


class BlockLBFGS(Optimizer):
    """L-BFGS whose starting matrix is block-diagonal by class; one ``step`` is one iteration.

    1. Blocks ``X' diag(p_c (1 - p_c)) X + penalty`` of a random sample, one Cholesky factor each;
       made at the start, where all classes share one block, and again after 2, 6, 14, ... steps,
       or when a step fails.
    2. Direction by L-BFGS about them, from the gradient on all rows.
    3. Without a reference class, projected to steps whose sum over the classes is zero: a common
       shift of all classes changes no probability, and each block wants a part of it. Without the
       projection the number of iterations is ten times larger.
    4. The whole step, or a shorter one.

    Parameters
    ----------
    params : iterable of nn.Parameter
        All trainable parameters of the model.
    lr : float
        Only 1.
    generator : torch.Generator, optional
        Source of the samples, on the CPU. Default: one of its own, seeded with 0.

    Raises
    ------
    ValueError
        If ``lr`` is not 1; in ``step``, for anything but :class:`SoftmaxRegression`, its own loss,
        and trainable weights.
    TypeError
        In ``step``, if the closure is not one of :class:`torchlogreg.objective.Closure`.
    """

    needs_full_batch = True
    handles_nonsmooth = False
    _generator: torch.Generator | None = None  # of the class, since a copy takes only its state
    _quasi: QuasiNewton | None = None
    _rows: Tensor | None = None
    _steps = 0
    _renew = 0

    def __init__(
        self,
        params: Iterable[nn.Parameter],
        lr: float = 1.0,
        generator: torch.Generator | None = None,
    ) -> None:
        if lr != 1:
            raise ValueError(f"BlockLBFGS takes whole steps, lr=1, not {lr=}")
        super().__init__(params, {"lr": lr})
        self._generator = generator

    @torch.no_grad()
    def step(self, closure: Any = None) -> Tensor:  # type: ignore[override]
        """One iteration; returns the value before it, as torch's optimizers do."""
        closure = our_closure(closure, self)
        if reason := unsuitable(closure.objective):
            raise ValueError(reason)
        if self._rows is not closure.batch.X:
            self._rows, self._steps, self._renew, self._quasi = closure.batch.X, 0, 0, None
        value: Tensor = closure()
        if self._quasi is None or self._steps == self._renew:
            self._renew = 2 * self._steps + 2
            self._quasi = self._based(closure)
        if not self._quasi.descend(closure).accepted:
            self._renew = self._steps + 1
        self._steps += 1
        return value

    def _based(self, closure: Closure) -> QuasiNewton:
        source = self._generator or torch.Generator().manual_seed(self._steps)
        model, batch = closure.objective.model, closure.batch
        count = min(batch.n, ROWS * (model.n_features + 1))
        rows = sampled(batch, count, source, model.n_classes)
        solve = ClassBlocks(closure.objective, rows).solve
        return QuasiNewton(solve) if self._quasi is None else self._quasi.based_on(solve)


class ClassBlocks:
    """The inverse of the block-diagonal Hessian, at the present parameters.

    Parameters
    ----------
    objective : Objective
    batch : Batch
    """

    def __init__(self, objective: Objective, batch: Batch) -> None:
        model = objective.model
        self._shape = r, p = model.weight.shape
        self._bias = model.bias is not None
        self._centred = r == model.n_classes
        probability = torch.softmax(model(batch.X, batch.offset), dim=1)[:, -r:]
        curvature = probability * (1 - probability) * (batch.sample_weight / len(batch))[:, None]
        same = bool((probability.std(0) == 0).all() & (probability[0].std() == 0))
        size = p + int(self._bias)
        blocks = batch.X.new_zeros(1 if same else r, size, size)
        curvature = curvature.T[: len(blocks)].contiguous()
        for block, a in zip(blocks.unbind(), curvature.unbind(), strict=True):
            block[:p, :p] = _gram(batch.X, a)
        if self._bias:
            blocks[:, p, :p] = blocks[:, :p, p] = curvature @ batch.X
            blocks[:, p, p] = curvature.sum(1)
        penalty = objective.penalty
        if penalty is not None:
            bend = penalty.curvature(model.weight.detach())
            blocks.diagonal(dim1=1, dim2=2)[:, :p] += bend[: len(blocks)]
        diagonal = blocks.diagonal(dim1=1, dim2=2)
        scale = torch.where(diagonal > 0, diagonal, 1.0).rsqrt()
        scaled = blocks * scale[:, :, None] * scale[:, None, :]
        # So that columns that a class has not seen, or that depend on others, leave it invertible.
        scaled.diagonal(dim1=1, dim2=2).add_(1e4 * torch.finfo(scaled.dtype).eps)
        self._scale, self._lower = scale, torch.linalg.cholesky(scaled)

    def solve(self, vector: Tensor) -> Tensor:
        """Block by block, between projections, (P,)."""
        r, p = self._shape
        rows = vector[: r * p].view(r, p)
        if self._bias:
            rows = torch.cat((rows, vector[r * p :, None]), dim=1)
        rows = self._projected(rows) * self._scale
        if len(self._lower) == 1:
            solved = torch.cholesky_solve(rows.T, self._lower[0]).T
        else:
            solved = torch.cholesky_solve(rows[:, :, None], self._lower)[:, :, 0]
        rows = self._projected(solved * self._scale)
        return torch.cat((rows[:, :p].flatten(), rows[:, p:].flatten()))

    def _projected(self, rows: Tensor) -> Tensor:
        return rows - rows.mean(0) if self._centred else rows


def _gram(X: Tensor, a: Tensor) -> Tensor:
    """``X' diag(a) X``, (p, p)."""
    return gram(X, a) if gram_available(X) else (X * a[:, None]).T @ X


def unsuitable(objective: Objective) -> str:
    """Why blocks by class cannot serve ``objective``, and the cure; empty if they can."""
    model, penalty = objective.model, objective.penalty
    if type(model) is not SoftmaxRegression or objective.loss is not categorical_nll:
        return (
            f"BlockLBFGS solves SoftmaxRegression with its own loss only, not this "
            f"{type(model).__name__}; use optimizer='lbfgs'"
        )
    if not all(p.requires_grad for p in model.parameters()):
        return "BlockLBFGS trains all parameters, but some are frozen; use optimizer='lbfgs'"
    if penalty is not None and penalty.needs_rows:
        return f"BlockLBFGS knows no {type(penalty).__name__}; use optimizer='newton' or 'lbfgs'"
    return ""
