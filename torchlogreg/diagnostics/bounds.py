"""How far the optimum can be, from one gradient and one Hessian."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from torchlogreg.base import Model
from torchlogreg.curvature import intercept_jacobian, mix_matrix
from torchlogreg.data import Batch
from torchlogreg.inputs import make_data
from torchlogreg.losses import Loss, binary_nll, categorical_nll, squared_error
from torchlogreg.objective import Objective
from torchlogreg.penalties import L2, Penalty


@dataclass(frozen=True, slots=True)
class Certificate:
    """How far the optimum can be from the parameters.

    Attributes
    ----------
    decrement : float
        Newton's: ``nu = (g' H^-1 g)^(1/2)`` of the objective (a mean over rows).
    distance : float
        ``(delta' H delta)^(1/2)``, ``delta`` the way to the optimum.
    objective_gap : float
        Objective here minus objective there.
    standard_errors : float
        The distance in standard errors (inverse Fisher information at these parameters): no
        coefficient, and no linear combination of them, is further than this from its optimum.
    kind : {"exact", "bound", "estimate"}
        "exact" for least squares; "bound" for binary and multinomial likelihoods near enough to
        the optimum, proven; "estimate" for all else, right to first order, where the numbers are
        those of the quadratic model.
    """

    decrement: float
    distance: float
    objective_gap: float
    standard_errors: float
    kind: Literal["exact", "bound", "estimate"]


def certificate(
    model: Model,
    X: Any,
    y: Any,
    *,
    loss: Loss | None = None,
    penalty: Penalty | None = None,
    sample_weight: Any = None,
    offset: Any = None,
) -> Certificate:
    """Bound the distance to the optimum of ``mean loss + penalty`` from where the model is.

    ``FitResult.optimality`` says that the gradient is small; this says what follows.

    1. Gradient ``g``, Hessian ``H``, decrement ``nu``.
    2. Least squares: the objective is quadratic, so the distance is ``nu`` and the gap ``nu^2/2``.
    3. Binary and multinomial: the third derivative of the objective is at most the second times
       the change of ``eta`` (generalised self-concordance), so along the way ``delta`` the
       curvature falls at most by ``exp(-s)``, with ``s <= rho |delta|_H`` and ``rho^2`` the largest
       ``z_i' H^-1 z_i`` over the rows (differences of two classes for multinomial models). Then
       ``1 - exp(-rho |delta|_H) <= rho nu``, which bounds the distance if ``rho nu < 1``:

           |delta|_H <= -log(1 - rho nu) / rho
           gap       <= (rho nu + (1 - rho nu) log(1 - rho nu)) / rho^2

    Parameters
    ----------
    model : Model
    X, y, sample_weight, offset
        As in ``fit``.
    loss : Loss, optional
    penalty : Penalty, optional
        Smooth.

    Returns
    -------
    Certificate

    Raises
    ------
    ValueError
        If the data do not suit the model, or the penalty is not smooth.

    Notes
    -----
    With an L2 penalty and no intercept the objective is strongly convex with modulus ``alpha``, and
    the older bound ``gap <= |g|^2 / (2 alpha)`` holds as well; this one is never the worse near the
    optimum, and needs neither. Standard errors count ``n`` rows, whatever the sum of the weights.

    References
    ----------
    Bach, Self-concordant analysis for logistic regression, Electron. J. Statist. 4 (2010); Nesterov
    and Nemirovskii, Interior-point polynomial algorithms in convex programming (1994).
    """
    objective = Objective(model, loss, penalty)
    if penalty is not None and not penalty.smooth:
        raise ValueError(
            f"the penalty {penalty!r} is not smooth, so there is no Newton decrement; read "
            "FitResult.optimality instead"
        )
    data = make_data(
        model, X, y, sample_weight=sample_weight, offset=offset, own_target=objective.own_loss
    )
    return certificate_of(objective, data)


@torch.no_grad()
def certificate_of(objective: Objective, data: Batch) -> Certificate:
    """The same for checked rows."""
    closure = objective.closure(data, data)
    g, H = closure.gradient().double(), closure.hessian().double()  # 1
    half = _inverse_root(H)
    if half.shape[1] == 0:  # as where a square has overflowed: nothing is known
        return Certificate(math.inf, math.inf, math.inf, math.inf, "estimate")
    nu = float((half.T @ g).norm())
    if objective.loss is squared_error and (objective.penalty is None or _quadratic(objective)):
        gap = 0.5 * nu**2  # 2
        rss = max(float(closure.value()) - gap, 0.0) * data.n
        left = max(data.n - half.shape[1], 1)
        unit = math.sqrt(2 * rss / left / data.n)  # information = n H / (2 variance)
        errors = nu / unit if unit > 0 else (math.inf if nu > 0 else 0.0)
        return Certificate(nu, nu, gap, errors, "exact")
    root_n = math.sqrt(data.n)
    if objective.loss in (binary_nll, categorical_nll) and _quadratic(objective):
        rho = math.sqrt(_largest_leverage(objective, data, half))  # 3
        t = rho * nu
        if t < 1 and rho > 0:
            distance = -math.log1p(-t) / rho
            # For small t the two terms cancel; their series is nu^2 / 2 (1 + t / 3 + ...).
            exact = (t + (1 - t) * math.log1p(-t)) / rho**2
            gap = exact if t > 1e-4 else 0.5 * nu**2 * (1 + t)
            return Certificate(nu, distance, gap, root_n * distance, "bound")
    return Certificate(nu, nu, 0.5 * nu**2, root_n * nu, "estimate")


def _quadratic(objective: Objective) -> bool:
    """Whether the penalty adds no third derivatives: none, or one like L2."""
    return objective.penalty is None or isinstance(objective.penalty, L2)


def _inverse_root(H: Tensor) -> Tensor:
    """``V`` (P, m) with ``V V' = H^-1`` on the range of ``H``; m = 0 where a square overflowed."""
    diagonal = H.diagonal()
    scale = torch.where(diagonal > 0, diagonal, 1.0).rsqrt()
    scaled = H * scale[:, None] * scale
    if not bool(torch.isfinite(scaled).all()):
        return H.new_empty(len(H), 0)
    values, vectors = torch.linalg.eigh(scaled)
    kept = values > 10 * len(H) * torch.finfo(H.dtype).eps * values[-1].clamp(min=1)
    root: Tensor = scale[:, None] * (vectors[:, kept] * values[kept].rsqrt())
    return root


def _largest_leverage(objective: Objective, data: Batch, half: Tensor) -> float:
    """Largest squared length of a row's ``eta`` (of its class range) per unit of distance."""
    model = objective.model
    R, J = mix_matrix(model).double(), intercept_jacobian(model).double()
    r, p = model.weight.shape
    n_weights = r * p if model.weight.requires_grad else 0
    V = half[:n_weights].reshape(-1, p, half.shape[1]) if n_weights else half.new_zeros(r, p, 1)
    constant = J @ half[n_weights:]  # (k, m)
    largest = 0.0
    for block in data.strips(2**22 // max(1, half.numel())):
        X = block.X[block.sample_weight > 0].double()
        scores = torch.einsum("np,rpm->nrm", X, V)
        spread = torch.einsum("kr,nrm->nkm", R, scores) + constant
        if spread.shape[1] == 1:
            lengths = spread.square().sum(2)
        else:
            inner = spread @ spread.transpose(1, 2)  # (n, k, k)
            own = inner.diagonal(dim1=1, dim2=2)
            lengths = own[:, :, None] + own[:, None, :] - 2 * inner
        largest = max(largest, float(lengths.max()) if lengths.numel() else 0.0)
    return float(data.largest(torch.tensor(largest)))
