"""Which frames of a long run a film shows."""

from __future__ import annotations

import numpy as np

FRAMES = 200
"""Frames of a film unless told otherwise: ten seconds at twenty a second."""


def select_frames(n_frames: int, at_most: int = FRAMES) -> list[int]:
    """Frames spaced geometrically, so that the early, fast part of a fit is seen.

    Parameters
    ----------
    n_frames : int
        Frames there are.
    at_most : int
        Frames wanted, ``>= 1``.

    Returns
    -------
    list of int
        Increasing, with the first and the last; all of them if there are no more than wanted, one
        alone being the last.
    """
    if at_most < 1:
        raise ValueError(f"{at_most} frames were asked for, but a film has at least one")
    if n_frames <= at_most:
        return list(range(n_frames))
    if at_most == 1:
        return [n_frames - 1]
    fewest, most = at_most, n_frames * 20  # how many points, before equal ones are merged
    while most - fewest > 1:
        middle = (fewest + most) // 2
        fewest, most = (
            (middle, most) if len(_rounded(n_frames, middle)) <= at_most else (fewest, middle)
        )
    return [int(i) for i in _rounded(n_frames, fewest)]


def _rounded(n_frames: int, points: int) -> np.ndarray:
    return np.unique(np.geomspace(1, n_frames, points).round().astype(int)) - 1
