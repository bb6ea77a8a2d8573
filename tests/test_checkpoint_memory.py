"""A checkpoint of many rows is written and read piece by piece: no copy of it is in memory."""

from __future__ import annotations

import sys
import threading
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from test_checkpoint import WEIGHTINGS, assert_resumed_is_straight

from torchlogreg.checkpoints.file import Contents, path_of, read, write
from torchlogreg.checkpoints.packing import Packer, Unpacker
from torchlogreg.disk import mapped
from torchlogreg.pages import Growing

pytestmark = pytest.mark.filterwarnings("ignore::torchlogreg.ConvergenceWarning")


def anonymous() -> int:
    """Bytes of this process that are no page of a file."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith("RssAnon"))


class Peak:
    """The most that was taken in a block, in bytes."""

    def __enter__(self) -> Peak:
        self.before, self.most, self.done = anonymous(), 0, threading.Event()
        self.watcher = threading.Thread(target=self.watch)
        self.watcher.start()
        return self

    def watch(self) -> None:
        """Every few milliseconds."""
        while not self.done.wait(0.002):
            self.most = max(self.most, anonymous() - self.before)

    def __exit__(self, *error: object) -> None:
        self.done.set()
        self.watcher.join()


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_large_one_takes_no_memory_of_its_size(tmp_path: Path) -> None:
    """It was joined in memory, to be written, and copied, to be read."""
    rows = mapped.room((12_000_000,), torch.float64).copy_(torch.arange(12_000_000))
    packer = Packer({}, ())
    tree = packer.pack({"rows": rows, "few": torch.arange(3)})
    with Peak() as peak:
        write(path_of(tmp_path, 1), Contents(tree, packer.storages))
        contents = read(path_of(tmp_path, 1))
        found = Unpacker(contents.storages, {}, (), torch.device("cpu")).unpack(contents.tree)
    assert torch.equal(found["rows"], rows) and torch.equal(found["few"], torch.arange(3))
    assert peak.most < 40e6  # of 96


def test_a_file_is_what_the_library_reads(tmp_path: Path) -> None:
    storages = {str(i): torch.arange(n).to(torch.uint8) for i, n in enumerate((0, 3, 1000))}
    write(path_of(tmp_path, 1), Contents({"a": [1, "ä"]}, storages))
    found = load_file(path_of(tmp_path, 1))
    assert found.keys() == storages.keys()
    assert all(torch.equal(found[name], storages[name]) for name in storages)


@pytest.mark.parametrize("weighting", ["boost", "smoothed_focal"])
@pytest.mark.parametrize("optimizer", ["newton", "saga", "lbfgs"])
def test_what_lies_in_files_resumes_bit_for_bit(
    optimizer: str, weighting: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mapped, "LARGE", 1)
    batch_size = 16 if optimizer == "saga" else None
    assert_resumed_is_straight(
        tmp_path, optimizer=optimizer, weighting=WEIGHTINGS[weighting], batch_size=batch_size
    )


def test_a_checkpoint_holds_the_rows_of_a_growing_matrix_not_its_memory() -> None:
    growing = Growing(3, 1000, torch.float64, torch.device("cpu"))
    growing.more(2).copy_(torch.arange(6.0).view(2, 3))
    packer = Packer({}, (Growing,))
    packer.pack(growing)
    (memory,) = packer.storages.values()
    assert memory.numel() == 6 * 8 and growing.rows.untyped_storage().nbytes() >= 1000 * 3 * 8
