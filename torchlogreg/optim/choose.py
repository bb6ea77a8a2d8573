"""The optimizer of a fit that names none, and the reason for it."""

from __future__ import annotations

from torchlogreg.objective import Objective
from torchlogreg.optim.least_squares import unsolvable

NEWTON_LIMIT = 2000
"""Parameters up to which a (P, P) factor is cheap beside a pass over the rows."""


def choose(
    objective: Objective, batch_size: int | None, *, adaptive: bool = False
) -> tuple[str, str]:
    """Name in ``OPTIMIZERS`` and the reason, in words for the result's message.

    Parameters
    ----------
    objective : Objective
    batch_size : int or None
    adaptive : bool
        Whether sample weights follow the model. Newton then goes all the way to the optimum of
        weights that change at once; under ``Focal`` it runs away where L-BFGS arrives.
    """
    penalty = objective.penalty
    n_params = sum(p.numel() for p in objective.params)
    if penalty is not None and not penalty.smooth:
        return "proximal_gradient", f"the penalty {penalty!r} is not smooth"
    if batch_size is not None:
        return "adam", "mini-batches"
    if adaptive:
        return "lbfgs", "sample weights follow the model"
    if n_params > NEWTON_LIMIT:
        return "lbfgs", f"{n_params} parameters are too many for a Hessian"
    if not unsolvable(objective):
        return "least_squares", "full batch, linear regression: one step is the exact solution"
    return "newton", f"full batch, smooth objective, {n_params} parameters"
