"""TensorBoardDetails: distributions, how far the probabilities can be trusted, and a summary."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from torch import Tensor

from torchlogreg.hooks import summaries
from torchlogreg.hooks.events import EventFile, event_file
from torchlogreg.hooks.hparams import settings
from torchlogreg.hooks.landscape import weights_of
from torchlogreg.hooks.moments import Moments
from torchlogreg.hooks.pace import check_every, check_size
from torchlogreg.hooks.seen import Seen
from torchlogreg.hooks.view import class_labels, labels_of
from torchlogreg.models import OrdinalRegression
from torchlogreg.state import FitState, Hook
from torchlogreg.untrusted import literal

MOST_ROWS = 20_000
"""Rows that curves and pictures are made of; of more, evenly spaced ones."""

MOST_CURVES = 10
"""Classes that get a precision-recall curve."""

CHARTS = {
    "normal against weighted": {
        "cost, with the sample weights and without": ["loss/weighted", "loss/unweighted"],
        "accuracy": ["accuracy"],
    },
    "convergence": {
        "optimality": ["optimality"],
        "size of the weights": ["weight_norm"],
    },
}
"""The CUSTOM SCALARS page. Runs side by side in one folder share its charts."""

READING = """
#### How to read the pages
* **Smoothing**: the page smooths curves by 0.6 unless told otherwise; set it to 0 to see every \
figure as it is.
* **The weighted cost may rise while the model improves**: rows it gets wrong gain weight, so the \
same mistakes cost more. Compare runs by `loss/unweighted`.
* **CUSTOM SCALARS** draws both costs of all chosen runs in one chart.
* **IMAGES**: `boundary`, `surface`, `calibration` and `confusion` have a slider over the epochs; \
`boundary/first` and `boundary/last` are the two ends.
* Epoch 0 is the model before training; epochs are dense at first, then log-spaced.
"""


class Look(NamedTuple):
    """What is shown of a moment, still on its device."""

    seen: Seen
    accuracy: Tensor | None


class TensorBoardDetails(Hook):
    """Writes distributions, scores and a summary of the fit.

    Histograms: ``distribution/weight``, ``distribution/gradient`` (of the smooth objective) and
    ``distribution/sample_weight``. Classifiers: a precision-recall curve ``pr`` (of class 1, or
    of each class against the others), and the pictures ``calibration`` and ``confusion``. A
    numeric response: the picture ``observed``, against the predicted one. Once: the text
    ``summary`` (model, data, settings, how to read the pages), and a layout for the CUSTOM SCALARS
    page that overlays the weighted and the unweighted cost of all runs.

    Parameters
    ----------
    log_dir : path or EventFile
        Folder of this run alone, created if missing; or the file shared with other hooks.
    every : int, optional
        Epochs from one look to the next. Default: at most ten, log-spaced, the last among them,
        and fewer where the fit is so fast that they would take more than the file's ``share`` of
        the time.
    class_names : sequence of str, optional
    notes : str
        Markdown put on top of the summary: what data, what for.
    size : int
        Width and height of the pictures in pixels, 240 ... 2000.

    Raises
    ------
    ValueError
        If ``every`` is not positive or ``size`` out of range; at the start of the fit, if
        ``class_names`` do not fit.
    OSError, FileExistsError
        As for :class:`TensorBoardScalars`.
    """

    def __init__(
        self,
        log_dir: str | os.PathLike[str] | EventFile,
        *,
        every: int | None = None,
        class_names: Sequence[str] | None = None,
        notes: str = "",
        size: int = 360,
    ) -> None:
        check_every(every)
        check_size(size)
        # Imported now, not when the clock of the fit runs: they take a second.

        import torchlogreg.viz.raster_scores  # noqa: F401

        self.events = event_file(log_dir)
        self.every = every
        self.class_names = class_names
        self.notes = notes
        self.size = size
        self._open = False

    def on_fit_start(self, state: FitState) -> None:
        """Write the summary and the layout of the charts."""
        n_classes = state.model.n_classes or 0
        names = class_labels(n_classes, self.class_names)
        self.events.open(state.epoch)
        self._open = True
        self._names = tuple(names)
        self._model = state.model
        data = state.data
        self._step = -(-len(data) // MOST_ROWS)
        y = data.y[:: self._step]
        self._y = _array(labels_of(y) if n_classes else y)
        self._ordered = isinstance(state.model, OrdinalRegression)
        self._taken: Look | None = None
        self._pictures: dict[str, Any] = {}  # made with the first look: a short fit may have none
        self.events.open(state.epoch)  # once for each of the two
        given = (self.events, self.every, self._take)
        self._figures = Moments(*given, self._publish_figures, guess=0.0008, rank=0.5)
        self._scores = Moments(*given, self._publish_pictures, guess=0.002, rank=2)
        with self.events.budget:
            self.events.add(summaries.markdown("summary", self._summary(state)))
            self.events.add(_layout())
            self._figures.start(state)
            self._scores.start(state)
        self.wake = min(self._figures.wake, self._scores.wake)

    def on_epoch_end(self, state: FitState) -> None:
        """A look, if it is time to."""
        self._figures.after_epoch(state)
        self._scores.after_epoch(state)
        self.wake = min(self._figures.wake, self._scores.wake)

    def on_fit_end(self, state: FitState) -> None:
        """The last look."""
        if not self._open:  # another hook failed before this one started
            return
        self._open = False
        try:
            self._figures.finish(state)
        finally:
            self._scores.finish(state)
            self._taken = None

    def _make_pictures(self) -> None:
        """The static parts."""
        from torchlogreg.viz.raster_scores import (
            CalibrationPicture,
            ConfusionPicture,
            ObservedPicture,
        )

        if self._names:
            calibration = CalibrationPicture(self._names, self._ordered, self.size)
            self._pictures["calibration"] = calibration
            self._pictures["confusion"] = ConfusionPicture(self._names, self.size)
            return
        self._points = np.arange(len(self._y))[:: -(-len(self._y) // 2000)]
        self._pictures["observed"] = ObservedPicture(self._y[self._points], self.size)

    def _summary(self, state: FitState) -> str:
        """Model, data and settings as a table, then how to read the pages."""
        facts = settings(state) | {"n_features": state.data.X.shape[1]}
        if self._names:
            counts = np.bincount(self._y.astype(int), minlength=len(self._names)) * self._step
            each = (
                f"{literal(name)}: {count}" for name, count in zip(self._names, counts, strict=True)
            )
            facts["rows by class"] = ", ".join(each)
        rows = "\n".join(f"| {name} | {value} |" for name, value in facts.items())
        return f"{self.notes}\n\n| setting | value |\n|---|---|\n{rows}\n{READING}"

    def _take(self, state: FitState) -> Look:
        """References to what the epoch computed anyway."""
        seen = self.events.sight.of(state)
        if self._taken is not None and self._taken.seen is seen:
            return self._taken
        accuracy = None
        if self._names and self._step > 1:  # else all rows are kept, to be worked out later
            right = state.model.predict(seen.eta) == labels_of(state.data.y)
            accuracy = right.double().mean()
        self._taken = Look(seen, accuracy)
        return self._taken

    def _publish_figures(self, suffixes: tuple[str, ...], epoch: int, look: Look) -> None:
        """Histograms and curves."""
        if suffixes == ("/last",):  # shown already, as the last of the chosen epochs
            return
        add, seen = self.events.add, look.seen
        spreads = {
            "weight": weights_of(self._model, seen.params),
            "gradient": seen.gradient,
            "sample_weight": seen.sample_weight,
        }
        for name, values in spreads.items():
            add(summaries.histogram(f"distribution/{name}", _array(values)), epoch)
        if not self._names:
            return
        p, hit = self._hits(look)
        first = 1 if p.shape[1] == 2 else 0
        for j in range(first, min(p.shape[1], MOST_CURVES)):
            tag = "pr" if first else f"pr/{self._names[j]}"
            add(summaries.pr_curve(tag, p[:, j], hit[:, j]), epoch)

    def _publish_pictures(self, suffixes: tuple[str, ...], epoch: int, look: Look) -> None:
        """Pictures."""
        if suffixes == ("/last",):
            return
        if not self._pictures:
            self._make_pictures()
        eta = look.seen.eta[:: self._step]
        if not self._names:
            mu = _array(self._model.mean(eta.cpu().double()))
            self._show("observed", epoch, mu[self._points], (f"epoch {epoch}", ""))
            return
        p, hit = self._hits(look)
        first, K = (1 if p.shape[1] == 2 else 0), p.shape[1]
        predicted = _array(self._model.predict(eta)).astype(int)
        right = (predicted == self._y).mean()  # of all rows, unless they were too many to keep
        accuracy = float(right if look.accuracy is None else look.accuracy)
        caption = (f"epoch {epoch}", f"accuracy {100 * accuracy:.1f} %")
        self._show("calibration", epoch, p[:, first:], hit[:, first:], caption)
        pairs = self._y.astype(int) * K + predicted
        self._show("confusion", epoch, np.bincount(pairs, minlength=K * K).reshape(K, K), caption)

    def _hits(self, look: Look) -> tuple[np.ndarray, np.ndarray]:
        """Probabilities of the classes, and which are the rows' own, (m, K) both."""
        eta = look.seen.eta[:: self._step]
        mu = _array(self._model.mean(eta.cpu().double()))
        p = np.stack((1 - mu, mu), axis=1) if mu.ndim == 1 else mu
        return p, self._y[:, None] == np.arange(p.shape[1])

    def _show(self, tag: str, epoch: int, *what: Any) -> None:
        """Draw one of the pictures and write it."""
        png = self._pictures[tag].draw(*what)
        self.events.image((tag,), png, (self.size, self.size), epoch)


@cache
def _layout() -> Any:
    """The same in every run."""
    return summaries.layout(CHARTS)


def _array(tensor: Tensor) -> np.ndarray:
    """On the CPU; floats in double precision."""
    tensor = tensor.detach().cpu()
    array: np.ndarray = (tensor.double() if tensor.is_floating_point() else tensor).numpy()
    return array
