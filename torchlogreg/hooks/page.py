"""tensorboard_hooks: everything TensorBoard can show of a fit, as one tuple of hooks."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torchlogreg.hooks.boundary import TensorBoardBoundary
from torchlogreg.hooks.details import TensorBoardDetails
from torchlogreg.hooks.events import EventFile
from torchlogreg.hooks.surface import TensorBoardSurface
from torchlogreg.hooks.tensorboard import TensorBoardScalars
from torchlogreg.state import FitState, Hook


def tensorboard_hooks(
    log_dir: str | os.PathLike[str],
    *,
    share: float | None = 0.04,
    feature_names: Sequence[str] | None = None,
    class_names: Sequence[str] | None = None,
    hparams: Mapping[str, Any] | None = None,
    metrics: Callable[[FitState], Mapping[str, float]] | None = None,
    notes: str = "",
) -> tuple[Hook, ...]:
    """Scalars, decision boundary, loss surface and details of a fit, in one event file.

    Parameters
    ----------
    log_dir : path
        Folder of this run alone, created if missing. Runs side by side in one folder overlay.
    share : float or None
        Part of the fit's time the four hooks may take together; a fit of a second or less then
        shows fewer pictures (see :class:`EventFile`). None: every figure and every picture.
    feature_names, class_names : sequence of str, optional
    hparams, metrics
        As for :class:`TensorBoardScalars`.
    notes : str
        Markdown for the top of the TEXT page.

    Returns
    -------
    tuple of Hook
        Pass it on, ``hooks=tensorboard_hooks(...)``, or with others,
        ``hooks=(*tensorboard_hooks(...), Progress())``.
    """
    events = EventFile(log_dir, share=share)
    return (
        TensorBoardScalars(events, hparams=hparams, metrics=metrics),
        TensorBoardBoundary(events, feature_names=feature_names, class_names=class_names),
        TensorBoardSurface(events, feature_names=feature_names),
        TensorBoardDetails(events, class_names=class_names, notes=notes),
    )
