"""Second derivatives of the objective in numpy: whole, as a product, as a preconditioner."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy.linalg import cho_factor, cho_solve
from scipy.special import expit, softmax

from benchmarks.solving.objectives import blocks
from benchmarks.solving.problems import Data


class Curvature(NamedTuple):
    """The Hessian at a point, held as what each row contributes.

    Attributes
    ----------
    data : Data
    mean : ndarray, shape (n, r)
        Probabilities; ones for squared errors.
    row : ndarray, shape (n,)
        Weights of mean one.
    """

    data: Data
    mean: np.ndarray
    row: np.ndarray

    @classmethod
    def at(
        cls,
        data: Data,
        weight: np.ndarray,
        bias: np.ndarray,
        row_weight: np.ndarray | None = None,
    ) -> Curvature:
        """The Hessian at these parameters."""
        n = data.spec.n
        mean = np.ones((n, len(weight)))
        for X, _, rows in blocks(data):
            scores = np.asarray(X @ weight.T) + bias
            if data.spec.kind == "softmax":
                mean[rows] = softmax(scores, axis=1)
            elif data.spec.kind == "logistic":
                mean[rows] = expit(scores)
        row = np.ones(n) if row_weight is None else row_weight / np.mean(row_weight)
        return cls(data, mean, row)

    def variance(self) -> np.ndarray:
        """Second derivative of each loss by its own score, (n, r)."""
        if self.data.spec.kind == "linear":
            return 2 * self.row[:, None] * self.mean
        return self.row[:, None] * self.mean * (1 - self.mean)

    def matrix(self) -> np.ndarray:
        """The Hessian of a problem with one column of scores; the intercept comes last."""
        spec, variance = self.data.spec, self.variance()
        H = np.zeros((spec.p + spec.intercept,) * 2)
        for X, _, rows in blocks(self.data):
            design = X.toarray() if spec.density < 1 else X
            if spec.intercept:
                design = np.column_stack((design, np.ones(len(design))))
            H += (design * variance[rows]).T @ design
        H /= spec.n
        H[np.diag_indices(spec.p)] += spec.l2
        return H

    def triangle(self) -> np.ndarray:
        """``R`` (q, q) with ``R' R = n H`` where nothing is penalised; the intercept comes last.

        By QR: the condition of ``H`` is the square of the columns', and costs it twice the digits.
        """
        spec, root = self.data.spec, np.sqrt(self.variance())
        R = np.zeros((0, spec.p + spec.intercept))
        for X, _, rows in blocks(self.data):
            design = X.toarray() if spec.density < 1 else X
            if spec.intercept:
                design = np.column_stack((design, np.ones(len(design))))
            R = np.linalg.qr(np.concatenate((R, design * root[rows])), mode="r")
        return R

    def product(self, v: np.ndarray) -> np.ndarray:
        """``H @ v`` for a flat vector: weights row by row, then intercepts."""
        spec = self.data.spec
        weight = v[: spec.width * spec.p].reshape(spec.width, spec.p)
        bias = v[spec.width * spec.p :] if spec.intercept else np.zeros(spec.width)
        by_weight, by_bias = np.zeros_like(weight), np.zeros(spec.width)
        variance = self.variance() if spec.kind != "softmax" else None
        for X, _, rows in blocks(self.data):
            along = np.asarray(X @ weight.T) + bias
            if variance is not None:
                bent = variance[rows] * along
            else:
                mean = self.mean[rows]
                shift = (mean * along).sum(axis=1, keepdims=True)
                bent = self.row[rows, None] * mean * (along - shift)
            by_weight += np.asarray(X.T @ bent).T
            by_bias += bent.sum(axis=0)
        out = (by_weight / spec.n + spec.l2 * weight).ravel()
        return np.concatenate((out, by_bias / spec.n)) if spec.intercept else out

    def preconditioner(self) -> Callable[[np.ndarray], np.ndarray]:
        """Blocks of the classes for softmax, the diagonal elsewhere."""
        spec, variance = self.data.spec, self.variance()
        if spec.kind == "softmax":
            return self._by_class(variance)
        diagonal = np.zeros(spec.p)
        for X, _, rows in blocks(self.data):
            squared = X.multiply(X) if spec.density < 1 else X**2
            diagonal += np.asarray(squared.T @ variance[rows])[:, 0]
        diagonal = np.maximum(diagonal / spec.n + spec.l2, 1e-12)
        if spec.intercept:
            diagonal = np.append(diagonal, max(float(variance.mean()), 1e-12))
        return lambda v: v / diagonal

    def _by_class(self, variance: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
        spec, factors = self.data.spec, []
        for c in range(spec.width):
            H = np.zeros((spec.p, spec.p))
            for X, _, rows in blocks(self.data):
                H += (X * variance[rows, c : c + 1]).T @ X
            H = H / spec.n
            H[np.diag_indices(spec.p)] += spec.l2 + 1e-12
            factors.append(cho_factor(H))
        free = np.maximum(variance.mean(axis=0), 1e-12)

        def apply(v: np.ndarray) -> np.ndarray:
            weight = v[: spec.width * spec.p].reshape(spec.width, spec.p)
            out = np.stack([cho_solve(f, w) for f, w in zip(factors, weight, strict=True)])
            bias = v[spec.width * spec.p :] / free if spec.intercept else v[:0]
            # Scores of all classes shifted alike change no loss: along that nothing but the penalty
            # bends, and steps that sum to zero over the classes, as gradients do, never go there.
            out = out - out.mean(axis=0)
            return np.concatenate((out.ravel(), bias - bias.mean() if len(bias) else bias))

        return apply
