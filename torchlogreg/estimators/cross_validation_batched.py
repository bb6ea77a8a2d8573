"""Ridge paths of several folds at once: quasi-Newton steps as one tensor program.

The folds share their rows and differ in their weights, which are zero where a row is held out. One
product ``X theta'`` serves all of them, one more gives all gradients. Of many rows the Hessian is
nearly that of every fold: the factor of the mean serves them all, and L-BFGS learns the difference.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from torchlogreg.estimators.rescaled import columns_of
from torchlogreg.sparse import is_sparse

LARGEST = 2**22
"""Scores, rows times folds times ``r``, up to which all folds go together; beyond, a fit of each
that begins with a sample of its rows is the quicker way."""

CACHED = 2**16
"""Entries of scores, or of weighted rows, made at once: half a megabyte stays at hand."""

MOST = 1000
"""Parameters up to which a factor for every point of the path is no matter."""

STEPS, HALVINGS, PAIRS = 100, 30, 10
"""Steps, halvings of one, and earlier steps remembered."""

ALIKE = 8
"""Rows a parameter from which on the Hessian of all rows is nearly that of every fold."""

FAR, DONE = 1e-3, 1e-19
"""Twice the distance to the lowest objective, as the gradient promises it, from above which a new
Hessian pays, and below which one step more is the last."""


class Rows(NamedTuple):
    """What all folds share.

    Attributes
    ----------
    X : Tensor, shape (n, p)
        Raw columns.
    codes : Tensor, shape (n,)
        Class indices.
    n_classes : int
    shares : Tensor, shape (F, n)
        Row weights of every fold; each sums to one.
    offset : Tensor, shape (n, r) or (n, 1), or None
    intercept : bool
    """

    X: Tensor
    codes: Tensor
    n_classes: int
    shares: Tensor
    offset: Tensor | None
    intercept: bool

    @property
    def n_scores(self) -> int:
        """``r``: one for two classes, else one a class."""
        return 1 if self.n_classes == 2 else self.n_classes


def suits(rows: Rows) -> bool:
    """Whether one program is the quicker way."""
    r, (n, p) = rows.n_scores, rows.X.shape
    small = len(rows.shares) * n * r <= LARGEST and r * (p + 1) <= MOST
    return small and not is_sparse(rows.X)


class Paths(NamedTuple):
    """What a model of every fold has learnt at every alpha.

    Attributes
    ----------
    coefficients : Tensor, shape (F, A, r, p + 1)
        Of raw columns, the intercept last.
    n_steps : Tensor, shape (F, A), int64
        Epochs, or steps of the common program.
    """

    coefficients: Tensor
    n_steps: Tensor


@torch.no_grad()
def ridge_paths(rows: Rows, alphas: Tensor, dtype: torch.dtype, tol: float) -> Paths | None:
    """Coefficients and intercepts under ``L2(alpha)``, or None where the steps did not end.

    1. Standardise by all rows; the penalty keeps its meaning on raw columns.
    2. From the largest alpha on, each from where the one before ended.
    3. Fold back.

    Parameters
    ----------
    rows : Rows
    alphas : Tensor, shape (F, A)
        Positive, decreasing.
    dtype : torch.dtype
        Of the work.
    tol : float
        Up to 1e-6 all digits are worked out, since the last ones are cheap; beyond, the distance to
        the lowest objective is a hundredth of its square.
    """
    columns = columns_of(  # 1
        rows.X, rows.shares.mean(0), dtype, centre=rows.intercept, penalised=True
    )
    X = columns.transform(rows.X.to(dtype))
    scale, mean = columns.scale.to(dtype), columns.mean.to(dtype)
    last = torch.full((len(X), 1), float(rows.intercept), dtype=dtype, device=X.device)
    problem = _Problem(rows, torch.cat((X, last), dim=1), rows.shares.to(dtype))
    theta = X.new_zeros(len(rows.shares), rows.n_scores, X.shape[1] + 1)
    path, n_steps = [], []
    done = DONE if tol <= 1e-6 else 1e-2 * tol**2
    for alpha in alphas.to(X).unbind(dim=1):  # 2
        ridge = F.pad(alpha.view(-1, 1, 1) / scale.square(), (0, 1))
        found = _minimise(problem, theta, ridge, done)
        if found is None:
            return None
        theta, steps = found
        n_steps.append(steps)
        weight = theta[..., :-1] / scale  # 3
        bias = theta[..., -1:] - (weight @ mean).unsqueeze(-1)
        path.append(torch.cat((weight, bias if rows.intercept else torch.zeros_like(bias)), -1))
    counts = torch.tensor(n_steps, device=X.device).expand(len(alphas), -1)
    return Paths(torch.stack(path, dim=1), counts)


class _At(NamedTuple):
    """Parameters (F, r, P), objectives (F,) and gradients (F, r P) of all folds."""

    theta: Tensor
    value: Tensor
    gradient: Tensor


class _Part(NamedTuple):
    """Some of the rows: columns (m, P), fold weights (F, m), targets (r, 1, m), known scores."""

    D: Tensor
    shares: Tensor
    target: Tensor
    offset: Tensor | None

    def scores(self, theta: Tensor) -> Tensor:
        """``eta`` (r, F, m)."""
        eta = (theta.transpose(0, 1).flatten(0, 1) @ self.D.T).view(-1, len(theta), len(self.D))
        return eta if self.offset is None else eta + self.offset


class _Problem:
    """Values, gradients and Hessians of all folds, some rows at a time."""

    def __init__(self, rows: Rows, D: Tensor, shares: Tensor) -> None:
        self.n, self.P = D.shape
        self.r, self.intercept = rows.n_scores, rows.intercept
        self.together = self.n >= ALIKE * self.r * self.P
        target = F.one_hot(rows.codes, rows.n_classes)[:, -self.r :].T.unsqueeze(1).to(D)
        offset = None if rows.offset is None else rows.offset.T.unsqueeze(1).to(D)
        size = max(256, CACHED // (self.r * len(shares)))
        self.parts = []
        for start in range(0, self.n, size):
            end = start + size
            known = None if offset is None else offset[..., start:end]
            part = _Part(D[start:end], shares[:, start:end], target[..., start:end], known)
            self.parts.append(part)

    def at(self, theta: Tensor, ridge: Tensor) -> _At:
        """One pass over the rows; ``ridge`` is (F, 1, P)."""
        pull = ridge * theta
        value, slopes = 0.5 * (pull * theta).sum((1, 2)), pull.transpose(0, 1)
        for part in self.parts:
            eta = part.scores(theta)
            loss = -(eta * part.target).sum(0)
            if self.r == 1:
                loss, mu = loss + F.softplus(eta[0]), torch.sigmoid(eta)
            else:
                highest = eta.amax(0)
                mu = eta.sub_(highest).exp_()
                sums = mu.sum(0)
                loss += sums.log().add_(highest)
                mu /= sums
            value = value + torch.linalg.vecdot(loss, part.shares)
            residual = mu.sub_(part.target).mul_(part.shares)
            slopes = slopes + (residual.flatten(0, 1) @ part.D).view_as(slopes)
        return _At(theta, value, slopes.transpose(0, 1).flatten(1))

    def factors(self, theta: Tensor, ridge: Tensor) -> Tensor | None:
        """Cholesky factors of the Hessians, (F, r P, r P), or of their mean (1, r P, r P)."""
        r, P = self.r, self.P
        if self.together:
            theta, ridge = theta.mean(0, keepdim=True), ridge.mean(0, keepdim=True)
        a, b = torch.triu_indices(r, r, device=theta.device).unbind()
        same = (a == b).to(theta).view(-1, 1, 1)
        blocks = theta.new_zeros(len(a) * len(theta), P, P)
        for part in self.parts:
            eta = part.scores(theta)
            mu = torch.sigmoid(eta) if r == 1 else eta.softmax(0)
            shares = part.shares.mean(0, keepdim=True) if self.together else part.shares
            bend = (mu[a] * (same - mu[b]) * shares).flatten(0, 1)
            size = max(64, CACHED // (len(bend) * P))
            for bends, D in zip(torch.split(bend, size, 1), torch.split(part.D, size), strict=True):
                blocks += torch.matmul((bends.unsqueeze(-1) * D).transpose(1, 2), D)
        blocks = blocks.view(len(a), -1, P, P)
        hessian = theta.new_empty(blocks.shape[1], r, P, r, P)
        hessian[:, a, :, b, :] = blocks
        hessian[:, b, :, a, :] = blocks
        if r > 1 and self.intercept:  # the same number added to all intercepts changes nothing
            hessian[:, :, -1, :, -1] += 1 / r
        diagonal = ridge[:, 0].repeat(1, r)
        if not self.intercept:
            diagonal = diagonal + (diagonal == 0).to(diagonal)
        matrix = hessian.view(-1, r * P, r * P) + torch.diag_embed(diagonal)
        factors, failed = torch.linalg.cholesky_ex(matrix)
        return None if bool(failed.any()) else factors


def _minimise(
    problem: _Problem, theta: Tensor, ridge: Tensor, done: float
) -> tuple[Tensor, int] | None:
    """Where L-BFGS about a Hessian that folds may share ends, and after how many steps.

    1. Direction of every fold; while the objective has far to fall, from a new Hessian.
    2. Halve the steps of folds whose objective would not fall.
    3. Remember step and change of the gradient; end where all folds were within ``done``.
    """
    at, far = problem.at(theta, ridge), True
    factors, pairs = None, list[_Pair]()
    for n_steps in range(1, STEPS + 1):
        if far:  # 1
            factors, pairs = problem.factors(at.theta, ridge), []
        if factors is None:
            return None
        step = _direction(at.gradient, pairs, factors)
        gain = (at.gradient * step).sum(-1)
        ahead = _shortened(problem, at, ridge, step, gain)  # 2
        if ahead is None:
            return None
        pair = _Pair.of((ahead.theta - at.theta).flatten(1), ahead.gradient - at.gradient)  # 3
        at, pairs = ahead, [*pairs[-PAIRS + 1 :], pair]
        largest = float(gain.max())
        if not largest > done:
            return (at.theta, n_steps) if largest == largest else None
        far = largest > FAR
    return None


class _Pair(NamedTuple):
    """A step of every fold, what it changed in the gradient (F, r P), and one over their product.

    Zero where rounding has left no product.
    """

    step: Tensor
    change: Tensor
    inverse: Tensor

    @classmethod
    def of(cls, step: Tensor, change: Tensor) -> _Pair:
        """A step (F, r P) and the gradient's change along it; of no use to a fold where it fell."""
        product = (step * change).sum(-1, keepdim=True)
        return cls(step, change, torch.where(product > 0, 1 / product, 0.0))


def _direction(gradient: Tensor, pairs: list[_Pair], factors: Tensor) -> Tensor:
    """``H^-1 gradient`` of every fold (F, r P), by the two loops of L-BFGS (Nocedal, 1980)."""
    left, shares = gradient, []
    for pair in reversed(pairs):
        shares.append(pair.inverse * (pair.step * left).sum(-1, keepdim=True))
        left = left - shares[-1] * pair.change
    if len(factors) == 1:
        step = torch.cholesky_solve(left.T, factors[0]).T
    else:
        step = torch.cholesky_solve(left.unsqueeze(-1), factors).squeeze(-1)
    for pair, share in zip(pairs, reversed(shares), strict=True):
        back = pair.inverse * (pair.change * step).sum(-1, keepdim=True)
        step = step + (share - back) * pair.step
    return step


def _shortened(problem: _Problem, at: _At, ridge: Tensor, step: Tensor, gain: Tensor) -> _At | None:
    """Where steps that are short enough end; None where none is."""
    length, moved = torch.ones_like(gain), step.view_as(at.theta)
    slack = 16 * torch.finfo(gain.dtype).eps * at.value.abs()
    for _ in range(HALVINGS):
        ahead = problem.at(at.theta - length.view(-1, 1, 1) * moved, ridge)
        bad = ~(ahead.value <= at.value - 1e-4 * length * gain + slack)
        if not bool(bad.any()):
            return ahead
        length = torch.where(bad, 0.5 * length, length)
    return None
