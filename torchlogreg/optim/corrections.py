"""A factor of the curvature used again, corrected by what gradients have shown since.

On few rows the curvature of twenty columns costs what three gradients cost, and its factor is good
for more than one step: each further one, corrected by the pairs of steps and gradient changes so
far (BFGS), brings the objective ten times nearer to its minimum, or more.

References
----------
Shamanskii, A modification of Newton's method, Ukr. Math. J. 19 (1967): steps on an old factor;
Nocedal, Updating quasi-Newton matrices with limited storage, Math. Comp. 35 (1980).
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from torchlogreg.optim.factor import Factor
from torchlogreg.optim.trials import Trial, Trials

Floats = NDArray[np.floating]
Pair = tuple[Floats, Floats, float]

STEPS = 3
"""Further steps: of 1,000 x 20 they leave 1e-6 of the objective, and the next factor 1e-12."""


def corrected(trials: Trials, start: Trial, end: Trial, factor: Factor, least: float) -> Trial:
    """From ``end`` by at most ``STEPS`` steps to where they promise less than ``least``.

    1. The last step, by how much the gradient changed along it, and their product: a pair.
    2. Direction: the gradient through the two loops of BFGS, with the factor between them.
    3. The whole step, if the objective falls by enough (Armijo); else that is all.

    Parameters
    ----------
    trials : Trials
        Of rows on the CPU.
    start, end : Trial
        Of Newton's own step, gradients included.
    factor : Factor
        Of the curvature at ``start``.
    least : float
    """
    inverse = factor.inverse()
    if inverse is None:
        return end
    base: Floats = inverse.numpy()
    pairs: list[Pair] = []
    theta, gradient = _arrays(end)
    before, gradient_before = _arrays(start)
    for _ in range(STEPS):
        step, change = theta - before, gradient - gradient_before  # 1
        product = float(step @ change)
        if not product > 0:
            break
        pairs.append((step, change, product))
        direction = _direction(base, pairs, gradient)  # 2
        slope = float(gradient @ direction)
        if not -slope > least:
            break
        ahead = trials.at(torch.from_numpy(theta + direction))  # 3
        if not ahead.value - end.value <= 1e-4 * slope:
            break
        end, before, gradient_before = ahead, theta, gradient
        theta, gradient = _arrays(ahead)
    return end


def _arrays(trial: Trial) -> tuple[Floats, Floats]:
    """Parameters and gradient in numpy, whose calls on twenty numbers cost half of torch's."""
    return trial.theta.numpy(), trial.gradient.numpy()


def _direction(base: Floats, pairs: list[Pair], gradient: Floats) -> Floats:
    """Minus the gradient times the inverse that the pairs make of ``base``."""
    left, shares = gradient, []
    for step, change, product in reversed(pairs):
        share = float(step @ left) / product
        shares.append(share)
        left = left - share * change
    found = base @ left
    for (step, change, product), share in zip(pairs, reversed(shares), strict=True):
        found = found + (share - float(change @ found) / product) * step
    return -found
