"""How a fold's models are scored in scikit-learn's way."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from sklearn.metrics import get_scorer, make_scorer
from sklearn.utils import _safe_indexing
from sklearn.utils.validation import _check_method_params
from torch import Tensor

from torchlogreg.compat.logistic import LogisticRegression
from torchlogreg.estimators.cross_validation_paths import known_score, log_probabilities

Array = np.ndarray[Any, Any]

EPS = float(np.finfo(np.float64).eps)
"""scikit-learn's logarithmic loss takes probabilities nearer to 0 or 1 for this far from them."""


def scorer_of(scoring: Any, classes: Array) -> Callable[..., float]:
    """The scorer for rows held out, which may lack some of the classes.

    Parameters
    ----------
    scoring : str or callable
    classes : ndarray, shape (K,)
    """
    scorer: Any = get_scorer(scoring)
    function = getattr(scorer, "_score_func", None)
    known = {} if function is None else inspect.signature(function).parameters
    if "labels" not in known:
        found: Callable[..., float] = scorer
        return found
    settings = {"labels": classes}
    if len(classes) == 2 and "pos_label" in known:
        settings["pos_label"] = classes[-1]
    named: Callable[..., float] = make_scorer(
        function,
        greater_is_better=scorer._sign == 1,
        response_method=scorer._response_method,
        **(settings | scorer._kwargs),
    )
    return named


@dataclass(frozen=True)
class HeldOut:
    """Scores models on rows that a fold holds out.

    Attributes
    ----------
    X : array or CSR matrix, shape (n, p)
        All rows.
    y : ndarray, shape (n,)
    codes : Tensor, shape (n,)
    classes : ndarray, shape (K,)
    scoring : str, callable or None
        None is the accuracy.
    params : dict
        Arrays of length n, and others, for the scorer.
    """

    X: Any
    y: Any
    codes: Tensor
    classes: Array
    scoring: Any
    params: dict[str, Any]

    def __call__(self, rows: Tensor, raw: Tensor, published: Array, test: Any) -> Array:
        """Scores (A,), all at once where they are known, else one by one.

        Parameters
        ----------
        rows : Tensor, shape (n, q)
            What the models in ``raw`` (A, r, q + 1) take.
        raw : Tensor
        published : ndarray, shape (A, r, p + 1)
            The same of ``X``.
        test : index array
        """
        name = "accuracy" if self.scoring is None else self.scoring
        known = isinstance(name, str) and name in ("accuracy", "neg_log_loss")
        if known and not self.params.keys() - {"sample_weight"}:
            return self._quick(name, rows, raw, np.arange(len(self.y))[test])
        scorer, model = scorer_of(name, self.classes), LogisticRegression()
        params = _check_method_params(X=self.X, params=self.params, indices=test)
        X, y = _safe_indexing(self.X, test), self.y[test]
        model.classes_, found = self.classes, []
        for c in published:
            model.coef_, model.intercept_ = c[:, :-1], c[:, -1]
            found.append(scorer(model, X, y, **params))
        return np.array(found)

    def _quick(self, name: str, rows: Tensor, raw: Tensor, test: Array) -> Array:
        index = torch.from_numpy(test)
        logs = log_probabilities(rows[index], raw, None)
        if name == "neg_log_loss":
            logs = logs.clamp(np.log(EPS), np.log1p(-EPS))
        counts = self.params.get("sample_weight")
        weight = (
            torch.ones(len(index)) if counts is None else torch.tensor(np.asarray(counts)[test])
        )
        scores = known_score(name, logs, self.codes[index], weight.double())
        return np.asarray(scores)
