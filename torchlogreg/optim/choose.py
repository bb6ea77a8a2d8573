"""The optimizer of a fit that names none, and the reason for it."""

from __future__ import annotations

import math
from typing import NamedTuple

from torch import Tensor
from torch.optim import Optimizer

from torchlogreg import distributed
from torchlogreg.data import GATHERED, Batch
from torchlogreg.objective import Objective
from torchlogreg.optim.choose_sparse import for_sparse
from torchlogreg.optim.least_squares import unsolvable
from torchlogreg.optim.newton import Newton
from torchlogreg.optim.preconditioned import unsuitable
from torchlogreg.optim.sampling import heavy_tailed
from torchlogreg.optim.wide import MOST_ROWS, bound_to_columns
from torchlogreg.penalties import Penalty
from torchlogreg.sparse import is_sparse
from torchlogreg.weighting import Weighting

AUTO = "auto"
"""The name of the default: what :func:`choose` chooses."""

NEWTON_LIMIT = 2000
"""Parameters up to which a (P, P) factor is cheap beside a pass over the rows."""

TALL, LARGE = 400, 2**18
"""Rows a parameter, and rows times parameters, from which on a sample of rows starts better than
all: measured at 5 to 100 parameters, where it is even there, and 5 times faster at ten times
the rows."""

TALL_CLASSES = 300
"""The same for several classes, whose Hessians cost more: 1.2 to 2.2 times quicker than Newton at
20,000 x 10 and 5, 50,000 x 50 and 3; at 190 rows a parameter it is even (20,000 x 20 and 5)."""

LOOSE, HUGE = 1e-6, 2**24
"""Tolerance above which, and rows times columns from which on, passes are quicker than a matrix."""

ROUGH = {"least_squares": LOOSE, "newton": LOOSE, "subsampled_newton": 5e-5}
"""Optimizers with less to do for such a tolerance, and that above which it is quicker: half a
sample costs more passes than it saves from 1e-5 on."""

CORRECTIONS, SOME, DEAR = 8, 3, 3 * 2**20
"""Steps of BFGS for each Hessian of Newton's method, of which what is left of the error falls to a
tenth, a hundredth, ...: where a compiled one takes seven microseconds; and from so many rows times
squared parameters on, where the Hessian costs more than three passes: 1.1 to 1.5 times quicker at
4,000 x 30, 5,000 x 20 and 5, 2,000 x 50 and 4, and slower at 1,000 x 20."""

COLUMNS, STEEP = 50, 0.3
"""Parameters of a ridge regression from which on passes are quicker than the Gram matrix of an
exact solution, at a tolerance of 1e-3 and above, and twice as many for each tenth of it: measured
for 20 to 400 columns and 1e-2 to 1e-5."""

BLOCKS, FEWEST = 2**26, 20
"""Rows times squared parameters, and rows a column, from which on such a tolerance is quicker met
by L-BFGS about one block a class than by Newton: 1.7 to 5 times at 1,000 x 50 and 10 to 50,000 x 50
and 5; even at 2,000 x 20 and 5, 10,000 x 20 and 3; half as quick at 2,000 x 10 and 10."""

WIDE = 200
"""Columns from which on the space of fewer rows is the quicker one: 12 times at 500 x 1,000."""


class Choice(NamedTuple):
    """A name in ``OPTIMIZERS``, and why it was chosen."""

    name: str
    reason: str


def choose(
    objective: Objective,
    batch_size: int | None,
    *,
    adaptive: bool = False,
    settles: bool = False,
    n_rows: int | None = None,
    X: Tensor | None = None,
    tol: float = 0.0,
    spread: bool = False,
) -> Choice:
    """Name in ``OPTIMIZERS`` and the reason, in words for the result's message.

    Parameters
    ----------
    objective : Objective
    batch_size : int or None
    adaptive : bool
        Whether sample weights follow the model. Newton then goes all the way to the optimum of
        weights that change at once; under ``Focal`` it runs away where L-BFGS arrives.
    settles : bool
        Whether such weights come to rest whatever the model does: Newton then ends as ever.
    n_rows : int, optional
        How many there are; few, if it is not said.
    X : Tensor, shape (n, p), optional
        The rows, of which sparse ones are looked at, and a few of those of a large ridge
        regression.
    tol : float
        Of the fit: one above 1e-6 asks for fewer digits than an exact solution has.
    spread : bool
        Whether the rows are too many for one rank to have all of them, as exact solutions need.
    """
    n_ranks = distributed.world_size()
    if n_ranks > 1 and X is not None and is_sparse(X):
        raise ValueError(f"sparse rows are fitted on one process, not on {n_ranks} ranks")
    if batch_size is None and not adaptive:
        found = for_sparse(objective, X, NEWTON_LIMIT)
        if found is not None:
            return Choice(*found)
    if batch_size is None and adaptive and settles and _is_newtons(objective):
        return Choice("newton", "sample weights follow the model, and come to rest")
    rows = n_rows or 0
    return Choice(
        *_choose(objective, batch_size, X, adaptive=adaptive, rows=rows, tol=tol, spread=spread)
    )


def choose_for(
    objective: Objective, data: Batch, weighting: Weighting, batch_size: int | None, tol: float
) -> Choice:
    """The same for rows that are ready to be fitted."""
    return choose(
        objective,
        batch_size,
        adaptive=weighting.adaptive,
        settles=weighting.settles,
        n_rows=data.n,
        X=data.X,
        tol=tol,
        spread=(data.mapped or data.total is not None) and data.n * data.X.shape[1] > GATHERED,
    )


def attune(
    optimizer: Optimizer, choice: Choice, objective: Objective, data: Batch, tol: float
) -> None:
    """Let an optimizer that was chosen take a loose tolerance at its word, if it knows how; and
    Newton's method correct its steps, where that is quicker."""
    if tol > ROUGH.get(choice.name, math.inf) and hasattr(optimizer, "rough"):
        optimizer.rough = tol
    if isinstance(optimizer, Newton) and tol > 0:
        few, size = data.few, sum(p.numel() for p in objective.params)
        compiled = few is not None and few.compiled
        dear = data.n * size**2 >= DEAR
        optimizer.corrections = CORRECTIONS if compiled else SOME if dear else 0


def _is_newtons(objective: Objective) -> bool:
    """Whether it can be minimised by Newton's method at a fair price."""
    smooth = objective.penalty is None or objective.penalty.smooth
    return smooth and sum(p.numel() for p in objective.params) <= NEWTON_LIMIT


def _choose(
    objective: Objective,
    batch_size: int | None,
    X: Tensor | None,
    *,
    adaptive: bool,
    rows: int,
    tol: float,
    spread: bool,
) -> tuple[str, str]:
    penalty = objective.penalty
    n_params = sum(p.numel() for p in objective.params)
    if penalty is not None and not penalty.smooth:
        return _nonsmooth(objective, penalty, batch_size, adaptive=adaptive)
    if batch_size is not None:
        return "adam", "mini-batches"
    if adaptive:
        return "lbfgs", "sample weights follow the model"
    exact = n_params <= NEWTON_LIMIT and not unsolvable(objective) and not spread
    n_features = objective.model.n_features
    few = 0 < rows <= MOST_ROWS and rows < n_features >= WIDE and distributed.world_size() == 1
    if few and not exact and not bound_to_columns(objective):
        return "kernel_newton", f"{rows} rows are fewer than {n_features} columns, under a ridge"
    if n_params > NEWTON_LIMIT:
        return _for_many_parameters(objective, n_params, rows)
    enough = TALL if len(objective.model.weight) == 1 else TALL_CLASSES
    tall = rows >= enough * n_params and rows * n_params >= LARGE
    if tol > LOOSE and penalty is not None and penalty.alpha > 0:
        quick = n_params > COLUMNS * max(1.0, 1e-3 / tol) ** STEEP
        if exact and tall and quick and rows * n_params >= HUGE and not _misleads(X):
            why = f"a tolerance of {tol:g} asks for a few passes over {rows} rows"
            return "subsampled_newton", why
        dear = rows >= FEWEST * n_features and rows * n_params**2 >= BLOCKS
        if dear and not tall and not unsuitable(objective):
            return (
                "block_lbfgs",
                f"a tolerance of {tol:g} does not ask for a Hessian of all classes",
            )
    if exact:
        return "least_squares", "full batch, linear regression: one step is the solution"
    if tall and not (penalty is not None and penalty.needs_rows):
        return "subsampled_newton", f"{rows} rows are many for {n_params} parameters"
    return "newton", f"full batch, smooth objective, {n_params} parameters"


def _misleads(X: Tensor | None) -> bool:
    """Whether a sample of these rows would say little of their Gram matrix."""
    return X is not None and distributed.world_size() == 1 and heavy_tailed(X)


def _for_many_parameters(objective: Objective, n_params: int, rows: int) -> tuple[str, str]:
    """Without a (P, P) matrix."""
    n_features = objective.model.n_features
    if not unsuitable(objective) and n_features <= NEWTON_LIMIT and rows >= 2 * n_features:
        return "block_lbfgs", f"{n_params} parameters are too many for a Hessian, not for one block"
    if objective.penalty is not None and objective.penalty.needs_rows:
        return "lbfgs", f"{n_params} parameters are too many for a Hessian"
    return "newton_cg", f"{n_params} parameters are too many for a Hessian, not for its products"


def _nonsmooth(
    objective: Objective, penalty: Penalty, batch_size: int | None, *, adaptive: bool
) -> tuple[str, str]:
    """For a penalty with kinks."""
    why = f"the penalty {penalty!r} is not smooth"
    if batch_size is not None:
        return "svrg", f"{why}, mini-batches"
    if adaptive:
        return "proximal_gradient", f"{why}, and sample weights follow the model"
    weight = objective.model.weight.detach()
    kink = penalty.kink(weight)
    if kink is None:
        return "proximal_gradient", f"{why}, nor a sum of kinks and squares"
    if weight.numel() > NEWTON_LIMIT and not bool(kink.any()):
        return "proximal_gradient", f"{penalty!r} keeps none of {weight.numel()} weights at zero"
    return "proximal_newton", f"{why}; most weights stay zero and a working set is small"
