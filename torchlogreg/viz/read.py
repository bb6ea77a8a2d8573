"""What pictures need from a History: curves, predictions, misclassified rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from torchlogreg.history import History


def iterations(history: History) -> np.ndarray:
    """Epoch of each record, (m,)."""
    epochs: np.ndarray = history["epoch"] if "epoch" in history else np.arange(len(history))
    return epochs


def unit(histories: list[History]) -> str:
    """ "iteration" if an epoch is one step everywhere, else "epoch"."""
    same = all("step" not in h or np.array_equal(h["step"], iterations(h)) for h in histories)
    return "iteration" if same else "epoch"


def reweighted(history: History) -> bool:
    """Whether its rows do not all count the same: weighted and unweighted loss differ."""
    if "loss_weighted" not in history or "loss_unweighted" not in history:
        return False
    a, b = history["loss_weighted"], history["loss_unweighted"]
    return not np.allclose(a, b, rtol=1e-5, atol=1e-12, equal_nan=True)


def scores(history: History, index: int, X: np.ndarray) -> np.ndarray:
    """Linear predictor of the rows of ``X`` at a record, (n, r), without ordinal cutpoints."""
    params = history.params(index)
    eta: np.ndarray = X @ params["weight"].T
    return eta + params["bias"] if "bias" in params else eta


def predicted(history: History, index: int) -> np.ndarray | None:
    """Class of each row at a record, (n,); None if data or model are not known or not classes."""
    facts: dict[str, Any] = history.meta.get("model", {})
    if "X" not in history.data or "params" not in history:
        return None
    kind = facts.get("class")
    if kind not in ("LogisticRegression", "SoftmaxRegression"):
        return None
    eta = scores(history, index, history.data["X"])
    if kind == "LogisticRegression":
        return np.asarray(eta[:, 0] >= 0, int)
    if facts.get("reference"):
        eta = np.pad(eta, ((0, 0), (1, 0)))
    return np.asarray(eta.argmax(axis=1))


def misclassified(history: History, index: int) -> np.ndarray | None:
    """Rows whose predicted class is not their label, boolean (n,); None if it cannot be known."""
    classes = predicted(history, index)
    if classes is None or "y" not in history.data:
        return None
    y = history.data["y"]
    label = y.argmax(axis=1) if y.ndim == 2 else (y >= 0.5 if y.dtype.kind == "f" else y)
    return np.asarray(classes != label)


def cost(history: History) -> np.ndarray:
    """What the run minimised, (m,): its objective, or failing that a loss."""
    for name in ("objective", "loss_weighted", "loss_unweighted"):
        if name in history:
            return np.asarray(history[name], float)
    raise ValueError("the history has no 'objective' to draw; record it with hooks.Recorder()")


def unweighted_cost(history: History) -> np.ndarray:
    """What the run would have cost without the weights, (m,): its penalty included, as in ``cost``.

    Only so can it be laid beside the cost of a run without weights.
    """
    plain = np.asarray(history["loss_unweighted"], float)
    if "objective" not in history or "loss_weighted" not in history:
        return plain
    with np.errstate(invalid="ignore", over="ignore"):
        penalty = np.asarray(history["objective"], float) - history["loss_weighted"]
        return np.asarray(plain + np.where(np.isfinite(penalty), penalty, 0.0))


def adaptive_run(histories: Mapping[str, History]) -> str | None:
    """Name of the last run whose sample weights were recorded and are not all one."""
    for name, history in reversed(list(histories.items())):
        if "sample_weight" not in history:
            continue
        weight = np.asarray(history["sample_weight"], float)
        if weight.ndim == 2 and weight.size and not np.allclose(weight, 1.0):
            return name
    return None


TITLES = {
    "LinearRegression": "Linear regression",
    "LogisticRegression": "Logistic regression",
    "SoftmaxRegression": "Softmax regression",
    "OrdinalRegression": "Ordinal regression",
}


def model_title(history: History) -> str:
    """The model in words."""
    return TITLES.get(history.meta.get("model", {}).get("class", ""), "Training")


def settings(histories: list[History]) -> str:
    """Optimizer, learning rate and rows, as far as all the runs agree on them."""
    parts = []
    for key, form in (("optimizer", "{}"), ("learning_rate", "lr {:g}"), ("n_rows", "{} samples")):
        values = {str(h.meta.get(key)): h.meta.get(key) for h in histories}
        value = next(iter(values.values()))
        if len(values) == 1 and value is not None and value == value:  # not NaN
            parts.append(form.format(value))
    return " · ".join([*parts, "faint line = the rest of the run"])


def sample_weights(history: History) -> np.ndarray | None:
    """Sample weights (m, n) relative to the lightest row, as factors: 1, 1, 2.5; None without."""
    if adaptive_run({"": history}) is None:
        return None
    weight = np.nan_to_num(np.asarray(history["sample_weight"], float), posinf=0.0)
    positive = np.where(weight > 0, weight, np.inf).min(axis=1, keepdims=True)
    return np.asarray(weight / np.where(np.isfinite(positive), positive, 1.0))


def evaluations(history: History, index: int) -> int:
    """Evaluations of the closure up to a record: as recorded, else the steps, else the epochs."""
    counts = history.records.get("evaluations", history.meta.get("evaluations"))
    if counts is not None and np.ndim(counts) == 1 and len(counts) == len(history):
        return int(counts[index])
    return int(history["step"][index] if "step" in history else iterations(history)[index])


def described(name: str, history: History) -> str:
    """ "Adam 0.15": a run and its learning rate."""
    rate = history.meta.get("learning_rate")
    return name if rate is None or rate != rate else f"{name} {rate:g}"
