"""A ridge problem in the space of its rows: ``weight = A' X`` for one multiplier a row and score.

At an optimum ``alpha weight`` is minus a sum of the rows times their slopes, so it is enough to
look among the sums of rows (the representer theorem; Kimeldorf and Wahba, 1971). With ``K`` the
inner products of the rows and ``U = K A + c B`` the scores,

    minimise  sum_i q_i loss_i(U_i) + alpha / 2 trace(A' K A),     q = sample_weight / n

A gradient ``X' G`` is held as its multipliers ``G``, lengths are ``trace(G' K G)``, and conjugate
gradients are those of the columns' space, iteration by iteration, at one product with ``K`` each.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from torchlogreg.closed_form import losses_and_slopes
from torchlogreg.data import Batch
from torchlogreg.losses import categorical_nll, squared_error
from torchlogreg.objective import Objective
from torchlogreg.optim.wide_kernel import Kernel
from torchlogreg.optim.wide_step import System, scaled_step

MOST_STEPS, MOST_PRODUCTS = 100, 300
"""Of Newton's method among the rows, and of conjugate gradients in one of them."""

MOST_ROUGH, MOST_TRIES, NEAR = 60, 20, 2e-5
"""Iterations, and values along a direction, on the way nearly there; how near."""


class Multipliers:
    """A point or a step: ``A`` (n, r), ``K A`` (n, r) and the intercepts ``B`` (r,) over ``c``.

    They lie in one vector, since for a few thousand rows it is calls that take time.
    """

    def __init__(self, A: Tensor, KA: Tensor, B: Tensor) -> None:
        self.vector = torch.cat((A.flatten(), KA.flatten(), B))
        self.A, self.KA, self.B = self._views(*A.shape)

    def _views(self, n: int, r: int) -> tuple[Tensor, Tensor, Tensor]:
        A, KA, B = self.vector.split_with_sizes((n * r, n * r, r))
        return A.view(n, r), KA.view(n, r), B

    def plus(self, step: Multipliers, length: float) -> Multipliers:
        """``self + length * step``, anew."""
        found = copy.copy(self)
        found.vector = torch.add(self.vector, step.vector, alpha=length)
        found.A, found.KA, found.B = found._views(*self.A.shape)
        return found

    def scaled(self, factor: float) -> Multipliers:
        """``factor * self``, anew."""
        return self.plus(self, factor - 1.0)

    def add_(self, step: Multipliers, length: float) -> None:
        """The same in place."""
        self.vector.add_(step.vector, alpha=length)

    def dot(self, G: Tensor, at_B: Tensor) -> float:
        """Inner product with the gradient that has the multipliers ``G`` and ``at_B``."""
        product = torch.dot(self.KA.flatten(), G.flatten())
        return float(product + torch.dot(self.B, at_B))  # waits for the device


class Place(NamedTuple):
    """A point, its value, the multipliers (n, r) and (r,) of the gradient, and eta (n, k)."""

    at: Multipliers
    value: Tensor
    G: Tensor
    by_ones: Tensor
    eta: Tensor


class RowProblem:
    """The objective on all rows, in the dtype of a kernel's products.

    Parameters
    ----------
    objective : Objective
        Its penalty is ``L2``.
    batch : Batch
    kernel : Kernel
        ``K``.

    Attributes
    ----------
    c : float
        Unit of the intercepts, in which a column of ones is as long as an average direction; 0
        without intercepts.
    """

    def __init__(self, objective: Objective, batch: Batch, kernel: Kernel) -> None:
        self._model, self._loss, self._kernel = objective.model, objective.loss, kernel
        self._times = kernel.times
        self._alpha = 0.0 if objective.penalty is None else objective.penalty.alpha / kernel.unit
        self._q = (batch.sample_weight / len(batch)).to(kernel.dtype)
        self._y = batch.y.to(kernel.dtype) if batch.y.is_floating_point() else batch.y
        self._offset = None if batch.offset is None else batch.offset.to(kernel.dtype)
        self.c = 0.0 if objective.model.bias is None else len(batch) ** -0.5

    def minimised(self, accuracy: float, tightest: float) -> Multipliers:
        """The optimum, from zero.

        1. Nearly there by conjugate gradients (:meth:`_nearly`).
        2. Newton's method. Directions by conjugate gradients, to a residual that shrinks as the
           gradient does (Eisenstat and Walker, 1996).
        3. Backtracking (Armijo); a value costs no product.

        Parameters
        ----------
        accuracy : float
            Promised decrease, as a share of the value, after which it ends.
        tightest : float
            Relative residual that no direction needs to fall below.
        """
        place, before = self._nearly(), 0.0  # 1
        for _ in range(MOST_STEPS):
            KG = self._times(place.G)  # 2
            size = Multipliers(place.G, KG, place.by_ones).dot(place.G, place.by_ones)
            share = min(max(0.9 * size / before, tightest), 0.3) if before > 0 else 0.3
            curvature, before = self.curvature(place.eta), size
            step = self.direction(curvature, place.G, place.by_ones, share, KG)
            slope, length = step.dot(place.G, place.by_ones), 1.0
            rounding = 16 * torch.finfo(place.G.dtype).eps * float(place.value)
            while True:  # 3
                ahead = self._there(place.at.plus(step, length))
                fall = float(ahead.value - place.value)
                if fall <= 1e-4 * length * slope + rounding or length < 1e-6:
                    break
                length /= 2
            place = ahead
            if not -slope > accuracy * float(place.value):  # NaN ends it, too
                break
        return place.at

    def _nearly(self) -> Place:
        """Conjugate gradients of the objective itself, from zero: one product an iteration.

        1. The gradient's product with ``K``.
        2. Direction (Polak and Ribière, 1969), the steepest where it would not descend.
        3. The minimum along it: scores are linear in the step.
        4. Done when the rate of the last two gains leaves a share ``NEAR`` of the value to be
           gained. Newton's method from zero takes twice the products to there.
        """
        n, r = len(self._q), len(self._model.weight)
        place = self._there(Multipliers(*(self._q.new_zeros(s) for s in ((n, r), (n, r), (r,)))))
        before, search, size, gain = place.at, place.at, 0.0, 0.0
        for _ in range(MOST_ROUGH):
            gradient = Multipliers(place.G, self._times(place.G), place.by_ones)  # 1
            common, last = gradient.dot(before.A, before.B), size
            size = gradient.dot(place.G, place.by_ones)
            turn = max(0.0, (size - common) / last) if last > 0 else 0.0  # 2
            search = gradient.scaled(-1.0).plus(search, turn)
            if not search.dot(place.G, place.by_ones) < 0:
                search = gradient.scaled(-1.0)
            ahead = self._lowest(place, search)  # 3
            gain, gained = float(place.value - ahead.value), gain
            place, before = ahead, gradient
            if not gain > 4 * torch.finfo(place.G.dtype).eps * float(place.value):
                break
            left = gain * max(1.0, gain / (gained - gain)) if gain < gained else float("inf")  # 4
            if left < NEAR * float(place.value):
                break
        return place

    def _lowest(self, start: Place, search: Multipliers) -> Place:
        """The minimum along a direction, to a tenth of the slope: secants within a bracket."""
        slope = search.dot(start.G, start.by_ones)
        bend = search.dot(*self._bent(self.curvature(start.eta), search))
        low, high, length = 0.0, float("inf"), -slope / bend if bend > 0 else 1.0
        known, at_known, best = 0.0, slope, start
        for _ in range(MOST_TRIES if slope < 0 else 0):
            place = self._there(start.at.plus(search, length))
            here = search.dot(place.G, place.by_ones)
            best = place if bool(place.value < best.value) else best
            if abs(here) <= 0.1 * -slope:
                break
            if here < 0:
                low = length
            else:  # NaN, too
                high = length
            share = (length - known) / (here - at_known) if here != at_known else float("inf")
            known, at_known, ahead = length, here, length - here * share
            tenth = 0.1 * (min(high, 10 * length) - low)
            length = min(max(ahead, low + tenth), min(high, 10 * length) - tenth)
        return best

    def correction(self, eta: Tensor, G: Tensor, at_B: Tensor) -> Multipliers:
        """Newton's step as exactly as the kernel is known; arguments as for :meth:`direction`.

        For one score each row is scaled by its own curvature, which takes two thirds of the
        products; several bend one another.
        """
        curvature, kernel, most = self.curvature(eta), self._kernel, MOST_PRODUCTS
        if G.shape[1] > 1:
            return self.direction(curvature, G, at_B, kernel.error)
        system = System(kernel, self._alpha, curvature(torch.ones_like(G))[:, 0], self.c)
        return Multipliers(*scaled_step(system, G[:, 0], at_B, share=kernel.error, most=most))

    def direction(
        self,
        curvature: Callable[[Tensor], Tensor],
        G: Tensor,
        at_B: Tensor,
        share: float,
        KG: Tensor | None = None,
    ) -> Multipliers:
        """Newton's step by conjugate gradients, to the relative residual ``share``.

        Parameters
        ----------
        curvature : callable
            What :meth:`curvature` returned.
        G, at_B : Tensor, shapes (n, r) and (r,)
            Multipliers of the gradient.
        share : float
        KG : Tensor, shape (n, r), optional
            Saves a product where it is known.
        """
        left = Multipliers(-G, -(self._times(G) if KG is None else KG), -at_B)
        found, search = left.plus(left, -1.0), left.plus(left, 0.0)
        size = left.dot(left.A, left.B)
        goal = share**2 * size
        for _ in range(MOST_PRODUCTS if size > 0 else 0):
            product, at_ones = self._bent(curvature, search)
            bend = search.dot(product, at_ones)
            if not bend > 0:
                break
            length = size / bend
            found.add_(search, length)
            left.add_(Multipliers(product, self._times(product), at_ones), -length)
            after = left.dot(left.A, left.B)
            if not after > max(goal, 0.0):  # of a rough kernel lengths can be negative
                break
            search.vector.mul_(after / size).add_(left.vector)
            size = after
        return found

    def _bent(
        self, curvature: Callable[[Tensor], Tensor], search: Multipliers
    ) -> tuple[Tensor, Tensor]:
        """Multipliers (n, r) and (r,) of the product of the Hessian with ``search``."""
        if not self.c:
            bent = curvature(search.KA)
            return bent.add_(search.A, alpha=self._alpha), search.B
        bent = curvature(search.KA + self.c * search.B)
        at_ones = self.c * bent.sum(0)
        return bent.add_(search.A, alpha=self._alpha), at_ones

    def curvature(self, eta: Tensor) -> Callable[[Tensor], Tensor]:
        """The map from changes of scores (n, r) to changes of their weighted slopes (n, r)."""
        q = self._q[:, None]
        if self._loss is squared_error:
            twice = 2 * q
            return lambda change: twice * change
        if self._loss is not categorical_nll:
            bend = torch.sigmoid(eta) * torch.sigmoid(-eta) * q
            return lambda change: bend * change
        shares, first = torch.softmax(eta, dim=1), eta.shape[1] - len(self._model.weight)
        q = q if self._y.ndim == 1 else q * self._y.sum(1, keepdim=True)

        def times(change: Tensor) -> Tensor:
            full = self._model.mix(change)
            mean = (shares * full).sum(1, keepdim=True)
            return (q * shares * (full - mean))[:, first:]

        return times

    def slopes(self, eta: Tensor) -> tuple[Tensor, Tensor]:
        """Weighted sum of the losses, and weighted slopes by the scores (n, r)."""
        losses, slopes = losses_and_slopes(self._loss, eta, self._y)
        first = eta.shape[1] - len(self._model.weight)
        return torch.dot(self._q, losses), slopes[:, first:] * self._q[:, None]

    def _there(self, at: Multipliers) -> Place:
        """What there is to know at a point, without a product with ``K``."""
        scores = at.KA + self.c * at.B
        if self._offset is not None:
            scores = scores + self._offset.view(len(scores), -1)
        eta = self._model.mix(scores)
        value, slopes = self.slopes(eta)
        ridge = torch.dot(at.A.flatten(), at.KA.flatten())
        G = torch.add(slopes, at.A, alpha=self._alpha)
        return Place(at, value + 0.5 * self._alpha * ridge, G, self.c * slopes.sum(0), eta)
