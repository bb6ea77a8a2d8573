"""Saved models: every option comes back bit for bit, and a bad file is one line, not a crash."""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from torchlogreg import (
    LinearRegression,
    LogisticRegression,
    Model,
    OrdinalRegression,
    SoftmaxRegression,
    saving,
)
from torchlogreg.configuration import config
from torchlogreg.saving import KEY, load, load_facts, save

MODELS: dict[str, Any] = {
    "linear": lambda **k: LinearRegression(3, **k),
    "logistic": lambda **k: LogisticRegression(3, **k),
    "softmax": lambda **k: SoftmaxRegression(3, 4, **k),
    "reference": lambda **k: SoftmaxRegression(3, 4, reference=True, **k),
    "logit": lambda **k: OrdinalRegression(3, 4, **k),
    "probit": lambda **k: OrdinalRegression(3, 4, link="probit", **k),
    "cloglog": lambda **k: OrdinalRegression(3, 4, link="cloglog", **k),
    "two levels": lambda **k: OrdinalRegression(3, 2, **k),
}


def random_model(kind: str, generator: torch.Generator, **options: Any) -> Model:
    """A model of a kind with random parameters."""
    model: Model = MODELS[kind](**options)
    with torch.no_grad():
        for p in model.parameters():
            p.copy_(torch.randn(p.shape, generator=generator, dtype=torch.float64))
    return model


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("kind", MODELS)
def test_every_option_comes_back_bit_for_bit(kind, bias, dtype, tmp_path, generator):
    model = random_model(kind, generator, bias=bias, dtype=dtype)
    again = load(save(model, tmp_path / "model"))
    assert type(again) is type(model) and config(again) == config(model)
    state = again.state_dict()
    assert state.keys() == model.state_dict().keys()
    for name, value in model.state_dict().items():
        assert state[name].dtype == dtype and torch.equal(state[name], value)
    assert all(p.requires_grad and p.is_leaf for p in again.parameters())


def test_device_and_dtype_can_be_asked_for(tmp_path, generator):
    model = random_model("softmax", generator, dtype=torch.float64)
    again = load(save(model, tmp_path / "model"), device="cpu", dtype=torch.float32)
    assert torch.equal(again.weight, model.weight.float())


def test_a_loaded_model_trains_on(tmp_path, generator):
    model = random_model("logistic", generator, dtype=torch.float64)
    again = load(save(model, tmp_path / "model"))
    again(torch.ones(1, 3, dtype=torch.float64)).sum().backward()
    assert torch.equal(again.weight.grad, torch.ones(1, 3, dtype=torch.float64))


def test_any_reader_of_safetensors_reads_it(tmp_path, generator):
    # Independent truth: the format's own library, and its header parsed by hand.
    model = random_model("logit", generator, dtype=torch.float64)
    path = save(model, tmp_path / "model", facts={"feature_names": ["a", "b", "ü"]})
    assert {k: v.tolist() for k, v in load_file(path).items()} == {
        k: v.tolist() for k, v in model.state_dict().items()
    }
    raw = path.read_bytes()
    header = json.loads(raw[8 : 8 + struct.unpack("<Q", raw[:8])[0]])
    told = json.loads(header["__metadata__"][KEY])
    assert told["model"] == config(model) and told["facts"]["feature_names"][2] == "ü"


def test_facts_come_back_with_the_constructor_arguments(tmp_path, generator):
    facts = {"feature_names": ["a", "b", "c"], "penalty": {"alpha": 0.1}, "message": "converged"}
    model = random_model("probit", generator, bias=False)
    path = save(model, tmp_path / "model", facts=facts)
    assert load_facts(path) == facts | {"model": config(model)}


def test_the_suffix_may_be_left_out(tmp_path, generator):
    model = random_model("linear", generator)
    assert save(model, tmp_path / "fit") == save(model, tmp_path / "fit.safetensors")
    assert torch.equal(load(tmp_path / "fit").weight, model.weight)
    for wrong in ("fit.pt", "fit.json"):
        with pytest.raises(ValueError, match=r"does not end in \.safetensors"):
            save(model, tmp_path / wrong)


def test_loading_runs_no_code_of_the_file(tmp_path, generator):
    # The whole module must not be able to unpickle: it imports neither pickle nor torch.load.
    text = Path(saving.__file__).read_text()
    assert "import pickle" not in text and "torch.load" not in text
    torch.save({"weight": torch.zeros(1)}, tmp_path / "model.safetensors")  # a pickle, renamed
    with pytest.raises(ValueError, match="is no model saved by torchlogreg"):
        load(tmp_path / "model.safetensors")


def test_a_model_of_another_class_is_refused(tmp_path):
    class Mine(LogisticRegression):
        pass

    Mine.__name__ = "LogisticRegression"  # the name alone proves nothing
    with pytest.raises(TypeError, match="cannot be built again"):
        save(Mine(2), tmp_path / "model")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("facts", "error"), [({"f": object()}, TypeError), ({"x": float("nan")}, ValueError)]
)
def test_facts_that_are_no_json_leave_no_file(facts, error, tmp_path):
    with pytest.raises(error):
        save(LogisticRegression(2), tmp_path / "model", facts=facts)
    assert list(tmp_path.iterdir()) == []


def test_a_write_that_fails_keeps_the_old_model(tmp_path, generator, monkeypatch):
    old = random_model("logistic", generator)
    path = save(old, tmp_path / "model")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        save(random_model("logistic", generator), path)
    monkeypatch.undo()
    assert torch.equal(load(path).weight, old.weight)
    assert list(tmp_path.iterdir()) == [path], "no temporary file stays"


def test_a_loaded_model_does_not_change_with_its_file(tmp_path, generator):
    # safetensors maps files; a mapped parameter would follow (or crash with) whoever writes there.
    model = random_model("softmax", generator)
    path = save(model, tmp_path / "model")
    again = load(path)
    path.write_bytes(b"\xff" * path.stat().st_size)
    assert torch.equal(again.weight, model.weight)


def description(**changes: Any) -> dict[str, Any]:
    """What the header of a logistic model on three features says, changed."""
    return {"format": 1, "model": config(LogisticRegression(3)), "facts": {}} | changes


def arguments(**changes: Any) -> dict[str, Any]:
    """A description whose constructor arguments are changed; None removes one."""
    changed = config(LogisticRegression(3)) | changes
    return description(model={k: v for k, v in changed.items() if v is not None})


HOSTILE: dict[str, tuple[Any, str]] = {
    "foreign": (None, "no entry 'torchlogreg'"),
    "no JSON": ("{", "no model saved"),
    "a list": ("[]", "format 1"),
    "nested": ("[" * 100_000, "nested without end|no model saved"),
    "later format": (description(format=2), "format 1"),
    "no facts": (description(facts=None), "lacks 'model' or 'facts'"),
    "no model": (description(model=[]), "lacks 'model' or 'facts'"),
    "unknown class": (arguments(**{"class": "Sequential"}), "unknown model class"),
    "class is a list": (arguments(**{"class": []}), "'class' is"),
    "module path": (arguments(**{"class": "os.system"}), "unknown model class"),
    "other width": (arguments(n_features=4), "declares tensors"),
    "no width": (arguments(n_features=None), "no model is like"),
    "negative": (arguments(n_features=-3), "n_features is -3"),
    "a fraction": (arguments(n_features=3.0), "'n_features' is 3.0"),
    "a truth": (arguments(n_features=True), "'n_features' is True"),
    "huge": (arguments(n_features=10**15), "declares tensors"),
    "beyond int64": (arguments(n_features=10**30), "no model is like"),
    "no bias": (arguments(bias=False), "declares tensors"),
    "bias is text": (arguments(bias="no"), "'bias' is 'no'"),
    "bias unsaid": (arguments(bias=None), "incomplete"),
    "device": (arguments(device="cuda"), "'device' is 'cuda'"),
    "link": (arguments(link="probit"), "no model is like"),
    "long": (arguments(link={"x": "y" * 10_000_000}), "'link' is"),
}


@pytest.mark.parametrize("case", HOSTILE)
@pytest.mark.parametrize("read", [load, load_facts])
def test_a_hostile_description_is_one_line(case, read, tmp_path):
    told, why = HOSTILE[case]
    text = told if isinstance(told, str | None) else json.dumps(told)
    path = tmp_path / "model.safetensors"
    state = LogisticRegression(3).state_dict()
    save_file(state, path, metadata=None if text is None else {KEY: text})
    if read is load_facts and not error_of_form(case):
        assert load_facts(path)["model"] == told["model"]  # read as it stands; nothing is built
        return
    with pytest.raises(ValueError, match=why) as caught:
        read(path)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 600


def error_of_form(case: str) -> bool:
    """Whether the description is not even of the right form."""
    return case in (
        "foreign",
        "no JSON",
        "a list",
        "nested",
        "later format",
        "no facts",
        "no model",
    )


TENSORS: dict[str, dict[str, torch.Tensor]] = {
    "one too few": {"weight": torch.zeros(1, 3)},
    "one too many": {"weight": torch.zeros(1, 3), "bias": torch.zeros(1), "x": torch.zeros(1)},
    "another shape": {"weight": torch.zeros(3, 1), "bias": torch.zeros(1)},
    "whole numbers": {"weight": torch.zeros(1, 3).long(), "bias": torch.zeros(1).long()},
    "mixed dtypes": {"weight": torch.zeros(1, 3), "bias": torch.zeros(1).double()},
    "none": {},
}


@pytest.mark.parametrize("case", TENSORS)
def test_tensors_that_the_model_has_not_are_refused(case, tmp_path):
    path = tmp_path / "model.safetensors"
    save_file(TENSORS[case], path, metadata={KEY: json.dumps(description())})
    with pytest.raises(ValueError, match=r"declares tensors|its tensors are") as caught:
        load(path)
    assert "\n" not in str(caught.value)


def test_every_truncation_is_refused(tmp_path, generator):
    path = save(random_model("logit", generator), tmp_path / "model")
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError, match="is no model saved by torchlogreg"):
            load(path)


@given(place=st.integers(0, 10_000), value=st.integers(0, 255))
def test_a_changed_byte_is_a_model_or_one_line(place, value, tmp_path_factory):
    path = tmp_path_factory.mktemp("bytes") / "model.safetensors"
    save(OrdinalRegression(3, 4, dtype=torch.float64), path, facts={"names": ["a", "b"]})
    raw = bytearray(path.read_bytes())
    raw[place % len(raw)] = value
    path.write_bytes(raw)
    try:
        model = load(path)
    except ValueError as error:
        assert "\n" not in str(error)
    else:
        assert isinstance(model, Model)


def test_what_is_no_file_is_not_found(tmp_path):
    (tmp_path / "folder.safetensors").mkdir()
    for name in ("nothing", "folder.safetensors"):
        with pytest.raises(FileNotFoundError):
            load(tmp_path / name)


def test_another_process_predicts_the_same(tmp_path, generator):
    model = random_model("reference", generator, dtype=torch.float64)
    save(model, tmp_path / "model")
    X = torch.randn(4, 3, generator=generator, dtype=torch.float64)
    code = (
        "import torch; from torchlogreg.saving import load; model = load('model'); "
        f"X = torch.tensor({X.tolist()}, dtype=torch.float64); "
        "print(model.mean(model(X)).tolist())"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert json.loads(run.stdout) == model.mean(model(X)).tolist()
