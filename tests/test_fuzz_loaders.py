"""Fuzzed files for what maps, converts, loads and resumes: read rightly, or one printable line."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save as tensor_bytes
from test_checkpoint_files import run
from test_fuzz_readers import OUTCOMES, PARQUETS, arrays, check_line, csvs, damaged

from torchlogreg import LogisticRegression
from torchlogreg.checkpoints.file import Contents, path_of, read, write
from torchlogreg.checkpoints.packing import Unpacker
from torchlogreg.datasets import Dataset
from torchlogreg.disk.csv_to_parquet import csv_to_parquet
from torchlogreg.disk.streams import map_table
from torchlogreg.hooks import Checkpoint, Recorder
from torchlogreg.readers import read_table
from torchlogreg.saving import load, load_facts

pytestmark = pytest.mark.filterwarnings("ignore::torchlogreg.ConvergenceWarning")


def outcome(kind: str, act: Callable[[], Any]) -> Any:
    """What it returns; None for an error in one line."""
    try:
        found = act()
    except ValueError as error:
        OUTCOMES[f"{kind} refused"] += 1
        check_line(error)
        return None
    OUTCOMES[f"{kind} read"] += 1
    return found


def same(one: Dataset, other: Dataset) -> bool:
    """Whether two tables are the same."""
    names = one.feature_names == other.feature_names and one.class_names == other.class_names
    return names and np.array_equal(one.X, other.X) and np.array_equal(one.y, other.y)


def attempt_mapped(path: Path, content: bytes) -> None:
    """Mapped, a table is what it is in memory, and what is refused here is refused there."""
    path.write_bytes(content)
    target = "y" if path.suffix == ".parquet" else None
    mapped = outcome(f"mapped {path.suffix}", lambda: map_table(path, target))
    try:
        here = read_table(path, target)
    except ValueError:
        assert mapped is None
    else:
        assert mapped is None or same(mapped, here)


def attempt_conversion(path: Path, content: bytes) -> None:
    """What becomes Parquet is read alike from memory and mapped; nothing is left of the rest."""
    path.write_bytes(content)
    result = path.with_suffix(".parquet")
    if outcome("converted .csv", lambda: csv_to_parquet(path, result)) is not None:
        mapped = outcome("from .csv, mapped", lambda: map_table(result, "y"))
        here = outcome("from .csv, in memory", lambda: read_table(result, "y"))
        assert (mapped is None) == (here is None) and (mapped is None or same(mapped, here))
        result.unlink()


def attempt_model(path: Path, content: bytes) -> None:
    """A model that predicts, or one line."""
    path.write_bytes(content)
    model = outcome("model", lambda: load(path))
    outcome("facts", lambda: load_facts(path))
    if model is not None:
        assert model(torch.zeros(1, model.n_features, dtype=model.weight.dtype)).ndim == 2


def attempt_checkpoint(path: Path, content: bytes) -> None:
    """Bytes whose checksum is right, or one line."""
    path.write_bytes(content)
    found = outcome("checkpoint", lambda: read(path))
    assert found is None or found.storages.keys() == CHECKPOINT.storages.keys()


def attempt_tree(path: Path, node: Any) -> None:
    """A forged file: what it says is unpacked without a call, or one line."""
    write(path, Contents(node, CHECKPOINT.storages))
    contents = read(path)
    known = {"X": torch.zeros(60, 3, dtype=torch.float64)}
    unpacker = Unpacker(contents.storages, known, (), torch.device("cpu"))
    outcome("tree", lambda: unpacker.unpack(contents.tree))


def models() -> list[bytes]:
    """Sound files of models, and such whose description lies."""
    model = LogisticRegression(2, dtype=torch.float64)
    plain: Any = {"class": "LogisticRegression", "n_features": 2, "bias": True}
    descriptions: list[Any] = [
        *[{"format": 1, "model": plain, "facts": {"names": ["a", "b"]}}] * 6,
        *({"format": 1, "model": plain | {"n_features": n}, "facts": {}} for n in (0, -1, 2**70)),
        {"format": 1, "model": plain | {"class": "\x1b[31m"}, "facts": {}},
        {"format": 1, "model": plain, "facts": []},
        {"format": 1, "model": {"class": "OrdinalRegression", "n_classes": 2**40}, "facts": {}},
    ]
    return [
        tensor_bytes(dict(model.state_dict()), {"torchlogreg": json.dumps(d)}) for d in descriptions
    ]


def made_checkpoint(folder: Path) -> tuple[bytes, Contents]:
    """The bytes of a checkpoint, and what they mean."""
    run(2, hooks=[Recorder(), Checkpoint(folder)])
    return path_of(folder, 2).read_bytes(), read(path_of(folder, 2))


@pytest.fixture(scope="module", autouse=True)
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The one that is damaged."""
    global CHECKPOINT
    content, CHECKPOINT = made_checkpoint(tmp_path_factory.mktemp("sound"))
    return content


CHECKPOINT: Contents
LEAVES: Any = st.one_of(
    st.none(), st.booleans(), st.integers(-3, 2**70), st.floats(), st.text(max_size=4),
    st.sampled_from(["new", "known", "again", "tensor", "object", "method", "dict", "X", "solve"]),
)  # fmt: skip
KINDS_OF_NODE = "generator dtype tensor array list tuple dict counter object method".split()
TENSORS = st.tuples(
    st.just("new"), st.integers(0, 3), st.sampled_from(["tensor", "array"]),
    st.sampled_from(["0", "1", "X", "../x"]), st.sampled_from(["float64", "bool", "int64", "evil"]),
    st.sampled_from(["cpu", "device"]), st.lists(st.integers(-1, 2**40), max_size=3),
    st.lists(st.integers(-1, 9), max_size=3), st.integers(-1, 2**40),
)  # fmt: skip
NODES = st.recursive(
    LEAVES | TENSORS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(st.text(max_size=3), inner, max_size=3),
        st.tuples(st.just("new"), st.integers(0, 3), st.sampled_from(KINDS_OF_NODE), inner),
        st.tuples(
            st.just("new"), st.integers(0, 3), st.sampled_from(["list", "tuple", "dict"]),
            st.lists(inner, max_size=3),
        ),
    ),
    max_leaves=8,
)  # fmt: skip

KINDS: dict[str, tuple[Any, Callable[[Path, Any], None], str]] = {
    "mapped .npy": (arrays(), attempt_mapped, "f.npy"),
    "mapped .parquet": (damaged(PARQUETS), attempt_mapped, "f.parquet"),
    "converted .csv": (csvs(), attempt_conversion, "f.csv"),
    "model": (damaged(models()), attempt_model, "f.safetensors"),
    "checkpoint": (None, attempt_checkpoint, "f.safetensors"),
    "tree": (NODES, attempt_tree, "f.safetensors"),
}


def fuzz(kind: str, folder: Path, cases: int, checkpoint: bytes) -> None:
    """Run so many cases of one kind."""
    contents, attempt, name = KINDS[kind]

    @settings(
        max_examples=cases, deadline=None, database=None, derandomize=cases < 1000,
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(damaged([checkpoint]) if contents is None else contents)
    def attempts(content: Any) -> None:
        attempt(folder / name, content)

    attempts()
    assert os.listdir(folder) == [name]  # nothing was written beside it


@pytest.mark.parametrize("kind", list(KINDS))
def test_a_fuzzed_file_is_loaded_or_refused_in_one_line(
    kind: str, tmp_path: Path, checkpoint: bytes
) -> None:
    fuzz(kind, tmp_path, 50, checkpoint)
    assert OUTCOMES[f"{kind} refused"] >= 3  # and of most kinds some are read
    assert OUTCOMES[f"{kind} read"] >= 1, OUTCOMES


@pytest.mark.slow
@pytest.mark.parametrize("kind", list(KINDS))
def test_fifteen_hundred_fuzzed_files_of_each_kind_are_loaded_or_refused(
    kind: str, tmp_path: Path, checkpoint: bytes
) -> None:
    if not os.environ.get("TORCHLOGREG_LONG"):
        pytest.skip("the long run: TORCHLOGREG_LONG=1 pytest -m slow tests/test_fuzz_loaders.py")
    OUTCOMES.clear()
    fuzz(kind, tmp_path, 1500, checkpoint)
    print(dict(OUTCOMES))
