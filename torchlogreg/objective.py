"""The objective and its closures: the only place where rows are summed.

Notation, used by all files
---------------------------
n, p, k, K, P   rows, features, columns of eta, classes, trainable parameters
X (n, p)        eta = model(X) (n, k)        loss_i = loss(eta, y)_i

    objective = (1/n) sum_i sample_weight_i loss_i + penalty(weight),    mean(sample_weight) = 1

A mini-batch B has ``(1/|B|) sum_{i in B} sample_weight_i loss_i + penalty(weight)``: its
expectation over random batches is the objective, and so is its average over a partition, weighted
by size.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from torchlogreg import curvature
from torchlogreg.base import Model
from torchlogreg.data import Batch
from torchlogreg.losses import Loss
from torchlogreg.penalties import Penalty
from torchlogreg.units import Units


class Evaluation(NamedTuple):
    """One forward and backward pass, and where it was made."""

    batch: Batch
    penalty: Penalty | None
    at: list[Tensor]
    versions: list[int]
    value: Tensor
    gradients: list[Tensor]
    eta: Tensor
    losses: Tensor


class Objective:
    """What is minimised: a model, a loss, a penalty.

    Parameters
    ----------
    model : Model
    loss : Loss, optional
        Default: the model's own ``nll``.
    penalty : Penalty, optional

    Attributes
    ----------
    params : list of nn.Parameter
        The trainable parameters, ``weight`` first; the order of all flat (P,) vectors.
    evaluations : int
        How often an optimizer has asked for a value, with or without its gradient.
    """

    def __init__(
        self, model: Model, loss: Loss | None = None, penalty: Penalty | None = None
    ) -> None:
        self.model = model
        self.loss: Loss = model.nll if loss is None else loss
        self.own_loss = self.loss is model.nll
        if penalty is not None:
            penalty.check(model, own_loss=self.own_loss)
        self.penalty = penalty
        self.params: list[nn.Parameter] = [p for p in model.parameters() if p.requires_grad]
        if not self.params:
            raise ValueError(
                f"all parameters of the {type(model).__name__} are frozen (requires_grad=False); "
                "nothing is left to train"
            )
        self.evaluations = 0
        self._last: Evaluation | None = None
        self._units: tuple[Batch, Units] | None = None

    def closure(self, batch: Batch, data: Batch) -> Closure:
        """The objective on the rows of ``batch``, which come from ``data``.

        Raises
        ------
        ValueError
            If ``batch`` is not all of ``data`` and the penalty depends on all rows.
        """
        if self.penalty is not None and self.penalty.needs_rows and batch is not data:
            raise ValueError(
                f"{type(self.penalty).__name__} depends on all rows, and a mini-batch of "
                f"{len(batch)} of {len(data)} has another penalty; drop batch_size="
            )
        return Closure(self, batch, data)

    def rows(self, data: Batch) -> tuple[Tensor, Tensor]:
        """``eta (n, k)`` and unweighted losses (n,) at the current parameters, detached.

        Free right after an evaluation of the same rows, under whatever weights.
        """
        last = self._last
        if last is not None and _same_rows(last.batch, data) and self._unmoved(last):
            return last.eta, last.losses
        with torch.no_grad():
            eta = self.model(data.X, data.offset)
            return eta, self.loss(eta, data.y)

    @torch.no_grad()
    def value(self, data: Batch) -> Tensor:
        """Objective on ``data`` at the current parameters, penalty included, a detached scalar.

        Free right after an evaluation of the same rows under the same weights.
        """
        last, penalty = self._last, self.penalty
        if last is not None and last.batch is data and last.penalty is penalty:
            if (penalty is None or penalty.smooth) and self._unmoved(last):
                return last.value
        eta, losses = self.rows(data)
        return self._total(data, eta, losses, smooth_only=False)

    def _total(self, batch: Batch, eta: Tensor, losses: Tensor, *, smooth_only: bool) -> Tensor:
        """Weighted mean of the losses, plus the penalty."""
        value = torch.dot(batch.sample_weight, losses) / len(batch)
        if self.penalty is not None and (self.penalty.smooth or not smooth_only):
            value = value + self.penalty.value_on(self.model, batch, eta)
        return value

    def evaluate(self, batch: Batch, *, keep: bool) -> Evaluation:
        """Smooth value and gradient on ``batch``; ``keep`` remembers it until the parameters move.

        Remembering makes the optimality test after a step and the gradient that the next step
        starts from one pass over the data instead of two.
        """
        last = self._last
        if last is not None and last.batch is batch and last.penalty is self.penalty:
            if self._unmoved(last):
                return last
        with torch.enable_grad():
            eta = self.model(batch.X, batch.offset)
            losses = self.loss(eta, batch.y)
            if losses.shape != batch.sample_weight.shape:
                raise ValueError(
                    f"the loss returned shape {tuple(losses.shape)} for {len(batch)} rows, but one "
                    "number per row is needed; reduce nothing"
                )
            value = self._total(batch, eta, losses, smooth_only=True)
            gradients = torch.autograd.grad(
                value, self.params, allow_unused=True, materialize_grads=True
            )
        evaluation = Evaluation(
            batch,
            self.penalty,
            [p.detach().clone() for p in self.params] if keep else [],
            [p._version for p in self.params],
            value.detach(),
            list(gradients),
            eta.detach(),
            losses.detach(),
        )
        if keep:
            self.remember(evaluation)
        return evaluation

    def remember(self, evaluation: Evaluation) -> None:
        """Keep what an optimizer has found out about the current parameters in another way."""
        self._last = evaluation

    def units(self, data: Batch) -> Units:
        """Units of columns and response; computed once for the same rows."""
        if self._units is None or not _same_rows(self._units[0], data):
            numeric = self.own_loss and self.model.n_classes is None
            self._units = data, Units.of(data, numeric=numeric)
        return self._units[1]

    def _unmoved(self, last: Evaluation) -> bool:
        """Version counters first (free); values too, because ``p.data`` changes bypass them."""
        return all(
            p._version == v and torch.equal(p, q)
            for p, q, v in zip(self.params, last.at, last.versions, strict=True)
        )


class Closure:
    """The objective on some rows: a ``torch.optim`` closure that answers more questions.

    Parameters
    ----------
    objective : Objective
    batch : Batch
        The rows it speaks of.
    data : Batch
        All rows; ``closure.full`` asks the same questions of them.
    """

    def __init__(self, objective: Objective, batch: Batch, data: Batch) -> None:
        self.objective = objective
        self.batch = batch
        self.data = data

    @property
    def params(self) -> list[nn.Parameter]:
        """Trainable parameters, in the order of all flat vectors here."""
        return self.objective.params

    @property
    def full(self) -> Closure:
        """The closure of all rows."""
        return Closure(self.objective, self.data, self.data)

    def _evaluate(self) -> Evaluation:
        return self.objective.evaluate(self.batch, keep=self.batch is self.data)

    def __call__(self) -> Tensor:
        """Smooth value, a scalar tensor; sets every ``p.grad`` (never accumulates)."""
        evaluation = self._evaluate()
        self.objective.evaluations += 1
        for p, gradient in zip(self.params, evaluation.gradients, strict=True):
            p.grad = gradient.clone()  # optimizers may change p.grad in place
        return evaluation.value

    @torch.no_grad()
    def value(self, smooth_only: bool = False, *, eta: Tensor | None = None) -> Tensor:
        """Objective without its gradient, a scalar tensor; for line searches and reports.

        ``eta (n, k)`` of the current parameters, where it is known, saves the pass.
        """
        objective, batch = self.objective, self.batch
        objective.evaluations += 1
        if eta is None:
            eta = objective.model(batch.X, batch.offset)
        losses = objective.loss(eta, batch.y)
        return objective._total(batch, eta, losses, smooth_only=smooth_only)

    @torch.no_grad()
    def rounding(self, value: Tensor) -> Tensor:
        """Changes of ``value`` that a line search cannot tell from none, a scalar tensor."""
        ulps, penalty = 8 * torch.finfo(value.dtype).eps * value.abs(), self.objective.penalty
        own = None if penalty is None else penalty.rounding_on(self.objective.model, self.batch)
        return ulps if own is None else ulps + own

    def gradient(self) -> Tensor:
        """Gradient of the smooth value, (P,); leaves ``p.grad`` alone."""
        return torch.cat([g.flatten() for g in self._evaluate().gradients])

    def hessian(self) -> Tensor:
        """Gauss-Newton matrix of the smooth value, (P, P), positive semi-definite."""
        model, penalty = self.objective.model, self.objective.penalty
        matrix = curvature.gauss_newton(model, self.objective.loss, self.batch)
        if penalty is None or not penalty.smooth:
            return matrix
        return penalty.curvature_on(matrix, model, self.batch)

    def hessian_product(self, v: Tensor) -> Tensor:
        """``hessian() @ v`` for ``v`` (P,), in two passes over the rows and no (P, P) matrix."""
        model, penalty = self.objective.model, self.objective.penalty
        if penalty is not None and penalty.needs_rows:
            return self.hessian() @ v  # such a penalty holds (P, P) matrices anyway
        product = curvature.gauss_newton_product(model, self.objective.loss, self.batch, v)
        if penalty is not None and penalty.smooth and model.weight.requires_grad:
            bend = penalty.curvature(model.weight.detach()).flatten()
            product[: len(bend)] += bend * v[: len(bend)]
        return product

    def sample_gradients(self) -> Tensor:
        """Gradient of every row's weighted loss, (n, P), without the penalty."""
        return curvature.row_gradients(self.objective.model, self.objective.loss, self.batch)

    @torch.no_grad()
    def prox_(self, step: float) -> None:
        """Apply the prox of the non-smooth penalty to ``weight``, in place."""
        penalty, weight = self.objective.penalty, self.objective.model.weight
        if penalty is not None and not penalty.smooth:
            weight.copy_(penalty.prox(weight, step))

    def optimality(self) -> Tensor:
        """Distance from the optimality conditions, a scalar tensor: zero exactly at an optimum.

        The largest absolute partial derivative with every column in units of its root mean square
        and a numeric response in units of its standard deviation: for standardised columns, the
        largest entry of the gradient. For a non-smooth penalty the gradient by ``weight`` is
        replaced by ``weight - prox(weight - gradient)`` in those units.
        """
        penalty, weight = self.objective.penalty, self.objective.model.weight
        units = self.objective.units(self.data)
        parts = []
        for p, g in zip(self.params, self._evaluate().gradients, strict=True):
            g = g.to(units.columns.dtype)
            if p is weight and penalty is not None and not penalty.smooth:
                step, at = units.columns.square().reciprocal(), p.detach().to(g.dtype)
                g = (at - penalty.prox(at - step * g, step)) / step
            if p is weight:
                g = g / units.columns
            parts.append(g.abs().max() if g.numel() else g.new_zeros(()))
        return torch.stack(parts).max() / units.response


def _same_rows(a: Batch, b: Batch) -> bool:
    """Whether two batches are the same rows, whatever their weights."""
    return a.X is b.X and a.y is b.y and a.offset is b.offset
