"""scikit-learn, all solvers, scikit-learn-intelex and numpy's own least squares."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.solving.contender import (
    Answer,
    Contender,
    Setting,
    Solve,
    answer,
    decades,
    dense,
    once,
    plain,
)
from benchmarks.solving.problems import Data, Spec

MANY = 1_000_000
ITERATIONS = 200


def logistic(solver: str, module: str, label: str, pip: str) -> Contender:
    """LogisticRegression with one of its solvers."""

    def suits(spec: Spec) -> bool:
        if solver == "newton-cholesky" and (spec.density < 1 or spec.p * spec.width > 6000):
            return False  # takes dense rows, and a Hessian that fits
        if not plain(spec) or spec.kind == "linear":
            return False
        if spec.l1 and solver not in ("liblinear", "saga"):
            return False
        return solver != "liblinear" or (not spec.intercept and spec.kind == "logistic")

    def start(data: Data, threads: int) -> Solve:
        spec = data.spec
        model_type = importlib.import_module(f"{module}.linear_model").LogisticRegression

        def solve(setting: Setting) -> Answer:
            more: dict[str, Any] = {"l1_ratio": 1.0} if spec.l1 else {}
            strength = 1 / (spec.n * (spec.l1 or spec.l2))
            model = model_type(
                C=strength,
                solver=solver,
                fit_intercept=spec.intercept,
                max_iter=MANY,
                random_state=0,
                **setting,
                **more,
            )
            model.fit(data.X, data.y)
            return answer(model.coef_, model.intercept_, spec.width)

        return solve

    return Contender(f"{label} {solver}", module, pip, suits, decades("tol", 1, 13), start)


def linear(
    name: str,
    module: str,
    pip: str,
    suits: Callable[[Spec], bool],
    ladder: Callable[[Spec], list[Setting]],
    make: Callable[[Any, Spec, Setting], Any],
    column_order: bool = False,
) -> Contender:
    """A linear model with ``fit``, ``coef_`` and ``intercept_``."""

    def start(data: Data, threads: int) -> Solve:
        spec = data.spec
        library = importlib.import_module(f"{module}.linear_model")
        X = np.asfortranarray(data.X) if column_order and spec.density == 1 else data.X

        def solve(setting: Setting) -> Answer:
            model = make(library, spec, setting)
            model.fit(X, data.y)
            return answer(model.coef_, model.intercept_, spec.width)

        return solve

    return Contender(name, module, pip, suits, ladder, start)


def is_ridge(spec: Spec) -> bool:
    """Squared errors and L2."""
    return plain(spec) and spec.kind == "linear" and spec.l2 > 0


def is_ols(spec: Spec) -> bool:
    """Squared errors alone."""
    return plain(spec) and spec.kind == "linear" and not spec.l2 and not spec.l1


def is_lasso(spec: Spec) -> bool:
    """Squared errors and L1."""
    return plain(spec) and spec.kind == "linear" and spec.l1 > 0


def ridge(solver: str) -> Contender:
    """Ridge with one of its solvers; the iterative ones have a tolerance."""

    def make(library: Any, spec: Spec, setting: Setting) -> Any:
        return library.Ridge(
            alpha=spec.l2 * spec.n / 2,
            solver=solver,
            fit_intercept=spec.intercept,
            max_iter=MANY,
            random_state=0,
            **setting,
        )

    iterative = solver in ("lsqr", "sparse_cg", "sag", "saga")
    ladder = decades("tol", 1, 13) if iterative else once()
    name = f"sklearn Ridge {solver}"
    return linear(name, "sklearn", "scikit-learn", is_ridge, ladder, make)


def sklearnex_ridge(library: Any, spec: Spec, setting: Setting) -> Any:
    """Its own normal equations."""
    return library.Ridge(alpha=spec.l2 * spec.n / 2, fit_intercept=spec.intercept)


def ols(library: Any, spec: Spec, setting: Setting) -> Any:
    """LinearRegression as it comes."""
    return library.LinearRegression(fit_intercept=spec.intercept)


def lasso(library: Any, spec: Spec, setting: Setting) -> Any:
    """Coordinate descent."""
    return library.Lasso(alpha=spec.l1 / 2, fit_intercept=spec.intercept, max_iter=MANY, **setting)


def start_normal(data: Data, threads: int) -> Solve:
    """numpy: centred columns folded into X'X, then Cholesky."""
    spec, X, y = data.spec, data.X, data.y

    def solve(setting: Setting) -> Answer:
        mean, level = (X.mean(axis=0), y.mean()) if spec.intercept else (np.zeros(spec.p), 0.0)
        gram = X.T @ X - spec.n * np.outer(mean, mean)
        gram[np.diag_indices_from(gram)] += spec.l2 * spec.n / 2
        weight = np.linalg.solve(gram, X.T @ y - spec.n * level * mean)
        return answer(weight, level - mean @ weight, 1)

    return solve


def start_loop(data: Data, threads: int) -> Solve:
    """The cost logger's page: saga, one iteration a fit, warm starts, log_loss of all rows."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import log_loss

    X, y, weighted = data.X, data.y, data.spec.loop == "weighted"

    def solve(setting: Setting) -> Answer:
        model = LogisticRegression(solver="saga", max_iter=1, warm_start=True, random_state=0)
        rows = np.ones(len(y))
        costs = []
        row_weight = rows
        for i in range(ITERATIONS):
            if weighted and i:
                rows[model.predict(X) != y] = 2
                model.class_weight = {0: 1.0, 1: float(rows.mean())}
                row_weight = np.where(y > 0, rows.mean(), 1.0)
                model.C = 1 / row_weight.mean()  # the penalty of weights of mean one, as ours
            model.fit(X, y)
            costs.append(log_loss(y, model.predict_proba(X)))
        found = answer(model.coef_, model.intercept_, 1)
        return found._replace(costs=np.array(costs), row_weight=row_weight)

    return solve


def has_loop(spec: Spec) -> bool:
    """The cost logger."""
    return bool(spec.loop)


def is_normal(spec: Spec) -> bool:
    """Squared errors and no L1, dense rows, fewer columns than rows."""
    return (is_ridge(spec) or is_ols(spec)) and dense(spec) and spec.p < spec.n


INTELEX = ("sklearnex", "scikit-learn-intelex")
SOLVERS = ("lbfgs", "newton-cholesky", "newton-cg", "sag", "saga", "liblinear")
RIDGES = ("cholesky", "svd", "lsqr", "sparse_cg", "sag", "saga")
CONTENDERS = [
    *(logistic(s, "sklearn", "sklearn", "scikit-learn") for s in SOLVERS),
    logistic("lbfgs", INTELEX[0], "sklearnex", INTELEX[1]),
    *(ridge(s) for s in RIDGES),
    linear("sklearnex Ridge", *INTELEX, is_ridge, once(), sklearnex_ridge),
    linear("sklearn LinearRegression", "sklearn", "scikit-learn", is_ols, once(), ols),
    linear("sklearnex LinearRegression", *INTELEX, is_ols, once(), ols),
    linear(
        "sklearn Lasso",
        "sklearn",
        "scikit-learn",
        is_lasso,
        decades("tol", 1, 13),
        lasso,
        column_order=True,
    ),
    Contender("numpy normal equations", "numpy", "numpy", is_normal, once(), start_normal),
    Contender("sklearn saga loop", "sklearn", "scikit-learn", has_loop, once(), start_loop),
]
