"""Maximum likelihood with one parameter held: a point of the profile."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from torchlogreg.inference.likelihood import Expansion, Likelihood
from torchlogreg.optim.newton import minimum_norm_solve

ENOUGH = 1e-9
"""Newton decrement at which the rest of the way is taken from the quadratic model."""

_STEPS = 100


@dataclass(frozen=True, slots=True, eq=False)
class Point:
    """Where the likelihood is largest, given the held parameter.

    Attributes
    ----------
    t : Tensor, shape (P,)
    value : float
        Minus the log-likelihood there.
    slope : float
        Its derivative by the held parameter, along the profile.
    path : Tensor, shape (P,)
        How ``t`` moves with the held parameter.
    """

    t: Tensor
    value: float
    slope: float
    path: Tensor


def maximise(likelihood: Likelihood, t: Tensor, hold: Tensor | None = None) -> Point:
    """Damped Newton from ``t``, inside the plane ``hold . t = constant``.

    1. Value, gradient and Hessian; the direction within the plane.
    2. Once the model promises less than ``ENOUGH``, its own minimum is the answer: the value is
       then right to rounding, and no further pass is needed.
    3. Otherwise halve the step until the value falls enough (Armijo).

    Parameters
    ----------
    likelihood : Likelihood
    t : Tensor, shape (P,)
        With cutpoints in order.
    hold : Tensor, shape (P,), optional
        None: nothing is held.
    """
    plane = _plane(hold, t)
    for _ in range(_STEPS):
        at = likelihood.expansion(t)  # 1
        reduced = plane.T @ at.hessian @ plane
        direction = plane @ _downhill(reduced, plane.T @ at.gradient, t, at.value)
        slope = float(at.gradient @ direction)
        if -slope <= ENOUGH + 1e-15 * abs(at.value):  # 2
            break
        step = _step(likelihood, t, at, direction, slope)  # 3
        if step == 0:  # rounding has the last word
            direction, slope = torch.zeros_like(direction), 0.0
            break
        t = t + step * direction
    value = at.value + 0.5 * slope
    if hold is None:
        return Point(t + direction, value, 0.0, torch.zeros_like(t))
    straight = hold / hold.square().sum()
    gradient = at.gradient + at.hessian @ direction
    path = straight - plane @ minimum_norm_solve(reduced, plane.T @ (at.hessian @ straight))
    return Point(t + direction, value, float(gradient @ straight), path)


def decrement(likelihood: Likelihood, t: Tensor) -> float:
    """Twice the rise of the log-likelihood that a Newton step from ``t`` promises."""
    at = likelihood.expansion(t)
    return float(at.gradient @ minimum_norm_solve(at.hessian, at.gradient))


def _downhill(hessian: Tensor, gradient: Tensor, t: Tensor, value: float) -> Tensor:
    """Newton's direction, no longer than columns of unit size can need.

    Far out, rows that are certainly wrong have slopes but no curvature: there Newton's direction
    is enormous or, on the range of a singular matrix, zero. What it leaves is taken by descent.
    """
    longest = 10 * (1 + float(t.abs().max()))
    direction = -minimum_norm_solve(hessian, gradient)
    rest = gradient + hessian @ direction
    size = float(rest.norm())
    if not size <= 1e-8 * (1 + abs(value)):
        down = gradient if not bool(torch.isfinite(direction).all()) else rest
        direction = direction.nan_to_num(0.0, 0.0, 0.0) - down / down.norm()
    length = float(direction.norm())
    return direction * (longest / length) if length > longest else direction


def _plane(hold: Tensor | None, t: Tensor) -> Tensor:
    """Orthonormal directions (P, P - 1) that leave the held parameter alone."""
    if hold is None:
        return torch.eye(len(t), dtype=t.dtype, device=t.device)
    full: Tensor = torch.linalg.qr(hold.unsqueeze(1), mode="complete").Q
    return full[:, 1:]


def _step(
    likelihood: Likelihood, t: Tensor, at: Expansion, direction: Tensor, slope: float
) -> float:
    """The first of 1, 1/2, ... that lowers the value enough; 0 if none does."""
    rounding = 1e-14 * abs(at.value)
    step = 1.0
    for _ in range(50):
        value = likelihood.value(t + step * direction)
        if value - at.value <= 1e-4 * step * slope + rounding:  # NaN is refused
            return step
        step /= 2
    return 0.0
