"""The attributes of LogisticRegressionCV in scikit-learn's two layouts."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from torchlogreg.compat.grid import Grid

Array = np.ndarray[Any, Any]


class Searched(NamedTuple):
    """What a search has found.

    Attributes
    ----------
    coefficients : ndarray, shape (F, L, A, r, D)
        Of every fold; with an intercept ``D`` is ``p + 1`` and it is last.
    scores, n_iter : ndarray, shape (F, L, A)
    """

    coefficients: Array
    scores: Array
    n_iter: Array


class Choice(NamedTuple):
    """Places in the grid: of the share of L1, and of C; one for all folds, or one for each."""

    ratio: Array
    C: Array


def choice_of(searched: Searched, *, refit: bool) -> Choice:
    """The best mean score, of equals the first C, or with ``refit`` False the best of each fold."""
    scores = searched.scores.swapaxes(1, 2)  # as scikit-learn breaks ties
    scores = scores.sum(axis=0, keepdims=True) if refit else scores
    best = scores.reshape(len(scores), -1).argmax(axis=1)
    C, ratio = np.unravel_index(best, scores.shape[1:])
    return Choice(ratio, C)


def chosen(grid: Grid, choice: Choice, *, refit: bool) -> tuple[float, Any]:
    """``C_`` and ``l1_ratio_``, averaged over folds without ``refit``."""
    C = float(grid.Cs[choice.C].mean())
    if refit:
        return C, None if grid.named is None else np.asarray(grid.named)[choice.ratio[0]]
    return C, float(grid.l1_ratios[choice.ratio].mean()) if grid.kind == "elasticnet" else 0.0


def new_layout(
    grid: Grid, searched: Searched, C: float, l1_ratio: Any, classes: Array
) -> dict[str, Any]:
    """Plain numbers and arrays."""
    share = (1.0 if grid.kind == "l1" else 0.0) if grid.named is None else float(l1_ratio)
    return {
        "C_": C,
        "l1_ratio_": share,
        "coefs_paths_": searched.coefficients,
        "scores_": searched.scores,
        "n_iter_": searched.n_iter,
    }


def old_layout(
    grid: Grid, searched: Searched, C: float, l1_ratio: Any, classes: Array
) -> dict[str, Any]:
    """Dictionaries by class, values repeated for each; shares of L1 last, if they were named."""
    labels = classes[1:] if len(classes) == 2 else classes
    paths = searched.coefficients.transpose(3, 0, 2, 1, 4)  # (r, F, A, L, D)
    scores, n_iter = searched.scores.swapaxes(1, 2), searched.n_iter.swapaxes(1, 2)[None]
    if grid.named is None:
        paths, scores, n_iter = paths[:, :, :, 0], scores[:, :, 0], n_iter[..., 0]
    return {
        "C_": np.full(len(labels), C),
        "l1_ratio_": np.array([l1_ratio] * len(labels)),
        "coefs_paths_": dict(zip(labels, paths, strict=True)),
        "scores_": {label: scores.copy() for label in labels},
        "n_iter_": n_iter,
    }
