"""Random problems and their optima, found in numpy and scipy by other means than the package's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from scipy.optimize import minimize
from scipy.special import expit, log_expit, log_softmax, softmax

from torchlogreg import (
    L1,
    L2,
    ElasticNet,
    LinearRegression,
    LogisticRegression,
    Model,
    OrdinalRegression,
    Penalty,
    SoftmaxRegression,
)

Floats = np.ndarray
F64 = torch.float64
KINDS = ("linear", "binary", "softmax", "ordinal")
PENALTIES = ("none", "l2", "l1", "elastic_net")


@dataclass(frozen=True)
class Fresh:
    """Minimise ``sum s_i loss_i / sum s_i + l2/2 |w|^2 + l1 |w|_1``.

    Attributes
    ----------
    kind : str
        Of ``KINDS``: three classes for "softmax", four for "ordinal".
    X, y, sample_weight : arrays, shapes (n, p), (n,), (n,)
    l2, l1 : float
    """

    kind: str
    X: Floats
    y: Floats
    sample_weight: Floats
    l2: float
    l1: float

    @property
    def rows(self) -> int:
        """Of the weight (r, p)."""
        return 3 if self.kind == "softmax" else 1

    def model(self) -> Model:
        """An untrained one."""
        p = self.X.shape[1]
        if self.kind == "softmax":
            return SoftmaxRegression(p, 3, dtype=F64)
        if self.kind == "ordinal":
            return OrdinalRegression(p, 4, dtype=F64)
        return (LinearRegression if self.kind == "linear" else LogisticRegression)(p, dtype=F64)

    def penalty(self) -> Penalty | None:
        """The package's."""
        if self.l1 and self.l2:
            return ElasticNet(self.l1 + self.l2, self.l1 / (self.l1 + self.l2))
        return L1(self.l1) if self.l1 else L2(self.l2) if self.l2 else None

    def theta(self, model: Model) -> Floats:
        """Weight and intercepts of a trained model, flat."""
        parts = (model.weight.detach().flatten(), model.intercepts().detach().flatten())
        return torch.cat(parts).numpy()

    def l1_of(self) -> Floats:
        """``l1`` for weights, 0 for intercepts, (P,)."""
        n_weights = self.rows * self.X.shape[1]
        return np.repeat(
            [self.l1, 0.0], [n_weights, {"softmax": 3, "ordinal": 3}.get(self.kind, 1)]
        )

    def smooth(self, theta: Floats) -> tuple[float, Floats]:
        """Value without L1, and its gradient (P,); infinite where cutpoints cross."""
        X, r = self.X, self.rows
        W, b = theta[: r * X.shape[1]].reshape(r, -1), theta[r * X.shape[1] :]
        s = self.sample_weight / self.sample_weight.sum()
        scores = X @ W.T
        if self.kind == "ordinal":
            if not (np.diff(b) > 0).all():
                return np.inf, np.zeros_like(theta)
            losses, by_score, by_b = _ordinal(scores[:, 0], b, self.y, s)
        else:
            losses, by_score = _LOSSES[self.kind](scores + b, self.y)
            by_score = by_score * s[:, None]
            by_b = by_score.sum(0)
        gradient = np.concatenate(((by_score.T @ X + self.l2 * W).ravel(), by_b))
        return float(s @ losses + 0.5 * self.l2 * np.square(W).sum()), gradient

    def value(self, theta: Floats) -> float:
        """All of it."""
        return self.smooth(theta)[0] + float(self.l1_of() @ np.abs(theta))


def draw(rng: np.random.Generator, kind: str, penalty: str, most_rows: int = 3000) -> Fresh:
    """30 rows and more, of correlated columns in different units, weighted or not."""
    fewest = 200 if penalty == "none" and kind != "linear" else 30  # never separated
    n = int(np.exp(rng.uniform(np.log(fewest), np.log(most_rows))))
    p = int(rng.integers(2, max(3, min(9, n // 15))))
    X = rng.normal(size=(n, p)) @ (np.eye(p) + 0.4 * rng.normal(size=(p, p)) / p**0.5)
    X = X * rng.uniform(0.5, 2.0, p) + rng.normal(size=p)
    score = (X - X.mean(0)) @ rng.normal(size=(p, 3)) / p**0.5
    if kind == "linear":
        y = score[:, 0] + rng.normal() + rng.uniform(0.2, 2.0) * rng.normal(size=n)
    elif kind == "binary":
        y = (0.5 * score[:, 0] + rng.normal(scale=0.3) + rng.logistic(size=n) > 0).astype(float)
    elif kind == "softmax":
        y = (0.5 * score + rng.gumbel(size=(n, 3))).argmax(1)
    else:
        y = np.searchsorted([-1.2, 0.0, 1.2], 0.5 * score[:, 0] + rng.logistic(size=n))
    classes = {"binary": 2, "softmax": 3, "ordinal": 4}.get(kind, 0)
    y[: 2 * classes] = np.repeat(np.arange(classes), 2)
    weight = rng.uniform(0.2, 2.0, n) if rng.random() < 0.5 else np.ones(n)
    l2 = 10 ** rng.uniform(-3, 0) if penalty in ("l2", "elastic_net") else 0.0
    found = Fresh(kind, X, y, weight, l2, 0.0)
    if penalty in ("l1", "elastic_net"):
        empty = np.zeros_like(found.l1_of())
        if kind == "ordinal":
            empty[p:] = [-1.0, 0.0, 1.0]
        largest = np.abs(found.smooth(empty)[1][: found.rows * p]).max()
        return Fresh(kind, X, y, weight, l2, largest * 10 ** rng.uniform(-2, -0.3))
    return found


def optimum(problem: Fresh) -> Floats:
    """Parameters (P,) at which the conditions of optimality hold to rounding, or an error.

    1. L-BFGS-B of scipy on positive and negative parts: which weights are zero.
    2. Newton on the others, with differences of the gradient for a Hessian.
    3. Weights that change their sign become zero; zeros whose gradient exceeds ``l1`` do not stay.
    """
    l1 = problem.l1_of()
    start = np.zeros_like(l1)
    if problem.kind == "ordinal":
        start[-3:] = [-1.0, 0.0, 1.0]
    theta = _by_scipy(problem, start, l1)  # 1
    sign = np.where(np.abs(theta) > 1e-6, np.sign(theta), 0.0)
    theta = np.where((l1 > 0) & (sign == 0), 0.0, theta)
    for _ in range(20):
        free = (l1 == 0) | (sign != 0)
        theta = _newton(problem, theta, free, l1 * sign)  # 2
        crossed = (l1 > 0) & (theta * sign < 0)
        gradient = problem.smooth(theta)[1]
        pulled = ~free & (np.abs(gradient) > l1 * (1 + 1e-9))
        if not (crossed.any() or pulled.any()):
            left = np.abs(gradient + l1 * sign)[free].max()
            assert left <= 1e-10, f"the reference itself is {left:.1e} from its optimum"
            return theta
        theta = np.where(crossed, 0.0, theta)  # 3
        sign = np.where(crossed, 0.0, np.where(pulled, -np.sign(gradient), sign))
    raise AssertionError("the reference found no set of zeros")


def _by_scipy(problem: Fresh, start: Floats, l1: Floats) -> Floats:
    P = len(l1)

    def split(both: Floats) -> tuple[float, Floats]:
        value, gradient = problem.smooth(both[:P] - both[P:])
        value = min(value, 1e10)  # no infinities for scipy's line search
        return value + l1 @ (both[:P] + both[P:]), np.concatenate((gradient + l1, l1 - gradient))

    both = np.concatenate((np.maximum(start, 0), np.maximum(-start, 0)))
    options = {"maxiter": 20_000, "maxfun": 40_000, "ftol": 1e-15, "gtol": 1e-10}
    found = minimize(
        split, both, jac=True, method="L-BFGS-B", bounds=[(0, None)] * (2 * P), options=options
    )
    return np.asarray(found.x[:P] - found.x[P:])


def _newton(problem: Fresh, theta: Floats, free: Floats, slope: Floats) -> Floats:
    """Minimise ``smooth + slope . theta`` over the free parameters."""

    def value(at: Floats) -> float:
        return problem.smooth(at)[0] + float(slope @ at)

    where = np.flatnonzero(free)
    for _ in range(40):
        gradient = (problem.smooth(theta)[1] + slope)[free]
        if np.abs(gradient).max() < 1e-14:
            break
        H = np.empty((len(where), len(where)))
        for row, j in enumerate(where):
            step = np.zeros_like(theta)
            step[j] = 1e-5
            H[row] = (problem.smooth(theta + step)[1] - problem.smooth(theta - step)[1])[
                free
            ] / 2e-5
        move = np.zeros_like(theta)
        move[free] = -np.linalg.lstsq(0.5 * (H + H.T), gradient, rcond=1e-9)[0]
        share, before = 1.0, value(theta)
        while value(theta + share * move) > before + 1e-15 * abs(before) and share > 1e-6:
            share /= 2
        theta = theta + share * move
    return theta


def _squared(eta: Floats, y: Floats) -> tuple[Floats, Floats]:
    return (eta[:, 0] - y) ** 2, 2 * (eta - y[:, None])


def _binary(eta: Floats, y: Floats) -> tuple[Floats, Floats]:
    return -log_expit(np.where(y > 0, eta[:, 0], -eta[:, 0])), expit(eta) - y[:, None]


def _softmax(eta: Floats, y: Floats) -> tuple[Floats, Floats]:
    rows = np.arange(len(y))
    slope = softmax(eta, axis=1)
    slope[rows, y] -= 1
    return -log_softmax(eta, axis=1)[rows, y], slope


_LOSSES: dict[str, Callable[[Floats, Floats], tuple[Floats, Floats]]] = {
    "linear": _squared,
    "binary": _binary,
    "softmax": _softmax,
}


def _ordinal(score: Floats, b: Floats, y: Floats, s: Floats) -> tuple[Floats, Floats, Floats]:
    """Losses, and weighted derivatives by score and cutpoints: P(y <= j) = expit(b_j - score)."""
    ends = np.concatenate(([-np.inf], b, [np.inf]))
    high, low = ends[y + 1] - score, ends[y] - score
    upper, lower = expit(high), expit(low)
    chance = np.where(low > 0, expit(-low) - expit(-high), upper - lower)
    by_high, by_low = s * upper * expit(-high) / chance, s * lower * expit(-low) / chance
    by_b = np.array([by_low[y == j + 1].sum() - by_high[y == j].sum() for j in range(len(b))])
    return -np.log(chance), (by_high - by_low)[:, None], by_b
