"""scikit-learn's solvers by name: our optimizer for each, and its words for an unfinished fit."""

from __future__ import annotations

from types import MappingProxyType
from typing import NamedTuple

from torchlogreg.optim import AUTO


class Solver(NamedTuple):
    """A name in ``OPTIMIZERS``, and how scikit-learn says that its iterations were too few."""

    optimizer: str
    failure: str


SOLVERS = MappingProxyType(
    {
        "lbfgs": Solver(AUTO, "lbfgs failed to converge after {n} iteration(s)"),
        "liblinear": Solver(
            AUTO, "Liblinear failed to converge, increase the number of iterations."
        ),
        "newton-cg": Solver(
            AUTO,
            "newton-cg failed to converge after {n} iterations. Increase the number of iterations.",
        ),
        "newton-cholesky": Solver("newton", "Newton solver did not converge after {n} iterations"),
        "sag": Solver(AUTO, "The max_iter was reached which means the coef_ did not converge"),
        "saga": Solver(AUTO, "The max_iter was reached which means the coef_ did not converge"),
    }
)
"""All of them reach the same optimum, so a name that stands for a choice by size is a choice by
size here: Newton for few parameters, conjugate gradients inside it for many, a sample of the rows
first where those are many, coordinate descent for sparse rows, a working set under L1."""
