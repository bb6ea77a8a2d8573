"""TensorBoardScalars: the curves of a fit, and its settings, as one TensorBoard run."""

from __future__ import annotations

import math
import os
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from torchlogreg.hooks.recorder import describe, figures
from torchlogreg.state import FitState, Hook

FLUSH_SECONDS = 2.0
"""Longest time between two transfers of finished epochs to the event file."""

TAGS = {
    "loss/weighted": "loss_weighted",
    "loss/unweighted": "loss_unweighted",
    "optimality": "optimality",
    "accuracy": "accuracy",
    "weight_norm": "weight_norm",
    "learning_rate": "learning_rate",
    "seconds": "seconds",
}
"""From the tag in TensorBoard to the record of the same figure in a History."""


class TensorBoardScalars(Hook):
    """Writes one event file: a curve per tag against the epoch, and the settings as hparams.

    Tags: ``loss/weighted``, ``loss/unweighted``, ``optimality``, ``accuracy`` (classifiers),
    ``weight_norm``, ``learning_rate``, ``seconds``. Epoch 0 is the starting point, and the last
    epoch is always written. Figures stay on the device until they are written, every two seconds:
    logging does not wait for the device at each epoch. TensorBoard smooths curves by 0.6 unless
    told otherwise.

    When the fit ends, also by Ctrl-C or an error (the session status then says "failure"), the
    settings are written into the same run, so that the HPARAMS page can compare runs.

    Parameters
    ----------
    log_dir : path
        Folder of this run alone, created if missing. Runs side by side in one folder overlay.
    every : int
        Epochs from one point of a curve to the next, ``>= 1``.
    hparams : mapping of str to str, int, float or bool, optional
        Settings of your own, added to (and overriding) what the fit knows: model, optimizer, lr,
        penalty, weighting, dtype, device, rows, epochs, steps per epoch, why it stopped.
    metrics : callable, optional
        From the final :class:`FitState` to numbers by tag, such as ``{"test/accuracy": 0.97}``;
        called once, at the end, and shown in the HPARAMS table beside the final curves.

    Raises
    ------
    ValueError
        If ``every`` is not positive, or ``hparams`` holds something else than plain values.
    OSError
        At the start of the fit, if ``log_dir`` cannot be written.
    FileExistsError
        At the start of the fit, if it holds the events of an earlier run.
    """

    def __init__(
        self,
        log_dir: str | os.PathLike[str],
        *,
        every: int = 1,
        hparams: Mapping[str, Any] | None = None,
        metrics: Callable[[FitState], Mapping[str, float]] | None = None,
    ) -> None:
        if every < 1:
            raise ValueError(f"every is {every}, but it counts epochs from 1")
        for name, value in (hparams or {}).items():
            if not isinstance(value, str | int | float):
                raise ValueError(
                    f"hparams[{name!r}] is a {type(value).__name__}, but TensorBoard shows "
                    "strings and numbers; pass str(...) of it"
                )
        self.log_dir = Path(log_dir)
        self.every = every
        self.hparams = dict(hparams or {})
        self.metrics = metrics
        self._writer: Any = None

    def on_fit_start(self, state: FitState) -> None:
        """Open the event file and write the starting point."""
        _check_folder(self.log_dir)
        from torch.utils.tensorboard import SummaryWriter  # lazily: takes a second to import

        # The queue of ten would make training wait for the writer's thread.
        self._writer = SummaryWriter(
            str(self.log_dir), max_queue=1000, flush_secs=math.ceil(FLUSH_SECONDS)
        )
        self._begun = time.time()
        self._settings = _settings(state) | self.hparams  # now: a scheduler will change lr
        self._last_epoch = -1
        self._due = 0.0
        self._pending: list[tuple[int, float, dict[str, Any], list[str], Tensor]] = []
        self._tags: dict[str, None] = {}  # an ordered set
        self._note(state)

    def on_epoch_end(self, state: FitState) -> None:
        """Note every ``every``-th epoch."""
        if state.epoch % self.every == 0:
            self._note(state)

    def on_fit_end(self, state: FitState) -> None:
        """Write what is left, the final metrics and the settings; close the file in any case."""
        if self._writer is None:  # another hook failed before this one started
            return
        reason = state.stop_reason
        try:
            if state.epoch > self._last_epoch and not reason.startswith("error"):
                self._note(state)
            self._write()
            metrics = {} if self.metrics is None else dict(self.metrics(state))
            self._add({tag: float(value) for tag, value in metrics.items()}, state.epoch)
        finally:
            writer, self._writer = self._writer, None
            failed = reason == "interrupted" or reason.startswith("error")
            try:
                settings = self._settings | {
                    "steps_per_epoch": state.step // max(state.epoch, 1),
                    "stop_reason": (reason or "max_epochs").partition(":")[0],
                }
                for summary in _session(settings, self._tags, self._begun, failed):
                    writer.file_writer.add_summary(summary)
            finally:
                writer.close()

    def _note(self, state: FitState) -> None:
        """Keep this epoch's figures where they are; write when it is time to."""
        row = figures(state)
        shown = {tag: row[name] for tag, name in TAGS.items() if name in row}
        on_device = {tag: value for tag, value in shown.items() if isinstance(value, Tensor)}
        stacked = torch.stack([value.float() for value in on_device.values()])  # events hold floats
        self._pending.append((state.epoch, time.time(), shown, list(on_device), stacked))
        self._last_epoch = state.epoch
        if time.perf_counter() >= self._due:
            self._write()

    def _write(self) -> None:
        """Move the noted figures to the event file; one transfer from the device."""
        if not self._pending:
            return
        numbers = torch.stack([stacked for *_, stacked in self._pending]).tolist()
        for (epoch, moment, shown, tags, _), values in zip(self._pending, numbers, strict=True):
            self._add(shown | dict(zip(tags, values, strict=True)), epoch, moment)
        self._pending = []
        self._writer.flush()
        self._due = time.perf_counter() + FLUSH_SECONDS

    def _add(self, numbers: Mapping[str, float], epoch: int, moment: float | None = None) -> None:
        """One event with all numbers: a seventh of the checksums that add_scalar would cost."""
        from tensorboard.compat.proto.summary_pb2 import Summary

        values = [Summary.Value(tag=tag, simple_value=x) for tag, x in numbers.items()]
        if values:
            self._writer.file_writer.add_summary(Summary(value=values), epoch, moment)
        self._tags |= dict.fromkeys(numbers)


def _check_folder(folder: Path) -> None:
    """Make the folder and prove that a file can be written there and starts a run of its own."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise OSError(
            f"log_dir {str(folder)!r} cannot be written ({error.strerror}); choose another folder"
        ) from None
    if any(folder.glob("events.out.tfevents.*")):
        raise FileExistsError(
            f"log_dir {str(folder)!r} holds the events of an earlier run, and TensorBoard would "
            "mix the two; give every run a folder of its own, or delete that one"
        )


def _settings(state: FitState) -> dict[str, str | int | float]:
    """What the fit knows of itself, flat, under the names the HPARAMS page shows."""
    facts = describe(state)
    model = facts["model"]
    return {
        "model": model["class"],
        **{name: value for name, value in model.items() if name != "class"},
        "optimizer": facts["optimizer"],
        "lr": facts["learning_rate"],
        "penalty": facts["penalty"],
        "weighting": facts["weighting"],
        "n_rows": facts["n_rows"],
        "max_epochs": facts["max_epochs"],
        "dtype": facts["dtype"],
        "device": facts["device"],
    }


def _session(
    settings: Mapping[str, str | int | float], tags: Iterable[str], begun: float, failed: bool
) -> list[Any]:
    """The three summaries of the HPARAMS page: what there is, what was set, how it ended."""
    from tensorboard.plugins.hparams.api_pb2 import Status
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData
    from torch.utils.tensorboard.summary import hparams

    shown = {  # NaN (an optimizer without lr) is no JSON, and the page would not load
        name: str(value) if isinstance(value, bool) else value
        for name, value in settings.items()
        if isinstance(value, str) or math.isfinite(value)
    }
    experiment, start, end = hparams(  # type: ignore[no-untyped-call]
        shown, dict.fromkeys(tags, 0.0)
    )
    # torch always says "success" and no times; the page shows both.
    for summary in (start, end):
        plugin = summary.value[0].metadata.plugin_data
        content = HParamsPluginData.FromString(plugin.content)
        if summary is start:
            content.session_start_info.start_time_secs = begun
        else:
            content.session_end_info.end_time_secs = time.time()
            status = "STATUS_FAILURE" if failed else "STATUS_SUCCESS"
            content.session_end_info.status = Status.Value(status)
        plugin.content = content.SerializeToString()
    return [experiment, start, end]
