"""Standard errors, tests, intervals and effects of fitted models."""

from torchlogreg.inference.infer import infer
from torchlogreg.inference.result import InferenceResult

__all__ = ["InferenceResult", "infer"]
