"""Columns that say nothing, say the same, or come in units far apart."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from torchlogreg.compressed import DENSE
from torchlogreg.data import pieces
from torchlogreg.diagnostics.column_sums import root_mean_squares, sizes, spread, triangle
from torchlogreg.diagnostics.cone import Floats
from torchlogreg.diagnostics.diagnosis import Finding
from torchlogreg.diagnostics.near import near_findings
from torchlogreg.diagnostics.problem import Problem
from torchlogreg.diagnostics.screen import sound_columns, varied_columns
from torchlogreg.sparse import SparseRows, fits_dense

APART = 1e6
GAP = 64
"""Columns between two that are read with them: neighbours cost less than another way to memory."""

BLOCK = 64
"""Columns that are compared with those before them at once."""

_EXACT = 1e-10
_MOST = 10


def column_findings(problem: Problem) -> list[Finding]:
    """Scales always; constant and dependent columns where a few rows could not exclude them.

    1. Constant columns (with an intercept) or columns of zeros.
    2. The rest is centred (with an intercept) and scaled to unit length; of its triangular factor
       the columns are taken from left to right, and one that lies in the span of those before it
       depends on them. Its coefficients there are unique, so the set named is minimal.
    3. Of the independent ones, the variance inflation factors; where the largest is 1e4 or more
       (standard errors a hundred times those of unrelated columns), the few that explain it.
    """
    found = list(_scales(problem))
    if not fits_dense(problem.data.X):
        return found + list(_stored_constants(problem))
    # A strictly convex penalty chooses among dependent columns; only constants are of interest.
    if (problem.unique and varied_columns(problem)) or sound_columns(problem):
        return found
    if not problem.unique and problem.factor is not None:
        names = list(range(len(problem.factor)))
        return found + list(near_findings(problem, problem.factor, names))
    size = sizes(problem)  # within 1: squares of 1e-200 or 1e200 are no numbers
    spreads = spread(problem, size)
    eps = torch.finfo(problem.data.X.dtype).eps
    constant = spreads.largest <= 4 * max(eps, 2**-52)
    found += _constants(problem, constant.nonzero().flatten().tolist())  # 1
    kept = (~constant).nonzero().flatten()
    if len(kept) == 0 or problem.unique:
        return found  # a strictly convex penalty chooses among dependent columns
    norm = spreads.norm[kept]
    n_rows = int(problem.data.sample_weight.count_nonzero())
    noise = 100 * eps * float((n_rows**0.5 / norm).max())
    factor = triangle(problem, size, spreads, kept)
    mean = (spreads.centre[kept] / norm).numpy()
    names = kept.tolist()
    independent, dependent = _split(factor, max(_EXACT, min(noise, 1e-3)))  # 2
    found += _dependent(problem, factor, mean, names, independent, dependent)
    names = [names[j] for j in independent]
    return found + list(near_findings(problem, factor[:, independent], names))  # 3


def _scales(problem: Problem) -> Iterator[Finding]:
    """Columns whose root mean squares are a million apart."""
    units = problem.objective.units(problem.data).columns
    low, high = (float(unit) for unit in torch.aminmax(units))
    # Rows without weight count there, but not here.
    if high < APART * low and problem.all_count and not _vanished(problem, units):
        return
    size = sizes(problem)
    units, filled = root_mean_squares(problem, size), size > 0  # a column of zeros has no unit
    small = int(torch.where(filled, units, torch.inf).argmin())
    large = int(torch.where(filled, units, 0.0).argmax())
    ratio = min(float(units[large] / units[small]), 1e308)
    if not bool(filled[small]) or ratio < APART:
        return
    yield Finding(
        "scale",
        f"{problem.label(large)} (size {float(units[large]):.2g}) and {problem.label(small)} (size "
        f"{float(units[small]):.2g}) are {ratio:.0e} apart in scale: steps that suit one are too "
        "long or too short for the other; standardise them (torchlogreg.scaling.Standardizer)",
        (large, small),
    )


def _vanished(problem: Problem, units: Tensor) -> bool:
    """Whether squares of a column vanished though it is not zero: exactly 1 stands for its unit."""
    suspects = (units == 1).nonzero().flatten().cpu()  # where the rows are looked at
    if len(suspects) == 0:
        return False
    X = problem.rows()
    least = torch.finfo(units.dtype).tiny ** 0.5
    if isinstance(X, SparseRows):
        stored = np.abs(X.entries.rows.data)
        if not bool(((stored > 0) & (stored < least)).any()):
            return False
        sizes = X.abs().amax(dim=0)[suspects]  # of all: empty columns are too many to be filled in
        return bool(((sizes > 0) & (sizes < least)).any())
    if torch.finfo(X.dtype).tiny > least:  # no entry is as small
        return False
    asked = (units == 1).cpu()
    return any(_tiny(X[:, a:b], asked[a:b], least) for a, b in _stretches(suspects))


def _stretches(which: Tensor) -> list[tuple[int, int]]:
    """First and last + 1 of neighbours among rising numbers: a gap is read with them, if small."""
    last = torch.cat((which.diff() > GAP, torch.ones(1, dtype=torch.bool))).nonzero().squeeze(1)
    first = torch.cat((last.new_zeros(1), last[:-1] + 1))
    return list(zip(which[first].tolist(), (which[last] + 1).tolist(), strict=True))


def _tiny(X: Tensor, asked: Tensor, least: float) -> bool:
    """Whether a column asked for has entries, all below ``least``.

    By one product with square roots, which no column of numbers that people write is orthogonal to:
    zero then means no entry, and an entry above ``least`` a product far above.
    """
    products = torch.arange(1, len(X) + 1, dtype=X.dtype).sqrt() @ X
    bound = least * len(X) ** 1.5
    return bool((asked & (products != 0) & (products.abs() <= bound)).any())


def _constants(problem: Problem, columns: list[int]) -> Iterator[Finding]:
    """Columns with one value; without an intercept only zeros are useless."""
    for j in columns[:_MOST]:
        value = float(problem.data.X[_first(problem.data.sample_weight), j])
        if problem.has_intercept:
            why = f"is constant ({value:g}), as the intercept is"
        else:
            why = "is zero in every row"
        yield Finding("constant", f"{problem.label(j)} {why}: no data speak of it; drop it", (j,))


def _first(weights: Tensor) -> int:
    """The first row with weight."""
    start = 0
    for (piece,) in pieces(weights):
        found = piece.nonzero()
        if len(found):
            return start + int(found[0, 0])
        start += len(piece)
    return 0


def _stored_constants(problem: Problem) -> Iterator[Finding]:
    """Columns of zeros, or with an intercept of one value, in rows too large to be filled in."""
    units = problem.objective.units(problem.data).columns
    # Empty columns have the unit 1, by all rows: those without weight may hold some entries.
    if not problem.has_intercept and problem.all_count and not bool((units == 1).any()):
        return iter(())
    X: Any = problem.rows()
    rows = X.entries.rows
    places = rows.indices if rows.data.all() else rows.indices[rows.data != 0]
    stored = np.bincount(places, minlength=rows.shape[1])
    constant = stored == 0
    full = np.flatnonzero(stored == len(X))[: DENSE // len(X)]
    if problem.has_intercept and len(full):
        some = X[:, torch.from_numpy(full)]
        constant[full] = (some.amax(dim=0) == some.amin(dim=0)).numpy()
    return _constants(problem, np.flatnonzero(constant).tolist())


def _split(factor: Floats, tolerance: float) -> tuple[list[int], list[int]]:
    """Columns independent of those to their left, and the others."""
    independent: list[int] = []
    dependent: list[int] = []
    basis = np.empty((min(factor.shape), len(factor)))  # its rows
    for start in range(0, factor.shape[1], BLOCK):
        before = basis[: len(independent)]
        block = factor[:, start : start + BLOCK].T.copy()
        for _ in range(2):  # twice is enough (Kahan)
            block -= (block @ before.T) @ before
        for j, left in enumerate(block, start):
            known = basis[: len(independent)]
            fresh = known[len(before) :]
            left -= (left @ fresh.T) @ fresh
            left -= (left @ fresh.T) @ fresh
            if np.linalg.norm(left) < 0.5:  # what is left of rounding counts
                left -= (left @ known.T) @ known
            length = float(np.linalg.norm(left))
            if length <= tolerance or len(independent) == len(factor):
                dependent.append(j)
            else:
                basis[len(independent)] = left / length
                independent.append(j)
    return independent, dependent


def _dependent(
    problem: Problem,
    factor: Floats,
    mean: Floats,
    names: list[int],
    independent: list[int],
    dependent: list[int],
) -> Iterator[Finding]:
    """One finding for each column that others determine, with those others."""
    n_rows = int(problem.data.sample_weight.count_nonzero())
    eps = torch.finfo(problem.data.X.dtype).eps
    if n_rows < len(names) + int(problem.has_intercept) and len(dependent) > 1:
        yield Finding(
            "collinear",
            f"{n_rows} rows cannot determine {len(names)} columns: {len(dependent)} of them are "
            "combinations of the others, and only some sums of coefficients are determined; add a "
            "penalty such as L2, or drop columns",
            tuple(names[j] for j in dependent),
        )
        return
    coefs = np.linalg.lstsq(factor[:, independent], factor[:, dependent], rcond=None)[0]
    for j, coef in list(zip(dependent, coefs.T, strict=True))[:_MOST]:
        used = np.flatnonzero(np.abs(coef) > 1e-6 * max(1.0, np.abs(coef).max(initial=0.0)))
        others = [independent[i] for i in used]
        constant = mean[j] - coef[used] @ mean[others]
        size = abs(mean[j]) + np.abs(coef[used]) @ np.abs(mean[others])
        with_one = problem.has_intercept and abs(constant) > max(1e-9, 100 * eps) * size
        columns = sorted([names[j], *(names[i] for i in others)])
        yield Finding(
            "collinear",
            f"{problem.listed(columns)}{' and the intercept' if with_one else ''} are linearly "
            f"dependent: each follows from the others, so only sums of their coefficients are "
            f"determined; drop {problem.label(names[j])} or another of them, or add a penalty such "
            "as L2",
            tuple(columns),
        )
