"""Hooks that look at a running fit. None of them trains."""

from torchlogreg.hooks.progress import Progress
from torchlogreg.hooks.recorder import Recorder
from torchlogreg.hooks.stopping import EarlyStopping, StopOnNonFinite
from torchlogreg.hooks.tensorboard import TensorBoardScalars

__all__ = ["EarlyStopping", "Progress", "Recorder", "StopOnNonFinite", "TensorBoardScalars"]
