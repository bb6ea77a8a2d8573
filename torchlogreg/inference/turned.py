"""The information matrix in a basis in which it is nearly the identity, from one read of the rows.

Squares of nearly collinear columns lose digits, so that the rows are squared twice
(:mod:`torchlogreg.inference.information`): once to learn the basis in which they are nearly
orthogonal, once in it. A thousand rows tell that basis nearly as well as a million do, so that of
many rows only the second pass is left. Where the sample was no good, sorted rows or a rare
indicator, the pivots say so, and the rows are squared twice after all.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import NamedTuple

import torch
from torch import Tensor

from torchlogreg import kernels
from torchlogreg.data import Batch
from torchlogreg.inference.affine import AffineForm
from torchlogreg.inference.rows import Problem
from torchlogreg.kernels.turning import WIDEST, turned_sums
from torchlogreg.losses import binary_nll

SQUARED_IS_FINE = 1e-3
"""Smallest squared pivot of the correlations below which rows are factored instead of squares."""

ROUNDING = 1e-9
"""Squared pivot up to which the first factor is not good enough to be improved."""

ROWS = 64
"""Rows a parameter in the sample: pivots of the others then lie between 0.7 and 1.3, mostly."""


class Turned(NamedTuple):
    """What :func:`turned` found; all but the first in the basis of the problem.

    Attributes
    ----------
    again : Tensor, shape (P, P)
        ``T' A T`` with ``A`` the information.
    T : Tensor, shape (P, P)
        Upper triangular.
    gradient : Tensor, shape (P,)
    loss : Tensor, scalar
    weakest : float
        Smallest ``w_i C_i`` of a row with weight.
    longest : float
        The largest length of a row ``D_i T``, whatever its weight.
    """

    again: Tensor
    T: Tensor
    gradient: Tensor
    loss: Tensor
    weakest: float
    longest: float

    @property
    def matrix(self) -> Tensor:
        """The information, with the digits that squares have."""
        half = torch.linalg.solve_triangular(self.T.T, self.again, upper=False)
        whole: Tensor = torch.linalg.solve_triangular(self.T.T, half.T, upper=False)
        return (whole + whole.T) / 2

    def furthest(self, step: Tensor) -> float:
        """No row's ``eta`` moves by more along a step (P,) of the parameters of the basis."""
        turned = torch.linalg.solve_triangular(self.T, step[:, None], upper=True)
        return 1.01 * self.longest * float(turned.norm())

    def root(self) -> Tensor | None:
        """``S`` with ``inverse = S S'``, (P, P); None where the sample was no good."""
        scale = self.again.diagonal().rsqrt()
        lower, info = torch.linalg.cholesky_ex(self.again * scale[:, None] * scale)
        if int(info) or not float(lower.diagonal().square().min()) > SQUARED_IS_FINE:
            return None
        eye = torch.eye(len(scale), dtype=scale.dtype)
        inverse = torch.linalg.solve_triangular(lower, eye, upper=False)
        root: Tensor = self.T @ (scale[:, None] * inverse.T)
        return root


def turned(problem: Problem) -> Turned | None:
    """Sums over the rows; None where it is not the way.

    1. The information of a sample: every so many rows. Its factor is the basis, unless squares do
       without, or are not enough.
    2. The information of all rows in that basis; value and gradient come by the way.

    Parameters
    ----------
    problem : Problem
        Of a single score, on columns that are not centred.
    """
    data, form = problem.data, problem.form
    P, X = len(problem.basis.back), data.X
    if P > WIDEST or len(X) < 4 * ROWS * P or X.dtype != torch.float64 or not _has_kernels(problem):
        return None
    unit = problem.R / problem.basis.scale[:, None]  # (p, 1)
    T = _basis(problem, unit)  # 1
    if T is None:
        return None
    p = len(unit)
    found = turned_sums(  # 2
        X,
        data.y,
        unit * T[:p],
        (problem.M @ T[p:]).view(-1),
        sample_weight=data.sample_weight,
        weight=form.weight,
        intercepts=form.intercepts @ form.M.T,
        offset=data.offset,
    )
    gradient = torch.cat((found.by_weight * unit[:, 0], found.by_intercept * problem.M[0]))
    return Turned(found.curvature, T, gradient, found.value, found.least, found.longest)


def threads_of_sums(form: AffineForm, data: Batch, kind: str) -> AbstractContextManager[None]:
    """Torch's threads for an inference: one, where compiled sums are all that is long of it.

    Parameters
    ----------
    form : AffineForm
    data : Batch
    kind : str
        Of covariance: the robust ones sum over the rows in torch, too.
    """
    if kind != "classical" or len(form.theta) > WIDEST or form.nll is not binary_nll:
        return nullcontext()
    return kernels.threads_of_fit(form.model, form.nll, data)


def _basis(problem: Problem, unit: Tensor) -> Tensor | None:
    """Upper triangular ``T`` (P, P) in which a sample's information is the identity."""
    data, form = problem.data, problem.form
    step = len(data) // (ROWS * len(problem.basis.back))
    X, weight = data.X[::step], data.sample_weight[::step]
    eta = form.eta(X, None if data.offset is None else data.offset[::step]).squeeze(1)
    bend = torch.sigmoid(eta).mul_(torch.sigmoid(-eta)).mul_(weight)
    rows = torch.cat((X * unit.T, problem.M.expand(len(X), -1)), dim=1)
    matrix = (rows * bend.unsqueeze(1)).T @ rows
    scale = matrix.diagonal().rsqrt()
    lower, info = torch.linalg.cholesky_ex(matrix * scale[:, None] * scale)
    if int(info):
        return None
    weakest = float(lower.diagonal().square().min())
    if not ROUNDING < weakest < 4 * SQUARED_IS_FINE:
        return None
    eye = torch.eye(len(scale), dtype=scale.dtype)
    inverse: Tensor = torch.linalg.solve_triangular(lower, eye, upper=False)
    return scale[:, None] * inverse.T


def _has_kernels(problem: Problem) -> bool:
    """Whether compiled kernels take the rows: binary logits, in memory, one after the other."""
    data, form = problem.data, problem.form
    whole = not data.mapped and data.X.is_contiguous() and form.nll is binary_nll
    return whole and kernels.curvature_available(form.model, form.nll, data)
