"""Files appear whole or not at all, by one way for all of them."""

from __future__ import annotations

import ast
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

import torchlogreg
from torchlogreg import History, LogisticRegression
from torchlogreg.checkpoints.file import Contents, write
from torchlogreg.disk.csv_to_parquet import csv_to_parquet
from torchlogreg.saving import save
from torchlogreg.whole_files import whole_file


def convert(path: Path) -> None:
    """From a table beside the folder."""
    pytest.importorskip("pyarrow")
    source = path.parents[1] / "rows.csv"
    source.write_text("a,b\n1,2\n3,4\n")
    csv_to_parquet(source, path)


WRITERS: dict[str, Callable[[Path], object]] = {
    "history.npz": lambda path: History({"epoch": np.arange(3)}).save(path),
    "model.safetensors": lambda path: save(LogisticRegression(2, dtype=torch.float64), path),
    "epoch-00000001.safetensors": lambda path: write(path, Contents({}, {})),
    "rows.parquet": convert,
}


@pytest.mark.parametrize("name", WRITERS)
def test_bytes_reach_the_disk_before_the_name_and_the_name_before_the_end(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A history was renamed without: a power cut could leave an empty file in its place."""
    folder, order = tmp_path / "run", []
    folder.mkdir()
    flush, rename = os.fsync, os.replace
    kinds = {folder.stat().st_ino: "folder"}

    def fsync(handle: int) -> None:
        order.append(kinds.get(os.fstat(handle).st_ino, "file"))
        flush(handle)

    def replace(source: Path, target: Path) -> None:
        order.append("name")
        rename(source, target)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "replace", replace)
    WRITERS[name](folder / name)
    assert order == ["file", "name", "folder"] and os.listdir(folder) == [name]


@pytest.mark.parametrize("name", WRITERS)
def test_a_full_disk_leaves_the_old_file_and_nothing_beside_it(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / name).write_bytes(b"old")

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        WRITERS[name](folder / name)
    assert os.listdir(folder) == [name] and (folder / name).read_bytes() == b"old"


def test_an_error_in_the_block_leaves_nothing(tmp_path: Path) -> None:
    with (
        pytest.raises(KeyboardInterrupt),
        whole_file(tmp_path / "a.txt") as temporary,
    ):
        temporary.write_text("half")
        raise KeyboardInterrupt
    assert os.listdir(tmp_path) == []


def test_nothing_else_in_the_package_renames_a_file() -> None:
    root = Path(torchlogreg.__file__).parent
    found = {
        path.name
        for path in root.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute)
        and ast.unparse(node) in ("os.replace", "os.rename", "shutil.move")
    }
    assert found == {"whole_files.py"}
