"""From checked arrays to coefficients, through the training of our own estimators."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from scipy import sparse
from torch import Tensor

from torchlogreg.base import Model
from torchlogreg.compat.arguments import Strength
from torchlogreg.estimators.training import FitWarning, Settings, train
from torchlogreg.hooks import Progress
from torchlogreg.models import LogisticRegression, SoftmaxRegression
from torchlogreg.optim import AUTO
from torchlogreg.scaling import Standardizer
from torchlogreg.sparse_inputs import sparse_rows
from torchlogreg.state import Hook
from torchlogreg.tensors import as_tensor

SMALLEST, LARGEST = sys.float_info.min, 1e-5
"""Tolerances aimed at: for 0 what rounding or the last iteration ends, for 1e-4 a tenth of it. What
solvers that step by gradients call 1e-4 is often nearer to the optimum than such a gradient, and
the steps from there are the cheapest digits."""

LOOSE, MANY = 1e-6, 100
"""Tolerance above which, and parameters from which on, L-BFGS about one block a class is quicker
than a Hessian of all classes."""


class Coefficients(NamedTuple):
    """``coef`` (1 or K, p) and ``intercept`` (1 or K,), float64 arrays."""

    coef: np.ndarray[Any, Any]
    intercept: np.ndarray[Any, Any]


class Form(NamedTuple):
    """What becomes of the intercept, and whether a penalty decides the coefficients.

    ``synthetic`` is None, or the value of a column of its own whose weight, penalised, stands for
    the intercept: liblinear's.
    """

    bias: bool
    synthetic: float | None
    penalised: bool


@dataclass(frozen=True)
class Problem:
    """What is to be minimised.

    Attributes
    ----------
    X : array or CSR matrix, shape (n, p)
        Finite.
    codes : ndarray, shape (n,)
        Indices of classes.
    n_classes : int
    sample_weight : ndarray, shape (n,), or None
        Factors of classes included.
    strength : Strength
    form : Form
    """

    X: Any
    codes: np.ndarray[Any, Any]
    n_classes: int
    sample_weight: np.ndarray[Any, Any] | None
    strength: Strength
    form: Form


@dataclass(frozen=True)
class Budget:
    """How it is to be minimised, and how long: a name in ``OPTIMIZERS``, epochs, tolerance."""

    optimizer: str
    max_iter: int
    tol: float
    progress: bool
    feature_names: list[str] | None


class Solution(NamedTuple):
    """Where it ended, after how many epochs, and why that is no optimum; empty if it is one."""

    found: Coefficients
    n_iter: int
    failure: str


Watch = Callable[[Standardizer | None], tuple[Hook, ...]]
"""From the standardisation of a fit to the hooks of its callbacks."""


def solve(problem: Problem, budget: Budget, start: Coefficients | None, watch: Watch) -> Solution:
    """Minimise ``C * sum(sample_weight * loss) + penalty``.

    1. A model of float64 at ``start``, or at zero.
    2. liblinear's intercept is the weight of one more column.
    3. Train it on raw columns; warnings that nothing converged are kept as the reason.

    Raises
    ------
    KeyboardInterrupt
        If that ended the fit: a search over many must stop too.
    """
    model = _model(problem, start)  # 1
    if budget.max_iter == 0:
        return Solution(coefficients(model, problem.form), 0, "no iteration was allowed")
    weights = problem.sample_weight
    total = float(problem.X.shape[0] if weights is None else weights.sum())
    tol = tolerance(budget.tol)
    settings = Settings(
        optimizer=_optimizer(problem, model, budget.optimizer, tol),
        penalty=problem.strength.penalty(total),
        weighting=None,
        batch_size=None,
        max_epochs=budget.max_iter,
        tol=tol,
        hooks=(Progress(),) if budget.progress else (),
        generator=None,
        facts=_facts(problem, budget),
    )
    target = torch.from_numpy(problem.codes)
    with warnings.catch_warnings(record=True) as caught:  # 3
        warnings.simplefilter("always")
        result, _ = train(
            model,
            rows_of(problem),
            target,
            settings,
            sample_weight=weights,
            watch=watch,
            recorded=False,
        )
    if result.stop_reason == "interrupted":
        raise KeyboardInterrupt
    failure, short = "", result.stop_reason == "max_epochs"
    for entry in caught:
        if isinstance(entry.message, FitWarning):  # asked for less, it may have been enough
            enough = short and result.optimality <= budget.tol
            failure = "" if enough else str(entry.message)
        else:
            warnings.warn_explicit(entry.message, entry.category, entry.filename, entry.lineno)
    return Solution(coefficients(model, problem.form), result.n_epochs, failure)


def tolerance(tol: float) -> float:
    """The gradient aimed at for a tolerance of scikit-learn's."""
    return min(max(tol, SMALLEST), LARGEST)


def _model(problem: Problem, start: Coefficients | None) -> LogisticRegression | SoftmaxRegression:
    """One score for two classes, else one for each."""
    n_features, bias = problem.X.shape[1] + (problem.form.synthetic is not None), problem.form.bias
    model: LogisticRegression | SoftmaxRegression
    if problem.n_classes == 2:
        model = LogisticRegression(n_features, bias, dtype=torch.float64)
    else:
        model = SoftmaxRegression(n_features, problem.n_classes, bias=bias, dtype=torch.float64)
    if start is not None:
        with torch.no_grad():
            model.weight.copy_(torch.from_numpy(start.coef))
            if model.bias is not None:
                model.bias.copy_(torch.from_numpy(start.intercept))
    return model


def _optimizer(problem: Problem, model: Model, wanted: str, tol: float) -> str:
    """The optimizer of that name, or of many classes the one that a loose tolerance asks for."""
    n, p = problem.X.shape
    ridge = 0 < problem.strength.C < np.inf and problem.strength.l1_ratio == 0
    many = model.weight.numel() >= MANY and problem.n_classes > 2 and n >= 2 * p
    loose = tol > LOOSE and wanted == AUTO and not sparse.issparse(problem.X)
    return "block_lbfgs" if ridge and many and loose else wanted


def rows_of(problem: Problem) -> Tensor:
    """Dense or sparse rows as ``fit`` takes them."""
    X, synthetic = problem.X, problem.form.synthetic
    if synthetic is not None:  # 2
        column = np.full((X.shape[0], 1), synthetic)
        X = sparse.hstack([X, column], "csr") if sparse.issparse(X) else np.hstack([X, column])
    return sparse_rows(X) if sparse.issparse(X) else as_tensor(X, "X", torch.device("cpu"))


def _facts(problem: Problem, budget: Budget) -> dict[str, Any]:
    """Names of columns for the diagnosis."""
    names = budget.feature_names
    if names is None:
        return {}
    return {"feature_names": names + ["intercept"] * (problem.form.synthetic is not None)}


def coefficients(model: Model, form: Form) -> Coefficients:
    """What a model of raw columns has learnt.

    A common shift of all classes changes nothing: what no penalty decides has mean zero.
    """
    weight = model.weight.detach().numpy().copy()
    if form.synthetic is not None:
        return Coefficients(weight[:, :-1], form.synthetic * weight[:, -1])
    free = len(weight) > 1
    if free and not form.penalised:
        weight -= weight.mean(axis=0)
    if model.bias is None:
        return Coefficients(weight, np.zeros(len(weight)))
    bias = model.bias.detach().numpy().copy()
    return Coefficients(weight, bias - bias.mean() if free else bias)
