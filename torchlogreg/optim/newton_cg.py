"""Newton's method with steps from conjugate gradients: no (P, P) matrix."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from torchlogreg.objective import Closure
from torchlogreg.optim.line_search import backtrack, inverse_diagonal
from torchlogreg.optim.requirements import our_closure


class NewtonCG(Optimizer):
    """Inexact Newton for many parameters; one ``step`` is one outer iteration.

    1. Value and gradient ``g``.
    2. Forcing: the linear system is solved to ``min(1/2, 0.9 (|g| / |g before|)^2)``, unless the
       forcing before was so loose that its square asks for less (Eisenstat and Walker, 1996, choice
       2): few products far from the optimum, superlinear convergence near it.
    3. Conjugate gradients on ``H d = -g`` with ``closure.hessian_product``, two passes each,
       preconditioned by the mean squares of the columns; ended early where there is no curvature.
    4. Backtracking until the objective falls enough (Armijo, 1966); steepest descent where nothing
       lower is found.

    Parameters
    ----------
    params : iterable of nn.Parameter
        All trainable parameters of the model.
    lr : float
        First step tried, ``> 0``; 1 is Newton's own.
    max_products : int
        Products with the Hessian in one step, ``>= 1``.

    Attributes
    ----------
    n_products : int
        Products with the Hessian so far.

    Raises
    ------
    ValueError
        If ``lr`` or ``max_products`` is out of range.
    TypeError
        In ``step``, if the closure is not one of :class:`torchlogreg.objective.Closure`.

    References
    ----------
    Dembo, Eisenstat and Steihaug, Inexact Newton methods, SIAM J. Numer. Anal. 19 (1982); Eisenstat
    and Walker, Choosing the forcing terms in an inexact Newton method, SIAM J. Sci. Comput. 17
    (1996).
    """

    needs_full_batch = True
    handles_nonsmooth = False
    n_products = 0  # of the class, since a copy of an optimizer takes only its state along
    _before: tuple[float, float] | None = None
    _rows: Tensor | None = None

    def __init__(
        self, params: Iterable[nn.Parameter], lr: float = 1.0, max_products: int = 500
    ) -> None:
        if not lr > 0 or max_products < 1:
            raise ValueError(f"NewtonCG needs lr > 0, max_products >= 1, not {lr=} {max_products=}")
        super().__init__(params, {"lr": lr, "max_products": max_products})

    @torch.no_grad()
    def step(self, closure: Any = None) -> Tensor:  # type: ignore[override]
        """One outer iteration; returns the value before it, as torch's optimizers do."""
        closure = our_closure(closure, self)
        group = self.param_groups[0]
        if self._rows is not closure.batch.X:
            self._rows, self._before = closure.batch.X, None
        value: Tensor = closure()  # 1
        gradient = closure.gradient()
        inverse = inverse_diagonal(closure)
        size = float(torch.dot(gradient, inverse * gradient).sqrt())
        share = self._forcing(size)  # 2
        direction, products = _conjugate(closure, gradient, inverse, share, group["max_products"])
        self.n_products += products
        slope = torch.dot(gradient, direction)
        backtrack(closure, value, direction, slope, group["lr"])  # 4
        return value

    def _forcing(self, size: float) -> float:
        """Relative residual asked of the linear system."""
        share = 0.5
        if self._before is not None and self._before[0] > 0:
            before, last = self._before
            share = 0.9 * (size / before) ** 2
            guard = 0.9 * last**2  # a lucky step must not make the next one too exact
            share = max(share, guard) if guard > 0.1 else share
        share = min(max(share, 1e-10), 0.5)
        self._before = size, share
        return share


def _conjugate(
    closure: Closure, gradient: Tensor, inverse: Tensor, share: float, most: int
) -> tuple[Tensor, int]:
    """``d`` with ``|H d + g| <= share |g|`` in the metric of the preconditioner; step 3."""
    found, residual = torch.zeros_like(gradient), -gradient
    preconditioned = inverse * residual
    search, size = preconditioned, torch.dot(residual, preconditioned)
    goal = share**2 * size
    for count in range(1, most + 1):
        product = closure.hessian_product(search)
        curvature = torch.dot(search, product)
        if not bool(curvature > torch.finfo(size.dtype).eps * size):  # waits for the device
            return found, count
        length = size / curvature
        found = found + length * search
        residual = residual - length * product
        preconditioned = inverse * residual
        after = torch.dot(residual, preconditioned)
        if bool(after <= goal):
            return found, count
        search, size = preconditioned + (after / size) * search, after
    return found, most
