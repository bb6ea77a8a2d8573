"""What the HPARAMS page shows: the settings of a fit, and how it ended."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Mapping
from typing import Any

from torchlogreg.hooks.recorder import describe
from torchlogreg.state import FitState


def settings(state: FitState) -> dict[str, str | int | float]:
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


def session(
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
