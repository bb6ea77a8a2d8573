"""What a model and its classes ask of a direction: the cone of those that lower no likelihood."""

from __future__ import annotations

import numpy as np
import torch

from torchlogreg.base import Model
from torchlogreg.curvature import mix_matrix
from torchlogreg.diagnostics.cone import Cone, Floats, Mask
from torchlogreg.models import OrdinalRegression, SoftmaxRegression
from torchlogreg.weighting import class_shares


def cone_of(model: Model, X: Floats, y: torch.Tensor) -> Cone:
    """The directions along which no row's likelihood falls."""
    n_classes = model.n_classes or 0
    possible = possible_classes(y, n_classes)  # (n, K)
    R = mix_matrix(model).double().cpu().numpy()
    J = _natural_jacobian(model, R)
    contrasts: list[Floats] = []
    row, code = [], []
    for c in range(n_classes):
        members = np.flatnonzero(possible[:, c])
        for contrast in _contrasts(model, c, len(R)):
            row.append(members)
            code.append(np.full(len(members), len(contrasts)))
            contrasts.append(contrast)
    C = np.array(contrasts)
    by_weight, by_intercept = C @ R, C @ J
    always = np.zeros((0, by_weight.shape[1] * X.shape[1] + J.shape[1]))
    if isinstance(model, OrdinalRegression):
        steps = np.diff(J, axis=0)
        always = np.hstack((np.zeros((len(steps), X.shape[1])), steps))
    return Cone(X, by_weight, by_intercept, np.concatenate(row), np.concatenate(code), always)


def _contrasts(model: Model, c: int, k: int) -> list[Floats]:
    """What of eta (k,) a row of class ``c`` wants not to fall."""
    unit = np.eye(k)
    if isinstance(model, SoftmaxRegression):
        return [unit[c] - unit[j] for j in range(k) if j != c]
    if isinstance(model, OrdinalRegression):
        return ([unit[c]] if c < k else []) + ([-unit[c - 1]] if c > 0 else [])
    return [unit[0] if c == 1 else -unit[0]]


def possible_classes(y: torch.Tensor, n_classes: int) -> Mask:
    """Classes (n, K) to which the target gives a part of a row."""
    shares = class_shares(y, torch.float64).cpu().numpy()
    possible: Mask = np.zeros((len(shares), n_classes), dtype=bool)
    possible[:, : shares.shape[1]] = shares > 0
    return possible


def _natural_jacobian(model: Model, R: Floats) -> Floats:
    """Intercepts of eta by free intercepts or cutpoints, (k, q)."""
    if isinstance(model, OrdinalRegression):
        return np.eye(len(R))[:, int(model.first is None) :]
    return R if model.bias is not None else R[:, :0]
