"""What a fit says at its end, worked out when it is first read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torchlogreg.diagnostics.diagnosis import Diagnosis


class Closing:
    """A diagnosis, and the message that it is part of.

    Warnings about columns cost a share of a small fit and change nothing of it, so nobody pays for
    them who does not read them. Pickles and copies hold the words, not the rows.

    Parameters
    ----------
    text : str
        What the message begins with.
    reason : str
        What it ends with.
    diagnosis : Diagnosis or callable
        The callable is asked once, and then forgotten, with the rows that it holds.
    """

    __slots__ = ("_diagnosis", "_make", "reason", "text")

    def __init__(
        self, text: str, reason: str, diagnosis: Diagnosis | Callable[[], Diagnosis]
    ) -> None:
        self.text, self.reason = text, reason
        self._diagnosis: Diagnosis = diagnosis if isinstance(diagnosis, Diagnosis) else Diagnosis()
        self._make = None if isinstance(diagnosis, Diagnosis) else diagnosis

    @property
    def diagnosis(self) -> Diagnosis:
        """What was found."""
        if self._make is not None:
            self._diagnosis, self._make = self._make(), None
        return self._diagnosis

    @property
    def message(self) -> str:
        """Why the fit ended, how far it got, what was found, and why its optimizer was chosen."""
        line = self.diagnosis.line
        return f"{self.text}; {line}{self.reason}" if line else self.text + self.reason

    def __repr__(self) -> str:
        """The message."""
        return repr(self.message)

    def __reduce__(self) -> tuple[Any, ...]:
        """To be rebuilt from the words."""
        return Closing, (self.text, self.reason, self.diagnosis)
