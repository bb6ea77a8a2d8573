"""The compiled peers: glum, statsmodels, skglm, celer, adelie, snapml."""

from __future__ import annotations

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
    is_logistic,
    plain,
)
from benchmarks.solving.problems import Data, Spec
from benchmarks.solving.scikit import is_lasso, is_ols

MANY = 100_000


def in_columns(data: Data) -> Any:
    """Rows laid out as coordinate descent likes them: by column."""
    return np.asfortranarray(data.X) if dense(data.spec) else data.X.tocsc()


def asks_errors(spec: Spec) -> bool:
    """Fit and standard errors."""
    return spec.errors


def has_l1(spec: Spec) -> bool:
    """L1, any loss, one column of scores."""
    return plain(spec) and spec.l1 > 0 and spec.kind != "softmax"


def glum_suits(spec: Spec) -> bool:
    """One column of scores, L1 or L2 or neither, with errors or without."""
    return spec.kind != "softmax" and not spec.loop


def start_glum(data: Data, threads: int) -> Solve:
    """GeneralizedLinearRegressor; its objective has half the squared error."""
    from glum import GeneralizedLinearRegressor

    spec = data.spec
    half = 2.0 if spec.kind == "linear" else 1.0
    family = "normal" if spec.kind == "linear" else "binomial"
    X = in_columns(data)

    def solve(setting: Setting) -> Answer:
        model = GeneralizedLinearRegressor(
            alpha=(spec.l1 or spec.l2) / half,
            l1_ratio=float(spec.l1 > 0),
            family=family,
            fit_intercept=spec.intercept,
            max_iter=1000,
            **setting,
        )
        model.fit(X, data.y)
        found = answer(model.coef_, model.intercept_, 1)
        if not spec.errors:
            return found
        known = {"dispersion": 1.0, "robust": False, "expected_information": True}
        errors = model.std_errors(X, data.y, **known)
        return found._replace(errors=np.roll(np.asarray(errors), -1))

    return solve


def start_statsmodels(data: Data, threads: int) -> Solve:
    """Logit or OLS on a design with a constant; standard errors from its results."""
    import statsmodels.api as sm

    spec = data.spec
    design = np.column_stack((data.X, np.ones(spec.n))) if spec.intercept else data.X

    def solve(setting: Setting) -> Answer:
        if spec.kind == "linear":
            result = sm.OLS(data.y, design).fit(**setting)
        else:
            result = sm.Logit(data.y, design).fit(disp=0, maxiter=200, **setting)
        bias = result.params[spec.p :] if spec.intercept else 0.0
        found = answer(result.params[: spec.p], bias, 1)
        return found._replace(errors=np.asarray(result.bse)) if spec.errors else found

    return solve


def start_skglm(data: Data, threads: int) -> Solve:
    """Lasso, SparseLogisticRegression; L2 by its L-BFGS."""
    from skglm import GeneralizedLinearEstimator, Lasso, SparseLogisticRegression
    from skglm.datafits import Logistic
    from skglm.penalties import L2
    from skglm.solvers import LBFGS

    spec, X = data.spec, in_columns(data)
    y = data.y if spec.kind == "linear" else np.where(data.y > 0, 1.0, -1.0)

    def solve(setting: Setting) -> Answer:
        if spec.kind == "linear":
            model = Lasso(spec.l1 / 2, fit_intercept=spec.intercept, max_iter=1000, **setting)
        elif spec.l1:
            model = SparseLogisticRegression(
                spec.l1, fit_intercept=spec.intercept, max_iter=1000, **setting
            )
        else:
            model = GeneralizedLinearEstimator(
                Logistic(), L2(spec.l2), LBFGS(max_iter=MANY, **setting)
            )
        model.fit(X, y)
        return answer(model.coef_, getattr(model, "intercept_", 0.0), 1)

    return solve


def start_celer(data: Data, threads: int) -> Solve:
    """Lasso and LogisticRegression, without an intercept."""
    from celer import Lasso, LogisticRegression

    spec, X = data.spec, in_columns(data)

    def solve(setting: Setting) -> Answer:
        if spec.kind == "linear":
            model = Lasso(spec.l1 / 2, fit_intercept=spec.intercept, max_iter=1000, **setting)
        else:
            model = LogisticRegression(C=1 / (spec.l1 * spec.n), max_iter=1000, **setting)
        model.fit(X, data.y)
        return answer(model.coef_, model.intercept_ if spec.intercept else 0.0, 1)

    return solve


def start_adelie(data: Data, threads: int) -> Solve:
    """grpnet with one strength; alpha=0 is ridge. Half the squared error, as glum."""
    import adelie as ad

    spec = data.spec
    half = 2.0 if spec.kind == "linear" else 1.0
    X: Any = np.asfortranarray(data.X)
    y = np.ascontiguousarray(data.y)

    def solve(setting: Setting) -> Answer:
        family = ad.glm.gaussian(y) if spec.kind == "linear" else ad.glm.binomial(y)
        state = ad.grpnet(
            X,
            family,
            alpha=float(spec.l1 > 0),
            lmda_path=np.array([(spec.l1 or spec.l2) / half]),
            intercept=spec.intercept,
            n_threads=threads,
            early_exit=False,
            progress_bar=False,
            **{**setting, "irls_tol": setting["tol"]},
        )
        return answer(state.betas[-1].toarray(), state.intercepts[-1], 1)

    return solve


def adelie_suits(spec: Spec) -> bool:
    """Dense rows, one column of scores, a penalty."""
    return (has_l1(spec) or (plain(spec) and spec.l2 > 0)) and dense(spec) and spec.width == 1


def start_snapml(data: Data, threads: int) -> Solve:
    """LogisticRegression by dual coordinate descent, in threads."""
    from snapml import LogisticRegression

    spec = data.spec
    X = data.X if dense(spec) else data.X.copy()

    def solve(setting: Setting) -> Answer:
        model = LogisticRegression(
            regularizer=(spec.l1 or spec.l2) * spec.n,
            penalty="l1" if spec.l1 else "l2",
            dual=not spec.l1,
            fit_intercept=spec.intercept,
            n_jobs=threads,
            max_iter=MANY,
            random_state=0,
            **setting,
        )
        model.fit(X, data.y)
        bias = getattr(model, "intercept_", 0.0) if spec.intercept else 0.0
        return answer(np.ravel(model.coef_)[: spec.p], bias, 1)

    return solve


def snapml_suits(spec: Spec) -> bool:
    """L2 or L1 logistic regression; with an intercept it is penalised, and the check decides."""
    return is_logistic(spec) or (has_l1(spec) and spec.kind == "logistic")


def celer_suits(spec: Spec) -> bool:
    """L1; its logistic regression has no intercept."""
    return is_lasso(spec) or (has_l1(spec) and not spec.intercept)


def skglm_suits(spec: Spec) -> bool:
    """L1; L2 logistic regression without an intercept."""
    return has_l1(spec) or (is_logistic(spec) and not spec.intercept)


def statsmodels_suits(spec: Spec) -> bool:
    """Its estimators without a penalty."""
    return asks_errors(spec) or is_ols(spec)


def glum_solver(solver: str) -> Contender:
    """glum with one of its solvers."""

    def suits(spec: Spec) -> bool:
        l1 = solver == "irls-cd"
        return glum_suits(spec) and bool(spec.l1) == l1

    ladder = decades("gradient_tol", 1, 12, solver=solver)
    return Contender(f"glum {solver}", "glum", "glum", suits, ladder, start_glum)


def statsmodels_ladder(spec: Spec) -> list[Setting]:
    """OLS by pseudo-inverse or QR; Logit by Newton to a tolerance."""
    if spec.kind == "linear":
        return [{"method": "qr"}, {"method": "pinv"}]
    return [{"method": "newton", "tol": 10.0**-i} for i in range(1, 13)]


TOL = decades("tol", 1, 14)
CONTENDERS = [
    *(glum_solver(s) for s in ("irls-ls", "lbfgs", "irls-cd")),
    Contender(
        "statsmodels",
        "statsmodels",
        "statsmodels",
        statsmodels_suits,
        statsmodels_ladder,
        start_statsmodels,
    ),
    Contender("skglm", "skglm", "skglm", skglm_suits, TOL, start_skglm),
    Contender("celer", "celer", "celer", celer_suits, TOL, start_celer),
    Contender("adelie", "adelie", "adelie", adelie_suits, decades("tol", 3, 16), start_adelie),
    Contender("snapml", "snapml", "snapml", snapml_suits, TOL, start_snapml),
]
