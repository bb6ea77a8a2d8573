"""Newton on a growing sample of the rows, whose Hessian then preconditions BFGS on all of them."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from torchlogreg.data import Batch, of_pieces, taken
from torchlogreg.kernels import for_parts_of
from torchlogreg.models import LogisticRegression
from torchlogreg.objective import Closure
from torchlogreg.optim.centring import Centred, near_zero
from torchlogreg.optim.corrections import Corrections
from torchlogreg.optim.factor import Factor
from torchlogreg.optim.newton import LOST, newton_iteration
from torchlogreg.optim.quasi_newton import Moved, QuasiNewton
from torchlogreg.optim.requirements import checked_rough, our_closure
from torchlogreg.optim.sampling import draw_few, nested, stretches
from torchlogreg.small import flat

FIRST, LAST, GROWTH = 15, 500, 8
"""Rows a parameter in the first and in the last sample, and how the samples between grow."""

FEWEST, ENTRIES = 40, 2**22
"""Rows a parameter below which the last sample is none, and its size, 32 MB in float64, beyond
which it has no more rows than these: it is a copy."""

DEAR = 25
"""A last sample of less than one in so many rows costs less than half a pass: it is not halved."""

LEAST, CHEAP = 1000, 2**17
"""Rows of the first sample in any case: fewer cost no less, and rare rows are missed; and entries
of a sample that Newton's iterations do not take long for."""


class SubsampledNewton(Optimizer):
    """Newton's method for many more rows than parameters, in a handful of passes over them.

    The first ``step``, which reads a few rows only:

    1. Newton on a random sample, to the accuracy that its size can have; then BFGS about its
       Hessian on a sample up to ``GROWTH`` times larger, whose Hessian is the next base, and so on
       up to ``LAST`` rows a parameter or an eighth of all. Each is drawn from the next.

    Every other ``step``, which is one pass unless a line search is needed:

    2. Direction by BFGS about the Hessian of the last sample, from the gradient on all rows.
    3. The whole step; a shorter one where that does not lower the objective enough.
    4. Where the base misleads (the first try fails, the gradient falls by less than half, or
       reaches where the sample has no curvature) the Hessian of all rows at the present parameters
       takes its place: the method is then Newton's. So it does where the objective has nine
       digits and more are wanted, if its price is less than that of the passes it saves.

    The error falls by about ``sqrt(parameters / sample)`` a pass at first and faster later,
    whatever the condition of the columns. Small problems, where the sample would be most of the
    rows, start with 4.

    Parameters
    ----------
    params : iterable of nn.Parameter
        All trainable parameters of the model.
    lr : float
        Only 1: the first step tried is Newton's.
    generator : torch.Generator, optional
        Source of the samples, on the CPU. Default: one of its own, seeded with 0 for each fit.
    rough : float
        Relative error that is small enough, ``>= 0``: where it is above 0 a last sample that costs
        as much as a pass is half as large, unless a class is rare.

    Attributes
    ----------
    n_hessians : int
        How often the Hessian of all rows was needed.
    exhausted : bool
        Whether rounding is all that is left to gain on these rows.

    Raises
    ------
    ValueError
        If ``lr`` is not 1.
    TypeError
        In ``step``, if the closure is not one of :class:`torchlogreg.objective.Closure`.

    References
    ----------
    Roosta-Khorasani and Mahoney, Sub-sampled Newton methods, Math. Program. 174 (2019); Erdogdu and
    Montanari, Convergence rates of sub-sampled Newton methods (2015).
    """

    needs_full_batch = True
    handles_nonsmooth = False
    superlinear = True
    n_hessians = 0
    _generator: torch.Generator | None = None  # of the class, since a copy takes only its state
    _memory: Centred | None = None
    _quasi: QuasiNewton | None = None
    _sample: Factor | None = None
    _whole: Factor | None = None
    _stale = True
    rough = 0.0
    exhausted = False

    def __init__(
        self,
        params: Iterable[nn.Parameter],
        lr: float = 1.0,
        generator: torch.Generator | None = None,
        rough: float = 0.0,
    ) -> None:
        if lr != 1:
            raise ValueError(f"SubsampledNewton takes whole steps, lr=1, not {lr=}")
        super().__init__(params, {"lr": lr})
        self._generator, self.rough = generator, checked_rough(rough)

    @torch.no_grad()
    def step(self, closure: Any = None) -> Tensor:  # type: ignore[override]
        """One iteration; returns the value before it, at first that on the first sample."""
        closure = our_closure(closure, self)
        new = self._memory is None or self._memory.X is not closure.batch.X
        source = self._generator or torch.Generator().manual_seed(0)
        memory = _centred(closure, source) if new else self._memory
        if new:
            closure.objective.remembered.keeps_rows = False
        with near_zero(closure, memory) as (near, self._memory):
            if not new:
                return self._continue(near)
            self._quasi, self._sample, self._whole = None, None, None
            self._stale, self.exhausted = True, False
            sizes = _sizes(near, rough=self.rough > 0 and not _is_uneven(near))
            if not sizes:
                return self._continue(near)
            with for_parts_of(near.batch.X):
                return self._begin(near, sizes, source)

    def _begin(self, closure: Closure, sizes: list[int], source: torch.Generator) -> Tensor:
        """Sample after sample, the Hessian of each the base for the next."""
        objective, start = closure.objective, [p.clone() for p in closure.params]
        logit = type(objective.model) is LogisticRegression and closure.batch.total is None
        draw = draw_few if logit else Batch.rows
        samples = nested(closure.batch, sizes, source, objective.model.n_classes, draw)
        first = Closure(objective, samples[0], samples[0]).look()
        for rows in samples:
            part = Closure(objective, rows, rows)
            # Else the last sample was separated, or a freak.
            if rows is not samples[0] and not bool(part.look() <= first):
                _set(closure, start)
            self._sample = self._fitted(part, _n_params(closure) / len(rows))
            self._quasi = QuasiNewton(self._sample.base)
        self._stale = False
        return first

    def _fitted(self, part: Closure, goal: float) -> Factor:
        """Minimise on a sample, about the base that there is; returns its Hessian."""
        few = part.batch.few
        enough = goal / 100  # or the sample's own optimum is missed by as much as that of all rows
        corrections = Corrections(8 if few is not None and few.compiled else 0, enough)
        for _ in range(12):
            if self._quasi is None:
                done = newton_iteration(part, corrections=corrections)
                if not done.left > goal * done.size:
                    return Factor(part.hessian()) if corrections.most else done.factor
                continue
            moved = self._quasi.descend(part, tries=1)
            if moved.left <= goal:
                break
            if not moved.contraction <= 0.7:  # or no step at all
                self._quasi = None
        return Factor(part.hessian())

    def _continue(self, closure: Closure) -> Tensor:
        """One iteration on all rows."""
        value, gradient = closure(), closure.gradient()
        if self._sample is not None and self._sample.misses(gradient) > 1e-3:
            self._stale = True
        if self._stale or self._quasi is None:
            self._quasi = self._based_on_all(closure)
        moved = self._quasi.descend(closure, tries=1 if self._sample is not None else 30)
        if not moved.accepted and self._sample is not None:  # 4
            self._quasi = self._based_on_all(closure)
            moved = self._quasi.descend(closure)
        if self._sample is None and not (moved.accepted and self._knows(gradient)):
            return self._downhill(closure, value)
        slow = 0.5 if self._sample is not None else 0.25
        self._stale = moved.contraction > slow or _pays(moved, closure)
        promised = moved.left * abs(float(value))
        self.exhausted = moved.accepted and promised <= _rounding(closure, least=promised)
        return value

    def _based_on_all(self, closure: Closure) -> QuasiNewton:
        self.n_hessians += 1
        self._sample, self._whole = None, Factor(closure.hessian())
        return QuasiNewton(self._whole.base)

    def _knows(self, gradient: Tensor) -> bool:
        """Whether the Hessian of all rows has curvature for most of the gradient."""
        return self._whole is None or not self._whole.misses(gradient) > LOST

    def _downhill(self, closure: Closure, value: Tensor) -> Tensor:
        """Newton's iteration, which knows a way where no row has any curvature left."""
        done = newton_iteration(closure)
        self._stale, self.exhausted = True, done.promised <= _rounding(closure, done.promised)
        return value


def _pays(moved: Moved, closure: Closure) -> bool:
    """Whether the Hessian of all rows is the cheaper way from here to the last digits.

    It costs two passes and another for each 35 parameters (measured at 20, 100 and 200); after it,
    each pass gains as many digits as the parameters had. Who goes on where the objective has nine
    digits wants those of the parameters, too.
    """
    if not 0 < moved.left <= 1e-9:
        return False
    missing = 0.5 * math.log10(moved.left / torch.finfo(closure.params[0].dtype).eps ** 2)
    gained = -math.log10(min(moved.contraction, 1.0))
    price = 2 + _n_params(closure) / 35
    return missing > gained * (price + missing / (-0.5 * math.log10(moved.left)))


def _rounding(closure: Closure, least: float = 0.0) -> float:
    """What a step promises that changes ``eta`` by half a unit in the last place for each
    parameter, if the curvature of every row is one fourth: no more than rounding leaves.

    Zero, without a look at the rows, where the parameters show that it is below ``least``.
    """
    batch, objective, P = closure.batch, closure.objective, _n_params(closure)
    unit = P * (torch.finfo(batch.X.dtype).eps / 4) ** 2
    squares = objective.remembered.squares_of(batch)
    if squares is not None and batch.offset is None and batch.total is None:
        units, scale = objective.measured(batch)
        most = float(torch.dot(flat(closure.params).abs().to(scale.dtype), scale) / units.response)
        if 1e4 * unit * most * most < least:  # weights of rows may differ by as much
            return 0.0
    eta, _ = objective.rows(batch)
    parts = of_pieces(lambda w, e: torch.dot(w, e.square().sum(1)), batch.sample_weight, eta)
    return unit * float(batch.summed(parts.sum()) / batch.n)


def _sizes(closure: Closure, *, rough: bool) -> list[int]:
    """Rows of the samples; none where the last would be most of the rows."""
    n, P = closure.batch.n, _n_params(closure)
    last, first = min(LAST * P, n // 8, max(ENTRIES // P, FEWEST * P)), max(FIRST * P, LEAST)
    if last < FEWEST * P:
        return []
    sizes = [max(last // 2, FEWEST * P) if rough and last * DEAR >= n else last]
    while sizes[0] > 4 * first and sizes[0] * P > CHEAP:
        sizes.insert(0, max(first, sizes[0] // GROWTH))
    return sizes


def _is_uneven(closure: Closure) -> bool:
    """Whether a class may have less than a quarter of an even share, so that each row of it counts.

    Several classes and distributions over them are not counted, and taken for uneven.
    """
    batch, K = closure.batch, closure.objective.model.n_classes
    if K is None:
        return False
    if K > 2 or batch.y.ndim == 2 or not batch.y.is_floating_point():
        return True
    share = float(batch.summed(batch.y.sum())) / batch.n
    return not 0.125 <= share <= 0.875


def _centred(closure: Closure, source: torch.Generator) -> Centred:
    """Which columns are far from zero, as a few rows tell."""
    X = closure.batch.X
    few = stretches(len(X), 1024, source).to(X.device)
    found = Centred.of(taken(X, few), rows=closure.batch)
    found.X = X
    return found


def _n_params(closure: Closure) -> int:
    return sum(p.numel() for p in closure.params)


def _set(closure: Closure, values: list[Tensor]) -> None:
    for p, value in zip(closure.params, values, strict=True):
        p.copy_(value)
