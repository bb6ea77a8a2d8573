"""The information matrix and its inverse, to as many digits as the columns allow.

1. ``sum_i w_i D_i' C_i D_i`` in the basis of centred columns (:mod:`torchlogreg.inference.rows`),
   where its condition number is small, unless columns are collinear.
2. Scaled to unit diagonal and factored by Cholesky: ``A = S S'``, its inverse's factor.
3. Where a pivot says that squares have cost more than three digits, again: the rows
   ``sqrt(w_i C_i) D_i S``, now nearly orthogonal, are squared and factored once more, which is as
   good as a QR factorisation (CholeskyQR2: Yamamoto et al., 2015). Where they are far from
   orthogonal, because a pivot was rounding: a QR, block by block (Golub, 1965).
   Of many rows a sample tells the basis S: only the second squares are needed then
   (:mod:`torchlogreg.inference.turned`).
4. A singular matrix has no inverse: the parameters it says nothing about are named.
5. Linear regression, whose digits are compared with certified ones, gets its residual sum of
   squares and, where columns are collinear, its inverse in doubled precision
   (:mod:`torchlogreg.gram`), as long as that takes little time.
6. So do the others where columns are nearly collinear: :mod:`torchlogreg.inference.doubled`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from torchlogreg.data import Batch
from torchlogreg.gram import REFINED, inverse_gram, residual_sum_of_squares
from torchlogreg.inference.affine import AffineForm
from torchlogreg.inference.doubled import doubled_inverse
from torchlogreg.inference.rows import Problem
from torchlogreg.inference.single import (
    again_of_one_score,
    framed,
    has_one_score,
    sums_of_one_score,
)
from torchlogreg.inference.turned import ROUNDING, SQUARED_IS_FINE, Turned, turned

INFLATED = 20.0
"""Variance inflation from which linear regression inverts in doubled precision."""

INFLATED_FAR, INSTANT = 1e8, 2**22
"""Variance inflation from which that is worth seconds, and products ``n P^2`` that take none."""

COLLINEAR = 200.0
"""Variance inflation from which the other models do, in small problems."""

QUICK = 2**15
"""Entries of X up to which doubled precision costs a few milliseconds."""


class SingularInformationError(ArithmeticError):
    """The rows say nothing about some parameters.

    Parameters
    ----------
    parameters : Tensor of bool, shape (P,)
        Which, in the order of ``theta``.
    """

    def __init__(self, parameters: Tensor) -> None:
        super().__init__("the information matrix is singular")
        self.parameters = parameters


@dataclass(frozen=True, slots=True, eq=False)
class Information:
    """What one pass over the rows gives, in the basis of the problem.

    Attributes
    ----------
    problem : Problem
    matrix : Tensor, shape (P, P)
        ``sum_i w_i D_i' C_i D_i``: minus the Hessian of the log-likelihood (linear: times the
        variance).
    gradient : Tensor, shape (P,)
        ``sum_i w_i D_i' s_i``.
    loss : Tensor, scalar
        ``sum_i w_i loss_i``: minus the log-likelihood; linear: the residual sum of squares.
    weakest : float
        Smallest ``w_i C_i`` of a row with weight, for ``k = 1``; otherwise 0.
    bend : Tensor, shape (n,), or None
        All ``w_i C_i``, where compiled kernels made them.
    turned : Turned or None
        Where a sample of the rows gave the basis: :mod:`torchlogreg.inference.turned`.
    """

    problem: Problem
    matrix: Tensor
    gradient: Tensor
    loss: Tensor
    weakest: float
    bend: Tensor | None = None
    turned: Turned | None = None

    @classmethod
    def of(cls, form: AffineForm, data: Batch) -> Information:
        """Sum over the rows."""
        found = cls._in(Problem.of(form, data))
        diagonal = found.matrix.diagonal()
        if not bool(((diagonal > 1e-200) & (diagonal < 1e200)).all()):
            found = cls._in(Problem.of(form, data, careful=True))
        return found._with_exact_loss()

    @property
    def nobs(self) -> float:
        """Number of observations: the sum of the weights."""
        return float(self.problem.data.sample_weight.sum(dtype=self.loss.dtype))

    @property
    def variance(self) -> float:
        """Residual variance ``RSS / (n - P)`` of linear regression; 1 for the other models."""
        if not self.problem.linear:
            return 1.0
        return float(self.loss) / (self.nobs - len(self.gradient))

    @classmethod
    def _in(cls, problem: Problem) -> Information:
        form, R, M = problem.form, problem.R, problem.M
        (k, r), p, m = R.shape, problem.data.X.shape[1], M.shape[1]
        if has_one_score(problem):
            at = turned(problem)
            if at is not None:
                return cls(problem, at.matrix, at.gradient, at.loss, at.weakest, turned=at)
            one = sums_of_one_score(problem)
            gradient = torch.cat((one.by_weight, one.by_eta * M[0]))
            matrix = framed(one.top, one.cross[None], one.at_eta.view(1, 1), M)
            return cls(problem, matrix, gradient, one.loss, one.weakest, one.bend)
        wide = form.weight
        top, cross = wide.new_zeros(r, p, r, p), wide.new_zeros(k * r, p)
        at_eta, weakest = wide.new_zeros(k, k), float("inf") if k == 1 else 0.0
        gradient, loss = wide.new_zeros(r * p + m), wide.new_zeros(())
        for Z, w, s, C, value, _ in problem.rows():
            C = C * w[:, None, None]
            CR = C @ R if k > 1 else C * R  # (n, k, r)
            A = R.T @ CR if k > 1 else CR * R
            for a in range(r):
                for b in range(a, r):
                    top[a, :, b] += Z.T @ (A[:, a, b, None] * Z)
            cross += CR.flatten(1).T @ Z
            at_eta += C.sum(0)
            ws = s * w[:, None]
            gradient += torch.cat((((ws @ R).T @ Z).flatten(), ws.sum(0) @ M))
            loss += value
            if k == 1:
                weakest = min(weakest, float(torch.where(w > 0, C[:, 0, 0], torch.inf).min()))
        for a in range(r):
            for b in range(a + 1, r):
                top[b, :, a] = top[a, :, b].T
        matrix = framed(top.view(r * p, r * p), cross.view(k, r * p), at_eta, M)
        return cls(problem, matrix, gradient, loss, weakest)

    def inverse_factor(self, extra: Tensor | None = None) -> Tensor:
        """``S`` with ``inverse = S @ S.T``, in the basis.

        Parameters
        ----------
        extra : Tensor, shape (P, P), optional
            Added to the matrix: the curvature of a penalty, in the basis.

        Returns
        -------
        Tensor, shape (P, P)

        Raises
        ------
        SingularInformationError
            If there is no inverse to rounding.
        """
        root = self.turned.root() if self.turned is not None and extra is None else None
        if root is not None:
            return root
        matrix = self.matrix if extra is None else self.matrix + extra
        diagonal = matrix.diagonal()
        if not bool(((diagonal > 0) & torch.isfinite(diagonal)).all()):
            raise SingularInformationError(~((diagonal > 0) & torch.isfinite(diagonal)))
        scale = diagonal.rsqrt()
        factor, info = torch.linalg.cholesky_ex(matrix * scale[:, None] * scale)  # 2
        weakest = float(factor.diagonal().square().min()) if int(info) == 0 else 0.0
        if weakest < SQUARED_IS_FINE:  # 3
            twice = self._squared_twice(factor, scale, extra) if weakest > ROUNDING else None
            factor = self._row_factor(scale, extra).T if twice is None else twice
        eye = torch.eye(len(factor), dtype=factor.dtype, device=factor.device)
        inverse: Tensor = torch.linalg.solve_triangular(factor, eye, upper=False)
        return scale[:, None] * inverse.T

    def inverse(self, factor: Tensor) -> Tensor:
        """The inverse in ``theta``, (P, P), from its factor in the basis.

        Parameters
        ----------
        factor : Tensor, shape (P, P)
            What ``inverse_factor()`` returned.
        """
        problem = self.problem
        data, n_params = problem.data, len(factor)
        inflation = factor.square().sum(1) * self.matrix.diagonal()
        if problem.linear and bool(inflation.max() > INFLATED):
            worst = bool(inflation.max() > INFLATED_FAR)
            if len(data) * n_params**2 <= (REFINED if worst else INSTANT):
                bias = len(problem.form.intercepts) > 0
                try:
                    return inverse_gram(data.X, data.sample_weight, bias=bias).to(factor)  # 5
                except ValueError:  # singular by a stricter measure than ours
                    pass
        if not problem.linear and bool(inflation.max() > COLLINEAR):
            doubled = doubled_inverse(problem)  # 6
            if doubled is not None:
                return doubled
        root = problem.basis.back @ factor
        matrix: Tensor = root @ root.T
        return matrix

    def _with_exact_loss(self) -> Information:
        """Residuals that are small beside what they are differences of, in doubled precision."""
        form, data, basis = self.problem.form, self.problem.data, self.problem.basis
        if not self.problem.linear or data.X.numel() > REFINED:
            return self
        if data.X.numel() > QUICK:
            size = float((form.weight.abs() * (basis.mean.abs() + basis.scale)).sum())
            if float(self.loss) > 1e-6 * len(data) * size**2:
                return self
        bias = form.intercepts if len(form.intercepts) else None
        loss = residual_sum_of_squares(  # 5
            data.X, data.y, form.weight, bias, sample_weight=data.sample_weight, offset=data.offset
        )
        return replace(self, loss=loss.to(self.loss))

    def _squared_twice(self, factor: Tensor, scale: Tensor, extra: Tensor | None) -> Tensor | None:
        """Lower triangle ``L`` from a first one; None if that was too far off."""
        problem, P = self.problem, len(scale)
        eye = torch.eye(P, dtype=scale.dtype, device=scale.device)
        S = torch.linalg.solve_triangular(factor, eye, upper=False).T
        T = scale[:, None] * S
        if self.bend is not None:
            again = again_of_one_score(problem, T, self.bend)
        else:
            again = torch.zeros_like(S)
            for rows in problem.roots(T):
                again += rows.T @ rows
        if extra is not None:
            again = again + T.T @ extra @ T
        if not bool((again - eye).abs().max() < 0.1):
            return None
        second: Tensor = torch.linalg.cholesky(again)
        return factor @ second

    def _row_factor(self, scale: Tensor, extra: Tensor | None) -> Tensor:
        """Upper triangular ``U`` of the scaled rows; their singular values decide the rank."""
        problem = self.problem
        factor = scale.new_zeros(0, len(scale))
        if extra is not None:
            values, vectors = torch.linalg.eigh(extra * scale[:, None] * scale)
            factor = values.clamp(min=0).sqrt()[:, None] * vectors.T
        for rows in problem.roots(torch.diag(scale)):
            factor = torch.linalg.qr(torch.cat((factor, rows)), mode="r").R
        if len(factor) < len(scale):  # fewer rows than parameters
            factor = torch.nn.functional.pad(factor, (0, 0, 0, len(scale) - len(factor)))
        _, singular, vectors = torch.linalg.svd(factor)
        basis = problem.basis
        # Subtracting a mean that is 1e8 times the spread leaves noise of 1e-8 in that column.
        noise = torch.ones_like(scale)
        n_weights = problem.form.weight.numel()
        noise[:n_weights] += (basis.mean / basis.scale).abs().repeat(n_weights // len(basis.mean))
        cutoff = 4 * len(scale) * torch.finfo(scale.dtype).eps * singular[0]
        null = singular <= cutoff * (vectors.abs() @ noise)
        if bool(null.any()):
            moved = (basis.back @ (scale[:, None] * vectors[null].T)).abs()  # (P, d), in theta
            most = basis.back.abs() @ scale  # if a direction had all its length in every entry
            raise SingularInformationError((moved > 1e-6 * most[:, None]).any(dim=1))
        return factor


def covariance_of(form: AffineForm, data: Batch) -> Tensor:
    """Classical covariance of ``theta`` at the maximum: the inverse observed information.

    Parameters
    ----------
    form : AffineForm
    data : Batch
        Sample weights as used: their sum is the number of observations.

    Returns
    -------
    Tensor, shape (P, P)

    Raises
    ------
    SingularInformationError
        If some parameters are not estimable.
    """
    information = Information.of(form, data)
    return information.inverse(information.inverse_factor()) * information.variance
