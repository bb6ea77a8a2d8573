"""TensorBoardBoundary: what the model thinks of every place, as pictures to slide through."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from torchlogreg.hooks.events import EventFile, event_file
from torchlogreg.hooks.landscape import eta_at
from torchlogreg.hooks.moments import Moments
from torchlogreg.hooks.pace import check_every, check_size
from torchlogreg.hooks.seen import Seen
from torchlogreg.hooks.view import View, choose_view, class_labels, labels_of
from torchlogreg.models import OrdinalRegression
from torchlogreg.state import FitState, Hook

FEW = 20_000
"""Rows up to which a look keeps what the epoch computed, and works it out when it is drawn."""


class Look(NamedTuple):
    """What a picture is drawn from, still on its device."""

    params: Tensor  # (P,)
    weight: Tensor  # (m,)
    wrong: Tensor  # (m,)
    loss: Tensor
    accuracy: Tensor | None


class TensorBoardBoundary(Hook):
    """Writes pictures of the decision boundary with the rows on it.

    Two features: the probability of class 1 over their plane, the line where it is one half (and,
    thin, 0.1, 0.25, 0.75 and 0.9); for more classes and for levels, the regions, deeper where the
    model is surer; for a numeric response, the prediction. One feature: the curves of the
    probabilities, or the fitted line. More features: the plane of two of them through the medians
    of the others, or of the two principal axes. Marker area is the sample weight, shape and colour
    are the class, and misclassified rows have a dark edge.

    Tags: ``boundary/first`` (before training), ``boundary`` and ``boundary/last``.

    Parameters
    ----------
    log_dir : path or EventFile
        Folder of this run alone, created if missing; or the file shared with other hooks.
    every : int, optional
        Epochs from one picture to the next. Default: at most ten, log-spaced, the last among
        them, and fewer where the fit is so fast that drawing would take more than the file's
        ``share`` of the time.
    features : two indices or names, or "pca", optional
        What spans the plane when there are more than two features. Default: the one that tells
        most about the target, and the one that adds most to it.
    feature_names, class_names : sequence of str, optional
    size : int
        Width and height in pixels, 240 ... 2000.

    Raises
    ------
    ValueError
        If ``every`` is not positive or ``size`` out of range; at the start of the fit, if
        ``features`` or the names do not fit the data.
    OSError, FileExistsError
        As for :class:`TensorBoardScalars`.
    """

    def __init__(
        self,
        log_dir: str | os.PathLike[str] | EventFile,
        *,
        every: int | None = None,
        features: Sequence[int | str] | str | None = None,
        feature_names: Sequence[str] | None = None,
        class_names: Sequence[str] | None = None,
        size: int = 480,
    ) -> None:
        check_every(every)
        if isinstance(features, str) and features != "pca":
            raise ValueError(f"features is {features!r}, but it is two columns or 'pca'")
        check_size(size)
        # Imported now, not when the clock of the fit runs: matplotlib takes a second.
        import torchlogreg.viz.raster_boundary
        import torchlogreg.viz.raster_curve  # noqa: F401

        self.events = event_file(log_dir)
        self.every = every
        self.features = features
        self.feature_names, self.class_names = feature_names, class_names
        self.size = size
        self._open = False

    def on_fit_start(self, state: FitState) -> None:
        """Choose the view; write the starting point."""
        view = choose_view(state.data, self.features, self.feature_names)
        scene = self._scene(state, view)
        self.events.open(state.epoch)
        self._open = True
        self._moments = Moments(
            self.events, self.every, self._take, self._publish, guess=0.001, always=True
        )
        with self.events.budget:
            self._stage(state, view, scene)
            self._moments.start(state)
        self.wake = self._moments.wake

    def on_epoch_end(self, state: FitState) -> None:
        """A picture, if it is time to."""
        self._moments.after_epoch(state)
        self.wake = self._moments.wake

    def on_fit_end(self, state: FitState) -> None:
        """The last picture."""
        if not self._open:  # another hook failed before this one started
            return
        self._open = False
        self._moments.finish(state)

    def _scene(self, state: FitState, view: View) -> Any:
        """What all pictures have in common."""
        from torchlogreg.viz.raster_points import shown_rows
        from torchlogreg.viz.raster_scene import Scene

        model, data = state.model, state.data
        n_classes = model.n_classes or 0
        names = class_labels(n_classes, self.class_names)
        shown = shown_rows(len(data))
        self._rows = None if len(shown) == len(data) else torch.as_tensor(shown).to(data.X.device)
        y = data.y if self._rows is None else data.y[self._rows]
        weight = data.sample_weight
        response = {0: "prediction", 2: f"P({names[-1]})" if names else ""}
        labels = (*view.labels, response.get(n_classes, "probability"))
        return Scene(
            y=_array(labels_of(y) if n_classes else y),
            class_names=tuple(names),
            ordered=isinstance(model, OrdinalRegression),
            labels=(labels[0], labels[1]),
            size=self.size,
            n_rows=len(data),
            sized=state.weighting.adaptive or bool((weight != weight[0]).any()),
        )

    def _stage(self, state: FitState, view: View, scene: Any) -> None:
        """The static part of the pictures, and the places where the model is asked."""
        from torchlogreg.viz.raster_boundary import PlanePicture
        from torchlogreg.viz.raster_curve import CurvePicture

        like = state.data.X
        points = _array(view.coordinates(like if self._rows is None else like[self._rows]))
        self._is_curve = points.shape[1] == 1
        if self._is_curve:
            self._picture: Any = CurvePicture(points[:, 0], scene)
            places = torch.as_tensor(self._picture.grid[:, None]).to(like)
        else:
            self._picture = PlanePicture(points, scene)
            places = torch.tensor([[0, 0], [1, 0], [0, 1]]).to(like)
        self._places = view.rows(places)
        self._model = state.model
        self._labels = labels_of(state.data.y)

    def _take(self, state: FitState) -> Seen | Look:
        """References for few rows, a few small tensors for many."""
        seen = self.events.sight.of(state)
        return seen if len(seen.losses) <= FEW else self._look(seen)

    def _look(self, seen: Seen) -> Look:
        """Which rows are wrong, and the figures of the caption."""
        model, rows, loss = self._model, self._rows, seen.losses.mean()
        weight = seen.sample_weight if rows is None else seen.sample_weight[rows]
        if model.n_classes is None:
            return Look(seen.params, weight, torch.zeros_like(weight, dtype=torch.bool), loss, None)
        wrong = model.predict(seen.eta) != self._labels
        accuracy = 1 - wrong.count_nonzero() / len(wrong)
        return Look(seen.params, weight, wrong if rows is None else wrong[rows], loss, accuracy)

    def _publish(self, suffixes: tuple[str, ...], epoch: int, taken: Seen | Look) -> None:
        """Draw a look and write it."""
        look = self._look(taken) if isinstance(taken, Seen) else taken
        figures = f"loss {float(look.loss):.4g}"
        if look.accuracy is not None:
            figures = f"accuracy {100 * float(look.accuracy):.1f} %   {figures}"
        caption = (f"epoch {epoch}", figures)
        weight, wrong = _array(look.weight), _array(look.wrong)
        eta = eta_at(self._model, look.params, self._places).cpu().double()
        if self._is_curve:
            png = self._picture.draw(self._mean(eta.numpy()), weight, wrong, caption)
        else:
            png = self._picture.draw(eta.numpy(), self._mean, weight, wrong, caption)
        tags = [f"boundary{suffix}" for suffix in suffixes]
        self.events.image(tags, png, (self.size, self.size), epoch)

    def _mean(self, eta: np.ndarray) -> np.ndarray:
        """The model's mean response as an array."""
        return _array(self._model.mean(torch.from_numpy(eta)))


def _array(tensor: Tensor) -> np.ndarray:
    """On the CPU; floats in double precision."""
    tensor = tensor.detach().cpu()
    array: np.ndarray = (tensor.double() if tensor.is_floating_point() else tensor).numpy()
    return array
