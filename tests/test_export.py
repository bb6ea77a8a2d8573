"""Exported models: another runtime gives the same answers, row for row, for any number of rows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.special import ndtr

from test_saving import MODELS, random_model
from torchlogreg import LogisticRegression, OrdinalRegression, SoftmaxRegression
from torchlogreg.configuration import config
from torchlogreg.export import Predictor, to_onnx

TOLERANCE = {torch.float32: 1e-6, torch.float64: 1e-12}


def runtime(path: Path) -> Any:
    """An onnxruntime session of one thread, or a skip that says what is missing."""
    ort = pytest.importorskip("onnxruntime", reason="onnxruntime is in the test extra")
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])


@pytest.fixture(autouse=True)
def onnx() -> Any:
    """The package, or a skip."""
    return pytest.importorskip("onnx", reason="onnx is in the export and test extras")


def rows(n: int, dtype: torch.dtype) -> torch.Tensor:
    """Rows whose scores go from the middle far into both tails."""
    generator = torch.Generator().manual_seed(n)
    X = torch.randn(n, 3, generator=generator, dtype=torch.float64)
    return (X * torch.logspace(-2, 1, n, dtype=torch.float64).unsqueeze(1)).to(dtype)


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("kind", MODELS)
def test_onnxruntime_gives_the_same_answers(kind, bias, dtype, tmp_path, generator):
    model = random_model(kind, generator, bias=bias, dtype=dtype)
    session = runtime(to_onnx(model, tmp_path / "model.onnx"))
    for n in (1, 2, 301):  # one file serves any number of rows
        X = rows(n, dtype)
        with torch.no_grad():
            expected = {name: v.numpy() for name, v in Predictor(model)(X).items()}
        found = dict(zip(expected, session.run(list(expected), {"X": X.numpy()}), strict=True))
        assert found.keys() == {o.name for o in session.get_outputs()}
        for name, value in found.items():
            assert value.dtype == expected[name].dtype and value.shape == expected[name].shape
        size = np.maximum(1, np.abs(expected["eta"]).max(axis=1))  # eta is rounded in its own units
        allowed = TOLERANCE[dtype] * size
        assert (np.abs(found["eta"] - expected["eta"]).max(axis=1) <= allowed).all()
        if model.n_classes is not None:
            difference = np.abs(found["mean"] - expected["mean"]).reshape(n, -1).max(axis=1)
            assert (difference <= allowed).all()
            other = found["label"] != expected["label"]
            assert (margins(expected["mean"])[other] <= allowed[other]).all()


def margins(p: np.ndarray) -> np.ndarray:
    """How far each row is from a tie: what rounding may decide either way."""
    if p.ndim == 1:
        return np.abs(p - 0.5)
    first, second = np.sort(p, axis=1)[:, -1], np.sort(p, axis=1)[:, -2]
    return first - second


@pytest.mark.parametrize("link", ["logit", "probit", "cloglog"])
def test_probabilities_sum_to_one_and_are_never_negative(link, tmp_path):
    model = OrdinalRegression(1, 5, link=link, dtype=torch.float64)
    torch.nn.init.ones_(model.weight)
    session = runtime(to_onnx(model, tmp_path / "model.onnx"))
    X = np.concatenate([np.linspace(-40, 40, 401), [-1e4, 1e4]])[:, None]
    (p,) = session.run(["mean"], {"X": X})
    assert p.min() >= 0 and np.abs(p.sum(axis=1) - 1).max() <= 1e-15 * 8


def test_probit_of_the_graph_is_the_normal_distribution(tmp_path):
    # scipy's ndtr is the independent truth: the upper tail keeps its digits, nothing cancels.
    model = OrdinalRegression(1, 2, link="probit", dtype=torch.float64)
    torch.nn.init.ones_(model.weight)
    torch.nn.init.zeros_(model.first)
    X = np.linspace(-8, 8, 1001)[:, None]
    (p,) = runtime(to_onnx(model, tmp_path / "model.onnx")).run(["mean"], {"X": X})
    assert np.abs(p[:, 0] - ndtr(-X[:, 0])).max() < 1e-14
    assert np.abs(p[:, 1] / ndtr(X[:, 0]) - 1).max() < 1e-12


def test_extreme_rows_stay_probabilities(tmp_path, generator):
    for kind in MODELS:
        model = random_model(kind, generator, dtype=torch.float32)
        session = runtime(to_onnx(model, tmp_path / "model.onnx"))
        X = np.array([[1e30, 0, 0], [-1e30, 0, 0], [1e15, 1, 1]], np.float32)
        (mean,) = session.run(["mean"], {"X": X})
        assert np.isfinite(mean).all()


def test_threshold_decides_the_label(tmp_path):
    model = LogisticRegression(1, dtype=torch.float64)
    torch.nn.init.ones_(model.weight)
    X = np.linspace(-3, 3, 25)[:, None]
    for threshold in (0.0, 0.2, 0.5, 0.9, 1.0):
        session = runtime(to_onnx(model, tmp_path / "model.onnx", threshold=threshold))
        p, label = session.run(["mean", "label"], {"X": X})
        assert (label == (p >= threshold)).all()


def test_the_file_says_what_it_is(onnx, tmp_path, generator):
    model = random_model("reference", generator)
    path = to_onnx(model, tmp_path / "model.onnx", facts={"class_names": list("abcd")})
    properties = {p.key: p.value for p in onnx.load(path).metadata_props}
    told = json.loads(properties["torchlogreg"])
    assert told == {"model": config(model), "facts": {"class_names": list("abcd")}}


@pytest.mark.parametrize(
    ("model", "options", "error", "why"),
    [
        (torch.nn.Linear(2, 1), {}, TypeError, "not Linear"),
        (LogisticRegression(2, dtype=torch.float16), {}, TypeError, r"model\.float\(\)"),
        (LogisticRegression(2), {"threshold": 2.0}, ValueError, "threshold is 2.0"),
        (SoftmaxRegression(2, 3), {"threshold": 0.3}, ValueError, "has no meaning"),
        (LogisticRegression(2), {"facts": {"x": object()}}, TypeError, "JSON"),
    ],
)
def test_what_cannot_be_exported_leaves_no_file(model, options, error, why, tmp_path):
    with pytest.raises(error, match=why):
        to_onnx(model, tmp_path / "model.onnx", **options)
    assert list(tmp_path.iterdir()) == []
