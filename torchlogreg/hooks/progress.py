"""Progress: a bar on the terminal that does not slow the fit down."""

from __future__ import annotations

import math
import sys
import threading
import time
from contextvars import Token
from typing import Any

from torchlogreg.meter import METER, Meter
from torchlogreg.state import FitState, Hook

INTERVAL = 0.1
"""Least time between two refreshes, in seconds."""

TICK = 0.5
"""Seconds between two looks at how far an epoch of all rows is."""

SHARE = 20
"""A refresh that took t seconds is followed by a pause of SHARE * t: at most 5 % overhead."""


class Progress(Hook):
    """A tqdm bar: epochs done, objective, optimality, epochs per second.

    Also how much of the present epoch is done, so that a long one is seen to move: with
    mini-batches which share of the rows was drawn; else, twice a second, how often all rows were
    passed over.

    Figures are computed and fetched only when the bar is redrawn, at most ten times a second, and
    more rarely where computing them is slow. The last line stays and says why the fit ended.

    Parameters
    ----------
    description : str
        Text in front of the bar.
    force : bool
        Draw even if standard error is not a terminal; otherwise nothing is written there.
    """

    def __init__(self, *, description: str = "", force: bool = False) -> None:
        self.description = description
        self.force = force
        self._bar: Any = None
        self._due = self._due_within = 0.0
        self._epoch, self._steps = -1, 0
        self._text = ""
        self._ended = threading.Event()
        self._ticker: threading.Thread | None = None
        self._before: Token[Meter | None]

    def on_fit_start(self, state: FitState) -> None:
        """Draw the empty bar."""
        terminal = sys.stderr is not None and sys.stderr.isatty()
        self.wake = 0 if terminal or self.force else math.inf
        if self.wake:
            return
        from tqdm import tqdm  # lazily: importing the package must not load it

        self._bar = tqdm(
            total=state.max_epochs,
            desc=self.description or None,
            unit="epoch",
            file=sys.stderr,
            dynamic_ncols=True,
        )
        self._due = self._due_within = time.perf_counter() + INTERVAL
        self._epoch, self._text = -1, ""
        if state.batch_size is None:
            self._hang_up(state)

    def on_step_end(self, state: FitState) -> None:
        """Tell how far the epoch is, without a look at the device."""
        if self._bar is None or state.batch_size is None:
            return
        if state.epoch != self._epoch:
            self._epoch, self._steps = state.epoch, 0
        self._steps += 1
        now = time.perf_counter()
        if now >= self._due_within:
            share = min(1.0, self._steps * state.batch_size / len(state.data))
            self._show(f"{share:.0%} of epoch {state.epoch + 1}{self._text and ', ' + self._text}")
            self._due_within = now + INTERVAL

    def on_epoch_end(self, state: FitState) -> None:
        """Redraw if it is time to."""
        if self._bar is None or time.perf_counter() < self._due:
            return
        state.model.weight.detach().sum().item()  # queued steps are not the bar's cost
        begun = time.perf_counter()
        self._draw(state)
        now = time.perf_counter()
        self._due = now + max(INTERVAL, SHARE * (now - begun))

    def on_fit_end(self, state: FitState) -> None:
        """Draw the final line, with the reason; close the bar whatever happens."""
        self._take_down()
        if self._bar is None:
            return
        reason = state.stop_reason or "max_epochs"
        try:
            if not reason.startswith("error"):  # after an error the figures may raise it again
                self._draw(state, f", {reason.partition(':')[0]}")
        finally:
            bar, self._bar = self._bar, None
            bar.close()

    def _hang_up(self, state: FitState) -> None:
        """Count the rows that are read, and tell of them while an epoch lasts."""
        meter = Meter()
        self._before = METER.set(meter)
        self._ended.clear()
        self._ticker = threading.Thread(target=self._tick, args=(state.whole, meter), daemon=True)
        self._ticker.start()

    def _tick(self, state: FitState, meter: Meter) -> None:
        """In a thread: it reads two numbers, and never looks at the device."""
        n, epoch, start = len(state.data), state.epoch, 0
        while not self._ended.wait(TICK):
            if state.epoch != epoch:  # one that is over so soon needs the usual line alone
                epoch, start = state.epoch, meter.rows
                continue
            text = f"{(meter.rows - start) / n:.1f} passes over the rows in epoch {epoch + 1}"
            self._show(f"{text}{self._text and ', ' + self._text}")

    def _take_down(self) -> None:
        """Stop counting, and wait for the thread."""
        if self._ticker is not None:
            self._ended.set()
            self._ticker.join()
            self._ticker = None
            METER.reset(self._before)

    def _draw(self, state: FitState, ending: str = "") -> None:
        optimality = float(state.optimality)  # first: its pass over the rows serves the value too
        self._text = f"loss {float(state.value):.6g}, optimality {optimality:.1e}"
        self._bar.n = state.epoch
        self._show(self._text + ending)

    def _show(self, text: str) -> None:
        self._bar.set_postfix_str(text, refresh=False)
        self._bar.refresh()
