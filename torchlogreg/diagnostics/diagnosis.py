"""Finding and Diagnosis: what was found, in one line each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

Kind = Literal[
    "absent_class",
    "collinear",
    "constant",
    "dominant_row",
    "learning_rate",
    "lost_level",
    "near_collinear",
    "not_converged",
    "not_finite",
    "note",
    "scale",
    "separation",
    "unchecked",
]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong with a fit, and what to do about it.

    Attributes
    ----------
    kind : str
        "separation": no finite estimate, since classes can be told apart; "absent_class": a class
        without rows; "lost_level": one with rows whose cutpoints have met; "constant", "collinear",
        "near_collinear", "scale": columns; "dominant_row": sample weights; "learning_rate",
        "not_converged", "not_finite": how the fit ended; "note": what the optimizer said;
        "unchecked": a test was left out for its size.
    text : str
        One line: what, which columns by name, what to do.
    columns : tuple of int
        The columns that it speaks of.
    severity : {"error", "warning"}
        "error": the numbers are no estimates. "warning": they are, but read the line first.
    """

    kind: Kind
    text: str
    columns: tuple[int, ...] = ()
    severity: Literal["error", "warning"] = "warning"

    def __str__(self) -> str:
        """The text."""
        return self.text


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """The findings about a fit; false when there are none.

    Attributes
    ----------
    findings : tuple of Finding
    """

    findings: tuple[Finding, ...] = ()

    def __iter__(self) -> Iterator[Finding]:
        """One finding after the other."""
        return iter(self.findings)

    def __len__(self) -> int:
        """Number of findings."""
        return len(self.findings)

    def __bool__(self) -> bool:
        """Whether anything was found."""
        return bool(self.findings)

    def __getitem__(self, index: int) -> Finding:
        """The finding at a position."""
        return self.findings[index]

    def of(self, kind: Kind) -> Diagnosis:
        """The findings of one kind."""
        return Diagnosis(tuple(f for f in self.findings if f.kind == kind))

    @property
    def line(self) -> str:
        """All texts in one line, empty if nothing was found."""
        return "; ".join(f.text for f in self.findings)

    def __str__(self) -> str:
        """One line a finding."""
        return "\n".join(f.text for f in self.findings) or "nothing found"
