"""Hooks that look at a running fit. None of them trains."""

from torchlogreg.hooks.boundary import TensorBoardBoundary
from torchlogreg.hooks.checkpoint import Checkpoint
from torchlogreg.hooks.details import TensorBoardDetails
from torchlogreg.hooks.events import EventFile
from torchlogreg.hooks.page import tensorboard_hooks
from torchlogreg.hooks.progress import Progress
from torchlogreg.hooks.recorder import Recorder
from torchlogreg.hooks.stopping import EarlyStopping, StopOnNonFinite
from torchlogreg.hooks.surface import TensorBoardSurface
from torchlogreg.hooks.tensorboard import TensorBoardScalars

__all__ = [
    "Checkpoint",
    "EarlyStopping",
    "EventFile",
    "Progress",
    "Recorder",
    "StopOnNonFinite",
    "TensorBoardBoundary",
    "TensorBoardDetails",
    "TensorBoardScalars",
    "TensorBoardSurface",
    "tensorboard_hooks",
]
