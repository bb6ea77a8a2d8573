"""Which columns of a sparse matrix may be almost the same: stored in the same rows, and near."""

from __future__ import annotations

from typing import Any

import numpy as np

from torchlogreg.compressed import Compressed

BLOCK = 2**20
"""Stored entries that are looked at at once."""


class LikeColumns:
    """Columns in an order in which those of the same rows stand side by side, the nearest closest.

    Columns of the same rows have the same sum of random numbers drawn for the rows; among them, two
    that are nearly multiples of each other have nearly the same random combination of entries, once
    scaled to length one. No pair is looked for, so this costs one pass.

    Parameters
    ----------
    columns : scipy.sparse.csc_array, shape (n, p)

    Attributes
    ----------
    rank, group : ndarray, shape (p,)
        Place of each column in that order; the sum, alike for columns of the same rows.
    any : bool
        Whether two columns are stored in the same rows.
    """

    def __init__(self, columns: Any) -> None:
        n, p = columns.shape
        rng = np.random.default_rng(0)
        mark, direction = rng.integers(0, 2**63, n, dtype=np.uint64), rng.standard_normal(n)
        key, near = np.zeros(p, np.uint64), np.zeros(p)
        filled = np.flatnonzero(np.diff(columns.indptr))
        for some in np.array_split(filled, 1 + columns.nnz // BLOCK):
            if not len(some):
                continue
            first, last = columns.indptr[some[0]], columns.indptr[some[-1] + 1]
            starts, places = columns.indptr[some] - first, columns.indices[first:last]
            data = columns.data[first:last].astype(np.float64, copy=False)
            key[some] = np.add.reduceat(mark[places], starts)
            length = np.sqrt(np.add.reduceat(data * data, starts))
            near[some] = np.abs(np.add.reduceat(direction[places] * data, starts))
            near[some] /= np.maximum(length, 1e-300)
        order = np.lexsort((near, key))
        self.rank = np.empty(p, np.int64)
        self.rank[order] = np.arange(p)
        self.group = key
        ordered = key[order]
        self.any = bool(((ordered[1:] == ordered[:-1]) & (ordered[1:] > 0)).any())

    @classmethod
    def of(cls, entries: Compressed) -> LikeColumns:
        """Those of some rows; looked at when first asked for."""
        if "alike" not in entries.kept:
            entries.kept["alike"] = cls(entries.by_columns)
        found: LikeColumns = entries.kept["alike"]
        return found

    def mates(self, active: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """For each of some columns the place of the next of the same rows, or -1.

        Empty if no column of the matrix has one.
        """
        if not self.any:
            return np.empty(0, np.int64)
        order = np.argsort(self.rank[active])
        group = self.group[active[order]]
        pairs = np.flatnonzero((group[1:] == group[:-1]) & (group[1:] > 0))
        mate = np.full(len(active), -1, np.int64)
        mate[order[pairs]] = order[pairs + 1]
        return mate
