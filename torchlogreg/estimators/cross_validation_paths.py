"""Coefficients along a path of penalties, on every fold and on all rows."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from sklearn.utils.parallel import Parallel, delayed
from torch import Tensor
from torch.nn import functional as F

from torchlogreg.base import Model
from torchlogreg.estimators.cross_validation_batched import (
    STEPS,
    Paths,
    Rows,
    ridge_paths,
    suits,
)
from torchlogreg.estimators.training import Settings, any_labels, frames_to_the_user, train
from torchlogreg.models import LogisticRegression, SoftmaxRegression
from torchlogreg.optim import AUTO
from torchlogreg.penalties import L1, L2, ElasticNet, Penalty


def penalty_at(alpha: float, l1_ratio: float) -> Penalty:
    """``L2`` for a ratio of 0, ``L1`` for 1, between them both."""
    if l1_ratio in (0, 1):
        return L1(alpha) if l1_ratio else L2(alpha)
    return ElasticNet(alpha, l1_ratio)


def new_model(rows: Rows, dtype: torch.dtype) -> Model:
    """At zero, on the device of the rows."""
    p, device = rows.X.shape[1], rows.X.device
    if rows.n_classes == 2:
        return LogisticRegression(p, rows.intercept, device, dtype)
    return SoftmaxRegression(p, rows.n_classes, False, rows.intercept, device, dtype)


def model_with(rows: Rows, coefficients: Tensor) -> Model:
    """The model whose parameters are ``coefficients`` (r, p + 1), the intercept last."""
    model = new_model(rows, coefficients.dtype)
    with torch.no_grad():
        model.weight.copy_(coefficients[:, :-1])
        if model.bias is not None:
            model.bias.copy_(coefficients[:, -1])
    return model


def paths(
    rows: Rows,
    alphas: Tensor,
    l1_ratio: float,
    *,
    dtype: torch.dtype = torch.float64,
    optimizer: str | Callable[..., Any] | None = AUTO,
    max_epochs: int = 1000,
    tol: float = 1e-6,
    n_jobs: int | None = None,
) -> Paths:
    """All folds along all alphas: in one program where that is quicker, else fold by fold.

    Parameters
    ----------
    rows : Rows
    alphas : Tensor, shape (F, A)
        Decreasing.
    l1_ratio : float
        In [0, 1].
    dtype : torch.dtype
    optimizer, max_epochs, tol
        As in ``fit``.
    n_jobs : int, optional
        Folds fitted at the same time, each by a process of its own, as joblib counts them.

    Raises
    ------
    KeyboardInterrupt
        If that ended a fit: the path must stop too.

    Warns
    -----
    FitWarning
        Of every fit that did not converge.
    """
    auto = (optimizer is None or optimizer == AUTO) and max_epochs >= STEPS
    if auto and l1_ratio == 0 and bool((alphas > 0).all()) and suits(rows):
        found = ridge_paths(rows, alphas, dtype, tol)
        if found is not None:
            return found
    settings = Settings(
        optimizer=optimizer,
        penalty=None,
        weighting=None,
        batch_size=None,
        max_epochs=max_epochs,
        tol=tol,
        hooks=(),
        generator=None,
        facts={},
    )
    share = delayed(_of_fold)
    each = Parallel(n_jobs=n_jobs)(
        share(*_fold(rows, f), alphas[f].tolist(), l1_ratio, settings, dtype)
        for f in range(len(rows.shares))
    )
    for told in (told for _, _, fold in each for told in fold):
        warnings.warn(told, stacklevel=frames_to_the_user())
    return Paths(torch.stack([c for c, _, _ in each]), torch.tensor([n for _, n, _ in each]))


def _fold(rows: Rows, fold: int) -> tuple[Rows, Tensor]:
    """The rows that count in a fold, and their weights."""
    share = rows.shares[fold]
    counted = share > 0
    offset = None if rows.offset is None else rows.offset[counted]
    part = rows._replace(
        X=rows.X[counted], codes=rows.codes[counted], shares=share[:0], offset=offset
    )
    return part, share[counted]


def _of_fold(
    rows: Rows,
    weight: Tensor,
    alphas: list[float],
    l1_ratio: float,
    settings: Settings,
    dtype: torch.dtype,
) -> tuple[Tensor, list[int], list[Warning]]:
    """(A, r, p + 1), each from where the one before ended; epochs; and warnings.

    The latter are returned, since those of another process are lost.
    """
    model, path, n_epochs = new_model(rows, dtype), [], []
    alone = rows.n_classes == 2 and bool((rows.codes == rows.codes[0]).all())
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for alpha in alphas:
            now = replace(settings, penalty=penalty_at(alpha, l1_ratio))
            result, _ = train(
                model,
                rows.X,
                rows.codes,
                now,
                sample_weight=weight,
                offset=rows.offset,
                recorded=False,
                loss=any_labels(model) if alone else None,
            )
            if result.stop_reason == "interrupted":
                raise KeyboardInterrupt
            bias = model.weight.new_zeros(len(model.weight)) if model.bias is None else model.bias
            path.append(torch.cat((model.weight, bias.unsqueeze(1)), dim=1).detach().clone())
            n_epochs.append(result.n_epochs)
    return (
        torch.stack(path),
        n_epochs,
        [w.message for w in caught if isinstance(w.message, Warning)],
    )


@torch.no_grad()
def log_probabilities(X: Tensor, coefficients: Tensor, offset: Tensor | None) -> Tensor:
    """Of every class for every row along a path.

    Parameters
    ----------
    X : Tensor, shape (n, p)
    coefficients : Tensor, shape (A, r, p + 1)
    offset : Tensor, shape (n, r) or (n, 1), or None

    Returns
    -------
    Tensor, shape (A, n, K)
    """
    A, r, width = coefficients.shape
    flat = coefficients.reshape(A * r, width)
    scores = X.to(flat.dtype) @ flat[:, :-1].T + flat[:, -1]
    eta = scores.view(len(X), A, r).transpose(0, 1)
    eta = eta if offset is None else eta + offset
    if r == 1:
        return F.logsigmoid(torch.cat((-eta, eta), dim=-1))
    return F.log_softmax(eta, dim=-1)


def known_score(name: Any, logs: Tensor, codes: Tensor, weight: Tensor) -> np.ndarray | None:
    """Scores (A,) that need no scorer: "neg_log_loss" and "accuracy"; None for others.

    Parameters
    ----------
    name : str or callable
    logs : Tensor, shape (A, n, K)
    codes : Tensor, shape (n,)
    weight : Tensor, shape (n,)
    """
    weight = (weight / weight.sum()).to(logs)
    if name == "neg_log_loss":
        index = codes.expand(len(logs), -1).unsqueeze(-1)
        found = logs.gather(-1, index).squeeze(-1) @ weight
    elif name == "accuracy":
        found = (logs.argmax(-1) == codes).to(weight) @ weight
    else:
        return None
    scores: np.ndarray = found.cpu().numpy()
    return scores
