"""A quadratic with kinks: ``g . d + d' H d / 2 + sum_j kink_j |w_j + d_j|``, minimised exactly.

The inner problem of proximal Newton, of the size of a working set. Coordinate descent, the field's
choice, is a scalar loop; here two methods of whole vectors take turns.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

TURN = 40
"""Iterations of FISTA between two attempts at the exact solution."""


@dataclass(frozen=True, slots=True, eq=False)
class Quadratic:
    """``u' H u / 2 - b . u + sum_j kink_j |u_j|`` in variables of unit curvature.

    Attributes
    ----------
    H : Tensor, shape (m, m)
        Positive semi-definite with a diagonal of one.
    b, kink : Tensor, shape (m,)
    """

    H: Tensor
    b: Tensor
    kink: Tensor

    def prox(self, u: Tensor, step: float = 1.0) -> Tensor:
        """Soft threshold."""
        return soft_threshold(u, step * self.kink)

    def residual(self, u: Tensor, downhill: Tensor) -> Tensor:
        """Length of the proximal gradient step, given ``downhill = b - H u``; 0 at a minimum."""
        length: Tensor = torch.linalg.vector_norm(self.prox(u + downhill) - u)
        return length


def minimise(
    matrix: Tensor,
    gradient: Tensor,
    kink: Tensor,
    start: Tensor,
    *,
    accuracy: float,
    eps: float | None = None,
) -> Tensor:
    """The minimiser ``w`` of the quadratic about ``start``, with exact zeros, shape (m,).

    1. Variables scaled to unit curvature; a diagonal of some units in the last place makes
       duplicated columns harmless.
    2. FISTA with restart, which finds most of the signs, and is enough for few digits.
    3. In later turns, an active set that only ever goes downhill, which corrects the last of them.
    4. Primal-dual active set: guess signs from a gradient step, solve for them, repeat while the
       residual halves. A handful of factorisations where the columns are hardly correlated;
       elsewhere it can cycle, and the next turn begins.

    Parameters
    ----------
    matrix : Tensor, shape (m, m)
        ``H``, positive semi-definite.
    gradient, kink, start : Tensor, shape (m,)
        ``g`` at ``start``, the strengths of the kinks, and where the search starts.
    accuracy : float
        Share of the residual at ``start`` that may be left.
    eps : float, optional
        Relative rounding of the matrix, if it was made in fewer digits than it is held in.

    References
    ----------
    Hintermüller, Ito and Kunisch, The primal-dual active set strategy as a semismooth Newton
    method, SIAM J. Optim. 13 (2002).
    """
    unit = torch.finfo(matrix.dtype).eps
    eps = unit if eps is None else eps
    diagonal = matrix.diagonal().clone()
    size = torch.where(diagonal > 0, diagonal, 1.0).sqrt()  # 1
    H = (matrix / size[:, None]).div_(size)
    # Of the matrix's own dtype: torch takes numbers of Python's for float32, where this is 1.
    H.diagonal().copy_(1.0 + eps ** (2 / 3) * (diagonal > 0).to(H))
    u = start * size
    problem = Quadratic(H, H @ u - gradient / size, kink / size)
    downhill = -gradient / size
    best = problem.residual(u, downhill)
    goal = torch.maximum(accuracy * best, 8 * unit * torch.linalg.vector_norm(problem.b))
    for turn in range(20):
        u = _fista(problem, u, TURN, goal)  # 2
        if turn:
            u = _descend(problem, u, goal)  # 3
        downhill = problem.b - problem.H @ u
        best = problem.residual(u, downhill)
        if bool(best <= goal):
            break
        u, downhill, best = _pivot(problem, u, downhill, best, goal)  # 4
        if bool(best <= goal):
            break
    return u / size


def soft_threshold(u: Tensor, threshold: Tensor) -> Tensor:
    """Towards zero by ``threshold``, stopping there."""
    return u.sign() * (u.abs() - threshold).clamp(min=0)


def _pivot(
    problem: Quadratic, u: Tensor, downhill: Tensor, best: Tensor, goal: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Semismooth Newton steps for as long as each halves the residual."""
    for _ in range(20):
        moved = problem.prox(u + downhill)
        chosen = (moved != 0).nonzero().squeeze(1)  # waits for the device
        signs = moved[chosen].sign()
        values, info = _stationary(problem, chosen, signs)
        trial = torch.zeros_like(u)
        trial[chosen] = values * ((values * signs >= 0) | (problem.kink[chosen] == 0))
        slope = problem.b - problem.H @ trial
        residual = problem.residual(trial, slope)
        if bool((info != 0) | ~(residual <= 0.7 * best)):
            break
        u, downhill, best = trial, slope, residual
        if bool(best <= goal):
            break
    return u, downhill, best


def _stationary(problem: Quadratic, chosen: Tensor, signs: Tensor) -> tuple[Tensor, Tensor]:
    """Values of the chosen entries for given signs, the others zero; 0 if they could be had."""
    inner = problem.H.index_select(0, chosen).index_select(1, chosen)
    factor, info = torch.linalg.cholesky_ex(inner)
    right = problem.b[chosen] - problem.kink[chosen] * signs
    return torch.cholesky_solve(right[:, None], factor).squeeze(1), info


def _descend(problem: Quadratic, u: Tensor, goal: Tensor) -> Tensor:
    """Feature-sign search (Lee et al., 2007): Newton on the support, one entry more at a time.

    Each step goes to the lowest point on its way, exactly, so that no pattern of signs comes twice.
    """
    for _ in range(len(u)):
        downhill = problem.b - problem.H @ u
        moved = problem.prox(u + downhill) - u
        support = (u != 0) | (problem.kink == 0)
        if bool(torch.linalg.vector_norm(moved * support) <= 0.3 * goal):  # waits for the device
            if bool(torch.linalg.vector_norm(moved) <= goal):
                break
            worst = moved.abs().argmax()
            support[worst] = True
        chosen = support.nonzero().squeeze(1)
        signs = torch.where(u[chosen] == 0, downhill[chosen].sign(), u[chosen].sign())
        values, info = _stationary(problem, chosen, signs)
        way = values - u[chosen]
        slope = -torch.dot(downhill[chosen] - problem.kink[chosen] * signs, way)
        if bool((info != 0) | ~(slope < 0)):
            break
        u = u.index_copy(0, chosen, _lowest(problem, u, chosen, way, slope))
    return u


def _lowest(problem: Quadratic, u: Tensor, chosen: Tensor, way: Tensor, slope: Tensor) -> Tensor:
    """The lowest point from ``u[chosen]`` along ``way``: slopes are linear between crossings.

    ``slope`` is that at the start, where the whole step would be right if no entry changed sign.
    """
    start, kink = u[chosen], problem.kink[chosen]
    crossing = (start * way < 0) & (kink > 0)
    time = torch.where(crossing, -start / torch.where(crossing, way, 1.0), torch.inf)
    time, order = time.sort()
    jump = torch.where(crossing, 2 * kink * way.abs(), 0.0)[order].cumsum(0)
    bend = -slope  # the whole step leads to slope zero
    after = slope + bend * time.nan_to_num(posinf=2.0) + jump
    risen = (after >= 0).nonzero()  # waits for the device; who does not cross is there at time 2
    if not len(risen):  # all cross, and it falls on behind the last
        return start - (slope + jump[-1]) / bend * way
    first = int(risen[0])
    before = slope if first == 0 else slope + jump[first - 1]
    inside = (-before / bend).clamp(min=0)  # where the slope would be zero before that crossing
    new = start + torch.minimum(inside, time[first]) * way
    if bool(inside >= time[first]):
        new[order[first]] = 0.0
    return new


def _fista(problem: Quadratic, u: Tensor, n_iterations: int, goal: Tensor) -> Tensor:
    """Accelerated proximal gradient with restart; the step follows the curvature met.

    One product with ``H`` an iteration: that of the extrapolated point follows from two others.
    """
    H, b, small = problem.H, problem.b, (0.3 * float(goal)) ** 2
    Hu = H @ u
    v, Hv, t, bound = u, Hu, 1.0, 1.0
    for _ in range(n_iterations):
        new = problem.prox(v + (b - Hv) / bound, 1 / bound)
        Hnew = H @ new
        move = new - v
        numbers = (torch.dot(move, Hnew - Hv), torch.dot(move, move), torch.dot(move, u - new))
        bent, squares, uphill = torch.stack(numbers).tolist()  # waits for the device
        if bent > bound * squares * (1 + 1e-9):  # steeper than was thought: again, from u
            v, Hv, t, bound = u, Hu, 1.0, max(1.1 * bent / squares, 1.5 * bound)
            continue
        t_new = 1.0 if uphill > 0 else 0.5 * (1 + (1 + 4 * t * t) ** 0.5)
        pull = 0.0 if uphill > 0 else (t - 1) / t_new
        v, Hv = new + pull * (new - u), Hnew + pull * (Hnew - Hu)
        u, Hu, t = new, Hnew, t_new
        if squares < small:
            break
    return u
