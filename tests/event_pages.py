"""Event files read back as TensorBoard reads them, and small fits that write them."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from torchlogreg import Hook, LogisticRegression, fit
from torchlogreg.viz.raster import BOTTOM, LEFT, RIGHT, TOP

F64 = torch.float64


def read(folder: Path) -> EventAccumulator:
    return EventAccumulator(str(folder), size_guidance={"images": 0, "tensors": 0}).Reload()


def pictures(folder: Path, tag: str) -> dict[int, Image.Image]:
    """Pictures by epoch."""
    return {
        event.step: Image.open(io.BytesIO(event.encoded_image_string))
        for event in read(folder).Images(tag)
    }


def pixels(picture: Image.Image) -> np.ndarray:
    """The plot area without its frame, (height, width, 3)."""
    array = np.asarray(picture.convert("RGB")).astype(int)
    return array[TOP + 2 : -BOTTOM - 2, LEFT + 2 : -RIGHT - 2]


def clouds(n: int = 60, p: int = 2) -> tuple[torch.Tensor, torch.Tensor]:
    """Class 1 to the right of class 0."""
    X = torch.randn(n, p, generator=torch.Generator().manual_seed(0), dtype=F64)
    y = (torch.arange(n) % 2).double()
    X[:, 0] += 4 * y
    return X, y


def train(hook: Hook, X: torch.Tensor, y: torch.Tensor, **settings: object) -> None:
    model = LogisticRegression(X.shape[1], dtype=F64)
    given = {"optimizer": "sgd", "max_epochs": 30, "tol": 0.0} | settings
    fit(model, X, y, hooks=[hook], **given)  # type: ignore[arg-type]
