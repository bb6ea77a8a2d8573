"""The loss as a surface over two directions of parameter space, from the data of a History."""

from __future__ import annotations

import ast
from dataclasses import dataclass

import numpy as np

from torchlogreg.history import History
from torchlogreg.viz import read

MOST_TERMS = 4_000_000
"""Rows times grid points evaluated at once: 32 MB."""

FIRST = 3
"""Records that say how far to look around a start that was never bettered."""


@dataclass(frozen=True)
class Plane:
    """A plane in parameter space: ``origin (P,)`` and two named ``directions (2, P)``."""

    origin: np.ndarray
    directions: np.ndarray
    names: tuple[str, str]

    def points(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """Parameters at coordinates ``a``, ``b`` of any one shape, (size, P)."""
        both = np.stack([np.ravel(a), np.ravel(b)], axis=1)
        return np.asarray(self.origin + both @ self.directions)

    def coordinates(self, params: np.ndarray) -> np.ndarray:
        """Where parameters (m, P) lie, or what is nearest to them in the plane, (m, 2)."""
        inverse = np.linalg.pinv(self.directions)
        return np.asarray((params - self.origin) @ inverse)


def names(history: History) -> list[str]:
    """A name for each entry of the parameter vector: w_0 the intercept, w_1 ... the weights."""
    found = []
    for name, shape in history.meta["params"]:
        size = int(np.prod(shape))
        found += ["w_0"] if name == "bias" and size == 1 else [f"w_{i + 1}" for i in range(size)]
    return found


def loss_at(history: History, params: np.ndarray) -> np.ndarray:
    """Mean loss over the rows, unweighted, plus the penalty, at parameters (g, P): (g,).

    Raises
    ------
    ValueError
        If the history holds no data, or is not of a linear or binary logistic model.
    """
    kind = history.meta.get("model", {}).get("class")
    if kind not in ("LinearRegression", "LogisticRegression"):
        raise ValueError(
            f"a loss surface is drawn for LinearRegression and LogisticRegression, not for {kind}"
        )
    if "X" not in history.data or "params" not in history:
        raise ValueError("the history holds no data; record it with Recorder(keep_data=True)")
    X, y = (np.asarray(history.data[name], float) for name in ("X", "y"))
    weight, intercept = split(history, np.atleast_2d(np.asarray(params, float)))
    values = np.empty(len(weight))
    chunk = max(1, MOST_TERMS // len(X))
    with np.errstate(over="ignore", invalid="ignore"):
        for start in range(0, len(weight), chunk):
            part = slice(start, start + chunk)
            eta = weight[part] @ X.T + intercept[part, None]
            if kind == "LinearRegression":
                rows = np.square(eta - y)
            else:
                rows = y * np.logaddexp(0, -eta) + (1 - y) * np.logaddexp(0, eta)
            values[part] = rows.mean(axis=1)
        return np.asarray(values + penalty_at(history, weight))


def split(history: History, params: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Weights (g, p) and intercepts (g,) of parameter vectors (g, P)."""
    start, weight, intercept = 0, params, np.zeros(len(params))
    for name, shape in history.meta["params"]:
        size = int(np.prod(shape))
        part = params[:, start : start + size]
        if name == "bias":
            intercept = part[:, 0]
        else:
            weight = part
        start += size
    return weight, intercept


def penalty_at(history: History, weight: np.ndarray) -> np.ndarray:
    """The penalty of the fit at weights (g, p), (g,); zero where there was none."""
    written = str(history.meta.get("penalty", "None"))
    if written == "None":
        return np.zeros(len(weight))
    call = ast.parse(written, mode="eval").body
    kind, keywords = written.partition("(")[0], call.keywords if isinstance(call, ast.Call) else []
    numbers = {str(k.arg): float(ast.literal_eval(k.value)) for k in keywords}
    share = {"L1": 1.0, "L2": 0.0}.get(kind, numbers.get("l1_ratio"))
    if share is None or "alpha" not in numbers:
        raise ValueError(f"the surface of a loss with the penalty {written} is not known here")
    with np.errstate(over="ignore", invalid="ignore"):
        ridge, lasso = 0.5 * (weight**2).sum(axis=1), np.abs(weight).sum(axis=1)
        return np.asarray(numbers["alpha"] * (share * lasso + (1 - share) * ridge))


def recorded_loss(history: History) -> np.ndarray:
    """What the surface shows along the path, (m,): the objective, or without changing weights.

    Raises
    ------
    ValueError
        If the recorded losses are not those of the surface: the fit used a loss of its own.
    """
    values = loss_at(history, history["params"])
    known = history["objective"] if not read.reweighted(history) else history["loss_unweighted"]
    penalty = penalty_at(history, split(history, history["params"])[0])
    with np.errstate(invalid="ignore"):
        check = values - penalty if read.reweighted(history) else values
    finite = np.isfinite(known) & np.isfinite(check)
    if not np.allclose(check[finite], known[finite], rtol=1e-3, atol=1e-6):
        raise ValueError(
            "the recorded losses are not those of the model on the data (the fit had a loss or an "
            "offset of its own), so their surface cannot be drawn"
        )
    return values


def diverged(history: History, losses: np.ndarray) -> int | None:
    """The first record whose loss or parameters are not finite; None if all are."""
    lost = ~(np.isfinite(losses) & np.isfinite(history["params"]).all(axis=1))
    return int(lost.argmax()) if lost.any() else None


def separable(history: History) -> bool:
    """Whether one feature alone tells the classes apart: the loss falls towards 0 for ever."""
    return lowest_without_optimum(history) == 0.0


def lowest_without_optimum(history: History) -> float | None:
    """What the loss falls towards where no finite parameters reach it; None where some do.

    That is 0 for separable classes. Where they meet in one value of the feature (quasi-complete
    separation; Albert and Anderson 1984), it is the entropy of the rows that have this value.
    """
    facts, y = history.meta, history.data["y"]
    if facts.get("model", {}).get("class") != "LogisticRegression":
        return None
    if facts.get("penalty", "None") != "None" or history.data["X"].shape[1] != 1:
        return None
    if not np.isin(y, (0, 1)).all():
        return None
    x, one = history.data["X"][:, 0], y >= 0.5
    if one.all() or not one.any():
        return 0.0  # the intercept alone does it
    x = x if x[one].mean() >= x[~one].mean() else -x
    border, most = x[one].min(), x[~one].max()
    if border < most or x.min() == x.max():
        return None
    tied = x == border if border == most else np.zeros(len(x), bool)
    share = float(one[tied].mean()) if tied.any() else 0.0
    entropy = -sum(p * np.log(p) for p in (share, 1 - share) if p > 0)
    return float(tied.mean() * entropy)


@dataclass(frozen=True)
class Optimum:
    """Best known parameters (P,), their loss, and how they are known.

    ``params`` is None when no finite optimum exists.
    """

    params: np.ndarray | None
    loss: float
    label: str


def optimum(history: History, losses: np.ndarray) -> Optimum:
    """From ``meta["optimum"]`` if a fit wrote it there, else the best record; never computed."""
    lowest = lowest_without_optimum(history)
    if lowest is not None:
        return Optimum(None, lowest, "no finite optimum")
    known = history.meta.get("optimum")
    if known:
        params = np.asarray(known["params"], float)
        return Optimum(params, float(loss_at(history, params)[0]), "optimum")
    best = int(np.nanargmin(np.where(np.isfinite(losses), losses, np.inf)))
    flat = "optimality" in history and history["optimality"][best] <= 1e-6
    label = "optimum" if flat or history.meta.get("converged") else "lowest recorded"
    return Optimum(np.asarray(history["params"][best], float), float(losses[best]), label)


def window(path: np.ndarray, goal: np.ndarray | None, aspect: float = 1.0) -> np.ndarray:
    """Limits ((left, right), (low, high)) of a picture of a path (m, 2).

    From the start to the goal (or the end), and the path as far as it stays within one such
    distance of them: one that diverges cannot ruin the picture. If the start is the goal, as when
    nothing better was ever found, the first steps say how far to look.

    Raises
    ------
    ValueError
        If no point of the path is finite.
    """
    finite = path[np.isfinite(path).all(axis=1)]
    if len(finite) == 0:
        raise ValueError("no record has finite parameters, so there is no path; lower the rate")
    end = finite[-1] if goal is None else goal
    corners = np.stack([finite[0], end])
    if np.allclose(corners[0], end):
        corners = np.concatenate([corners, finite[:FIRST]])
    reach = max(float(np.ptp(corners, axis=0).max()), 1e-3)
    low, high = corners.min(axis=0) - reach, corners.max(axis=0) + reach
    inside = finite[((finite >= low) & (finite <= high)).all(axis=1)]
    points = np.concatenate([corners, inside])
    low, high = points.min(axis=0), points.max(axis=0)
    if goal is not None:  # level lines close around the goal
        room = 0.42 * np.maximum(high - low, 0.5 * (high - low).max())
        low, high = np.minimum(low, goal - room), np.maximum(high, goal + room)
    span = np.maximum(high - low, 0.35 * (high - low).max() * np.array([aspect, 1.0]))
    span = np.maximum(span, 1e-3)
    middle = (low + high) / 2
    return np.stack([middle - 0.62 * span, middle + 0.62 * span], axis=1)


def excess_levels(excess: np.ndarray, n: int = 18) -> tuple[np.ndarray, np.ndarray]:
    """``log10`` of the excess loss, and levels for it: even from the foot to the rim."""
    positive = excess[np.isfinite(excess) & (excess > 0)]
    if len(positive) == 0:
        return np.zeros_like(excess), np.array([-1.0, 1.0])
    top = float(np.log10(positive.max()))
    bottom = max(float(np.log10(np.quantile(positive, 0.003))), top - 5)
    bottom = min(bottom, top - 1e-3)
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = np.log10(np.where(excess > 0, excess, np.nan))
    logs = np.nan_to_num(logs, nan=bottom, posinf=top, neginf=bottom)
    return np.clip(logs, bottom, top), np.linspace(bottom, top + 1e-9, n)
