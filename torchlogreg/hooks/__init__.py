"""Hooks that look at a running fit. None of them trains."""

from torchlogreg.hooks.recorder import Recorder

__all__ = ["Recorder"]
