"""torchlogreg: fit() with the optimizer that it chooses, or a named one; and what a pass costs."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from benchmarks.solving.contender import Answer, Contender, Setting, Solve, decades, once
from benchmarks.solving.problems import Data, Spec

ITERATIONS = 200
MOST_EPOCHS = 5000


def ours(optimizer: str | None = None) -> Contender:
    """fit() to a tolerance, certified by its own optimality."""
    name = "torchlogreg" if optimizer is None else f"torchlogreg {optimizer}"

    def start(data: Data, threads: int) -> Solve:
        return solver(data, optimizer)

    def ladder(spec: Spec) -> list[Setting]:
        return [{}] if spec.loop else decades("tol", 1, 13)(spec)

    return Contender(name, "torchlogreg", "-e .", lambda spec: True, ladder, start, ours=True)


def solver(data: Data, optimizer: str | None) -> Solve:
    """Conversions outside the clock; so are kernels, which few rows would do without."""
    import torch

    from torchlogreg import fit, kernels
    from torchlogreg.few_rows import MOST
    from torchlogreg.sparse_inputs import sparse_rows

    spec = data.spec
    dtype = getattr(torch, spec.dtype)
    X: Any = data.X
    y: Any = data.y
    if spec.density < 1:
        X = sparse_rows(X, dtype)
    # As after kernels.prepare(), which would compile all of them; workers go on to other problems.
    few = spec.kind == "logistic" and spec.n * spec.p <= MOST and not spec.loop
    kernels.SMALLEST.set(0 if few else kernels.LARGE)
    new_model, penalty = models(spec, dtype), penalties(spec)
    if spec.loop:
        return lambda setting: loop(data, optimizer, new_model, penalty)

    def solve(setting: Setting) -> Answer:
        model = new_model()
        result = fit(
            model,
            X,
            y,
            optimizer=optimizer,
            penalty=penalty(),
            tol=setting["tol"],
            max_epochs=MOST_EPOCHS,
        )
        errors = standard_errors(model, X, y) if spec.errors else None
        return Answer(
            *parameters(model),
            errors=errors,
            optimality=result.optimality,
            certified=result.converged,
            note=f"{result.optimizer}, {result.n_epochs} epochs",
        )

    return solve


def penalties(spec: Spec) -> Callable[[], Any]:
    """What makes the penalty of a problem."""
    from torchlogreg.penalties import L1, L2

    if spec.l1:
        return partial(L1, spec.l1)
    return partial(L2, spec.l2) if spec.l2 else lambda: None


def models(spec: Spec, dtype: Any) -> Callable[[], Any]:
    """What makes an untrained model."""
    from torchlogreg import LinearRegression, LogisticRegression, SoftmaxRegression

    here = {"bias": spec.intercept, "dtype": dtype}
    if spec.kind == "softmax":
        return partial(SoftmaxRegression, spec.p, spec.k, **here)
    family = LinearRegression if spec.kind == "linear" else LogisticRegression
    return partial(family, spec.p, **here)


def parameters(model: Any) -> tuple[np.ndarray, np.ndarray]:
    """Weight (r, p) and intercepts (r,), float64."""
    weight = np.asarray(model.weight.numpy(force=True), dtype=float)
    if model.bias is None:
        return weight, np.zeros(len(weight))
    return weight, np.asarray(model.bias.numpy(force=True), dtype=float)


def standard_errors(model: Any, X: Any, y: Any) -> np.ndarray | None:
    """infer()'s, the intercept moved to the end; None where it says that the fit was too short."""
    from torchlogreg.inference import infer

    try:
        errors = np.asarray(infer(model, X, y).bse)
    except ValueError:  # a setting that is not tight enough: the next one is tried
        return None
    return np.roll(errors, -1)


def loop(
    data: Data,
    optimizer: str | None,
    new_model: Callable[[], Any],
    penalty: Callable[[], Any],
) -> Answer:
    """The cost logger: 200 iterations, the cost after each; weights as its page has them."""
    import torch

    from torchlogreg import BoostMisclassified, ClassMean, Hook, fit

    costs = []

    class LogCost(Hook):
        def on_epoch_end(self, state: Any) -> None:
            costs.append(state.value)

    model = new_model()
    weighting = ClassMean(BoostMisclassified()) if data.spec.loop == "weighted" else None
    result = fit(
        model,
        data.X,
        data.y,
        optimizer=optimizer,
        penalty=penalty(),
        weighting=weighting,
        max_epochs=ITERATIONS,
        tol=0,
        hooks=[LogCost()],
    )
    logged = torch.stack(costs).double().numpy()
    row_weight = result.sample_weight.double().numpy()
    return Answer(
        *parameters(model), costs=logged, row_weight=row_weight, note=f"{result.optimizer}"
    )


def start_pass(data: Data, threads: int) -> Solve:
    """One ``X @ w`` by torch: what all times are measured in."""
    import torch

    spec = data.spec
    w = np.ones((spec.p, spec.width))
    if spec.density < 1:
        return lambda setting: _nothing(data.X @ w)
    X = torch.from_numpy(np.asarray(data.X))
    t = torch.from_numpy(w).to(X.dtype)
    if spec.width == 1:
        t = t[:, 0]

    def solve(setting: Setting) -> Answer:
        return _nothing(X @ t)

    return solve


def _nothing(product: Any) -> Answer:
    """An answer without one; the product was made before it came here."""
    return Answer(np.zeros((0, 0)), np.zeros(0), note=str(tuple(product.shape)))


PASS = Contender("one X @ w", "torch", "torch", lambda spec: True, once(), start_pass)
