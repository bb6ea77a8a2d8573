"""Plain torch: torch.optim.LBFGS, and pytorch-minimize."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.solving.contender import (
    Answer,
    Contender,
    Setting,
    Solve,
    decades,
    dense,
    is_smooth,
)
from benchmarks.solving.problems import Data, Spec


def suits(spec: Spec) -> bool:
    """Smooth, dense."""
    return dense(spec) and is_smooth(spec)


def objective(data: Data) -> tuple[Callable[[Any], Any], Any]:
    """The loss of a flat parameter vector, as one would write it, and the start."""
    import torch
    from torch.nn import functional as F

    spec = data.spec
    X = torch.from_numpy(np.asarray(data.X))
    y = torch.from_numpy(np.asarray(data.y))
    y = y.long() if spec.kind == "softmax" else y.to(X.dtype)
    size = spec.width * spec.p

    def loss(theta: Any) -> Any:
        weight = theta[:size].reshape(spec.width, spec.p)
        scores = F.linear(X, weight, theta[size:] if spec.intercept else None)
        if spec.kind == "softmax":
            fit = F.cross_entropy(scores, y)
        elif spec.kind == "linear":
            fit = F.mse_loss(scores[:, 0], y)
        else:
            fit = F.binary_cross_entropy_with_logits(scores[:, 0], y)
        return fit + 0.5 * spec.l2 * weight.square().sum()

    start = torch.zeros(size + spec.width * spec.intercept, dtype=X.dtype)
    return loss, start


def unpack(theta: Any, spec: Spec) -> Answer:
    """An answer from a flat parameter vector."""
    flat = theta.detach().cpu().double().numpy()
    size = spec.width * spec.p
    bias = flat[size:] if spec.intercept else np.zeros(spec.width)
    return Answer(flat[:size].reshape(spec.width, spec.p), bias)


def start_lbfgs(data: Data, threads: int) -> Solve:
    """torch.optim.LBFGS with strong Wolfe conditions, to a tolerance of the gradient."""
    import torch

    loss, begin = objective(data)

    def solve(setting: Setting) -> Answer:
        theta = begin.clone().requires_grad_()
        optimizer = torch.optim.LBFGS(
            [theta],
            max_iter=20_000,
            max_eval=25_000,
            tolerance_grad=setting["tol"],
            tolerance_change=0,
            history_size=20,
            line_search_fn="strong_wolfe",
        )

        def closure() -> Any:
            optimizer.zero_grad()
            value = loss(theta)
            value.backward()
            return value

        optimizer.step(closure)
        return unpack(theta, data.spec)

    return solve


def minimizer(method: str, widest: int) -> Contender:
    """pytorch-minimize with one of its methods."""

    def start(data: Data, threads: int) -> Solve:
        from torchmin import minimize

        loss, begin = objective(data)

        def solve(setting: Setting) -> Answer:
            options = {"max_iter": 20_000, "xtol": 0.0} | setting
            return unpack(minimize(loss, begin, method, options=options).x, data.spec)

        return solve

    def fits(spec: Spec) -> bool:
        return suits(spec) and spec.p * spec.width <= widest

    ladder = decades("gtol", 1, 12) if method == "l-bfgs" else decades("xtol", 1, 12)
    return Contender(f"torchmin {method}", "torchmin", "pytorch-minimize", fits, ladder, start)


CONTENDERS = [
    Contender("torch LBFGS", "torch", "torch", suits, decades("tol", 1, 13), start_lbfgs),
    minimizer("l-bfgs", 10**9),
    minimizer("newton-cg", 10**9),
    minimizer("newton-exact", 2500),
]
