"""Inference: standard errors, tests and intervals, from the curvature that trained the model."""
