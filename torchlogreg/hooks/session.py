"""What the HPARAMS page shows: the settings of a fit, and how it ended.

Imports TensorBoard: to be imported where a hook is made, not with the package.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata
from tensorboard.plugins.hparams import metadata
from tensorboard.plugins.hparams.api_pb2 import (
    DATA_TYPE_FLOAT64,
    DATA_TYPE_STRING,
    STATUS_FAILURE,
    STATUS_SUCCESS,
    Experiment,
    HParamInfo,
    MetricInfo,
    MetricName,
)
from tensorboard.plugins.hparams.plugin_data_pb2 import (
    HParamsPluginData,
    SessionEndInfo,
    SessionStartInfo,
)


def session(
    settings: Mapping[str, str | int | float], tags: Iterable[str], begun: float, failed: bool
) -> Any:
    """The summary for the HPARAMS page: what there is, what was set, how it ended.

    Parameters
    ----------
    settings : mapping
        Names to plain values.
    tags : iterable of str
        Of the scalars shown beside them.
    begun : float
        Seconds since the epoch.
    failed : bool
    """
    kinds, start = [], SessionStartInfo(start_time_secs=begun)
    for name, value in settings.items():
        kind = DATA_TYPE_FLOAT64
        if isinstance(value, str | bool):
            kind, start.hparams[name].string_value = DATA_TYPE_STRING, str(value)
        elif math.isfinite(value):  # NaN (an optimizer without lr) is no JSON: no page would load
            start.hparams[name].number_value = value
        else:
            continue
        kinds.append((name, kind))
    status = STATUS_FAILURE if failed else STATUS_SUCCESS
    end = SessionEndInfo(status=status, end_time_secs=time.time())
    values = (
        _experiment(tuple(kinds), tuple(tags)),
        _value(metadata.SESSION_START_INFO_TAG, HParamsPluginData(session_start_info=start)),
        _value(metadata.SESSION_END_INFO_TAG, HParamsPluginData(session_end_info=end)),
    )
    return Summary(value=values)


@lru_cache(maxsize=16)
def _experiment(kinds: tuple[tuple[str, int], ...], tags: tuple[str, ...]) -> Any:
    """Names and kinds of the settings, and the scalars shown: mostly the same in every run."""
    hparams = [HParamInfo(name=name, type=kind) for name, kind in kinds]
    metrics = [MetricInfo(name=MetricName(tag=tag)) for tag in tags]
    experiment = Experiment(hparam_infos=hparams, metric_infos=metrics)
    return _value(metadata.EXPERIMENT_TAG, HParamsPluginData(experiment=experiment))


def _value(tag: str, content: Any) -> Any:
    """What the plugin finds under a tag."""
    content.version = metadata.PLUGIN_DATA_VERSION
    plugin = SummaryMetadata.PluginData(
        plugin_name=metadata.PLUGIN_NAME, content=content.SerializeToString()
    )
    return Summary.Value(tag=tag, metadata=SummaryMetadata(plugin_data=plugin))
