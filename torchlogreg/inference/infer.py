"""infer(): standard errors, tests and intervals of a fitted model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from torchlogreg.base import Model
from torchlogreg.inference.affine import AffineForm
from torchlogreg.inference.arguments import (
    check_settings,
    checked_penalty,
    names_of_classes,
    names_of_features,
    weighted_rows,
)
from torchlogreg.inference.covariance import cluster_codes, cluster_meat, row_meat
from torchlogreg.inference.information import Information, SingularInformationError
from torchlogreg.inference.null import (
    gaussian_log_likelihood,
    log_precision,
    null_log_likelihood,
)
from torchlogreg.inference.optimum import (
    FAR,
    distance,
    not_estimable,
    penalty_curvature,
    penalty_gradient,
    refuse_few,
    refuse_separation,
)
from torchlogreg.inference.result import InferenceResult
from torchlogreg.inference.turned import threads_of_sums
from torchlogreg.penalties import Penalty


@torch.no_grad()
def infer(
    model: Model,
    X: Any,
    y: Any,
    *,
    covariance: str = "classical",
    clusters: Any = None,
    sample_weight: Any = None,
    weight_kind: str | None = None,
    offset: Any = None,
    penalty: Penalty | None = None,
    allow_penalty: bool = False,
    use_t: bool | None = None,
    feature_names: Sequence[str] | None = None,
    class_names: Sequence[str] | None = None,
) -> InferenceResult:
    """Standard errors, tests and intervals of a model that was fitted to these rows.

    1. Sum information and gradient over the rows, in a basis of centred columns.
    2. Check that the parameters are at the maximum of the likelihood.
    3. Covariance of the kind asked for, mapped back to the raw columns.
    4. Log-likelihoods of the model and of the one without columns.

    Parameters
    ----------
    model : Model
        At the optimum of the rows below; not changed.
    X : Tensor, array or frame, shape (n, n_features)
    y : Tensor, array or series, shape (n,) or (n, K)
        As given to ``fit``. A soft target counts as so much of a row of each class: classical
        errors then answer for as many independent rows, which is right for grouped counts with
        frequency weights; for targets that are guesses, HC errors describe what varies.
    covariance : {"classical", "HC0", "HC1", "HC2", "HC3", "cluster"}
        "classical" is the inverse observed information (linear: times the residual variance); the
        others hold under misspecified variances, see :mod:`torchlogreg.inference.covariance`.
    clusters : sequence, array or series, shape (n,), optional
        Labels of any type, for ``covariance="cluster"``.
    sample_weight : array, shape (n,), optional
        A zero removes the row.
    weight_kind : {"frequency", "importance"}, optional
        Must be said with ``sample_weight``. "frequency": a row counts so many times, and the number
        of observations is the sum of the weights. "importance": weights say how much a row matters;
        they are scaled to mean one, the number of observations is that of the rows with weight, and
        classical errors treat them as if they were counts (for linear regression, log-likelihood
        and all: as inverse variances), so that HC errors are the safer choice.
    offset : array, shape (n,) or (n, r), optional
    penalty : Penalty, optional
        That of the fit. ``Jeffreys()`` is welcome: it removes bias, and errors are those of the
        information at the estimate, as in logistf, brglm2 and Stata's firthlogit.
    allow_penalty : bool
        Accept another smooth penalty. Errors then are ``B I B`` with ``B`` the inverse of the
        penalised Hessian (Gray, 1992): how much the shrunken estimates vary, not how far they are
        from the truth, so that tests and intervals ignore the bias.
    use_t : bool, optional
        t and F instead of normal and chi-squared. Default: for linear regression.
    feature_names : sequence of str, length n_features, optional
        Default: the columns of a frame, or x1, x2, ...
    class_names : sequence of str, length K, optional
        Default: 0, 1, ...

    Returns
    -------
    InferenceResult

    Raises
    ------
    ValueError
        In one line: for input that cannot be used, parameters away from the maximum (how far, in
        standard errors), separated classes (which columns), parameters that are not estimable
        (which), penalties whose errors mean nothing.
    """
    model = getattr(model, "_orig_mod", model)  # torch.compile wraps; its parameters are the same
    if not isinstance(model, Model):
        raise TypeError(f"model is a {type(model).__name__}, but infer takes a torchlogreg Model")
    check_settings(covariance, clusters, sample_weight, weight_kind)
    penalty = checked_penalty(model, penalty, allow_penalty)
    features = names_of_features(model, X, feature_names)
    classes = names_of_classes(model, class_names)
    if not all(bool(torch.isfinite(p).all()) for p in model.parameters()):
        raise ValueError("the model has parameters that are NaN or infinite; fit it again")
    data, counted = weighted_rows(model, X, y, sample_weight, weight_kind, offset)
    form = AffineForm.of(model)
    codes = None if clusters is None else _codes(clusters, counted)
    with threads_of_sums(form, data, covariance):
        information = Information.of(form, data)  # 1
        names = form.names(features, classes)
        refuse_few(information, counted=weight_kind == "frequency" and penalty is None)
        bread, away = _at_the_maximum(information, penalty, features, names)  # 2
        matrix = _covariance(  # 3
            information, bread, covariance, codes, frequency=weight_kind != "importance",
            penalised=penalty is not None and not penalty.needs_rows,
        )  # fmt: skip
        llf, llnull = _log_likelihoods(information, weight_kind)  # 4
        return InferenceResult(
            form=form,
            covariance=matrix,
            data=data,
            kind=covariance,
            names=tuple(names[i] for i in form.order),
            feature_names=features,
            class_names=classes,
            llf=llf,
            llnull=llnull,
            nobs=information.nobs,
            scale=information.variance,
            use_t=model.n_classes is None if use_t is None else use_t,
            n_clusters=None if codes is None else codes[1],
            weight_kind=weight_kind,
            penalty=penalty,
            distance=away,
        )


def _log_likelihoods(information: Information, weight_kind: str | None) -> tuple[float, float]:
    """Of the model, and of one that knows nothing but the intercepts."""
    problem, loss = information.problem, float(information.loss)
    null = null_log_likelihood(problem.form, problem.data)
    if not problem.linear:
        return -loss, null
    known = log_precision(problem.data) if weight_kind == "importance" else 0.0
    return gaussian_log_likelihood(loss, information.nobs) + known, null + known


def _codes(clusters: Any, weights: Tensor) -> tuple[Tensor, int]:
    """Clusters of the rows with weight, and how many there are."""
    codes, n_clusters = cluster_codes(clusters, weights)
    return codes[weights > 0], n_clusters


def _at_the_maximum(
    information: Information,
    penalty: Penalty | None,
    feature_names: Sequence[str],
    names: Sequence[str],
) -> tuple[Tensor, float]:
    """Factor of the inverse (penalised) information, and the distance from the maximum."""
    problem, nobs = information.problem, information.nobs
    form, back = problem.form, problem.basis.back
    gradient, extra = information.gradient, None
    if penalty is not None:
        share = nobs / 2 if problem.linear else nobs  # the linear loss counts half here
        gradient = gradient + share * (back.T @ penalty_gradient(form, problem.data, penalty))
        if not penalty.needs_rows:
            extra = share * (back.T @ penalty_curvature(form, penalty) @ back)
    try:
        factor = information.inverse_factor(extra)
    except SingularInformationError as error:
        words = not_estimable(information, gradient, error.parameters, feature_names, names)
        raise ValueError(words) from None
    away = distance(gradient, factor, information.variance + _rounding(information) / FAR**2)
    if penalty is None:
        refuse_separation(information, gradient, factor, feature_names, away)
    if not away <= FAR:  # NaN is no maximum
        raise ValueError(
            f"the parameters are {away:.2g} standard errors from the maximum of the "
            f"{'likelihood' if penalty is None else 'penalised likelihood'} of these rows; fit to "
            "convergence, and give infer the rows, sample_weight, offset and penalty of the fit"
        )
    return factor, away


def _rounding(information: Information) -> float:
    """Sum of squares that rounding leaves of a perfect linear fit, in residuals and gradient."""
    problem = information.problem
    if not problem.linear:
        return 0.0
    y = problem.data.y.to(information.loss)
    eps = torch.finfo(problem.form.model.weight.dtype).eps
    return (64 * eps) ** 2 * float(torch.dot(problem.data.sample_weight.to(y), y.square()))


def _covariance(
    information: Information,
    bread: Tensor,
    kind: str,
    codes: tuple[Tensor, int] | None,
    *,
    frequency: bool,
    penalised: bool,
) -> Tensor:
    """Covariance of ``theta``, (P, P)."""
    nobs, variance = information.nobs, information.variance
    problem = information.problem
    outer, n_params = problem.basis.back @ bread, len(bread)
    if kind == "classical" and not penalised:
        return information.inverse(bread) * variance
    correction = 1.0
    if codes is not None:
        meat, n_clusters = cluster_meat(problem, *codes), codes[1]
        correction = n_clusters / (n_clusters - 1)
        if problem.linear:
            correction *= (nobs - 1) / (nobs - n_params)
    elif kind == "classical":
        meat, correction = information.matrix, variance
    else:
        meat = row_meat(problem, bread, kind, frequency=frequency)
        if kind == "HC1":
            if nobs <= n_params:
                raise ValueError(
                    f"HC1 divides by n - P, but {nobs:g} observations do not exceed the "
                    f"{n_params} parameters; use HC0"
                )
            correction = nobs / (nobs - n_params)
    matrix = outer @ (bread.T @ meat @ bread) @ outer.T * correction
    return (matrix + matrix.T) / 2
