"""Why a fit cannot work, and which column did it."""

from torchlogreg.diagnostics.separated import Separation, separation

__all__ = ["Separation", "separation"]
