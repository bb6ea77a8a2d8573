"""Ridge paths of several folds at once: Newton's method as one tensor program.

The folds share their rows and differ in their weights, which are zero where a row is held out. One
product ``X theta'`` serves all of them, one batched product makes their Hessians, one batched
factorisation their steps. A fit of few rows is mostly calls, and these are made once for all folds.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from torchlogreg.scaling import Standardizer
from torchlogreg.sparse import is_sparse

LARGEST = 2**23
"""Entries of the weighted rows of all folds and pairs of classes, up to which they are one tensor:
64 MB, and from there on the products take longer than the calls that are saved."""

CACHED = 2**17
"""Entries of weighted rows made at once: a megabyte, multiplied while it is at hand."""

MOST = 400
"""Parameters up to which so many Cholesky factors are no matter."""

STEPS, HALVINGS = 50, 30
DONE = 1e-16
"""Newton decrement, squared, from which one more step is the last: it ends at its square."""


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
    pairs = r * (r + 1) // 2
    small = len(rows.shares) * pairs * n * (p + 1) <= LARGEST and r * (p + 1) <= MOST
    return small and not is_sparse(rows.X)


@torch.no_grad()
def ridge_paths(rows: Rows, alphas: list[float], dtype: torch.dtype) -> Tensor | None:
    """Coefficients and intercepts under ``L2(alpha)``, or None where Newton's method did not end.

    1. Standardise by all rows; the penalty keeps its meaning on raw columns.
    2. From the largest alpha on, each from where the one before ended.
    3. Fold back.

    Parameters
    ----------
    rows : Rows
    alphas : list of float, length A
        Positive, decreasing.
    dtype : torch.dtype
        Of the work.

    Returns
    -------
    Tensor, shape (F, A, r, p + 1)
        Of raw columns, the intercept last.
    """
    columns = Standardizer.of(rows.X, rows.shares.mean(0), centre=rows.intercept)  # 1
    X = columns.transform(rows.X.to(dtype))
    scale, mean = columns.scale.to(dtype), columns.mean.to(dtype)
    last = torch.full((len(X), 1), float(rows.intercept), dtype=dtype, device=X.device)
    problem = _Problem(rows, torch.cat((X, last), dim=1), rows.shares.to(dtype))
    theta = X.new_zeros(len(rows.shares), rows.n_scores, X.shape[1] + 1)
    path = []
    for alpha in alphas:  # 2
        ridge = torch.cat((alpha / scale.square(), X.new_zeros(1)))
        found = _newton(problem, theta, ridge)
        if found is None:
            return None
        theta = found
        weight = theta[..., :-1] / scale  # 3
        bias = theta[..., -1:] - (weight @ mean).unsqueeze(-1)
        path.append(torch.cat((weight, bias if rows.intercept else torch.zeros_like(bias)), -1))
    return torch.stack(path, dim=1)


class _Problem:
    """Values, gradients and Hessians of all folds."""

    def __init__(self, rows: Rows, D: Tensor, shares: Tensor) -> None:
        self.D, self.shares, self.r = D, shares, rows.n_scores
        self.offset, self.intercept = rows.offset, rows.intercept
        self.codes = rows.codes
        self.target = F.one_hot(rows.codes, rows.n_classes).to(D)[:, -self.r :]

    def eta(self, theta: Tensor) -> Tensor:
        """(F, n, r)."""
        scores = torch.matmul(self.D, theta.transpose(1, 2))
        return scores if self.offset is None else scores + self.offset

    def value(self, theta: Tensor, eta: Tensor, ridge: Tensor) -> Tensor:
        """Penalised objective of every fold (F,)."""
        picked = (eta * self.target).sum(-1)
        total = F.softplus(eta[..., 0]) if self.r == 1 else eta.logsumexp(-1)
        loss = ((total - picked) * self.shares).sum(-1)
        return loss + 0.5 * (ridge * theta.square()).sum((1, 2))

    def slopes(self, theta: Tensor, eta: Tensor, ridge: Tensor) -> tuple[Tensor, Tensor]:
        """Gradient (F, r P) and Hessian (F, r P, r P)."""
        mu = torch.sigmoid(eta) if self.r == 1 else eta.softmax(-1)
        residual = (mu - self.target) * self.shares.unsqueeze(-1)
        gradient = torch.matmul(residual.transpose(1, 2), self.D) + ridge * theta
        a, b = torch.triu_indices(self.r, self.r, device=mu.device).unbind()
        bend = mu[..., a] * ((a == b).to(mu) - mu[..., b]) * self.shares.unsqueeze(-1)
        P, r = self.D.shape[1], self.r
        blocks = torch.zeros((), dtype=mu.dtype, device=mu.device)
        size = max(64, CACHED // (bend.shape[0] * bend.shape[2] * P))
        for part, D in zip(torch.split(bend, size, 1), torch.split(self.D, size), strict=True):
            weighted = part.transpose(1, 2).unsqueeze(-1) * D  # (F, pairs, rows, P)
            blocks = blocks + torch.matmul(weighted.transpose(2, 3), D)
        hessian = mu.new_empty(len(mu), r, P, r, P)
        hessian[:, a, :, b, :] = blocks.transpose(0, 1)
        hessian[:, b, :, a, :] = blocks.transpose(0, 1)
        if r > 1 and self.intercept:  # the same number added to all intercepts changes nothing
            hessian[:, :, -1, :, -1] += 1 / r
        hessian = hessian.reshape(len(mu), r * P, r * P)
        diagonal = ridge.repeat(r)
        if not self.intercept:
            diagonal = diagonal + (diagonal == 0).to(diagonal)
        return gradient.flatten(1), hessian + torch.diag(diagonal)


def _newton(problem: _Problem, theta: Tensor, ridge: Tensor) -> Tensor | None:
    """Newton's method with step halving, every fold by itself.

    1. Value, gradient, Hessian; the step of every fold.
    2. Halve the steps of folds whose objective would not fall.
    3. End after a step from where the next would change no digit.
    """
    eta = problem.eta(theta)
    value = problem.value(theta, eta, ridge)
    for _ in range(STEPS):
        gradient, hessian = problem.slopes(theta, eta, ridge)  # 1
        factor, failed = torch.linalg.cholesky_ex(hessian)
        if bool(failed.any()):
            return None
        step = torch.cholesky_solve(gradient.unsqueeze(-1), factor).squeeze(-1)
        gain = (gradient * step).sum(-1)
        length, moved = torch.ones_like(value), step.view_as(theta)
        slack = 16 * torch.finfo(value.dtype).eps * value.abs()
        for _ in range(HALVINGS):  # 2
            tried = theta - length.view(-1, 1, 1) * moved
            eta = problem.eta(tried)
            new = problem.value(tried, eta, ridge)
            bad = ~(new <= value - 1e-4 * length * gain + slack)
            if not bool(bad.any()):
                break
            length = torch.where(bad, 0.5 * length, length)
        else:
            return None
        theta, value = tried, new
        if bool((gain <= DONE).all()):  # 3
            return theta
    return None
