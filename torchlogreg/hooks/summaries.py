"""Summaries with pages of their own in TensorBoard: histograms, PR curves, text, chart layouts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

BINS = 30
"""Bars of a histogram; TensorBoard redraws it with as many."""

THRESHOLDS = 101
"""Points of a precision-recall curve."""


def histogram(tag: str, values: np.ndarray) -> Any:
    """The distribution of some numbers, those that are finite (below 1e100)."""
    from torch.utils.tensorboard import summary

    values = values[np.abs(values) < 1e100].astype(np.float64)  # NaN compares false; no overflow
    if not len(values):
        values = np.zeros(1)
    low, high = float(values.min()), float(values.max())
    # Numbers equal up to rounding (weights of equal columns) leave no room for that many bins.
    narrow = high - low <= 4 * BINS * np.spacing(max(abs(low), abs(high)))
    margin = (0.1 * max(abs(low), abs(high)) or 0.1) if narrow else 0.0
    counts, edges = np.histogram(values, BINS, (low - margin, high + margin))
    return summary.histogram_raw(  # type: ignore[no-untyped-call]
        tag,
        low,
        high,
        len(values),
        float(values.sum()),
        float(values @ values),
        edges[1:].tolist(),
        counts.tolist(),
    )


def pr_curve(tag: str, p: np.ndarray, hit: np.ndarray) -> Any:
    """Precision against recall as the threshold goes from 0 to 1.

    Parameters
    ----------
    tag : str
    p : ndarray, shape (n,)
        Probability of the class.
    hit : ndarray of bool, shape (n,)
        Rows that are of the class.
    """
    from torch.utils.tensorboard import summary

    bucket = np.clip(np.floor(np.nan_to_num(p) * (THRESHOLDS - 1)), 0, THRESHOLDS - 1).astype(int)
    above = [
        np.bincount(bucket, part, THRESHOLDS)[::-1].cumsum()[::-1]  # rows at or above
        for part in (hit, ~hit)
    ]
    tp, fp = above
    tn, fn = (~hit).sum() - fp, hit.sum() - tp
    precision = tp / np.maximum(tp + fp, 1)
    recall = tp / max(1, int(hit.sum()))
    return summary.pr_curve_raw(  # type: ignore[no-untyped-call]
        tag, tp, fp, tn, fn, precision, recall, THRESHOLDS
    )


def markdown(tag: str, text: str) -> Any:
    """A text, shown on the TEXT page."""
    from torch.utils.tensorboard import summary

    return summary.text(tag, text)  # type: ignore[no-untyped-call]


def layout(charts: Mapping[str, Mapping[str, Sequence[str]]]) -> Any:
    """Charts of the CUSTOM SCALARS page: category -> chart -> tags drawn in it."""
    from torch.utils.tensorboard import summary

    content = {
        category: {name: ("Multiline", list(tags)) for name, tags in inside.items()}
        for category, inside in charts.items()
    }
    return summary.custom_scalars(content)  # type: ignore[no-untyped-call]
