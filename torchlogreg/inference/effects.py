"""Marginal effects as a small result: arrays, a frame, a table."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from torchlogreg.inference.layout import (
    Row,
    html_table,
    interval_heads,
    printable,
    text_table,
)
from torchlogreg.inference.reference import Array, critical_value, two_sided_p

if TYPE_CHECKING:
    import pandas as pd

HEADS = {
    "dydx": "dy/dx",
    "eyex": "d(lny)/d(lnx)",
    "dyex": "dy/d(lnx)",
    "eydx": "d(lny)/dx",
}
"""What each method computes, in statsmodels' words."""


@dataclass(frozen=True, eq=False)
class MarginalEffects:
    """Effects of columns on the mean response.

    All arrays have the shape of ``effects``: (q,) for linear and binary models, (q, K) for
    multinomial and ordinal ones, in the order of ``columns`` and of ``classes``; with ``m`` given
    rows (m, q) or (m, q, K).

    Attributes
    ----------
    effects : ndarray
        Change of the mean, or of a class's probability, per unit of the column.
    errors : ndarray
        Standard errors by the delta method.
    columns : tuple of str
    classes : tuple of str
        Empty for linear and binary models.
    at, method : str
    level : float
        Coverage of ``lower`` and ``upper``.
    df : float or None
        Degrees of freedom of Student's t; None for the normal distribution.
    discrete : tuple of str
        Columns whose effect is the difference between 1 and 0.
    """

    effects: Array
    errors: Array = field(repr=False)
    columns: tuple[str, ...]
    classes: tuple[str, ...] = ()
    at: str = "overall"
    method: str = "dydx"
    level: float = 0.95
    df: float | None = None
    discrete: tuple[str, ...] = ()

    @property
    def statistics(self) -> Array:
        """``effects / errors``; NaN where both are zero."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return self.effects / self.errors

    @property
    def pvalues(self) -> Array:
        """Two-sided p-values of "no effect"."""
        return two_sided_p(self.statistics, self.df)

    @property
    def lower(self) -> Array:
        """Lower ends of the intervals."""
        return self.effects - critical_value(self.level, self.df) * self.errors

    @property
    def upper(self) -> Array:
        """Upper ends of the intervals."""
        return self.effects + critical_value(self.level, self.df) * self.errors

    def conf_int(self, level: float | None = None) -> Array:
        """Both ends at another level, stacked last: (..., 2)."""
        half = critical_value(self.level if level is None else level, self.df) * self.errors
        return np.stack((self.effects - half, self.effects + half), axis=-1)

    def to_frame(self) -> pd.DataFrame:
        """One line per row, class and column, as many of these as there are."""
        import pandas as pd

        keys, rows = [], []
        for row, name, lines in self._groups():
            for column, numbers in lines:
                key = ((row,) if self._rows else ()) + ((name,) if self.classes else ())
                keys.append((*key, column))
                rows.append(numbers)
        names = [*(["row"] if self._rows else []), *(["class"] if self.classes else []), "column"]
        index = pd.MultiIndex.from_tuples(keys, names=names) if len(names) > 1 else None
        if index is None:
            index = pd.Index([key[0] for key in keys], name="column")
        return pd.DataFrame(np.array(rows).reshape(len(keys), 6), index=index, columns=self._heads)

    def __str__(self) -> str:
        return text_table(self._title, self._heads, self._titled())

    def _repr_html_(self) -> str:
        return html_table(self._title, self._heads, self._titled())

    @property
    def _rows(self) -> bool:
        """Whether there is an axis of given rows."""
        return self.effects.ndim > 1 + bool(self.classes)

    @property
    def _heads(self) -> list[str]:
        letter = "z" if self.df is None else "t"
        ends = interval_heads(self.level)
        return [HEADS[self.method], "std err", letter, f"P>|{letter}|", *ends]

    @property
    def _title(self) -> str:
        how = f"Marginal effects   Method: {self.method}   At: {self.at}"
        if not self.discrete:
            return how
        return f"{how}\nfrom 0 to 1: {', '.join(map(printable, self.discrete))}"

    def _groups(self) -> Iterator[tuple[int, str, list[Row]]]:
        """Row, class and the lines of their table."""
        parts = (self.effects, self.errors, self.statistics, self.pvalues, self.lower, self.upper)
        stack = np.stack(parts, axis=-1)
        stack = stack if self.classes else stack[..., None, :]  # (..., q, K or 1, 6)
        stack = stack if self._rows else stack[None]
        for row, table in enumerate(stack):
            for c in range(table.shape[1]):
                lines = [(n, table[j, c].tolist()) for j, n in enumerate(self.columns)]
                yield row, self.classes[c] if self.classes else "", lines

    def _titled(self) -> list[tuple[str, list[Row]]]:
        groups = []
        for row, name, lines in self._groups():
            words = [f"row {row}"] if self._rows else []
            words += [f"class {name}"] if self.classes else []
            groups.append((", ".join(words), lines))
        return groups
