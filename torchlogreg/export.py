"""Models for other runtimes: an ONNX graph, and a module for ``torch.export``.

The graph is written node by node rather than traced, because a model is one affine map and a known
function of it: about five operators that every runtime has, in float32 and in float64 (traced, the
probit link asks for ``Erf`` of float64, which onnxruntime has not, and tracing needs onnxscript).
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from torchlogreg.base import Model
from torchlogreg.configuration import MODELS, config
from torchlogreg.models import LinearRegression, LogisticRegression, OrdinalRegression
from torchlogreg.whole_files import whole_file

if TYPE_CHECKING:
    from onnx import ModelProto

OPSET = 17
IR_VERSION = 8
"""Of 2022: onnxruntime 1.12 and later read them."""
DTYPES: Mapping[torch.dtype, str] = {torch.float32: "FLOAT", torch.float64: "DOUBLE"}
TAIL_SCALE = 3.75
TAIL_DEGREE = 24
"""Chebyshev expansion of erfcx over ``u = (x - TAIL_SCALE) / (x + TAIL_SCALE)``."""


class Predictor(nn.Module):
    """A model with all its answers, for ``torch.export`` and ``torch.compile``.

    Parameters
    ----------
    model : Model
    """

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.model = model

    def forward(self, X: Tensor) -> dict[str, Tensor]:
        """Answers by name, the names of ``to_onnx``.

        Parameters
        ----------
        X : Tensor, shape (n, n_features)

        Returns
        -------
        dict
            ``eta`` (n, k), ``mean`` (n,) or (n, K), and ``label`` (n,) where there are classes.
        """
        eta = self.model(X)
        answers = {"eta": eta, "mean": self.model.mean(eta)}
        if self.model.n_classes is not None:
            answers["label"] = self.model.predict(eta)
        return answers


def to_onnx(
    model: Model,
    path: str | os.PathLike[str],
    *,
    threshold: float = 0.5,
    facts: Mapping[str, Any] | None = None,
) -> Path:
    """Write a model as ONNX; the file appears whole or not at all.

    Its input is ``X (n, n_features)`` for any ``n``, in the model's dtype. Its outputs are ``eta``
    (n, k), ``mean``, which is ``E[y|x]`` (n,), ``P(y = 1)`` (n,) or probabilities (n, K), and,
    where there are classes, ``label`` (n,) of int64.

    Parameters
    ----------
    model : Model
        One of the four, in float32 or float64.
    path : path
        Its folder must exist.
    threshold : float
        Binary models: class 1 where ``P(y = 1) >= threshold``.
    facts : mapping, optional
        JSON-able facts, kept as the file's metadata property ``"torchlogreg"`` with the model's
        class and constructor arguments.

    Returns
    -------
    Path
        What was written.

    Raises
    ------
    ImportError
        Without the package onnx.
    TypeError
        If the model is of another class or dtype.
    ValueError
        If the threshold is no probability, or is given for a model that has none.
    """
    if MODELS.get(type(model).__name__) is not type(model):
        raise TypeError(
            f"to_onnx knows {', '.join(MODELS)}, but not {type(model).__name__}; "
            "torch.onnx.export traces any module"
        )
    if model.weight.dtype not in DTYPES:
        raise TypeError(f"the model is of {model.weight.dtype}; export model.float() instead")
    model.predict(model.intercepts().unsqueeze(0), threshold)  # refuses a threshold of no meaning
    graph = _Graph(model)
    outputs = _answers(graph, model, threshold)
    told = {"model": config(model), "facts": dict(facts or {})}
    content = graph.finished(outputs, json.dumps(told)).SerializeToString()
    with whole_file(Path(path)) as temporary:
        temporary.write_bytes(content)
    return Path(path)


class _Graph:
    """Nodes and constants of one ONNX graph over ``X``."""

    def __init__(self, model: Model) -> None:
        try:
            import onnx
        except ImportError:
            raise ImportError("to_onnx needs onnx; pip install 'torchlogreg[export]'") from None
        self._onnx = onnx
        self._dtype = getattr(onnx.TensorProto, DTYPES[model.weight.dtype])
        self._number = np.float32 if model.weight.dtype == torch.float32 else np.float64
        self._n_features = model.n_features
        self._nodes: list[Any] = []
        self._constants: list[Any] = []

    def constant(self, value: Any) -> str:
        """Floats in the model's dtype, or whole numbers as int64."""
        array = np.asarray(value)
        array = array.astype(self._number if array.dtype.kind == "f" else np.int64)
        name = f"c{len(self._constants)}"
        self._constants.append(self._onnx.numpy_helper.from_array(array, name))
        return name

    def __call__(self, operator: str, *inputs: Any, **attributes: Any) -> str:
        """One node; inputs are names, or constants to be."""
        names = [i if isinstance(i, str) else self.constant(i) for i in inputs]
        output = f"{operator}{len(self._nodes)}"
        self._nodes.append(self._onnx.helper.make_node(operator, names, [output], **attributes))
        return output

    def finished(self, outputs: Mapping[str, tuple[str, int | None]], told: str) -> ModelProto:
        """The checked model; outputs are ``name: (node's output, columns or None)``."""
        helper, info = self._onnx.helper, self._onnx.helper.make_tensor_value_info
        ends = []
        for name, (inner, columns) in outputs.items():
            self._nodes.append(helper.make_node("Identity", [inner], [name]))
            dtype = self._onnx.TensorProto.INT64 if name == "label" else self._dtype
            ends.append(info(name, dtype, ["n"] if columns is None else ["n", columns]))
        start = info("X", self._dtype, ["n", self._n_features])
        graph = helper.make_graph(self._nodes, "torchlogreg", [start], ends, self._constants)
        model: ModelProto = helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid("", OPSET)],
            ir_version=IR_VERSION,
            producer_name="torchlogreg",
        )
        helper.set_model_props(model, {"torchlogreg": told})
        self._onnx.checker.check_model(model, full_check=True)
        return model


@torch.no_grad()
def _answers(graph: _Graph, model: Model, threshold: float) -> dict[str, tuple[str, int | None]]:
    """Outputs of the graph: ``eta`` by one affine map, then its functions."""
    W = model.mix(model.weight.T).cpu().contiguous()  # (p, k): mix is linear, so eta = X W + c
    c = model.intercepts().cpu()
    eta = graph("Gemm", "X", W.numpy(), c.numpy())
    answers: dict[str, tuple[str, int | None]] = {"eta": (eta, W.shape[1])}
    if isinstance(model, LinearRegression):
        return answers | {"mean": (graph("Squeeze", eta, [1]), None)}
    if isinstance(model, LogisticRegression):
        p = graph("Sigmoid", graph("Squeeze", eta, [1]))
        one = graph("GreaterOrEqual", p, float(threshold))
        return answers | {"mean": (p, None), "label": (graph("Cast", one, to=7), None)}
    p = _levels(graph, model, eta) if isinstance(model, OrdinalRegression) else ""
    p = p or graph("Softmax", eta, axis=1)
    label = graph("ArgMax", p, axis=1, keepdims=0)
    return answers | {"mean": (p, model.n_classes), "label": (label, None)}


def _levels(graph: _Graph, model: OrdinalRegression, eta: str) -> str:
    """Probabilities of the levels: differences of F, or of 1 - F where that is the smaller."""
    below, above = TAILS[model.link](graph, eta)
    F = _padded(graph, below, 0.0, 1.0)  # (n, K + 1): P(y <= j) for j = -1 ... K - 1
    S = _padded(graph, above, 1.0, 0.0)
    (F_low, F_high), (S_low, S_high) = (_neighbours(graph, c, model.n_classes) for c in (F, S))
    lower_half = graph("Less", graph("Add", F_low, F_high), 1.0)
    return graph("Where", lower_half, graph("Sub", F_high, F_low), graph("Sub", S_low, S_high))


def _padded(graph: _Graph, columns: str, first: float, last: float) -> str:
    """A constant column before, another one after."""
    before = graph("Pad", columns, [0, 1, 0, 0], first)
    return graph("Pad", before, [0, 0, 0, 1], last)


def _neighbours(graph: _Graph, columns: str, n_classes: int) -> tuple[str, str]:
    """All columns but the last, all but the first."""
    low = graph("Slice", columns, [0], [n_classes], [1])
    return low, graph("Slice", columns, [1], [n_classes + 1], [1])


def _logit(graph: _Graph, t: str) -> tuple[str, str]:
    """F and 1 - F of the logistic distribution."""
    return graph("Sigmoid", t), graph("Sigmoid", graph("Neg", t))


def _cloglog(graph: _Graph, t: str) -> tuple[str, str]:
    """F and 1 - F of ``F = 1 - exp(-exp t)``."""
    above = graph("Exp", graph("Neg", graph("Exp", t)))
    return graph("Sub", 1.0, above), above


def _probit(graph: _Graph, t: str) -> tuple[str, str]:
    """F and 1 - F of the normal distribution, ``exp(-x^2) erfcx(x) / 2`` at ``x = |t| / sqrt 2``.

    ``erfcx`` is smooth in ``u = (x - s) / (x + s)``, so a short Chebyshev series, summed by
    Clenshaw's recurrence, gives it to the last digits of float64.
    """
    x = graph("Mul", graph("Abs", t), float(np.sqrt(0.5)))
    u = graph("Sub", 1.0, graph("Div", 2 * TAIL_SCALE, graph("Add", x, TAIL_SCALE)))
    series = _clenshaw(graph, u, _erfcx_series())
    square = graph("Neg", graph("Mul", x, x))
    tail = graph("Mul", graph("Exp", square), graph("Mul", series, 0.5))
    rest, negative = graph("Sub", 1.0, tail), graph("Less", t, 0.0)
    return graph("Where", negative, tail, rest), graph("Where", negative, rest, tail)


def _erfcx_series() -> list[float]:
    """Chebyshev coefficients of erfcx, ``c_0 ... c_TAIL_DEGREE``, by interpolation."""

    nodes = np.polynomial.chebyshev.chebpts1(TAIL_DEGREE + 1)
    x = torch.as_tensor(TAIL_SCALE * (1 + nodes) / (1 - nodes))
    values = torch.special.erfcx(x).numpy()
    terms = np.polynomial.chebyshev.chebvander(nodes, TAIL_DEGREE)  # orthogonal at these nodes
    means = 2 * terms.T @ values / len(nodes)
    return [float(means[0]) / 2, *means[1:].tolist()]


def _clenshaw(graph: _Graph, u: str, coefficients: Sequence[float]) -> str:
    """``sum_j c_j T_j(u)``: ``b_j = c_j + 2 u b_(j+1) - b_(j+2)``, then ``c_0 + u b_1 - b_2``."""
    twice = graph("Add", u, u)
    after, now = graph.constant(0.0), graph.constant(coefficients[-1])
    for c in reversed(coefficients[1:-1]):
        step = graph("Sub", graph("Mul", twice, now), after)
        after, now = now, graph("Add", step, c)
    return graph("Add", graph("Sub", graph("Mul", u, now), after), coefficients[0])


TAILS: Mapping[str, Callable[[_Graph, str], tuple[str, str]]] = {
    "logit": _logit,
    "probit": _probit,
    "cloglog": _cloglog,
}
