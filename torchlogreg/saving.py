"""Models on disk: one safetensors file whose header carries the description as JSON.

The tensors and what they mean are one file, so they cannot part, and one rename replaces both: a
reader finds the old model or the new one, never half of either. Nothing is unpickled. Any program
that reads safetensors can read it; the description is the metadata entry ``"torchlogreg"``.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as tensor_bytes
from torch import Tensor

from torchlogreg.base import Model
from torchlogreg.configuration import MODELS, build, config
from torchlogreg.untrusted import one_line
from torchlogreg.whole_files import whole_file

SUFFIX = ".safetensors"
KEY = "torchlogreg"
FORMAT = 1
ARGUMENTS: Mapping[str, type] = {
    "n_features": int,
    "n_classes": int,
    "reference": bool,
    "link": str,
    "bias": bool,
}
"""Types of the constructor arguments that a description may hold."""
DTYPES = ("F64", "F32", "F16", "BF16")
"""Safetensors' names of the dtypes that parameters may have."""


def save(
    model: Model, path: str | os.PathLike[str], *, facts: Mapping[str, Any] | None = None
) -> Path:
    """Write a model to one file, which appears whole or not at all.

    Parameters
    ----------
    model : Model
        One of the four, on any device.
    path : path
        A name that ends in ``.safetensors``, or has no suffix and gets it. Its folder must exist;
        a file of that name is replaced.
    facts : mapping, optional
        JSON-able facts to keep with the model: names of features and classes, the penalty, ...

    Returns
    -------
    Path
        What was written.

    Raises
    ------
    TypeError
        If the model is of a class that ``load`` could not build, or ``facts`` are not JSON-able.
    ValueError
        If the name ends in something else, or ``facts`` hold NaN or infinity, which JSON has not.
    OSError
        If the file cannot be written.
    """
    if MODELS.get(type(model).__name__) is not type(model):
        raise TypeError(
            f"{type(model).__name__} cannot be built again from a file; the classes that can are "
            f"{', '.join(MODELS)}; save its state_dict yourself"
        )
    description = {"format": FORMAT, "model": config(model), "facts": dict(facts or {})}
    try:
        text = json.dumps(description, allow_nan=False)
    except TypeError as error:
        raise TypeError(f"facts are stored as JSON, and {error}; pass str(...) of it") from None
    state = {name: t.detach().cpu().contiguous() for name, t in model.state_dict().items()}
    written = _named(path)
    with whole_file(written) as temporary:
        temporary.write_bytes(tensor_bytes(state, metadata={KEY: text}))
    return written


def load(
    path: str | os.PathLike[str],
    *,
    device: torch.device | str | None = None,
    dtype: torch.dtype | None = None,
) -> Model:
    """Read a model that ``save`` wrote.

    Parameters
    ----------
    path : path
        As for ``save``.
    device, dtype : optional
        Default: the CPU, and the dtype that was saved.

    Returns
    -------
    Model
        With the parameters bit for bit, if the dtype stays.

    Raises
    ------
    ValueError
        In one line, if the file is damaged, foreign, or its tensors are not those of the model it
        describes. Sizes are compared before memory is asked for.
    FileNotFoundError
        If there is none.
    """
    with _opened(path) as file:
        model = _empty(_description(file)["model"])
        state = _tensors(file, model)
    model.load_state_dict(state, assign=True)
    model.requires_grad_(True)
    return model.to(device=device, dtype=dtype)


def load_facts(path: str | os.PathLike[str]) -> dict[str, Any]:
    """What a file says of its model, without reading the parameters.

    Parameters
    ----------
    path : path
        As for ``save``.

    Returns
    -------
    dict
        The ``facts`` that were saved, and under ``"model"`` its class and constructor arguments.

    Raises
    ------
    ValueError
        If the file is not one of ours.
    FileNotFoundError
        If there is none.
    """
    with _opened(path) as file:
        description = _description(file)
        return {**description["facts"], "model": description["model"]}


@contextmanager
def _opened(path: str | os.PathLike[str]) -> Iterator[Any]:
    """The open file; whatever is found wrong with it becomes one line that names it."""
    path = _named(path)
    if not path.is_file():  # safetensors would map a folder, and wait for a pipe
        raise FileNotFoundError(f"{path} does not exist, or is not a file")
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            yield file
    except (SafetensorError, ValueError, OSError, MemoryError) as error:
        why = one_line(error)
        raise ValueError(f"{path} is no model saved by torchlogreg: {why}") from None


def _description(file: Any) -> dict[str, Any]:
    """The JSON of the header, of the right form; its numbers are not believed yet."""
    text = (file.metadata() or {}).get(KEY)
    if text is None:
        raise ValueError(f"its header has no entry {KEY!r}")
    try:
        found = json.loads(text)
    except RecursionError:
        raise ValueError("its description is nested without end") from None
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        raise ValueError(f"its description is not of format {FORMAT}, the one this version reads")
    if not all(isinstance(found.get(part), dict) for part in ("model", "facts")):
        raise ValueError("its description lacks 'model' or 'facts'")
    return found


def _empty(arguments: Mapping[str, Any]) -> Model:
    """The described model without memory behind its parameters."""
    for name, value in arguments.items():
        kind = str if name == "class" else ARGUMENTS.get(name)
        if type(value) is not kind:  # not isinstance: True is an int
            raise ValueError(f"its description says {name!r} is {value!r}")
    try:
        with torch.device("meta"):
            model = build(arguments)
    except (TypeError, RuntimeError, OverflowError) as error:  # arguments that are too few, or huge
        raise ValueError(f"no model is like its description: {error}") from None
    if config(model) != arguments:
        raise ValueError(f"its description of a {arguments['class']} is incomplete")
    return model


def _tensors(file: Any, model: Model) -> dict[str, Tensor]:
    """The parameters, once the header has declared what the model needs, and nothing else."""
    expected = {name: list(t.shape) for name, t in model.state_dict().items()}
    slices = {name: file.get_slice(name) for name in file.keys()}
    declared = {name: part.get_shape() for name, part in slices.items()}
    if declared != expected:
        raise ValueError(f"it declares tensors {declared}, but its description needs {expected}")
    dtypes = {part.get_dtype() for part in slices.values()}
    if len(dtypes) != 1 or not dtypes <= set(DTYPES):
        raise ValueError(
            f"its tensors are {', '.join(sorted(dtypes))}, but they have one of "
            f"{', '.join(DTYPES)} in common"
        )
    return {name: file.get_tensor(name).clone() for name in slices}  # no longer mapped


def _named(path: str | os.PathLike[str]) -> Path:
    """The path with our suffix."""
    path = Path(path)
    if path.suffix == "" and not path.is_dir():
        return path.with_name(path.name + SUFFIX)
    if path.suffix != SUFFIX:
        raise ValueError(
            f"{path} does not end in {SUFFIX}; name a file that does, or has no suffix"
        )
    return path
