"""TensorBoardSurface: the loss as a landscape, and the way the parameters go through it."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from torchlogreg.data import Batch
from torchlogreg.hooks.events import EventFile, event_file
from torchlogreg.hooks.landscape import objective_on, param_names
from torchlogreg.hooks.moments import Moments
from torchlogreg.hooks.pace import DENSE, check_every, check_size, next_dense
from torchlogreg.hooks.view import choose_view
from torchlogreg.objective import Objective
from torchlogreg.state import FitState, Hook

MOST_ROWS = 512
"""Rows the landscape is computed from; of more, this many are drawn by lot."""


class Look(NamedTuple):
    """What a picture is drawn from, still on its device."""

    params: Tensor  # (P,)
    weight: Tensor  # (m,)
    value: Tensor
    steps: int  # of the path so far


class TensorBoardSurface(Hook):
    """Writes pictures of the objective around the path of two coefficients, from above.

    The colour is the logarithm of the excess over the lowest value seen, dark where it is low; the
    path runs from yellow (first epoch) to red (last). The other parameters, and the sample
    weights, are those of the moment: under a weighting that follows the model, or with more than
    two parameters, the landscape itself moves. The window grows with the path. A model
    of one parameter has no surface, and nothing is drawn.

    Tags: ``surface`` and ``surface/last``.

    Parameters
    ----------
    log_dir : path or EventFile
        Folder of this run alone, created if missing; or the file shared with other hooks.
    every : int, optional
        Epochs from one picture to the next. Default: at most ten, log-spaced, and fewer where the
        fit is so fast that drawing would take more than the file's ``share`` of the time.
    coefficients : two names or indices, or "pca", optional
        Which entries of the parameter vector span the plane ("weight of x1", "bias"), or "pca":
        the principal plane of the path so far. Default: the weights of the two features that tell
        most about the target; of one feature, its weight and the intercept.
    feature_names : sequence of str, optional
    size : int
        Width and height in pixels, 240 ... 2000.

    Raises
    ------
    ValueError
        If ``every`` is not positive or ``size`` out of range; at the start of the fit, if there
        is no such coefficient.
    OSError, FileExistsError
        As for :class:`TensorBoardScalars`.
    """

    def __init__(
        self,
        log_dir: str | os.PathLike[str] | EventFile,
        *,
        every: int | None = None,
        coefficients: Sequence[int | str] | str | None = None,
        feature_names: Sequence[str] | None = None,
        size: int = 480,
    ) -> None:
        check_every(every)
        if isinstance(coefficients, str) and coefficients != "pca":
            raise ValueError(f"coefficients is {coefficients!r}, but it is two names or 'pca'")
        check_size(size)
        # Imported now, not when the clock of the fit runs: matplotlib takes a second.
        import torchlogreg.viz.raster_surface  # noqa: F401

        self.events = event_file(log_dir)
        self.every = every
        self.coefficients, self.feature_names = coefficients, feature_names
        self.size = size
        self._open = False

    def on_fit_start(self, state: FitState) -> None:
        """Choose the plane; note the starting point."""
        self.wake = math.inf
        if sum(p.numel() for p in state.model.parameters()) < 2:
            return  # a line is no surface
        self._chosen, labels = self._choose(state)
        self.events.open(state.epoch)
        self._open = True
        data = state.data
        rows = torch.arange(len(data))
        if len(data) > MOST_ROWS:
            rows = torch.randperm(len(data), generator=torch.Generator().manual_seed(0))
        self._rows = rows[:MOST_ROWS].to(data.X.device)
        self._all = len(self._rows) == len(data)
        self._data = data.rows(self._rows)
        self._objective: Objective = state.objective
        self._path: list[Tensor] = []
        self._next = 0
        self._labels = labels
        self._picture: Any = None  # made with the first look: a short fit may have none
        self._moments = Moments(
            self.events, self.every, self._take, self._publish, guess=0.003, rank=1
        )
        with self.events.budget:
            self._moments.start(state)
            self._walk(state)
        self.wake = 1

    def on_epoch_end(self, state: FitState) -> None:
        """A step of the path, and a picture, if it is time to."""
        if state.epoch >= self._next:
            with self.events.budget:
                self._walk(state)
        if state.epoch >= self._moments.wake:
            self._moments.after_epoch(state)
        self.wake = min(self._next, self._moments.wake)

    def on_fit_end(self, state: FitState) -> None:
        """The last picture."""
        if not self._open:  # another hook failed before this one started
            return
        self._open = False
        self._moments.finish(state)

    def remember(self) -> list[Tensor]:
        """The path so far."""
        return list(self._path) if self._open else []

    def recall(self, memory: list[Tensor]) -> None:
        """Go on with this path."""
        if memory:
            self._path = memory

    def _choose(self, state: FitState) -> tuple[list[int] | None, tuple[str, str]]:
        """Indices into the parameter vector (None for the principal plane), and their names."""
        p = state.data.X.shape[1]
        given = self.feature_names
        features = [f"x{j + 1}" for j in range(p)] if given is None else [str(n) for n in given]
        names = param_names(state.model, tuple(features))
        if self.coefficients == "pca" and len(names) > 2:
            return None, ("first principal axis of the path", "second")
        if self.coefficients is None or self.coefficients == "pca":
            two = range(p) if p <= 2 else choose_view(state.data, None, features).chosen
            wanted: Sequence[int | str] = [f"weight of {features[j]}" for j in two]
            several = state.model.weight.shape[0] > 1
            wanted = [f"{name}, row 0" for name in wanted] if several else wanted
            wanted = wanted if len(wanted) == 2 else [wanted[0], len(names) - 1]
        else:
            wanted = list(self.coefficients)
        chosen = [_index(one, names) for one in wanted]
        if len(set(chosen)) != 2:
            raise ValueError(f"coefficients={wanted!r}, but two different ones span a plane")
        return chosen, (names[chosen[0]], names[chosen[1]])

    def _walk(self, state: FitState) -> None:
        """Keep where the parameters are; every epoch at first, then log-spaced: memory is flat."""
        self._path.append(self.events.sight.of(state).params)
        self._next = next_dense(state.epoch)  # an epoch that the curves note, too
        if state.epoch >= DENSE and self.events.budget.affords_more():
            self._next = min(self._next, next_dense(state.epoch, ratio=1.2))

    def _take(self, state: FitState) -> Look:
        seen = self.events.sight.of(state)
        weight = seen.sample_weight if self._all else seen.sample_weight[self._rows]
        return Look(seen.params, weight, seen.value, len(self._path))

    def _publish(self, suffixes: tuple[str, ...], epoch: int, look: Look) -> None:
        """Draw a look, with the path up to it, and write it."""
        from torchlogreg.viz.raster_surface import GRID, SurfacePicture

        if self._picture is None:
            self._picture = SurfacePicture(self.size, self._labels)
        path = torch.stack([*self._path[: look.steps], look.params])
        path = path if self._chosen is None else path[:, self._chosen]
        if self._chosen is None:
            origin, directions = _principal(path)
            seen = (path - origin) @ directions.T
        else:
            origin = look.params.clone()
            origin[self._chosen] = 0
            directions = torch.zeros(2, len(origin)).to(origin)
            directions[[0, 1], self._chosen] = 1
            seen = path
        points = seen.cpu().double().numpy()
        left, right, bottom, top = self._picture.window(points)
        x, y = np.linspace(left, right, GRID), np.linspace(top, bottom, GRID)
        places = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)
        places = np.concatenate((places, points[-1:]))  # the current place, from the same rows
        values = objective_on(
            self._objective,
            _single(self._data.reweighted(look.weight)),
            origin.float(),
            directions.float(),
            torch.from_numpy(places).to(origin.device).float(),
        )
        loss = values.cpu().double().numpy()
        caption = (f"epoch {epoch}", f"objective {float(look.value):.4g}")
        png = self._picture.draw(loss[:-1].reshape(GRID, GRID), points, loss[-1], caption)
        tags = [f"surface{suffix}" for suffix in suffixes]
        self.events.image(tags, png, (self.size, self.size), epoch)


def _single(data: Batch) -> Batch:
    """The rows in single precision: enough for colours, and twice as fast."""
    y = data.y.float() if data.y.is_floating_point() else data.y
    offset = None if data.offset is None else data.offset.float()
    return Batch(data.X.float(), y, data.sample_weight.float(), offset)


def _principal(path: Tensor) -> tuple[Tensor, Tensor]:
    """The last point of a path (m, P), and its two principal axes (2, P)."""
    moves = torch.nan_to_num(path - path[-1])
    _, _, axes = torch.linalg.svd(moves, full_matrices=False)
    if len(axes) < 2:
        axes = torch.cat((axes, torch.zeros_like(axes)))
    sign = axes[:2].gather(1, axes[:2].abs().argmax(1, keepdim=True)).sign()
    return path[-1], axes[:2] * sign


def _index(wanted: int | str, names: Sequence[str]) -> int:
    if isinstance(wanted, str) and wanted in names:
        return list(names).index(wanted)
    if isinstance(wanted, int) and 0 <= wanted < len(names):
        return wanted
    shown = ", ".join(names[:8]) + (", ..." if len(names) > 8 else "")
    raise ValueError(f"coefficients names {wanted!r}, but there are {len(names)}: {shown}")
