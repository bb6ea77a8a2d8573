"""Checkpoint files: what is damaged is passed over, what is hostile runs nothing."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import resource
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from problems import params_of, problem
from torchlogreg import Focal, fit
from torchlogreg.checkpoints.file import Contents, DamagedError, path_of, read, write
from torchlogreg.checkpoints.packing import Packer, Unpacker
from torchlogreg.checkpoints.resuming import CheckpointWarning
from torchlogreg.hooks import Checkpoint, Recorder

CPU = torch.device("cpu")

pytestmark = pytest.mark.filterwarnings("ignore::torchlogreg.ConvergenceWarning")


def run(max_epochs: int = 7, **settings: Any) -> Tensor:
    """Parameters of a fit that an adaptive weighting and momentum make remember things."""
    case = problem("logistic")
    model = case.model()
    fit(
        model,
        case.X,
        case.y,
        optimizer="momentum",
        weighting=Focal(),
        batch_size=16,
        max_epochs=max_epochs,
        tol=0,
        generator=torch.Generator().manual_seed(0),
        **settings,
    )
    return params_of(model)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three epochs of seven, a checkpoint of each."""
    run(3, hooks=[Recorder(), Checkpoint(tmp_path, every=1)])
    return tmp_path


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-20])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-9] ^= 16
    path.write_bytes(data)


def grow(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"more")


def become_text(path: Path) -> None:
    path.write_text("no checkpoint")


def become_link(path: Path) -> None:
    path.unlink()
    path.symlink_to("/etc/passwd")


def become_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


DAMAGES = (cut, empty, flip, grow, become_text, become_link, become_pipe)


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_newest_file_is_passed_over_with_one_line(
    folder: Path, damage: Callable[[Path], None]
) -> None:
    damage(path_of(folder, 3))
    with pytest.warns(CheckpointWarning, match="resumed from epoch-00000002") as told:
        params = run(hooks=[Checkpoint(folder, every=1)], resume=folder)
    assert len(told) == 1 and "\n" not in str(told[0].message)
    assert "epoch-00000003.safetensors is damaged" in str(told[0].message)
    assert torch.equal(params, run())
    assert read(path_of(folder, 7)).tree["memory"]  # and what is written next is whole


def test_where_all_are_damaged_the_error_is_one_line_and_nothing_is_changed(folder: Path) -> None:
    for path in folder.iterdir():
        cut(path)
    case = problem("logistic")
    model = case.model()
    with pytest.raises(ValueError, match=r"can be resumed: epoch-00000003.* is damaged") as caught:
        fit(model, case.X, case.y, optimizer="sgd", resume=folder)
    assert "\n" not in str(caught.value)
    assert not params_of(model).any()


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, bytes, Contents]:
    """A place to write to, the bytes of a checkpoint, and what they mean."""
    place = tmp_path_factory.mktemp("bytes")
    run(2, hooks=[Checkpoint(place)])
    path = path_of(place, 2)
    return place / "changed.safetensors", path.read_bytes(), read(path)


@given(st.data())
def test_no_change_of_a_byte_goes_unnoticed(
    whole: tuple[Path, bytes, Contents], data: st.DataObject
) -> None:
    path, right, meant = whole
    changed = bytearray(right)
    for _ in range(data.draw(st.integers(1, 3))):
        changed[data.draw(st.integers(0, len(right) - 1))] ^= data.draw(st.integers(1, 255))
    path.write_bytes(changed[: data.draw(st.integers(0, len(right)) | st.just(len(right)))])
    try:
        found = read(path)
    except DamagedError as error:
        assert "\n" not in str(error)
        return
    assert found.tree == meant.tree  # blanks of the header, at most
    assert all(torch.equal(found.storages[k], v) for k, v in meant.storages.items())


class Bomb:
    """Unpickled, it makes a file."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.marker),)


@pytest.mark.parametrize("kind", ("pickle", "torch"))
def test_a_pickle_is_not_opened(tmp_path: Path, kind: str) -> None:
    path, marker = path_of(tmp_path, 5), tmp_path / "exploded"
    if kind == "pickle":
        path.write_bytes(pickle.dumps(Bomb(marker)))
    else:
        torch.save({"params": Bomb(marker)}, path)
    with pytest.raises(ValueError, match="is damaged"):
        run(resume=tmp_path)
    assert not marker.exists()


@pytest.mark.parametrize("length", (100, 2**30, 2**62))
@pytest.mark.parametrize("entries", (10, 2**40))
def test_sizes_that_a_file_only_declares_are_not_allocated(
    tmp_path: Path, length: int, entries: int
) -> None:
    tensor = {"dtype": "U8", "shape": [entries], "data_offsets": [0, entries]}
    header = json.dumps({"__metadata__": {"format": "torchlogreg checkpoint 2"}, "0": tensor})
    path = path_of(tmp_path, 1)
    size = len(header) if length == 100 else length
    path.write_bytes(struct.pack("<Q", size) + header.encode() + b"\0" * 5)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(DamagedError):
        read(path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 2**16  # KiB


def deep(depth: int) -> Any:
    """Lists in lists."""
    node: Any = 0
    for number in range(depth):
        node = ["new", number, "list", [node]]
    return node


def tensor(shape: Any, stride: Any, offset: Any = 0, name: str = "0") -> list[Any]:
    """A node that claims to be a tensor."""
    return ["new", 0, "tensor", name, "float64", "cpu", shape, stride, offset]


HOSTILE: dict[str, Any] = {
    "foreign class": ["new", 0, "object", "Popen", {"args": "true"}],
    "method": ["new", 0, "method", "__reduce__", ["new", 1, "object", "Pace", {}]],
    "method of the unpacker": ["new", 0, "unpack", 1],
    "huge": tensor([2**40], [1]),
    "huge without strides": tensor([2**40], [0]),
    "overflow": tensor([2**33, 2**33], [0, 0]),
    "outside": tensor([1], [1], 10**6),
    "before": tensor([1], [1], -1),
    "negative": tensor([-4], [1]),
    "no storage": tensor([1], [1], 0, "../../etc/passwd"),
    "no tensor": tensor("many", None),
    "unknown name": ["known", "../../etc/passwd"],
    "circle": ["again", 7],
    "another kind": ["new", 0, "__init__", {}],
    "no node": {"system": "true"},
    "empty": [],
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_contents_make_no_sense(name: str) -> None:
    unpacker = Unpacker({"0": torch.zeros(16, dtype=torch.uint8)}, {}, (), CPU)
    with pytest.raises(ValueError, match="make no sense"):
        unpacker.unpack(HOSTILE[name])


@pytest.mark.parametrize("node", (*HOSTILE.values(), deep(50_000), None, 3, "memory"))
@pytest.mark.parametrize("place", ("memory", "sample_weight", "centre", "ended", "fingerprint"))
def test_a_forged_file_with_a_right_checksum_is_an_error_too(
    folder: Path, place: str, node: Any
) -> None:
    if place == "centre" and node is None:
        return  # as it was
    contents = read(path_of(folder, 3))
    contents.tree[place] = node
    for path in folder.iterdir():
        path.unlink()
    try:
        write(path_of(folder, 3), contents)
    except RecursionError:  # Python's own writer refuses it
        forge(path_of(folder, 3), contents)
    case = problem("logistic")
    model = case.model()
    with pytest.raises(ValueError, match=r"is damaged|another fit") as caught:
        run(resume=folder)
    assert "\n" not in str(caught.value) and not params_of(model).any()


def forge(path: Path, contents: Contents) -> None:
    """A file with a tree nested so deep that ``json.dumps`` gives up."""
    from safetensors.torch import save_file

    text = '{"fingerprint": ' + "[" * 50_000 + "]" * 50_000 + "}"
    digest = hashlib.sha256(text.encode()).hexdigest()
    save_file({}, path, {"format": "torchlogreg checkpoint 2", "tree": text, "sha256": digest})


def test_what_shares_memory_still_does_and_strides_stay() -> None:
    whole = torch.arange(12.0, dtype=torch.float64).view(3, 4)
    X = torch.ones(2, 2)
    value = {
        "turned": whole.T,
        "row": whole[1],
        "again": [whole, (whole, None)],
        "of X": X[1:],
        "X": X,
        "empty": torch.empty(0, 3),
        "spread": torch.ones(1).expand(4),
        3: [True, 1.5, float("inf"), "text", torch.float32],
    }
    packer = Packer({"X": X}, ())
    tree = json.loads(json.dumps(packer.pack(value)))
    other = X.clone()
    found = Unpacker(packer.storages, {"X": other}, (), CPU).unpack(tree)
    assert len(packer.storages) == 3  # of whole, of nothing, of what was spread
    assert found["turned"].stride() == whole.T.stride() and torch.equal(found["turned"], whole.T)
    found["row"].zero_()
    assert not found["again"][0][1].any() and found["again"][1][0] is found["again"][0]
    assert found["X"] is other and found["of X"].data_ptr() == other[1].data_ptr()
    assert found["empty"].shape == (0, 3) and found["spread"].tolist() == [1.0] * 4
    assert found[3] == value[3]
