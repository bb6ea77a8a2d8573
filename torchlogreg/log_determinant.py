"""``log det I(theta)``: its value, gradient and Hessian, a block of rows at a time.

The Fisher information ``I`` is that of a logistic model with class 0 as reference (a binary model
is one of two classes), under weights ``s_i``. Notation beyond :mod:`torchlogreg.objective`:

r = K - 1, q          classes but the first; columns of the design, the intercept's ones included
z_i (q,)              row of the design, ``(x_i, 1)``
p_i (r,), C_i (r, r)  probabilities; ``diag(p_i) - p_i p_i'``, the curvature of the row's loss

    I = sum_i s_i C_i kron z_i z_i'               (P, P), P = r q, by class, then column
    M_i[j, k] = z_i' (I^-1)[j, k] z_i             (r, r); in a binary model s M C = h, the hat value
    d log det I / d eta_i = s_i p_i * (u_i - p_i . u_i)      u_i = diag(M_i) - 2 M_i p_i

In a binary model the last is ``h_i (1 - 2 p_i)``.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

BLOCK = 2**20
"""Numbers in a temporary: bounds the memory beside X."""


@dataclass(frozen=True, eq=False)
class Rows:
    """The design and the weights ``s_i``.

    Attributes
    ----------
    X : Tensor, shape (n, p), or (n, 0) where ``weight`` is frozen
    with_ones : bool
        Whether there is an intercept to train.
    sample_weight : Tensor, shape (n,)
    """

    X: Tensor
    with_ones: bool
    sample_weight: Tensor

    def blocks(self, eta: Tensor, squared: bool = False) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Design (b, q), weights (b,) and probabilities of all classes (b, K), a few at a time.

        ``squared``: few enough for ``q^2`` numbers a row.
        """
        q = self.X.shape[1] + int(self.with_ones)
        size = max(1, BLOCK // max(q**2 if squared else q, eta.shape[1] ** 2))
        half = eta.dtype in (torch.float16, torch.bfloat16)  # torch factorises no half precision
        for start in range(0, len(eta), size):
            part = slice(start, start + size)
            X, s, at = self.X[part], self.sample_weight[part], eta[part]
            if half:
                X, s, at = X.float(), s.float(), at.float()
            Z = torch.cat((X, X.new_ones(len(X), 1)), dim=1) if self.with_ones else X
            yield Z, s, torch.softmax(F.pad(at, (1, 0)) if at.shape[1] == 1 else at, dim=1)

    def refuse_dependent_columns(self) -> None:
        """Raise if the design has no full rank; the intercept comes first, so it is never blamed.

        Raises
        ------
        ValueError
            Naming the first column that is a combination of those before it.
        """
        ones = int(self.with_ones)
        X = self.X[self.sample_weight > 0]
        Z = torch.cat((X.new_ones(len(X), ones), X), dim=1)
        Z = Z.to(torch.promote_types(Z.dtype, torch.float32))
        good = _unit_factor(Z.T @ Z)[2]
        if not bool(good.all()):
            column = int((~good).nonzero()[0]) - ones
            raise ValueError(
                f"Jeffreys needs columns of full rank, but column {column} is a combination of "
                f"{'the intercept and ' * ones}the columns before it, at least to rounding; drop "
                "it, or standardise the columns if it is only badly scaled"
            )


class _LogDeterminant(torch.autograd.Function):
    """``log det I`` as a function of ``eta (n, k)``."""

    @staticmethod
    def forward(ctx: Any, eta: Tensor, rows: Rows) -> Tensor:
        factor = cholesky(_information(eta, rows))
        ctx.rows, ctx.singular = rows, factor is None
        if factor is None:
            ctx.save_for_backward(eta)
            return eta.new_tensor(-math.inf)
        ctx.save_for_backward(eta, factor)
        return (2 * factor.diagonal().log().sum()).to(eta.dtype)

    @staticmethod
    def backward(ctx: Any, scale: Tensor) -> tuple[Tensor, None]:
        if torch.is_grad_enabled():  # create_graph=True: a second derivative would be silently 0
            raise RuntimeError(
                "log det I can be differentiated once; its Hessian is in Closure.hessian"
            )
        if ctx.singular:
            return torch.full_like(ctx.saved_tensors[0], math.nan), None
        eta, factor = ctx.saved_tensors
        inverse = torch.cholesky_inverse(factor)
        parts = []
        for Z, s, P in ctx.rows.blocks(eta):
            parts.append(s[:, None] * _slopes(_hats(Z, inverse, P.shape[1] - 1), P[:, 1:]))
        slope = torch.cat(parts).to(eta.dtype)
        if eta.shape[1] > 1:  # a shift of all classes changes nothing: the slopes sum to zero
            slope = torch.cat((-slope.sum(1, keepdim=True), slope), dim=1)
        return scale * slope, None


def log_determinant(eta: Tensor, rows: Rows) -> Tensor:
    """``log det I`` at ``eta`` (n, k), a scalar, once differentiable; -inf where singular.

    ``k`` is 1 for a binary model, else ``K``.
    """
    value: Tensor = _LogDeterminant.apply(eta, rows)  # type: ignore[no-untyped-call]
    return value


def log_determinant_rounding(eta: Tensor, rows: Rows) -> Tensor:
    """Change of ``log det I`` when ``I``, scaled to unit diagonal, changes by rounding, a scalar.

    To first order ``|tr(I^-1 dI)|``, at most ``eps tr(I^-1)``; zero where ``I`` is singular.
    """
    information = _information(eta, rows)
    factor, _, good = _unit_factor(information)
    if not bool(good.all()):  # waits for the device
        return eta.new_zeros(())
    trace = torch.cholesky_inverse(factor).diagonal().sum()
    return (8 * torch.finfo(information.dtype).eps * trace).to(eta.dtype)


def _information(eta: Tensor, rows: Rows) -> Tensor:
    """``I`` (P, P), parameters ordered by class, then column."""
    parts = [_gram(Z, s[:, None, None] * _covariance(P)) for Z, s, P in rows.blocks(eta)]
    return torch.stack(parts).sum(0) if len(parts) > 1 else parts[0]


def log_determinant_hessian(eta: Tensor, rows: Rows) -> Tensor | None:
    """Second derivatives of ``log det I``, (P, P), by class, then column; None if singular.

    1. ``sum_i s_i E_i kron z_i z_i'`` with ``E = d2 <M, C> / d eta2`` at fixed ``M``, which is
       ``diag(g) - g p' - p g' - 2 C M C`` for the slopes ``g``.
    2. Less ``tr(I^-1 dI_a I^-1 dI_b)``, from the derivatives of ``I`` by every parameter.
    """
    factor = cholesky(_information(eta, rows))
    if factor is None:
        return None
    inverse = torch.cholesky_inverse(factor)
    n_params = len(inverse)
    hessian, moved = torch.zeros_like(inverse), inverse.new_zeros(n_params, n_params, n_params)
    for Z, s, P in rows.blocks(eta, squared=True):
        C, p = _covariance(P), P[:, 1:]
        M = _hats(Z, inverse, p.shape[1])
        g = _slopes(M, p)
        gp = g[:, :, None] * p[:, None, :]
        E = torch.diag_embed(g) - gp - gp.mT - 2 * C @ M @ C  # 1
        hessian += _gram(Z, s[:, None, None] * E)
        moved += _moved(Z, s, C, p)  # 2
    white = torch.linalg.solve_triangular(factor, moved, upper=False)
    white = torch.linalg.solve_triangular(factor, white.mT, upper=False).flatten(1)
    hessian -= white @ white.T
    return hessian


def largest_leverage(rows: Rows, inverse: Tensor) -> float:
    """Largest ``tr M_i`` of a row with weight, from ``I^-1`` (P, P) by class, then column."""
    ones, p = int(rows.with_ones), rows.X.shape[1]
    r, q = len(inverse) // (p + ones), p + ones
    own = inverse.view(r, q, r, q).diagonal(dim1=0, dim2=2).sum(2)  # (q, q)
    root = cholesky(own)  # tr M_i = |root' z_i|^2
    if root is None:
        return math.inf
    parts = (torch.split(rows_of, max(1, BLOCK // q)) for rows_of in (rows.X, rows.sample_weight))
    largest = 0.0
    for X, s in zip(*parts, strict=True):
        white = X.to(root.dtype) @ root[:p]
        white = white + root[p] if ones else white
        leverages = torch.linalg.vector_norm(white, dim=1).square()
        largest = max(largest, float(torch.where(s > 0, leverages, 0.0).max()))
    return largest


def _moved(Z: Tensor, s: Tensor, C: Tensor, p: Tensor) -> Tensor:
    """Derivatives of ``I`` by every parameter, (P, P, P): third cumulants times ``z z z``."""
    q, r = Z.shape[1], p.shape[1]
    squares = (Z[:, :, None] * Z[:, None, :]).flatten(1)  # (b, q^2): one product for all columns
    moved = Z.new_empty(r, q, r, q, r, q)
    for j, k, m in itertools.combinations_with_replacement(range(r), 3):
        third = int(k == m) * C[:, j, k] - C[:, j, k] * p[:, m] - C[:, j, m] * p[:, k]
        part = (((s * third)[:, None] * Z).T @ squares).view(q, q, q)
        for a, b, c in set(itertools.permutations((j, k, m))):
            moved[a, :, b, :, c, :] = part
    return moved.view(r * q, r * q, r * q)


def _covariance(P: Tensor) -> Tensor:
    """``C`` (b, r, r) from probabilities (b, K), with ``p_j (1 - p_j)`` free of cancellation."""
    p = P[:, 1:]
    rest = P @ (1 - torch.eye(P.shape[1], dtype=P.dtype, device=P.device))
    C = -p[:, :, None] * p[:, None, :]
    C.diagonal(dim1=1, dim2=2).copy_(p * rest[:, 1:])
    return C


def _hats(Z: Tensor, inverse: Tensor, r: int) -> Tensor:
    """``M`` (b, r, r)."""
    blocks = inverse.view(r, Z.shape[1], r, Z.shape[1])
    M = Z.new_empty(len(Z), r, r)
    for j in range(r):
        for k in range(j, r):
            M[:, j, k] = M[:, k, j] = ((Z @ blocks[j, :, k]) * Z).sum(1)
    return M


def _slopes(M: Tensor, p: Tensor) -> Tensor:
    """``p * (u - p . u)`` with ``u = diag(M) - 2 M p``, (b, r): derivatives of ``<M, C>``."""
    u = M.diagonal(dim1=1, dim2=2) - 2 * (M @ p[:, :, None]).squeeze(2)
    return p * (u - (p * u).sum(1, keepdim=True))


def _gram(Z: Tensor, A: Tensor) -> Tensor:
    """``sum_i A_i kron z_i z_i'`` (r q, r q) for symmetric ``A_i`` (b, r, r)."""
    (_, q), r = Z.shape, A.shape[1]
    gram = Z.new_empty(r, q, r, q)
    for j in range(r):
        for k in range(j, r):
            gram[j, :, k] = gram[k, :, j] = Z.T @ (A[:, j, k, None] * Z)
    return gram.view(r * q, r * q)


def cholesky(matrix: Tensor) -> Tensor | None:
    """Cholesky factor; None if the matrix is not positive definite, whatever the units."""
    factor, scale, good = _unit_factor(matrix)
    return factor * scale[:, None] if bool(good.all()) else None  # waits for the device


def _unit_factor(matrix: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Cholesky factor of the matrix scaled to unit diagonal, the scale, and which pivots stand."""
    diagonal = matrix.diagonal()
    scale = torch.where(diagonal > 0, diagonal, 1.0).sqrt()
    factor, info = torch.linalg.cholesky_ex(matrix / scale[:, None] / scale)
    place = torch.arange(len(matrix), device=matrix.device)
    cutoff = 10 * len(matrix) * torch.finfo(matrix.dtype).eps
    good = (factor.diagonal().square() > cutoff) & ((info == 0) | (place < info - 1))
    return factor, scale, good
