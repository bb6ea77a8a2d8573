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

import math
from typing import Any

import torch
from torch import Tensor, nn

from torchlogreg import curvature
from torchlogreg.base import Model
from torchlogreg.closed_form import has_slopes
from torchlogreg.data import Batch
from torchlogreg.losses import Loss
from torchlogreg.passes import Found, evaluate, total
from torchlogreg.penalties import Penalty
from torchlogreg.remembered import AnySmall, Evaluation, Remembered
from torchlogreg.small import Logits, flat
from torchlogreg.units import Units


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
    trains_all : bool
        Whether these are all of the model's.
    evaluations : int
        How often an optimizer asked for a value, with its gradient or without.
    rows_read : int
        Rows passed over for values and gradients, by whomever; divided by ``n``, passes.
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
        every = list(model.parameters())
        self.params: list[nn.Parameter] = [p for p in every if p.requires_grad]
        self.trains_all = len(self.params) == len(every)
        if not self.params:
            what = f"all parameters of the {type(model).__name__} are frozen (requires_grad=False)"
            raise ValueError(f"{what}; nothing is left to train")
        self.evaluations = self.rows_read = 0
        self.remembered = Remembered(model, self.params)

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
        last = self.remembered.rows_asked(data)
        if has_slopes(self.loss) if last is None else not last.has_rows:
            last = self.evaluate(data, keep=True)  # which the next step needs, but for weights
        if last is not None:
            return last.found.eta, last.found.losses
        self.rows_read += len(data)
        with torch.no_grad():
            eta = self.model(data.X, data.offset)
            return eta, self.loss(eta, data.y)

    def known(self, batch: Batch) -> Evaluation | None:
        """What is remembered of these rows at the current parameters, under whatever weights."""
        return self.remembered.known(batch)

    @torch.no_grad()
    def value(self, data: Batch) -> Tensor:
        """Objective on ``data`` at the current parameters, penalty included, a detached scalar.

        Free right after an evaluation of the same rows under the same weights.
        """
        last, penalty = self.known(data), self.penalty
        if last is not None and last.batch is data and last.penalty is penalty:
            if penalty is None or penalty.smooth:
                return last.found.value
        eta, losses = self.rows(data)
        return total(self.model, self.penalty, data, eta, losses)

    def evaluate(self, batch: Batch, *, keep: bool) -> Evaluation:
        """Smooth value and gradient on ``batch``; ``keep`` it until the parameters move."""
        last = self.known(batch)
        if last is not None and self.remembered.answers(last, batch, self.penalty):
            return last
        self.rows_read += len(batch)
        small = self.few(batch) if keep else None
        if small is not None:
            before = None if last is None or last.logits is None else (last.logits, last.found)
            return self.remember(batch, *small.evaluate(flat(self.params), before))
        args, known = (self.model, self.loss, self.penalty, self.params), last and last.found
        kept, squared = self.remembered.keeps_rows, self.remembered.squares_of(batch) is None
        found = evaluate(*args, batch, known, keep_rows=kept, squared=squared and keep)
        return self.remember(batch, found, keep=keep)

    def remember(
        self, batch: Batch, found: Found, logits: Logits | None = None, *, keep: bool = True
    ) -> Evaluation:
        """What was found on ``batch`` at the current parameters, by whatever way."""
        if not keep:
            return Evaluation(batch, self.penalty, [], [], found, logits)
        return self.remembered.keep(batch, self.penalty, found, logits)

    def few(self, batch: Batch) -> AnySmall | None:
        """The rows made ready, where they are few; see :mod:`torchlogreg.small`."""
        return self.remembered.small(batch, self.loss, self.penalty)

    def units(self, data: Batch) -> Units:
        """Units of columns and response; computed once for the same rows."""
        return self.measured(data)[0]

    def measured(self, data: Batch) -> tuple[Units, Tensor]:
        """Units, and those of the partial derivatives (P,)."""
        numeric = self.own_loss and self.model.n_classes is None
        return self.remembered.units(data, numeric=numeric)

    def curvature(self, batch: Batch, known: Evaluation | None) -> Tensor:
        """Gauss-Newton matrix of the smooth value on ``batch``, (P, P); ``known`` saves a pass."""
        model, penalty = self.model, self.penalty
        if known is not None and known.logits is not None:
            small = self.few(batch)
            if small is not None:
                return small.curvature(known.logits)
        eta = None if known is None else known.eta
        matrix = curvature.gauss_newton(model, self.loss, batch, eta)
        if penalty is None or not penalty.smooth:
            return matrix
        with torch.no_grad():
            return penalty.curvature_on(matrix, model, batch)


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

    def _evaluate(self) -> Found:
        return self.objective.evaluate(self.batch, keep=self.batch is self.data).found

    def __call__(self) -> Tensor:
        """Smooth value, a scalar tensor; sets every ``p.grad`` (never accumulates)."""
        evaluation = self._evaluate()
        self.objective.evaluations += 1
        start, flat = 0, evaluation.gradient.clone()  # optimizers may change p.grad in place
        for p in self.params:
            p.grad = flat[start : start + p.numel()].view_as(p)
            start += p.numel()
        return evaluation.value

    def look(self) -> Tensor:
        """Smooth value, with its gradient remembered: for a step that is likely to be taken."""
        return self.found().value

    @torch.no_grad()
    def value(self, smooth_only: bool = False, *, eta: Tensor | None = None) -> Tensor:
        """Objective without its gradient, a scalar tensor; for line searches and reports.

        ``eta (n, k)`` of the current parameters, where it is known, saves the pass.
        """
        objective, batch = self.objective, self.batch
        objective.evaluations += 1
        if eta is None:
            eta = objective.model(batch.X, batch.offset)
        args = (objective.model, objective.penalty, batch, eta, objective.loss(eta, batch.y))
        return total(*args, smooth_only=smooth_only)

    def rounding(self, value: Any) -> Any:
        """Changes of ``value`` that a line search cannot tell from none; a scalar of its kind."""
        ulps, penalty = 8 + math.sqrt(self.batch.n) / 4, self.objective.penalty  # of a long sum
        size = abs(value) * (ulps * torch.finfo(self.objective.model.weight.dtype).eps)
        if penalty is None or not penalty.needs_rows:
            return size
        with torch.no_grad():
            return size + penalty.rounding_on(self.objective.model, self.batch)

    def gradient(self) -> Tensor:
        """Gradient of the smooth value, (P,); leaves ``p.grad`` alone."""
        return self._evaluate().gradient.clone()

    def found(self) -> Found:
        """Smooth value and gradient, remembered, so not to be changed; leaves ``p.grad`` alone."""
        self.objective.evaluations += 1
        return self._evaluate()

    def expansion(self) -> tuple[Found, Tensor]:
        """The same, and the Gauss-Newton matrix (P, P), from one pass."""
        self.objective.evaluations += 1
        last = self.objective.evaluate(self.batch, keep=self.batch is self.data)
        return last.found, self.objective.curvature(self.batch, last)

    def hessian(self) -> Tensor:
        """Gauss-Newton matrix of the smooth value, (P, P), positive semi-definite."""
        return self.objective.curvature(self.batch, self.objective.known(self.batch))

    def hessian_product(self, v: Tensor) -> Tensor:
        """``hessian() @ v`` for ``v`` (P,), in two passes over the rows and no (P, P) matrix."""
        model, penalty = self.objective.model, self.objective.penalty
        if penalty is not None and penalty.needs_rows:
            return self.hessian() @ v  # such a penalty holds (P, P) matrices anyway
        known = self.objective.known(self.batch)
        eta = None if known is None else known.eta
        product = curvature.gauss_newton_product(model, self.objective.loss, self.batch, v, eta)
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
        objective = self.objective
        penalty, weight = objective.penalty, objective.model.weight
        gradient = self._evaluate().gradient  # which may come with what the units are made of
        units, scale = objective.measured(self.data)
        if weight.requires_grad and penalty is not None and not penalty.smooth:
            gradient = gradient.to(scale.dtype)
            step, at = units.columns.square().reciprocal(), weight.detach().to(scale.dtype)
            ahead = at - step * gradient[: at.numel()].view_as(at)
            moved = ((at - penalty.prox(ahead, step)) / step).flatten()
            gradient = torch.cat((moved, gradient[at.numel() :]))
        return torch.linalg.vector_norm(gradient / scale, torch.inf)  # type: ignore[no-any-return]
