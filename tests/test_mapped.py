"""Rows that stay on disk: not copied, the same numbers, and memory that does not grow with them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from torchlogreg import (
    L2,
    LinearRegression,
    LogisticRegression,
    OrdinalRegression,
    SoftmaxRegression,
    fit,
    infer,
    inputs,
    passes,
)
from torchlogreg.disk import mapped as mapping
from torchlogreg.disk.mapped import is_mapped, room, shared
from torchlogreg.inputs import make_data
from torchlogreg.tensors import as_tensor


def saved(path: Path, n: int = 400, p: int = 3, dtype: type = np.float64) -> Path:
    """A file of rows with a 0-1 target in the last column."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n, p))
    y = X @ np.arange(1, p + 1) + rng.logistic(size=n) > 0
    np.save(path / "rows.npy", np.column_stack((X, y)).astype(dtype))
    return path / "rows.npy"


PARTS = {
    "all": lambda a: a,
    "rows": lambda a: a[5:90],
    "columns": lambda a: a[:, :-1],
    "one column": lambda a: a[:, -1],
    "every second row": lambda a: a[::2],
    "columns of some rows": lambda a: a[7:, 1:3],
}


@pytest.mark.parametrize("part", PARTS.values(), ids=PARTS)
@pytest.mark.parametrize("mode", ["r", "c", "r+"])
def test_mapped_rows_are_read_where_they_are(part, mode, tmp_path):
    array = part(np.load(saved(tmp_path), mmap_mode=mode))
    tensor = as_tensor(array, "X", torch.device("cpu"))
    assert np.array_equal(tensor.numpy(), array)
    assert tensor.stride() == tuple(step // 8 for step in array.strides)  # no copy has such strides
    assert tensor.numpy().base is not None and is_mapped(array)


@pytest.mark.parametrize("back", [np.s_[::-1], np.s_[:, ::-1], np.s_[:0]])
def test_rows_backwards_and_none_are_copied(back, tmp_path):
    array = np.load(saved(tmp_path), mmap_mode="r")[back]
    assert np.array_equal(shared(array), array)
    assert shared(array).flags.writeable


def test_the_file_is_never_written(tmp_path):
    path = saved(tmp_path)
    before = path.read_bytes()
    array = np.load(path, mmap_mode="r")
    as_tensor(array, "X", torch.device("cpu")).fill_(7.0)
    assert path.read_bytes() == before
    assert array[0, 0] != 7.0


def test_a_file_that_is_gone_or_another_is_copied_from_the_old_map(tmp_path):
    path = saved(tmp_path)
    array = np.load(path, mmap_mode="r")
    truth = np.array(array)
    path.unlink()
    assert np.array_equal(shared(array), truth)
    np.save(path, truth + 1)
    assert np.array_equal(shared(array), truth)


@pytest.mark.skipif(sys.platform != "linux", reason="sparse files, and memory that is promised")
def test_a_file_larger_than_memory_is_mapped(tmp_path):
    with open(tmp_path / "huge.bin", "wb") as file:
        file.truncate(2**40)
    rows = shared(np.memmap(tmp_path / "huge.bin", np.float64, "r").reshape(-1, 16))
    assert rows.shape == (2**33, 16)
    assert not rows[-1].any()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    "make",
    [
        LogisticRegression,
        LinearRegression,
        lambda p, dtype: SoftmaxRegression(p, 2, dtype=dtype),
        lambda p, dtype: OrdinalRegression(p, 2, dtype=dtype),
    ],
    ids=["logistic", "linear", "softmax", "ordinal"],
)
@pytest.mark.parametrize("optimizer", [None, "lbfgs", "newton"])
def test_a_mapped_fit_is_the_one_in_memory(make, dtype, optimizer, tmp_path, monkeypatch):
    monkeypatch.setattr(mapping, "LARGE", 1)  # everything that is made of rows goes to disk
    monkeypatch.setattr(passes, "BLOCK", 100)  # thirteen blocks
    table = np.load(saved(tmp_path, dtype=dtype), mmap_mode="r")
    single, found = dtype is np.float32, []
    tol = 1e-3 if single else 1e-6
    for rows in (table, np.array(table)):
        model = make(3, dtype=torch.float32 if single else torch.float64)
        fit(model, rows[:, :-1], rows[:, -1], penalty=L2(0.01), optimizer=optimizer, tol=tol)
        found.append(model.weight.detach())
    assert torch.allclose(*found, rtol=1e-4 if single else 1e-12, atol=0)


@pytest.mark.parametrize("labels", [np.float64, np.int64, np.float32])
def test_mapped_weights_offsets_and_labels_are_those_in_memory(labels, tmp_path, monkeypatch):
    monkeypatch.setattr(mapping, "LARGE", 1)
    monkeypatch.setattr(inputs, "BLOCK", 64)
    table = np.load(saved(tmp_path), mmap_mode="r")
    beside = np.lib.format.open_memmap(tmp_path / "beside.npy", "w+", np.float64, (400, 2))
    beside[:] = np.random.default_rng(1).uniform(size=(400, 2))
    y = np.lib.format.open_memmap(tmp_path / "y.npy", "w+", labels, (400,))
    y[:] = table[:, -1]
    found = []
    for copied in (lambda a: a, np.array):
        model = LogisticRegression(3, dtype=torch.float64)
        weight, offset = copied(beside[:, 0]), copied(beside[:, 1])
        X = copied(table[:, :-1])
        result = fit(model, X, copied(y), sample_weight=weight, offset=offset)
        assert result.converged
        found.append(torch.cat((model.weight.detach().flatten(), result.sample_weight)))
    assert torch.allclose(*found, rtol=1e-12, atol=0)


def test_a_bad_label_of_mapped_rows_is_named_by_its_row_in_the_file(tmp_path, monkeypatch):
    monkeypatch.setattr(inputs, "BLOCK", 64)
    table = np.load(saved(tmp_path), mmap_mode="r+")
    table[300, -1] = 7.0
    model = LogisticRegression(3, dtype=torch.float64)
    with pytest.raises(ValueError, match="row 300: target 7 is neither"):
        fit(model, table[:, :-1], table[:, -1])


def test_standard_errors_of_mapped_rows_are_those_in_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(mapping, "LARGE", 1)
    table = np.load(saved(tmp_path), mmap_mode="r")
    model = LogisticRegression(3, dtype=torch.float64)
    fit(model, table[:, :-1], table[:, -1])
    bse = [infer(model, rows[:, :-1], rows[:, -1]).bse for rows in (table, np.array(table))]
    np.testing.assert_allclose(*bse, rtol=1e-12)


def test_columns_far_from_zero_keep_their_digits_on_disk(tmp_path, monkeypatch):
    monkeypatch.setattr(mapping, "LARGE", 1)
    table = np.load(saved(tmp_path), mmap_mode="r+")
    table[:, 0] = np.round(table[:, 0] * 2**20) / 2**20 + 2.0**30  # so that nothing is rounded
    weights = []
    for shift in (0.0, 2.0**30):
        model = LogisticRegression(3, dtype=torch.float64)
        rows = np.array(table)
        rows[:, 0] -= 2.0**30 - shift
        np.save(tmp_path / "moved.npy", rows)
        moved = np.load(tmp_path / "moved.npy", mmap_mode="r")
        fit(model, moved[:, :-1], moved[:, -1], optimizer="newton")
        weights.append(model.weight.detach())
    assert torch.allclose(*weights, rtol=1e-13, atol=0)


def test_what_is_made_of_mapped_rows_goes_to_disk_and_is_gone_after(tmp_path, monkeypatch):
    monkeypatch.setattr(mapping, "LARGE", 1)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    table = np.load(saved(tmp_path), mmap_mode="r")
    model = LogisticRegression(3, dtype=torch.float64)
    data = make_data(model, table[:, :-1], table[:, -1])
    assert data.mapped and is_mapped(room((4, 2), torch.float64))
    first, second = data.room(2), data.room(2)
    assert first.shape == (400, 2) and first.data_ptr() != second.data_ptr()
    place, part = first.data_ptr(), first[3:]
    del first
    assert data.room(2).data_ptr() != place  # a part is still in use
    del part
    assert data.room(2).data_ptr() == place
    assert not make_data(model, np.array(table[:, :-1]), table[:, -1]).mapped
    assert sorted(os.listdir(tmp_path)) == ["rows.npy"]  # the files have no names


def test_a_full_disk_is_an_error_in_one_line():
    if not hasattr(os, "posix_fallocate"):
        pytest.skip("this system cannot take room in advance")
    with pytest.raises(OSError, match="do not fit into"):
        room((2**45,), torch.float64)


MEMORY = """
import importlib.util, sys, threading, time
import numpy as np
import torch
from torchlogreg import LinearRegression, LogisticRegression, fit, kernels

torch.set_num_threads(1)
if importlib.util.find_spec("numba"):  # compiling takes a hundred megabytes
    kernels.prepare(smallest=kernels.SMALLEST.get())


def anonymous():
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("RssAnon")) / 1024


n, p, path = int(sys.argv[1]), 20, sys.argv[2]
new = {"logistic": LogisticRegression, "collinear": LinearRegression}[sys.argv[3]]
rng = np.random.default_rng(0)
rows = np.lib.format.open_memmap(path, "w+", np.float64, (n, p + 1))


def fill(block):
    block[:, :p] = rng.normal(size=(len(block), p))
    block[:, p] = block[:, 0] + rng.logistic(size=len(block)) > 0
    if new is LinearRegression:  # too near for the normal equations
        block[:, 5] = block[:, 0] - block[:, 2] + 1e-9 * block[:, 5]


for start in range(0, n, 10_000):
    fill(rows[start : start + 10_000])
rows.flush()
del rows
warm = np.empty((20_000, p + 1))  # with every kernel, some of which are compiled here
fill(warm)
fit(new(p, dtype=torch.float64), warm[:, :p], warm[:, p])
table = np.load(path, mmap_mode="r")
before, most, done = anonymous(), [0.0], threading.Event()


def watch():
    while not done.wait(0.003):
        most[0] = max(most[0], anonymous())


watcher = threading.Thread(target=watch)
watcher.start()
model = new(p, dtype=torch.float64)
result = fit(model, table[:, :p], table[:, p])
done.set()
watcher.join()
print(int(result.converged), most[0] - before)
"""


def beyond_the_pages(n: int, path: Path, kind: str) -> float:
    """MiB of memory that a converged fit of ``n`` mapped rows of twenty columns took."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", MEMORY, str(n), str(path), kind]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    converged, peak = done.stdout.split()
    assert int(converged) == 1
    return float(peak)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("kind", ["logistic", "collinear"])
def test_memory_beyond_the_pages_is_a_fraction_of_the_rows(kind, tmp_path):
    # 160 MiB; scores, losses and targets alone are 8 MiB each, a copy 152. Residuals in doubled
    # precision, with what they were made of, once took 100. Compiled kernels have 64 for blocks.
    assert beyond_the_pages(1_000_000, tmp_path / "rows.npy", kind) < 120


@pytest.mark.slow
@pytest.mark.skipif(
    sys.platform != "linux" or not os.environ.get("TORCHLOGREG_LONG"),
    reason="writes 8 GB; set TORCHLOGREG_LONG=1",
)
@pytest.mark.parametrize("kind", ["logistic", "collinear"])
def test_eight_gigabytes_take_half_a_gigabyte(kind, tmp_path):
    assert beyond_the_pages(51_000_000, tmp_path / "rows.npy", kind) < 512
